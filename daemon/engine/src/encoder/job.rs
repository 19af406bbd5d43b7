//! A piece of the encoder's work: texts, and who is told their vectors.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use fitment_models::{Embedder, ModelError, TextRole, Tokens, UnitVector};
use tokio::sync::oneshot;

use crate::admission::OverloadCause;
use crate::error::EngineError;

/// Vectors and where their time went.
#[derive(Debug)]
pub struct Encoded {
    /// One unit vector a text, in order.
    pub vectors: Vec<UnitVector>,
    /// Time spent waiting.
    pub queued: Duration,
    /// Time of the forward pass that the texts were part of.
    pub encoding: Duration,
}

pub(super) struct Job {
    pub(super) texts: Texts,
    pub(super) enqueued: Instant,
    /// When the caller stops waiting.
    pub(super) deadline: Option<Instant>,
    pub(super) reply: oneshot::Sender<Result<Encoded, EngineError>>,
}

pub(super) type Answer = oneshot::Receiver<Result<Encoded, EngineError>>;

/// What a job encodes.
pub(super) enum Texts {
    /// Read by whoever asks.
    Read(Vec<Tokens>),
    /// Many and long: read by the encoder's thread.
    Unread(Vec<String>, TextRole),
}

impl Texts {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Read(texts) => texts.len(),
            Self::Unread(texts, _) => texts.len(),
        }
    }

    pub(super) fn read(&self, embedder: &dyn Embedder) -> Result<Cow<'_, [Tokens]>, ModelError> {
        match self {
            Self::Read(texts) => Ok(Cow::Borrowed(texts)),
            Self::Unread(texts, role) => texts.iter().map(|text| embedder.read(text, *role)).collect(),
        }
    }
}

impl Job {
    pub(super) fn new(texts: Texts, deadline: Option<Instant>) -> (Self, Answer) {
        let (reply, answer) = oneshot::channel();
        (Self { texts, enqueued: Instant::now(), deadline, reply }, answer)
    }

    /// Tells the caller that there is no room for it after all. One that left needs no answer.
    pub(super) fn refuse(self, queue: &'static str, cause: OverloadCause, retry_after: Duration) {
        drop(self.reply.send(Err(EngineError::Overloaded { queue, cause, retry_after })));
    }
}

/// Texts of one call in pieces of at most so many tokens and texts each, in order: other callers get their turn between two.
/// A longer text is a piece of its own.
pub(super) fn pieces(texts: Vec<Tokens>, most_tokens: usize, most_texts: usize) -> Vec<(usize, Vec<Tokens>)> {
    let mut pieces: Vec<(usize, Vec<Tokens>)> = Vec::new();
    for text in texts {
        let more = text.ids().len();
        match pieces.last_mut() {
            Some((tokens, piece)) if *tokens + more <= most_tokens && piece.len() < most_texts => {
                *tokens += more;
                piece.push(text);
            }
            _ => pieces.push((more, vec![text])),
        }
    }
    pieces
}
