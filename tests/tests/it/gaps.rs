//! What nothing meets: recorded, grouped, drafted, closed and reported, against the real binary.

use std::path::{Path, PathBuf};

use fitment_proto::v1;
use fitment_proto::v1::audit_service_client::AuditServiceClient;
use fitment_proto::v1::gap_service_client::GapServiceClient;
use fitment_tests::{Daemon, fitment, manifest, text};
use tonic::Code;
use tonic::transport::Channel;
use tonic_types::StatusExt;

use crate::matching::{create, intent, small_catalog};

type Gaps = GapServiceClient<Channel>;

/// Three themes of ten intents that nothing in the sample catalogue meets.
const COFFEE: [&str; 10] = [
    "brew a pot of coffee",
    "brew strong black coffee",
    "make a fresh pot of coffee",
    "brew filter coffee for ten guests",
    "make coffee in the morning",
    "brew a cup of espresso coffee",
    "grind beans and brew coffee",
    "brew decaffeinated coffee",
    "make a cup of coffee with milk",
    "brew iced coffee",
];
const BICYCLE: [&str; 10] = [
    "repair a bicycle tyre",
    "fix a flat bicycle tyre",
    "repair the chain of a bicycle",
    "mend a punctured bicycle tyre",
    "replace the tyre of a bicycle",
    "repair a broken bicycle wheel",
    "fix the brakes of a bicycle",
    "pump up a bicycle tyre",
    "straighten a bent bicycle wheel",
    "repair an old bicycle",
];
const DOG: [&str; 10] = [
    "walk the dog in the park",
    "take the dog for a walk",
    "walk a large dog",
    "walk the dog in the evening",
    "walk my neighbour's dog",
    "take a puppy for a walk in the park",
    "walk two dogs on a leash",
    "take the dog out for a long walk",
    "walk the dog in the rain",
    "walk an old dog slowly",
];

async fn gaps(daemon: &Daemon) -> anyhow::Result<Gaps> {
    Ok(GapServiceClient::new(daemon.channel().await?))
}

/// Asks each intent so often; nothing meets any of them.
async fn ask_unmet(daemon: &Daemon, intents: &[&str], times: usize) -> anyhow::Result<()> {
    let mut matcher = daemon.matcher().await?;
    for text in intents {
        for _ in 0..times {
            let answer = matcher.r#match(intent(text)).await?.into_inner();
            assert_eq!(answer.outcome(), v1::Outcome::RawGeneration, "{text}: {answer:#?}");
        }
    }
    Ok(())
}

async fn list(gaps: &mut Gaps) -> anyhow::Result<v1::ListGapsResponse> {
    Ok(gaps.list_gaps(v1::ListGapsRequest::default()).await?.into_inner())
}

/// Where `fitment demo` keeps its catalogue within its folder.
pub(crate) fn data_of(folder: &Path) -> anyhow::Result<PathBuf> {
    let inner = std::fs::read_dir(folder.join("demo"))?.next();
    Ok(inner.ok_or_else(|| anyhow::anyhow!("no catalogue of a demo"))??.path())
}

/// The sample catalogue with its calibration, served with these lines of configuration.
async fn calibrated(folder: &Path, lines: &str) -> anyhow::Result<Daemon> {
    let demo = Daemon::demo(folder)?;
    demo.terminate()?;
    demo.wait().await?;
    let data = data_of(folder)?;
    let config = folder.join("fitment.toml");
    std::fs::write(&config, lines)?;
    Daemon::serve(&data, &["--config", config.to_str().expect("UTF-8")])
}

/// Whether any file under a folder holds these bytes.
fn anywhere(folder: &Path, wanted: &str) -> anyhow::Result<bool> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let found = if path.is_dir() {
            anywhere(&path, wanted)?
        } else {
            let bytes = std::fs::read(&path)?;
            bytes.windows(wanted.len()).any(|window| window == wanted.as_bytes())
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

/// `fitment gaps ...` against a daemon; it must succeed. Returns what it prints.
fn command(daemon: &Daemon, arguments: &[&str]) -> anyhow::Result<String> {
    let output = fitment()?.arg("gaps").args(arguments).args(["--server", daemon.address()]).output()?;
    anyhow::ensure!(output.status.success(), "{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
    Ok(text(&output.stdout))
}

#[tokio::test]
async fn demand_becomes_gaps_a_draft_and_a_component_that_closes_one() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let daemon = calibrated(folder.path(), "").await?;
    ask_unmet(&daemon, &COFFEE, 3).await?;
    ask_unmet(&daemon, &BICYCLE, 2).await?;
    ask_unmet(&daemon, &DOG, 1).await?;
    // What an explanation shows was not asked for, and what is met is no gap.
    let mut matcher = daemon.matcher().await?;
    let explained = v1::ExplainRequest { request: Some(intent("bake a loaf of bread")) };
    matcher.explain(explained).await?;
    let met = matcher.r#match(intent("bar chart of revenue per region")).await?.into_inner();
    assert_eq!(met.outcome(), v1::Outcome::ZeroGeneration);

    let mut client = gaps(&daemon).await?;
    let listed = list(&mut client).await?;
    let counts =
        |listed: &v1::ListGapsResponse| listed.gaps.iter().map(|gap| (gap.asked, gap.intents)).collect::<Vec<_>>();
    assert_eq!(counts(&listed), [(30, 10), (20, 10), (10, 10)], "{listed:#?}");
    assert_eq!(listed.counts.clone().expect("counts").intents, 30);
    let coffee = listed.gaps[0].clone();
    assert_eq!((coffee.asked_in_window, coffee.asked_in_window_before), (30, 0));
    assert_eq!((coffee.nearest.len(), coffee.answered_by.as_str()), (3, ""));
    assert!(coffee.representatives.iter().all(|intent| intent.text.contains("coffee") && intent.cosine > 0.4));

    // Pages go through all of them once.
    let (mut paged, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListGapsRequest { page_size: 1, page_token, ..Default::default() };
        let page = client.list_gaps(request).await?.into_inner();
        paged.extend(page.gaps.into_iter().map(|gap| gap.id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(paged, listed.gaps.iter().map(|gap| gap.id.clone()).collect::<Vec<_>>());

    // The same after a restart, and more intents join.
    daemon.terminate()?;
    daemon.wait().await?;
    let daemon = Daemon::serve(&data_of(folder.path())?, &[])?;
    let mut client = gaps(&daemon).await?;
    assert_eq!(list(&mut client).await?.gaps, listed.gaps);
    ask_unmet(&daemon, &["brew a large pot of coffee"], 1).await?;
    let again = list(&mut client).await?;
    assert_eq!(counts(&again), [(31, 11), (20, 10), (10, 10)]);
    assert_eq!(again.gaps[0].id, coffee.id);

    // Draft, certify, register, link.
    let file = folder.path().join("coffee.yaml");
    let path = file.to_str().expect("UTF-8");
    let drafted = command(&daemon, &["draft", &coffee.id, "--out", path])?;
    assert!(drafted.contains("coffee"), "{drafted}");
    let draft = std::fs::read_to_string(&file)?;
    assert!(draft.contains("lifecycle: draft") && draft.contains("- grind beans and brew coffee"), "{draft}");
    let certified = draft.replace("lifecycle: draft", "lifecycle: certified");
    let component = create(&mut daemon.catalog().await?, certified).await?;
    let link = v1::LinkGapRequest {
        id: coffee.id.clone(),
        component: component.name.clone(),
        actor: "ada".into(),
        reason: "built".into(),
    };
    let linked = client.link_gap(link).await?.into_inner().gap.expect("a gap");
    assert_eq!(linked.link.as_ref().expect("a link").component, component.name);
    assert_eq!(linked.answered_by, component.name, "the representatives are answered now");
    let mut audit = AuditServiceClient::new(daemon.channel().await?);
    let mut records = audit.list_audit_records(v1::ListAuditRecordsRequest::default()).await?.into_inner();
    let mut last = v1::AuditRecord::default();
    while let Some(record) = records.message().await? {
        last = record;
    }
    assert_eq!(
        (last.action.as_str(), last.subject.as_str(), last.actor.as_str()),
        ("gap.link", coffee.id.as_str(), "ada")
    );
    let mut matcher = daemon.matcher().await?;
    for text in COFFEE {
        assert_ne!(matcher.r#match(intent(text)).await?.into_inner().outcome(), v1::Outcome::RawGeneration, "{text}");
    }
    let request = v1::ReportGapRequest { id: coffee.id.clone() };
    let report = client.report_gap(request).await?.into_inner();
    let (before, since) = (report.traffic_before.expect("linked"), report.traffic_since.expect("linked"));
    assert_eq!((before.raw_generation, before.zero_generation), (61, 1));
    assert_eq!((since.raw_generation, since.zero_generation), (0, 10), "{since:?}");
    let now = report.replayed.expect("replayed");
    assert_eq!((now.zero_generation + now.raw_generation, report.replayed_intents, report.not_replayed), (31, 11, 0));
    assert!(now.zero_generation >= 30, "{now:?}");
    assert_eq!(report.answered_by[0].name, component.name);

    // The command line says the same.
    let listed = command(&daemon, &["list"])?;
    assert!(listed.contains(&coffee.id) && listed.contains("3 of 3 gaps"), "{listed}");
    let shown = command(&daemon, &["show", &coffee.id])?;
    assert!(shown.contains("closed by") && shown.contains("brew iced coffee"), "{shown}");
    let reported = command(&daemon, &["report", &coffee.id])?;
    assert!(reported.contains("all traffic before the link") && reported.contains("100.0 %"), "{reported}");
    let json: serde_json::Value = serde_json::from_str(&command(&daemon, &["list", "--json"])?)?;
    assert_eq!(json["gaps"].as_array().map(Vec::len), Some(3));
    let removed = command(&daemon, &["link", &coffee.id, "--remove"])?;
    assert!(removed.contains("is open"), "{removed}");
    Ok(())
}

#[tokio::test]
async fn what_the_policy_does_not_keep_is_nowhere() -> anyhow::Result<()> {
    for (policy, digest) in [("hash", true), ("off", false)] {
        let folder = tempfile::tempdir()?;
        let lines = format!("[gaps]\ntext = \"{policy}\"\n[feedback]\nintent_text = \"dropped\"\n");
        let daemon = calibrated(folder.path(), &lines).await?;
        ask_unmet(&daemon, &COFFEE, 2).await?;
        ask_unmet(&daemon, &BICYCLE, 1).await?;
        let mut client = gaps(&daemon).await?;
        let listed = list(&mut client).await?;
        let counts: Vec<(u64, u64)> = listed.gaps.iter().map(|gap| (gap.asked, gap.intents)).collect();
        assert_eq!(counts, [(20, 10), (10, 10)], "{policy}: the same intent is told again");
        assert_eq!(listed.counts.expect("counts").text, policy);
        for intent in listed.gaps.iter().flat_map(|gap| &gap.representatives) {
            assert_eq!((intent.text.as_str(), intent.text_digest.starts_with("sha256:")), ("", digest), "{policy}");
        }
        let id = listed.gaps[0].id.clone();
        let status = client.draft_manifest(v1::DraftManifestRequest { id: id.clone() }).await.expect_err("no text");
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert_eq!(status.get_details_error_info().expect("details").reason, "GAP_WITHOUT_TEXT");
        let report = client.report_gap(v1::ReportGapRequest { id }).await?.into_inner();
        assert_eq!((report.replayed_intents, report.not_replayed), (0, 10));
        daemon.terminate()?;
        daemon.wait().await?;
        for text in ["pot of coffee", "bicycle tyre"] {
            assert!(!anywhere(&data_of(folder.path())?, text)?, "{policy}: `{text}` is in the data folder");
        }
    }
    Ok(())
}

#[tokio::test]
async fn text_is_there_when_it_is_kept_and_nothing_when_gaps_are_off() -> anyhow::Result<()> {
    for (intents, expect) in [(100, 1), (0, 0)] {
        let folder = tempfile::tempdir()?;
        let lines = format!("[gaps]\nintents = {intents}\n[feedback]\nintent_text = \"dropped\"\n");
        let daemon = calibrated(folder.path(), &lines).await?;
        ask_unmet(&daemon, &COFFEE[..2], 1).await?;
        assert_eq!(list(&mut gaps(&daemon).await?).await?.total_size, expect);
        daemon.terminate()?;
        daemon.wait().await?;
        assert_eq!(anywhere(&data_of(folder.path())?, "brew strong black coffee")?, intents > 0);
    }
    Ok(())
}

#[tokio::test]
async fn without_a_calibration_only_an_empty_catalogue_leaves_gaps() -> anyhow::Result<()> {
    let (_folder, daemon) = small_catalog().await?;
    let mut matcher = daemon.matcher().await?;
    let filter = v1::FilterInput { form: Some(v1::filter_input::Form::Expression("license:MIT".into())) };
    for request in [intent("brew coffee"), v1::MatchRequest { filter: Some(filter), ..intent("repair a bicycle") }] {
        matcher.r#match(request).await?;
    }
    let listed = list(&mut gaps(&daemon).await?).await?;
    assert_eq!(listed.total_size, 0, "candidates are no gap, nor is what a filter leaves nothing for");

    let folder = tempfile::tempdir()?;
    let daemon = Daemon::serve(folder.path(), &[])?;
    ask_unmet(&daemon, &["brew coffee"], 1).await?;
    let listed = list(&mut gaps(&daemon).await?).await?;
    assert_eq!((listed.total_size, listed.gaps[0].nearest.len()), (1, 0));
    let id = listed.gaps[0].id.clone();
    let draft = gaps(&daemon).await?.draft_manifest(v1::DraftManifestRequest { id }).await?.into_inner();
    assert_eq!(draft.name, "draft/brew-coffee");
    create(&mut daemon.catalog().await?, draft.manifest_yaml).await?;
    Ok(())
}

#[tokio::test]
async fn bad_input_is_refused_by_field() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let daemon = Daemon::serve(folder.path(), &[])?;
    ask_unmet(&daemon, &["brew coffee"], 1).await?;
    create(&mut daemon.catalog().await?, manifest("a/b", "1.0.0", "Does one thing.")).await?;
    let mut client = gaps(&daemon).await?;
    let id = list(&mut client).await?.gaps[0].id.clone();
    for (request, field) in [
        (v1::ListGapsRequest { page_size: 201, ..Default::default() }, "page_size"),
        (v1::ListGapsRequest { page_token: "zz".into(), ..Default::default() }, "page_token"),
        (v1::ListGapsRequest { page_token: "310a320a33".into(), ..Default::default() }, "page_token"),
        (v1::ListGapsRequest { window_days: 366, ..Default::default() }, "window_days"),
    ] {
        let status = client.list_gaps(request).await.expect_err(field);
        assert_eq!(status.get_details_bad_request().expect("violations").field_violations[0].field, field);
    }
    let link = |id: &str, component: &str| v1::LinkGapRequest {
        id: id.to_owned(),
        component: component.to_owned(),
        ..Default::default()
    };
    for (request, code) in [
        (link("", "a/b"), Code::InvalidArgument),
        (link(&"9".repeat(200), "a/b"), Code::InvalidArgument),
        (link("000000000000", "a/b"), Code::NotFound),
        (link(&id, "a/none"), Code::NotFound),
        (link(&id, "a/b@2.0.0"), Code::NotFound),
        (link(&id, "nonsense"), Code::InvalidArgument),
        (link(&id, "a/b@nonsense"), Code::InvalidArgument),
        (v1::LinkGapRequest { actor: "a".repeat(501), ..link(&id, "a/b") }, Code::InvalidArgument),
    ] {
        let status = client.link_gap(request.clone()).await.expect_err("refused");
        assert_eq!(status.code(), code, "{request:?}: {status}");
    }
    client.link_gap(link(&id, "a/b@1.0.0")).await?;
    assert_eq!(
        client.get_gap(v1::GetGapRequest { id: "x".into(), window_days: 0 }).await.expect_err("none").code(),
        Code::NotFound
    );
    Ok(())
}

#[tokio::test]
async fn snapshots_hold_gaps() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let daemon = Daemon::serve(&data, &[])?;
    ask_unmet(&daemon, &COFFEE, 1).await?;
    let before = list(&mut gaps(&daemon).await?).await?.gaps;
    let run = |arguments: &[&str]| -> anyhow::Result<()> {
        let output = fitment()?.args(arguments).output()?;
        anyhow::ensure!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        Ok(())
    };
    run(&["snapshot", "create", "--server", daemon.address()])?;
    daemon.terminate()?;
    daemon.wait().await?;
    let snapshots = data.join("snapshots");
    let files = std::fs::read_dir(&snapshots)?.collect::<Result<Vec<_>, _>>()?;
    let snapshot =
        files.iter().map(std::fs::DirEntry::path).find(|path| path.extension().is_some_and(|end| end == "json"));
    let snapshot = snapshot.expect("a snapshot");
    let restored = folder.path().join("restored");
    let (snapshot, path) = (snapshot.to_str().expect("UTF-8"), restored.to_str().expect("UTF-8"));
    run(&["snapshot", "restore", snapshot, "--data-dir", path])?;
    let daemon = Daemon::serve(&restored, &[])?;
    assert_eq!(list(&mut gaps(&daemon).await?).await?.gaps, before);
    Ok(())
}
