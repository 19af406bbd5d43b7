//! `fitment config`.

use std::process::ExitCode;

use crate::output;
use fitment_server::config::ConfigFlags;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  fitment config check --config fitment.toml
  fitment config print")]
pub(super) struct ConfigArguments {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, clap::Subcommand)]
enum ConfigCommand {
    /// Check file, environment and flags; unknown keys and values out of range are refused.
    Check {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show every key, its value and where that came from.
    Print {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(arguments: &ConfigArguments, flags: &ConfigFlags) -> anyhow::Result<ExitCode> {
    match arguments.command {
        ConfigCommand::Check { json } => {
            flags.load()?;
            if json {
                output::json(&serde_json::json!({"valid": true}))?;
            } else {
                output::line("the configuration is valid")?;
            }
        }
        ConfigCommand::Print { json } => {
            let origins = flags.origins()?;
            if json {
                output::json(&origins)?;
            } else {
                let mut table = output::table(&["key", "value", "from"]);
                for (key, (value, origin)) in origins {
                    table.add_row([key, value, origin]);
                }
                output::line(table)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
