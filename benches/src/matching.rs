//! Closed-loop load: each client sends its next intent when it has the answer to the last one.

#![expect(clippy::cast_precision_loss, reason = "figures for people")]

use std::time::{Duration, Instant};

use fitment_proto::v1;
use fitment_proto::v1::matcher_service_client::MatcherServiceClient;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tonic::transport::Endpoint;

use crate::{connect, print, texts};

#[derive(Debug, clap::Args)]
pub(crate) struct MatchArguments {
    /// Clients, each with a connection of its own.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    clients: u16,
    /// Intents in all that are measured.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: u32,
    /// Intents sent first that are not measured.
    #[arg(long, default_value_t = 50)]
    warm_up: u32,
    /// Stop after this many seconds whatever is left.
    #[arg(long, default_value_t = 120)]
    seconds: u64,
}

/// Microseconds of one thing.
struct Spread(Histogram<u64>);

impl Spread {
    fn new() -> anyhow::Result<Self> {
        Ok(Self(Histogram::new_with_bounds(1, 3_600_000_000, 3)?))
    }

    fn show(&self, what: &str) {
        let at = |quantile| self.0.value_at_quantile(quantile) as f64 / 1000.0;
        print(&format!("{what:10} p50 {:8.3} ms   p95 {:8.3} ms   p99 {:8.3} ms", at(0.5), at(0.95), at(0.99)));
    }
}

pub(crate) async fn run(endpoint: &Endpoint, arguments: &MatchArguments) -> anyhow::Result<()> {
    let (answers, mut received) = tokio::sync::mpsc::unbounded_channel();
    let clients = usize::from(arguments.clients);
    let total = (arguments.warm_up + arguments.count) as usize;
    let deadline = Instant::now() + Duration::from_secs(arguments.seconds);
    let mut running = JoinSet::new();
    for client in 0..clients {
        let mut matcher = MatcherServiceClient::new(connect(endpoint).await?);
        let answers = answers.clone();
        running.spawn(async move {
            for n in (client..total).step_by(clients) {
                if Instant::now() >= deadline {
                    break;
                }
                let request = v1::MatchRequest { intent: texts::intent(n), ..Default::default() };
                let sent = Instant::now();
                let answer = matcher.r#match(request).await.map(tonic::Response::into_inner);
                drop(answers.send((n, sent.elapsed(), answer)));
            }
        });
    }
    drop(answers);
    let [mut wall, mut encoder, mut dense, mut words, mut rank] =
        [Spread::new()?, Spread::new()?, Spread::new()?, Spread::new()?, Spread::new()?];
    let [mut ranking, mut rest] = [Spread::new()?, Spread::new()?];
    let (mut measured, mut failed, mut started) = (0u64, 0u64, None);
    while let Some((n, took, answer)) = received.recv().await {
        if n < arguments.warm_up as usize {
            continue;
        }
        started.get_or_insert_with(|| Instant::now().checked_sub(took));
        let Ok(answer) = answer else {
            failed += 1;
            continue;
        };
        measured += 1;
        let timings = answer.timings.unwrap_or_default();
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        wall.0.saturating_record(micros);
        encoder.0.saturating_record(timings.encode_us);
        dense.0.saturating_record(timings.dense_us);
        words.0.saturating_record(timings.lexical_us);
        rank.0.saturating_record(timings.rank_us);
        ranking.0.saturating_record(timings.dense_us + timings.lexical_us + timings.rank_us);
        rest.0.saturating_record(micros.saturating_sub(timings.encode_us + timings.queue_us));
    }
    while running.join_next().await.is_some() {}
    let seconds = started.flatten().map_or(0.0, |started: Instant| started.elapsed().as_secs_f64());
    print(&format!(
        "{clients} clients, {measured} answers, {failed} failed, {:.1} answers/s",
        measured as f64 / seconds
    ));
    wall.show("match");
    encoder.show("encoder");
    rest.show("the rest");
    dense.show("dense");
    words.show("words");
    rank.show("rank");
    ranking.show("all three");
    Ok(())
}
