//! The command line: help, configuration, import and export, evaluation.

use std::path::PathBuf;

use fitment_tests::{Daemon, fitment, manifest, run, text, workspace};

#[test]
fn every_command_has_help_with_examples() -> anyhow::Result<()> {
    for command in [
        "demo",
        "serve",
        "match",
        "model",
        "catalog",
        "feedback",
        "gaps",
        "eval",
        "calibrate",
        "certify",
        "trust",
        "access",
        "config",
        "completions",
    ] {
        let output = run(&[command, "--help"])?;
        assert!(output.status.success(), "{command}");
        assert!(text(&output.stdout).contains("Example"), "{command}: {}", text(&output.stdout));
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(text(&run(&["completions", shell])?.stdout).contains("fitment"), "{shell}");
    }
    Ok(())
}

#[test]
fn every_command_has_a_manual_page() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().to_str().expect("temporary folders have plain names");
    assert!(run(&["man", "--out", out])?.status.success());
    for page in ["fitment", "fitment-serve", "fitment-catalog-import", "fitment-assembly-policies-set"] {
        let text = std::fs::read_to_string(folder.path().join(format!("{page}.1")))?;
        assert!(text.contains(".SH SYNOPSIS"), "{page}");
    }
    assert!(!folder.path().join("fitment-man.1").exists(), "a hidden command has no page");
    assert!(!run(&["man", "--out", &format!("{out}/absent")])?.status.success());
    Ok(())
}

#[test]
fn configuration_comes_from_file_environment_and_flags_and_unknown_keys_are_refused() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("fitment.toml");
    std::fs::write(&file, "listen = \"127.0.0.1:1111\"\nqueue_capacity = 7\nmodel = \"from-file\"\n")?;
    let mut command = fitment()?;
    command.args(["config", "print", "--json", "--model", "from-flag", "--config"]).arg(&file);
    let output = command.env("FITMENT_LISTEN", "127.0.0.1:2222").env("FITMENT_RANKING__DEPTH", "250").output()?;
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    for (key, value, origin) in [
        ("listen", "\"127.0.0.1:2222\"", "environment"),
        ("queue_capacity", "7", "file"),
        ("model", "\"from-flag\"", "flag"),
        ("ranking.depth", "250", "environment"),
        ("drain_seconds", "10", "default"),
    ] {
        assert_eq!(printed[key], serde_json::json!([value, origin]), "{key}");
    }
    let output = fitment()?.args(["config", "check", "--json", "--config"]).arg(&file).output()?;
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&output.stdout)?, serde_json::json!({"valid": true}));
    std::fs::write(&file, "lissten = \"127.0.0.1:1111\"\n")?;
    let output = fitment()?.args(["config", "check", "--config"]).arg(&file).output()?;
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("lissten"), "{}", text(&output.stderr));
    let output = fitment()?.args(["config", "check"]).env("FITMENT_LISSTEN", "x").output()?;
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("lissten"), "{}", text(&output.stderr));
    Ok(())
}

#[test]
fn a_catalogue_goes_in_and_out_as_files() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let daemon = Daemon::serve(&folder.path().join("data"), &[])?;
    let (source, exported) = (folder.path().join("in"), folder.path().join("out"));
    std::fs::create_dir_all(&source)?;
    for n in 0..3 {
        std::fs::write(
            source.join(format!("{n}.yaml")),
            manifest(&format!("a/part-{n}"), "1.0.0", &format!("Part {n}.")),
        )?;
    }
    std::fs::write(source.join("bad.yaml"), "name: nothing else\n")?;
    let catalog = |command: &[&str]| -> anyhow::Result<std::process::Output> {
        Ok(fitment()?.arg("catalog").args(command).args(["--server", daemon.address()]).output()?)
    };
    let (source, exported) = (source.to_str().expect("UTF-8"), exported.to_str().expect("UTF-8"));
    let output = catalog(&["import", source])?;
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("3 created, 0 unchanged, 1 failed"), "{}", text(&output.stdout));
    assert!(text(&output.stderr).contains("bad.yaml"), "{}", text(&output.stderr));
    assert!(catalog(&["export", exported])?.status.success());
    let output = catalog(&["diff", exported])?;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    let output = catalog(&["import", exported])?;
    assert!(text(&output.stdout).contains("0 created, 3 unchanged, 0 failed"), "{}", text(&output.stdout));
    let listed: serde_json::Value = serde_json::from_slice(&catalog(&["list", "--json"])?.stdout)?;
    assert_eq!(listed.as_array().map(Vec::len), Some(3));
    assert!(text(&catalog(&["get", "a/part-1"])?.stdout).contains("name: a/part-1"));
    assert_eq!(catalog(&["get", "a/part-9"])?.status.code(), Some(4));
    assert!(catalog(&["delete", "a/part-1@1.0.0"])?.status.success());
    assert_eq!(catalog(&["diff", exported])?.status.code(), Some(1));
    Ok(())
}

#[test]
fn an_absent_daemon_is_said_with_the_way_out() -> anyhow::Result<()> {
    let output = run(&["match", "--server", "127.0.0.1:1", "pay"])?;
    assert_eq!(output.status.code(), Some(5));
    assert!(text(&output.stderr).contains("fitment demo"), "{}", text(&output.stderr));
    Ok(())
}

/// Where the labelled sets lie.
fn intents() -> PathBuf {
    let folder =
        std::env::var_os("FITMENT_INTENTS_DIR").map_or_else(|| workspace().join("../shared/intents"), PathBuf::from);
    assert!(
        folder.is_dir(),
        "no labelled intents at {}: set FITMENT_INTENTS_DIR to the folder that holds clinc150, metatool, nl2bash and bfcl",
        folder.display()
    );
    folder
}

#[test]
fn eval_measures_a_beir_folder_in_one_command() -> anyhow::Result<()> {
    fitment_tests::pull_model()?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("report.json");
    // Words alone need no more than the corpus to be encoded, which keeps this quick.
    let mut command = fitment()?;
    command.args(["eval", "--split", "dev", "--dataset"]).arg(intents().join("metatool")).arg("--json").arg(&file);
    let output = command.output()?;
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(&file)?)?;
    assert_eq!((&report["dataset"], &report["split"]), (&"metatool".into(), &"dev".into()));
    assert_eq!((&report["n_in_scope"], &report["n_out_of_scope"]), (&1612.into(), &328.into()));
    for key in ["hit@1", "hit@5", "recall@5", "recall@10", "ndcg@10", "mrr@10", "auroc", "fpr95"] {
        let value = report["metrics"][key].as_f64().unwrap_or(-1.0);
        assert!((0.0..=1.0).contains(&value), "{key}: {value}");
    }
    let hit = report["metrics"]["hit@1"].as_f64().unwrap_or_default();
    assert!(hit > 0.55, "hit@1 {hit} is under what dense search alone gives");
    Ok(())
}

#[test]
fn eval_names_what_is_wrong_with_a_data_set() -> anyhow::Result<()> {
    fitment_tests::pull_model()?;
    let folder = tempfile::tempdir()?;
    let csv = folder.path().join("intents.csv");
    let header = "split,example_type,intent,expected,alternates,rationale\n";
    for (rows, expect) in [
        ("dev,plain,do a thing,nobody/knows,,\n", "nobody/knows"),
        ("test,plain,do a thing,,,\n", "split"),
        ("dev,plain,do a thing\n", "intents.csv"),
    ] {
        std::fs::write(&csv, format!("{header}{rows}"))?;
        let output = fitment()?.args(["eval", "--split", "dev", "--dataset"]).arg(&csv).output()?;
        assert_eq!(output.status.code(), Some(3), "{rows}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(expect), "{rows}: {}", text(&output.stderr));
    }
    let output = run(&["eval", "--dataset", "/nowhere/at/all"])?;
    assert_eq!(output.status.code(), Some(3));

    let beir = folder.path().join("beir");
    std::fs::create_dir_all(beir.join("qrels"))?;
    std::fs::write(beir.join("corpus.jsonl"), "")?;
    std::fs::write(beir.join("queries.jsonl"), "{\"_id\": \"q\", \"text\": \"a thing\"}\n")?;
    std::fs::write(beir.join("qrels/dev.tsv"), "query-id\tcorpus-id\tscore\n")?;
    for (split, expect) in [("dev", "holds no components"), ("test", "test.tsv does not exist")] {
        let output = fitment()?.args(["eval", "--split", split, "--dataset"]).arg(&beir).output()?;
        assert_eq!(output.status.code(), Some(3), "{split}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(expect), "{split}: {}", text(&output.stderr));
    }
    Ok(())
}
