//! How commands print: YAML, JSON, tables, notes; and what becomes of a command whose output cannot be written.
//!
//! A reader that has closed the pipe got what it wanted: nothing more is printed, and the exit code stays the command's
//! own. Any other failed write to standard output is an error of the command. Standard error is never checked: nothing
//! could be told of it.

use std::{
    fmt,
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

use clap::{Arg, ArgMatches, builder::PossibleValuesParser};
use comfy_table::{Table, TableStyle};
use parking_lot::Mutex;
use serde::Serialize;

use crate::model::Note;

/// What `-o` may be.
const FORMATS: [&str; 3] = ["yaml", "json", "table"];

pub(super) fn format_arg(default: &'static str) -> Arg {
    Arg::new("output")
        .short('o')
        .long("output")
        .value_name("FORMAT")
        .value_parser(PossibleValuesParser::new(FORMATS))
        .default_value(default)
        .help("yaml, json or table")
}

pub(super) fn format(flags: &ArgMatches) -> &str {
    flags.get_one::<String>("output").map_or("yaml", String::as_str)
}

/// One YAML document, without a leading `---`.
pub(super) fn yaml(value: &impl Serialize) -> anyhow::Result<String> {
    let value = serde_json::to_value(value)?;
    let mut text = serde_saphyr::to_string(&value)?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// The first error of a write to standard output; after it, nothing more is written there.
static FAILED_WRITE: Mutex<Option<io::Error>> = Mutex::new(None);

/// Prints to standard output. [`exit_code`] tells of a failed write.
pub(super) fn print(text: &str) {
    write(|out| out.write_all(text.as_bytes()));
}

/// Runs `write` on standard output and keeps its error.
pub(super) fn write(write: impl FnOnce(&mut io::StdoutLock<'static>) -> io::Result<()>) {
    let mut failed = FAILED_WRITE.lock();
    if failed.is_none() {
        let mut out = io::stdout().lock();
        *failed = write(&mut out).and_then(|()| out.flush()).err();
    }
}

/// Whether standard output takes nothing more.
pub(super) fn is_closed() -> bool {
    FAILED_WRITE.lock().is_some()
}

/// Prints a line to standard error, where it can be written.
pub(super) fn say(line: impl fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// The exit code of a command that ended with `code`: an error where its output could not be written.
pub(super) fn exit_code(code: ExitCode) -> ExitCode {
    match &*FAILED_WRITE.lock() {
        Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            say(format_args!("error: writing to standard output: {error}"));
            ExitCode::from(super::FAILED)
        }
        _ => code,
    }
}

/// Notes, one a line, on standard error.
pub(super) fn print_notes(notes: &[Note]) {
    for note in notes {
        say(format_args!("note: {note}"));
    }
}

pub(super) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(TableStyle::new()).set_header(header.iter().copied());
    table
}

pub(super) fn aligned_block(table: &Table) -> String {
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// A table without the margin that it gives each line.
pub(super) fn flush_left(table: &Table) -> String {
    aligned_block(table).lines().map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line))).collect()
}

pub(super) fn indented(block: &str) -> String {
    block.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!(" {line}\n") }).collect()
}

/// Tells on a terminal what takes time; silent elsewhere.
pub(super) fn progress(message: &str) -> indicatif::ProgressBar {
    if !std::io::stderr().is_terminal() {
        return indicatif::ProgressBar::hidden();
    }
    let bar = indicatif::ProgressBar::new_spinner();
    bar.set_message(message.to_owned());
    bar.enable_steady_tick(std::time::Duration::from_millis(100));
    bar
}
