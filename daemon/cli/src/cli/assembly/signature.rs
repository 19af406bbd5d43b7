//! Who signed a compliance report, and whether its files are those that were signed; files only.

use std::path::PathBuf;
use std::process::ExitCode;

use fitment_assembly::COMPLIANCE_TYPE;
use fitment_catalog::Digest;
use fitment_engine::REPORT_FILES;
use fitment_trust::{Envelope, PublicKey, Statement};

use super::documents::ENVELOPE_FILE;
use super::verdict;
use crate::cli::trust::{read_file, read_public_keys};
use crate::output::{self, Invalid};

#[derive(Debug, clap::Args)]
pub(super) struct SignatureArguments {
    /// The folder that `fitment assembly report` wrote.
    report: PathBuf,
    /// A key that may have signed it (PEM, SPKI); several times, and one suffices.
    #[arg(long, value_name = "FILE", required = true)]
    public: Vec<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn verify(arguments: &SignatureArguments) -> anyhow::Result<ExitCode> {
    let SignatureArguments { report, public, json } = arguments;
    let keys = read_public_keys(public)?;
    let envelope = Envelope::parse(&read_file(&report.join(ENVELOPE_FILE))?)?;
    let signers: Vec<String> = envelope.signers(&keys).iter().map(PublicKey::id).collect();
    let statement = Statement::parse(envelope.payload())?;
    let kind = statement.predicate().type_uri();
    if kind != COMPLIANCE_TYPE {
        return Err(
            Invalid(format!("{ENVELOPE_FILE} holds a statement of the type {kind}, not {COMPLIANCE_TYPE}")).into()
        );
    }
    let mut faults = Vec::new();
    if signers.is_empty() {
        faults.push("none of the keys given has signed it".to_owned());
    }
    for name in REPORT_FILES {
        let signed = statement.subjects().iter().find(|subject| subject.name.as_deref() == Some(name));
        match (signed.and_then(|subject| subject.digest), std::fs::read(report.join(name))) {
            (None, _) => faults.push(format!("{name} was not signed")),
            (Some(_), Err(error)) => faults.push(format!("{name} cannot be read: {error}")),
            (Some(signed), Ok(bytes)) if Digest::of(&bytes) != signed => {
                faults.push(format!("{name} is not the file that was signed: {signed}"));
            }
            (Some(_), Ok(_)) => {}
        }
    }
    let about = statement.subjects().last().and_then(|subject| subject.name.clone()).unwrap_or_default();
    if *json {
        output::json(&serde_json::json!({ "assembly": about, "signers": signers, "faults": faults }))?;
        return Ok(verdict(faults.is_empty()));
    }
    for fault in &faults {
        output::line(format!("error: {fault}"))?;
    }
    if faults.is_empty() {
        output::line(format!("the report on {about} is as it was signed by {}", signers.join(", ")))?;
    }
    Ok(verdict(faults.is_empty()))
}
