//! The encoder's thread and its bounded queue.
//!
//! async waits, this thread computes. Interactive work (intents) goes before bulk work (component texts), what waits is
//! encoded in one batch, and what nobody waits for any more is dropped before it is encoded. Intents are read into tokens by
//! their own callers, and one whose vector is remembered never gets here. What could not be encoded in time is refused
//! before it waits, most of it even before it is read.
//!
//! `queue` holds what waits, in `lanes`; `pace` knows how long it takes; `worker` is the thread; `job` what passes between.

mod job;
mod lanes;
mod pace;
mod queue;
mod worker;

/// The locks of the queue.
mod sync {
    pub(super) use std::sync::{Condvar, Mutex, MutexGuard};
}

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;
use fitment_models::{Embedder, ModelError, ModelInfo, TextRole, Tokens, UnitVector};
use tokio::sync::Semaphore;

pub use self::job::Encoded;
use self::job::{Answer, Job, Texts, pieces};
use self::lanes::{LaneKey, Waiting};
use self::queue::{Bounds, Queue, Refused, Standing, Wait};
use self::worker::Worker;
use crate::admission::gate::Gate;
use crate::admission::{CallContext, OverloadCause, Patience, retry_after};
use crate::error::EngineError;
use crate::figures::EncoderFigures;
use crate::meters::{BatchMeters, refused};
use crate::vector_cache::{CacheUse, VectorCache};

/// Intents encoded in one batch at most.
const MAX_BATCH: usize = 32;
/// Tokens of one call that are encoded before others get their turn.
const PIECE_TOKENS: usize = 512;
/// Texts of a bulk job.
const BULK_CHUNK: usize = 16;
/// Tokens of a forward pass of bulk work: small, since an intent that comes meanwhile waits for its end.
const BULK_PASS_TOKENS: usize = 256;
/// Bulk jobs that may wait.
const BULK_CAPACITY: usize = 64;
/// Bytes of texts that are read where they came in; more would hold that thread up.
const READ_AT_ONCE: usize = 4096;
/// Calls with more whose texts are read at once.
const READERS: usize = 2;
/// Such calls that may wait for it.
const READERS_WAITING: usize = 16;

/// What an encoder may take.
#[derive(Clone, Copy, Debug)]
pub struct EncoderLimits {
    /// Pieces of work that may wait, intents mostly; at least 1.
    pub queue_capacity: usize,
    /// Tokens that may wait; larger work is taken when nothing else waits.
    pub queue_tokens: usize,
    /// Longest waits.
    pub patience: Patience,
    /// Bytes that remembered vectors of intents may take; 0: none are remembered.
    pub cache_bytes: usize,
    /// Tokens of a forward pass at most, at least 1; a longer text has one for itself.
    pub batch_tokens: usize,
}

impl Default for EncoderLimits {
    fn default() -> Self {
        Self {
            queue_capacity: 256,
            queue_tokens: 65_536,
            patience: Patience { single: Duration::from_millis(250), several: Duration::from_secs(10) },
            cache_bytes: 64 * 1024 * 1024,
            batch_tokens: 4096,
        }
    }
}

/// Encodes texts on a thread of its own, and remembers intents.
pub(crate) struct Encoder {
    core: Arc<Core>,
    cache: VectorCache,
}

/// What catalogues that one model serves may share: nothing in it tells whose a text is.
struct Core {
    name: &'static str,
    embedder: Arc<dyn Embedder>,
    queue: Arc<Queue<Job>>,
    bulk_permits: Semaphore,
    readers: Gate,
    limits: EncoderLimits,
    refused: AtomicU64,
}

impl Drop for Core {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl Encoder {
    /// Starts the thread. It ends when the encoder is dropped. `name` tells encoders apart in what is watched.
    pub(crate) fn start(
        embedder: Box<dyn Embedder>,
        name: &'static str,
        limits: EncoderLimits,
    ) -> Result<Self, EngineError> {
        let embedder: Arc<dyn Embedder> = embedder.into();
        let limits = EncoderLimits {
            queue_capacity: limits.queue_capacity.max(1),
            batch_tokens: limits.batch_tokens.max(1),
            ..limits
        };
        let bounds =
            Bounds { jobs: limits.queue_capacity, tokens: limits.queue_tokens, pass_tokens: limits.batch_tokens };
        let queue = Arc::new(Queue::new(bounds));
        let worker = Worker {
            name,
            embedder: Arc::clone(&embedder),
            queue: Arc::clone(&queue),
            batch_tokens: limits.batch_tokens,
            interactive_meters: BatchMeters::new(name, "interactive"),
            bulk_meters: BatchMeters::new(name, "bulk"),
        };
        let (adopted, adoption) = bounded(1);
        thread::Builder::new()
            .name("encoder".into())
            .spawn(move || {
                let outcome = worker.embedder.adopt_caller();
                let adopted_it = outcome.is_ok();
                drop(adopted.send(outcome));
                if adopted_it {
                    worker.run();
                }
            })
            .map_err(|source| EngineError::Io { path: "encoder thread".into(), source })?;
        adoption.recv().map_err(|_ended| EngineError::Stopping)??;
        let core = Core {
            name,
            embedder,
            queue,
            bulk_permits: Semaphore::new(BULK_CAPACITY),
            readers: Gate::new("reading", READERS, READERS_WAITING, limits.patience),
            limits,
            refused: AtomicU64::new(0),
        };
        Ok(Self { core: Arc::new(core), cache: VectorCache::new(limits.cache_bytes) })
    }

    /// Another one on the same thread and model, which remembers for itself: how long an answer takes tells nothing about what
    /// others asked.
    pub(crate) fn beside(&self) -> Self {
        Self { core: Arc::clone(&self.core), cache: VectorCache::new(self.core.limits.cache_bytes) }
    }

    /// What the model is.
    pub(crate) fn info(&self) -> &ModelInfo {
        self.core.embedder.info()
    }

    /// Length of a text in tokens after truncation, and whether it fills the model's window.
    pub(crate) fn count_tokens(&self, text: &str) -> Result<(usize, bool), EngineError> {
        let tokens = self.core.embedder.count_tokens(text)?;
        Ok((tokens, tokens >= self.info().max_tokens))
    }

    /// How many interactive jobs may wait.
    pub(crate) fn capacity(&self) -> usize {
        self.core.limits.queue_capacity
    }

    /// How it stands.
    pub(crate) fn figures(&self) -> EncoderFigures {
        let Standing { jobs, tokens, bulk, wait, tokens_per_second } = self.core.queue.standing(Instant::now());
        EncoderFigures {
            name: self.core.name,
            interactive_waiting: jobs,
            tokens_waiting: tokens,
            bulk_waiting: bulk,
            queue_capacity: self.core.limits.queue_capacity,
            queue_tokens: self.core.limits.queue_tokens,
            estimated_wait: wait,
            tokens_per_second,
            cache: self.cache_use(),
        }
    }

    /// How the remembered vectors have served.
    pub(crate) fn cache_use(&self) -> CacheUse {
        self.cache.used()
    }

    /// Encodes texts that somebody waits for. Refused at once when that cannot be done in time; dropping the future drops
    /// the work.
    pub(crate) async fn encode(
        &self,
        texts: Vec<String>,
        role: TextRole,
        context: &CallContext,
    ) -> Result<Encoded, EngineError> {
        let mut vectors: Vec<Option<UnitVector>> = texts.iter().map(|text| self.cache.get(role, text)).collect();
        let missing: Vec<usize> = (0..texts.len()).filter(|&text| vectors[text].is_none()).collect();
        let (mut queued, mut encoding) = (Duration::ZERO, Duration::ZERO);
        if !missing.is_empty() {
            let lane = LaneKey { principal: Arc::clone(&context.principal), work: context.work };
            let wait = Wait { most: self.core.limits.patience.of(context.work), deadline: context.deadline };
            // A text has two tokens at the least: who is too late for those need not be read.
            self.core
                .queue
                .check(&lane, missing.len() * 2, wait, Instant::now())
                .map_err(|cause| self.refuse(&cause))?;
            // Threads that sleep wake while the text is read.
            self.core.embedder.expect_batch();
            let wanted: Vec<String> = missing.iter().map(|&text| texts[text].clone()).collect();
            let read = self.read(wanted, role, context).await?;
            if let Some(budget) = &context.budget {
                let tokens = read.iter().map(|text| text.ids().len()).sum();
                budget.take(tokens).map_err(|retry_after| EngineError::RateLimited { what: "tokens", retry_after })?;
            }
            let encoded = self.ask(read, &lane, wait).await?;
            (queued, encoding) = (encoded.queued, encoded.encoding);
            for (text, vector) in missing.into_iter().zip(encoded.vectors) {
                self.cache.put(role, &texts[text], &vector);
                vectors[text] = Some(vector);
            }
        }
        let vectors = vectors
            .into_iter()
            .map(|vector| vector.ok_or_else(|| EngineError::Internal("a text was left without a vector".into())))
            .collect::<Result<_, _>>()?;
        Ok(Encoded { vectors, queued, encoding })
    }

    /// Lengths of texts in tokens after truncation.
    pub(crate) async fn count_all(&self, texts: Vec<String>, context: &CallContext) -> Result<Vec<usize>, EngineError> {
        let bytes = texts.iter().map(String::len).sum();
        let count = move |embedder: &dyn Embedder| texts.iter().map(|text| embedder.count_tokens(text)).collect();
        self.reading(bytes, context, count).await
    }

    async fn read(
        &self,
        texts: Vec<String>,
        role: TextRole,
        context: &CallContext,
    ) -> Result<Vec<Tokens>, EngineError> {
        let bytes = texts.iter().map(String::len).sum();
        let read = move |embedder: &dyn Embedder| texts.iter().map(|text| embedder.read(text, role)).collect();
        self.reading(bytes, context, read).await
    }

    /// Reads short texts here, and more on a thread that may be held up.
    async fn reading<T: Send + 'static>(
        &self,
        bytes: usize,
        context: &CallContext,
        read: impl FnOnce(&dyn Embedder) -> Result<T, ModelError> + Send + 'static,
    ) -> Result<T, EngineError> {
        if bytes <= READ_AT_ONCE {
            return Ok(read(&*self.core.embedder)?);
        }
        let pass = self.core.readers.enter(context).await?;
        let embedder = Arc::clone(&self.core.embedder);
        let reading = tokio::task::spawn_blocking(move || {
            let _pass = pass;
            read(&*embedder)
        });
        Ok(reading.await.map_err(|error| EngineError::Internal(format!("a text was left unread: {error}")))??)
    }

    async fn ask(&self, read: Vec<Tokens>, lane: &LaneKey, wait: Wait) -> Result<Encoded, EngineError> {
        let most = PIECE_TOKENS.min(self.core.limits.batch_tokens);
        let (work, answers): (Vec<Waiting<Job>>, Vec<Answer>) = pieces(read, most, MAX_BATCH)
            .into_iter()
            .map(|(tokens, texts)| {
                let (item, answer) = Job::new(Texts::Read(texts), wait.deadline);
                (Waiting { tokens, item }, answer)
            })
            .unzip();
        let displaced = self.core.queue.offer(lane, work, wait, Instant::now()).map_err(|cause| self.refuse(&cause))?;
        for job in displaced {
            let length = self.core.queue.standing(Instant::now()).wait;
            refused(self.core.name, OverloadCause::Displaced);
            job.refuse(self.core.name, OverloadCause::Displaced, retry_after(length, self.turn()));
        }
        let mut all = Encoded { vectors: Vec::new(), queued: Duration::ZERO, encoding: Duration::ZERO };
        for answer in answers {
            let Encoded { vectors, queued, encoding } = answer.await.unwrap_or(Err(EngineError::Stopping))?;
            all.vectors.extend(vectors);
            all.queued = all.queued.max(queued);
            all.encoding += encoding;
        }
        Ok(all)
    }

    fn refuse(&self, cause: &Refused) -> EngineError {
        match *cause {
            Refused::Closed => EngineError::Stopping,
            Refused::Overloaded(cause, excess) => {
                refused(self.core.name, cause);
                let retry_after = retry_after(excess, self.turn());
                EngineError::Overloaded { queue: self.core.name, cause, retry_after }
            }
        }
    }

    /// How many were refused before.
    fn turn(&self) -> u64 {
        self.core.refused.fetch_add(1, Ordering::Relaxed)
    }

    /// Encodes any number of texts behind all interactive work, waiting for room.
    pub(crate) async fn encode_bulk(&self, texts: &[String], role: TextRole) -> Result<Vec<UnitVector>, EngineError> {
        // Texts of like length in one job waste no padding.
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|&text| texts[text].len());
        let mut vectors: Vec<Option<UnitVector>> = vec![None; texts.len()];
        let mut pending = Vec::new();
        for chunk in order.chunks(BULK_CHUNK) {
            let permit = self.core.bulk_permits.acquire().await.map_err(|_closed| EngineError::Stopping)?;
            let unread = chunk.iter().map(|&text| texts[text].clone()).collect();
            pending.push((chunk, self.offer_bulk(unread, role)?, permit));
            // Half of the room is left to other writers.
            if pending.len() >= BULK_CAPACITY / 2 {
                collect(pending.remove(0), &mut vectors).await?;
            }
        }
        for job in pending {
            collect(job, &mut vectors).await?;
        }
        vectors
            .into_iter()
            .map(|vector| vector.ok_or_else(|| EngineError::Internal("a text was left without a vector".into())))
            .collect()
    }

    /// Encodes texts behind all interactive work, `at_once` of them in one go. Blocks; for a thread that has nothing else to do.
    pub(crate) fn encode_behind(
        &self,
        texts: &[String],
        role: TextRole,
        at_once: usize,
    ) -> Result<Vec<UnitVector>, EngineError> {
        let mut vectors = Vec::with_capacity(texts.len());
        for chunk in texts.chunks(at_once) {
            // One job at a time: the queue needs no permit for it.
            let answer = self.offer_bulk(chunk.to_vec(), role)?;
            vectors.extend(answer.blocking_recv().unwrap_or(Err(EngineError::Stopping))?.vectors);
        }
        Ok(vectors)
    }

    fn offer_bulk(&self, texts: Vec<String>, role: TextRole) -> Result<Answer, EngineError> {
        let (job, answer) = Job::new(Texts::Unread(texts, role), None);
        self.core.queue.offer_bulk(job).map_err(|cause| self.refuse(&cause))?;
        Ok(answer)
    }
}

type PendingJob<'a> = (&'a [usize], Answer, tokio::sync::SemaphorePermit<'a>);

async fn collect(job: PendingJob<'_>, vectors: &mut [Option<UnitVector>]) -> Result<(), EngineError> {
    let (texts, answer, _permit) = job;
    let encoded = answer.await.unwrap_or(Err(EngineError::Stopping))?;
    for (&text, vector) in texts.iter().zip(encoded.vectors) {
        vectors[text] = Some(vector);
    }
    Ok(())
}

#[cfg(test)]
mod interleavings;
#[cfg(test)]
mod tests;
