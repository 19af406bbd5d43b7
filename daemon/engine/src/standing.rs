//! Changing where a version stands. What leaves the answers has left them when the call returns.

use std::sync::Arc;

use fitment_catalog::Lifecycle;
use fitment_index::DocId;

use crate::denials::Asked;
use crate::engine::{Engine, Shared};
use crate::error::EngineError;
use crate::lag::Stored;
use crate::permit::Viewer;
use crate::store::{Moved, Revision, Standing, StoredVersion};

impl Engine {
    /// Deletes one version: it is in no answer from then on, and can be brought back.
    ///
    /// Errors: not found, another etag, a request id that was used for something else.
    pub async fn delete(&self, standing: Standing) -> Result<Revision, EngineError> {
        let viewer = self.viewer().clone();
        self.change(move |shared| {
            shared.must_see(&viewer, &standing)?;
            let Moved { revision, changed } = shared.store.delete(&standing, (shared.clock)())?;
            if let Some((doc, _)) = changed {
                shared.index.apply(revision, &[], &[doc])?;
            }
            Ok(revision)
        })
        .await
    }

    /// Brings a deleted version back as it was.
    ///
    /// Errors: not found, not deleted, another etag, a request id that was used for something else.
    pub async fn undelete(&self, standing: Standing) -> Result<Revision, EngineError> {
        let viewer = self.viewer().clone();
        self.change_asked(asked("component.undelete", &standing), move |shared| {
            shared.must_see(&viewer, &standing)?;
            let Moved { revision, changed } = shared.store.undelete(&standing, (shared.clock)())?;
            if let Some((doc, version)) = changed {
                restore(shared, revision, doc, version)?;
            }
            Ok(revision)
        })
        .await
    }

    /// Moves one version along its life: draft, candidate, certified, deprecated, revoked.
    ///
    /// Errors: not found, a step that there is not, another etag, a request id that was used for something else.
    pub async fn move_to(&self, standing: Standing, to: Lifecycle) -> Result<Revision, EngineError> {
        let viewer = self.viewer().clone();
        self.change_asked(asked("component.move", &standing), move |shared| {
            shared.must_see(&viewer, &standing)?;
            if to == Lifecycle::Certified {
                shared.must_certify(&viewer, &standing)?;
            }
            let Moved { revision, changed } = shared.store.move_to(&standing, to, (shared.clock)())?;
            if let Some((doc, version)) = changed {
                shared.index.apply_move(revision, doc, version.card.lifecycle);
            }
            Ok(revision)
        })
        .await
    }

    /// As [`Engine::change`], of something that rules may forbid: then that is recorded.
    pub(crate) async fn change_asked<T: Send + 'static>(
        &self,
        asked: Asked,
        change: impl FnOnce(&Shared) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        self.change(move |shared| change(shared).inspect_err(|error| shared.record_denial(&asked, error))).await
    }

    /// Changes what may answer, off the asynchronous threads. A change that has begun is finished even when its caller leaves.
    pub(crate) async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Shared) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let engine = self.clone();
        self.write_out(move || {
            let writing = Arc::clone(&engine.current().writing);
            let _writing = writing.lock();
            // Asked for under the lock: a change of the model waits for it.
            let shared = engine.current();
            shared.catch_up()?;
            let done = change(&shared)?;
            shared.refresh_calibration()?;
            shared.announce();
            Ok(done)
        })
        .await
    }
}

impl Shared {
    /// Refuses, as if it were not there, a change of a version that a viewer may not see.
    fn must_see(&self, viewer: &Viewer, standing: &Standing) -> Result<(), EngineError> {
        if viewer.permit.is_none() {
            return Ok(());
        }
        let is_seen = self.stored(standing)?.is_some_and(|stored| viewer.sees(&stored.card));
        let what = format!("{}@{}", standing.name, standing.version);
        if is_seen { Ok(()) } else { Err(EngineError::NotFound { what }) }
    }

    /// Refuses that somebody certifies who may not.
    fn must_certify(&self, viewer: &Viewer, standing: &Standing) -> Result<(), EngineError> {
        match self.stored(standing)? {
            Some(stored) => viewer.may_certify(&stored.card),
            // The change itself says that it is not there.
            None => Ok(()),
        }
    }

    fn stored(&self, standing: &Standing) -> Result<Option<StoredVersion>, EngineError> {
        let reader = self.store.read()?;
        let doc = reader.by_name(&standing.name, &standing.version)?;
        Ok(doc.map(|doc| reader.version_or_deleted(doc)).transpose()?.flatten())
    }
}

fn asked(act: &'static str, standing: &Standing) -> Asked {
    let subject = format!("{}@{}", standing.name, standing.version);
    Asked { act, subject, author: standing.author.clone() }
}

/// Makes a version searchable from what is stored of it.
fn restore(shared: &Shared, revision: Revision, doc: DocId, version: StoredVersion) -> Result<(), EngineError> {
    let stored = Stored::read(shared, &shared.store.read()?, doc, version)?;
    shared.index.apply(revision, &[stored.entry(shared.encoder.info().dimension)], &[])?;
    shared.judge(&[doc])?;
    if let Some(second) = &shared.second {
        second.wake();
    }
    Ok(())
}
