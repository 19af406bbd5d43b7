//! Denials in the audit trail: a change that was understood and that a rule forbade is recorded too, with who asked for it.
//!
//! A malformed request, a version that is not there or a full disk are no denials. Asking for what is forbidden costs a caller
//! nothing, recording it costs a commit and room for ever: so a minute has room for [`A_MINUTE`], and the next record says how many
//! had none.

use fitment_trust::TrustErrorKind;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::json;

use crate::audit::{Act, Author};
use crate::engine::{Engine, Shared};
use crate::error::EngineError;
use crate::writes::Import;

/// Denials recorded in a minute by the daemon's clock.
const A_MINUTE: u32 = 60;
/// Characters of the explanation that are kept.
const WHY_CHARS: usize = 500;

/// What somebody asked for.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The act that it would have been, such as `component.move`.
    pub(crate) act: &'static str,
    /// What it would have been done to.
    pub(crate) subject: String,
    /// Who asked.
    pub(crate) author: Author,
}

impl Asked {
    /// To write a manifest that was refused before it was looked at further.
    pub(crate) fn create(item: &Import, refused: &EngineError) -> Self {
        let subject = match refused {
            EngineError::Forbidden { what } | EngineError::CertifyingForbidden { what } => what.clone(),
            _ => item.source.clone(),
        };
        Self { act: "component.create", subject, author: item.author.clone() }
    }
}

/// How many there were lately.
#[derive(Debug, Default)]
pub(crate) struct Denials(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    minute: i64,
    recorded: u32,
    left_out: u64,
}

impl Window {
    /// Takes one in; how many found no room since the last that did, or `None` where this one finds none either.
    fn admit(&mut self, minute: i64) -> Option<u64> {
        if self.minute != minute {
            (self.minute, self.recorded) = (minute, 0);
        }
        if self.recorded >= A_MINUTE {
            self.left_out += 1;
            return None;
        }
        self.recorded += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

/// Room for one record, and how many found none before it.
struct Room {
    now: Timestamp,
    left_out: u64,
}

impl EngineError {
    /// Whether a rule forbade what was asked for.
    fn is_denial(&self) -> bool {
        match self {
            Self::MoveForbidden { .. }
            | Self::StandingDiffers { .. }
            | Self::NoTrustRoot
            | Self::VersionTaken { .. }
            | Self::NearDuplicate { .. }
            | Self::BundleRefused { .. }
            | Self::Forbidden { .. }
            | Self::CertifyingForbidden { .. } => true,
            Self::Trust(error) => error.kind() == TrustErrorKind::Precondition,
            _ => false,
        }
    }
}

impl Shared {
    /// Records that this was denied, where it was. Blocks. What cannot be recorded is logged: the answer is the same.
    pub(crate) fn record_denial(&self, asked: &Asked, error: &EngineError) {
        if error.is_denial()
            && let Some(room) = self.room_for_denial()
        {
            self.write_denial(room, asked, error.classify().1, &error.to_string());
        }
    }

    /// This minute's room for one more.
    fn room_for_denial(&self) -> Option<Room> {
        let now = (self.clock)();
        let left_out = self.denials.0.lock().admit(now.as_second().div_euclid(60))?;
        Some(Room { now, left_out })
    }

    fn write_denial(&self, Room { now, left_out }: Room, asked: &Asked, denied_by: &str, why: &str) {
        let why: String = why.chars().take(WHY_CHARS).collect();
        let mut detail = json!({"asked": asked.act, "denied_by": denied_by, "why": why});
        if left_out > 0 {
            detail["not_recorded_before"] = left_out.into();
        }
        let act = Act { action: "call.deny", subject: asked.subject.clone(), detail };
        if let Err(error) = self.store.record(act, &asked.author, now) {
            tracing::warn!(%error, "a denial could not be recorded");
        }
    }

    /// Of a batch: [subjects] and what became of each.
    pub(crate) fn record_denials<T>(
        &self,
        act: &'static str,
        subjects: Vec<String>,
        author: &Author,
        results: &[Result<T, EngineError>],
    ) {
        for (subject, result) in subjects.into_iter().zip(results) {
            if let Err(error) = result {
                self.record_denial(&Asked { act, subject, author: author.clone() }, error);
            }
        }
    }
}

impl Engine {
    /// What records that the viewer was refused a call before anything of it was looked at; it blocks. `None` where this minute
    /// has no room for it, which is counted. `denied_by`: a stable word; `why`: the same in words.
    pub fn record_denied_call(
        &self,
        action: &'static str,
        rpc: &str,
        denied_by: &'static str,
        why: String,
    ) -> Option<impl FnOnce() + Send + use<>> {
        let shared = self.shared();
        let room = shared.room_for_denial()?;
        let actor = self.viewer().principal.as_deref().unwrap_or_default().to_owned();
        let author = Author { actor, reason: String::new() };
        let asked = Asked { act: action, subject: rpc.to_owned(), author };
        Some(move || shared.write_denial(room, &asked, denied_by, &why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_has_room_for_some_and_the_next_says_what_had_none() {
        let mut window = Window::default();
        let admitted = (0..100).filter_map(|_| window.admit(7)).collect::<Vec<_>>();
        assert_eq!(admitted, vec![0; A_MINUTE as usize]);
        assert_eq!(window.admit(8), Some(40));
        assert_eq!(window.admit(8), Some(0));
    }

    #[test]
    fn what_was_not_understood_is_no_denial() {
        assert!(EngineError::NoTrustRoot.is_denial());
        assert!(!EngineError::field("envelope", "is not UTF-8").is_denial());
        assert!(!EngineError::NotFound { what: "a/b".into() }.is_denial());
        assert!(!EngineError::Stopping.is_denial());
    }
}
