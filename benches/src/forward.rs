//! The encoder alone, in this process: how long one forward pass takes, by kernel, threads, length and batch.

#![expect(clippy::cast_precision_loss, reason = "figures for people")]

use std::time::{Duration, Instant};

use anyhow::Context;
use fitment_models::{
    Embedder, EncoderChoice, Kernel, LoadOptions, ModelCache, TerminalBar, TextRole, Tokens, available_threads, load,
};

use crate::print;

#[derive(Debug, clap::Args)]
pub(crate) struct ForwardArguments {
    /// A model that is known or installed; fetched when absent.
    #[arg(long, default_value = fitment_models::DEFAULT_MODEL)]
    model: String,
    /// Kernels to time, `candle` among them [default: all that this processor has].
    #[arg(long, value_delimiter = ',')]
    kernels: Vec<EncoderChoice>,
    /// Threads that share a pass [default: 1 and all].
    #[arg(long, value_delimiter = ',')]
    threads: Vec<usize>,
    /// Tokens of a text, special ones counted.
    #[arg(long, value_delimiter = ',', default_value = "8,16,32,64,128,256")]
    tokens: Vec<usize>,
    /// Texts of a batch.
    #[arg(long, value_delimiter = ',', default_value = "1,8,32")]
    batches: Vec<usize>,
    /// Seconds for each figure, after a fifth of that to warm up.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

/// Quantiles of one kind of pass, in milliseconds.
struct Figure {
    passes: usize,
    p50: f64,
    p99: f64,
}

pub(crate) fn run(arguments: &ForwardArguments) -> anyhow::Result<()> {
    let cache = ModelCache::new(ModelCache::default_root(|name| std::env::var_os(name))?);
    let model = cache.pull(&arguments.model, &TerminalBar::new())?;
    let kernels = if arguments.kernels.is_empty() {
        Kernel::available().iter().map(|&kernel| EncoderChoice::Kernel(kernel)).collect()
    } else {
        arguments.kernels.clone()
    };
    let mut threads = arguments.threads.clone();
    if threads.is_empty() {
        threads = vec![1, available_threads()];
        threads.dedup();
    }
    if !arguments.json {
        print("kernel           threads   batch  tokens   p50 ms   p99 ms   texts/s");
    }
    for &encoder in &kernels {
        for &threads in &threads {
            let embedder = load(&model, &LoadOptions { encoder, threads, ..LoadOptions::default() })?;
            for &batch in &arguments.batches {
                for &tokens in &arguments.tokens {
                    report(arguments, &*embedder, batch, tokens)?;
                }
            }
        }
    }
    Ok(())
}

fn report(arguments: &ForwardArguments, embedder: &dyn Embedder, batch: usize, tokens: usize) -> anyhow::Result<()> {
    let texts = texts(embedder, batch, tokens)?;
    let texts: Vec<&Tokens> = texts.iter().collect();
    let Figure { passes, p50, p99 } = measure(embedder, &texts, arguments.seconds)?;
    let compute = &embedder.info().compute;
    let rate = batch as f64 / (p50 / 1e3);
    if arguments.json {
        print(
            &serde_json::json!({
                "system": "fitment", "kernel": compute.kernel, "precision": compute.precision.as_str(),
                "threads": compute.threads, "batch": batch, "tokens": tokens, "passes": passes,
                "p50_ms": p50, "p99_ms": p99, "texts_per_second": rate,
            })
            .to_string(),
        );
    } else {
        print(&format!(
            "{:16} {:7} {batch:7} {tokens:7} {p50:8.3} {p99:8.3} {rate:9.1}",
            compute.kernel, compute.threads
        ));
    }
    Ok(())
}

/// Different texts of exactly `tokens` tokens.
fn texts(embedder: &dyn Embedder, batch: usize, tokens: usize) -> anyhow::Result<Vec<Tokens>> {
    const WORDS: [&str; 8] = ["pay", "show", "find", "read", "send", "book", "list", "plan"];
    (0..batch)
        .map(|text| {
            let words: Vec<&str> = (0..tokens.saturating_sub(2)).map(|n| WORDS[(n + text) % WORDS.len()]).collect();
            let read = embedder.read(&words.join(" "), TextRole::Query)?;
            let length = read.ids().len();
            anyhow::ensure!(length == tokens, "the model makes {length} tokens where {tokens} were wanted");
            Ok(read)
        })
        .collect()
}

fn measure(embedder: &dyn Embedder, texts: &[&Tokens], seconds: f64) -> anyhow::Result<Figure> {
    let pass = || -> anyhow::Result<Duration> {
        let started = Instant::now();
        let vectors = embedder.embed_tokens(texts)?;
        anyhow::ensure!(vectors.len() == texts.len());
        Ok(started.elapsed())
    };
    let warm = Instant::now();
    while warm.elapsed().as_secs_f64() < seconds / 5.0 {
        pass()?;
    }
    let mut taken = Vec::new();
    let started = Instant::now();
    while started.elapsed().as_secs_f64() < seconds || taken.len() < 5 {
        taken.push(pass()?);
    }
    taken.sort_unstable();
    let at = |share: f64| -> anyhow::Result<f64> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a list")]
        let place = ((taken.len() - 1) as f64 * share) as usize;
        Ok(taken.get(place).context("there was a pass")?.as_secs_f64() * 1e3)
    };
    Ok(Figure { passes: taken.len(), p50: at(0.5)?, p99: at(0.99)? })
}
