//! What a stranger does: `demo` in one terminal, `match` in another.

use fitment_tests::{Daemon, fitment, text};

#[test]
fn the_demo_answers_with_each_outcome() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let daemon = Daemon::demo(folder.path())?;
    let answer = |intent: &str| -> anyhow::Result<serde_json::Value> {
        let output = fitment()?.args(["match", "--json", "--server", daemon.address(), intent]).output()?;
        anyhow::ensure!(output.status.success(), "{}", text(&output.stderr));
        Ok(serde_json::from_slice(&output.stdout)?)
    };
    for (intent, outcome, component) in [
        ("bar chart of revenue per region", "OUTCOME_ZERO_GENERATION", "ui/bar-chart"),
        ("take a card payment at checkout", "OUTCOME_MINIMAL_GENERATION", "payments/card-checkout"),
    ] {
        let response = answer(intent)?;
        assert_eq!(response["outcome"], outcome, "{intent}: {response:#}");
        assert_eq!(response["candidates"][0]["name"], component);
        assert_eq!(response["candidates"][0]["isMatch"], true);
        assert_ne!(response["provenance"]["calibrationId"], "");
    }
    let response = answer("tune the strings of my guitar through the microphone")?;
    assert_eq!(response["outcome"], "OUTCOME_RAW_GENERATION", "{response:#}");
    assert!(response["reason"].as_str().is_some_and(|reason| reason.contains("nothing certified")));
    let candidates = response["candidates"].as_array().expect("the nearest candidates");
    assert!(!candidates.is_empty() && candidates.iter().all(|candidate| candidate["isMatch"] == false));

    let table = fitment()?
        .args(["match", "--explain", "--server", daemon.address(), "take a card payment at checkout"])
        .output()?;
    let table = text(&table.stdout);
    for part in ["outcome: minimal generation", "payments/card-checkout@", "score", "why", "threshold", "taken out"] {
        assert!(table.contains(part), "{part} is missing in:\n{table}");
    }
    Ok(())
}

#[test]
fn the_demo_says_where_it_is_as_json() -> anyhow::Result<()> {
    use std::io::BufRead;
    let folder = tempfile::tempdir()?;
    let mut command = fitment()?;
    command.args(["demo", "--json", "--listen", "127.0.0.1:0", "--data-dir"]).arg(folder.path());
    let mut child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null()).spawn()?;
    let mut line = String::new();
    let read = child.stdout.take().map(|output| std::io::BufReader::new(output).read_line(&mut line));
    child.kill()?;
    child.wait()?;
    read.transpose()?;
    let said: serde_json::Value = serde_json::from_str(&line)?;
    assert!(said["address"].as_str().is_some_and(|address| address.starts_with("127.0.0.1:")), "{said}");
    assert!(said["components"].as_u64() > Some(100) && said["try"].as_array().map(Vec::len) == Some(3), "{said}");
    Ok(())
}
