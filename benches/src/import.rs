//! Imports a large catalogue made from a table of names and summaries.

#![expect(clippy::cast_precision_loss, reason = "figures for people")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, ensure};
use fitment_proto::v1;
use fitment_proto::v1::catalog_service_client::CatalogServiceClient;
use tonic::transport::Channel;

use crate::print;

#[derive(Debug, clap::Args)]
pub(crate) struct ImportArguments {
    /// Tab-separated table with a header line.
    #[arg(long)]
    tsv: PathBuf,
    /// Column of the name, from 0.
    #[arg(long, default_value_t = 0)]
    name_column: usize,
    /// Column of the summary, from 0.
    #[arg(long, default_value_t = 1)]
    summary_column: usize,
    /// Components to import.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: u32,
}

pub(crate) async fn run(channel: Channel, arguments: &ImportArguments) -> anyhow::Result<()> {
    let manifests = manifests(arguments)?;
    print(&format!("{} manifests", manifests.len()));
    let mut catalog = CatalogServiceClient::new(channel);
    let started = Instant::now();
    let items = manifests.into_iter().map(|manifest| v1::ImportComponentsRequest {
        manifest: manifest.into_bytes(),
        format: v1::ManifestFormat::Json as i32,
        ..Default::default()
    });
    let mut results = catalog.import_components(tokio_stream::iter(items)).await?.into_inner();
    let (mut created, mut other) = (0u64, 0u64);
    while let Some(item) = results.message().await? {
        if item.result() == v1::ImportResult::Created {
            created += 1;
        } else {
            other += 1;
        }
        if (created + other).is_multiple_of(5000) {
            let rate = created as f64 / started.elapsed().as_secs_f64();
            print(&format!("{created} created, {other} other, {rate:.1} components/s"));
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    print(&format!("{created} created, {other} other in {seconds:.1} s: {:.1} components/s", created as f64 / seconds));
    Ok(())
}

fn manifests(arguments: &ImportArguments) -> anyhow::Result<Vec<String>> {
    let file = std::fs::File::open(&arguments.tsv).with_context(|| arguments.tsv.display().to_string())?;
    let mut seen = BTreeSet::new();
    let mut manifests = Vec::new();
    for line in BufReader::new(file).lines().skip(1) {
        let line = line?;
        let columns: Vec<&str> = line.split('\t').collect();
        let (Some(name), Some(summary)) = (columns.get(arguments.name_column), columns.get(arguments.summary_column))
        else {
            continue;
        };
        let slug: String =
            name.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(60).collect();
        let slug = slug.trim_matches('-').to_owned();
        // A word or two describe nothing.
        if slug.is_empty() || summary.split_whitespace().count() < 4 || !seen.insert(slug.clone()) {
            continue;
        }
        let summary: String = summary.chars().filter(|c| !c.is_control()).take(600).collect();
        let manifest = serde_json::json!({
            "name": format!("packages/{slug}"), "version": "1.0.0", "title": name.chars().take(120).collect::<String>(),
            "summary": summary, "kind": "library", "lifecycle": "certified", "license": "MIT", "owner": "team-scale",
            "tags": [if manifests.len() % 100 == 0 { "rare" } else { "common" }],
        });
        manifests.push(manifest.to_string());
        if manifests.len() == arguments.count as usize {
            return Ok(manifests);
        }
    }
    ensure!(!manifests.is_empty(), "{} holds no usable line", arguments.tsv.display());
    Ok(manifests)
}
