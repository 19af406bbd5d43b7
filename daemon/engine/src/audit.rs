//! The audit chain: what was done to the catalogue, by whom and why, each record bound to the one before it.
//!
//! A record's digest covers all of it and the digest of the record before, so that nothing can be changed, left out or put in
//! without every later digest changing (Schneier and Kelsey, "Secure Audit Logs to Support Computer Forensics", 1999, without
//! its forward keys). Who can write the whole file can write a whole new chain: keep an exported head elsewhere.

use fitment_catalog::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::EngineError;
use crate::limits::without_controls;
use crate::store::Revision;

/// Longest name of an actor and longest reason, in characters.
pub const MAX_AUTHOR_CHARS: usize = 500;

/// Who asks for a write, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// Who, as the caller says.
    pub actor: String,
    /// Why; empty where nobody said.
    pub reason: String,
}

impl Default for Author {
    fn default() -> Self {
        Self { actor: "unauthenticated".into(), reason: String::new() }
    }
}

impl Author {
    /// What a caller says of itself; an empty actor is an unauthenticated one.
    ///
    /// Errors: a text over [`MAX_AUTHOR_CHARS`], or one with control characters.
    pub fn new(actor: String, reason: String) -> Result<Self, EngineError> {
        for (field, text) in [("actor", &actor), ("reason", &reason)] {
            if text.chars().count() > MAX_AUTHOR_CHARS {
                return Err(EngineError::field(field, format!("is longer than {MAX_AUTHOR_CHARS} characters")));
            }
            without_controls(field, text, &['\n'])?;
        }
        Ok(if actor.trim().is_empty() { Self { reason, ..Self::default() } } else { Self { actor, reason } })
    }
}

/// What was done, before it is bound into the chain.
#[derive(Clone, Debug)]
pub(crate) struct Act {
    /// `noun.verb`, such as `component.create`.
    pub(crate) action: &'static str,
    /// What it was done to, such as `namespace/name@version`.
    pub(crate) subject: String,
    /// Whatever else tells what changed.
    pub(crate) detail: Value,
}

/// One link of the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditRecord {
    /// Counts from 1 without a gap.
    pub sequence: u64,
    /// When, by the daemon's clock.
    pub time: jiff::Timestamp,
    /// The catalogue's revision after it.
    pub revision: Revision,
    /// Who, as far as it is known.
    pub actor: String,
    /// What was done, `noun.verb`.
    pub action: String,
    /// What it was done to.
    pub subject: String,
    /// Why, as the actor says; empty where nobody said.
    pub reason: String,
    /// Whatever else tells what changed.
    pub detail: Value,
    /// Digest of the record before; 64 zeros for the first.
    pub previous: String,
    /// sha256 over the RFC 8785 canonical JSON of all fields above.
    pub digest: String,
}

/// Where a chain ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditHead {
    /// Sequence of the last record; 0: none.
    pub sequence: u64,
    /// Its digest.
    pub digest: String,
}

impl Default for AuditHead {
    fn default() -> Self {
        Self { sequence: 0, digest: Digest::from_bytes([0; 32]).to_string() }
    }
}

impl AuditHead {
    /// Checks that the record of the same sequence, seen now, is the one that was seen then.
    pub fn agrees(&self, now: &Self) -> Result<(), EngineError> {
        if self.digest == now.digest {
            return Ok(());
        }
        let detail = format!("it has digest {} and was known with {}", now.digest, self.digest);
        Err(EngineError::AuditBroken { sequence: now.sequence, detail })
    }

    /// Binds an act to this head.
    pub(crate) fn bind(
        &self,
        act: Act,
        author: &Author,
        revision: Revision,
        now: jiff::Timestamp,
    ) -> Result<AuditRecord, EngineError> {
        let mut record = AuditRecord {
            sequence: self.sequence + 1,
            time: now,
            revision,
            actor: author.actor.clone(),
            action: act.action.to_owned(),
            subject: act.subject,
            reason: author.reason.clone(),
            detail: act.detail,
            previous: self.digest.clone(),
            digest: String::new(),
        };
        record.digest = record.reckoned()?;
        Ok(record)
    }
}

impl AuditRecord {
    /// The head of a chain that ends with this record.
    pub fn head(&self) -> AuditHead {
        AuditHead { sequence: self.sequence, digest: self.digest.clone() }
    }

    /// What its digest must be.
    fn reckoned(&self) -> Result<String, EngineError> {
        let Self { sequence, time, revision, actor, action, subject, reason, detail, previous, digest: _ } = self;
        let covered = serde_json::json!({
            "sequence": sequence,
            "time": time,
            "revision": revision,
            "actor": actor,
            "action": action,
            "subject": subject,
            "reason": reason,
            "detail": detail,
            "previous": previous,
        });
        let bytes = serde_json_canonicalizer::to_vec(&covered)
            .map_err(|error| EngineError::Internal(format!("an audit record cannot be written: {error}")))?;
        Ok(Digest::of(&bytes).to_string())
    }

    /// Checks that this record follows `head`, and gives the new head.
    ///
    /// Errors: [`EngineError::AuditBroken`], which says where and how.
    pub fn follow(&self, head: &AuditHead) -> Result<AuditHead, EngineError> {
        let broken = |detail: String| EngineError::AuditBroken { sequence: head.sequence + 1, detail };
        if self.sequence != head.sequence + 1 {
            return Err(broken(format!("record {} stands where {} is due", self.sequence, head.sequence + 1)));
        }
        if self.previous != head.digest {
            return Err(broken(format!("it names {} as the record before, which is {}", self.previous, head.digest)));
        }
        let reckoned = self.reckoned()?;
        if self.digest != reckoned {
            return Err(broken(format!("its content has digest {reckoned}, it says {}", self.digest)));
        }
        Ok(self.head())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn chain(length: u32) -> Vec<AuditRecord> {
        let mut head = AuditHead::default();
        let author = Author::new("ada".into(), "for the test".into()).expect("short");
        (0..length)
            .map(|at| {
                let act =
                    Act { action: "component.create", subject: format!("a/b@{at}.0.0"), detail: json!({"at": at}) };
                let record = head.bind(act, &author, u64::from(at), jiff::Timestamp::UNIX_EPOCH).expect("can be bound");
                head = record.head();
                record
            })
            .collect()
    }

    fn verify(records: &[AuditRecord]) -> Result<AuditHead, EngineError> {
        records.iter().try_fold(AuditHead::default(), |head, record| record.follow(&head))
    }

    #[test]
    fn a_chain_holds_and_every_change_breaks_it() {
        let whole = chain(5);
        assert_eq!(verify(&whole).expect("holds"), whole[4].head());
        let changes: [fn(&mut AuditRecord); 8] = [
            |record| record.actor.push('x'),
            |record| record.action.push('x'),
            |record| record.subject.push('x'),
            |record| record.reason.push('x'),
            |record| record.detail = json!({"at": 99}),
            |record| record.revision += 1,
            |record| record.time = jiff::Timestamp::MAX,
            |record| record.previous = AuditHead::default().digest,
        ];
        for change in changes {
            let mut changed = whole.clone();
            change(&mut changed[2]);
            assert!(matches!(verify(&changed), Err(EngineError::AuditBroken { sequence: 3, .. })), "{changed:?}");
            // With its digest put right, the next one does not follow.
            changed[2].digest = changed[2].reckoned().expect("can be written");
            let found = verify(&changed);
            assert!(matches!(found, Err(EngineError::AuditBroken { sequence: 3 | 4, .. })), "{found:?}");
        }
        let mut shorter = whole.clone();
        shorter.remove(1);
        assert!(matches!(verify(&shorter), Err(EngineError::AuditBroken { sequence: 2, .. })));
        let mut swapped = whole.clone();
        swapped.swap(1, 2);
        assert!(verify(&swapped).is_err());
        let text = serde_json::to_string(&whole[1]).expect("can be written");
        assert_eq!(serde_json::from_str::<AuditRecord>(&text).expect("can be read"), whole[1]);
    }

    #[test]
    fn authors_are_short_and_plain() {
        assert_eq!(Author::new(" ".into(), String::new()).expect("short"), Author::default());
        assert!(Author::new("a".repeat(501), String::new()).is_err());
        assert!(Author::new("a".into(), "bell\u{7}".into()).is_err());
    }
}
