//! Who uses something, what each would need, and news of those who do.

use std::process::ExitCode;

use fitment_proto::v1;

use super::{show_finding, verdict};
use crate::cli::common::Common;
use crate::output;

/// Assemblies of a page.
const PAGE: u32 = 100;

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("target").required(true))]
pub(super) struct ImpactArguments {
    /// All versions of a component.
    #[arg(long, value_name = "NAMESPACE/NAME", group = "target")]
    component: Option<String>,
    /// One version.
    #[arg(long, value_name = "NAMESPACE/NAME@VERSION", group = "target")]
    version: Option<String>,
    /// Versions that a certificate is about.
    #[arg(long, value_name = "sha256:DIGEST", group = "target")]
    certificate: Option<String>,
    /// Versions that a key has certified, by its id in the trust root or that of its envelopes.
    #[arg(long, value_name = "ID", group = "target")]
    key: Option<String>,
    /// Versions that claim a standard, or `STANDARD/REQUIREMENT`.
    #[arg(long, value_name = "STANDARD", group = "target")]
    standard: Option<String>,
    /// Only say which, not what each would need.
    #[arg(long)]
    names: bool,
    /// Assemblies to show at most; 0: all.
    #[arg(long, value_name = "N", default_value_t = 100)]
    most: usize,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
pub(super) struct WatchArguments {
    /// Only these; absent: all.
    names: Vec<String>,
    /// Tell first what changed after this revision of the catalogue.
    #[arg(long, value_name = "REVISION", default_value_t = 0)]
    after: u64,
    /// End after this many events; 0: never.
    #[arg(long, value_name = "N", default_value_t = 0)]
    most: usize,
    #[command(flatten)]
    common: Common,
}

pub(super) async fn impact(arguments: ImpactArguments) -> anyhow::Result<ExitCode> {
    use v1::impact_target::Target;
    let ImpactArguments { component, version, certificate, key, standard, names, most, common } = arguments;
    let target = component
        .map(Target::Component)
        .or(version.map(Target::Version))
        .or(certificate.map(Target::Certificate))
        .or(key.map(Target::Key))
        .or(standard.map(Target::Standard));
    let most = if most == 0 { usize::MAX } else { most };
    let mut client = common.server.assemblies().await?;
    let (mut assemblies, mut page_token) = (Vec::new(), String::new());
    let (total, parts) = loop {
        let page_size = u32::try_from(most - assemblies.len()).unwrap_or(PAGE).min(PAGE);
        let target = Some(v1::ImpactTarget { target: target.clone() });
        let request = v1::GetImpactRequest { target, page_size, page_token, names_only: names };
        let page = client.get_impact(common.server.request(request)).await?.into_inner();
        assemblies.extend(page.assemblies);
        page_token = page.next_page_token;
        if page_token.is_empty() || assemblies.len() >= most {
            break (page.total_size, page.total_parts);
        }
    };
    if common.json {
        let listed: Vec<_> = assemblies
            .iter()
            .map(|assembly| output::message_json("fitment.v1.AssemblyImpact", assembly))
            .collect::<Result<_, _>>()?;
        output::json(&serde_json::json!({ "assemblies": listed, "total": total, "parts": parts }))?;
        return Ok(ExitCode::SUCCESS);
    }
    if !assemblies.is_empty() {
        let mut table = output::table(&["assembly", "owner", "part", "in use", "would need"]);
        for v1::AssemblyImpact { assembly, parts, owner } in &assemblies {
            if parts.is_empty() {
                table.add_row([assembly.as_str(), owner.as_str(), "", "declares it", ""]);
            }
            for part in parts {
                let need = need(part);
                table.add_row([assembly.clone(), owner.clone(), part.part.clone(), part.component.clone(), need]);
            }
        }
        output::line(table)?;
    }
    output::line(format!("{} of {total} assemblies, {parts} parts in all", assemblies.len()))?;
    Ok(ExitCode::SUCCESS)
}

/// What a part would need, for people.
fn need(part: &v1::PartImpact) -> String {
    let v1::PartImpact { replacement, changes, .. } = part;
    let with = if changes.is_empty() { String::new() } else { format!("; {}", changes.join("; ")) };
    match part.remedy() {
        v1::Remedy::Unspecified => String::new(),
        v1::Remedy::Compatible => format!("{replacement}, as it is configured"),
        v1::Remedy::Rebind => format!("{replacement}, configured anew{with}"),
        v1::Remedy::Supersede => format!("{replacement}, connected anew{with}"),
        v1::Remedy::Nothing => "no other certified version fits".to_owned(),
    }
}

pub(super) async fn watch(arguments: WatchArguments) -> anyhow::Result<ExitCode> {
    let WatchArguments { names, after, most, common } = arguments;
    let mut client = common.server.assemblies().await?;
    // No deadline: it ends when somebody ends it.
    let request = v1::WatchAssembliesRequest { names, after_revision: after };
    let mut events = client.watch_assemblies(request).await?.into_inner();
    let mut seen = 0;
    let mut passes = true;
    while let Some(event) = events.message().await? {
        passes = event.passes;
        if common.json {
            output::line(output::message_json("fitment.v1.AssemblyEvent", &event)?)?;
        } else {
            let verdict = if event.passes { "passes" } else { "does not pass" };
            let parts = event.parts.join(", ");
            output::line(format!(
                "{} {verdict}: {} ({parts}); revision {}",
                event.assembly, event.cause, event.revision
            ))?;
            for finding in &event.findings {
                show_finding(finding)?;
            }
        }
        seen += 1;
        if seen == most {
            break;
        }
    }
    Ok(verdict(passes || seen != most))
}
