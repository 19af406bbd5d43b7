//! `fitment certify sign`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use fitment_catalog::Digest;
use fitment_trust::{
    CERTIFICATION_TYPE, Certification, Envelope, Evidence, EvidenceKind, REVOCATION_TYPE, StandardClaim, Statement,
    Subject, VERIFICATION_RESULT_TYPE, parse_time,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::super::laboratory::write_file;
use super::super::trust::{read_file, read_private_key};
use super::read_manifest;
use crate::output::{self, Invalid};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  fitment certify sign card-checkout.yaml --key alice.pem --standard pci-dss-4.0=6.4.3,8.3.1 --valid-days 365 --out c.dsse.json
  fitment certify sign a.yaml b.yaml --key alice.pem --predicate result.json --predicate-type svr --out c.dsse.json
  fitment certify sign card-checkout.yaml --unsigned --standard gdpr --valid-days 90 --out statement.json")]
pub(super) struct SignArguments {
    /// Manifests of the versions that are certified.
    manifests: Vec<PathBuf>,
    /// More subjects, by digest.
    #[arg(long, value_name = "sha256:DIGEST")]
    subject: Vec<Digest>,
    /// The private key, PKCS#8 PEM.
    #[arg(long, value_name = "FILE", required_unless_present = "unsigned")]
    key: Option<PathBuf>,
    /// File to write the envelope to.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// A standard that is met as a whole, or the requirements of it that are.
    #[arg(long, value_name = "STANDARD[=ID,..]", value_parser = standard)]
    standard: Vec<StandardClaim>,
    /// How far the standards are met, in their own words.
    #[arg(long, requires = "standard")]
    level: Option<String>,
    /// First instant at which it counts [default: now].
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    valid_from: Option<Timestamp>,
    /// First instant at which it no longer counts.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    valid_until: Option<Timestamp>,
    /// Days that it counts.
    #[arg(long, value_name = "N", conflicts_with = "valid_until", value_parser = clap::value_parser!(u32).range(1..=3650))]
    valid_days: Option<u32>,
    /// What a user must see to for it to hold.
    #[arg(long, value_name = "TEXT")]
    condition: Vec<String>,
    /// A document that it rests on; its digest is signed. KIND is sarif, cyclonedx, test-result, audit or other.
    #[arg(long, value_name = "KIND:FILE", value_parser = evidence)]
    evidence: Vec<(EvidenceKind, PathBuf)>,
    /// A predicate as JSON, instead of the flags for standards, validity, conditions and evidence.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["standard", "valid_from", "valid_until", "valid_days", "condition", "evidence"])]
    predicate: Option<PathBuf>,
    /// The predicate's type: certification, svr, revocation or a URI.
    #[arg(long, value_name = "TYPE", default_value = "certification", requires = "predicate")]
    predicate_type: String,
    /// Add a signature to this envelope instead of making one.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["manifests", "subject", "standard", "predicate", "unsigned"])]
    add_to: Option<PathBuf>,
    /// Write the statement without an envelope, to be signed with another tool.
    #[arg(long, conflicts_with = "key")]
    unsigned: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &SignArguments) -> anyhow::Result<ExitCode> {
    let (digest, signatures) = match (&arguments.add_to, &arguments.key) {
        (Some(file), Some(key)) => {
            let mut envelope = Envelope::parse(&read_file(file)?).with_context(|| file.display().to_string())?;
            // Nobody should put a name to what cannot be read.
            Statement::parse(envelope.payload()).with_context(|| file.display().to_string())?;
            envelope.add_signature(&read_private_key(key)?)?;
            write_envelope(&arguments.out, &envelope)?
        }
        (_, Some(key)) => {
            write_envelope(&arguments.out, &Envelope::sign(compose(arguments)?, &read_private_key(key)?)?)?
        }
        (_, None) => {
            let payload = compose(arguments)?;
            // Without the line feed that text files end with: these bytes are what is signed.
            std::fs::write(&arguments.out, &payload)
                .with_context(|| format!("{} cannot be written", arguments.out.display()))?;
            (Digest::of(&payload), 0)
        }
    };
    if arguments.json {
        output::json(&json!({ "certificate": digest, "signatures": signatures, "out": arguments.out }))?;
    } else {
        output::line(format!("{}: {digest}, {signatures} signatures", arguments.out.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn write_envelope(path: &Path, envelope: &Envelope) -> anyhow::Result<(Digest, usize)> {
    write_file(path, &String::from_utf8(envelope.to_json())?)?;
    Ok((envelope.digest(), envelope.signatures().len()))
}

/// The statement's bytes.
fn compose(arguments: &SignArguments) -> anyhow::Result<Vec<u8>> {
    let mut subjects = Vec::new();
    for path in &arguments.manifests {
        let manifest = read_manifest(path)?;
        subjects.push(Subject { name: Some(manifest.to_string()), digest: Some(manifest.digest()) });
    }
    subjects.extend(arguments.subject.iter().map(|digest| Subject { name: None, digest: Some(*digest) }));
    if subjects.is_empty() {
        return Err(Invalid("nothing to certify; name manifests, or digests with --subject".to_owned()).into());
    }
    let (type_uri, predicate) = match &arguments.predicate {
        Some(file) => {
            let predicate = serde_json::from_slice::<Value>(&read_file(file)?)
                .map_err(|error| Invalid(format!("{}: {error}", file.display())))?;
            let type_uri = match arguments.predicate_type.as_str() {
                "certification" => CERTIFICATION_TYPE,
                "svr" => VERIFICATION_RESULT_TYPE,
                "revocation" => REVOCATION_TYPE,
                uri if uri.contains(':') => uri,
                other => {
                    let way_out = "use certification, svr, revocation or a URI";
                    return Err(Invalid(format!("`{other}` is no predicate type; {way_out}")).into());
                }
            };
            (type_uri, predicate)
        }
        None => (CERTIFICATION_TYPE, certification(arguments)?.to_value()),
    };
    Ok(Statement::compose(&subjects, type_uri, &predicate)?)
}

fn certification(arguments: &SignArguments) -> anyhow::Result<Certification> {
    // Whole seconds read better, and no earlier instant is claimed than the clock's.
    let now = Timestamp::from_second(Timestamp::now().as_second())?;
    let valid_from = arguments.valid_from.unwrap_or(now);
    let valid_until = match (arguments.valid_until, arguments.valid_days) {
        (Some(until), _) => until,
        (None, Some(days)) => valid_from.checked_add(SignedDuration::from_hours(24 * i64::from(days)))?,
        (None, None) => {
            return Err(Invalid("how long it counts is missing; give --valid-days or --valid-until".to_owned()).into());
        }
    };
    if arguments.standard.is_empty() {
        return Err(Invalid("what is met is missing; give --standard or --predicate".to_owned()).into());
    }
    let with_level = |claim: &StandardClaim| StandardClaim { level: arguments.level.clone(), ..claim.clone() };
    Ok(Certification {
        standards: arguments.standard.iter().map(with_level).collect(),
        valid_from,
        valid_until,
        conditions: arguments.condition.clone(),
        evidence: arguments.evidence.iter().map(read_evidence).collect::<Result<_, _>>()?,
    })
}

fn read_evidence((kind, path): &(EvidenceKind, PathBuf)) -> anyhow::Result<Evidence> {
    let media_type = match (kind, path.extension().and_then(|extension| extension.to_str())) {
        (EvidenceKind::Sarif, _) => "application/sarif+json",
        (EvidenceKind::CycloneDx, Some("xml")) => "application/vnd.cyclonedx+xml",
        (EvidenceKind::CycloneDx, _) => "application/vnd.cyclonedx+json",
        (_, Some("json")) => "application/json",
        (_, Some("xml")) => "application/xml",
        (_, Some("pdf")) => "application/pdf",
        (_, Some("txt" | "md")) => "text/plain",
        _ => "application/octet-stream",
    };
    Ok(Evidence { kind: *kind, digest: Digest::of(&read_file(path)?), media_type: media_type.to_owned(), uri: None })
}

/// `STANDARD` or `STANDARD=ID,ID`. Whether the words are of their forms is checked when the statement is made.
fn standard(text: &str) -> Result<StandardClaim, String> {
    let (standard, requirements) = match text.split_once('=') {
        Some((_, "")) => return Err("name requirements after the =, or leave it out".to_owned()),
        Some((standard, ids)) => (standard, ids.split(',').map(str::to_owned).collect()),
        None => (text, Vec::new()),
    };
    Ok(StandardClaim { standard: standard.to_owned(), requirements, level: None })
}

/// `KIND:FILE`.
fn evidence(text: &str) -> Result<(EvidenceKind, PathBuf), String> {
    let (kind, file) = text.split_once(':').ok_or("write KIND:FILE, as sarif:scan.sarif")?;
    Ok((kind.parse()?, file.into()))
}
