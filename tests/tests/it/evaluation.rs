//! Learning, promises and figures on a daemon's live catalogue.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::ensure;
use fitment_proto::v1;
use fitment_proto::v1::calibrate_request::Basis;
use fitment_proto::v1::evaluation_service_client::EvaluationServiceClient;
use fitment_proto::v1::labelled_intents::Source;
use fitment_proto::v1::record_outcome_request::Verdict;
use fitment_tests::{Daemon, fitment, text, workspace};
use tempfile::TempDir;
use tokio::sync::OnceCell;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt;

use crate::matching::intent;

type Evaluation = EvaluationServiceClient<Channel>;

/// A store with the sample catalogue, made once for this process.
async fn sample_store() -> anyhow::Result<&'static Path> {
    static STORE: OnceCell<TempDir> = OnceCell::const_new();
    let make = || async {
        let folder = tempfile::tempdir()?;
        let daemon = Daemon::serve(folder.path(), &[])?;
        let components = workspace().join("daemon/catalog/sample/components");
        let output =
            fitment()?.args(["catalog", "import"]).arg(components).args(["--server", daemon.address()]).output()?;
        ensure!(output.status.success(), "{}", text(&output.stderr));
        daemon.terminate()?;
        let (status, log) = daemon.wait().await?;
        ensure!(status.success(), "{log}");
        Ok(folder)
    };
    STORE.get_or_try_init(make).await.map(TempDir::path)
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// A folder with a store of the sample catalogue in `data`.
async fn sample() -> anyhow::Result<(TempDir, PathBuf)> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    copy(sample_store().await?, &data)?;
    Ok((folder, data))
}

/// The sample's labelled intents, as they are written.
struct Rows {
    header: String,
    /// Rows that expect a component, in the order of the file.
    in_scope: Vec<String>,
    /// Rows that expect none.
    out_of_scope: Vec<String>,
}

fn rows(split: &str) -> Rows {
    let csv = std::fs::read_to_string(workspace().join("daemon/catalog/sample/intents.csv")).expect("the sample");
    let mut lines = csv.lines().map(str::to_owned);
    let header = lines.next().expect("a header");
    let of_split = lines.filter(|line| line.starts_with(&format!("{split},")));
    let (out_of_scope, in_scope) = of_split.partition(|line| line.contains("_out_of_scope,"));
    Rows { header, in_scope, out_of_scope }
}

fn csv(header: &str, rows: &[&[String]]) -> Vec<u8> {
    let lines: Vec<&str> = std::iter::once(header).chain(rows.iter().copied().flatten().map(String::as_str)).collect();
    lines.join("\n").into_bytes()
}

/// 110 labelled intents that have a component and 45 that have none: enough to learn from, soon learnt.
fn few() -> Vec<u8> {
    let Rows { header, in_scope, out_of_scope } = rows("dev");
    csv(&header, &[&in_scope[..110], &out_of_scope[..45]])
}

fn labels(csv: Vec<u8>) -> v1::LabelledIntents {
    let source = Some(Source::Csv(csv));
    v1::LabelledIntents { source, name: "few".to_owned(), split: String::new() }
}

fn fit_of(csv: Vec<u8>) -> v1::FitRequest {
    v1::FitRequest { intents: Some(labels(csv)), ..Default::default() }
}

fn calibration_of(basis: Basis, max_error: f64) -> v1::CalibrateRequest {
    v1::CalibrateRequest { basis: Some(basis), max_error, confidence: 0.8, dry_run: false }
}

async fn evaluation(daemon: &Daemon) -> anyhow::Result<Evaluation> {
    Ok(EvaluationServiceClient::new(daemon.channel().await?).max_decoding_message_size(64 << 20))
}

/// A message of a job.
enum Told<R> {
    Step(v1::JobProgress),
    Result(Box<R>),
}

/// Steps that were told, and the result.
async fn drain<T, R>(
    mut events: Streaming<T>,
    taken_apart: impl Fn(T) -> Told<R>,
) -> Result<(Vec<v1::JobProgress>, R), Status> {
    let mut steps = Vec::new();
    while let Some(event) = events.message().await? {
        match taken_apart(event) {
            Told::Step(step) => steps.push(step),
            Told::Result(result) => {
                assert!(events.message().await?.is_none(), "the result comes last");
                return Ok((steps, *result));
            }
        }
    }
    Err(Status::internal("no result came"))
}

async fn fit(client: &mut Evaluation, request: v1::FitRequest) -> Result<(Vec<v1::JobProgress>, v1::Ranker), Status> {
    use v1::fit_response::Event;
    drain(client.fit(request).await?.into_inner(), |response| match response.event.expect("an event") {
        Event::Progress(progress) => Told::Step(progress),
        Event::Result(result) => Told::Result(Box::new(result.ranker.expect("a ranker"))),
    })
    .await
}

async fn calibrate(client: &mut Evaluation, request: v1::CalibrateRequest) -> Result<v1::Calibration, Status> {
    use v1::calibrate_response::Event;
    let events = client.calibrate(request).await?.into_inner();
    let (steps, calibration) = drain(events, |response| match response.event.expect("an event") {
        Event::Progress(progress) => Told::Step(progress),
        Event::Result(result) => Told::Result(Box::new(result.calibration.expect("a calibration"))),
    })
    .await?;
    assert!(!steps.is_empty(), "progress is told");
    Ok(calibration)
}

async fn evaluate(client: &mut Evaluation, request: v1::EvaluateRequest) -> Result<v1::EvaluateResult, Status> {
    use v1::evaluate_response::Event;
    let events = client.evaluate(request).await?.into_inner();
    let (steps, result) = drain(events, |response| match response.event.expect("an event") {
        Event::Progress(progress) => Told::Step(progress),
        Event::Result(result) => Told::Result(Box::new(result)),
    })
    .await?;
    assert_eq!(steps.last().map(|step| (step.step.as_str(), step.done)), Some(("matching intents", steps[0].total)));
    Ok(result)
}

async fn answer(daemon: &Daemon, text: &str) -> anyhow::Result<(v1::MatchResponse, v1::Provenance)> {
    let response = daemon.matcher().await?.r#match(intent(text)).await?.into_inner();
    let provenance = response.provenance.clone().expect("provenance");
    Ok((response, provenance))
}

async fn catalog_info(daemon: &Daemon) -> anyhow::Result<v1::CatalogInfo> {
    let info = daemon.info().await?.get_server_info(v1::GetServerInfoRequest {}).await?.into_inner();
    Ok(info.catalog.expect("a catalogue"))
}

#[track_caller]
fn check(status: &Status, code: Code, reason: &str, says: &str) {
    assert_eq!(status.code(), code, "{status}");
    assert_eq!(status.get_details_error_info().expect("an ErrorInfo").reason, reason, "{status}");
    assert!(status.message().contains(says), "{status}");
}

#[tokio::test]
async fn what_is_learnt_ranks_is_kept_and_can_be_taken_back() -> anyhow::Result<()> {
    let (_folder, data) = sample().await?;
    let daemon = Daemon::serve(&data, &[])?;
    let mut client = evaluation(&daemon).await?;
    assert_eq!(catalog_info(&daemon).await?.ranker_id, "default");

    let (steps, ranker) = fit(&mut client, fit_of(few())).await?;
    for step in ["encoding intents", "cross-fitting", "fitting weights"] {
        assert!(steps.iter().any(|told| told.step == step), "{step} is not told: {steps:?}");
    }
    assert!(steps.iter().all(|step| step.done <= step.total), "{steps:?}");
    assert!(ranker.in_force && ranker.create_time.is_some(), "{ranker:?}");
    assert_eq!((ranker.fitted_on.as_slice(), ranker.in_scope, ranker.out_of_scope), (&["few dev".into()][..], 110, 45));
    assert_eq!(ranker.trials.iter().filter(|trial| trial.taken).count(), 1, "{ranker:?}");
    let (response, provenance) = answer(&daemon, "forensic activity trail").await?;
    assert_eq!(provenance.ranker_id, ranker.id);
    assert_eq!(response.outcome(), v1::Outcome::Candidates, "nothing is promised yet: {}", response.reason);
    let info = catalog_info(&daemon).await?;
    assert_eq!((info.ranker_id, info.ranker_fitted_on), (ranker.id.clone(), ranker.fitted_on.clone()));

    let basis = Basis::Intents(labels(few()));
    let calibration = calibrate(&mut client, calibration_of(basis, 0.45)).await?;
    assert_eq!(calibration.evidence(), v1::CalibrationEvidence::CrossFitted, "it learnt from these: {calibration:?}");
    assert_eq!((&calibration.ranker_id, calibration.in_scope), (&ranker.id, 110));
    let measured = v1::EvaluateRequest { intents: Some(labels(few())), with_answers: false };
    let measured = evaluate(&mut client, measured).await?;
    assert!(
        measured.warnings.iter().any(|warning| warning.contains("intents of `few dev`: the figures flatter")),
        "{measured:?}"
    );
    assert!(measured.warnings.iter().any(|warning| warning.contains("promise was fitted")), "{measured:?}");
    for key in ["hit@1", "ndcg@10", "auroc", "coverage"] {
        assert!((0.0..=1.0).contains(&measured.metrics[key]), "{key}: {:?}", measured.metrics);
    }
    let report: serde_json::Value = serde_json::from_str(&measured.report_json)?;
    assert_eq!((&report["n_in_scope"], &report["dataset"]), (&110.into(), &"few".into()));
    assert!(measured.answers_json.is_empty());

    // A kill and a start change nothing about what is in force.
    daemon.kill()?;
    let daemon = Daemon::serve(&data, &[])?;
    let mut client = evaluation(&daemon).await?;
    let (response, provenance) = answer(&daemon, "forensic activity trail").await?;
    assert_eq!((&provenance.ranker_id, &provenance.calibration_id), (&ranker.id, &calibration.id));
    assert_ne!(response.outcome(), v1::Outcome::Candidates, "{}", response.reason);

    // Without the ranker there is no promise of it; with it there is again.
    let shipped = v1::ActivateRankerRequest { id: "default".to_owned() };
    let activated = client.activate_ranker(shipped).await?.into_inner();
    assert_eq!(activated.ranker.expect("a ranker").id, "default");
    let (response, provenance) = answer(&daemon, "forensic activity trail").await?;
    assert_eq!((provenance.ranker_id.as_str(), response.outcome()), ("default", v1::Outcome::Candidates));
    assert!(response.reason.contains("calibrate again"), "{}", response.reason);
    let none = client.get_calibration(v1::GetCalibrationRequest {}).await?.into_inner();
    assert!(none.calibration.is_none() && none.detail.contains(&ranker.id), "{none:?}");
    client.activate_ranker(v1::ActivateRankerRequest { id: ranker.id.clone() }).await?;
    let again = client.get_calibration(v1::GetCalibrationRequest {}).await?.into_inner();
    assert_eq!(again.calibration.expect("in force").id, calibration.id);

    let listed = client.list_rankers(v1::ListRankersRequest {}).await?.into_inner().rankers;
    let listed: Vec<(&str, bool)> = listed.iter().map(|ranker| (ranker.id.as_str(), ranker.in_force)).collect();
    assert_eq!(listed, [(ranker.id.as_str(), true), ("default", false)]);
    let wanted = v1::GetRankerRequest { id: ranker.id.clone(), with_artefact: true };
    let artefact = client.get_ranker(wanted).await?.into_inner().artefact_json;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&artefact)?["id"], ranker.id.as_str());
    let unknown = v1::ActivateRankerRequest { id: "0123456789abcdef".to_owned() };
    let status = client.activate_ranker(unknown).await.expect_err("never put into force");
    check(&status, Code::NotFound, "RANKER_UNKNOWN", "fitment ranker list");
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_learnt_or_promised_is_refused_with_the_way_out() -> anyhow::Result<()> {
    let (_folder, data) = sample().await?;
    let daemon = Daemon::serve(&data, &[])?;
    let mut client = evaluation(&daemon).await?;
    let Rows { header, in_scope, out_of_scope } = rows("dev");

    let request = fit_of(csv(&header, &[&in_scope[..20], &out_of_scope[..5]]));
    let status = fit(&mut client, request).await.expect_err("too few");
    check(&status, Code::FailedPrecondition, "NOTHING_LEARNT", "add 30 more");
    let request = fit_of(csv(&header, &[&in_scope[..60]]));
    let status = fit(&mut client, request).await.expect_err("none out of scope");
    check(&status, Code::FailedPrecondition, "NOTHING_LEARNT", "out-of-scope");
    let broken = [&in_scope[..3], &["dev,plain,one cell too few,,".to_owned()]];
    let status = fit(&mut client, fit_of(csv(&header, &broken))).await.expect_err("malformed");
    check(&status, Code::InvalidArgument, "DATASET_INVALID", "few:5");
    let elsewhere = [&["dev,plain,do a thing,nobody/knows,,,".to_owned()][..]];
    let status = fit(&mut client, fit_of(csv(&header, &elsewhere))).await.expect_err("another catalogue's");
    check(&status, Code::InvalidArgument, "INVALID_FIELD", "nobody/knows");
    let status = fit(&mut client, v1::FitRequest::default()).await.expect_err("nothing was sent");
    check(&status, Code::InvalidArgument, "INVALID_FIELD", "CSV file");
    let mut other_split = labels(few());
    "holdout".clone_into(&mut other_split.split);
    let request = v1::FitRequest { intents: Some(other_split), ..Default::default() };
    let status = fit(&mut client, request).await.expect_err("no such split");
    check(&status, Code::InvalidArgument, "INVALID_FIELD", "the data set has dev");
    let feedback = v1::LabelledIntents { source: Some(Source::Feedback(())), ..Default::default() };
    let request = v1::FitRequest { intents: Some(feedback), ..Default::default() };
    let status = fit(&mut client, request).await.expect_err("no verdicts");
    check(&status, Code::FailedPrecondition, "NOTHING_LEARNT", "fitment feedback list");

    let basis = |csv| Basis::Intents(labels(csv));
    let request = calibration_of(basis(csv(&header, &[&in_scope[..8], &out_of_scope[..2]])), 0.01);
    let status = calibrate(&mut client, request).await.expect_err("too few");
    check(&status, Code::FailedPrecondition, "NOTHING_PROMISED", "more");
    let request = calibration_of(basis(csv(&header, &[&in_scope[..40]])), 0.5);
    let status = calibrate(&mut client, request).await.expect_err("none out of scope");
    check(&status, Code::FailedPrecondition, "NOTHING_PROMISED", "out-of-scope");
    let status = calibrate(&mut client, calibration_of(Basis::Synthetic(()), 1.5)).await.expect_err("a rate of 1.5");
    check(&status, Code::InvalidArgument, "INVALID_FIELD", "strictly between 0 and 1");
    let info = catalog_info(&daemon).await?;
    assert_eq!((info.ranker_id.as_str(), info.calibration_id.as_str()), ("default", ""), "nothing came into force");
    Ok(())
}

#[tokio::test]
async fn one_job_at_a_time_and_none_for_a_caller_that_left() -> anyhow::Result<()> {
    let (_folder, data) = sample().await?;
    let daemon = Daemon::serve(&data, &[])?;
    let mut client = evaluation(&daemon).await?;
    let Rows { header, in_scope, out_of_scope } = rows("dev");
    let all = csv(&header, &[&in_scope, &out_of_scope]);
    let mut events = client.fit(fit_of(all)).await?.into_inner();
    assert!(events.message().await?.is_some(), "it has begun");
    let status = calibrate(&mut client, calibration_of(Basis::Synthetic(()), 0.5)).await.expect_err("one at a time");
    check(&status, Code::ResourceExhausted, "JOB_RUNNING", "a fit is running");
    let (_, provenance) = answer(&daemon, "forensic activity trail").await?;
    assert_eq!(provenance.ranker_id, "default", "intents are answered meanwhile");

    drop(events);
    let free = async {
        loop {
            let one =
                v1::EvaluateRequest { intents: Some(labels(csv(&header, &[&in_scope[..1]]))), with_answers: false };
            match evaluate(&mut client, one).await {
                Err(status) if status.code() == Code::ResourceExhausted => {}
                ended => return ended,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(120), free).await??;
    assert_eq!(catalog_info(&daemon).await?.ranker_id, "default", "nobody waited for what was learnt");
    assert_eq!(client.list_rankers(v1::ListRankersRequest {}).await?.into_inner().rankers.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_synthetic_calibration_is_marked_as_such() -> anyhow::Result<()> {
    let (_folder, data) = sample().await?;
    let daemon = Daemon::serve(&data, &[])?;
    let mut client = evaluation(&daemon).await?;
    let synthetic = |dry_run| v1::CalibrateRequest { dry_run, ..calibration_of(Basis::Synthetic(()), 0.8) };
    let tried = calibrate(&mut client, synthetic(true)).await?;
    assert!(client.get_calibration(v1::GetCalibrationRequest {}).await?.into_inner().calibration.is_none());
    let calibration = calibrate(&mut client, synthetic(false)).await?;
    assert_eq!((&calibration.id, calibration.evidence()), (&tried.id, v1::CalibrationEvidence::Synthetic));
    assert!(calibration.promise.contains("SYNTHETIC"), "{}", calibration.promise);
    assert_eq!(calibration.in_scope, calibration.out_of_scope, "each example is asked with and without its component");
    let (_, provenance) = answer(&daemon, "forensic activity trail").await?;
    assert_eq!(provenance.calibration_id, calibration.id);
    assert!(catalog_info(&daemon).await?.calibration.contains("SYNTHETIC"));
    Ok(())
}

#[tokio::test]
async fn verdicts_feed_a_fit() -> anyhow::Result<()> {
    let (folder, data) = sample().await?;
    let config = folder.path().join("fitment.toml");
    std::fs::write(&config, "[feedback]\ngate = \"open\"\n")?;
    let daemon = Daemon::serve(&data, &["--config", config.to_str().expect("UTF-8")])?;
    let Rows { in_scope, out_of_scope, .. } = rows("dev");
    // Rows that no comma in a text makes ambiguous: split, type, intent, expected component.
    let plain = |rows: &[String]| -> Vec<(String, String)> {
        let cells = rows.iter().filter(|row| !row.contains('"')).map(|row| row.split(',').collect::<Vec<_>>());
        cells.map(|cells| (cells[2].to_owned(), cells[3].to_owned())).collect()
    };
    let judged: Vec<(String, String)> =
        plain(&in_scope).into_iter().take(70).chain(plain(&out_of_scope).into_iter().take(20)).collect();
    let requests = judged.iter().map(|(text, _)| intent(text)).collect();
    let answers = daemon.matcher().await?.batch_match(v1::BatchMatchRequest { requests }).await?.into_inner();
    let mut feedback = daemon.feedback().await?;
    for (answer, (_, expected)) in answers.items.into_iter().zip(&judged) {
        let Some(v1::batch_match_item::Result::Response(answer)) = answer.result else { panic!("no answer") };
        let decision_id = answer.decision_id;
        let verdict = match expected.as_str() {
            "" => Verdict::NoneFits(()),
            name => Verdict::ChosenComponent(name.to_owned()),
        };
        let outcome = v1::RecordOutcomeRequest { decision_id, verdict: Some(verdict), ..Default::default() };
        feedback.record_outcome(outcome).await?;
    }
    let mut client = evaluation(&daemon).await?;
    let intents = || Some(v1::LabelledIntents { source: Some(Source::Feedback(())), ..Default::default() });
    let (_, ranker) = fit(&mut client, v1::FitRequest { intents: intents(), ..Default::default() }).await?;
    assert_eq!(ranker.fitted_on, ["feedback feedback"]);
    assert_eq!((ranker.in_scope, ranker.out_of_scope), (70, 20));
    let calibration = calibrate(&mut client, calibration_of(Basis::Intents(intents().expect("labels")), 0.6)).await?;
    assert_eq!(calibration.evidence(), v1::CalibrationEvidence::CrossFitted);

    // One more verdict, and it can no longer be told which intents the ranker knows by heart.
    let (response, _) = answer(&daemon, "plant a tree in the office garden").await?;
    let verdict = Some(Verdict::NoneFits(()));
    let decision_id = response.decision_id;
    feedback.record_outcome(v1::RecordOutcomeRequest { decision_id, verdict, ..Default::default() }).await?;
    let request = calibration_of(Basis::Intents(intents().expect("labels")), 0.6);
    let status = calibrate(&mut client, request).await.expect_err("changed labels");
    check(&status, Code::FailedPrecondition, "NOTHING_PROMISED", "fit again");
    Ok(())
}

#[tokio::test]
async fn the_commands_work_on_a_running_daemon() -> anyhow::Result<()> {
    let (folder, data) = sample().await?;
    let daemon = Daemon::serve(&data, &[])?;
    let file = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let labels = file("few.csv");
    std::fs::write(&labels, few())?;
    let command = |arguments: &[&str]| -> anyhow::Result<String> {
        let output = fitment()?.args(arguments).args(["--server", daemon.address()]).output()?;
        ensure!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        Ok(text(&output.stdout))
    };
    let json =
        |arguments: &[&str]| -> anyhow::Result<serde_json::Value> { Ok(serde_json::from_str(&command(arguments)?)?) };

    let tried = json(&["fit", "--dataset", &labels, "--weights-only", "--dry-run", "--json"])?;
    assert_eq!((&tried["ranker"]["inForce"], &tried["ranker"]["usesLabels"]), (&false.into(), &false.into()));
    let shown = command(&["fit", "--dataset", &labels, "--weights-only"])?;
    let id = tried["ranker"]["id"].as_str().expect("an id");
    assert!(shown.contains(&format!("ranker {id}, in force, fitted on few dev")), "{shown}");
    assert_eq!(json(&["ranker", "list", "--json"])?["rankers"][0]["id"], id);
    let artefact = file("ranker.json");
    assert!(command(&["ranker", "show", "--out", &artefact])?.contains("promise: no calibration"));
    assert!(std::fs::read_to_string(&artefact)?.contains(id));
    let calibration = json(&["calibrate", "--synthetic", "--max-error", "0.8", "--confidence", "0.8", "--json"])?;
    assert_eq!(calibration["calibration"]["evidence"], "CALIBRATION_EVIDENCE_SYNTHETIC");

    let (report, saved) = (file("report.json"), file("answers.json"));
    let shown = command(&["eval", "--dataset", &labels, "--json", &report, "--save", &saved])?;
    assert!(shown.contains("hit@1") && shown.contains("warning: ranker"), "{shown}");
    let report: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&report)?)?;
    assert_eq!((&report["n_in_scope"], &report["n_out_of_scope"]), (&110.into(), &45.into()));
    assert!(command(&["ranker", "activate", "default"])?.contains("calibrate again"));

    let output =
        fitment()?.args(["fit", "--server", daemon.address(), "--dataset", &labels, "--out", &artefact]).output()?;
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("--out does not go with --server"), "{}", text(&output.stderr));
    let folder = workspace().join("daemon/catalog/sample");
    let output = fitment()?.args(["eval", "--server", daemon.address(), "--dataset"]).arg(folder).output()?;
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    Ok(())
}
