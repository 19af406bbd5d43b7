//! Reading texts into tokens, in this process: how long one takes, and whether threads that read at once get in each
//! other's way.
//!
//! A thread that waits for a lock gives its processor away, which Linux counts as a voluntary switch: that figure is told
//! too, since rates on a machine that others use show little.

#![expect(clippy::cast_precision_loss, reason = "figures for people")]

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use fitment_models::{Embedder, LoadOptions, ModelCache, TerminalBar, TextRole, load};

use crate::print;

/// Prose, so that words are common and rare ones.
const PROSE: &str = "I need a form where customers enter their delivery address, with postcode lookup, validation of the house \
    number and a fallback for countries that have no postcodes; afterwards the warehouse gets a notification, the invoice is \
    generated as a PDF and archived for ten years, and support can see which employee changed what and when.";
/// Spans that are timed for each figure, one and several threads by turns.
const ROUNDS: usize = 5;

#[derive(Debug, clap::Args)]
pub(crate) struct ReadArguments {
    /// A model that is known or installed; fetched when absent.
    #[arg(long, default_value = fitment_models::DEFAULT_MODEL)]
    model: String,
    /// Tokens of a text, special ones counted.
    #[arg(long, value_delimiter = ',', default_value = "8,16,64,128,256", value_parser = clap::value_parser!(u16).range(4..))]
    tokens: Vec<u16>,
    /// Threads that read at once, beside one alone.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(2..=256))]
    threads: u16,
    /// Seconds of one of five spans for each figure.
    #[arg(long, default_value_t = 0.3)]
    seconds: f64,
}

/// What some threads did in one span.
#[derive(Clone, Copy)]
struct Span {
    texts_per_second: f64,
    /// Times that a thread gave its processor away, which it has no other reason for than to wait.
    waits: u64,
}

pub(crate) fn run(arguments: &ReadArguments) -> anyhow::Result<()> {
    let cache = ModelCache::new(ModelCache::default_root(|name| std::env::var_os(name))?);
    let model = cache.pull(&arguments.model, &TerminalBar::new())?;
    let embedder = load(&model, &LoadOptions { threads: 1, ..LoadOptions::default() })?;
    let span = Duration::try_from_secs_f64(arguments.seconds).context("--seconds")?;
    let threads = usize::from(arguments.threads);
    print(&format!("  tokens   us a text   1 thread, texts/s   {threads} threads, texts/s   times   waits"));
    for &tokens in &arguments.tokens {
        let text = text(&*embedder, usize::from(tokens))?;
        let (mut alone, mut together) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            alone.push(measure(&*embedder, &text, 1, span)?);
            together.push(measure(&*embedder, &text, threads, span)?);
        }
        let waits: u64 = together.iter().map(|span| span.waits).sum();
        let (alone, together) = (median(alone), median(together));
        print(&format!(
            "{tokens:8} {:11.1} {alone:19.0} {together:20.0} {:7.2} {waits:7}",
            1e6 / alone,
            together / alone
        ));
    }
    Ok(())
}

fn median(mut spans: Vec<Span>) -> f64 {
    spans.sort_by(|a, b| a.texts_per_second.total_cmp(&b.texts_per_second));
    spans.get(spans.len() / 2).map_or(f64::NAN, |span| span.texts_per_second)
}

/// Prose of exactly `tokens` tokens: where a word is too long, short ones fill up.
fn text(embedder: &dyn Embedder, tokens: usize) -> anyhow::Result<String> {
    let mut text = "I".to_owned();
    for word in PROSE.split_whitespace().cycle().skip(1) {
        let count = embedder.count_tokens(&text)?;
        if count >= tokens {
            break;
        }
        let longer = format!("{text} {word}");
        text = if embedder.count_tokens(&longer)? <= tokens { longer } else { format!("{text} a") };
    }
    let count = embedder.count_tokens(&text)?;
    anyhow::ensure!(count == tokens, "the model makes {count} tokens where {tokens} were wanted");
    Ok(text)
}

fn measure(embedder: &dyn Embedder, text: &str, threads: usize, span: Duration) -> anyhow::Result<Span> {
    let begin = Barrier::new(threads);
    let read = || -> anyhow::Result<(f64, u64)> {
        begin.wait();
        let (before, started, mut texts) = (voluntary_switches(), Instant::now(), 0usize);
        while started.elapsed() < span {
            drop(embedder.read(text, TextRole::Query)?);
            texts += 1;
        }
        Ok((texts as f64 / started.elapsed().as_secs_f64(), voluntary_switches() - before))
    };
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(read)).collect();
        let mut all = Span { texts_per_second: 0.0, waits: 0 };
        for thread in running {
            let (rate, waits) = thread.join().ok().context("a reader panicked")??;
            all.texts_per_second += rate;
            all.waits += waits;
        }
        Ok(all)
    })
}

/// How often this thread has given its processor away by itself; 0 where the system does not tell.
fn voluntary_switches() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or_default()
}
