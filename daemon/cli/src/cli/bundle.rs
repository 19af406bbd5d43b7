//! `fitment bundle`: a catalogue as one signed file, for the way across an air gap.

mod export;
mod import;
mod models;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use fitment_catalog::Digest;
use fitment_engine::{
    BundleContent, BundleEntry, BundleFile, BundleKind, BundleTaker, EngineError, Reading, Work, bundle_signers,
};
use serde_json::json;

use super::of_files;
use super::trust::{read_public_keys, read_root};
use crate::output;
use fitment_server::config::ConfigFlags;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  fitment bundle export catalog.fitment --key release.pem       from the daemon on this machine, which goes on serving
  fitment bundle export small.fitment --key release.pem --without model,ranker --labels intents.csv
  fitment bundle verify catalog.fitment --trust root.yaml       every byte, the signature, every certificate; no daemon needed
  fitment bundle import catalog.fitment --dry-run               what would be created, updated, kept; nothing is changed
  fitment bundle import catalog.fitment                         signed by a key whose role `may_bundle` in the installed trust root
  fitment bundle import catalog.fitment --key release.pub.pem   the first one, where no trust root is installed yet

A bundle is a tar archive: any tar program lists and unpacks it. An export or an import that was interrupted is started again by
the same command. docs/bundles.md describes the format and what is checked.")]
pub(super) struct BundleArguments {
    #[command(subcommand)]
    command: BundleCommand,
}

#[derive(Debug, clap::Subcommand)]
enum BundleCommand {
    /// Write what a catalogue holds into one file.
    Export(export::ExportArguments),
    /// Check a bundle to the last byte. Ends with code 7 when it is damaged.
    Verify(VerifyArguments),
    /// Take a bundle into a catalogue: all of it, or nothing.
    Import(import::ImportArguments),
}

#[derive(Debug, clap::Args)]
struct VerifyArguments {
    /// The bundle.
    file: PathBuf,
    /// A trust root with the keys that `may_bundle`.
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
    /// A public key (PEM) that is believed.
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: BundleArguments, config: &ConfigFlags) -> anyhow::Result<ExitCode> {
    match arguments.command {
        BundleCommand::Export(arguments) => export::run(&arguments, config),
        BundleCommand::Verify(arguments) => verify(arguments),
        BundleCommand::Import(arguments) => import::run(arguments, config),
    }
}

fn verify(arguments: VerifyArguments) -> anyhow::Result<ExitCode> {
    let VerifyArguments { file, trust, key, json } = arguments;
    let root = trust.as_deref().map(read_root).transpose()?;
    let keys = read_public_keys(&key)?;
    let (bundle, contents) = super::run_interruptible(of_files(move |work| read_carried(&file, work)))?;
    let (manifest, bytes, signature) = bundle;
    let now = jiff::Timestamp::now();
    let asked = root.is_some() || !keys.is_empty();
    let signers =
        if asked { bundle_signers(&Digest::of(&bytes), &signature, root.as_ref(), &keys, now)? } else { Vec::new() };
    let has_root = root.is_some() || manifest.entries.iter().any(|entry| entry.kind == BundleKind::TrustRoot);
    let without = if has_root { [].into() } else { [BundleKind::Certificate].into() };
    // Whether a revocation still can be accepted is for an import to say.
    let reading = Reading { root: root.as_ref(), vouched: true, now, without: &without };
    BundleContent::read(&manifest, contents, reading)?;
    let signed = match (signature.is_empty(), asked) {
        (true, _) => "it is not signed".to_owned(),
        (false, false) => "its signature was not checked: name --trust or --key".to_owned(),
        (false, true) => format!("signed by {}", signers.join(", ")),
    };
    let mut counts = std::collections::BTreeMap::new();
    for entry in &manifest.entries {
        *counts.entry(entry.kind).or_insert(0u64) += 1;
    }
    if json {
        let counts: serde_json::Map<_, _> =
            counts.iter().map(|(kind, count)| (kind.to_string(), json!(count))).collect();
        output::json(&json!({
            "whole": true,
            "id": manifest.id,
            "source": manifest.source,
            "sequence": manifest.sequence,
            "time": manifest.time,
            "revision": manifest.revision,
            "model": manifest.model,
            "models": manifest.models,
            "signed": !signature.is_empty(),
            "signature_checked": asked,
            "signers": signers,
            "certificates_verified": has_root,
            "entries": counts,
            "bytes": manifest.bytes(),
            "left_out": manifest.left_out,
        }))?;
    } else {
        let counts: Vec<String> = counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        output::line(format!(
            "{} is whole; {signed}\nexport {} of catalogue {}, revision {}, {:.0}, {} bytes: {}",
            manifest.id,
            manifest.sequence,
            manifest.source,
            manifest.revision,
            manifest.time,
            manifest.bytes(),
            counts.join(", ")
        ))?;
        if !has_root && manifest.entries.iter().any(|entry| entry.kind == BundleKind::Certificate) {
            output::line("its certificates were not verified: it carries no trust root, name one with --trust")?;
        }
        for left_out in &manifest.left_out {
            output::line(format!("left out: {left_out}"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A bundle's manifest, its bytes and its signature.
type Said = (fitment_engine::BundleManifest, Vec<u8>, Vec<u8>);

/// Reads a bundle to its last byte. Keeps what goes into a catalogue.
fn read_carried(file: &Path, work: Work<'_>) -> Result<(Said, Vec<Vec<u8>>), EngineError> {
    #[derive(Default)]
    struct Carried(Vec<Vec<u8>>);
    impl BundleTaker for Carried {
        fn whole(&mut self, _entry: &BundleEntry, bytes: Vec<u8>) -> Result<(), EngineError> {
            self.0.push(bytes);
            Ok(())
        }

        fn piece(&mut self, _entry: &BundleEntry, _piece: &[u8]) -> Result<(), EngineError> {
            Ok(())
        }

        fn done(&mut self, _entry: &BundleEntry) -> Result<(), EngineError> {
            Ok(())
        }
    }
    let bundle = BundleFile::open(file)?;
    let said = (bundle.manifest().clone(), bundle.manifest_bytes().to_vec(), bundle.signature().to_vec());
    let mut carried = Carried::default();
    bundle.walk(&mut carried, work)?;
    Ok((said, carried.0))
}
