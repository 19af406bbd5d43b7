//! Certificates and revocations handed to a running daemon, and what they amount to there.

use std::path::PathBuf;
use std::process::ExitCode;

use fitment_proto::v1;

use crate::cli::common::{Common, Named, show_touched, time_text};
use crate::cli::trust::read_file;
use crate::client::AuthorFlags;
use crate::output;

#[derive(Debug, clap::Args)]
pub(super) struct AddArguments {
    /// The certificate: a DSSE envelope.
    certificate: PathBuf,
    /// A file that it names as evidence by digest, to be kept with it.
    #[arg(long, value_name = "FILE")]
    evidence: Vec<PathBuf>,
    #[command(flatten)]
    told: Told,
}

#[derive(Debug, clap::Args)]
pub(super) struct RevokeArguments {
    /// The revocation: a DSSE envelope.
    revocation: PathBuf,
    #[command(flatten)]
    told: Told,
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArguments {
    /// NAMESPACE/NAME, NAMESPACE/NAME@VERSION, or sha256:DIGEST.
    component: String,
    #[command(flatten)]
    common: Common,
}

/// Who asks, why, and how the answer is printed.
#[derive(Debug, clap::Args)]
struct Told {
    #[command(flatten)]
    author: AuthorFlags,
    #[command(flatten)]
    common: Common,
}

pub(super) async fn add(arguments: AddArguments) -> anyhow::Result<ExitCode> {
    let AddArguments { certificate, evidence, told } = arguments;
    let evidence = evidence.iter().map(|file| read_file(file)).collect::<Result<_, _>>()?;
    let AuthorFlags { actor, reason } = told.author.clone();
    let request =
        v1::AddCertificateRequest { envelope: read_file(&certificate)?, evidence, actor, reason, earlier_roots: false };
    let mut client = told.common.server.certification().await?;
    told.print(client.add_certificate(told.common.server.request(request)).await?.into_inner())
}

pub(super) async fn revoke(arguments: RevokeArguments) -> anyhow::Result<ExitCode> {
    let RevokeArguments { revocation, told } = arguments;
    let AuthorFlags { actor, reason } = told.author.clone();
    let request =
        v1::RevokeCertificateRequest { envelope: read_file(&revocation)?, actor, reason, accepted_json: String::new() };
    let mut client = told.common.server.certification().await?;
    let recorded = client.revoke_certificate(told.common.server.request(request)).await?.into_inner();
    if recorded.versions.is_empty() && !recorded.already_recorded {
        eprintln!("nothing that is stored stands on what was revoked; it is kept and holds for what comes");
    }
    told.print(recorded)
}

pub(super) async fn list(arguments: &ListArguments) -> anyhow::Result<ExitCode> {
    let ListArguments { component, common: Common { json, server } } = arguments;
    let Named { name, version, digest } = Named::read(component);
    let request = v1::ListCertificatesRequest { name, version, digest };
    let found = server.certification().await?.list_certificates(server.request(request)).await?.into_inner();
    if *json {
        output::json(&output::message_json("fitment.v1.ListCertificatesResponse", &found)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    for certificate in &found.certificates {
        let signers = certificate.signers.join(", ");
        output::line(format!("{}\t{}\tsigned by {signers}", certificate.digest, certificate.predicate_type))?;
    }
    match &found.standing {
        Some(standing) => print_standing(standing)?,
        None => output::line("no trust root is installed: the lifecycle decides alone")?,
    }
    Ok(ExitCode::SUCCESS)
}

impl Told {
    fn print(&self, recorded: v1::CertificationRecord) -> anyhow::Result<ExitCode> {
        if self.common.json {
            output::json(&output::message_json("fitment.v1.CertificationRecord", &recorded)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        let v1::CertificationRecord { digest, revision, versions, already_recorded, touched } = recorded;
        let recorded = if already_recorded { "was recorded already" } else { "recorded" };
        output::line(format!("{digest} {recorded}; revision {revision}"))?;
        for standing in &versions {
            print_standing(standing)?;
        }
        show_touched(touched)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn print_standing(standing: &v1::VersionStanding) -> anyhow::Result<()> {
    let time = |time: &Option<prost_types::Timestamp>| {
        let time = time_text(*time);
        if time.is_empty() { time } else { format!(" until {time}") }
    };
    let word = if standing.certified { "certified" } else { "not certified" };
    output::line(format!("{}@{}: {word}{}", standing.name, standing.version, time(&standing.changes_at)))?;
    for requirement in &standing.requirements {
        let mark = if requirement.covered { "✔" } else { "✘" };
        let (by, of) = (requirement.support.len(), requirement.threshold);
        let until = time(&requirement.until);
        output::line(format!(
            "  {mark} {} ({by} of {of} keys, policy {}){until}",
            requirement.requirement, requirement.policy
        ))?;
    }
    for condition in &standing.conditions {
        output::line(format!("  condition: {condition}"))?;
    }
    for finding in standing.revoked_by.iter().map(|by| format!("revoked by {by}")).chain(standing.findings.clone()) {
        output::line(format!("  {finding}"))?;
    }
    Ok(())
}
