//! `fitment certify verify`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use fitment_catalog::{Digest, Manifest};
use fitment_trust::{Standing, TrustError, parse_time};
use jiff::Timestamp;
use serde_json::json;

use super::super::trust::{read_file, read_root};
use super::read_manifest;
use crate::output;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  fitment certify verify card-checkout.yaml --trust root.yaml --certificate card-checkout.dsse.json
  fitment certify verify *.yaml --trust root.yaml --certificate a.dsse.json --certificate b.dsse.json --json
  fitment certify verify card-checkout.yaml --trust root.yaml --certificate c.dsse.json --at 2027-01-01T00:00:00Z

Ends with code 0 when every version is certified and 1 when one is not; what is missing is said.")]
pub(super) struct VerifyArguments {
    /// Manifests of the versions.
    #[arg(required = true)]
    manifests: Vec<PathBuf>,
    /// The trust root.
    #[arg(long, value_name = "FILE")]
    trust: PathBuf,
    /// Certificates: DSSE envelopes. One that cannot be read or verified is shown and does not count.
    #[arg(long, value_name = "FILE")]
    certificate: Vec<PathBuf>,
    /// Revocations: DSSE envelopes. One that is not accepted ends the command.
    #[arg(long, value_name = "FILE")]
    revocation: Vec<PathBuf>,
    /// The instant to judge at [default: now].
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    at: Option<Timestamp>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A version and what was found about it.
struct Verdict {
    name: String,
    digest: Digest,
    standing: Standing,
}

pub(super) fn run(arguments: &VerifyArguments) -> anyhow::Result<ExitCode> {
    let root = read_root(&arguments.trust)?;
    let now = Timestamp::now();
    let mut certificates = Vec::new();
    let mut refused = Vec::new();
    for path in &arguments.certificate {
        match root.verify(&read_file(path)?) {
            Ok(certificate) => certificates.push(certificate),
            Err(error) => refused.push((path.display().to_string(), error)),
        }
    }
    let mut revocations = Vec::new();
    for path in &arguments.revocation {
        let accepted = root.verify(&read_file(path)?).and_then(|revocation| root.admit(&revocation, now));
        revocations.push(accepted.with_context(|| path.display().to_string())?);
    }
    let judge = |manifest: &Manifest| Verdict {
        name: manifest.to_string(),
        digest: manifest.digest(),
        standing: fitment_trust::assess(
            &manifest.digest(),
            manifest.name(),
            &certificates,
            &revocations,
            &root,
            arguments.at.unwrap_or(now),
        ),
    };
    let verdicts: Vec<Verdict> = arguments
        .manifests
        .iter()
        .map(|path| read_manifest(path).map(|manifest| judge(&manifest)))
        .collect::<Result<_, _>>()?;
    if arguments.json {
        print_json(&verdicts, &refused)?;
    } else {
        print(&verdicts, &refused)?;
    }
    let all = verdicts.iter().all(|verdict| verdict.standing.certified);
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn print_json(verdicts: &[Verdict], refused: &[(String, TrustError)]) -> anyhow::Result<()> {
    let version = |Verdict { name, digest, standing }: &Verdict| -> anyhow::Result<serde_json::Value> {
        let mut value = serde_json::to_value(standing)?;
        for (shown, finding) in value["findings"].as_array_mut().into_iter().flatten().zip(&standing.findings) {
            shown["message"] = finding.reason.to_string().into();
        }
        Ok(json!({ "version": name, "digest": digest, "standing": value }))
    };
    let refused = refused.iter().map(|(file, error)| json!({ "file": file, "message": error.to_string() }));
    output::json(&json!({
        "versions": verdicts.iter().map(version).collect::<anyhow::Result<Vec<_>>>()?,
        "refused": refused.collect::<Vec<_>>(),
    }))
}

fn print(verdicts: &[Verdict], refused: &[(String, TrustError)]) -> anyhow::Result<()> {
    for (file, error) in refused {
        eprintln!("{file} does not count: {error}");
    }
    for Verdict { name, digest, standing } in verdicts {
        let headline = match (standing.certified_until(), standing.changes_at) {
            (Some(until), _) => format!("certified until {until}"),
            (None, Some(from)) => format!("not certified before {from}"),
            (None, None) => "not certified".to_owned(),
        };
        output::line(format!("{name} ({digest}): {headline}"))?;
        if standing.requirements.is_empty() {
            output::line("  no policy of the trust root is about this component; add one")?;
        }
        for by in &standing.revoked_by {
            output::line(format!("  the version is revoked by {by}; publish a new version"))?;
        }
        for coverage in &standing.requirements {
            let keys: std::collections::BTreeSet<&str> =
                coverage.support.iter().map(|support| support.key.as_str()).collect();
            let keys =
                if keys.is_empty() { "no key".to_owned() } else { keys.into_iter().collect::<Vec<_>>().join(", ") };
            let state = match coverage.until {
                Some(until) => format!("covered until {until}"),
                None => format!("MISSING: {} needed", coverage.threshold),
            };
            output::line(format!("  {}: {}: {state}, by {keys}", coverage.policy, coverage.requirement))?;
        }
        for condition in &standing.conditions {
            output::line(format!("  on condition: {condition}"))?;
        }
        for finding in &standing.findings {
            output::line(format!("  {} {}", finding.certificate, finding.reason))?;
        }
    }
    Ok(())
}
