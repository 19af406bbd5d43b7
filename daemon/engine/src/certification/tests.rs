//! Standings follow the clock, whichever way it goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use fitment_trust::{CERTIFICATION_TYPE, Envelope, PrivateKey, Statement, Subject};
use serde_json::json;

use crate::audit::Author;
use crate::engine::Engine;
use crate::gaps::GapPolicy;
use crate::testing::{import, open};

const DAY: i64 = 86_400;

/// Certifies a version from one day to another.
async fn certify(engine: &Engine, key: &PrivateKey, name: &str, from: i64, until: i64) {
    let at = |day: i64| jiff::Timestamp::from_second(day * DAY).expect("in range").to_string();
    let selector = crate::writes::VersionSelector::Newest(name.parse().expect("a name"));
    let digest = engine.get(selector, 0).await.expect("there").0.card.digest;
    let predicate = json!({ "standards": [{ "standard": "s" }], "valid_from": at(from), "valid_until": at(until) });
    let subject = Subject { name: None, digest: Some(digest) };
    let statement = Statement::compose(&[subject], CERTIFICATION_TYPE, &predicate).expect("a statement");
    let envelope = Envelope::sign(statement, key).expect("signed").to_json();
    engine.add_certificate(envelope, Vec::new(), false, Author::default()).await.expect("added");
}

#[tokio::test]
async fn a_clock_that_is_set_back_takes_effect() {
    let (folder, now) = (tempfile::tempdir().expect("a folder"), Arc::new(AtomicI64::new(10 * DAY)));
    let engine = open(folder.path(), ("letters", 32), GapPolicy::default(), &now);
    let key = PrivateKey::from_seed(&[1; 32]);
    let root = json!({
        "version": 1,
        "keys": [{ "id": "k", "public_key": key.public().to_base64(),
            "not_before": "1970-01-01T00:00:00Z", "not_after": "2100-01-01T00:00:00Z" }],
        "roles": [{ "id": "r", "keys": ["k"], "components": ["*"], "standards": ["s"] }],
        "policies": [{ "id": "p", "components": ["*"], "require": [{ "standard": "s" }] }],
    });
    engine
        .install_trust_root(String::new(), root.to_string().into_bytes(), Author::default())
        .await
        .expect("installed");
    for name in ["test/ends", "test/begins", "test/lasts"] {
        import(&engine, name, "1.0.0", "").await;
    }
    certify(&engine, &key, "test/ends", 1, 11).await;
    certify(&engine, &key, "test/begins", 11, 20).await;
    certify(&engine, &key, "test/lasts", 1, 20).await;
    let matchable = |day: i64| {
        now.store(day * DAY, Ordering::SeqCst);
        engine.shared().keep_time().expect("time is kept");
        let view = engine.shared();
        let index = view.index.searchable();
        let names = index.view.matchable().iter().filter_map(|doc| Some(index.view.card(doc)?.name.to_string()));
        let mut names: Vec<String> = names.collect();
        names.sort_unstable();
        names
    };
    assert_eq!(matchable(10), ["test/ends", "test/lasts"]);
    assert_eq!(matchable(12), ["test/begins", "test/lasts"]);
    assert_eq!(matchable(10), ["test/ends", "test/lasts"], "back again");
    assert!(matchable(0).is_empty(), "before any of them");
    assert_eq!(matchable(12), ["test/begins", "test/lasts"]);
    assert!(matchable(30).is_empty());
    assert_eq!(matchable(12), ["test/begins", "test/lasts"]);
}
