//! `fitment doctor`: whether this installation would serve, and what to do where it would not.
//!
//! `checks` looks; this file runs the checks in order and shows what they found. Nothing is changed: a folder's writability is
//! tried with a file that is removed again.

mod checks;

use std::process::ExitCode;

use serde::Serialize;

use crate::client::ServerFlags;
use crate::output::{self, Exit};
use fitment_server::config::ConfigFlags;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  fitment doctor --config /etc/fitment/fitment.toml
  fitment doctor --json | jq '.checks[] | select(.state != \"ok\")'

Ends with code 8 when a check fails; warnings end with 0. Runs beside a daemon and without one: a catalogue that a daemon has
open is not opened a second time, the daemon is asked instead. Run it as the user that the daemon runs as.")]
pub(super) struct DoctorArguments {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerFlags,
}

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// As it should be.
    Ok,
    /// It works, and somebody should look.
    Warning,
    /// It will not serve like this.
    Failure,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    /// What was looked at.
    pub(super) name: &'static str,
    /// How it came out.
    pub(super) state: State,
    /// What was found.
    pub(super) found: String,
    /// What to do; empty where nothing is to be done.
    pub(super) way_out: String,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, state: State::Ok, found: found.into(), way_out: String::new() }
    }

    fn warning(name: &'static str, found: impl Into<String>, way_out: impl Into<String>) -> Self {
        Self { name, state: State::Warning, found: found.into(), way_out: way_out.into() }
    }

    fn failure(name: &'static str, found: impl Into<String>, way_out: impl Into<String>) -> Self {
        Self { name, state: State::Failure, found: found.into(), way_out: way_out.into() }
    }
}

pub(super) fn run(arguments: &DoctorArguments, flags: &ConfigFlags) -> anyhow::Result<ExitCode> {
    let checks = examine(flags, &arguments.server)?;
    if arguments.json {
        output::json(&serde_json::json!({"checks": checks}))?;
    } else {
        let mut table = output::table(&["check", "state", "found", "what to do"]);
        for Check { name, state, found, way_out } in &checks {
            let state = match state {
                State::Ok => "ok",
                State::Warning => "warning",
                State::Failure => "FAILURE",
            };
            table.add_row([name, state, found, way_out]);
        }
        output::line(table)?;
        let count = |state| checks.iter().filter(|check| check.state == state).count();
        output::line(format!(
            "{} in order, warnings: {}, failures: {}",
            count(State::Ok),
            count(State::Warning),
            count(State::Failure)
        ))?;
    }
    let fails = checks.iter().any(|check| check.state == State::Failure);
    Ok(if fails { ExitCode::from(Exit::Findings as u8) } else { ExitCode::SUCCESS })
}

/// Every check, in the order in which a start would meet what they look at.
pub(super) fn examine(flags: &ConfigFlags, server: &ServerFlags) -> anyhow::Result<Vec<Check>> {
    let config = match flags.load() {
        Ok(config) => config,
        Err(error) => {
            let way_out = "mend it; `fitment config print` shows every key with its value and where that came from";
            return Ok(vec![Check::failure("configuration", format!("{error:#}"), way_out)]);
        }
    };
    let mut checks = vec![Check::ok("configuration", "valid")];
    let daemon = super::client_runtime()?.block_on(checks::daemon(server));
    let is_running = daemon.state == State::Ok;
    checks.push(checks::folder("data folder", &config.data_dir, "--data-dir"));
    checks.push(checks::space(&config.data_dir));
    checks.push(checks::store(&config, is_running));
    checks.push(checks::folder("models folder", &config.models_dir, "--models-dir"));
    checks.extend(checks::model(&config));
    checks.push(checks::file_limit());
    checks.push(checks::memory());
    checks.push(checks::clock(&config.data_dir));
    checks.push(super::client_runtime()?.block_on(checks::address(&config, is_running)));
    checks.push(daemon);
    Ok(checks)
}
