//! Measuring, fitting and comparing from the command line, on a data set that the tests write.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::ensure;
use fitment_tests::{fitment, pull_model, text, workspace};
use serde_json::{Value, json};

/// Id, title, text and two things that people do with it.
const COMPONENTS: [(&str, &str, &str, [&str; 2]); 10] = [
    (
        "invoices",
        "Invoice generator",
        "Makes PDF invoices from orders.",
        ["bill a customer for an order", "print an invoice"],
    ),
    (
        "maps",
        "Street map",
        "Shows a map with markers and routes.",
        ["show shops on a map", "draw a route between two towns"],
    ),
    ("sms", "Text messages", "Sends short messages to phones.", ["text a customer's phone", "send a short message"]),
    ("charts", "Chart", "Draws bar and line charts from numbers.", ["draw a bar chart", "plot sales by month"]),
    (
        "backup",
        "Backup",
        "Copies databases every night and restores them.",
        ["restore a database", "copy data every night"],
    ),
    ("login", "Sign-in form", "Signs people in with a password or passkey.", ["sign people in", "ask for a password"]),
    (
        "search",
        "Full-text search",
        "Finds documents by their words.",
        ["find documents by words", "search all articles"],
    ),
    (
        "calendar",
        "Calendar",
        "Shows appointments by day and week.",
        ["show next week's appointments", "book a meeting"],
    ),
    (
        "upload",
        "File upload",
        "Takes pictures and files from people.",
        ["let people upload pictures", "take a file from a visitor"],
    ),
    (
        "translate",
        "Translation",
        "Translates texts between languages.",
        ["translate a text into French", "offer the page in Polish"],
    ),
];
/// Nothing of the above does it.
const ELSEWHERE: [&str; 9] = [
    "tune a guitar",
    "bake bread",
    "water the garden",
    "repair a bicycle",
    "fold paper planes",
    "train a puppy",
    "paint a fence",
    "brew coffee",
    "play chess",
];
const FRAMES: [&str; 4] = ["I need to {}", "{}, please", "how can we {}?", "a part that helps to {}"];

fn framed(frame: usize, what: &str) -> String {
    FRAMES[frame].replace("{}", what)
}

/// A line of a JSON Lines file.
fn line(value: &Value) -> String {
    format!("{value}\n")
}

/// A small BEIR folder: 60 intents in scope of `dev` and 20 of `test`, 27 and 9 out of scope. mislabelled: whether the labels
/// of `test` are all of the wrong component.
pub(crate) fn write_data_set(folder: &Path, mislabelled: bool) -> anyhow::Result<()> {
    let (mut corpus, mut queries) = (String::new(), String::new());
    let mut qrels: BTreeMap<&str, String> =
        ["dev", "test"].map(|split| (split, "query-id\tcorpus-id\tscore\n".to_owned())).into();
    let split_of = |frame: usize| if frame < 3 { "dev" } else { "test" };
    for (at, (id, title, summary, deeds)) in COMPONENTS.iter().enumerate() {
        let next = COMPONENTS[(at + 1) % COMPONENTS.len()].0;
        corpus += &line(&json!({"_id": id, "title": title, "text": summary}));
        for (frame, (number, deed)) in
            (0..FRAMES.len()).flat_map(|frame| deeds.iter().enumerate().map(move |deed| (frame, deed)))
        {
            let (split, query) = (split_of(frame), format!("{id}-{frame}-{number}"));
            let metadata = json!({"split": split, "source": "written", "names_component": false});
            queries += &line(&json!({"_id": query, "text": framed(frame, deed), "metadata": metadata}));
            let wrong = mislabelled && split == "test";
            let right = if wrong { next } else { id };
            let judged = qrels.entry(split).or_default();
            judged.push_str(&[&query, right, "2\n"].join("\t"));
            // Graded labels: the second deed is half met by the neighbour.
            if number == 1 && !wrong {
                judged.push_str(&[&query, next, "1\n"].join("\t"));
            }
        }
    }
    for (number, what) in ELSEWHERE.iter().enumerate() {
        for frame in 0..FRAMES.len() {
            let kind = if number < 4 { "home" } else { "leisure" };
            let metadata = json!({"split": split_of(frame), "out_of_scope": true, "oos_kind": kind});
            let query =
                json!({"_id": format!("oos-{frame}-{number}"), "text": framed(frame, what), "metadata": metadata});
            queries += &line(&query);
        }
    }
    std::fs::create_dir_all(folder.join("qrels"))?;
    std::fs::write(folder.join("corpus.jsonl"), corpus)?;
    std::fs::write(folder.join("queries.jsonl"), queries)?;
    for (split, lines) in qrels {
        std::fs::write(folder.join("qrels").join(format!("{split}.tsv")), lines)?;
    }
    Ok(())
}

/// A temporary folder with files in it.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> anyhow::Result<Self> {
        pull_model()?;
        Ok(Self(tempfile::tempdir()?))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn name(&self, name: &str) -> String {
        self.path(name).to_str().expect("UTF-8").to_owned()
    }

    fn text(&self, name: &str) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(self.path(name))?)
    }

    fn json(&self, name: &str) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.text(name)?)?)
    }

    /// A data set in a folder of this name.
    fn data_set(&self, name: &str, mislabelled: bool) -> anyhow::Result<String> {
        write_data_set(&self.path(name), mislabelled)?;
        Ok(self.name(name))
    }
}

/// What a command prints; it must succeed.
fn shown(arguments: &[&str]) -> anyhow::Result<String> {
    let output = fitment()?.args(arguments).output()?;
    ensure!(output.status.success(), "{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
    Ok(text(&output.stdout))
}

#[test]
fn eval_writes_every_file_and_its_figures_are_those_of_trec_eval() -> anyhow::Result<()> {
    let files = Files::new()?;
    let set = files.data_set("small", false)?;
    let [report, page, saved, run, qrels] =
        ["report.json", "report.html", "answers.json", "run.txt", "qrels.txt"].map(|name| files.name(name));
    let table = shown(&[
        "eval",
        "--dataset",
        &set,
        "--split",
        "test",
        "--fit",
        &set,
        "--max-error",
        "0.4",
        "--confidence",
        "0.8",
        "--json",
        &report,
        "--html",
        &page,
        "--save",
        &saved,
        "--trec-run",
        &run,
        "--trec-qrels",
        &qrels,
    ])?;
    assert!(table.contains("small / test: fused") && table.contains("hit@1"), "{table}");
    let report = files.json("report.json")?;
    assert_eq!((&report["dataset"], &report["split"]), (&"small".into(), &"test".into()));
    assert_eq!((&report["n_in_scope"], &report["n_out_of_scope"]), (&20.into(), &9.into()));
    for key in [
        "hit@1",
        "hit@5",
        "recall@5",
        "recall@10",
        "ndcg@10",
        "mrr@10",
        "completeness@5",
        "auroc",
        "fpr95",
        "coverage",
        "precision",
    ] {
        let value = report["metrics"][key].as_f64().unwrap_or(-1.0);
        assert!((0.0..=1.0).contains(&value), "{key}: {}", report["metrics"]);
    }
    for kind in ["home", "leisure"] {
        for key in ["auroc", "false_match_rate"] {
            let value = report["out_of_scope"][kind][key].as_f64().unwrap_or(-1.0);
            assert!((0.0..=1.0).contains(&value), "{kind} {key}: {}", report["out_of_scope"]);
        }
    }
    assert_eq!(report["fitted_on"], json!(["small dev"]));
    assert_eq!(report["in_sample"], json!({"ranking": 0, "promise": 0}), "test is not dev");
    assert!(!table.contains("IN SAMPLE") && table.contains("fitted on small dev"), "{table}");
    assert!(report["slices"]["source"].is_array() && report["timing"]["whole_ms"]["p50"].is_number(), "{report:#}");
    let page = files.text("report.html")?;
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("<svg"), "a page with its pictures");
    for outside in ["http://", "https://", "<script src", "<link"] {
        let spoken = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!spoken.contains(outside), "the page needs nothing else: {outside}");
    }
    assert_eq!(files.json("answers.json")?["answers"].as_array().map(Vec::len), Some(29));

    the_same_figures_from_trec_files(&files, &report)
}

/// The figures of the TREC files of a report, by our own reader and by `trec_eval` itself.
fn the_same_figures_from_trec_files(files: &Files, report: &Value) -> anyhow::Result<()> {
    let [run, qrels] = ["run.txt", "qrels.txt"].map(|name| files.name(name));
    // The files carry the corpus' own ids, as its own qrels do.
    assert!(files.text("run.txt")?.lines().all(|line| !line.contains('/')), "{}", files.text("run.txt")?);
    assert!(files.text("qrels.txt")?.contains(" invoices 2\n"));
    // The same figures from the TREC files, by our own reader and by trec_eval itself; and from the corpus' own qrels.
    let [foreign, beir, foreign_page, foreign_saved] =
        ["foreign.json", "beir.json", "foreign.html", "foreign-answers.json"].map(|name| files.name(name));
    shown(&["eval", "trec", "--qrels", &qrels, "--run", &run, "--json", &foreign])?;
    let own_qrels = files.name("small/qrels/test.tsv");
    let trec = ["eval", "trec", "--qrels", &own_qrels, "--run", &run, "--json", &beir];
    shown(&[&trec[..], &["--html", &foreign_page, "--save", &foreign_saved]].concat())?;
    let (foreign, beir) = (files.json("foreign.json")?, files.json("beir.json")?);
    assert!(files.text("foreign.html")?.starts_with("<!DOCTYPE html>"));
    let same = shown(&["eval", "compare", &foreign_saved, &foreign_saved])?;
    assert!(same.contains("0 won, 0 lost"), "{same}");
    let output = Command::new("python3")
        .arg(workspace().join("daemon/evaluation/tests/clients/trec_eval.py"))
        .args([&qrels, &run])
        .env("PYTHONPATH", packages()?)
        .output()?;
    ensure!(output.status.success(), "{}", text(&output.stderr));
    let trec: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(trec["n"], 20);
    for (theirs, ours) in [
        ("success_1", "hit@1"),
        ("success_5", "hit@5"),
        ("success_10", "hit@10"),
        ("recall_5", "recall@5"),
        ("recall_10", "recall@10"),
        ("P_1", "precision@1"),
        ("P_5", "precision@5"),
        ("P_10", "precision@10"),
        ("ndcg_cut_5", "ndcg@5"),
        ("ndcg_cut_10", "ndcg@10"),
        ("recip_rank", "mrr@10"),
        ("map", "map"),
    ] {
        let expect = trec["mean"][theirs].as_f64().expect("a figure");
        for (from, report) in [("eval", report), ("eval trec", &foreign), ("eval trec on BEIR's qrels", &beir)] {
            let found = report["metrics"][ours].as_f64().expect("a figure");
            assert!((found - expect).abs() < 1e-6, "{from}: {ours} is {found}, trec_eval's {theirs} {expect}");
        }
    }
    Ok(())
}

/// Installs `trec_eval` for Python once into the target folder.
fn packages() -> anyhow::Result<PathBuf> {
    const PACKAGE: &str = "pytrec_eval-terrier==0.5.11";
    let folder = workspace().join("target/python-client").join(PACKAGE.replace("==", "-"));
    if !folder.join("complete").exists() {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--upgrade", "--target"]).arg(&folder).arg(PACKAGE);
        let output = pip.output()?;
        ensure!(output.status.success(), "pip install failed: {}", text(&output.stderr));
        std::fs::write(folder.join("complete"), "")?;
    }
    Ok(folder)
}

#[test]
fn a_fit_sees_the_dev_split_and_no_other_label() -> anyhow::Result<()> {
    let files = Files::new()?;
    let (right, wrong) = (files.data_set("right/set", false)?, files.data_set("wrong/set", true)?);
    let mut found = Vec::new();
    for (set, out) in [(&right, "a.json"), (&wrong, "b.json")] {
        let ranker = files.name(out);
        shown(&["fit", "--dataset", set, "--out", &ranker])?;
        found.push((files.json(out)?["id"].clone(), files.text(out)?));
    }
    assert!(found[0] == found[1], "labels of `test` changed ranker {} into {}", found[0].0, found[1].0);

    // What was written can be read, calibrated with and measured; the intents that it learnt from are judged cross-fitted.
    let (ranker, calibration, picture, report) =
        (files.name("a.json"), files.name("calibration.json"), files.name("curve.svg"), files.name("report.json"));
    let promised = shown(&[
        "calibrate",
        "--dataset",
        &right,
        "--ranker",
        &ranker,
        "--max-error",
        "0.4",
        "--confidence",
        "0.8",
        "--picture",
        &picture,
        "--out",
        &calibration,
    ])?;
    assert!(promised.contains("cross-fitted") && promised.contains("at most 40 %"), "{promised}");
    assert!(files.text("curve.svg")?.starts_with("<svg"));
    assert_eq!(files.json("calibration.json")?["ranker_id"], found[0].0);
    shown(&[
        "eval",
        "--dataset",
        &right,
        "--split",
        "test",
        "--ranker",
        &ranker,
        "--calibration",
        &calibration,
        "--json",
        &report,
    ])?;
    let report = files.json("report.json")?;
    assert_eq!(report["promise"]["max_error"], 0.4, "{report:#}");
    assert!(report["promise_check"]["verdict"].is_string(), "{report:#}");
    Ok(())
}

/// The exit code of a command, what it prints on standard error and whether it began to encode anything.
fn refused(arguments: &[&str]) -> anyhow::Result<(Option<i32>, String, bool)> {
    let output = fitment()?.args(arguments).output()?;
    let error = text(&output.stderr);
    let began = error.contains("indexing components") || error.contains("encoding");
    Ok((output.status.code(), error, began))
}

#[test]
fn what_was_fitted_on_the_measured_split_is_marked() -> anyhow::Result<()> {
    let files = Files::new()?;
    let set = files.data_set("small", false)?;
    let (report, page) = (files.name("report.json"), files.name("report.html"));
    let promise = ["--max-error", "0.4", "--confidence", "0.8", "--recalibrate", "20"];
    let eval = ["eval", "--dataset", &set, "--split", "dev", "--fit", &set, "--json", &report, "--html", &page];
    let table = shown(&[&eval[..], &promise].concat())?;
    let expect = "IN SAMPLE: the ranking was fitted on 87 and the promise on 87 of these 87 intents";
    assert!(table.contains(&format!("!!! {expect}")), "{table}");
    assert!(files.text("report.html")?.contains(expect));
    let report = files.json("report.json")?;
    assert_eq!(report["in_sample"], json!({"ranking": 87, "promise": 87}));
    // Halves of the cross-fitted intents, not of the ones that the ranker knows by heart.
    let recalibration = &report["recalibration"];
    assert_eq!(recalibration["repeats"], 20, "{recalibration}");
    assert!(recalibration["broken_interval"].is_array() && table.contains("Recalibrations"), "{table}");

    // Part of the intents in another folder, under another name.
    let part = files.data_set("part", false)?;
    let qrels = files.path("part/qrels");
    let lines = std::fs::read_to_string(qrels.join("test.tsv"))? + "maps-0-0\tmaps\t2\n";
    std::fs::write(qrels.join("test.tsv"), lines)?;
    let dev = std::fs::read_to_string(qrels.join("dev.tsv"))?.replace("maps-0-0\tmaps\t2\n", "");
    std::fs::write(qrels.join("dev.tsv"), dev)?;
    let queries = files.text("part/queries.jsonl")?;
    let moved =
        |line: &str| if line.contains("\"maps-0-0\"") { line.replace("\"dev\"", "\"test\"") } else { line.into() };
    std::fs::write(files.path("part/queries.jsonl"), queries.lines().map(moved).collect::<Vec<_>>().join("\n"))?;
    let json = files.name("part.json");
    let table = shown(&["eval", "--dataset", &part, "--split", "test", "--fit", &set, "--json", &json])?;
    assert!(table.contains("PARTLY IN SAMPLE: the ranking was fitted on 1 of these 30 intents"), "{table}");

    // A baseline is fitted on nothing, and says so.
    let table = shown(&["eval", "--dataset", &set, "--split", "dev", "--baseline", "bm25", "--json", &json])?;
    let baseline = files.json("part.json")?;
    assert!(table.contains("fitted on nothing") && !table.contains("IN SAMPLE"), "{table}");
    assert_eq!((&baseline["fitted_on"], &baseline["in_sample"]["ranking"]), (&json!([]), &0.into()));
    Ok(())
}

#[test]
fn what_labels_lack_is_said_before_anything_is_encoded() -> anyhow::Result<()> {
    let files = Files::new()?;
    let set = files.data_set("small", false)?;
    let queries = files.text("small/queries.jsonl")?;
    let inside = queries.lines().filter(|line| !line.contains("out_of_scope")).collect::<Vec<_>>().join("\n");
    std::fs::write(files.path("small/queries.jsonl"), inside)?;
    let out = files.name("out.json");
    let fit = refused(&["fit", "--dataset", &set, "--out", &out])?;
    assert!(fit.0 == Some(3) && fit.1.contains("no out-of-scope ones") && fit.1.contains(": 12") && !fit.2, "{fit:?}");
    let calibrate = refused(&["calibrate", "--dataset", &set, "--out", &out])?;
    assert!(
        calibrate.0 == Some(3) && calibrate.1.contains("at least 63 out of scope") && !calibrate.2,
        "{calibrate:?}"
    );
    let eval = refused(&["eval", "--dataset", &set, "--split", "test", "--fit", &set])?;
    assert!(eval.0 == Some(3) && eval.1.contains("no out-of-scope ones") && !eval.2, "{eval:?}");
    Ok(())
}

#[test]
fn wrong_and_missing_files_are_bad_input() -> anyhow::Result<()> {
    let files = Files::new()?;
    let set = files.data_set("small", false)?;
    let [out, absent, wrong, empty] =
        ["out.json", "absent.json", "wrong.json", "empty.txt"].map(|name| files.name(name));
    std::fs::write(&wrong, "{\"no\": \"ranker\"}")?;
    std::fs::write(&empty, "\n")?;
    let nowhere = files.name("nowhere/out.json");
    let run = files.name("run.txt");
    std::fs::write(&run, "q Q0 a 1 0.5 t\n")?;
    let cases: [(&[&str], &str); 16] = [
        (&["eval", "--dataset", &absent], "absent.json"),
        (&["eval", "--dataset", &set, "--ranker", &absent], "absent.json"),
        (&["eval", "--dataset", &set, "--ranker", &wrong], "wrong.json"),
        (&["eval", "--dataset", &set, "--calibration", &absent], "absent.json"),
        (&["eval", "--dataset", &set, "--calibration", &wrong], "wrong.json"),
        (&["eval", "--dataset", &set, "--json", &nowhere], "nowhere"),
        (&["eval", "--dataset", &set, "--split", "test", "--fit", &absent], "absent.json"),
        (&["eval", "--dataset", &set, "--split", "test", "--fit", &set, "--fit", &format!("{set}/")], "twice"),
        (&["eval", "compare", &absent, &absent], "absent.json"),
        (&["eval", "trec", "--qrels", &absent, "--run", &run], "absent.json"),
        (&["eval", "trec", "--qrels", &empty, "--run", &run], "empty.txt: qrels is empty"),
        (&["eval", "trec", "--qrels", &files.name("small/qrels/dev.tsv"), "--run", &empty], "empty.txt: run is empty"),
        (&["fit", "--dataset", &absent, "--out", &out], "absent.json"),
        (&["fit", "--dataset", &set, "--dataset", &set, "--out", &out], "twice"),
        (&["calibrate", "--dataset", &absent, "--out", &out], "absent.json"),
        (&["calibrate", "--dataset", &set, "--max-error", "0.4", "--ranker", &wrong, "--out", &out], "wrong.json"),
    ];
    for (arguments, named) in cases {
        let (code, error, _) = refused(arguments)?;
        assert_eq!(code, Some(3), "{arguments:?}: {error}");
        assert!(error.contains(named), "{arguments:?}: {error}");
    }
    Ok(())
}

#[test]
fn baselines_are_measured_and_runs_compared() -> anyhow::Result<()> {
    let files = Files::new()?;
    let set = files.data_set("small", false)?;
    let mut hits = BTreeMap::new();
    for baseline in ["fused", "bm25", "dense", "rrf", "random"] {
        let (report, saved) = (files.name("report.json"), files.name(&format!("{baseline}.json")));
        shown(&[
            "eval",
            "--dataset",
            &set,
            "--split",
            "test",
            "--baseline",
            baseline,
            "--json",
            &report,
            "--save",
            &saved,
        ])?;
        let report = files.json("report.json")?;
        assert_eq!(report["system"], baseline);
        hits.insert(baseline, report["metrics"]["hit@1"].as_f64().expect("hit@1"));
    }
    for better in ["fused", "bm25", "dense", "rrf"] {
        assert!(hits[better] > hits["random"], "{hits:?}");
    }
    let (base, other) = (files.name("random.json"), files.name("dense.json"));
    let (comparison, page) = (files.name("comparison.json"), files.name("comparison.html"));
    let table = shown(&["eval", "compare", &base, &other, "--json", &comparison, "--html", &page])?;
    assert!(table.contains("hit@1"), "{table}");
    let comparison = files.json("comparison.json")?;
    let hit = &comparison["differences"]["hit@1"];
    let difference = hit["difference"].as_f64().expect("a difference");
    assert!((difference - (hits["dense"] - hits["random"])).abs() < 1e-12, "{hit}");
    assert!(hit["p_value"].as_f64().is_some_and(|p| p < 0.01), "{hit}");
    let outcomes = &comparison["hit_at_1"];
    let counted: u64 = ["wins", "losses", "ties"].iter().filter_map(|key| outcomes[key].as_u64()).sum();
    assert_eq!(counted, 20, "{outcomes}");
    assert!(files.text("comparison.html")?.starts_with("<!DOCTYPE html>"));

    // Runs of different splits are not compared.
    let dev = files.name("dev.json");
    shown(&["eval", "--dataset", &set, "--split", "dev", "--baseline", "random", "--save", &dev])?;
    let output = fitment()?.args(["eval", "compare", &base, &dev]).output()?;
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    Ok(())
}
