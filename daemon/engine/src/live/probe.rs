//! The recall probe: what lately was asked is asked again now and then, with the graph and exactly.
//!
//! It looks at a frozen copy of the index on a thread behind all others, so that neither searches nor writes wait for it.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use fitment_index::{DenseIndex, IndexError, step_back};
use parking_lot::Mutex;

use super::LiveIndex;
use crate::engine::Shared;
use crate::error::EngineError;
use crate::pipeline::effort;

/// Questions of a probe.
const QUESTIONS: usize = 32;
/// Documents asked for: recall@10.
const DEPTH: usize = 10;
/// Below this an operator should look.
const POOR: f64 = 0.95;

/// What is known of what the graph misses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct IndexRecall {
    /// recall@10 of the latest probe, 0..=1; 1 while every search is exact; `None` before the first.
    pub probed: Option<f64>,
    /// Part of its own rows that the graph found after it was built, 0..=1; `None` before the first build since the start.
    pub built: Option<f64>,
}

/// What a probe asks and what it found.
#[derive(Debug, Default)]
pub(super) struct Probe {
    /// Vectors of the latest intents.
    intents: Mutex<VecDeque<Vec<f32>>>,
    recall: Mutex<IndexRecall>,
}

impl Probe {
    /// Keeps an intent for the next probe, unless another is being kept right now.
    fn note(&self, vector: &[f32]) {
        let Some(mut intents) = self.intents.try_lock() else { return };
        // The oldest one's memory is used again.
        let mut kept = if intents.len() < QUESTIONS { Vec::new() } else { intents.pop_front().unwrap_or_default() };
        kept.clear();
        kept.extend_from_slice(vector);
        intents.push_back(kept);
    }

    /// Asks the latest intents; vectors of the index itself while there are too few.
    fn run(&self, index: &DenseIndex) -> Result<f64, IndexError> {
        let ratio = if index.can_miss() {
            let mut questions: Vec<Vec<f32>> = self.intents.lock().iter().cloned().collect();
            questions.extend(index.sample(QUESTIONS - questions.len()));
            index.recall(&questions, DEPTH, effort(index.len_rows()))?.ratio().unwrap_or(1.0)
        } else {
            1.0
        };
        self.recall.lock().probed = Some(ratio);
        Ok(ratio)
    }
}

impl LiveIndex {
    /// Lets the next probe ask this. Never waits.
    pub(crate) fn note_intent(&self, vector: &[f32]) {
        self.probe.note(vector);
    }

    /// What is known of what the graph misses.
    pub(crate) fn recall(&self) -> IndexRecall {
        *self.probe.recall.lock()
    }

    pub(super) fn note_build(&self, self_recall: Option<f32>) {
        if let Some(recall) = self_recall {
            self.probe.recall.lock().built = Some(f64::from(recall));
        }
    }

    /// Starts the thread that probes. It ends with the engine.
    pub(super) fn probe_in_background(
        shared: &Arc<Shared>,
        look: Duration,
        every: Duration,
    ) -> Result<(), EngineError> {
        let shared = Arc::downgrade(shared);
        thread::Builder::new()
            .name("recall-probe".into())
            .spawn(move || watch(&shared, look, every))
            .map(drop)
            .map_err(|source| EngineError::Io { path: "recall-probe thread".into(), source })
    }
}

fn watch(shared: &Weak<Shared>, look: Duration, every: Duration) {
    step_back();
    let mut last: Option<Instant> = None;
    loop {
        thread::sleep(look);
        let Some(shared) = shared.upgrade() else { return };
        if last.is_some_and(|last| last.elapsed() < every) {
            continue;
        }
        last = Some(Instant::now());
        let frozen = shared.index.searchable().dense.frozen();
        match frozen.and_then(|frozen| shared.index.probe.run(&frozen)) {
            Ok(recall) if recall < POOR => tracing::warn!(recall, "the graph misses much of what it should find"),
            Ok(recall) => tracing::debug!(recall, "probed the index"),
            Err(error) => tracing::error!(%error, "the recall probe failed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use fitment_index::{DenseOptions, DocId, SealScope};

    use super::*;

    fn circle(at: u16) -> Vec<f32> {
        let angle = f32::from(at) * std::f32::consts::TAU / 3000.0;
        vec![angle.cos(), angle.sin()]
    }

    fn index(graph_threshold: usize) -> DenseIndex {
        let options = DenseOptions { graph_threshold, ..DenseOptions::default() };
        let mut index = DenseIndex::new(2, options).expect("valid options");
        for at in 0..3000 {
            index.upsert(DocId(u32::from(at)), &[&circle(at)]).expect("a unit vector");
        }
        let segment = index.sealing_input(SealScope::All).build(&|_, _| {}, &AtomicBool::new(false));
        index.install(segment.expect("not cancelled")).expect("the latest");
        index
    }

    #[test]
    fn a_probe_asks_the_latest_intents_and_keeps_few() {
        let probe = Probe::default();
        for at in 0..100 {
            probe.note(&circle(at));
        }
        assert_eq!(probe.intents.lock().len(), QUESTIONS);
        assert_eq!(probe.intents.lock().back(), Some(&circle(99)));
        let ratio = probe.run(&index(1000)).expect("unit vectors");
        assert!(ratio > POOR, "{ratio}");
        assert_eq!(probe.recall.lock().probed, Some(ratio));
    }

    #[test]
    fn without_intents_the_index_asks_for_itself_and_without_a_graph_nothing_is_missed() {
        assert!(Probe::default().run(&index(1000)).expect("unit vectors") > POOR);
        let probe = Probe::default();
        assert!(probe.run(&index(10_000)).expect("nothing to ask") >= 1.0);
    }
}
