//! Bundles: what one daemon gives and another takes, refused when a byte is not what it was or nobody signed it who may.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, ensure};
use fitment_proto::v1;
use fitment_proto::v1::audit_service_client::AuditServiceClient;
use fitment_proto::v1::bundle_service_client::BundleServiceClient;
use fitment_tests::{Daemon, fitment, manifest, text};
use serde_json::json;

use crate::commands::{certify, ends, keygen, on, revision, revoke_certificate, told};
use crate::matching::{create, intent};

/// What a catalogue shows of itself.
#[derive(Debug, PartialEq)]
struct Seen {
    components: BTreeSet<(String, String, String, i32)>,
    answers: Vec<(String, Vec<String>, i32)>,
    certified: String,
}

async fn see(daemon: &Daemon, folder: &Path) -> anyhow::Result<Seen> {
    let request = v1::ListComponentsRequest { page_size: 1000, ..Default::default() };
    let listed = daemon.catalog().await?.list_components(request).await?.into_inner();
    let mut answers = Vec::new();
    for asked in ["take a card", "text message to phones", "restore the database"] {
        let answer = daemon.matcher().await?.r#match(intent(asked)).await?.into_inner();
        let scored = |found: v1::Candidate| (found.name, found.certificates, (found.score * 1e4).round());
        #[expect(clippy::cast_possible_truncation, reason = "a score of 0..1 in ten thousandths")]
        answers.extend(answer.candidates.into_iter().map(scored).map(|(name, by, score)| (name, by, score as i32)));
    }
    let certified = on(daemon, folder, 0, &["certify", "list", "payments/card"])?;
    Ok(Seen {
        components: listed
            .components
            .into_iter()
            .map(|found| (found.name, found.version, found.digest, found.lifecycle))
            .collect(),
        answers,
        certified,
    })
}

async fn audit_sequence(daemon: &Daemon) -> anyhow::Result<u64> {
    let mut client = AuditServiceClient::new(daemon.channel().await?);
    Ok(client.verify_audit(v1::VerifyAuditRequest::default()).await?.into_inner().sequence)
}

/// A daemon under a trust root with a certified component, others that are not, and one that moved on; keys in the folder:
/// `alice` certifies, `rel` signs bundles, `eve` nothing.
fn source(folder: &Path) -> anyhow::Result<Daemon> {
    let (alice, rel) = (keygen(folder, "alice")?, keygen(folder, "rel")?);
    keygen(folder, "eve")?;
    let root = json!({
        "version": 1,
        "keys": [alice, rel],
        "roles": [
            { "id": "assessors", "keys": ["alice"], "components": ["*"], "standards": ["pci-*"], "may_revoke": true },
            { "id": "release", "keys": ["rel"], "components": ["*"], "may_bundle": true },
        ],
        "policies": [{ "id": "all", "components": ["*"],
            "require": [{ "standard": "pci-dss-4.0", "requirements": ["6.4.3"] }] }],
    });
    std::fs::write(folder.join("root.json"), root.to_string())?;
    std::fs::write(folder.join("scan.sarif"), "{}")?;
    std::fs::write(
        folder.join("labels.csv"),
        "split,example_type,intent,expected\ndev,direct,take a card,payments/card\n",
    )?;
    let daemon = Daemon::serve(&folder.join("source"), &[])?;
    std::fs::write(folder.join("card.yaml"), manifest("payments/card", "1.0.0", "Takes a card payment."))?;
    std::fs::write(
        folder.join("sms.yaml"),
        manifest("messaging/sms", "0.9.0", "Sends short text messages to phones."),
    )?;
    let draft = manifest("storage/backup", "2.1.0", "Copies databases and restores them.");
    std::fs::write(folder.join("backup.yaml"), draft.replace("certified", "candidate"))?;
    for file in ["card.yaml", "sms.yaml", "backup.yaml"] {
        on(&daemon, folder, 0, &["catalog", "import", file])?;
    }
    on(&daemon, folder, 0, &["catalog", "move", "storage/backup@2.1.0", "certified"])?;
    on(&daemon, folder, 0, &["trust", "install", "root.json"])?;
    certify(folder, "card", &["--evidence", "sarif:scan.sarif"])?;
    on(&daemon, folder, 0, &["certify", "add", "card.dsse.json", "--evidence", "scan.sarif"])?;
    certify(folder, "backup", &[])?;
    on(&daemon, folder, 0, &["certify", "add", "backup.dsse.json"])?;
    Ok(daemon)
}

const EXPORT: &[&str] = &["bundle", "export", "--without", "model", "--key", "rel.pem"];

#[tokio::test]
async fn another_catalogue_answers_as_the_first_and_only_what_may_is_taken() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    let first = source(folder)?;
    let there = see(&first, folder).await?;
    assert_eq!(there.answers.iter().map(|answer| answer.0.as_str()).collect::<BTreeSet<_>>().len(), 2);
    let said = on(&first, folder, 0, &[EXPORT, &["one.fitment", "--labels", "labels.csv"]].concat())?;
    assert!(said.contains("export 1 of catalogue"), "{said}");
    let said = ends(folder, 0, &["bundle", "verify", "one.fitment", "--trust", "root.json"])?;
    assert!(said.contains("is whole; signed by rel"), "{said}");
    assert!(ends(folder, 0, &["bundle", "verify", "one.fitment"])?.contains("was not checked"));
    ends(folder, 6, &["bundle", "verify", "one.fitment", "--key", "eve.pub.pem"])?;

    let second = Daemon::serve(&folder.join("second"), &[])?;
    let before = (revision(&second).await?, audit_sequence(&second).await?);
    let import =
        |code, more: &[&str]| on(&second, folder, code, &[&["bundle", "import", "one.fitment"], more].concat());
    assert!(import(6, &[])?.contains("no trust root is installed"));
    import(6, &["--key", "eve.pub.pem"])?;
    import(6, &["--key", "alice.pub.pem"])?;
    let refused = (revision(&second).await?, audit_sequence(&second).await?);
    assert_eq!(refused, (before.0, before.1 + 3), "each refusal is in the audit trail, and nothing else was changed");
    let would = told(&second, folder, &["bundle", "import", "one.fitment", "--key", "rel.pub.pem", "--dry-run"])?;
    assert_eq!((&would["dryRun"], &would["changed"]), (&json!(true), &json!(true)), "{would}");
    assert_eq!((revision(&second).await?, audit_sequence(&second).await?), refused, "a dry run changes nothing");
    let said =
        import(0, &["--key", "rel.pub.pem", "--labels-to", "labels", "--actor", "ann", "--reason", "quarterly"])?;
    assert!(said.contains("imported; revision 1"), "one commit: {said}");
    assert_eq!(see(&second, folder).await?, there);
    assert_eq!(std::fs::read(folder.join("labels/labels.csv"))?, std::fs::read(folder.join("labels.csv"))?);
    let evidence = v1::GetEvidenceRequest {
        digest: "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a".into(),
    };
    let mut certificates = v1::certification_service_client::CertificationServiceClient::new(second.channel().await?);
    assert_eq!(certificates.get_evidence(evidence).await?.into_inner().content, b"{}");
    let trail = on(&second, folder, 0, &["audit", "export"])?;
    assert!(trail.contains("bundle.import") && trail.contains("ann") && trail.contains("quarterly"), "{trail}");

    // Again: nothing, also in the audit trail. Now a key of the installed root suffices.
    let after = (revision(&second).await?, audit_sequence(&second).await?);
    assert!(import(0, &[])?.contains("nothing was changed"));
    assert_eq!((revision(&second).await?, audit_sequence(&second).await?), after);

    // Newer: a version more, one revoked, one moved on there and further here.
    on(&first, folder, 0, &["catalog", "move", "messaging/sms@0.9.0", "deprecated"])?;
    on(&second, folder, 0, &["catalog", "move", "messaging/sms@0.9.0", "revoked"])?;
    revoke_certificate(&first, folder, "storage/backup")?;
    create(&mut first.catalog().await?, manifest("ui/table", "1.0.0", "Rows and columns.")).await?;
    on(&first, folder, 0, &[EXPORT, &["two.fitment"]].concat())?;
    let result = told(&second, folder, &["bundle", "import", "two.fitment"])?;
    let count = |kind: &str| {
        result["counts"].as_array().and_then(|all| all.iter().find(|count| count["kind"] == kind)).cloned()
    };
    let components = count("component").context("components")?;
    assert_eq!(
        (&components["created"], &components["unchanged"], &components["kept"]),
        (&json!(1), &json!(2), &json!(1)),
        "{result}"
    );
    assert_eq!(count("revocation").context("revocations")?["created"], 1, "{result}");
    assert_eq!(result["signers"], json!(["rel"]));
    let answers = see(&second, folder).await?.answers;
    assert!(answers.iter().all(|answer| answer.0 == "payments/card"), "what was revoked answers no more: {answers:?}");

    // Older: refused, unless it is forced; what was revoked stays so.
    let said = import(6, &[])?;
    assert!(said.contains("export 1 of catalogue") && said.contains("--force"), "{said}");
    import(0, &["--force"])?;
    assert_eq!(see(&second, folder).await?.answers, answers);

    // Not signed, or by somebody who may not.
    on(&first, folder, 2, &["bundle", "export", "no.fitment", "--without", "model"])?;
    on(&first, folder, 0, &["bundle", "export", "no.fitment", "--without", "model", "--unsigned"])?;
    on(&first, folder, 0, &["bundle", "export", "eve.fitment", "--without", "model", "--key", "eve.pem"])?;
    let here = (revision(&second).await?, audit_sequence(&second).await?);
    assert!(on(&second, folder, 6, &["bundle", "import", "no.fitment"])?.contains("it is not signed"));
    assert!(
        on(&second, folder, 6, &["bundle", "import", "eve.fitment"])?.contains("no key of the installed trust root")
    );
    assert_eq!((revision(&second).await?, audit_sequence(&second).await?), (here.0, here.1 + 2));
    on(&second, folder, 0, &["bundle", "import", "no.fitment", "--unsigned"])?;

    // Another manifest under a name that is taken: nothing is taken, and the rest neither.
    let third = Daemon::serve(&folder.join("third"), &[])?;
    create(&mut third.catalog().await?, manifest("payments/card", "1.0.0", "Something else.")).await?;
    let taken = ["bundle", "import", "two.fitment", "--key", "rel.pub.pem"];
    let said = on(&third, folder, 6, &taken)?;
    assert!(said.contains("1 of its entries cannot be taken") && said.contains("payments/card@1.0.0"), "{said}");
    let said = on(&third, folder, 6, &[&taken[..], &["--dry-run"]].concat())?;
    assert!(said.contains("conflict component payments/card@1.0.0"), "{said}");
    assert_eq!(revision(&third).await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_promise_comes_along_where_the_catalogue_is_the_same() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    keygen(folder, "rel")?;
    let first = Daemon::demo(&folder.join("first"))?;
    on(&first, folder, 0, &["bundle", "export", "demo.fitment", "--key", "rel.pem"])?;
    let size = std::fs::metadata(folder.join("demo.fitment"))?.len();
    assert!(size > 50_000_000, "the model is in it: {size}");
    let data = folder.join("second");
    // Without a daemon, on a machine that has neither a catalogue nor a model.
    let models = folder.join("models");
    let fresh = ["--models-dir", "models", "--data-dir", "second"];
    let import = ["bundle", "import", "demo.fitment", "--offline", "--key", "rel.pub.pem"];
    let refused = ["bundle", "import", "demo.fitment", "--offline"];
    ends(folder, 6, &[&fresh[..], &refused[..]].concat())?;
    assert!(!models.join(fitment_tests::MODEL).exists(), "nothing is installed for a bundle that nobody vouches for");
    let said = ends(folder, 0, &[&fresh[..], &import[..]].concat())?;
    assert!(said.contains("created calibration"), "{said}");
    let second = Daemon::serve(&data, &["--models-dir", models.to_str().context("text")?])?;
    for asked in ["bar chart of revenue per region", "take a card payment at checkout", "tune the strings of my guitar"]
    {
        let mut answers = Vec::new();
        for daemon in [&first, &second] {
            let answer = daemon.matcher().await?.r#match(intent(asked)).await?.into_inner();
            assert_ne!(answer.outcome(), v1::Outcome::Candidates, "{}", answer.reason);
            let names: Vec<String> = answer.candidates.iter().map(|found| found.name.clone()).collect();
            let provenance = answer.provenance.clone().context("provenance")?;
            answers.push((answer.outcome(), names, provenance.calibration_id, provenance.ranker_id));
        }
        assert_eq!(answers[0], answers[1], "{asked}");
    }
    let in_use = ends(folder, 6, &[&fresh[..], &import[..]].concat())?;
    assert!(in_use.contains("in use"), "{in_use}");
    let said = on(
        &second,
        folder,
        0,
        &["--models-dir", "models", "bundle", "import", "demo.fitment", "--key", "rel.pub.pem"],
    )?;
    assert!(said.contains("nothing was changed"), "{said}");

    // Where something else may answer, it would be no promise.
    let third = Daemon::serve(&folder.join("third"), &[])?;
    for n in 0..10 {
        create(&mut third.catalog().await?, manifest(&format!("own/part-{n}"), "1.0.0", "A part of our own.")).await?;
    }
    let said = on(&third, folder, 0, &["bundle", "import", "demo.fitment", "--key", "rel.pub.pem"])?;
    assert!(said.contains("kept calibration") && said.contains("10 changed there or are not"), "{said}");
    let answer = third.matcher().await?.r#match(intent("bar chart of revenue per region")).await?.into_inner();
    assert_eq!(answer.outcome(), v1::Outcome::Candidates);
    Ok(())
}

/// A bundle of many small components, as its parts.
async fn bulk(folder: &Path, count: usize) -> anyhow::Result<()> {
    let daemon = Daemon::serve(&folder.join("bulk"), &[])?;
    let items = (0..count).map(|n| v1::ImportComponentsRequest {
        manifest: manifest(&format!("bulk/part-{n}"), "1.0.0", &format!("Part number {n}.")).into_bytes(),
        ..Default::default()
    });
    let items: Vec<_> = items.collect();
    let mut results = daemon.catalog().await?.import_components(tokio_stream::iter(items)).await?.into_inner();
    while results.message().await?.is_some() {}
    on(&daemon, folder, 0, &["bundle", "export", "bulk.fitment", "--unsigned", "--without", "model"]).map(drop)
}

/// What a client sends of an unsigned bundle without models: read off the archive with nothing but the form of tar.
fn parts(file: &Path) -> anyhow::Result<Vec<v1::ImportBundleRequest>> {
    use v1::import_bundle_request::Part;
    let bytes = std::fs::read(file)?;
    let (mut at, mut files) = (0, Vec::new());
    while bytes[at] != 0 {
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[at + 124..at + 135])?, 8)?;
        files.push(bytes[at + 512..at + 512 + size].to_vec());
        at += 512 + size.next_multiple_of(512);
    }
    let manifest = files.remove(0);
    let start = v1::ImportBundleStart { manifest, unsigned: true, ..Default::default() };
    let message = |part| v1::ImportBundleRequest { part: Some(part) };
    Ok(std::iter::once(message(Part::Start(start)))
        .chain(files.into_iter().map(|file| message(Part::Data(file))))
        .collect())
}

#[tokio::test]
async fn sigkill_during_an_import_leaves_the_old_catalogue_and_the_next_one_finishes() -> anyhow::Result<()> {
    use v1::import_bundle_response::Event;
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    bulk(folder, 160).await?;
    let target = folder.join("target");
    let sent = parts(&folder.join("bulk.fitment"))?;
    // Killed further on each time; what was encoded is not encoded again.
    for stop_at in [16, 64, 128] {
        let daemon = Daemon::serve(&target, &[])?;
        let mut client = BundleServiceClient::new(daemon.channel().await?);
        let mut events = client.import_bundle(tokio_stream::iter(sent.clone())).await?.into_inner();
        loop {
            let event = events.message().await?.and_then(|message| message.event).context("progress")?;
            let Event::Progress(progress) = event else { anyhow::bail!("too quick to be killed") };
            if progress.step == "encoding components" && progress.done >= stop_at {
                break;
            }
        }
        daemon.kill()?;
        let daemon = Daemon::serve(&target, &[])?;
        assert_eq!(revision(&daemon).await?, 0, "all of it or nothing");
        daemon.kill()?;
    }
    let daemon = Daemon::serve(&target, &[])?;
    let mut client = BundleServiceClient::new(daemon.channel().await?);
    // The caller leaves: nothing is written, and the place is free for the next one.
    drop(client.import_bundle(tokio_stream::iter(sent.clone())).await?);
    let limit = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let output = loop {
        let import = ["bundle", "import", "bulk.fitment", "--unsigned", "--server", daemon.address()];
        let output = fitment()?.current_dir(folder).args(import).output()?;
        if output.status.code() != Some(5) || std::time::Instant::now() > limit {
            break output;
        }
    };
    assert!(output.status.success(), "{}", text(&output.stderr));
    let info = daemon.info().await?.get_server_info(v1::GetServerInfoRequest {}).await?.into_inner();
    let stored = info.catalog.context("a catalogue")?;
    assert_eq!((stored.revision, stored.versions, stored.vectors), (1, 160, 160));
    daemon.kill()?;
    let daemon = Daemon::serve(&target, &[])?;
    let response = daemon.matcher().await?.r#match(intent("part number 7")).await?.into_inner();
    assert_eq!(response.candidates.first().map(|first| first.name.as_str()), Some("bulk/part-7"));
    Ok(())
}

#[tokio::test]
async fn every_byte_counts_and_a_cut_is_named() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    let first = source(folder)?;
    on(&first, folder, 0, &[EXPORT, &["one.fitment"]].concat())?;
    drop(first);
    let target = Daemon::serve(&folder.join("target"), &[])?;
    let whole = std::fs::read(folder.join("one.fitment"))?;
    let file = folder.join("bad.fitment");
    let import = ["bundle", "import", "bad.fitment", "--key", "rel.pub.pem"];
    let refused = |bytes: &[u8]| -> anyhow::Result<String> {
        std::fs::write(&file, bytes)?;
        let output = fitment()?.current_dir(folder).args(import).args(["--server", target.address()]).output()?;
        let code = output.status.code();
        ensure!(matches!(code, Some(3 | 6 | 7)), "{code:?}: {}{}", text(&output.stdout), text(&output.stderr));
        Ok(text(&output.stderr))
    };
    // All through the file, the signature's bytes closely.
    let signature = whole.windows(20).position(|window| window == b"signature.dsse.json\0").context("a signature")?;
    let places = (0..whole.len()).step_by(whole.len() / 120).chain((signature..signature + 2048).step_by(29));
    for at in places {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        refused(&flipped).with_context(|| format!("byte {at} of {}", whole.len()))?;
    }
    for length in [0, 100, 512, 5000, whole.len() / 2, whole.len() - 1024, whole.len() - 1] {
        let said = refused(&whole[..length])?;
        assert!(said.contains(&format!("it ends at byte {length}")), "{said}");
    }
    assert!(refused(&[&whole[..], b"more"].concat())?.contains("something follows its end"));
    assert!(refused(b"no bundle at all")?.contains("it ends at byte 16"));
    assert_eq!(revision(&target).await?, 0, "nothing was changed");
    std::fs::write(&file, &whole)?;
    on(&target, folder, 0, &import)?;
    Ok(())
}

/// Kills an export once its unfinished file has so many bytes.
fn cut_short(daemon: &Daemon, folder: &Path, least: u64) -> anyhow::Result<u64> {
    let part = folder.join("cut.fitment.part");
    let length = || std::fs::metadata(&part).map_or(0, |part| part.len());
    let mut child = fitment()?
        .current_dir(folder)
        .args(["bundle", "export", "cut.fitment", "--key", "rel.pem", "--server", daemon.address()])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()?;
    while child.try_wait()?.is_none() && length() < least {
        std::thread::yield_now();
    }
    child.kill()?;
    child.wait()?;
    ensure!(!folder.join("cut.fitment").exists(), "too quick to be killed");
    Ok(length())
}

#[tokio::test]
async fn an_export_that_was_killed_goes_on_and_begins_anew_when_the_catalogue_has_changed() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    keygen(folder, "rel")?;
    keygen(folder, "eve")?;
    let daemon = Daemon::demo(&folder.join("data"))?;
    let whole = |code| ends(folder, code, &["bundle", "verify", "cut.fitment", "--key", "rel.pub.pem"]);
    let export = ["bundle", "export", "cut.fitment", "--key", "rel.pem"];
    let mut there = 0;
    for least in [1, 10 << 20, 30 << 20, 50 << 20] {
        let now = cut_short(&daemon, folder, least)?;
        ensure!(there < 10 << 20 || now >= there, "{there} bytes were there, {now} are left");
        there = now;
    }
    let done = told(&daemon, folder, &export)?;
    assert!(done["reused_bytes"].as_u64().is_some_and(|reused| reused >= 50 << 20), "{done}");
    whole(0)?;
    let done = told(&daemon, folder, &export)?;
    assert_eq!(done["reused_bytes"], 0, "nothing was cut short: {done}");

    // A byte that is not what is due: what follows it is written anew.
    std::fs::remove_file(folder.join("cut.fitment"))?;
    cut_short(&daemon, folder, 40 << 20)?;
    let part = folder.join("cut.fitment.part");
    let mut bytes = std::fs::read(&part)?;
    bytes[20 << 20] ^= 1;
    std::fs::write(&part, bytes)?;
    let done = told(&daemon, folder, &export)?;
    assert_eq!(done["reused_bytes"], 20 << 20, "{done}");
    whole(0)?;

    // Another key, or another state of the catalogue.
    std::fs::remove_file(folder.join("cut.fitment"))?;
    cut_short(&daemon, folder, 40 << 20)?;
    let by_eve = ["bundle", "export", "cut.fitment", "--key", "eve.pem"];
    let done = told(&daemon, folder, &by_eve)?;
    assert!(done["reused_bytes"].as_u64().is_some_and(|reused| reused < 10 << 20), "{done}");
    whole(6)?;
    std::fs::remove_file(folder.join("cut.fitment"))?;
    cut_short(&daemon, folder, 40 << 20)?;
    create(&mut daemon.catalog().await?, manifest("ui/other", "1.0.0", "Something else.")).await?;
    let said = on(&daemon, folder, 0, &export)?;
    assert!(said.contains("begun anew"), "{said}");
    whole(0)?;
    Ok(())
}
