//! Where versions stand: moving, deleting, bringing back; the change log and the audit trail of it.

use fitment_proto::v1;
use fitment_proto::v1::audit_service_client::AuditServiceClient;
use fitment_tests::{Daemon, manifest, run, text};
use tokio_stream::StreamExt;
use tonic::Code;
use tonic_types::StatusExt;

use crate::matching::{create, intent, small_catalog};

const SMS: &str = "messaging/sms";

fn to(lifecycle: v1::Lifecycle, reason: &str) -> v1::MoveComponentRequest {
    v1::MoveComponentRequest {
        name: SMS.into(),
        version: "0.9.0".into(),
        lifecycle: lifecycle as i32,
        reason: reason.into(),
        actor: "ada".into(),
        ..Default::default()
    }
}

async fn answers(daemon: &Daemon) -> anyhow::Result<Vec<String>> {
    let response = daemon.matcher().await?.r#match(intent("text message to phones")).await?.into_inner();
    Ok(response.candidates.into_iter().map(|candidate| candidate.name).collect())
}

#[tokio::test]
async fn what_is_revoked_is_out_of_the_next_answer_for_good() -> anyhow::Result<()> {
    let (folder, daemon) = small_catalog().await?;
    let mut catalog = daemon.catalog().await?;
    assert_eq!(answers(&daemon).await?[0], SMS);
    let before =
        catalog.get_component(v1::GetComponentRequest { name: SMS.into(), ..Default::default() }).await?.into_inner();
    catalog.move_component(to(v1::Lifecycle::Deprecated, "2.0 is coming")).await?;
    assert_eq!(answers(&daemon).await?[0], SMS, "a deprecated one still answers");
    let status = catalog.move_component(to(v1::Lifecycle::Draft, "")).await.expect_err("there is no such step");
    let details = status.get_details_error_info().expect("details");
    assert_eq!((status.code(), details.reason.as_str()), (Code::FailedPrecondition, "MOVE_FORBIDDEN"));
    assert!(status.message().contains("certified or revoked"), "{}", status.message());
    let stale = v1::MoveComponentRequest { etag: before.etag, ..to(v1::Lifecycle::Revoked, "") };
    assert_eq!(catalog.move_component(stale).await.expect_err("stale").code(), Code::Aborted);
    let once = v1::MoveComponentRequest { request_id: "once".into(), ..to(v1::Lifecycle::Revoked, "CVE-1") };
    let revision = catalog.move_component(once.clone()).await?.into_inner().revision;
    assert!(!answers(&daemon).await?.contains(&SMS.to_owned()));
    assert_eq!(catalog.move_component(once).await?.into_inner().revision, revision, "a retry changes nothing");
    assert_eq!(
        catalog.move_component(to(v1::Lifecycle::Certified, "")).await.expect_err("final").code(),
        Code::FailedPrecondition
    );

    daemon.terminate()?;
    daemon.wait().await?;
    let daemon = Daemon::serve(folder.path(), &[])?;
    assert!(!answers(&daemon).await?.contains(&SMS.to_owned()), "also after a restart");
    let found = daemon
        .catalog()
        .await?
        .get_component(v1::GetComponentRequest { name: SMS.into(), ..Default::default() })
        .await?
        .into_inner();
    let history: Vec<_> =
        found.history.iter().map(|step| (step.from(), step.to(), step.actor.as_str(), step.reason.as_str())).collect();
    assert_eq!(
        history,
        [
            (v1::Lifecycle::Certified, v1::Lifecycle::Deprecated, "ada", "2.0 is coming"),
            (v1::Lifecycle::Deprecated, v1::Lifecycle::Revoked, "ada", "CVE-1"),
        ]
    );
    assert_eq!(found.digest, before.digest, "its manifest is what it was");
    Ok(())
}

#[tokio::test]
async fn a_draft_is_certified_step_by_step_and_answers_then() -> anyhow::Result<()> {
    let (_folder, daemon) = small_catalog().await?;
    let mut catalog = daemon.catalog().await?;
    let step = |lifecycle: v1::Lifecycle| v1::MoveComponentRequest {
        name: "messaging/draft".into(),
        version: "0.1.0".into(),
        ..to(lifecycle, "reviewed")
    };
    assert!(catalog.move_component(step(v1::Lifecycle::Certified)).await.is_err(), "not without a review");
    catalog.move_component(step(v1::Lifecycle::Candidate)).await?;
    assert!(!answers(&daemon).await?.contains(&"messaging/draft".to_owned()));
    catalog.move_component(step(v1::Lifecycle::Certified)).await?;
    assert!(answers(&daemon).await?.contains(&"messaging/draft".to_owned()));
    Ok(())
}

#[tokio::test]
async fn the_command_line_moves_deletes_and_tells() -> anyhow::Result<()> {
    let (_folder, daemon) = small_catalog().await?;
    let on = |arguments: &[&str]| run(&[&["catalog"], arguments, &["--server", daemon.address()]].concat());
    let said = |arguments: &[&str]| -> anyhow::Result<String> {
        let output = on(arguments)?;
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        Ok(text(&output.stdout))
    };
    said(&["move", "messaging/sms@0.9.0", "deprecated", "--reason", "2.0 is coming", "--actor", "ada"])?;
    said(&["delete", "messaging/sms@0.9.0", "--reason", "by mistake"])?;
    let history = said(&["history", "messaging/sms@0.9.0"])?;
    for part in ["written as certified", "deprecated", "ada", "2.0 is coming", "by mistake"] {
        assert!(history.contains(part), "{part}: {history}");
    }
    said(&["undelete", "messaging/sms@0.9.0"])?;
    assert_eq!(on(&["move", "messaging/sms@0.9.0", "draft"])?.status.code(), Some(6), "there is no such step");
    let log = said(&["watch", "--after", "5", "--until-now"])?;
    let kinds: Vec<&str> = log.lines().filter_map(|line| line.split('\t').nth(1)).collect();
    assert_eq!(kinds, ["moved", "deleted", "restored"]);
    Ok(())
}

#[tokio::test]
async fn what_was_deleted_comes_back_as_it_was() -> anyhow::Result<()> {
    let (folder, daemon) = small_catalog().await?;
    let mut catalog = daemon.catalog().await?;
    let get = |show_deleted| v1::GetComponentRequest {
        name: SMS.into(),
        version: "0.9.0".into(),
        show_deleted,
        ..Default::default()
    };
    let before = catalog.get_component(get(false)).await?.into_inner();
    let undelete = v1::UndeleteComponentRequest { name: SMS.into(), version: "0.9.0".into(), ..Default::default() };
    let status = catalog.undelete_component(undelete.clone()).await.expect_err("it is there");
    assert_eq!(status.code(), Code::FailedPrecondition);
    let delete = v1::DeleteComponentRequest {
        name: SMS.into(),
        version: "0.9.0".into(),
        actor: "ada".into(),
        reason: "by mistake".into(),
        ..Default::default()
    };
    catalog.delete_component(delete).await?;
    assert_eq!(catalog.get_component(get(false)).await.expect_err("deleted").code(), Code::NotFound);
    let deleted = catalog.get_component(get(true)).await?.into_inner();
    assert_eq!((deleted.deleted_by.as_str(), deleted.delete_reason.as_str()), ("ada", "by mistake"));
    assert!(deleted.delete_time.is_some());
    // From disk, so that nothing in memory helps.
    daemon.terminate()?;
    daemon.wait().await?;
    let daemon = Daemon::serve(folder.path(), &[])?;
    assert!(!answers(&daemon).await?.contains(&SMS.to_owned()));
    let mut catalog = daemon.catalog().await?;
    catalog.undelete_component(undelete).await?;
    assert_eq!(answers(&daemon).await?[0], SMS);
    let after = catalog.get_component(get(false)).await?.into_inner();
    assert_eq!(
        (after.digest, after.manifest_json, after.revision),
        (before.digest, before.manifest_json, before.revision)
    );
    assert_ne!(after.etag, before.etag);
    Ok(())
}

#[tokio::test]
async fn a_watcher_sees_every_change_once_in_order_and_resumes() -> anyhow::Result<()> {
    let (_folder, daemon) = small_catalog().await?;
    let mut catalog = daemon.catalog().await?;
    let watch = |after: Option<v1::LogPlace>, until_now| v1::WatchCatalogRequest { after, until_now };
    let start = Some(v1::LogPlace { revision: 0, position: u32::MAX });
    let log: Vec<v1::CatalogChange> =
        catalog.watch_catalog(watch(start, true)).await?.into_inner().collect::<Result<_, _>>().await?;
    assert_eq!(log.len(), 5);
    let mut live = catalog.watch_catalog(watch(log[2].place, false)).await?.into_inner();
    for expect in &log[3..] {
        assert_eq!(live.message().await?.as_ref(), Some(expect), "resumed after the third");
    }
    catalog.move_component(to(v1::Lifecycle::Revoked, "")).await?;
    let seen = live.message().await?.expect("goes on");
    assert_eq!(
        (seen.kind(), seen.name.as_str(), seen.lifecycle()),
        (v1::CatalogChangeKind::Moved, SMS, v1::Lifecycle::Revoked)
    );
    let delete = v1::DeleteComponentRequest { name: SMS.into(), version: "0.9.0".into(), ..Default::default() };
    catalog.delete_component(delete).await?;
    let seen = live.message().await?.expect("goes on");
    assert_eq!((seen.kind(), seen.deleted), (v1::CatalogChangeKind::Deleted, true));
    create(&mut catalog, manifest("a/b", "1.0.0", "Something else.")).await?;
    assert_eq!(live.message().await?.expect("goes on").name, "a/b");
    let ahead = Some(v1::LogPlace { revision: 99, position: 0 });
    assert_eq!(catalog.watch_catalog(watch(ahead, false)).await.expect_err("ahead").code(), Code::FailedPrecondition);
    // A watcher holds up no shutdown.
    let started = std::time::Instant::now();
    daemon.terminate()?;
    assert_eq!(live.message().await.expect_err("the daemon ends").code(), Code::Unavailable);
    assert!(daemon.wait().await?.0.success());
    assert!(started.elapsed().as_secs() < 8, "{:?}", started.elapsed());
    Ok(())
}

#[tokio::test]
async fn the_audit_trail_tells_all_of_it_and_shows_every_change_to_itself() -> anyhow::Result<()> {
    let (folder, daemon) = small_catalog().await?;
    let mut catalog = daemon.catalog().await?;
    catalog.move_component(to(v1::Lifecycle::Revoked, "CVE-1")).await?;
    let answer = daemon.matcher().await?.r#match(intent("restore yesterday's database")).await?.into_inner();
    let mut feedback = daemon.feedback().await?;
    let outcome = v1::RecordOutcomeRequest {
        decision_id: answer.decision_id.clone(),
        verdict: Some(v1::record_outcome_request::Verdict::Accepted(())),
        ..Default::default()
    };
    feedback.record_outcome(outcome).await?;
    let mut audit = AuditServiceClient::new(daemon.channel().await?);
    let records: Vec<v1::AuditRecord> = audit
        .list_audit_records(v1::ListAuditRecordsRequest::default())
        .await?
        .into_inner()
        .collect::<Result<_, _>>()
        .await?;
    let acts: Vec<(&str, &str)> =
        records.iter().map(|record| (record.action.as_str(), record.subject.as_str())).collect();
    assert_eq!(
        acts[..2],
        [("component.create", "payments/card-checkout@1.0.0"), ("component.create", "storage/backup@2.1.0")]
    );
    assert_eq!(acts[5], ("component.move", "messaging/sms@0.9.0"));
    assert_eq!((records[5].actor.as_str(), records[5].reason.as_str()), ("ada", "CVE-1"));
    assert_eq!(acts[6], ("outcome.record", answer.decision_id.as_str()));
    let head = audit.verify_audit(v1::VerifyAuditRequest::default()).await?.into_inner();
    assert_eq!((head.sequence, &head.digest), (7, &records[6].digest));
    let known = v1::VerifyAuditRequest { known_sequence: 3, known_digest: records[2].digest.clone() };
    audit.verify_audit(known).await?;
    for (known_sequence, known_digest) in [(3, records[3].digest.clone()), (8, head.digest.clone())] {
        let status = audit.verify_audit(v1::VerifyAuditRequest { known_sequence, known_digest }).await;
        assert_eq!(status.expect_err("another chain").code(), Code::DataLoss);
    }

    let decision = v1::GetDecisionRequest { decision_id: answer.decision_id.clone() };
    let decision = audit.get_decision(decision).await?.into_inner();
    let provenance = answer.provenance.expect("provenance");
    assert_eq!((decision.revision, &decision.model_digest), (provenance.revision, &provenance.model_digest));
    assert_eq!((decision.intent.as_str(), decision.verdict.as_str()), ("restore yesterday's database", "accepted"));
    assert_eq!(decision.candidates[0].name, "storage/backup");

    // The same on an export, which is then tampered with.
    let file = folder.path().join("audit.jsonl");
    let path = file.display().to_string();
    let exported = run(&["audit", "export", "--server", daemon.address(), "--out", &path])?;
    assert!(exported.status.success(), "{}", text(&exported.stderr));
    let verify = |more: &[&str]| run(&[&["audit", "verify", "--file", &path], more].concat());
    let known = format!("7:{}", head.digest);
    let whole = verify(&["--known", &known])?;
    assert!(whole.status.success() && text(&whole.stdout).contains(&known), "{}", text(&whole.stderr));
    let trail = std::fs::read_to_string(&file)?;
    let changes = [
        trail.replacen("CVE-1", "CVE-2", 1),
        trail.lines().filter(|line| !line.contains("storage/backup@2.1.0")).collect::<Vec<_>>().join("\n"),
        trail.replacen("\"ada\"", "\"bob\"", 1),
    ];
    for changed in changes {
        std::fs::write(&file, changed)?;
        let output = verify(&[])?;
        assert_eq!(output.status.code(), Some(7), "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains("broken at record"), "{}", text(&output.stderr));
    }
    std::fs::write(&file, trail.lines().take(6).collect::<Vec<_>>().join("\n"))?;
    assert!(verify(&[])?.status.success(), "a shorter chain holds by itself");
    assert_eq!(verify(&["--known", &known])?.status.code(), Some(3), "and not against a head that is known");
    Ok(())
}

#[test]
fn a_narrower_schema_is_told_with_a_configuration_that_it_refuses() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let daemon = Daemon::serve(&folder.path().join("data"), &[])?;
    let with = |version: &str, most: u32| {
        let schema = format!(
            "config_schema:\n  type: object\n  additionalProperties: false\n  properties:\n    retries: {{ type: integer, minimum: 0, maximum: {most} }}\n"
        );
        manifest("a/b", version, "Does one thing.") + &schema
    };
    let file = |name: &str, text: String| -> anyhow::Result<String> {
        let path = folder.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path.display().to_string())
    };
    let old = file("old.yaml", with("1.0.0", 9))?;
    let (wider, narrower) = (file("wider.yaml", with("1.1.0", 10))?, file("narrower.yaml", with("2.0.0", 8))?);
    assert!(run(&["catalog", "import", &old, "--server", daemon.address()])?.status.success());
    let compatible = |new: &str| run(&["catalog", "compatible", "a/b@1.0.0", new, "--server", daemon.address()]);
    let found = compatible(&wider)?;
    assert!(found.status.success(), "{}{}", text(&found.stdout), text(&found.stderr));
    let found = compatible(&narrower)?;
    assert_eq!(found.status.code(), Some(1), "{}", text(&found.stderr));
    let said = text(&found.stdout);
    assert!(said.contains("incompatible") && said.contains("{\"retries\":9}"), "{said}");
    assert_eq!(compatible("a/b@9.9.9")?.status.code(), Some(4));
    Ok(())
}
