//! Recall of the served graph against exact search on the same vectors, and the time of each.

#![expect(clippy::cast_precision_loss, reason = "figures for people")]

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;
use fitment_index::{DenseIndex, DenseOptions, Effort};
use fitment_proto::v1;
use fitment_proto::v1::matcher_service_client::MatcherServiceClient;
use tonic::transport::Channel;

use crate::{print, texts};

/// Hits compared.
const K: usize = 10;
/// Hits that a match asks for.
const DEPTH: usize = 100;

#[derive(Debug, clap::Args)]
pub(crate) struct RecallArguments {
    /// The dense segment of the daemon's data folder.
    #[arg(long)]
    segment: PathBuf,
    /// Intents to ask.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    queries: u32,
    /// Rows that a walk keeps; the default is what a match uses.
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(8..=8192))]
    rows: u32,
}

pub(crate) async fn run(channel: Channel, arguments: &RecallArguments) -> anyhow::Result<()> {
    let mut matcher = MatcherServiceClient::new(channel);
    let mut vectors = Vec::new();
    let intents: Vec<String> = (0..arguments.queries as usize).map(texts::intent).collect();
    for chunk in intents.chunks(64) {
        let request = v1::EmbedRequest { texts: chunk.to_vec(), role: v1::TextRole::Query as i32 };
        vectors.extend(matcher.embed(request).await?.into_inner().embeddings.into_iter().map(|one| one.vector));
    }
    let dimension = vectors.first().map(Vec::len).context("no vectors")?;
    let opened = Instant::now();
    let index = DenseIndex::open(&arguments.segment, dimension, DenseOptions::default())?;
    print(&format!(
        "{} rows opened in {:.3} s, graph: {}",
        index.len_rows(),
        opened.elapsed().as_secs_f64(),
        index.has_graph()
    ));
    let (mut found, mut wanted) = (0usize, 0usize);
    let (mut fast, mut exact) = (Vec::new(), Vec::new());
    for vector in &vectors {
        let started = Instant::now();
        let served = index.search(vector, DEPTH, None, Effort::Rows(arguments.rows as usize))?;
        fast.push(started.elapsed().as_secs_f64() * 1000.0);
        let started = Instant::now();
        let truth = index.search(vector, K, None, Effort::Exact)?;
        exact.push(started.elapsed().as_secs_f64() * 1000.0);
        wanted += truth.hits.len();
        found += truth.hits.iter().filter(|hit| served.hits.iter().take(K).any(|other| other.doc == hit.doc)).count();
    }
    print(&format!("recall@{K} {:.4} over {} queries", found as f64 / wanted.max(1) as f64, vectors.len()));
    print(&format!(
        "served search p50 {:.3} ms, exact search p50 {:.3} ms, one thread",
        median(&mut fast),
        median(&mut exact)
    ));
    Ok(())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
