//! Writes every view of a made-up run into a folder: `cargo run --example synthetic -- FOLDER [NUMBER OF INTENTS]`.

mod generate;

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;

use fitment_evaluation::curve::{RiskCoverage, risk_coverage_svg, risk_coverage_text};
use fitment_evaluation::{compare, evaluate, html, table, trec};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("name a folder to write to")?);
    let n = arguments.next().map_or(Ok(500), |n| n.parse())?;
    std::fs::create_dir_all(&folder)?;
    let mut run = generate::run("default", n, 0.74, 7);
    let base = generate::run("words alone", n, 0.66, 8);
    for (place, intent) in [(0, "<script>alert('intent')</script>".to_owned()), (1, "very long ".repeat(400))] {
        if let Some(answer) = run.answers.get_mut(place) {
            answer.intent = intent;
        }
    }
    let report = evaluate(&run)?;
    let comparison = compare(&base, &run)?;
    let curve = RiskCoverage::of(&run);
    let files = [
        ("run.json", serde_json::to_string(&run)?),
        ("report.json", serde_json::to_string_pretty(&report)?),
        ("report.html", html::report(&run, &report)),
        ("report.txt", table::report(&report)),
        ("comparison.json", serde_json::to_string_pretty(&comparison)?),
        ("comparison.html", html::comparison(&comparison)),
        ("comparison.txt", table::comparison(&comparison)),
        ("curve.svg", risk_coverage_svg(&curve)),
        ("curve.txt", risk_coverage_text(&curve)),
        ("qrels.txt", trec::write_qrels(&run)?),
        ("run.txt", trec::write_run(&generate::run("default", n, 0.74, 7))?),
    ];
    for (name, text) in files {
        std::fs::write(folder.join(name), &text)?;
        writeln!(std::io::stdout(), "{name}: {} bytes", text.len())?;
    }
    Ok(())
}
