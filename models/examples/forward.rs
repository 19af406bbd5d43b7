//! How long one text and one batch take: `cargo run --release -p fitment-models --example forward [NAME]`.

use std::time::{Duration, Instant};

use fitment_models::{DEFAULT_MODEL, LoadOptions, ModelCache, ModelError, TerminalBar, TextRole, load};

const TEXT: &str = "let a returning customer pay with a saved card and get the receipt";

fn main() -> Result<(), ModelError> {
    let name = std::env::args().nth(1).unwrap_or_else(|| DEFAULT_MODEL.to_owned());
    let cache = ModelCache::new(ModelCache::default_root(|name| std::env::var_os(name))?);
    let start = Instant::now();
    let model = cache.pull(&name, &TerminalBar::new())?;
    eprintln!("pull  {:?}", start.elapsed());
    let start = Instant::now();
    let embedder = load(&model, &LoadOptions::default())?;
    eprintln!("load  {:?}", start.elapsed());
    eprintln!(
        "one text of {} tokens: {}",
        embedder.count_tokens(TEXT)?,
        percentiles(200, || embedder.embed(&[TEXT], TextRole::Query))?
    );
    eprintln!("its tokens alone: {}", percentiles(200, || embedder.tokenize(TEXT))?);
    let texts = vec![TEXT; 128];
    let start = Instant::now();
    embedder.embed(&texts, TextRole::Document)?;
    eprintln!("128 texts in a batch: {:?} a text", start.elapsed() / 128);
    Ok(())
}

fn percentiles<T>(runs: usize, mut work: impl FnMut() -> Result<T, ModelError>) -> Result<String, ModelError> {
    let mut times: Vec<Duration> = Vec::with_capacity(runs);
    for _ in 0..runs + 10 {
        let start = Instant::now();
        work()?;
        times.push(start.elapsed());
    }
    let times = &mut times[10..];
    times.sort_unstable();
    Ok(format!("p50 {:?} p99 {:?}", times[runs / 2], times[runs * 99 / 100]))
}
