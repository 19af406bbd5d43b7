//! The encoder's thread: takes what waits, encodes it in passes, and answers.

use std::sync::Arc;
use std::time::Instant;

use fitment_models::{Embedder, ModelError, Tokens, UnitVector};

use super::job::{Encoded, Job};
use super::lanes::Waiting;
use super::queue::{Next, Queue};
use super::{BULK_PASS_TOKENS, MAX_BATCH};
use crate::admission::{OverloadCause, retry_after};
use crate::error::EngineError;
use crate::meters::{BatchMeters, refused};

pub(super) struct Worker {
    pub(super) name: &'static str,
    pub(super) embedder: Arc<dyn Embedder>,
    pub(super) queue: Arc<Queue<Job>>,
    pub(super) batch_tokens: usize,
    pub(super) interactive_meters: BatchMeters,
    pub(super) bulk_meters: BatchMeters,
}

impl Worker {
    /// Works until the queue is closed.
    pub(super) fn run(self) {
        while let Some(next) = self.queue.next() {
            match next {
                Next::Interactive { tokens, item } => self.encode_waiting(tokens, item),
                Next::Bulk(job) => self.encode_bulk(job),
            }
        }
    }

    /// Encodes a job together with those that wait behind it.
    fn encode_waiting(&self, mut tokens: usize, first: Job) {
        let mut texts = first.texts.len();
        let mut batch: Vec<Job> = self.wanted(first, tokens).into_iter().collect();
        if batch.is_empty() {
            (texts, tokens) = (0, 0);
        }
        let most = self.queue.pass_tokens();
        while texts < MAX_BATCH && tokens < most {
            let Some(Waiting { tokens: more, item: job }) = self.queue.more(most - tokens) else { break };
            let Some(job) = self.wanted(job, tokens + more) else { continue };
            texts += job.texts.len();
            tokens += more;
            batch.push(job);
        }
        self.encode(batch);
    }

    /// The job, unless its caller left or would have by the time that a pass of so many tokens is done.
    fn wanted(&self, job: Job, tokens: usize) -> Option<Job> {
        if job.reply.is_closed() {
            return None;
        }
        let Some(deadline) = job.deadline else { return Some(job) };
        let now = Instant::now();
        let left = deadline.saturating_duration_since(now);
        let wait = self.queue.time_of(tokens, now);
        if !left.is_zero() && wait <= left {
            return Some(job);
        }
        let cause = OverloadCause::Deadline { wait, left };
        refused(self.name, cause);
        job.refuse(self.name, cause, retry_after(wait, 0));
        None
    }

    /// Encodes jobs in one batch, or in several where they are more tokens than one may have.
    fn encode(&self, mut batch: Vec<Job>) {
        batch.retain(|job| !job.reply.is_closed());
        if batch.is_empty() {
            return;
        }
        let started = Instant::now();
        let read: Result<Vec<_>, _> = batch.iter().map(|job| job.texts.read(&*self.embedder)).collect();
        let vectors = read.and_then(|read| {
            let texts: Vec<&Tokens> = read.iter().flat_map(|texts| texts.iter()).collect();
            self.embed(&texts, self.batch_tokens, &self.interactive_meters, || {})
        });
        match vectors {
            Ok(vectors) => {
                let encoding = started.elapsed();
                let mut vectors = vectors.into_iter();
                for job in batch {
                    let encoded = Encoded {
                        vectors: vectors.by_ref().take(job.texts.len()).collect(),
                        queued: started.duration_since(job.enqueued),
                        encoding,
                    };
                    answer(job, Ok(encoded));
                }
            }
            // One text must not fail its neighbours: each job is tried alone.
            Err(_) if batch.len() > 1 => {
                for job in batch {
                    self.encode(vec![job]);
                }
            }
            Err(error) => {
                if let Some(job) = batch.pop() {
                    answer(job, Err(error.into()));
                }
            }
        }
    }

    /// Encodes bulk work in small passes, and what somebody waits for between two of them.
    fn encode_bulk(&self, job: Job) {
        if job.reply.is_closed() {
            return;
        }
        let started = Instant::now();
        let between = || {
            while let Some(Waiting { tokens, item }) = self.queue.more(usize::MAX) {
                self.encode_waiting(tokens, item);
            }
        };
        let vectors = job.texts.read(&*self.embedder).and_then(|read| {
            let texts: Vec<&Tokens> = read.iter().collect();
            self.embed(&texts, self.batch_tokens.min(BULK_PASS_TOKENS), &self.bulk_meters, between)
        });
        let encoded = vectors.map(|vectors| Encoded {
            vectors,
            queued: started.duration_since(job.enqueued),
            encoding: started.elapsed(),
        });
        answer(job, encoded.map_err(EngineError::from));
    }

    /// Encodes texts in as many forward passes as the tokens of one allow. `between` is called after each but the last.
    fn embed(
        &self,
        texts: &[&Tokens],
        pass_tokens: usize,
        meters: &BatchMeters,
        between: impl Fn(),
    ) -> Result<Vec<UnitVector>, ModelError> {
        let mut vectors = Vec::with_capacity(texts.len());
        let mut rest = texts;
        while !rest.is_empty() {
            let (count, tokens) = pass_of(rest, pass_tokens);
            let (now, later) = rest.split_at(count);
            let started = Instant::now();
            self.queue.began(tokens, started);
            let pass = self.embedder.embed_tokens(now);
            let took = started.elapsed();
            self.queue.ended(tokens, pass.is_ok().then_some(took));
            vectors.append(&mut pass?);
            meters.encoded(count, tokens, took);
            rest = later;
            if !rest.is_empty() {
                between();
            }
        }
        Ok(vectors)
    }
}

/// A caller that left in the meantime is nobody's loss.
fn answer(job: Job, encoded: Result<Encoded, EngineError>) {
    drop(job.reply.send(encoded));
}

/// How many of the first texts make up a forward pass of at most `pass_tokens` tokens, at least one, and their tokens.
fn pass_of(texts: &[&Tokens], pass_tokens: usize) -> (usize, usize) {
    let (mut count, mut tokens) = (0, 0);
    for text in texts {
        let more = text.ids().len();
        if count > 0 && tokens + more > pass_tokens {
            break;
        }
        count += 1;
        tokens += more;
    }
    (count, tokens)
}
