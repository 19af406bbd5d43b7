//! Traces of calls: a span for each call and one for each phase of a match, as OTLP.
//!
//! `serve` opens no outbound socket, so spans leave as lines of a file in the OpenTelemetry protocol's JSON form ("OTLP File
//! Exporter"); collectors read such files, and `fitment traces forward` sends them on over OTLP/gRPC. A caller's trace is
//! continued by W3C Trace Context (`traceparent`, `tracestate`).
//!
//! `context` reads and makes trace contexts, `layer` makes a span of a call, `writer` writes.

mod context;
mod layer;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

pub(crate) use self::layer::TraceLayer;
pub(crate) use self::writer::TraceWriter;

/// What is traced, and where to.
#[derive(Clone, Debug)]
pub struct TraceConfig {
    /// The file that spans are appended to.
    pub file: PathBuf,
    /// Share of the calls that are traced where their callers do not say, 0..=1.
    pub ratio: f64,
    /// Bytes of a file, after which it is put aside as `FILE.1` and a new one begun.
    pub max_bytes: u64,
    /// What of an intent is written.
    pub intents: IntentPrivacy,
}

/// What of an intent leaves the daemon in logs and traces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IntentPrivacy {
    /// Nothing but its length.
    #[default]
    Redact,
    /// The first 16 hexadecimal digits of its sha256: the same intent is known again.
    Digest,
    /// The intent itself.
    Text,
}

/// What a call's handler tells its trace.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallNotes(Arc<Mutex<Notes>>);

#[derive(Debug, Default)]
struct Notes {
    principal: Option<Arc<str>>,
    matches: Vec<MatchNote>,
}

/// One answered intent.
#[derive(Debug)]
struct MatchNote {
    intent: String,
    decision: String,
    outcome: &'static str,
    /// Name, when it began after the start of the match, and how long it took.
    phases: Vec<(&'static str, Duration, Duration)>,
    ended: std::time::SystemTime,
    total: Duration,
}

/// Matches of one call whose phases are kept: a long stream is not.
const MAX_MATCHES: usize = 64;

impl CallNotes {
    /// Who called.
    pub(crate) fn principal(&self, principal: &Arc<str>) {
        self.0.lock().principal = Some(Arc::clone(principal));
    }

    /// An intent was answered.
    pub(crate) fn answered(&self, intent: &str, answer: &fitment_engine::MatchAnswer) {
        let fitment_engine::Timings { queue, encode, dense, lexical, rank, second_stage, total } = answer.timings;
        // The searches follow one another; the second stage runs beside the first encoder.
        let mut phases = Vec::with_capacity(6);
        let searched = total.saturating_sub(dense + lexical + rank);
        for (name, start, took) in [
            ("queue", Duration::ZERO, queue),
            ("encode", queue, encode),
            ("second_stage", Duration::ZERO, second_stage),
            ("dense", searched, dense),
            ("lexical", searched + dense, lexical),
            ("rank", searched + dense + lexical, rank),
        ] {
            if !took.is_zero() {
                phases.push((name, start, took));
            }
        }
        let mut notes = self.0.lock();
        if notes.matches.len() < MAX_MATCHES {
            notes.matches.push(MatchNote {
                intent: intent.to_owned(),
                decision: answer.decision_id.to_string(),
                outcome: crate::metrics::outcome_name(answer.outcome),
                phases,
                ended: std::time::SystemTime::now(),
                total,
            });
        }
    }
}

impl IntentPrivacy {
    /// What may be written of an intent, with the name of the attribute.
    fn shown(self, intent: &str) -> Option<(&'static str, String)> {
        match self {
            Self::Redact => None,
            Self::Digest => {
                let digest = fitment_catalog::Digest::of(intent.as_bytes()).to_string();
                let short = digest.trim_start_matches("sha256:").chars().take(16).collect();
                Some(("fitment.intent.digest", short))
            }
            Self::Text => Some(("fitment.intent.text", intent.to_owned())),
        }
    }
}
