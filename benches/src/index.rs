//! The dense index alone, in this process, at scale: build, open, memory, recall against speed, filters, and searches while it
//! is written to.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "figures for people; rows are numbered with 32 bits"
)]

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use fitment_index::{DenseIndex, DenseOptions, DocId, DocSet, Effort, SealScope, Segment, dot};
use hdrhistogram::Histogram;
use parking_lot::{Mutex, RwLock};

use crate::print;
use crate::process::Status;

/// Hits compared.
const K: usize = 10;
/// Two scores this close are equal: the index tells them within 2e-6.
const EQUAL: f32 = 1e-5;
/// Queries before the clock runs.
const WARM: usize = 100;

#[derive(Debug, clap::Args)]
pub(crate) struct IndexArguments {
    /// Folder with `rows.f32` and `queries.f32`, as `vectors` writes them.
    #[arg(long)]
    vectors: PathBuf,
    /// Numbers in a vector.
    #[arg(long, default_value_t = 384, value_parser = clap::value_parser!(u32).range(1..=8192))]
    dimension: u32,
    /// Rows of the file that are indexed [default: all].
    #[arg(long)]
    count: Option<usize>,
    /// Queries of the file that are asked.
    #[arg(long, default_value_t = 500)]
    queries: usize,
    /// Segment file: opened where it is there, else built.
    #[arg(long)]
    segment: PathBuf,
    /// Threads that build.
    #[arg(long, default_value_t = fitment_models::available_threads())]
    threads: usize,
    /// Links of a row on the upper layers; twice that on the lowest.
    #[arg(long, default_value_t = DenseOptions::default().m)]
    m: usize,
    /// Rows looked at while a row's links are chosen.
    #[arg(long, default_value_t = DenseOptions::default().ef_construction)]
    ef_construction: usize,
    /// Rows that a walk keeps: one line of figures each.
    #[arg(long, value_delimiter = ',', default_value = "32,64,96,128,192,256,384,512,768")]
    efforts: Vec<usize>,
    /// Documents that a filter allows, in per cent, at random: one line of figures for each with each effort.
    #[arg(long, value_delimiter = ',', default_value = "50,10,1,0.1")]
    filters: Vec<f64>,
    /// Writes a second while it is searched; 0 for none.
    #[arg(long, default_value_t = 0)]
    upserts: u32,
    /// For how long.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Rows that a walk keeps meanwhile.
    #[arg(long, default_value_t = 128)]
    effort: usize,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

/// Vectors next to each other.
struct Vectors {
    dimension: usize,
    numbers: Vec<f32>,
}

impl Vectors {
    fn read(path: &Path, dimension: usize, most: usize) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| path.display().to_string())?;
        let rows = (usize::try_from(file.metadata()?.len())? / (dimension * 4)).min(most);
        ensure!(rows > 0, "{} holds no vector of {dimension} numbers", path.display());
        let mut reader = BufReader::with_capacity(1 << 20, file);
        let mut numbers = Vec::with_capacity(rows * dimension);
        let mut row = vec![0; dimension * 4];
        for _ in 0..rows {
            reader.read_exact(&mut row)?;
            numbers.extend(row.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)));
        }
        Ok(Self { dimension, numbers })
    }

    fn len(&self) -> usize {
        self.numbers.len() / self.dimension
    }

    fn row(&self, row: usize) -> &[f32] {
        &self.numbers[row * self.dimension..][..self.dimension]
    }
}

/// What a filter allows, and how near the nearest of it are to each query.
struct Question {
    percent: f64,
    allowed: Option<DocSet>,
    /// [queries]
    nearest: Vec<Nearest>,
}

/// The K nearest: rows that score as much as the last of them stand for each other, since many texts are equal.
#[derive(Clone, Copy, Default)]
struct Nearest {
    count: usize,
    least: f32,
}

pub(crate) fn run(arguments: &IndexArguments) -> anyhow::Result<()> {
    let dimension = arguments.dimension as usize;
    let queries = Vectors::read(&arguments.vectors.join("queries.f32"), dimension, arguments.queries)?;
    let rows_path = arguments.vectors.join("rows.f32");
    let options = DenseOptions {
        build_threads: arguments.threads,
        m: arguments.m,
        ef_construction: arguments.ef_construction,
        ..DenseOptions::default()
    };
    let rows = Vectors::read(&rows_path, dimension, arguments.count.unwrap_or(usize::MAX))?;
    if !arguments.segment.exists() {
        build(arguments, &rows, options.clone())?;
    }
    let questions = questions(arguments, &rows, &queries);
    // Its memory would be counted with the index's.
    let rows = (arguments.upserts > 0).then_some(rows);
    let before = resident();
    let started = Instant::now();
    let index = DenseIndex::open(&arguments.segment, dimension, options)?;
    let opened = started.elapsed();
    say(arguments, "open", &[("rows", index.len_rows() as f64), ("seconds", opened.as_secs_f64())]);
    for question in &questions {
        for &effort in &arguments.efforts {
            measure(arguments, &index, &queries, question, effort)?;
        }
    }
    let bytes = (resident() - before) as f64;
    let per_row = bytes / index.len_rows() as f64;
    say(arguments, "memory", &[("resident_mb", bytes / 1e6), ("bytes_a_row", per_row)]);
    match rows {
        Some(rows) => live(arguments, index, &rows, &queries),
        None => Ok(()),
    }
}

fn build(arguments: &IndexArguments, rows: &Vectors, options: DenseOptions) -> anyhow::Result<()> {
    let mut index = DenseIndex::new(rows.dimension, options)?;
    let started = Instant::now();
    for row in 0..rows.len() {
        index.upsert(DocId(row as u32), &[rows.row(row)])?;
    }
    let told = Mutex::new(Instant::now());
    let progress = |done: usize, all: usize| {
        let mut told = told.lock();
        if told.elapsed() > Duration::from_secs(10) {
            *told = Instant::now();
            eprint(&format!("building: {done} of {all} steps, {:.0} s", started.elapsed().as_secs_f64()));
        }
    };
    let segment = index.sealing_input(SealScope::All).build(&progress, &AtomicBool::new(false))?;
    let built = started.elapsed().as_secs_f64();
    segment.write_to(&arguments.segment, b"bench")?;
    let bytes = std::fs::metadata(&arguments.segment)?.len() as f64;
    say(
        arguments,
        "build",
        &[
            ("rows", rows.len() as f64),
            ("threads", arguments.threads as f64),
            ("seconds", built),
            ("rows_per_second", rows.len() as f64 / built),
            ("file_bytes_a_row", bytes / rows.len() as f64),
        ],
    );
    Ok(())
}

/// Every query against every row in f32, on all threads.
fn questions(arguments: &IndexArguments, rows: &Vectors, queries: &Vectors) -> Vec<Question> {
    let percents: Vec<f64> = std::iter::once(100.0).chain(arguments.filters.iter().copied()).collect();
    let sets: Vec<Option<DocSet>> = percents
        .iter()
        .map(|&percent| {
            let passes = |row: u32| f64::from(spread(row) % 1_000_000) < percent * 1e4;
            (percent < 100.0).then(|| (0..rows.len() as u32).filter(|&row| passes(row)).map(DocId).collect())
        })
        .collect();
    let threads = fitment_models::available_threads();
    let asked: Vec<usize> = (0..queries.len()).collect();
    let truths: Vec<Vec<Nearest>> = thread::scope(|scope| {
        let parts: Vec<_> = asked
            .chunks(asked.len().div_ceil(threads))
            .map(|part| {
                scope.spawn(|| part.iter().map(|&at| nearest(rows, queries.row(at), &sets)).collect::<Vec<_>>())
            })
            .collect();
        parts.into_iter().flat_map(|part| part.join().unwrap_or_default()).collect()
    });
    percents
        .into_iter()
        .zip(sets)
        .enumerate()
        .map(|(at, (percent, allowed))| {
            let nearest = truths.iter().map(|truth| truth[at]).collect();
            Question { percent, allowed, nearest }
        })
        .collect()
}

/// The K nearest rows of each set.
fn nearest(rows: &Vectors, query: &[f32], sets: &[Option<DocSet>]) -> Vec<Nearest> {
    let scores: Vec<f32> = (0..rows.len()).map(|row| dot(rows.row(row), query)).collect();
    sets.iter()
        .map(|set| {
            let mut best: Vec<f32> = Vec::with_capacity(K + 1);
            let mut offer = |row: u32| {
                let score = scores[row as usize];
                if best.len() < K || best.last().is_some_and(|&worst| score > worst) {
                    let at = best.partition_point(|&better| better >= score);
                    best.insert(at, score);
                    best.truncate(K);
                }
            };
            match set {
                Some(set) => set.iter().for_each(|doc| offer(doc.0)),
                None => (0..rows.len() as u32).for_each(&mut offer),
            }
            Nearest { count: best.len(), least: best.last().copied().unwrap_or_default() }
        })
        .collect()
}

/// A number for each row that is nobody's order.
fn spread(row: u32) -> u32 {
    let mixed = u64::from(row).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33) as u32
}

fn measure(
    arguments: &IndexArguments,
    index: &DenseIndex,
    queries: &Vectors,
    question: &Question,
    effort: usize,
) -> anyhow::Result<()> {
    let ask = |at: usize| index.search(queries.row(at), K, question.allowed.as_ref(), Effort::Rows(effort));
    for at in 0..WARM.min(queries.len()) {
        ask(at)?;
    }
    let mut times = Histogram::<u64>::new(3)?;
    let (mut found, mut wanted, mut scored) = (0usize, 0usize, 0usize);
    for at in 0..queries.len() {
        let started = Instant::now();
        let result = ask(at)?;
        times.record(started.elapsed().as_nanos() as u64)?;
        let truth = question.nearest[at];
        wanted += truth.count;
        found += result.hits.iter().filter(|hit| hit.score >= truth.least - EQUAL).count();
        scored += result.stats.rows_scored;
    }
    say(
        arguments,
        "search",
        &[
            ("allowed_percent", question.percent),
            ("effort", effort as f64),
            ("recall_at_10", found as f64 / wanted.max(1) as f64),
            ("p50_ms", times.value_at_quantile(0.5) as f64 / 1e6),
            ("p99_ms", times.value_at_quantile(0.99) as f64 / 1e6),
            ("queries_per_second", 1e9 / times.mean()),
            ("rows_scored", scored as f64 / queries.len() as f64),
        ],
    );
    Ok(())
}

/// One thread searches, one writes at a steady rate, two seal as the daemon does.
fn live(arguments: &IndexArguments, index: DenseIndex, rows: &Vectors, queries: &Vectors) -> anyhow::Result<()> {
    let shared = RwLock::new(index);
    let stop = AtomicBool::new(false);
    let longest_lock = AtomicU64::new(0);
    let seals = AtomicU64::new(0);
    let hold = |work: &mut dyn FnMut(&mut DenseIndex) -> anyhow::Result<()>| -> anyhow::Result<()> {
        let mut index = shared.write();
        let started = Instant::now();
        work(&mut index)?;
        drop(index);
        longest_lock.fetch_max(started.elapsed().as_micros() as u64, Ordering::Relaxed);
        Ok(())
    };
    let seal = |scope: SealScope| -> anyhow::Result<()> {
        while !stop.load(Ordering::Relaxed) {
            let mut input = None;
            hold(&mut |index| {
                input = index.needs_seal(scope).map(|_| index.sealing_input(scope));
                Ok(())
            })?;
            let Some(input) = input else {
                thread::sleep(Duration::from_millis(100));
                continue;
            };
            let Ok(segment) = input.build(&|_, _| {}, &stop) else { return Ok(()) };
            let segment = match scope {
                SealScope::All => segment.persist(&arguments.segment.with_extension("live"), b"bench")?,
                SealScope::Recent => segment,
            };
            let mut segment: Option<Segment> = Some(segment);
            let mut retired = None;
            hold(&mut |index| {
                retired = segment.take().map(|segment| index.install(segment));
                Ok(())
            })?;
            drop(retired);
            seals.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    let written = AtomicU64::new(0);
    let write = || -> anyhow::Result<()> {
        let started = Instant::now();
        let mut random = 1u32;
        while !stop.load(Ordering::Relaxed) {
            let due = started.elapsed().as_secs_f64() * f64::from(arguments.upserts);
            let done = written.load(Ordering::Relaxed);
            if done as f64 >= due {
                thread::sleep(Duration::from_millis(1));
                continue;
            }
            random = spread(random);
            // Every second write is over a document that is there, the others are new.
            let source = random as usize % rows.len();
            let doc = if done.is_multiple_of(2) { source as u32 } else { rows.len() as u32 + done as u32 };
            hold(&mut |index| Ok(index.upsert(DocId(doc), &[rows.row(source)])?))?;
            written.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    let mut times = Histogram::<u64>::new(3)?;
    let asked = Instant::now();
    let outcome: anyhow::Result<()> = thread::scope(|scope| {
        let threads =
            [scope.spawn(|| seal(SealScope::All)), scope.spawn(|| seal(SealScope::Recent)), scope.spawn(write)];
        let mut at = 0;
        while asked.elapsed().as_secs() < arguments.seconds {
            let started = Instant::now();
            let index = shared.read();
            index.search(queries.row(at % queries.len()), K, None, Effort::Rows(arguments.effort))?;
            drop(index);
            times.record(started.elapsed().as_nanos() as u64)?;
            at += 1;
        }
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_panic| anyhow!("a thread failed"))?)
    });
    outcome?;
    let seconds = asked.elapsed().as_secs_f64();
    say(
        arguments,
        "live",
        &[
            ("upserts_per_second", written.load(Ordering::Relaxed) as f64 / seconds),
            ("searches_per_second", times.len() as f64 / seconds),
            ("p50_ms", times.value_at_quantile(0.5) as f64 / 1e6),
            ("p99_ms", times.value_at_quantile(0.99) as f64 / 1e6),
            ("longest_ms", times.max() as f64 / 1e6),
            ("longest_lock_ms", longest_lock.load(Ordering::Relaxed) as f64 / 1e3),
            ("seals", seals.load(Ordering::Relaxed) as f64),
        ],
    );
    drop(std::fs::remove_file(arguments.segment.with_extension("live")));
    Ok(())
}

fn say(arguments: &IndexArguments, what: &str, figures: &[(&str, f64)]) {
    if arguments.json {
        let mut line = serde_json::Map::from_iter([("system".into(), "fitment".into()), ("what".into(), what.into())]);
        line.extend(figures.iter().map(|&(name, value)| (name.to_owned(), value.into())));
        print(&serde_json::Value::Object(line).to_string());
    } else {
        let figures: Vec<String> = figures.iter().map(|(name, value)| format!("{name} {value:.4}")).collect();
        print(&format!("{what:7} {}", figures.join("  ")));
    }
}

/// Bytes of this process that lie in memory, those of mapped files counted. 0 where the system does not tell.
fn resident() -> i64 {
    let kib = Status::of(std::process::id()).and_then(|status| status.number("VmRSS")).unwrap_or_default();
    i64::try_from(kib).unwrap_or_default() * 1024
}

#[expect(clippy::print_stderr, reason = "progress goes beside the figures")]
fn eprint(line: &str) {
    eprintln!("{line}");
}
