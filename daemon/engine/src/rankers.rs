//! Rankers of the catalogue that is served: which one is in force, and which were.

use std::sync::Arc;

use fitment_ranking::Ranker;

use crate::engine::Engine;
use crate::error::EngineError;
use crate::store::RankerRecord;

/// Id of the shipped ranker.
pub const DEFAULT_RANKER: &str = "default";

/// A ranker that was put into force, or the shipped one, without its weights.
#[derive(Clone, Debug)]
pub struct KeptRanker {
    /// Its id.
    pub id: String,
    /// `name split` of what it was fitted on.
    pub fitted_on: Vec<String>,
    /// What was tried.
    pub trials: Vec<fitment_ranking::Trial>,
    /// When it was first put into force, where that is known.
    pub create_time: Option<jiff::Timestamp>,
    /// Whether it ranks now.
    pub in_force: bool,
    /// Whether labels are signals in it.
    pub uses_labels: bool,
    /// Seed of its random choices.
    pub seed: u64,
    /// Labelled intents with a right component that it was fitted on.
    pub in_scope: u64,
    /// Labelled intents with none.
    pub out_of_scope: u64,
}

impl KeptRanker {
    fn of(record: RankerRecord, in_force: &str) -> Self {
        let RankerRecord { id, number: _, create_time, fitted_on, trials, uses_labels, seed, in_scope, out_of_scope } =
            record;
        let in_force = id == in_force;
        Self { id, fitted_on, trials, create_time, in_force, uses_labels, seed, in_scope, out_of_scope }
    }

    /// What a ranker at hand is, kept or not.
    pub fn describe(ranker: &Ranker, in_force: bool) -> Self {
        Self { in_force, ..Self::of(RankerRecord::of(ranker, 0, None), "") }
    }
}

impl Engine {
    /// Puts a ranker into force and keeps it; a calibration of another ranker is stale from then on.
    ///
    /// Errors: a ranker of another model; one whose labels speak of a catalogue that shares no component with this one.
    pub fn put_ranker(&self, ranker: &Ranker) -> Result<(), EngineError> {
        let model = self.model().digest.to_string();
        if ranker.model_digest != model {
            return Err(EngineError::Learning(format!(
                "ranker {} was fitted with another model ({}); this catalogue is served with {model}: fit it again",
                ranker.id, ranker.model_digest
            )));
        }
        if let Some(labels) = &ranker.labels {
            let known = labels.names().filter(|name| name.parse().is_ok_and(|name| self.has_component(&name))).count();
            if known == 0 {
                return Err(EngineError::Learning(format!(
                    "ranker {} was fitted on labels of another catalogue: none of its components is here",
                    ranker.id
                )));
            }
        }
        let shared = self.shared();
        let _writing = shared.writing.lock();
        shared.store.put_ranker(ranker, (shared.clock)())?;
        shared.refresh_ranker()?;
        shared.refresh_calibration()
    }

    /// Goes back to the shipped ranker and keeps the one that was in force; true when there was one.
    pub fn remove_ranker(&self) -> Result<bool, EngineError> {
        let shared = self.shared();
        let _writing = shared.writing.lock();
        let was_there = shared.store.remove_ranker(&self.model().digest.to_string(), (shared.clock)())?;
        shared.refresh_ranker()?;
        shared.refresh_calibration()?;
        Ok(was_there)
    }

    /// Puts a kept ranker into force, or the shipped one. Blocks.
    ///
    /// Errors: [`EngineError::RankerUnknown`]; as [`Engine::put_ranker`].
    pub fn activate_ranker(&self, id: &str) -> Result<(), EngineError> {
        if id == DEFAULT_RANKER {
            return self.remove_ranker().map(|_was_there| ());
        }
        self.put_ranker(&*self.kept_ranker(id)?)
    }

    /// The ranker in force (an empty id), the shipped one or a kept one. Blocks.
    ///
    /// Errors: [`EngineError::RankerUnknown`]; a kept one that is damaged.
    pub fn kept_ranker(&self, id: &str) -> Result<Arc<Ranker>, EngineError> {
        let in_force = self.ranker();
        if id.is_empty() || id == in_force.id {
            return Ok(in_force);
        }
        if id == DEFAULT_RANKER {
            return Ok(Arc::clone(Ranker::shipped()));
        }
        let kept = self.shared().store.read()?.kept_ranker(&self.model().digest.to_string(), id)?;
        kept.map(Arc::new).ok_or_else(|| EngineError::RankerUnknown { id: id.to_owned() })
    }

    /// Rankers that were put into force with this model, newest fit first, and the shipped one last. Blocks.
    pub fn kept_rankers(&self) -> Result<Vec<KeptRanker>, EngineError> {
        let in_force = self.ranker();
        let records = self.shared().store.read()?.ranker_records(&self.model().digest.to_string())?;
        let mut kept: Vec<KeptRanker> =
            records.into_iter().rev().map(|record| KeptRanker::of(record, &in_force.id)).collect();
        kept.push(KeptRanker::describe(Ranker::shipped(), in_force.id == DEFAULT_RANKER));
        Ok(kept)
    }
}
