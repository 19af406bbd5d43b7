//! Keys, certificates and trust roots on the command line: files in, files out, exit codes.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fitment_proto::v1;
use fitment_proto::v1::certification_service_client::CertificationServiceClient;
use fitment_tests::{Daemon, manifest};
use serde_json::{Value, json};

use crate::commands::{ends, keygen, revision};

/// A manifest, two keys and a root that wants both for payments; `bob` may also revoke.
fn prepare(folder: &Path) -> anyhow::Result<()> {
    std::fs::write(folder.join("card.yaml"), manifest("payments/card", "1.0.0", "Takes a card."))?;
    std::fs::write(folder.join("scan.sarif"), "{}")?;
    let root = json!({
        "version": 1,
        "keys": [keygen(folder, "alice")?, keygen(folder, "bob")?],
        "roles": [
            { "id": "assessors", "keys": ["alice", "bob"], "components": ["payments/*"], "standards": ["pci-*"] },
            { "id": "revokers", "keys": ["bob"], "components": ["*"], "may_revoke": true },
        ],
        "policies": [{ "id": "payments", "components": ["payments/*"], "threshold": 2,
            "require": [{ "standard": "pci-dss-4.0", "requirements": ["6.4.3"] }] }],
    });
    std::fs::write(folder.join("root.json"), root.to_string())?;
    Ok(())
}

const SIGN: &[&str] = &[
    "certify",
    "sign",
    "card.yaml",
    "--key",
    "alice.pem",
    "--standard",
    "pci-dss-4.0=6.4.3,8.3.1",
    "--valid-days",
    "365",
    "--evidence",
    "sarif:scan.sarif",
    "--condition",
    "rotate keys",
    "--out",
    "card.dsse.json",
];
const VERIFY: &[&str] = &["certify", "verify", "card.yaml", "--trust", "root.json", "--certificate", "card.dsse.json"];

#[test]
fn a_version_is_certified_by_two_keys_and_revoked_by_one() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    prepare(folder)?;
    ends(folder, 0, SIGN)?;
    let said = ends(folder, 1, VERIFY)?;
    assert!(said.contains("not certified") && said.contains("MISSING: 2 needed, by alice"), "{said}");
    ends(folder, 0, &["certify", "sign", "--add-to", "card.dsse.json", "--key", "bob.pem", "--out", "card.dsse.json"])?;
    let said = ends(folder, 0, VERIFY)?;
    assert!(said.contains("certified until") && said.contains("on condition: rotate keys"), "{said}");

    let verdict: Value = serde_json::from_str(&ends(folder, 0, &[VERIFY, &["--json"]].concat())?)?;
    let version = &verdict["versions"][0];
    assert_eq!(version["version"], "payments/card@1.0.0");
    assert_eq!(version["standing"]["certified"], true);
    let digest = version["digest"].as_str().expect("a digest").to_owned();
    let later = [VERIFY, &["--at", "2099-01-01T00:00:00Z", "--json"]].concat();
    let verdict: Value = serde_json::from_str(&ends(folder, 1, &later)?)?;
    let findings = verdict["versions"][0]["standing"]["findings"].as_array().expect("findings").clone();
    assert_eq!(findings[0]["reason"], "expired");
    assert!(findings[0]["message"].as_str().is_some_and(|message| message.contains("issue a new one")));

    let revocation = json!({ "target": { "version": digest }, "justification": "leaks card numbers" });
    std::fs::write(folder.join("revocation.json"), revocation.to_string())?;
    let revoke = |key: &'static str| {
        [
            "certify",
            "sign",
            "--predicate",
            "revocation.json",
            "--predicate-type",
            "revocation",
            "--subject",
            &digest,
            "--key",
            key,
            "--out",
            "revocation.dsse.json",
        ]
        .map(str::to_owned)
    };
    let with_revocation = [VERIFY, &["--revocation", "revocation.dsse.json"]].concat();
    for (key, code, expected) in [("alice.pem", 6, "may revoke"), ("bob.pem", 1, "the version is revoked by")] {
        let arguments = revoke(key);
        ends(folder, 0, &arguments.each_ref().map(String::as_str))?;
        let said = ends(folder, code, &with_revocation)?;
        assert!(said.contains(expected), "{said}");
    }
    Ok(())
}

#[test]
fn a_private_key_is_for_its_owner_and_never_overwritten() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    ends(folder, 0, &["certify", "keygen", "--out", "key.pem", "--public", "key.pub.pem"])?;
    let mode = std::fs::metadata(folder.join("key.pem"))?.permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let before = std::fs::read(folder.join("key.pem"))?;
    ends(folder, 1, &["certify", "keygen", "--out", "key.pem"])?;
    assert_eq!(std::fs::read(folder.join("key.pem"))?, before);
    assert!(std::fs::read_to_string(folder.join("key.pub.pem"))?.starts_with("-----BEGIN PUBLIC KEY-----"));
    Ok(())
}

#[test]
fn mistakes_have_their_exit_codes() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    prepare(folder)?;
    ends(folder, 2, &["certify", "sign", "card.yaml", "--out", "x"])?;
    ends(folder, 3, &["certify", "sign", "card.yaml", "--key", "alice.pem", "--standard", "gdpr", "--out", "x"])?;
    ends(
        folder,
        3,
        &["certify", "sign", "--key", "alice.pem", "--standard", "gdpr", "--valid-days", "1", "--out", "x"],
    )?;
    ends(
        folder,
        3,
        &[
            "certify",
            "sign",
            "card.yaml",
            "--key",
            "card.yaml",
            "--standard",
            "gdpr",
            "--valid-days",
            "1",
            "--out",
            "x",
        ],
    )?;
    ends(folder, 4, &["certify", "verify", "absent.yaml", "--trust", "root.json"])?;
    assert!(!folder.join("x").exists());
    // A damaged certificate is shown and does not count.
    std::fs::write(folder.join("card.dsse.json"), "{}")?;
    let said = ends(folder, 1, VERIFY)?;
    assert!(said.contains("card.dsse.json does not count"), "{said}");
    Ok(())
}

#[test]
fn a_statement_can_be_signed_elsewhere() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    prepare(folder)?;
    let unsigned = [
        "certify",
        "sign",
        "card.yaml",
        "--unsigned",
        "--standard",
        "pci-dss-4.0",
        "--valid-days",
        "30",
        "--out",
        "statement.json",
        "--json",
    ];
    let printed: Value = serde_json::from_str(&ends(folder, 0, &unsigned)?)?;
    let statement: Value = serde_json::from_slice(&std::fs::read(folder.join("statement.json"))?)?;
    assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(statement["subject"][0]["name"], "payments/card@1.0.0");
    assert_eq!(printed["signatures"], 0);
    Ok(())
}

#[test]
fn trust_roots_are_checked_and_shown() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    prepare(folder)?;
    let mut root: Value = serde_json::from_slice(&std::fs::read(folder.join("root.json"))?)?;
    assert!(ends(folder, 0, &["trust", "check", "root.json"])?.contains("2 keys, 2 roles, 1 policies"));
    let shown: Value = serde_json::from_str(&ends(folder, 0, &["trust", "show", "root.json", "--json"])?)?;
    assert_eq!(shown["limits"]["signatures"], 16);
    assert!(ends(folder, 0, &["trust", "show", "root.json"])?.contains("assessors"));
    ends(folder, 0, &["trust", "check", "root.json", "--installed", "root.json"])?;
    root["policies"][0]["threshold"] = 1.into();
    std::fs::write(folder.join("weaker.json"), root.to_string())?;
    let said = ends(folder, 6, &["trust", "check", "weaker.json", "--installed", "root.json"])?;
    assert!(said.contains("raise `version`"), "{said}");
    root["version"] = 2.into();
    std::fs::write(folder.join("later.json"), root.to_string())?;
    ends(folder, 0, &["trust", "check", "later.json", "--installed", "root.json"])?;
    ends(folder, 6, &["trust", "check", "root.json", "--installed", "later.json"])?;
    root["policies"][0]["treshold"] = 1.into();
    std::fs::write(folder.join("misspelt.json"), root.to_string())?;
    let said = ends(folder, 3, &["trust", "check", "misspelt.json"])?;
    assert!(said.contains("policies[0].treshold: unknown key"), "{said}");
    ends(folder, 4, &["trust", "check", "absent.json"])?;
    Ok(())
}

/// Names of what a daemon answers to an intent about cards, best first.
async fn answers(daemon: &Daemon) -> anyhow::Result<Vec<v1::Candidate>> {
    let request = v1::MatchRequest { intent: "take a card".into(), ..Default::default() };
    Ok(daemon.matcher().await?.r#match(request).await?.into_inner().candidates)
}

#[tokio::test]
async fn a_daemon_answers_with_what_is_certified_now_and_with_nothing_else() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    prepare(folder)?;
    ends(folder, 0, SIGN)?;
    let daemon = Daemon::serve(&folder.join("data"), &[])?;
    let on = |arguments: &[&str], code| ends(folder, code, &[arguments, &["--server", daemon.address()]].concat());
    std::fs::write(folder.join("other.yaml"), manifest("tools/other", "1.0.0", "Takes a card too."))?;
    for file in ["card.yaml", "other.yaml"] {
        on(&["catalog", "import", file], 0)?;
    }
    assert_eq!(answers(&daemon).await?.len(), 2, "without a root the lifecycle decides");
    let said = on(&["certify", "add", "card.dsse.json"], 6)?;
    assert!(said.contains("trust install"), "{said}");
    on(&["trust", "install", "root.json"], 0)?;
    assert!(answers(&daemon).await?.is_empty(), "nothing is certified, and no policy is about tools");
    // The same again changes nothing; another one of the same version is refused.
    on(&["trust", "install", "root.json"], 0)?;
    let changed = std::fs::read_to_string(folder.join("root.json"))?.replace("payments/*", "pay/*");
    std::fs::write(folder.join("changed.json"), changed)?;
    let said = on(&["trust", "install", "changed.json"], 6)?;
    assert!(said.contains("version"), "{said}");

    // One of two keys, then both; evidence comes along, and only what is named.
    let said = on(&["certify", "add", "card.dsse.json", "--evidence", "scan.sarif"], 0)?;
    assert!(said.contains("not certified") && said.contains("1 of 2 keys"), "{said}");
    on(&["certify", "add", "card.dsse.json", "--evidence", "card.yaml"], 3)?;
    assert!(answers(&daemon).await?.is_empty());
    ends(folder, 0, &["certify", "sign", "--add-to", "card.dsse.json", "--key", "bob.pem", "--out", "card.dsse.json"])?;
    on(&["certify", "add", "card.dsse.json"], 0)?;
    let found = answers(&daemon).await?;
    assert_eq!(found.iter().map(|found| found.name.as_str()).collect::<Vec<_>>(), ["payments/card"]);
    assert!(found[0].certificates.len() == 1 && found[0].certified_until.is_some(), "{:?}", found[0]);
    let mut client = CertificationServiceClient::new(daemon.channel().await?);
    let digest = format!("sha256:{}", "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
    let kept = client.get_evidence(v1::GetEvidenceRequest { digest }).await?.into_inner();
    assert_eq!(kept.content, b"{}", "the scan, by its digest");

    // Also after a restart, from what is on disk.
    daemon.terminate()?;
    daemon.wait().await?;
    let daemon = Daemon::serve(&folder.join("data"), &[])?;
    let on = |arguments: &[&str], code| ends(folder, code, &[arguments, &["--server", daemon.address()]].concat());
    assert_eq!(answers(&daemon).await?.len(), 1);
    let listed = on(&["certify", "list", "payments/card"], 0)?;
    assert!(listed.contains("payments/card@1.0.0: certified until"), "{listed}");

    // Its key leaves the root, and comes back.
    let mut root: Value = serde_json::from_slice(&std::fs::read(folder.join("root.json"))?)?;
    let whole = root.clone();
    root["version"] = json!(2);
    root["keys"].as_array_mut().expect("keys").truncate(1);
    root["roles"] = json!([{ "id": "a", "keys": ["alice"], "components": ["payments/*"], "standards": ["pci-*"] }]);
    root["policies"][0]["threshold"] = json!(1);
    std::fs::write(folder.join("root2.json"), root.to_string())?;
    on(&["trust", "install", "root2.json"], 0)?;
    assert_eq!(answers(&daemon).await?.len(), 1, "alice alone suffices there");
    let mut third = whole;
    third["version"] = json!(3);
    std::fs::write(folder.join("root3.json"), third.to_string())?;
    on(&["trust", "install", "root3.json"], 0)?;
    assert_eq!(answers(&daemon).await?.len(), 1, "both signatures were kept");

    // Revoked: out of the very next answer, and of every later one.
    let listed: Value = serde_json::from_str(&on(&["certify", "list", "payments/card", "--json"], 0)?)?;
    let certificate = listed["certificates"][0]["digest"].as_str().expect("a digest").to_owned();
    let revocation = json!({ "target": { "certificate": certificate }, "justification": "the assessor erred" });
    std::fs::write(folder.join("revocation.json"), revocation.to_string())?;
    let sign = ["certify", "sign", "--predicate", "revocation.json", "--predicate-type", "revocation", "--subject"];
    let rest = [certificate.as_str(), "--key", "bob.pem", "--out", "revocation.dsse.json"];
    ends(folder, 0, &[&sign[..], &rest[..]].concat())?;
    let said = on(&["certify", "revoke", "revocation.dsse.json"], 0)?;
    assert!(said.contains("payments/card@1.0.0: not certified") && said.contains("is revoked by"), "{said}");
    assert!(answers(&daemon).await?.is_empty());
    on(&["certify", "add", "card.dsse.json"], 0)?;
    assert!(answers(&daemon).await?.is_empty(), "handing it in again brings nothing back");
    on(&["audit", "verify"], 0)?;
    let trail = on(&["audit", "export"], 0)?;
    for action in ["trust.install", "certificate.add", "certificate.revoke"] {
        assert!(trail.contains(action), "{action}");
    }
    Ok(())
}

#[tokio::test]
async fn what_a_rule_forbids_is_recorded_with_who_asked() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    prepare(folder)?;
    let daemon = Daemon::serve(&folder.join("data"), &[])?;
    let on = |arguments: &[&str], code| ends(folder, code, &[arguments, &["--server", daemon.address()]].concat());
    on(&["catalog", "import", "card.yaml"], 0)?;
    on(&["trust", "install", "root.json"], 0)?;
    // Signed by a key that no root names.
    ends(folder, 0, &["certify", "keygen", "--out", "mallory.pem"])?;
    let sign = ["certify", "sign", "card.yaml", "--key", "mallory.pem", "--standard", "pci-dss-4.0=6.4.3"];
    ends(folder, 0, &[&sign[..], &["--valid-days", "1", "--out", "forged.json"]].concat())?;
    let before = revision(&daemon).await?;
    on(&["certify", "add", "forged.json", "--actor", "mallory"], 6)?;
    // A version never changes, and revoked is final.
    let changed = std::fs::read_to_string(folder.join("card.yaml"))?.replace("summary: ", "summary: Now ");
    std::fs::create_dir(folder.join("other"))?;
    std::fs::write(folder.join("other/card.yaml"), changed)?;
    on(&["catalog", "import", "other", "--actor", "mallory"], 3)?;
    on(&["catalog", "move", "payments/card@1.0.0", "draft", "--actor", "mallory"], 6)?;
    // What is malformed or not there is no denial.
    std::fs::write(folder.join("broken.json"), "{}")?;
    on(&["certify", "add", "broken.json"], 3)?;
    on(&["catalog", "move", "payments/nothing@1.0.0", "draft"], 4)?;
    assert_eq!(revision(&daemon).await?, before, "nothing was changed");
    on(&["audit", "verify"], 0)?;
    let denied: Vec<Value> = on(&["audit", "export"], 0)?
        .lines()
        .map(serde_json::from_str::<Value>)
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .filter(|record| record["action"] == "call.deny")
        .collect();
    let of = |record: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&record["detail"]["asked"]), text(&record["detail"]["denied_by"]), text(&record["actor"]))
    };
    let expect = [
        ("certificate.add", "CERTIFICATION_REFUSED"),
        ("component.create", "VERSION_TAKEN"),
        ("component.move", "MOVE_FORBIDDEN"),
    ];
    let expect = expect.map(|(asked, by)| (asked.to_owned(), by.to_owned(), "mallory".to_owned()));
    assert_eq!(denied.iter().map(of).collect::<Vec<_>>(), expect);
    Ok(())
}

#[tokio::test]
async fn a_certificate_ends_by_the_clock_without_a_write() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    prepare(folder)?;
    let daemon = Daemon::serve(&folder.join("data"), &[])?;
    let on = |arguments: &[&str]| ends(folder, 0, &[arguments, &["--server", daemon.address()]].concat());
    on(&["catalog", "import", "card.yaml"])?;
    let mut root: Value = serde_json::from_slice(&std::fs::read(folder.join("root.json"))?)?;
    root["policies"][0]["threshold"] = json!(1);
    std::fs::write(folder.join("root.json"), root.to_string())?;
    on(&["trust", "install", "root.json"])?;
    let now = std::time::SystemTime::now();
    let at = |seconds| -> anyhow::Result<String> {
        let since = now.duration_since(std::time::UNIX_EPOCH)?.as_secs() + seconds;
        Ok(jiff::Timestamp::from_second(i64::try_from(since)?)?.to_string())
    };
    let (from, until) = (at(0)?, at(20)?);
    let window = ["--valid-from", &from, "--valid-until", &until, "--out", "short.json"];
    let sign = ["certify", "sign", "card.yaml", "--key", "alice.pem", "--standard", "pci-dss-4.0=6.4.3"];
    ends(folder, 0, &[&sign[..], &window[..]].concat())?;
    on(&["certify", "add", "short.json"])?;
    assert_eq!(answers(&daemon).await?.len(), 1);
    let before = revision(&daemon).await?;
    // Asked until it is gone; nobody writes.
    let limit = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !answers(&daemon).await?.is_empty() {
        assert!(std::time::Instant::now() < limit, "it should have ended at {until}");
    }
    // Its end was cut to whole seconds.
    assert!(now.elapsed()?.as_secs() >= 19, "not before its end");
    assert_eq!(revision(&daemon).await?, before);
    Ok(())
}
