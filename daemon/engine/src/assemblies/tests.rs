//! Kept assemblies over a small catalogue, with a clock and a model of their own.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use fitment_catalog::Lifecycle;
use jiff::civil::Date;

use super::{AskedImpact, AssemblySource, KeptAssembly};
use crate::audit::Author;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::gaps::GapPolicy;
use crate::store::Standing;
use crate::testing::{import, open as open_with};

const DAY: i64 = 86_400;

fn open(folder: &Path, now: &Arc<AtomicI64>) -> Engine {
    open_with(folder, ("a", 8), GapPolicy::default(), now)
}

fn clock() -> Arc<AtomicI64> {
    Arc::new(AtomicI64::new(20_000 * DAY))
}

/// An assembly of components, each a part `part-N`.
fn document(name: &str, components: &[&str]) -> Vec<u8> {
    let parts = components.iter().enumerate().map(|(n, named)| format!("  - {{ id: part-{n}, component: {named} }}\n"));
    format!("name: {name}\nparts:\n{}", parts.collect::<String>()).into_bytes()
}

async fn keep(engine: &Engine, name: &str, components: &[&str]) -> KeptAssembly {
    let document = document(name, components);
    engine.register_assembly(String::new(), document, String::new(), Author::default()).await.expect("kept")
}

/// `namespace/name part part` of each kept assembly that is touched.
async fn touched(engine: &Engine, asked: AskedImpact) -> Vec<String> {
    let touched = engine.touched_assemblies(asked).await.expect("an answer");
    let shown = touched.into_iter().map(|touched| {
        let parts: Vec<String> = touched.parts.into_keys().collect();
        format!("{} {}", touched.name, parts.join(" "))
    });
    shown.collect()
}

fn version(named: &str) -> AskedImpact {
    AskedImpact::Version(named.to_owned())
}

async fn step(engine: &Engine, name: &str, to: Lifecycle) {
    let (name, version) = (name.parse().expect("a name"), "1.0.0".parse().expect("a version"));
    let (etag, request_id) = (String::new(), String::new());
    let standing = Standing { name, version, etag, request_id, author: Author::default() };
    engine.move_to(standing, to).await.expect("moved");
}

#[tokio::test]
async fn versions_that_come_later_are_found_by_those_who_named_them() {
    let (folder, now) = (tempfile::tempdir().expect("a folder"), clock());
    {
        let engine = open(folder.path(), &now);
        import(&engine, "test/here", "1.0.0", "").await;
        let kept = keep(&engine, "apps/one", &["test/here@1.0.0", "test/late@1.0.0"]).await;
        let findings = kept.checked.expect("checked").1.report.findings;
        assert_eq!(findings.iter().map(|found| found.rule.as_str()).collect::<Vec<_>>(), ["part-unknown"]);
        assert_eq!(touched(&engine, version("test/here@1.0.0")).await, ["apps/one part-0"]);
        assert_eq!(touched(&engine, version("test/late@1.0.0")).await, ["apps/one part-1"]);
        let late = AskedImpact::Component("test/late".parse().expect("a name"));
        assert_eq!(touched(&engine, late.clone()).await, ["apps/one part-1"]);
        import(&engine, "test/late", "1.0.0", "compliance: { gdpr: [art-32] }\n").await;
        assert_eq!(touched(&engine, late).await, ["apps/one part-1"]);
        assert_eq!(touched(&engine, AskedImpact::Standard("gdpr/art-32".into())).await, ["apps/one part-1"]);
    }
    // As before, from the store alone.
    let engine = open(folder.path(), &now);
    assert_eq!(touched(&engine, version("test/here@1.0.0")).await, ["apps/one part-0"]);
    keep(&engine, "apps/one", &["test/here@1.0.0"]).await;
    assert!(touched(&engine, version("test/late@1.0.0")).await.is_empty(), "it was replaced");
    engine.delete_assembly("apps/one".parse().expect("a name"), String::new(), Author::default()).await.expect("gone");
    assert!(touched(&engine, version("test/here@1.0.0")).await.is_empty());
    let unknown = engine.kept_assembly("apps/one".parse().expect("a name")).await;
    assert!(matches!(unknown, Err(EngineError::AssemblyUnknown { .. })));
}

#[tokio::test]
async fn standards_are_found_where_a_document_names_them() {
    let (folder, now) = (tempfile::tempdir().expect("a folder"), clock());
    let engine = open(folder.path(), &now);
    import(&engine, "test/a", "1.0.0", "compliance: { gdpr: [art-32] }\n").await;
    let mut document = document("apps/one", &["test/a@1.0.0"]);
    document.extend_from_slice(
        b"  - id: outside\n    external: { owner: Example Bank, compliance: { pci-dss-4.0: [\"3.2.1\"] } }\nstandards: { iso-27001: [a-5] }\n",
    );
    engine.register_assembly(String::new(), document, String::new(), Author::default()).await.expect("kept");
    let standard = |named: &str| touched(&engine, AskedImpact::Standard(named.to_owned()));
    assert_eq!(standard("gdpr").await, ["apps/one part-0"]);
    assert_eq!(standard("pci-dss-4.0/3.2.1").await, ["apps/one outside"]);
    assert_eq!(standard("iso-27001/a-5").await, ["apps/one "], "declared, by no part");
    let name = "apps/one".parse().expect("a name");
    let asked = vec![(name, BTreeSet::from(["outside".to_owned()]))];
    let needs = engine.part_needs(asked).await.expect("needs");
    let need = needs.values().next().and_then(|parts| parts.get("outside")).expect("a part");
    assert!(need.component == "run by Example Bank" && need.remedy.is_none());
    keep(&engine, "apps/one", &["test/a@1.0.0"]).await;
    assert!(standard("pci-dss-4.0").await.is_empty(), "it was replaced");
}

#[tokio::test]
async fn who_watches_is_told_what_changed_for_whom() {
    let (folder, now) = (tempfile::tempdir().expect("a folder"), clock());
    let engine = open(folder.path(), &now);
    for name in ["test/a", "test/b"] {
        import(&engine, name, "1.0.0", "").await;
    }
    keep(&engine, "apps/one", &["test/a@1.0.0", "test/b@1.0.0"]).await;
    keep(&engine, "apps/two", &["test/b@1.0.0"]).await;
    let before = engine.info().revision;
    let all = engine.watch_assemblies(BTreeSet::new(), 0).await.expect("watches");
    let (all, changes) = engine.assembly_changes(all).await.expect("looks");
    assert!(changes.is_empty(), "{changes:?}");
    step(&engine, "test/a", Lifecycle::Deprecated).await;
    let (all, changes) = engine.assembly_changes(all).await.expect("looks");
    let [change] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!((change.assembly.to_string().as_str(), change.passes), ("apps/one", true));
    assert_eq!((change.cause.as_str(), &change.parts[..]), ("test/a@1.0.0 is deprecated", &["part-0".to_owned()][..]));
    step(&engine, "test/b", Lifecycle::Revoked).await;
    let (_, changes) = engine.assembly_changes(all).await.expect("looks");
    let told: Vec<(String, bool)> = changes.iter().map(|c| (c.assembly.to_string(), c.passes)).collect();
    assert_eq!(told, [("apps/one".to_owned(), false), ("apps/two".to_owned(), false)]);
    assert!(changes.iter().all(|change| change.errors[0].rule == "part-not-certified"));
    // Whoever was away is told how it stands now, and only of what they asked for.
    let two = BTreeSet::from(["apps/two".parse().expect("a name")]);
    let late = engine.watch_assemblies(two, before).await.expect("watches");
    let (_, changes) = engine.assembly_changes(late).await.expect("looks");
    assert_eq!(changes.iter().map(|change| change.assembly.to_string()).collect::<Vec<_>>(), ["apps/two"]);
    let ahead = engine.watch_assemblies(BTreeSet::new(), 1_000_000).await;
    assert!(matches!(ahead, Err(EngineError::RevisionNotReached { .. })));
}

#[tokio::test]
async fn policies_hold_for_every_check_and_after_a_restart() {
    let (folder, now) = (tempfile::tempdir().expect("a folder"), clock());
    let source = || AssemblySource::Document { source: String::new(), bytes: document("apps/one", &["test/a@1.0.0"]) };
    let etag = {
        let engine = open(folder.path(), &now);
        import(&engine, "test/a", "1.0.0", "").await;
        let etag = engine.assembly_policies().expect("policies").etag;
        assert!(engine.check_assembly(source(), 0).await.expect("checked").report.passes());
        let set = |policies: &str, etag: &str| {
            engine.set_assembly_policies(policies.into(), None, etag.to_owned(), Author::default())
        };
        assert!(matches!(set("licenses: 3", "").await, Err(EngineError::Assembly(_))));
        assert!(matches!(set("{}", "other").await, Err(EngineError::EtagMismatch { .. })));
        let policies = set("licenses: { deny: [MIT] }", &etag).await.expect("in force");
        assert!(policies.starter && policies.etag != etag);
        policies.etag
    };
    let engine = open(folder.path(), &now);
    assert_eq!(engine.assembly_policies().expect("policies").etag, etag);
    let report = engine.check_assembly(source(), 0).await.expect("checked").report;
    assert_eq!(report.findings.iter().map(|found| found.rule.as_str()).collect::<Vec<_>>(), ["license-not-allowed"]);
}

#[tokio::test]
async fn economics_add_up_by_day_and_team_and_stay_bounded() {
    let (folder, now) = (tempfile::tempdir().expect("a folder"), clock());
    let all = |engine: &Engine| {
        let engine = engine.clone();
        async move { engine.economics(Date::MIN, Date::MAX, None).await.expect("rows") }
    };
    {
        let engine = open(folder.path(), &now);
        let time = |seconds| jiff::Timestamp::from_second(seconds).expect("in range");
        let economics = &engine.shared().economics;
        economics.served_context(time(20_000 * DAY), "red", 5);
        economics.served_context(time(20_000 * DAY), "red", 6);
        economics.served_context(time(20_001 * DAY - 1), "blue", 1);
        economics.served_context(time(20_001 * DAY), "red", 7);
        let rows = all(&engine).await;
        let told: Vec<(String, u64)> =
            rows.iter().map(|row| (format!("{} {}", row.day, row.team), row.figures.context_tokens)).collect();
        let row = |text: &str, tokens| (text.to_owned(), tokens);
        assert_eq!(told, [row("2024-10-04 blue", 1), row("2024-10-04 red", 11), row("2024-10-05 red", 7)]);
        let day = rows[2].day;
        let later = engine.economics(day, day, Some("red".into())).await.expect("rows");
        assert_eq!(later, rows[2..]);
        for team in 0..1200 {
            economics.served_context(time(20_002 * DAY), &format!("team {team}"), 1);
        }
    }
    now.store(20_003 * DAY, Ordering::SeqCst);
    let rows = all(&open(folder.path(), &now)).await;
    let last: Vec<_> = rows.iter().filter(|row| row.day.to_string() == "2024-10-06").collect();
    assert!(last.len() <= 1001, "{} teams", last.len());
    assert_eq!(last.iter().map(|row| row.figures.context_tokens).sum::<u64>(), 1200, "nothing is lost");
    assert!(last.iter().any(|row| row.team == "(other teams)"));
}
