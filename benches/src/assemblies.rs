//! Keeps many assemblies on a running daemon, and times who is touched by one version.

#![expect(clippy::cast_precision_loss, reason = "figures for people")]

use std::fmt::Write as _;
use std::time::Instant;

use anyhow::{Context, ensure};
use fitment_proto::v1;
use fitment_proto::v1::assembly_service_client::AssemblyServiceClient;
use fitment_proto::v1::catalog_service_client::CatalogServiceClient;
use fitment_proto::v1::impact_target::Target;
use hdrhistogram::Histogram;
use tonic::transport::Channel;

use crate::print;

/// Namespace of the assemblies that are made here.
const NAMESPACE: &str = "load";

#[derive(Debug, clap::Args)]
pub(crate) struct AssembliesArguments {
    /// Assemblies to keep; 0: only ask.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    count: u32,
    /// Parts of each.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=256))]
    parts: u32,
    /// Questions that are timed for each size of a page.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    questions: u32,
}

pub(crate) async fn run(channel: Channel, arguments: &AssembliesArguments) -> anyhow::Result<()> {
    let versions = versions(channel.clone()).await?;
    let mut client = AssemblyServiceClient::new(channel).max_decoding_message_size(64 << 20);
    let started = Instant::now();
    for at in 0..arguments.count {
        let document = document(at, arguments.parts, &versions)?.into_bytes();
        client.register_assembly(v1::RegisterAssemblyRequest { document, ..Default::default() }).await?;
        if (at + 1).is_multiple_of(1000) {
            print(&format!("{} kept, {:.1} a second", at + 1, f64::from(at + 1) / started.elapsed().as_secs_f64()));
        }
    }
    // The first version is in every assembly, the last one in as many as come to it by turns.
    let (first, last) = (versions.first().context("versions")?, versions.last().context("versions")?);
    for (what, version) in [("in each", first), ("in some", last)] {
        for (page_size, names_only) in [(100, true), (10_000, true), (10, false)] {
            ask(&mut client, arguments.questions, what, version, page_size, names_only).await?;
        }
    }
    Ok(())
}

/// Asks one question so often, and says how long its answers took.
async fn ask(
    client: &mut AssemblyServiceClient<Channel>,
    questions: u32,
    what: &str,
    version: &str,
    page_size: u32,
    names_only: bool,
) -> anyhow::Result<()> {
    let mut spread = Histogram::<u64>::new_with_bounds(1, 3_600_000_000, 3)?;
    let mut touched = v1::GetImpactResponse::default();
    for _ in 0..questions {
        let target = Some(v1::ImpactTarget { target: Some(Target::Version(version.to_owned())) });
        let request = v1::GetImpactRequest { target, page_size, names_only, ..Default::default() };
        let asked = Instant::now();
        touched = client.get_impact(request).await?.into_inner();
        spread.record(u64::try_from(asked.elapsed().as_micros())?)?;
    }
    let at = |quantile| spread.value_at_quantile(quantile) as f64 / 1000.0;
    let form = if names_only { "names" } else { "needs" };
    print(&format!(
        "{what}: {version}, {} assemblies, {} parts; page of {page_size}, {form}: p50 {:.2} ms, p99 {:.2}, longest {:.2}",
        touched.total_size,
        touched.total_parts,
        at(0.5),
        at(0.99),
        at(1.0)
    ));
    Ok(())
}

/// `namespace/name@version` of what the daemon serves.
async fn versions(channel: Channel) -> anyhow::Result<Vec<String>> {
    let request = v1::ListComponentsRequest { page_size: 1000, ..Default::default() };
    let page = CatalogServiceClient::new(channel).list_components(request).await?.into_inner();
    let versions: Vec<String> =
        page.components.iter().map(|component| format!("{}@{}", component.name, component.version)).collect();
    ensure!(!versions.is_empty(), "the catalogue is empty; `fitment demo` serves one");
    Ok(versions)
}

/// An assembly of so many parts: the first version, then others by turns.
fn document(at: u32, parts: u32, versions: &[String]) -> anyhow::Result<String> {
    let mut text = format!("name: {NAMESPACE}/app-{at:06}\nowner: team-{}\nparts:\n", at % 100);
    for part in 0..parts {
        let turn = if part == 0 { 0 } else { 1 + (at as usize * 7 + part as usize * 3) % (versions.len() - 1).max(1) };
        let version = versions.get(turn).or(versions.first()).map_or("", String::as_str);
        writeln!(text, "- {{id: part-{part:03}, component: {version}}}")?;
    }
    Ok(text)
}
