//! Compares the ranking measures with those of `pytrec_eval`, query by query:
//!
//! ```sh
//! python3 -m venv venv && venv/bin/pip install pytrec_eval-terrier==0.5.11
//! cargo run -p fitment-evaluation --example trec_agreement -- venv/bin/python
//! ```

#[path = "synthetic/generate.rs"]
mod generate;

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::process::Command;

use fitment_evaluation::metrics::per_query;
use fitment_evaluation::trec::{write_qrels, write_run};
use serde::Deserialize;

/// Our name of each measure, and theirs.
const NAMES: [(&str, &str); 12] = [
    ("map", "map"),
    ("mrr@10", "recip_rank"),
    ("ndcg@5", "ndcg_cut_5"),
    ("ndcg@10", "ndcg_cut_10"),
    ("precision@1", "P_1"),
    ("precision@5", "P_5"),
    ("precision@10", "P_10"),
    ("recall@5", "recall_5"),
    ("recall@10", "recall_10"),
    ("hit@1", "success_1"),
    ("hit@5", "success_5"),
    ("hit@10", "success_10"),
];

/// Largest difference that passes.
const TOLERANCE: f64 = 1e-6;

/// What the script prints.
#[derive(Deserialize)]
struct Theirs {
    per_query: BTreeMap<String, BTreeMap<String, f64>>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let python = std::env::args().nth(1).ok_or("name a Python that has pytrec_eval")?;
    let run = generate::run("default", 500, 0.7, 3);
    let folder = std::env::temp_dir().join(format!("trec-agreement-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let (qrels, ranking) = (folder.join("qrels.txt"), folder.join("run.txt"));
    std::fs::write(&qrels, write_qrels(&run)?)?;
    std::fs::write(&ranking, write_run(&run)?)?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/trec_eval.py");
    let output = Command::new(python).arg(script).arg(&qrels).arg(&ranking).output()?;
    std::fs::remove_dir_all(&folder)?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let theirs: Theirs = serde_json::from_slice(&output.stdout)?;
    let ours: Vec<_> = per_query(&run).collect();
    if ours.len() != theirs.per_query.len() {
        return Err(format!("{} queries here, {} there", ours.len(), theirs.per_query.len()).into());
    }
    for (name, their_name) in NAMES {
        let difference = |one: &fitment_evaluation::metrics::QueryFigures<'_>| {
            let theirs = theirs.per_query.get(one.id).and_then(|values| values.get(their_name));
            theirs.map_or(f64::INFINITY, |theirs| (theirs - one.values[name]).abs())
        };
        let largest = ours.iter().map(difference).fold(0.0, f64::max);
        writeln!(std::io::stdout(), "{name:<14}{their_name:<14}{largest:e}")?;
        if largest > TOLERANCE {
            return Err(format!("{name} differs by {largest}").into());
        }
    }
    writeln!(std::io::stdout(), "{} queries agree", ours.len())?;
    Ok(())
}
