//! A mixed load at a modest rate for a long time, and whether memory and descriptors grow under it.
//!
//! The live catalogue keeps its size, and what the daemon remembers is bounded so low that the bounds are reached while it warms
//! up: what grows after that is a leak, or grows by design and is shown apart (the store keeps deleted versions, the change log and
//! the audit trail for ever).

mod load;
mod picture;
mod trend;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use self::load::{Load, Operation};
use self::picture::{Line, Panel};
use self::trend::Trend;
use crate::print;
use crate::process::{Daemon, Launch, bytes_below};
use fitment_tests::Dice;

/// Operations that may be under way at once.
const MOST_OPEN: usize = 256;
/// Time between two bulk imports.
const BULK_EVERY: Duration = Duration::from_secs(60);
/// Time between two snapshots.
const SNAPSHOT_EVERY: Duration = Duration::from_secs(300);
/// Snapshots that are kept.
const SNAPSHOTS: &str = "2";
/// Bounds of what the daemon remembers, low enough to be reached within a quarter of a few minutes.
const BOUNDS: [(&str, &str); 4] = [
    ("FITMENT_ENCODER__CACHE_BYTES", "2097152"),
    ("FITMENT_STORE__CACHE_BYTES", "8388608"),
    ("FITMENT_FEEDBACK__DECISIONS", "5000"),
    ("FITMENT_GAPS__INTENTS", "500"),
];

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  fitment-load soak --fitment target/release/fitment --minutes 60 --out soak
  fitment-load soak --fitment target/release/fitment --minutes 5 --rate 40 --folder /tmp/soak

The daemon is started in a folder of its own and stopped at the end. Ends with an error when memory, descriptors or threads grow, or
when a call failed that should not have.")]
pub(crate) struct SoakArguments {
    /// The daemon's binary.
    #[arg(long, value_name = "PATH")]
    fitment: PathBuf,
    /// Folder of the daemon's data, which must not be there yet [default: one that is removed at the end].
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Folder of the models [default: where the daemon looks].
    #[arg(long, value_name = "DIR")]
    models_dir: Option<PathBuf>,
    /// How long the load lasts.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=10_080))]
    minutes: u64,
    /// Operations a second.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rate: u32,
    /// Components that are live.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(100..=50_000))]
    components: u32,
    /// Seconds between two readings.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=600))]
    every: u64,
    /// What grows by less than this share of its median over the fitted time counts as flat.
    #[arg(long, default_value_t = 0.02)]
    tolerance: f64,
    /// What the order of the operations is drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write `NAME.csv`, `NAME.json` and `NAME.svg`.
    #[arg(long, value_name = "NAME")]
    out: Option<PathBuf>,
}

/// One look at the daemon.
struct Reading {
    minute: f64,
    resident_mib: f64,
    anonymous_mib: f64,
    descriptors: f64,
    threads: f64,
    processor_seconds: f64,
    store_mib: f64,
    index_mib: f64,
    snapshots_mib: f64,
    match_p50_ms: f64,
    match_p99_ms: f64,
    write_p50_ms: f64,
    write_p99_ms: f64,
    errors: u64,
}

impl Reading {
    const COLUMNS: &'static str = "minute,resident_mib,anonymous_mib,descriptors,threads,processor_seconds,store_mib,index_mib,\
        snapshots_mib,match_p50_ms,match_p99_ms,write_p50_ms,write_p99_ms,errors\n";

    fn row(&self) -> String {
        format!(
            "{:.3},{:.2},{:.2},{},{},{:.2},{:.2},{:.2},{:.2},{:.3},{:.3},{:.3},{:.3},{}\n",
            self.minute,
            self.resident_mib,
            self.anonymous_mib,
            self.descriptors,
            self.threads,
            self.processor_seconds,
            self.store_mib,
            self.index_mib,
            self.snapshots_mib,
            self.match_p50_ms,
            self.match_p99_ms,
            self.write_p50_ms,
            self.write_p99_ms,
            self.errors
        )
    }
}

/// What a soak gave.
#[derive(Default)]
struct Course {
    readings: Vec<Reading>,
    done: BTreeMap<Operation, u64>,
    refused: u64,
    errors: BTreeMap<String, u64>,
}

pub(crate) async fn run(arguments: &SoakArguments) -> anyhow::Result<()> {
    let (folder, ours) = match &arguments.folder {
        Some(folder) => (folder.clone(), false),
        None => (std::env::temp_dir().join(format!("fitment-soak-{}", std::process::id())), true),
    };
    std::fs::create_dir(&folder)
        .with_context(|| format!("{}: give a folder that is not there yet", folder.display()))?;
    let ended = run_in(&folder, arguments).await;
    if ours {
        std::fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    ended
}

async fn run_in(folder: &Path, arguments: &SoakArguments) -> anyhow::Result<()> {
    let launch = Launch {
        fitment: arguments.fitment.clone(),
        data: folder.join("data"),
        models: arguments.models_dir.clone(),
        log: folder.join("daemon.log"),
        environment: BOUNDS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
    };
    let mut daemon = launch.start_ready().await?;
    let components = usize::try_from(arguments.components)?;
    let load = Load::prepare(daemon.address(), daemon.metrics(), components, arguments.seed).await?;
    print(&format!("{components} components are certified; {} minutes at {}/s", arguments.minutes, arguments.rate));
    let mut course = Course::default();
    // Ended early, what was read so far is still worth a look.
    let ended = soak(&launch, &mut daemon, &load, arguments, &mut course).await;
    let trends = report(&course, arguments)?;
    ended?;
    let served = load.count().await?;
    daemon.drain().await?;
    ensure!(served == u64::from(arguments.components), "{served} components at the end, {components} at the beginning");
    ensure!(course.errors.is_empty(), "calls failed: {:?}", course.errors);
    let growing: Vec<&str> = trends.iter().filter(|(_, flat)| !flat).map(|(name, _)| *name).collect();
    ensure!(growing.is_empty(), "not flat: {growing:?}");
    Ok(())
}

/// Drives the load and takes the readings.
async fn soak(
    launch: &Launch,
    daemon: &mut Daemon,
    load: &Arc<Load>,
    arguments: &SoakArguments,
    course: &mut Course,
) -> anyhow::Result<()> {
    let began = Instant::now();
    let end = began + Duration::from_secs(60 * arguments.minutes);
    let mut dice = Dice(arguments.seed);
    let mut open = JoinSet::new();
    let mut beside = JoinSet::new();
    let mut pace = tokio::time::interval(Duration::from_secs(1) / arguments.rate);
    // A stall is not made up for by a burst.
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let later = |every| tokio::time::interval_at(tokio::time::Instant::now() + every, every);
    let mut reading = later(Duration::from_secs(arguments.every));
    let (mut bulk, mut snapshot) = (later(BULK_EVERY), later(SNAPSHOT_EVERY));
    while Instant::now() < end {
        tokio::select! {
            _ = pace.tick() => {
                let (operation, roll) = (Operation::draw(&mut dice), dice.roll());
                while open.try_join_next().is_some() {}
                if open.len() < MOST_OPEN {
                    let load = Arc::clone(load);
                    open.spawn(async move { load.perform(operation, roll).await });
                } else {
                    *course.errors.entry(format!("more than {MOST_OPEN} operations were under way")).or_default() += 1;
                }
            }
            _ = reading.tick() => {
                ensure!(daemon.runs()?, "the daemon ended by itself; see {}", launch.log.display());
                read(launch, daemon, load, began, course)?;
            }
            _ = bulk.tick() => {
                let load = Arc::clone(load);
                beside.spawn(async move { load.bulk().await.context("a bulk import") });
            }
            _ = snapshot.tick() => {
                let (load, launch) = (Arc::clone(load), launch.clone());
                beside.spawn(async move {
                    load.snapshot().await.context("a snapshot")?;
                    tokio::task::spawn_blocking(move || prune(&launch)).await?
                });
            }
            Some(ended) = beside.join_next() => {
                if let Err(error) = ended? {
                    *course.errors.entry(format!("{error:#}")).or_default() += 1;
                }
            }
        }
    }
    while open.join_next().await.is_some() {}
    while let Some(ended) = beside.join_next().await {
        ended??;
    }
    read(launch, daemon, load, began, course)
}

fn read(launch: &Launch, daemon: &Daemon, load: &Load, began: Instant, course: &mut Course) -> anyhow::Result<()> {
    let (usage, figures) = (daemon.usage()?, load.take_figures()?);
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let number = |number: u64| number as f64;
    let milliseconds = |histogram: &hdrhistogram::Histogram<u64>, share| {
        if histogram.is_empty() { f64::NAN } else { number(histogram.value_at_quantile(share)) / 1000.0 }
    };
    for (operation, count) in &figures.done {
        *course.done.entry(*operation).or_default() += count;
    }
    course.refused += figures.refused;
    for (error, count) in &figures.errors {
        *course.errors.entry(error.clone()).or_default() += count;
    }
    course.readings.push(Reading {
        minute: began.elapsed().as_secs_f64() / 60.0,
        resident_mib: number(usage.resident_kib) / 1024.0,
        anonymous_mib: number(usage.anonymous_kib) / 1024.0,
        descriptors: number(usage.descriptors),
        threads: number(usage.threads),
        processor_seconds: usage.processor_seconds,
        store_mib: mib(std::fs::metadata(launch.data.join("catalog.redb"))?.len()),
        index_mib: mib(bytes_below(&launch.data.join("index"))),
        snapshots_mib: mib(bytes_below(&launch.data.join("snapshots"))),
        match_p50_ms: milliseconds(&figures.matches, 0.5),
        match_p99_ms: milliseconds(&figures.matches, 0.99),
        write_p50_ms: milliseconds(&figures.writes, 0.5),
        write_p99_ms: milliseconds(&figures.writes, 0.99),
        errors: figures.errors.values().sum(),
    });
    Ok(())
}

/// Removes old snapshots, as an operator would.
fn prune(launch: &Launch) -> anyhow::Result<()> {
    let mut command = launch.command();
    command.args(["snapshot", "prune"]).arg(launch.data.join("snapshots")).args(["--keep", SNAPSHOTS]);
    let output = command.stdout(Stdio::null()).stderr(Stdio::piped()).output()?;
    if !output.status.success() {
        bail!("`fitment snapshot prune`: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// A figure: its name, its value in a reading, and whether it must not grow.
type Figure = (&'static str, fn(&Reading) -> f64, bool);

const FIGURES: [Figure; 8] = [
    ("resident memory, MiB", |reading| reading.resident_mib, true),
    ("of that anonymous, MiB", |reading| reading.anonymous_mib, true),
    ("descriptors", |reading| reading.descriptors, true),
    ("threads", |reading| reading.threads, true),
    ("match p50, ms", |reading| reading.match_p50_ms, false),
    ("match p99, ms", |reading| reading.match_p99_ms, false),
    ("store, MiB", |reading| reading.store_mib, false),
    ("index, MiB", |reading| reading.index_mib, false),
];

/// Prints and writes what was read. Returns which of the figures that must not grow are flat.
fn report(course: &Course, arguments: &SoakArguments) -> anyhow::Result<Vec<(&'static str, bool)>> {
    let readings = &course.readings;
    let last = readings.last().context("ended before the first reading")?;
    let from = last.minute / 4.0;
    let fitted = || readings.iter().filter(|reading| reading.minute >= from);
    let hours = (last.minute - from) / 60.0;
    print("over the last three quarters   median   an hour   95 % interval");
    let (mut flat, mut told) = (Vec::new(), Vec::new());
    for (name, value, must) in FIGURES {
        let points: Vec<(f64, f64)> = fitted().map(|reading| (reading.minute / 60.0, value(reading))).collect();
        let Some(trend) = Trend::of(&points.into_iter().filter(|(_, value)| value.is_finite()).collect::<Vec<_>>())
        else {
            continue;
        };
        let is_flat = trend.is_flat(hours, arguments.tolerance);
        let verdict = if !must {
            ""
        } else if is_flat {
            "flat"
        } else {
            "GROWS"
        };
        let Trend { median, slope, low, high } = trend;
        print(&format!("{name:26} {median:12.2} {slope:9.3}   {low:.3} to {high:.3}   {verdict}"));
        told.push(json!({ "figure": name, "median": median, "slope_per_hour": slope, "low": low, "high": high,
            "must_be_flat": must, "flat": is_flat }));
        if must {
            flat.push((name, is_flat));
        }
    }
    let operations: u64 = course.done.values().sum();
    let cores = last.processor_seconds / (last.minute * 60.0);
    print(&format!("{operations} operations in {:.1} minutes, {:.2} cores; {:?}", last.minute, cores, course.done));
    print(&format!("{} refused as overload; errors: {:?}", course.refused, course.errors));
    if let Some(out) = &arguments.out {
        let table: String = readings.iter().map(Reading::row).collect();
        std::fs::write(out.with_extension("csv"), format!("{}{table}", Reading::COLUMNS))?;
        let done: BTreeMap<String, u64> =
            course.done.iter().map(|(name, count)| (format!("{name:?}"), *count)).collect();
        let whole: Value = json!({
            "minutes": last.minute, "rate": arguments.rate, "components": arguments.components, "seed": arguments.seed,
            "fitted_from_minute": from, "tolerance": arguments.tolerance, "cores": cores, "operations": done,
            "refused": course.refused, "errors": course.errors, "trends": told,
        });
        std::fs::write(out.with_extension("json"), format!("{whole:#}\n"))?;
        std::fs::write(out.with_extension("svg"), draw(readings, arguments, from))?;
    }
    Ok(flat)
}

fn draw(readings: &[Reading], arguments: &SoakArguments, from: f64) -> String {
    let line = |name: &str, value: fn(&Reading) -> f64| Line {
        name: name.to_owned(),
        points: readings
            .iter()
            .map(|reading| (reading.minute, value(reading)))
            .filter(|(_, value)| value.is_finite())
            .collect(),
    };
    let panels = [
        Panel {
            title: "memory, MiB",
            lines: vec![
                line("resident", |reading| reading.resident_mib),
                line("anonymous", |reading| reading.anonymous_mib),
            ],
        },
        Panel {
            title: "descriptors and threads",
            lines: vec![line("descriptors", |reading| reading.descriptors), line("threads", |reading| reading.threads)],
        },
        Panel {
            title: "milliseconds",
            lines: vec![
                line("match p50", |reading| reading.match_p50_ms),
                line("match p99", |reading| reading.match_p99_ms),
                line("write p50", |reading| reading.write_p50_ms),
            ],
        },
        Panel {
            title: "disk, MiB",
            lines: vec![
                line("store", |reading| reading.store_mib),
                line("index", |reading| reading.index_mib),
                line("snapshots", |reading| reading.snapshots_mib),
            ],
        },
    ];
    let title = format!("{} operations a second, {} components; shaded: fitted", arguments.rate, arguments.components);
    picture::draw(&title, &panels, from)
}
