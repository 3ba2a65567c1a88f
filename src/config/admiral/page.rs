//! The reference page of Admiral's flags.

use super::{
    Fate, fate,
    flags::{FLAGS, Flag},
};

const INTRODUCTION: &str = "\
<!-- Generated from src/config/admiral/flags.rs by tests/reference_pages.rs. Do not edit. -->
# Admiral's flags

For operators who run Admiral: every flag it has, and what becomes of it. `tradewind config from-admiral -- FLAGS` does this for the
flags you use and prints a settings file; `--from-file deployment.yaml` reads them from a manifest, and `--strict` adds what gives
Admiral's objects and no more. What is *not needed* happens anyway. A flag that becomes a setting of the same meaning is also accepted
by Tradewind as Admiral writes it.

| Flag | Takes | Default | Here |
|---|---|---|---|
";

/// The reference page of Admiral's flags, in Markdown.
#[must_use]
pub fn admiral_flags_page() -> String {
    INTRODUCTION.to_owned() + &FLAGS.iter().map(row).collect::<String>()
}

fn row(flag: &Flag) -> String {
    let letter = flag.letter.map(|letter| format!(", `-{letter}`")).unwrap_or_default();
    let default = if flag.default.is_empty() { "empty".to_owned() } else { format!("`{}`", flag.default) };
    let here = match fate(flag) {
        Fate::Same(setting) => format!("[`{}`](settings.md#{})", setting.key, anchor(setting.section)),
        Fate::Mapped(words, _) => words.to_owned(),
        Fate::Nothing(why) => why,
    };
    let cells = [format!("`{}`{letter}", flag.name), flag.takes.as_str().to_owned(), default, here];
    format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | "))
}

fn anchor(section: &str) -> String {
    section.to_ascii_lowercase().replace('\'', "").replace(' ', "-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::table::TABLE;

    #[test]
    fn the_page_has_a_row_for_each_flag_and_links_to_sections_that_are_there() {
        let page = admiral_flags_page();
        assert_eq!(page.lines().filter(|line| line.starts_with("| `")).count(), FLAGS.len());
        assert!(
            page.contains("| `gateway_app` | text | `istio-ingressgateway` | [`gatewayApp`](settings.md#workloads) |")
        );
        let anchors: Vec<String> = TABLE.iter().map(|setting| anchor(setting.section)).collect();
        assert!(anchors.iter().all(|anchor| anchor.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')));
    }
}
