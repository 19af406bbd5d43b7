//! Load on `Match` and `Embed`, closed or open.
//!
//! Closed loop: each client sends its next call when it has the answer to the last one, so that a slow daemon is asked less
//! often and its worst moments are asked about least. Open loop (`--rate`): calls leave at their appointed times, whoever is
//! still waiting, and each is timed from the moment at which it *should* have left. That counts the wait of the calls behind
//! a stall, which a closed loop leaves out ("coordinated omission").

#![expect(clippy::cast_precision_loss, reason = "figures for people")]

use std::time::{Duration, Instant};

use fitment_proto::v1;
use fitment_proto::v1::matcher_service_client::MatcherServiceClient;
use hdrhistogram::Histogram;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint};

use crate::{connect, print, texts};

/// What is called.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Call {
    Match,
    Embed,
}

#[derive(Debug, clap::Args)]
pub(crate) struct LoadArguments {
    /// Clients, each with a connection of its own.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    clients: u16,
    /// Calls a second, over all clients, at even distances (open loop) [default: as fast as answers come].
    #[arg(long)]
    rate: Option<f64>,
    /// Calls in all that are measured.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: u32,
    /// Calls sent first that are not measured.
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

/// Calls that may be open at once under an open loop: a daemon that does not keep up must not take this process's memory.
const MOST_OPEN: usize = 20_000;

/// One answer: which call, how long it took, and what the daemon says of its time.
struct Answered {
    number: usize,
    took: Duration,
    timings: Option<v1::Timings>,
}

pub(crate) async fn run(call: Call, endpoint: &Endpoint, arguments: &LoadArguments) -> anyhow::Result<()> {
    if let Some(rate) = arguments.rate {
        anyhow::ensure!((0.1..=1e6).contains(&rate), "--rate {rate} is out of range 0.1 to 1000000 calls a second");
    }
    let (answers, mut received) = tokio::sync::mpsc::unbounded_channel();
    let mut clients = Vec::new();
    for _ in 0..arguments.clients {
        clients.push(connect(endpoint).await?);
    }
    let total = (arguments.warm_up + arguments.count) as usize;
    let deadline = Instant::now() + Duration::from_secs(arguments.seconds);
    let mut running = JoinSet::new();
    match arguments.rate {
        None => {
            for (client, channel) in clients.into_iter().enumerate() {
                let numbers = (client..total).step_by(usize::from(arguments.clients));
                running.spawn(closed_loop(call, channel, numbers, deadline, answers.clone()));
            }
        }
        Some(rate) => {
            running.spawn(open_loop(call, clients, total, rate, deadline, answers.clone()));
        }
    }
    drop(answers);
    let [mut wall, mut encoder, mut rest] = [Spread::new()?, Spread::new()?, Spread::new()?];
    let [mut dense, mut words, mut rank, mut ranking] =
        [Spread::new()?, Spread::new()?, Spread::new()?, Spread::new()?];
    let (mut measured, mut failed, mut first, mut last) = (0u64, 0u64, None, Instant::now());
    while let Some(Answered { number, took, timings }) = received.recv().await {
        if number < arguments.warm_up as usize {
            continue;
        }
        last = Instant::now();
        first.get_or_insert_with(|| last.checked_sub(took).unwrap_or(last));
        let Some(timings) = timings else {
            failed += 1;
            continue;
        };
        measured += 1;
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
    let seconds = first.map_or(f64::INFINITY, |first| last.duration_since(first).as_secs_f64());
    let kind = arguments.rate.map_or_else(|| "closed loop".to_owned(), |rate| format!("open loop at {rate}/s"));
    print(&format!(
        "{} clients, {kind}: {measured} answers, {failed} failed, {:.1} answers/s",
        arguments.clients,
        measured as f64 / seconds
    ));
    match call {
        Call::Match => {
            wall.show("match");
            encoder.show("encoder");
            rest.show("the rest");
            dense.show("dense");
            words.show("words");
            rank.show("rank");
            ranking.show("all three");
        }
        Call::Embed => wall.show("embed"),
    }
    Ok(())
}

async fn closed_loop(
    call: Call,
    channel: Channel,
    numbers: impl Iterator<Item = usize> + Send,
    deadline: Instant,
    answers: UnboundedSender<Answered>,
) {
    let mut matcher = MatcherServiceClient::new(channel);
    for number in numbers {
        if Instant::now() >= deadline {
            break;
        }
        let sent = Instant::now();
        let timings = ask(call, &mut matcher, number).await;
        drop(answers.send(Answered { number, took: sent.elapsed(), timings }));
    }
}

async fn open_loop(
    call: Call,
    clients: Vec<Channel>,
    total: usize,
    rate: f64,
    deadline: Instant,
    answers: UnboundedSender<Answered>,
) {
    let matchers: Vec<_> = clients.into_iter().map(MatcherServiceClient::new).collect();
    // A thread of its own keeps the appointments: the runtime's timers tick once a millisecond.
    let (appoint, mut appointments) = tokio::sync::mpsc::unbounded_channel();
    let started = Instant::now() + Duration::from_millis(5);
    let pace = std::thread::spawn(move || {
        for number in 0..total {
            let appointed = started + Duration::from_secs_f64(number as f64 / rate);
            std::thread::sleep(appointed.saturating_duration_since(Instant::now()));
            if appointed >= deadline || appoint.send((number, appointed)).is_err() {
                break;
            }
        }
    });
    let mut open = JoinSet::new();
    while let Some((number, appointed)) = appointments.recv().await {
        while open.try_join_next().is_some() {}
        if open.len() >= MOST_OPEN {
            open.join_next().await;
        }
        let (mut matcher, answers) = (matchers[number % matchers.len()].clone(), answers.clone());
        open.spawn(async move {
            let timings = ask(call, &mut matcher, number).await;
            drop(answers.send(Answered { number, took: appointed.elapsed(), timings }));
        });
    }
    while open.join_next().await.is_some() {}
    // It has sent its last appointment.
    drop(pace.join());
}

/// One call; what the daemon says of its time, or `None` when it failed.
async fn ask(call: Call, matcher: &mut MatcherServiceClient<Channel>, number: usize) -> Option<v1::Timings> {
    let intent = texts::intent(number);
    match call {
        Call::Match => {
            let answer = matcher.r#match(v1::MatchRequest { intent, ..Default::default() }).await.ok()?;
            Some(answer.into_inner().timings.unwrap_or_default())
        }
        Call::Embed => {
            let request = v1::EmbedRequest { texts: vec![intent], role: v1::TextRole::Query.into() };
            matcher.embed(request).await.ok().map(|_| v1::Timings::default())
        }
    }
}
