//! Where a version stands, as a file beside its manifest: an export of the catalogue writes it, an import takes it in with the
//! manifest. It says who moved the version, when and why, as that was recorded where it happened.

use fitment_catalog::{Digest, Lifecycle, Manifest};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Revision;
use super::records::{Deletion, ImportMark, Move, StoredVersion, text};
use super::standing::act;
use crate::audit::{Act, Author};
use crate::error::EngineError;

/// Largest file, in bytes.
const MAX_STANDING_BYTES: usize = 1 << 20;

/// Where a version stood elsewhere, and how it came there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CarriedStanding {
    /// `namespace/name@version`.
    component: String,
    /// Digest of its manifest.
    digest: Digest,
    /// Steps since it was written, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    history: Vec<CarriedMove>,
    /// Its deletion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deleted: Option<CarriedDeletion>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CarriedMove {
    #[serde(with = "text")]
    from: Lifecycle,
    #[serde(with = "text")]
    to: Lifecycle,
    time: jiff::Timestamp,
    actor: String,
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CarriedDeletion {
    time: jiff::Timestamp,
    actor: String,
    reason: String,
}

/// What became of a record.
#[derive(Debug)]
pub(crate) enum Taken {
    /// It says the same already.
    Same,
    /// It says more now.
    Changed,
    /// It has come further than the file, and stays.
    Kept,
    /// It went another way; nothing was changed.
    Differs(EngineError),
}

impl CarriedStanding {
    /// What is to be written beside a manifest; `None`: the version stands where its manifest says.
    pub(crate) fn of(record: &StoredVersion) -> Option<Self> {
        if record.history.is_empty() && record.deleted.is_none() {
            return None;
        }
        Some(Self {
            component: format!("{}@{}", record.card.name, record.card.version),
            digest: record.card.digest,
            history: record.history.iter().map(CarriedMove::of).collect(),
            deleted: record.deleted.as_ref().map(CarriedDeletion::of),
        })
    }

    /// Reads the file that lies beside a manifest.
    ///
    /// Errors: [`EngineError::InvalidArgument`] for what is of another manifest, or tells of steps that no life has.
    pub fn parse(source: &str, bytes: &[u8], manifest: &Manifest) -> Result<Self, EngineError> {
        let wrong = |fault: String| EngineError::field("standing", format!("of {source} {fault}"));
        if bytes.len() > MAX_STANDING_BYTES {
            return Err(wrong(format!("has {} bytes, at most {MAX_STANDING_BYTES} are read", bytes.len())));
        }
        let standing: Self =
            serde_json::from_slice(bytes).map_err(|error| wrong(format!("cannot be read: {error}")))?;
        if standing.component != manifest.to_string() || standing.digest != manifest.digest() {
            let (component, digest) = (&standing.component, standing.digest);
            return Err(wrong(format!(
                "is about {component} {digest}; the manifest is {manifest} {}",
                manifest.digest()
            )));
        }
        let authors = standing.history.iter().map(|step| (&step.actor, &step.reason));
        for (actor, reason) in
            authors.chain(standing.deleted.iter().map(|deletion| (&deletion.actor, &deletion.reason)))
        {
            Author::new(actor.clone(), reason.clone())?;
        }
        let mut at = manifest.lifecycle();
        for CarriedMove { from, to, .. } in &standing.history {
            // A bundle may have moved it several steps at once.
            if *from != at || !(from.may_become(*to) || from.leads_to(*to)) {
                return Err(wrong(format!("moves it from {from} to {to} where it is {at}; no version comes that way")));
            }
            at = *to;
        }
        Ok(standing)
    }

    /// Brings a record to where this says, with the steps that it lacks as they were recorded, and who brought them.
    pub(crate) fn take_into(&self, record: &mut StoredVersion, revision: Revision, mark: &ImportMark) -> Taken {
        let here: Vec<CarriedMove> = record.history.iter().map(CarriedMove::of).collect();
        let common = here.len().min(self.history.len());
        if here[..common] != self.history[..common] {
            return Taken::Differs(EngineError::StandingDiffers {
                what: self.component.clone(),
                here: record.card.lifecycle,
                there: self.history.last().map_or(record.card.lifecycle, |step| step.to),
            });
        }
        if here.len() > common {
            return Taken::Kept;
        }
        let changes_deletion = record.deleted.is_some() != self.deleted.is_some();
        if self.history.len() == common && !changes_deletion {
            return Taken::Same;
        }
        for CarriedMove { from, to, time, actor, reason } in self.history[common..].iter().cloned() {
            record.card.lifecycle = to;
            record.history.push(Move { from, to, time, actor, reason, revision, imported: Some(mark.clone()) });
        }
        if changes_deletion {
            record.deleted = self.deleted.clone().map(|CarriedDeletion { time, actor, reason }| Deletion {
                time,
                actor,
                reason,
                imported: Some(mark.clone()),
            });
        }
        record.state_revision = revision;
        Taken::Changed
    }

    /// What the audit trail says of it.
    pub(super) fn act(&self, record: &StoredVersion) -> Act {
        let detail = json!({
            "lifecycle": record.card.lifecycle.as_str(),
            "steps": self.history.len(),
            "deleted": record.deleted.is_some(),
        });
        act("component.import_standing", record, detail)
    }
}

impl CarriedMove {
    fn of(step: &Move) -> Self {
        let Move { from, to, time, actor, reason, revision: _, imported: _ } = step;
        Self { from: *from, to: *to, time: *time, actor: actor.clone(), reason: reason.clone() }
    }
}

impl CarriedDeletion {
    fn of(deletion: &Deletion) -> Self {
        let Deletion { time, actor, reason, imported: _ } = deletion;
        Self { time: *time, actor: actor.clone(), reason: reason.clone() }
    }
}
