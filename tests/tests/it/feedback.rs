//! Verdicts, labelled intents, drift and a broken promise, against the real binary.

use std::path::Path;
use std::process::Output;

use fitment_proto::v1;
use fitment_proto::v1::feedback_service_client::FeedbackServiceClient;
use fitment_proto::v1::matcher_service_client::MatcherServiceClient;
use fitment_proto::v1::record_outcome_request::Verdict;
use fitment_tests::{Daemon, fitment, manifest, text};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::matching::{create, intent, small_catalog};

type Feedback = FeedbackServiceClient<Channel>;
type Matcher = MatcherServiceClient<Channel>;

fn chosen(name: &str) -> Verdict {
    Verdict::ChosenComponent(name.to_owned())
}

fn outcome(decision_id: &str, verdict: Verdict) -> v1::RecordOutcomeRequest {
    v1::RecordOutcomeRequest { decision_id: decision_id.to_owned(), verdict: Some(verdict), ..Default::default() }
}

async fn decide(matcher: &mut Matcher, text: &str) -> anyhow::Result<v1::MatchResponse> {
    Ok(matcher.r#match(intent(text)).await?.into_inner())
}

/// Matches an intent and gives the answer a verdict.
async fn judge(
    matcher: &mut Matcher,
    feedback: &mut Feedback,
    text: &str,
    verdict: Verdict,
) -> anyhow::Result<v1::RecordOutcomeResponse> {
    let decision = decide(matcher, text).await?.decision_id;
    Ok(feedback.record_outcome(outcome(&decision, verdict)).await?.into_inner())
}

async fn labels(feedback: &mut Feedback) -> anyhow::Result<Vec<v1::Label>> {
    Ok(feedback.list_labels(v1::ListLabelsRequest::default()).await?.into_inner().labels)
}

async fn revision(daemon: &Daemon) -> anyhow::Result<u64> {
    let info = daemon.info().await?.get_server_info(v1::GetServerInfoRequest {}).await?.into_inner();
    Ok(info.catalog.expect("a catalogue").revision)
}

/// `fitment feedback ...` against a daemon; it must succeed.
fn command(daemon: &Daemon, arguments: &[&str]) -> anyhow::Result<Output> {
    let output = fitment()?.arg("feedback").args(arguments).args(["--server", daemon.address()]).output()?;
    anyhow::ensure!(output.status.success(), "{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
    Ok(output)
}

/// A daemon with two components and these lines under `[feedback]`.
async fn with_policy(folder: &Path, lines: &str) -> anyhow::Result<Daemon> {
    let config = folder.join("fitment.toml");
    std::fs::write(&config, format!("[feedback]\n{lines}\n"))?;
    let daemon = Daemon::serve(&folder.join("data"), &["--config", config.to_str().expect("UTF-8")])?;
    let mut catalog = daemon.catalog().await?;
    for (name, summary) in [("pay/card", "Takes a card payment."), ("store/backup", "Copies databases every night.")] {
        create(&mut catalog, manifest(name, "1.0.0", summary)).await?;
    }
    Ok(daemon)
}

#[track_caller]
fn check(status: &Status, code: Code, reason: &str, says: &str) {
    assert_eq!(status.code(), code, "{status}");
    assert_eq!(status.get_details_error_info().expect("an ErrorInfo").reason, reason, "{status}");
    assert!(status.message().contains(says), "{status}");
}

#[tokio::test]
async fn verdicts_become_labels_that_eval_and_calibrate_read() -> anyhow::Result<()> {
    let (folder, daemon) = small_catalog().await?;
    let (mut matcher, mut feedback) = (daemon.matcher().await?, daemon.feedback().await?);
    let before = revision(&daemon).await?;
    for (text, verdict, disposition) in [
        ("let the  buyer pay with a credit card", Verdict::Accepted(()), v1::LabelDisposition::Waiting),
        ("restore yesterday's database", Verdict::Accepted(()), v1::LabelDisposition::Waiting),
        ("sortable grid", chosen("ui/data-table"), v1::LabelDisposition::Waiting),
        ("brew a pot of coffee", Verdict::NoneFits(()), v1::LabelDisposition::Waiting),
        ("repair a bicycle tyre", Verdict::NoneFits(()), v1::LabelDisposition::Waiting),
        ("send a text message", Verdict::Rejected(()), v1::LabelDisposition::Recorded),
    ] {
        let recorded = judge(&mut matcher, &mut feedback, text, verdict).await?;
        assert_eq!(recorded.disposition(), disposition, "{text}: {}", recorded.detail);
        assert_eq!(recorded.label_id.is_empty(), disposition == v1::LabelDisposition::Recorded);
    }
    assert_eq!(revision(&daemon).await?, before, "what is learnt raises no revision");

    // Nothing is exported before the gate; everything that is approved is afterwards.
    let file = folder.path().join("labels.csv");
    let path = file.to_str().expect("UTF-8");
    let output = command(&daemon, &["export", "--out", path])?;
    assert!(text(&output.stdout).starts_with("0 labelled intents"), "{}", text(&output.stdout));
    let listed: serde_json::Value =
        serde_json::from_slice(&command(&daemon, &["list", "--state", "waiting", "--json"])?.stdout)?;
    let listed = listed.as_array().expect("a list");
    assert_eq!(listed.len(), 5, "{listed:#?}");
    assert!(listed.iter().any(|label| label["intent"] == "let the buyer pay with a credit card"), "{listed:#?}");
    let mut approve = vec!["approve"];
    approve.extend(listed.iter().filter_map(|label| label["id"].as_str()));
    command(&daemon, &approve)?;
    let output = command(&daemon, &["export", "--out", path])?;
    assert!(text(&output.stdout).starts_with("5 labelled intents (4 dev, 1 test)"), "{}", text(&output.stdout));
    let csv = std::fs::read_to_string(&file)?;
    assert!(csv.contains("restore yesterday's database,storage/backup"), "{csv}");

    let catalog = folder.path().join("catalog");
    let catalog = catalog.to_str().expect("UTF-8");
    let output = fitment()?.args(["catalog", "export", catalog, "--server", daemon.address()]).output()?;
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report = folder.path().join("report.json");
    let output = fitment()?.args(["eval", "--dataset", path, "--catalog", catalog, "--json"]).arg(&report).output()?;
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(&report)?)?;
    assert_eq!((&report["n_in_scope"], &report["n_out_of_scope"]), (&3.into(), &1.into()));
    let output = fitment()?
        .args(["calibrate", "--dataset", path, "--catalog", catalog, "--max-error", "0.9", "--confidence", "0.5"])
        .arg("--out")
        .arg(folder.path().join("calibration.json"))
        .output()?;
    assert!(output.status.success(), "{}", text(&output.stderr));

    // Approved intents become example intents of new versions, which nobody but the owner imports.
    let proposals = folder.path().join("proposals");
    let proposals = proposals.to_str().expect("UTF-8");
    let output = command(&daemon, &["examples", "--out", proposals])?;
    assert!(text(&output.stdout).contains("3 manifests"), "{}", text(&output.stdout));
    assert_eq!(revision(&daemon).await?, before);
    let proposed = std::fs::read_to_string(Path::new(proposals).join("storage/backup@2.1.1.yaml"))?;
    assert!(proposed.contains("restore yesterday's database") && proposed.contains("certified"), "{proposed}");
    let output = fitment()?.args(["catalog", "import", proposals, "--server", daemon.address()]).output()?;
    assert!(text(&output.stdout).contains("3 created"), "{}{}", text(&output.stdout), text(&output.stderr));
    // What was taught is kept out of what is measured on, and is not proposed twice.
    let output = command(&daemon, &["export", "--out", path])?;
    assert!(
        text(&output.stdout).starts_with("5 labelled intents (1 dev, 3 example, 1 test)"),
        "{}",
        text(&output.stdout)
    );
    let again = folder.path().join("again");
    let output = command(&daemon, &["examples", "--out", again.to_str().expect("UTF-8")])?;
    assert!(text(&output.stdout).starts_with("0 manifests"), "{}", text(&output.stdout));
    Ok(())
}

#[tokio::test]
async fn a_broken_promise_makes_candidates_also_after_a_restart() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let daemon = Daemon::demo(folder.path())?;
    let (mut matcher, mut feedback) = (daemon.matcher().await?, daemon.feedback().await?);
    let mut late = String::new();
    for n in 0..20 {
        let answer = decide(&mut matcher, "bar chart of revenue per region").await?;
        assert_eq!(answer.outcome(), v1::Outcome::ZeroGeneration, "{n} verdicts");
        feedback.record_outcome(outcome(&answer.decision_id, Verdict::Rejected(()))).await?;
        if n == 18 {
            let watched = feedback.get_drift(v1::GetDriftRequest {}).await?.into_inner().promise.expect("a promise");
            assert_eq!((watched.verdicts, watched.errors, watched.next_look, watched.broken), (19, 19, 20, false));
            late = decide(&mut matcher, "take a card payment at checkout").await?.decision_id;
        }
    }
    let broken = decide(&mut matcher, "bar chart of revenue per region").await?;
    assert_eq!(broken.outcome(), v1::Outcome::Candidates);
    assert!(broken.reason.contains("20 of 20") && broken.reason.contains("stale"), "{}", broken.reason);
    assert!(broken.provenance.expect("provenance").calibration_id.is_empty());
    let info = daemon.info().await?.get_server_info(v1::GetServerInfoRequest {}).await?.into_inner();
    assert!(info.feedback.expect("a summary").promise_broken);
    assert!(info.catalog.expect("a catalogue").calibration.contains("20 of 20"));
    let shown = text(&command(&daemon, &["drift"])?.stdout);
    assert!(shown.contains("promise: broken") && shown.contains("20 of 20"), "{shown}");

    // The demo puts its calibration into force at every start; the same promise stays broken. What was only in memory
    // was written at the end: a decision of the last life can still be judged.
    daemon.terminate()?;
    let (status, log) = daemon.wait().await?;
    assert_eq!(status.code(), Some(0), "{log}");
    let daemon = Daemon::demo(folder.path())?;
    let (mut matcher, mut feedback) = (daemon.matcher().await?, daemon.feedback().await?);
    let answer = decide(&mut matcher, "bar chart of revenue per region").await?;
    assert_eq!(answer.outcome(), v1::Outcome::Candidates, "{}", answer.reason);
    feedback.record_outcome(outcome(&late, Verdict::Accepted(()))).await?;
    let watched = feedback.get_drift(v1::GetDriftRequest {}).await?.into_inner().promise.expect("a promise");
    assert_eq!((watched.verdicts, watched.errors, watched.broken), (21, 20, true), "{}", watched.detail);
    Ok(())
}

#[tokio::test]
async fn sigkill_after_an_acknowledged_verdict_loses_nothing() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let daemon = with_policy(folder.path(), "gate = \"open\"").await?;
    let (mut matcher, mut feedback) = (daemon.matcher().await?, daemon.feedback().await?);
    let decision = decide(&mut matcher, "pay by card").await?.decision_id;
    let recorded = feedback.record_outcome(outcome(&decision, Verdict::Accepted(()))).await?.into_inner();
    daemon.kill()?;
    assert_eq!(recorded.disposition(), v1::LabelDisposition::Approved, "{}", recorded.detail);
    let daemon = with_policy(folder.path(), "gate = \"open\"").await?;
    let mut feedback = daemon.feedback().await?;
    let kept = labels(&mut feedback).await?;
    assert_eq!(kept.len(), 1);
    assert_eq!((kept[0].id.as_str(), kept[0].component.as_str()), (recorded.label_id.as_str(), "pay/card"));
    assert_eq!(kept[0].decision_ids, [decision.as_str()]);
    // The decision went with the verdict: it can be judged again.
    feedback.record_outcome(outcome(&decision, chosen("store/backup"))).await?;
    let moved = labels(&mut feedback).await?;
    assert_eq!(moved.len(), 1);
    assert_eq!((moved[0].component.as_str(), moved[0].count), ("store/backup", 1));
    Ok(())
}

#[tokio::test]
async fn bad_verdicts_are_refused() -> anyhow::Result<()> {
    let (_folder, daemon) = small_catalog().await?;
    let (mut matcher, mut feedback) = (daemon.matcher().await?, daemon.feedback().await?);
    let decision = decide(&mut matcher, "pay by card").await?.decision_id;
    let filter = v1::filter_input::Form::Expression("license:MIT".into());
    let nothing = v1::MatchRequest { filter: Some(v1::FilterInput { form: Some(filter) }), ..intent("pay by card") };
    let nothing = matcher.r#match(nothing).await?.into_inner();
    assert_eq!(nothing.outcome(), v1::Outcome::RawGeneration);
    let explained = matcher.explain(v1::ExplainRequest { request: Some(intent("pay by card")) }).await?.into_inner();
    let explained = explained.response.expect("an answer").decision_id;
    let accepted = || Verdict::Accepted(());
    let with_note = |note: String| v1::RecordOutcomeRequest { note, ..outcome(&decision, accepted()) };
    let invalid = (Code::InvalidArgument, "INVALID_FIELD");
    let unknown = (Code::NotFound, "DECISION_UNKNOWN");
    for (request, (code, reason), says) in [
        (outcome("", accepted()), invalid, "decision_id"),
        (outcome("not-a-uuid", accepted()), invalid, "decision_id"),
        (outcome(&format!("{decision}\u{0}"), accepted()), invalid, "decision_id"),
        (outcome(&"f".repeat(3 << 20), accepted()), invalid, "decision_id"),
        (v1::RecordOutcomeRequest { verdict: None, ..outcome(&decision, accepted()) }, invalid, "verdict"),
        (with_note("x".repeat(2001)), invalid, "note"),
        (with_note("\u{0}".repeat(3 << 20)), invalid, "note"),
        (
            v1::RecordOutcomeRequest { request_id: "r".repeat(129), ..outcome(&decision, accepted()) },
            invalid,
            "request_id",
        ),
        (outcome(&decision, chosen("")), invalid, "chosen_component"),
        (outcome(&decision, chosen("pay\u{0}/card")), invalid, "chosen_component"),
        (outcome(&decision, chosen("nobody/knows")), (Code::NotFound, "NOT_FOUND"), "nobody/knows"),
        (outcome("00000000-0000-0000-0000-000000000000", accepted()), unknown, "feedback.decisions"),
        (outcome("0199f1a2-0000-7000-8000-000000000000", accepted()), unknown, "last 100000"),
        (outcome(&explained, accepted()), unknown, "Explain"),
        (outcome(&nothing.decision_id, accepted()), invalid, "none_fits"),
        (outcome(&nothing.decision_id, Verdict::Rejected(())), invalid, "none_fits"),
    ] {
        let status = feedback.record_outcome(request).await.expect_err(says);
        check(&status, code, reason, says);
        assert!(status.message().len() < 1000, "{} bytes", status.message().len());
    }
    assert!(labels(&mut feedback).await?.is_empty(), "nothing that was refused left a label");
    feedback.record_outcome(outcome(&nothing.decision_id, Verdict::NoneFits(()))).await?;
    feedback.record_outcome(with_note("so\u{0} it\r\n  seems ".into())).await?;
    let kept = labels(&mut feedback).await?;
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert!(kept.iter().any(|label| label.note == "so it seems"), "{kept:?}");

    let review = |label_ids: Vec<String>, decision| v1::ReviewLabelsRequest { label_ids, decision };
    let good = kept[0].id.clone();
    for (request, (code, reason), says) in [
        (review(vec![], 1), invalid, "label_ids"),
        (review(vec!["a".into(); 1001], 1), invalid, "label_ids"),
        (review(vec![good.clone()], 0), invalid, "decision"),
        (review(vec![good.clone()], 9), invalid, "decision"),
        (review(vec![good.clone(), "nobody\u{0}".into()], 1), (Code::NotFound, "LABEL_UNKNOWN"), "nobody"),
    ] {
        check(&feedback.review_labels(request).await.expect_err(says), code, reason, says);
    }
    assert!(labels(&mut feedback).await?.iter().all(|label| !label.reviewed), "all of a review or none of it");
    let list = |page_size, page_token: &str, state| v1::ListLabelsRequest {
        page_size,
        page_token: page_token.to_owned(),
        state,
    };
    let first = feedback.list_labels(list(1, "", 0)).await?.into_inner();
    assert_eq!((first.labels.len(), first.total_size), (1, 2));
    let second = feedback.list_labels(list(1, &first.next_page_token, 0)).await?.into_inner();
    assert_eq!((second.labels.len(), second.next_page_token.as_str()), (1, ""));
    assert!(first.labels[0].id < second.labels[0].id);
    for (request, says) in [
        (list(1001, "", 0), "page_size"),
        (list(1, "zz", 0), "page_token"),
        (list(1, &first.next_page_token, 1), "another state"),
        (list(1, "", 7), "state"),
    ] {
        check(&feedback.list_labels(request).await.expect_err(says), Code::InvalidArgument, "INVALID_FIELD", says);
    }
    Ok(())
}

#[tokio::test]
async fn text_that_is_not_kept_is_on_no_disk_and_makes_no_label() -> anyhow::Result<()> {
    for policy in ["hashed", "dropped"] {
        let folder = tempfile::tempdir()?;
        let daemon = with_policy(folder.path(), &format!("gate = \"open\"\nintent_text = \"{policy}\"")).await?;
        let (mut matcher, mut feedback) = (daemon.matcher().await?, daemon.feedback().await?);
        let secret = "pay the ransom of Castle Greyhaven by card";
        let recorded = judge(&mut matcher, &mut feedback, secret, Verdict::Accepted(())).await?;
        assert_eq!(recorded.disposition(), v1::LabelDisposition::Recorded, "{policy}");
        assert!(recorded.detail.contains("feedback.intent_text"), "{}", recorded.detail);
        assert!(labels(&mut feedback).await?.is_empty(), "{policy}");
        daemon.terminate()?;
        daemon.wait().await?;
        let stored = std::fs::read(folder.path().join("data/catalog.redb"))?;
        assert!(!stored.windows(9).any(|bytes| bytes == b"Greyhaven"), "{policy}");
    }
    Ok(())
}

#[tokio::test]
async fn agreement_counts_decisions_and_retries_change_nothing() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let daemon = with_policy(folder.path(), "gate = \"agreement\"\nagreement = 2").await?;
    let (mut matcher, mut feedback) = (daemon.matcher().await?, daemon.feedback().await?);
    let first = decide(&mut matcher, "pay by card").await?.decision_id;
    for _ in 0..3 {
        let recorded = feedback.record_outcome(outcome(&first, Verdict::Accepted(()))).await?.into_inner();
        assert_eq!(recorded.disposition(), v1::LabelDisposition::Waiting, "one decision is one voice");
    }
    let noted = v1::RecordOutcomeRequest { note: "at the till".into(), ..outcome(&first, Verdict::Accepted(())) };
    feedback.record_outcome(noted).await?;
    let label = labels(&mut feedback).await?.remove(0);
    assert_eq!((label.count, label.note.as_str()), (1, "at the till"));
    // A batch and a stream are remembered like single calls; white space makes no other intent.
    let requests = vec![intent(" pay  by card"), intent("pay by card")];
    let items = matcher.batch_match(v1::BatchMatchRequest { requests }).await?.into_inner().items;
    let decisions: Vec<String> = items
        .into_iter()
        .map(|item| match item.result {
            Some(v1::batch_match_item::Result::Response(response)) => response.decision_id,
            other => panic!("no answer: {other:?}"),
        })
        .collect();
    let recorded = feedback.record_outcome(outcome(&decisions[0], chosen("pay/card"))).await?.into_inner();
    assert_eq!(recorded.disposition(), v1::LabelDisposition::Approved, "{}", recorded.detail);
    let request = v1::StreamMatchRequest { id: "a".into(), request: Some(intent("pay by card")) };
    let mut answers = matcher.stream_match(tokio_stream::iter([request])).await?.into_inner();
    let streamed = match answers.message().await?.and_then(|answer| answer.result) {
        Some(v1::stream_match_response::Result::Response(response)) => response.decision_id,
        other => panic!("no answer: {other:?}"),
    };
    feedback.record_outcome(outcome(&streamed, Verdict::NoneFits(()))).await?;
    assert_eq!(labels(&mut feedback).await?.len(), 2);

    // A late retry of a verdict that another one replaced does not bring it back.
    let once = v1::RecordOutcomeRequest { request_id: "once".into(), ..outcome(&decisions[1], Verdict::NoneFits(())) };
    feedback.record_outcome(once.clone()).await?;
    feedback.record_outcome(outcome(&decisions[1], Verdict::Accepted(()))).await?;
    let retried = feedback.record_outcome(once.clone()).await?.into_inner();
    assert!(retried.detail.contains("replaced"), "{}", retried.detail);
    let counts: Vec<(String, u64)> =
        labels(&mut feedback).await?.into_iter().map(|label| (label.component, label.count)).collect();
    assert!(counts.contains(&("pay/card".into(), 3)) && counts.contains(&(String::new(), 1)), "{counts:?}");
    let other = v1::RecordOutcomeRequest { verdict: Some(Verdict::Rejected(())), ..once };
    let status = feedback.record_outcome(other).await.expect_err("the id of another request");
    check(&status, Code::InvalidArgument, "REQUEST_ID_REUSED", "once");

    // What an operator refuses stays refused.
    let ids = labels(&mut feedback).await?.into_iter().map(|label| label.id).collect();
    feedback.review_labels(v1::ReviewLabelsRequest { label_ids: ids, decision: 2 }).await?;
    let recorded = judge(&mut matcher, &mut feedback, "pay by card", Verdict::Accepted(())).await?;
    assert_eq!(recorded.disposition(), v1::LabelDisposition::Refused, "{}", recorded.detail);
    Ok(())
}

#[tokio::test]
async fn the_oldest_decisions_go() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let daemon = with_policy(folder.path(), "decisions = 3").await?;
    let mut matcher = daemon.matcher().await?;
    let mut decisions = Vec::new();
    for n in 0..5 {
        decisions.push(decide(&mut matcher, &format!("pay invoice {n} by card")).await?.decision_id);
    }
    daemon.terminate()?;
    daemon.wait().await?;
    let daemon = with_policy(folder.path(), "decisions = 3").await?;
    let mut feedback = daemon.feedback().await?;
    for (n, decision) in decisions.iter().enumerate() {
        let answer = feedback.record_outcome(outcome(decision, Verdict::Accepted(()))).await;
        match answer {
            Ok(_) => assert!(n >= 2, "{n} should be gone"),
            Err(status) => {
                assert!(n < 2, "{n} should be there: {status}");
                check(&status, Code::NotFound, "DECISION_UNKNOWN", "last 3 answers");
            }
        }
    }
    // With none kept, nothing is remembered.
    let other = tempfile::tempdir()?;
    let daemon = with_policy(other.path(), "decisions = 0").await?;
    let decision = decide(&mut daemon.matcher().await?, "pay by card").await?.decision_id;
    let refused = daemon.feedback().await?.record_outcome(outcome(&decision, Verdict::Accepted(()))).await;
    check(&refused.expect_err("nothing is kept"), Code::NotFound, "DECISION_UNKNOWN", "last 0 answers");
    Ok(())
}

#[tokio::test]
async fn other_intents_than_before_are_drift() -> anyhow::Result<()> {
    let (_folder, daemon) = small_catalog().await?;
    let (mut matcher, mut feedback) = (daemon.matcher().await?, daemon.feedback().await?);
    let usual = ["let the buyer pay with a credit card", "restore yesterday's database", "sortable grid"];
    let unusual = ["brew a pot of coffee", "repair a bicycle tyre", "water the office plants"];
    let texts = usual.iter().chain(&unusual).map(|text| (*text).to_owned()).collect();
    let embedded = matcher.embed(v1::EmbedRequest { texts, role: 0 }).await?.into_inner().embeddings;
    let requests = |from: usize, texts: &[&str], count: usize| -> Vec<v1::MatchRequest> {
        (0..count)
            .map(|n| n % texts.len())
            .map(|n| v1::MatchRequest { vector: embedded[from + n].vector.clone(), ..intent(texts[n]) })
            .collect()
    };
    for count in [250, 250, 250, 250, 250] {
        matcher.batch_match(v1::BatchMatchRequest { requests: requests(0, &usual, count) }).await?;
    }
    let calm = feedback.get_drift(v1::GetDriftRequest {}).await?.into_inner().intents.expect("drift");
    assert_eq!((calm.reference_size, calm.window_size), (1000, 250));
    assert_eq!(calm.level(), v1::DriftLevel::Stable, "{calm:?}");
    for count in [250, 250, 250, 250] {
        matcher.batch_match(v1::BatchMatchRequest { requests: requests(3, &unusual, count) }).await?;
    }
    let moved = feedback.get_drift(v1::GetDriftRequest {}).await?.into_inner();
    let intents = moved.intents.expect("drift");
    assert_eq!((intents.level(), intents.window_size), (v1::DriftLevel::Strong, 1000), "{intents:?}");
    assert!(intents.mean_vector_distance.expect("vectors") > 0.3, "{intents:?}");
    assert!(moved.promise.is_none(), "no calibration was put into force");
    let shown: serde_json::Value = serde_json::from_slice(&command(&daemon, &["drift", "--json"])?.stdout)?;
    assert_eq!(shown["intents"]["level"], "DRIFT_LEVEL_STRONG", "{shown:#}");
    // A batch that is being written at this moment may count twice.
    assert!(shown["counts"]["decisions"].as_u64().is_some_and(|decisions| decisions >= 2250), "{shown:#}");
    Ok(())
}
