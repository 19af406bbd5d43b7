//! Vectors of real texts for benches of the index: the rows of tables, encoded, in a file that any program can read.

#![expect(clippy::cast_precision_loss, reason = "figures for people")]

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, ensure};
use fitment_models::{Embedder, LoadOptions, ModelCache, TerminalBar, TextRole, Tokens, load};
use xxhash_rust::xxh3::Xxh3;

use crate::print;

/// Texts that are sorted by length and encoded together.
const CHUNK: usize = 4096;
/// Texts of one forward pass.
const BATCH: usize = 64;

#[derive(Debug, clap::Args)]
pub(crate) struct VectorsArguments {
    /// Tab-separated tables with a header line each.
    #[arg(long, required = true)]
    tsv: Vec<PathBuf>,
    /// Column of the name, from 0.
    #[arg(long, default_value_t = 0)]
    name_column: usize,
    /// Columns of the summary in each table, from 0; the last one holds for the tables that follow.
    #[arg(long, value_delimiter = ',', default_value = "1")]
    summary_column: Vec<usize>,
    /// Rows of the index; where the tables hold fewer, all of them.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..=20_000_000))]
    count: u32,
    /// Rows that are kept out of the index and asked for: spread evenly over the tables.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    queries: u32,
    /// A model that is known or installed; fetched when absent.
    #[arg(long, default_value = fitment_models::DEFAULT_MODEL)]
    model: String,
    /// Folder for `rows.f32` and `queries.f32`: little-endian numbers, one vector after the other.
    #[arg(long)]
    out: PathBuf,
}

pub(crate) fn run(arguments: &VectorsArguments) -> anyhow::Result<()> {
    let (count, queries) = (arguments.count as usize, arguments.queries as usize);
    let mut texts = texts(arguments, count + queries)?;
    ensure!(texts.len() > queries, "the tables hold {} usable rows; {queries} of them would be queries", texts.len());
    let every = texts.len() / queries;
    let asked: Vec<String> = (0..queries).map(|at| std::mem::take(&mut texts[at * every])).collect();
    texts.retain(|text| !text.is_empty());
    let cache = ModelCache::new(ModelCache::default_root(|name| std::env::var_os(name))?);
    let model = cache.pull(&arguments.model, &TerminalBar::new())?;
    let embedder = load(&model, &LoadOptions::default())?;
    std::fs::create_dir_all(&arguments.out).with_context(|| arguments.out.display().to_string())?;
    write(&*embedder, &asked, TextRole::Query, &arguments.out.join("queries.f32"))?;
    write(&*embedder, &texts, TextRole::Document, &arguments.out.join("rows.f32"))
}

/// "name: summary" of usable rows, in the order of the tables.
fn texts(arguments: &VectorsArguments, most: usize) -> anyhow::Result<Vec<String>> {
    let mut texts = Vec::new();
    for (at, path) in arguments.tsv.iter().enumerate() {
        let column = arguments.summary_column.get(at).or(arguments.summary_column.last()).copied().unwrap_or(1);
        let file = File::open(path).with_context(|| path.display().to_string())?;
        for line in BufReader::new(file).lines().skip(1) {
            let line = line?;
            let columns: Vec<&str> = line.split('\t').collect();
            let (Some(name), Some(summary)) = (columns.get(arguments.name_column), columns.get(column)) else {
                continue;
            };
            let summary: String = summary.chars().filter(|c| !c.is_control()).take(300).collect();
            // A word or two describe nothing.
            if summary.split_whitespace().count() > 1 {
                texts.push(format!("{name}: {summary}"));
            }
        }
    }
    // Tables are sorted by name; what is taken of them should not be those that begin with an "a".
    let every = texts.len().div_ceil(most).max(1);
    let places = texts.len();
    let mut taken = Vec::with_capacity(most.min(places));
    for first in 0..every {
        taken.extend((first..places).step_by(every).take(most - taken.len()).map(|at| std::mem::take(&mut texts[at])));
    }
    Ok(taken)
}

/// Encodes what `path` does not hold yet. A run that was interrupted left a file named after its texts, and goes on in it.
fn write(embedder: &dyn Embedder, texts: &[String], role: TextRole, path: &Path) -> anyhow::Result<()> {
    let mut digest = Xxh3::new();
    digest.update(embedder.info().digest.to_string().as_bytes());
    for text in texts {
        digest.update(text.as_bytes());
    }
    let part = path.with_extension(format!("{:016x}.part", digest.digest()));
    let mut file = File::options().create(true).append(true).open(&part)?;
    let chunk_bytes = CHUNK * embedder.info().dimension * size_of::<f32>();
    let whole = usize::try_from(file.metadata()?.len())? / chunk_bytes;
    file.set_len((whole * chunk_bytes) as u64)?;
    let started = Instant::now();
    for (at, chunk) in texts.chunks(CHUNK).enumerate().skip(whole) {
        let tokens = chunk.iter().map(|text| embedder.read(text, role)).collect::<Result<Vec<Tokens>, _>>()?;
        let mut order: Vec<usize> = (0..tokens.len()).collect();
        order.sort_by_key(|&at| tokens[at].ids().len());
        let mut vectors: Vec<Option<Box<[f32]>>> = vec![None; tokens.len()];
        for batch in order.chunks(BATCH) {
            let passes: Vec<&Tokens> = batch.iter().map(|&at| &tokens[at]).collect();
            for (&at, vector) in batch.iter().zip(embedder.embed_tokens(&passes)?) {
                vectors[at] = Some(vector.into_inner());
            }
        }
        let mut bytes = Vec::with_capacity(chunk_bytes);
        for vector in vectors {
            let vector = vector.context("a text was not encoded")?;
            bytes.extend(vector.iter().flat_map(|number| number.to_le_bytes()));
        }
        file.write_all(&bytes)?;
        let done = at * CHUNK + chunk.len();
        if at % 16 == 15 || done == texts.len() {
            let rate = (done - whole * CHUNK) as f64 / started.elapsed().as_secs_f64();
            print(&format!("{}: {done} of {}, {rate:.0} texts/s", path.display(), texts.len()));
        }
    }
    file.sync_all()?;
    Ok(std::fs::rename(&part, path)?)
}
