//! What more load than a daemon can take does to it: what it accepts, how fast, what it refuses, and what it costs.
//!
//! Unloaded calls first, then the capacity by a closed loop, then a multiple of that by an open loop whose calls have deadlines.
//! Every intent is a new one, so that none is remembered. Health is asked throughout, on a connection of its own.

#![expect(clippy::cast_precision_loss, reason = "figures for people")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use fitment_proto::v1;
use fitment_proto::v1::matcher_service_client::MatcherServiceClient;
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::process::Status;
use crate::{connect, print, texts};

/// Calls that may be open at once under the open loop.
const MOST_OPEN: usize = 20_000;
/// Time between two questions for health.
const HEALTH_EVERY: Duration = Duration::from_millis(50);
/// Time after which an open loop has settled: the queue is long until the first refusal.
const SETTLED: Duration = Duration::from_secs(1);
/// Intents that a stalled client sends: their answers are more than any window holds.
const STALLED_INTENTS: usize = 50_000;

#[derive(Debug, clap::Args)]
pub(crate) struct OverloadArguments {
    /// Seconds of each phase.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Clients of the closed loop that finds the capacity, and connections of the open loop.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=256))]
    clients: u16,
    /// Load of the open loop, in capacities.
    #[arg(long, default_value_t = 10.0)]
    factor: f64,
    /// Calls a second of one capacity, where it is known [default: measured].
    #[arg(long)]
    capacity: Option<f64>,
    /// Deadline of the open loop's calls, in milliseconds.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    deadline_ms: u64,
    /// Clients that send a stream of intents and never read an answer, all the while.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=256))]
    stalled: u16,
    /// The daemon's process, to tell its memory.
    #[arg(long)]
    pid: Option<u32>,
    /// How often each intent's words are repeated: long intents load the encoder more than the connections.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    repeat: u16,
    /// Number of the first intent: runs against one daemon should not ask the same ones.
    #[arg(long, default_value_t = 0)]
    first: usize,
}

/// What became of the calls of a phase.
#[derive(Default)]
struct Phase {
    /// Microseconds of accepted calls, from the moment at which each should have left.
    accepted: Vec<u64>,
    /// Those of them that should have left once the load had lasted for a second.
    settled: Vec<u64>,
    /// The same of the daemon's own account.
    inside: Vec<u64>,
    refused: Vec<u64>,
    by_code: BTreeMap<String, usize>,
}

impl Phase {
    fn note(&mut self, answer: Result<v1::MatchResponse, tonic::Status>, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        match answer {
            Ok(answer) => {
                self.accepted.push(micros);
                self.inside.push(answer.timings.unwrap_or_default().total_us);
            }
            Err(status) => {
                if status.code() == Code::ResourceExhausted {
                    self.refused.push(micros);
                }
                *self.by_code.entry(format!("{:?}", status.code())).or_default() += 1;
            }
        }
    }

    fn show(&self, name: &str, seconds: f64) -> anyhow::Result<f64> {
        let rate = self.accepted.len() as f64 / seconds;
        print(&format!(
            "{name}: {} answers in {seconds:.1} s, {rate:.1}/s; others {:?}",
            self.accepted.len(),
            self.by_code
        ));
        for (what, micros) in [
            ("answered", &self.accepted),
            ("  settled", &self.settled),
            ("  inside", &self.inside),
            ("refused", &self.refused),
        ] {
            if !micros.is_empty() {
                print(&format!("  {what:9} {}", spread(micros)?));
            }
        }
        Ok(rate)
    }
}

fn spread(micros: &[u64]) -> anyhow::Result<String> {
    let mut histogram = Histogram::<u64>::new_with_bounds(1, 3_600_000_000, 3)?;
    for &one in micros {
        histogram.saturating_record(one);
    }
    let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
    Ok(format!("p50 {:8.2} ms   p99 {:8.2} ms   longest {:8.2} ms", at(0.5), at(0.99), at(1.0)))
}

/// Intents that nobody asked before.
#[derive(Clone)]
struct Fresh {
    number: Arc<AtomicUsize>,
    repeat: usize,
}

impl Fresh {
    fn next(&self) -> v1::MatchRequest {
        let intent = texts::intent(self.number.fetch_add(1, Ordering::Relaxed));
        v1::MatchRequest { intent: vec![intent; self.repeat].join(", "), ..Default::default() }
    }
}

pub(crate) async fn run(endpoint: &Endpoint, arguments: &OverloadArguments) -> anyhow::Result<()> {
    let span = Duration::from_secs(arguments.seconds);
    let fresh = Fresh { number: Arc::new(AtomicUsize::new(arguments.first)), repeat: usize::from(arguments.repeat) };
    let mut channels = Vec::new();
    for _ in 0..arguments.clients {
        channels.push(connect(endpoint).await?);
    }
    let mut stalled = Vec::new();
    for _ in 0..arguments.stalled {
        stalled.push(stall(connect(endpoint).await?, fresh.clone()).await?);
    }
    let memory = |when: &str| -> anyhow::Result<()> {
        let Some(pid) = arguments.pid else { return Ok(()) };
        print(&format!("  memory {when}: {:.1} MiB", resident(pid)?));
        Ok(())
    };
    // The estimates and caches of a new daemon are empty.
    closed(&channels[..1], Duration::from_secs(2), &fresh).await?;
    memory("before")?;
    let health = Health::watch(connect(endpoint).await?);
    closed(&channels[..1], span, &fresh).await?.show("unloaded, 1 client", span.as_secs_f64())?;
    health.show()?;
    let capacity = if let Some(capacity) = arguments.capacity {
        capacity
    } else {
        let name = format!("closed loop, {} clients", arguments.clients);
        closed(&channels, span, &fresh).await?.show(&name, span.as_secs_f64())?
    };
    health.show()?;
    memory("after the closed loop")?;
    let rate = capacity * arguments.factor;
    anyhow::ensure!((0.1..=1e6).contains(&rate), "{rate} calls a second are out of range 0.1 to 1000000");
    let deadline = Duration::from_millis(arguments.deadline_ms);
    let during = arguments.pid.map(|pid| {
        tokio::spawn(async move {
            tokio::time::sleep(span / 2).await;
            resident(pid)
        })
    });
    let (phase, seconds) = open(&channels, rate, span, deadline, &fresh).await?;
    let accepted = phase.show(&format!("open loop at {rate:.0}/s, deadline {deadline:?}"), seconds)?;
    health.show()?;
    if let Some(during) = during {
        print(&format!("  memory during: {:.1} MiB", during.await??));
    }
    memory("after")?;
    print(&format!("goodput {:.1} % of {capacity:.1}/s", 100.0 * accepted / capacity));
    Ok(())
}

/// Each channel sends its next call when it has the answer to the last one.
async fn closed(channels: &[Channel], span: Duration, fresh: &Fresh) -> anyhow::Result<Phase> {
    let until = Instant::now() + span;
    let phase = Arc::new(Mutex::new(Phase::default()));
    let mut running = JoinSet::new();
    for channel in channels {
        let (mut matcher, fresh, phase) =
            (MatcherServiceClient::new(channel.clone()), fresh.clone(), Arc::clone(&phase));
        running.spawn(async move {
            while Instant::now() < until {
                let sent = Instant::now();
                let answer = matcher.r#match(fresh.next()).await.map(tonic::Response::into_inner);
                phase.lock().note(answer, sent.elapsed());
            }
        });
    }
    while running.join_next().await.is_some() {}
    let phase = std::mem::take(&mut *phase.lock());
    Ok(phase)
}

/// Calls leave at their appointed times. Returns what became of them and the seconds in which they left.
async fn open(
    channels: &[Channel],
    rate: f64,
    span: Duration,
    deadline: Duration,
    fresh: &Fresh,
) -> anyhow::Result<(Phase, f64)> {
    let phase = Arc::new(Mutex::new(Phase::default()));
    let matchers: Vec<_> = channels.iter().cloned().map(MatcherServiceClient::new).collect();
    let mut running = JoinSet::new();
    let started = Instant::now();
    let mut number = 0usize;
    while started.elapsed() < span {
        while running.try_join_next().is_some() {}
        // All that are due by now: timers tick once a millisecond.
        while started + Duration::from_secs_f64(number as f64 / rate) <= Instant::now() && running.len() < MOST_OPEN {
            let appointed = started + Duration::from_secs_f64(number as f64 / rate);
            let mut matcher = matchers.get(number % matchers.len()).context("a connection")?.clone();
            let (phase, mut request) = (Arc::clone(&phase), Request::new(fresh.next()));
            request.set_timeout(deadline);
            running.spawn(async move {
                let answer = matcher.r#match(request).await.map(tonic::Response::into_inner);
                let (took, mut phase) = (appointed.elapsed(), phase.lock());
                if answer.is_ok() && appointed.duration_since(started) >= SETTLED {
                    phase.settled.push(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
                }
                phase.note(answer, took);
            });
            number += 1;
            if number.is_multiple_of(64) {
                tokio::task::yield_now().await;
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let seconds = started.elapsed().as_secs_f64();
    print(&format!("{number} calls left in {seconds:.1} s, {:.0}/s", number as f64 / seconds));
    while running.join_next().await.is_some() {}
    let phase = std::mem::take(&mut *phase.lock());
    Ok((phase, seconds))
}

/// A client that asks and never reads.
async fn stall(channel: Channel, fresh: Fresh) -> anyhow::Result<tonic::Streaming<v1::StreamMatchResponse>> {
    let requests =
        (0..STALLED_INTENTS).map(move |at| v1::StreamMatchRequest { id: at.to_string(), request: Some(fresh.next()) });
    let answers = MatcherServiceClient::new(channel).stream_match(tokio_stream::iter(requests)).await?;
    Ok(answers.into_inner())
}

/// Asks for health until it is dropped.
struct Health {
    micros: Arc<Mutex<(Vec<u64>, usize)>>,
    watching: tokio::task::JoinHandle<()>,
}

impl Health {
    fn watch(channel: Channel) -> Self {
        let micros = Arc::new(Mutex::new((Vec::new(), 0)));
        let noted = Arc::clone(&micros);
        let watching = tokio::spawn(async move {
            let mut health = HealthClient::new(channel);
            loop {
                let sent = Instant::now();
                let answer = health.check(HealthCheckRequest::default()).await;
                {
                    let mut noted = noted.lock();
                    match answer {
                        Ok(_) => noted.0.push(u64::try_from(sent.elapsed().as_micros()).unwrap_or(u64::MAX)),
                        Err(_) => noted.1 += 1,
                    }
                }
                tokio::time::sleep(HEALTH_EVERY).await;
            }
        });
        Self { micros, watching }
    }

    /// Says how health was answered since the last time.
    fn show(&self) -> anyhow::Result<()> {
        let (micros, failed) = std::mem::take(&mut *self.micros.lock());
        if micros.is_empty() {
            print("  health    not asked");
        } else {
            print(&format!("  health    {}   {} answered, {failed} failed", spread(&micros)?, micros.len()));
        }
        Ok(())
    }
}

impl Drop for Health {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

/// Resident memory of a process in MiB.
fn resident(pid: u32) -> anyhow::Result<f64> {
    Ok(Status::of(pid)?.number("VmRSS")? as f64 / 1024.0)
}
