//! The second stage end to end. The default model is both stages here, so that nothing more is fetched: what is tested is that
//! the parts are joined up, and that a second opinion which is the same changes nothing.

use std::path::Path;

use fitment_proto::v1;
use fitment_tests::{Daemon, MODEL, fitment, manifest, text};

use crate::matching::{create, intent};

const INTENTS: [&str; 3] = ["let the buyer pay with a credit card", "restore yesterday's database", "sortable grid"];

fn serve(folder: &Path, second_stage: Option<u64>) -> anyhow::Result<Daemon> {
    let config = folder.join("fitment.toml");
    let section =
        second_stage.map(|budget| format!("[ranking.second_stage]\nmodel = \"{MODEL}\"\nbudget_ms = {budget}\n"));
    std::fs::write(&config, section.unwrap_or_default())?;
    Daemon::serve(&folder.join("data"), &["--config", &config.display().to_string()])
}

async fn fill(daemon: &Daemon) -> anyhow::Result<()> {
    let mut catalog = daemon.catalog().await?;
    for component in [
        manifest("payments/card-checkout", "1.0.0", "Takes a card payment from a buyer in the checkout."),
        manifest("storage/backup", "2.1.0", "Copies databases every night and restores them on request."),
        manifest("ui/data-table", "1.4.0", "Shows rows and columns that people sort and filter."),
    ] {
        create(&mut catalog, component).await?;
    }
    Ok(())
}

async fn second_stage(daemon: &Daemon) -> anyhow::Result<Option<v1::SecondStageInfo>> {
    let info = daemon.info().await?.get_server_info(v1::GetServerInfoRequest {}).await?;
    Ok(info.into_inner().second_stage)
}

/// Name, sum of shares, and the two models' cosines of each candidate.
type Explained = Vec<(String, f64, Option<(f64, f64)>)>;

async fn explain(daemon: &Daemon, text: &str) -> anyhow::Result<(v1::MatchResponse, Explained)> {
    let request = v1::ExplainRequest { request: Some(intent(text)) };
    let explained = daemon.matcher().await?.explain(request).await?.into_inner();
    let response = explained.response.expect("an answer");
    let explanation = explained.explanation.expect("an explanation");
    assert_eq!(explanation.second_stage, response.provenance.as_ref().expect("provenance").second_stage);
    let candidates = explanation.candidates.into_iter().map(|candidate| {
        let sum = candidate.signals.iter().map(|signal| signal.share).sum();
        let second = candidate.signals.iter().find(|signal| signal.name == "second-stage");
        (candidate.name, sum, second.map(|signal| (signal.value, candidate.centroid_cosine)))
    });
    Ok((response, candidates.collect()))
}

fn said(response: &v1::MatchResponse) -> &str {
    response.provenance.as_ref().map_or("", |provenance| &provenance.second_stage)
}

#[tokio::test]
async fn it_is_off_by_default_used_when_asked_for_and_there_again_after_a_restart() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let daemon = serve(folder.path(), None)?;
    fill(&daemon).await?;
    assert_eq!(second_stage(&daemon).await?, None);
    let mut without = Vec::new();
    for text in INTENTS {
        let (response, candidates) = explain(&daemon, text).await?;
        assert_eq!(said(&response), "off");
        assert_eq!(response.timings.expect("timings").second_stage_us, 0);
        assert!(candidates.iter().all(|(_, _, second)| second.is_none()));
        without.push(candidates);
    }
    daemon.terminate()?;
    let (_, log) = daemon.wait().await?;
    assert!(!log.contains("second stage"), "{log}");

    let daemon = serve(folder.path(), Some(10_000))?;
    // Made in the background: asked for until they are there.
    let made = async {
        while second_stage(&daemon).await?.is_none_or(|second| second.missing_versions > 0) {
            tokio::task::yield_now().await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(std::time::Duration::from_secs(120), made).await??;
    let described = second_stage(&daemon).await?.expect("on");
    assert_eq!((described.model.expect("a model").name.as_str(), described.budget_ms), (MODEL, 10_000));
    for (text, before) in INTENTS.into_iter().zip(&without) {
        let (response, candidates) = explain(&daemon, text).await?;
        assert_eq!(said(&response), "used");
        let provenance = response.provenance.expect("provenance");
        assert_eq!(provenance.second_stage_model_digest, provenance.model_digest);
        assert!(response.timings.expect("timings").second_stage_us > 0);
        for ((name, sum, second), (name_before, sum_before, _)) in candidates.iter().zip(before) {
            assert_eq!(name, name_before, "{text}");
            assert!((sum - sum_before).abs() < 1e-3, "{text}: {name}: {sum} is not {sum_before}");
            let (second, first) = second.expect("the signal counts");
            assert!((second - first).abs() < 1e-4, "{text}: {name}: {second} is not {first}");
        }
    }
    daemon.terminate()?;
    let (_, log) = daemon.wait().await?;
    assert!(log.contains("missing=3"), "{log}");

    let daemon = serve(folder.path(), Some(10_000))?;
    assert_eq!(said(&explain(&daemon, INTENTS[0]).await?.0), "used");
    daemon.terminate()?;
    let (_, log) = daemon.wait().await?;
    assert!(log.contains("missing=0"), "kept in the store: {log}");
    Ok(())
}

#[tokio::test]
async fn an_answer_over_its_budget_is_made_without() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let daemon = serve(folder.path(), Some(1))?;
    fill(&daemon).await?;
    // Some 250 tokens: no forward pass over them ends within a millisecond.
    let long = "restore the database of yesterday evening ".repeat(40);
    let (response, candidates) = explain(&daemon, &long).await?;
    assert_eq!(said(&response), "over budget");
    let timings = response.timings.expect("timings");
    // The budget's millisecond, or less where its model's queue says at once that it would not do.
    assert!((1..timings.total_us).contains(&timings.second_stage_us), "{timings:?}");
    assert_eq!(response.provenance.expect("provenance").second_stage_model_digest, "");
    assert_eq!(candidates[0].0, "storage/backup");
    for (name, _, second) in candidates {
        let (second, first) = second.expect("the signal counts");
        assert!((second - first).abs() < 1e-9, "{name}: the first model stands in");
    }
    Ok(())
}

#[test]
fn a_model_that_is_not_here_is_named_with_the_way_out() -> anyhow::Result<()> {
    fitment_tests::pull_model()?;
    let folder = tempfile::tempdir()?;
    let mut command = fitment()?;
    command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(folder.path());
    let output = command.env("FITMENT_RANKING__SECOND_STAGE__MODEL", "not-pulled").output()?;
    assert!(!output.status.success());
    let error = text(&output.stderr);
    assert!(error.contains("ranking.second_stage.model") && error.contains("fitment model pull not-pulled"), "{error}");
    Ok(())
}
