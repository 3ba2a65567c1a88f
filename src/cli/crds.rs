//! `tradewind crds`: prints the CRDs, ready for `kubectl apply -f -`.

use std::process::ExitCode;

use clap::{ArgMatches, Command};

use super::output;
use crate::api;

pub(super) fn command() -> Command {
    Command::new("crds").about("Print the CRDs, for kubectl apply -f -")
}

pub(super) fn main(_: &ArgMatches) -> anyhow::Result<ExitCode> {
    for crd in api::crds() {
        output::print(&format!("---\n{}", output::yaml(&crd)?));
    }
    Ok(ExitCode::SUCCESS)
}
