//! Gaps of an engine over an empty catalogue, where nothing is met, with a clock and a model of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::{GapPage, GapPolicy, GapText};
use crate::engine::Engine;
use crate::pipeline::MatchQuery;
use crate::testing::open;

const DAY: i64 = 86_400;

async fn ask(engine: &Engine, texts: &[&str]) {
    for text in texts {
        let query = MatchQuery { intent: (*text).to_owned(), remember: true, ..MatchQuery::default() };
        engine.match_intent(query).await.expect("an answer");
    }
}

/// How often each gap was asked: in all, in this window and in the one before.
async fn demand(engine: &Engine) -> Vec<(u64, u64, u64)> {
    let listing = engine.gaps(GapPage::default()).await.expect("a list");
    listing.gaps.iter().map(|gap| (gap.asked, gap.asked_in_window, gap.asked_in_window_before)).collect()
}

#[tokio::test]
async fn windows_move_with_the_clock_and_what_is_old_is_forgotten() {
    let folder = tempfile::tempdir().expect("a folder");
    let now = Arc::new(AtomicI64::new(1000 * DAY));
    let policy = GapPolicy { days: 20, ..GapPolicy::default() };
    let engine = open(folder.path(), ("a", 8), policy, &now);
    ask(&engine, &["brew", "brew", "walk"]).await;
    now.fetch_add(8 * DAY, Ordering::SeqCst);
    ask(&engine, &["brew", "brew", "brew"]).await;
    assert_eq!(demand(&engine).await, [(5, 3, 2), (1, 0, 1)]);
    now.fetch_add(13 * DAY, Ordering::SeqCst);
    ask(&engine, &["brew"]).await;
    assert_eq!(demand(&engine).await, [(4, 1, 3)], "the first day is over 20 days ago");
    drop(engine);
    now.fetch_add(30 * DAY, Ordering::SeqCst);
    let engine = open(folder.path(), ("a", 8), policy, &now);
    assert!(demand(&engine).await.is_empty());
}

#[tokio::test]
async fn another_model_makes_vectors_again_from_texts_and_drops_what_has_none() {
    for (text, expect, dropped) in [(GapText::Keep, vec![(2, 2, 0), (1, 1, 0)], 0), (GapText::Hash, vec![], 2)] {
        let folder = tempfile::tempdir().expect("a folder");
        let now = Arc::new(AtomicI64::new(1000 * DAY));
        let policy = GapPolicy { text, ..GapPolicy::default() };
        let engine = open(folder.path(), ("a", 8), policy, &now);
        ask(&engine, &["brew", "walk", "brew"]).await;
        let ids: Vec<String> =
            engine.gaps(GapPage::default()).await.expect("a list").gaps.into_iter().map(|gap| gap.id).collect();
        drop(engine);
        let engine = open(folder.path(), ("b", 16), policy, &now);
        assert_eq!(demand(&engine).await, expect);
        let listing = engine.gaps(GapPage::default()).await.expect("a list");
        assert_eq!(listing.counts.dropped, dropped);
        assert!(listing.gaps.iter().all(|gap| ids.contains(&gap.id)));
        drop(engine);
        let engine = open(folder.path(), ("b", 16), policy, &now);
        let counts = engine.gaps(GapPage::default()).await.expect("a list").counts;
        assert_eq!(counts.dropped, 0, "once");
    }
}

#[tokio::test]
async fn what_is_not_remembered_or_switched_off_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let now = Arc::new(AtomicI64::new(1000 * DAY));
    let engine = open(folder.path(), ("a", 8), GapPolicy::default(), &now);
    let query = MatchQuery { intent: "brew".into(), ..MatchQuery::default() };
    engine.match_intent(query).await.expect("an answer");
    assert!(demand(&engine).await.is_empty(), "nobody asked");
    drop(engine);
    let policy = GapPolicy { intents: 0, ..GapPolicy::default() };
    let engine = open(folder.path(), ("a", 8), policy, &now);
    ask(&engine, &["brew"]).await;
    assert!(demand(&engine).await.is_empty());
}
