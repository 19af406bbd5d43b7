//! `fitment trust`: trust roots as files.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use fitment_catalog::Format;
use fitment_engine::EngineError;
use fitment_proto::v1;
use fitment_trust::{PrivateKey, PublicKey, TrustRoot};
use serde_json::json;

use super::common::show_touched;
use crate::client::{AuthorFlags, ServerFlags};
use crate::output::{self, Invalid};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  fitment trust check root.yaml
  fitment trust check new-root.yaml --installed root.yaml      # may it take its place?
  fitment trust show root.yaml --json
  fitment trust install root.yaml --reason \"second auditor\"

A trust root names keys, what each may certify for which components, and what components need; docs/certification.md shows
one. It is not signed: who may write the file decides. Its version only rises.")]
pub(super) struct TrustArguments {
    #[command(subcommand)]
    command: TrustCommand,
}

#[derive(Debug, clap::Subcommand)]
enum TrustCommand {
    /// Check a trust root, and whether it may follow another.
    Check {
        /// The trust root, YAML or JSON.
        root: PathBuf,
        /// The root that is in force.
        #[arg(long, value_name = "FILE")]
        installed: Option<PathBuf>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Put a trust root into force on a running daemon: from then on only what is certified under it may answer.
    Install {
        /// The trust root, YAML or JSON.
        root: PathBuf,
        #[command(flatten)]
        author: AuthorFlags,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: ServerFlags,
    },
    /// Print the trust root that is in force on a running daemon, as JSON.
    Get {
        #[command(flatten)]
        server: ServerFlags,
    },
    /// Show keys, roles and policies.
    Show {
        /// The trust root, YAML or JSON.
        root: PathBuf,
        /// Print JSON: the root with every default written out, and its digest.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(arguments: TrustArguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        TrustCommand::Check { root, installed, json } => check(&root, installed.as_deref(), json)?,
        TrustCommand::Show { root, json } => show(&root, json)?,
        TrustCommand::Install { root, author: AuthorFlags { reason, actor }, json, server } => {
            let trust_root = read_file(&root)?;
            let source = root.display().to_string();
            let request = v1::InstallTrustRootRequest { trust_root, source, actor, reason };
            let installed = super::client_runtime()?.block_on(async {
                let mut client = server.certification().await?;
                anyhow::Ok(client.install_trust_root(server.request(request)).await?.into_inner())
            })?;
            let v1::InstallTrustRootResponse { revision, version, digest, matchable_versions, touched } = installed;
            if json {
                output::json(
                    &json!({"version": version, "digest": digest, "revision": revision, "matchable_versions": matchable_versions}),
                )?;
            } else {
                output::line(format!(
                    "trust root version {version} ({digest}) is in force from revision {revision} on"
                ))?;
                output::line(format!("{matchable_versions} versions may answer now"))?;
                show_touched(touched)?;
            }
        }
        TrustCommand::Get { server } => {
            let root = super::client_runtime()?.block_on(async {
                let mut client = server.certification().await?;
                anyhow::Ok(client.get_trust_root(server.request(v1::GetTrustRootRequest {})).await?.into_inner())
            })?;
            output::json(&serde_json::from_str::<serde_json::Value>(&root.json)?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads a file; one that is absent has its own exit code.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, EngineError> {
    std::fs::read(path).map_err(|source| EngineError::Io { path: path.to_owned(), source })
}

/// Reads a text.
///
/// Errors: the file's; one that is not UTF-8.
pub(super) fn read_text(path: &Path) -> anyhow::Result<String> {
    String::from_utf8(read_file(path)?).map_err(|_not_text| Invalid(format!("{} is not UTF-8", path.display())).into())
}

/// Reads a file that holds a key.
///
/// Errors: the file's; one that is no text.
fn read_pem(path: &Path) -> anyhow::Result<String> {
    String::from_utf8(read_file(path)?).map_err(|_not_text| Invalid(format!("{} is no PEM", path.display())).into())
}

/// Reads a private key.
pub(super) fn read_private_key(path: &Path) -> anyhow::Result<PrivateKey> {
    PrivateKey::from_pem(&read_pem(path)?).with_context(|| path.display().to_string())
}

/// Reads public keys.
pub(super) fn read_public_keys(files: &[PathBuf]) -> anyhow::Result<Vec<PublicKey>> {
    let read = |file: &PathBuf| {
        let read = PublicKey::parse(&read_pem(file)?);
        read.map_err(|error| Invalid(format!("{}: {error}", file.display())).into())
    };
    files.iter().map(read).collect()
}

/// Reads a trust root.
pub(super) fn read_root(path: &Path) -> anyhow::Result<TrustRoot> {
    let bytes = read_file(path)?;
    let shown = path.display().to_string();
    TrustRoot::parse(&shown, &bytes, Format::Auto).with_context(|| shown.clone())
}

fn check(path: &Path, installed: Option<&Path>, json: bool) -> anyhow::Result<()> {
    let root = read_root(path)?;
    if let Some(installed) = installed {
        root.succeeds(&read_root(installed)?)?;
    }
    if json {
        return output::json(&json!({ "version": root.version(), "digest": root.digest() }));
    }
    output::line(format!(
        "version {} is valid: {} keys, {} roles, {} policies, {}",
        root.version(),
        root.keys().len(),
        root.roles().len(),
        root.policies().len(),
        root.digest()
    ))
}

fn show(path: &Path, json: bool) -> anyhow::Result<()> {
    let root = read_root(path)?;
    if json {
        let mut value = root.to_value();
        value["digest"] = root.digest().to_string().into();
        return output::json(&value);
    }
    output::line(format!("version {}, {}", root.version(), root.digest()))?;
    let mut keys = output::table(&["key", "public key", "not before", "not after"]);
    for key in root.keys() {
        keys.add_row([key.id.clone(), key.public.to_base64(), key.not_before.to_string(), key.not_after.to_string()]);
    }
    output::line(keys)?;
    let mut roles = output::table(&["role", "keys", "components", "may certify", "may revoke", "may bundle"]);
    for role in root.roles() {
        roles.add_row([
            role.id.clone(),
            list(&role.keys),
            list(&role.components),
            list(role.standards.iter().chain(&role.properties)),
            if role.may_revoke { "yes" } else { "no" }.to_owned(),
            if role.may_bundle { "yes" } else { "no" }.to_owned(),
        ]);
    }
    output::line(roles)?;
    let mut policies = output::table(&["policy", "components", "requires", "keys each", "days at most"]);
    for policy in root.policies() {
        policies.add_row([
            policy.id.clone(),
            list(&policy.components),
            list(&policy.require),
            policy.threshold.to_string(),
            policy.max_age_days.map_or_else(|| "any".to_owned(), |days| days.to_string()),
        ]);
    }
    output::line(policies)
}

fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}
