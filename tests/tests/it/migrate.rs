//! Another encoding model on a running daemon. The second model is the first one's files pooled in another way, so that nothing
//! more is fetched: another digest and other vectors, from the same weights.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, ensure};
use fitment_proto::v1;
use fitment_proto::v1::model_service_client::ModelServiceClient;
use fitment_tests::{Daemon, MODEL, fitment, manifest, pull_model, text, workspace};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::matching::{create, intent};

const OTHER: &str = "first-token";

fn ends(code: i32, arguments: &[&str]) -> anyhow::Result<String> {
    let output = fitment()?.args(arguments).output()?;
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    ensure!(output.status.code() == Some(code), "{arguments:?}: {:?}: {said}", output.status);
    Ok(said)
}

fn on(daemon: &Daemon, code: i32, arguments: &[&str]) -> anyhow::Result<String> {
    ends(code, &[arguments, &["--server", daemon.address()]].concat())
}

/// A folder of models that holds the default one and [`OTHER`].
fn models() -> anyhow::Result<(TempDir, PathBuf)> {
    pull_model()?;
    let listed: Value = serde_json::from_str(&ends(0, &["model", "list", "--json"])?)?;
    let known = listed.as_array().context("a list")?.iter().find(|model| model["name"] == MODEL);
    let known = PathBuf::from(known.context("the default model")?["folder"].as_str().context("a folder")?);
    let folder = tempfile::tempdir()?;
    let (models, other) = (folder.path().join("models"), folder.path().join("other"));
    std::fs::create_dir_all(&models)?;
    std::fs::create_dir_all(other.join("1_Pooling"))?;
    std::os::unix::fs::symlink(&known, models.join(MODEL))?;
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        std::os::unix::fs::symlink(known.join(file), other.join(file))?;
    }
    let modules = json!([
        { "idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer" },
        { "idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling" },
        { "idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize" },
    ]);
    std::fs::write(other.join("modules.json"), modules.to_string())?;
    let pooling =
        json!({ "word_embedding_dimension": 384, "pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false });
    std::fs::write(other.join("1_Pooling/config.json"), pooling.to_string())?;
    let path = |path: &Path| path.to_str().map(str::to_owned).context("a path that is no text");
    ends(0, &["model", "import", &path(&other)?, "--name", OTHER, "--models-dir", &path(&models)?])?;
    Ok((folder, models))
}

async fn info(daemon: &Daemon) -> anyhow::Result<v1::GetServerInfoResponse> {
    Ok(daemon.info().await?.get_server_info(v1::GetServerInfoRequest {}).await?.into_inner())
}

async fn serving(daemon: &Daemon) -> anyhow::Result<String> {
    Ok(info(daemon).await?.model.context("a model")?.name)
}

/// What a daemon answers to an intent, without what changes with time.
async fn answer(daemon: &Daemon, asked: &str) -> anyhow::Result<(v1::Outcome, Vec<(String, String)>, String)> {
    let answer = daemon.matcher().await?.r#match(intent(asked)).await?.into_inner();
    let provenance = answer.provenance.clone().context("provenance")?;
    let candidates = answer.candidates.iter().map(|found| (found.name.clone(), format!("{:.3}", found.score)));
    Ok((answer.outcome(), candidates.collect(), provenance.model))
}

const ASKED: &str = "bar chart of revenue per region";

// Several threads, so that others ask and write while a command is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_model_is_measured_serves_between_two_matches_and_goes_back() -> anyhow::Result<()> {
    let (folder, models) = models()?;
    let (data, file) = (folder.path().join("data"), folder.path().join("demo.fitment"));
    let (models, data_dir, file) =
        (models.to_str().context("text")?, data.to_str().context("text")?, file.to_str().context("text")?);
    // The sample catalogue with its calibration.
    let demo = Daemon::demo(&folder.path().join("demo"))?;
    on(&demo, 0, &["bundle", "export", file, "--unsigned", "--without", "model"])?;
    drop(demo);
    let fresh = ["--data-dir", data_dir, "--models-dir", models];
    ends(0, &[&["bundle", "import", file, "--offline", "--unsigned"], &fresh[..]].concat())?;
    let serve = |more: &[&str]| Daemon::serve(&data, &[&["--models-dir", models], more].concat());
    let daemon = serve(&[])?;
    let before = answer(&daemon, ASKED).await?;
    assert_ne!(before.0, v1::Outcome::Candidates, "a promise is in force");
    assert_eq!(before.2, MODEL);

    // Somebody asks all the while: every answer is of one model, and none fails.
    let stop = Arc::new(AtomicBool::new(false));
    let mut matcher = daemon.matcher().await?;
    let asking = tokio::spawn({
        let stop = Arc::clone(&stop);
        async move {
            let mut answered = Vec::new();
            while !stop.load(Ordering::Acquire) {
                let answer = matcher.r#match(intent(ASKED)).await?.into_inner();
                let first = answer.candidates.into_iter().next().map(|first| first.name);
                answered.push((answer.provenance.map(|provenance| provenance.model), first));
            }
            Ok::<_, anyhow::Error>(answered)
        }
    });
    on(&daemon, 4, &["model", "migrate", "no-such-model"])?;
    let said = on(&daemon, 3, &["model", "migrate", "no/model"])?;
    assert!(said.contains("`no/model` is no name of a model"), "{said}");
    on(&daemon, 3, &["model", "migrate", MODEL])?;
    on(&daemon, 6, &["model", "rollback"])?;
    let labels = workspace().join("daemon/catalog/sample/intents.csv");
    let compare = ["model", "migrate", OTHER, "--compare", labels.to_str().context("text")?, "--json"];
    let output = fitment()?.args(compare).args(["--server", daemon.address()]).output()?;
    let measured: Value = serde_json::from_slice(&output.stdout).with_context(|| text(&output.stderr))?;
    assert_eq!(
        (&measured["switched"], &measured["from"], &measured["to"]),
        (&json!(false), &json!(MODEL), &json!(OTHER))
    );
    let figure = |name: &str| -> anyhow::Result<Value> {
        let figures = measured["figures"].as_array().context("figures")?;
        figures.iter().find(|figure| figure["name"] == name).cloned().with_context(|| format!("{name} in {measured}"))
    };
    for name in ["hit@1", "ndcg@10", "auroc"] {
        assert!(figure(name)?["from"].as_f64().is_some_and(|value| value > 0.5), "{measured}");
    }
    assert!(figure("hit@1")?["pValue"].is_number(), "{measured}");
    assert!(measured["wins"].as_u64() < measured["losses"].as_u64(), "it was not trained to be pooled so");
    assert_eq!(serving(&daemon).await?, MODEL, "it was measured and no more");
    assert_eq!(answer(&daemon, ASKED).await?, before);

    // Written and deleted in between: neither is lost.
    let mut catalog = daemon.catalog().await?;
    create(&mut catalog, manifest("tools/zarquon", "1.0.0", "Zarquon polishing for brass zarquons.")).await?;
    create(&mut catalog, manifest("tools/gone", "1.0.0", "Deleted before the switch.")).await?;
    on(&daemon, 0, &["catalog", "delete", "tools/gone@1.0.0"])?;
    let said = on(&daemon, 0, &["model", "migrate", OTHER, "--switch", "--actor", "ann"])?;
    assert!(said.contains("first-token serves") && said.contains("calibrate again"), "{said}");
    assert_eq!(serving(&daemon).await?, OTHER);
    let after = answer(&daemon, ASKED).await?;
    assert_eq!((after.0, after.2.as_str()), (v1::Outcome::Candidates, OTHER), "what was promised is no promise now");
    assert_ne!(after.1, before.1);
    assert_eq!(answer(&daemon, "polish the zarquon").await?.1[0].0, "tools/zarquon");
    on(&daemon, 0, &["catalog", "undelete", "tools/gone@1.0.0"])?;
    create(&mut catalog, manifest("tools/later", "1.0.0", "Written with the other model for quuxification.")).await?;
    assert_eq!(answer(&daemon, "quuxification").await?.1[0].0, "tools/later");
    stop.store(true, Ordering::Release);
    let answered = asking.await??;
    let switched = answered.iter().position(|(model, _)| model.as_deref() == Some(OTHER)).unwrap_or(answered.len());
    assert!(answered[..switched].iter().all(|one| *one == answered[0]), "the old model's answers");
    assert!(
        answered[switched..].iter().all(|(model, _)| model.as_deref() == Some(OTHER)),
        "the new one's from then on"
    );

    let after = answer(&daemon, ASKED).await?;
    // The store says which model serves; a flag that disagrees is refused.
    daemon.kill()?;
    let refused = [&["serve", "--listen", "127.0.0.1:0", "--model", MODEL], &fresh[..]].concat();
    let said = ends(6, &refused)?;
    assert!(said.contains(OTHER) && said.contains("fitment model rollback"), "{said}");
    let daemon = serve(&[])?;
    assert_eq!(serving(&daemon).await?, OTHER);
    assert_eq!(answer(&daemon, ASKED).await?.1, after.1, "the same after a restart");
    assert!(info(&daemon).await?.catalog.context("a catalogue")?.calibration.contains("served before"));

    // Back: what was written since gets the old model's vectors, and the promise holds again.
    on(&daemon, 0, &["model", "rollback"])?;
    let back = answer(&daemon, ASKED).await?;
    assert_eq!((back.0, back.2.as_str()), (before.0, MODEL));
    assert_eq!(back.1[0].0, before.1[0].0);
    assert_eq!(answer(&daemon, "quuxification").await?.1[0].0, "tools/later");
    daemon.kill()?;
    let daemon = serve(&["--model", MODEL])?;
    assert_eq!(answer(&daemon, ASKED).await?, back);
    let trail = on(&daemon, 0, &["audit", "export"])?;
    assert_eq!(trail.matches("model.switch").count(), 2, "{trail}");
    on(&daemon, 0, &["audit", "verify"])?;
    Ok(())
}

/// Leads a migration to a step, and gives what was to be encoded at its begin.
async fn encode_until(daemon: &Daemon, done: u64) -> anyhow::Result<u64> {
    use v1::migrate_model_response::Event;
    let mut client = ModelServiceClient::new(daemon.channel().await?);
    let request = v1::MigrateModelRequest { model: OTHER.into(), switch: true, ..Default::default() };
    let mut events = client.migrate_model(request).await?.into_inner();
    loop {
        let event = events.message().await?.and_then(|message| message.event).context("progress")?;
        let Event::Progress(progress) = event else { anyhow::bail!("too quick to be killed") };
        if progress.step == "encoding with the new model" && progress.done >= done {
            return Ok(progress.total);
        }
    }
}

// Several threads, so that others ask and write while a command is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigkill_leaves_the_old_model_in_force_and_work_that_is_done_is_done() -> anyhow::Result<()> {
    let (folder, models) = models()?;
    let data = folder.path().join("data");
    let models = models.to_str().context("text")?;
    let serve = || Daemon::serve(&data, &["--models-dir", models]);
    let daemon = serve()?;
    // Enough that a kill at the first progress comes before the last vector, however fast the machine encodes.
    let bulk = 640;
    let items = (0..bulk).map(|n| v1::ImportComponentsRequest {
        manifest: manifest(&format!("bulk/part-{n}"), "1.0.0", &format!("Part number {n}.")).into_bytes(),
        ..Default::default()
    });
    let items: Vec<_> = items.collect();
    let mut results = daemon.catalog().await?.import_components(tokio_stream::iter(items)).await?.into_inner();
    while results.message().await?.is_some() {}
    assert_eq!(encode_until(&daemon, 16).await?, bulk);
    daemon.kill()?;
    let daemon = serve()?;
    assert_eq!(serving(&daemon).await?, MODEL);
    let left = encode_until(&daemon, 16).await?;
    assert!(left <= bulk - 16, "{left}");
    daemon.kill()?;
    let daemon = serve()?;
    assert_eq!(serving(&daemon).await?, MODEL);
    // Somebody writes all the while: what was acknowledged is there and has vectors of the model that serves.
    let stop = Arc::new(AtomicBool::new(false));
    let writing = tokio::spawn({
        let (stop, mut catalog) = (Arc::clone(&stop), daemon.catalog().await?);
        async move {
            let mut written = 0u64;
            while !stop.load(Ordering::Acquire) {
                let summary = format!("Written meanwhile, number {written}.");
                create(&mut catalog, manifest(&format!("meanwhile/part-{written}"), "1.0.0", &summary)).await?;
                written += 1;
            }
            Ok::<_, anyhow::Error>(written)
        }
    });
    on(&daemon, 0, &["model", "migrate", OTHER, "--switch"])?;
    assert_eq!(serving(&daemon).await?, OTHER);
    stop.store(true, Ordering::Release);
    let written = writing.await??;
    let catalog = info(&daemon).await?.catalog.context("a catalogue")?;
    assert_eq!((catalog.versions, catalog.vectors), (bulk + written, bulk + written), "of {written} written meanwhile");
    daemon.kill()?;
    let daemon = serve()?;
    assert_eq!(serving(&daemon).await?, OTHER);
    let catalog = info(&daemon).await?.catalog.context("a catalogue")?;
    assert_eq!((catalog.versions, catalog.vectors), (bulk + written, bulk + written));
    assert_eq!(answer(&daemon, "part number 7").await?.1[0].0, "bulk/part-7");
    Ok(())
}

// Several threads, so that others ask while a command is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_stage_stays_on_behind_another_model() -> anyhow::Result<()> {
    let (folder, models) = models()?;
    let config = folder.path().join("fitment.toml");
    std::fs::write(&config, format!("[ranking.second_stage]\nmodel = \"{MODEL}\"\nbudget_ms = 10000\n"))?;
    let (data, config) = (folder.path().join("data"), config.to_str().context("text")?);
    let daemon = Daemon::serve(&data, &["--models-dir", models.to_str().context("text")?, "--config", config])?;
    let mut catalog = daemon.catalog().await?;
    for (name, summary) in [("payments/card", "Takes a card payment."), ("storage/backup", "Restores a database.")] {
        create(&mut catalog, manifest(name, "1.0.0", summary)).await?;
    }
    // Made in the background: asked for until every candidate has its vector.
    let used = |model: &'static str, first: &'static str| {
        let daemon = &daemon;
        async move {
            loop {
                let answer = daemon.matcher().await?.r#match(intent("take a card payment")).await?.into_inner();
                let provenance = answer.provenance.context("provenance")?;
                ensure!(provenance.model == model, "{} serves", provenance.model);
                let named = answer.candidates.first().map(|found| found.name.clone());
                if provenance.second_stage == "used" {
                    ensure!(named.as_deref() == Some(first), "{named:?}");
                    return Ok(());
                }
                tokio::task::yield_now().await;
            }
        }
    };
    used(MODEL, "payments/card").await?;
    on(&daemon, 0, &["model", "migrate", OTHER, "--switch"])?;
    used(OTHER, "payments/card").await?;
    create(&mut catalog, manifest("payments/zarquon", "1.0.0", "Takes a card payment.")).await?;
    used(OTHER, "payments/card").await?;
    let stage = info(&daemon).await?.second_stage.context("it is on")?;
    assert_eq!((stage.model.context("a model")?.name.as_str(), stage.missing_versions), (MODEL, 0));
    on(&daemon, 0, &["model", "rollback"])?;
    used(MODEL, "payments/card").await
}

#[tokio::test]
async fn models_are_measured_on_a_folder_with_components_of_its_own() -> anyhow::Result<()> {
    let (folder, models) = models()?;
    let models = models.to_str().context("text")?;
    let labelled = folder.path().join("labelled");
    crate::eval_cli::write_data_set(&labelled, false)?;
    let daemon = Daemon::serve(&folder.path().join("data"), &["--models-dir", models])?;
    create(&mut daemon.catalog().await?, manifest("payments/card", "1.0.0", "Takes a card payment.")).await?;
    let path = labelled.to_str().context("text")?;
    let measure = ["--models-dir", models, "model", "migrate", OTHER, "--compare", path, "--split", "test", "--json"];
    let output = fitment()?.args(measure).args(["--server", daemon.address()]).output()?;
    let measured: Value = serde_json::from_slice(&output.stdout).with_context(|| text(&output.stderr))?;
    assert_eq!((&measured["from"], &measured["to"]), (&json!(MODEL), &json!(OTHER)), "{measured}");
    assert_eq!(measured["measuredOn"], "labelled test", "{measured}");
    let hit = measured["figures"].as_array().context("figures")?.iter().find(|figure| figure["name"] == "hit@1");
    let hit = hit.context("hit@1")?;
    assert!(hit["from"].as_f64() > hit["to"].as_f64(), "it was not trained to be pooled so: {hit}");
    assert_eq!(serving(&daemon).await?, MODEL);
    Ok(())
}
