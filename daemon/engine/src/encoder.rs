//! The encoder's thread and its two bounded queues.
//!
//! async waits, this thread computes. Interactive work (intents) goes before bulk work (component texts), what waits is
//! encoded in one batch, and what nobody waits for any more is dropped before it is encoded.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, select, unbounded};
use fitment_models::{Embedder, ModelInfo, TextRole, UnitVector};
use tokio::sync::{Semaphore, oneshot};

use crate::error::EngineError;

/// Intents encoded in one batch at most.
const MAX_BATCH: usize = 32;
/// Texts of a bulk job: small, so that an intent never waits long behind one.
const BULK_CHUNK: usize = 16;
/// Bulk jobs that may wait.
const BULK_CAPACITY: usize = 64;

/// Encodes texts on a thread of its own.
pub struct Encoder {
    embedder: Arc<dyn Embedder>,
    interactive: Sender<Job>,
    bulk: Sender<Job>,
    bulk_permits: Semaphore,
    capacity: usize,
}

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

struct Job {
    texts: Vec<String>,
    role: TextRole,
    enqueued: Instant,
    reply: oneshot::Sender<Result<Encoded, EngineError>>,
}

impl Encoder {
    /// Starts the thread. It ends when the encoder is dropped.
    ///
    /// `capacity`: interactive jobs that may wait, at least 1.
    pub fn start(embedder: Box<dyn Embedder>, capacity: usize) -> Result<Self, EngineError> {
        let embedder: Arc<dyn Embedder> = embedder.into();
        let capacity = capacity.max(1);
        let (interactive, interactive_jobs) = bounded(capacity);
        // Bounded by `bulk_permits`.
        let (bulk, bulk_jobs) = unbounded();
        let worker = Worker { embedder: Arc::clone(&embedder), interactive: interactive_jobs, bulk: bulk_jobs };
        thread::Builder::new()
            .name("encoder".into())
            .spawn(move || worker.run())
            .map_err(|source| EngineError::Io { path: "encoder thread".into(), source })?;
        Ok(Self { embedder, interactive, bulk, bulk_permits: Semaphore::new(BULK_CAPACITY), capacity })
    }

    /// What the model is.
    pub fn info(&self) -> &ModelInfo {
        self.embedder.info()
    }

    /// Length of a text in tokens after truncation, and whether it fills the model's window.
    pub fn count_tokens(&self, text: &str) -> Result<(usize, bool), EngineError> {
        let tokens = self.embedder.count_tokens(text)?;
        Ok((tokens, tokens >= self.info().max_tokens))
    }

    /// How many interactive jobs may wait.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Encodes texts that somebody waits for. Refused at once when the queue is full; dropping the future drops the work.
    pub async fn encode(&self, texts: Vec<String>, role: TextRole) -> Result<Encoded, EngineError> {
        let (job, answer) = Job::new(texts, role);
        self.interactive.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => EngineError::Overloaded {
                queue: "encoder",
                capacity: self.capacity,
                retry_after: Duration::from_millis(250),
            },
            TrySendError::Disconnected(_) => EngineError::Stopping,
        })?;
        answer.await.unwrap_or(Err(EngineError::Stopping))
    }

    /// Encodes any number of texts behind all interactive work, waiting for room.
    pub async fn encode_bulk(&self, texts: &[String], role: TextRole) -> Result<Vec<UnitVector>, EngineError> {
        // Texts of like length in one job waste no padding.
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|&text| texts[text].len());
        let mut vectors: Vec<Option<UnitVector>> = vec![None; texts.len()];
        let mut pending = Vec::new();
        for chunk in order.chunks(BULK_CHUNK) {
            let permit = self.bulk_permits.acquire().await.map_err(|_closed| EngineError::Stopping)?;
            let (job, answer) = Job::new(chunk.iter().map(|&text| texts[text].clone()).collect(), role);
            self.bulk.send(job).map_err(|_closed| EngineError::Stopping)?;
            pending.push((chunk, answer, permit));
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
}

type PendingJob<'a> =
    (&'a [usize], oneshot::Receiver<Result<Encoded, EngineError>>, tokio::sync::SemaphorePermit<'a>);

async fn collect(job: PendingJob<'_>, vectors: &mut [Option<UnitVector>]) -> Result<(), EngineError> {
    let (texts, answer, _permit) = job;
    let encoded = answer.await.unwrap_or(Err(EngineError::Stopping))?;
    for (&text, vector) in texts.iter().zip(encoded.vectors) {
        vectors[text] = Some(vector);
    }
    Ok(())
}

impl Job {
    fn new(texts: Vec<String>, role: TextRole) -> (Self, oneshot::Receiver<Result<Encoded, EngineError>>) {
        let (reply, answer) = oneshot::channel();
        (Self { texts, role, enqueued: Instant::now(), reply }, answer)
    }
}

enum Next {
    Interactive(Job),
    Bulk(Job),
}

struct Worker {
    embedder: Arc<dyn Embedder>,
    interactive: Receiver<Job>,
    bulk: Receiver<Job>,
}

impl Worker {
    fn run(self) {
        loop {
            // Intents first; the queues close together when the encoder is dropped.
            let next = self.interactive.try_recv().map(Next::Interactive).or_else(|_empty| {
                select! {
                    recv(self.interactive) -> job => job.map(Next::Interactive),
                    recv(self.bulk) -> job => job.map(Next::Bulk),
                }
            });
            match next {
                Ok(Next::Interactive(first)) => self.encode_waiting(first),
                Ok(Next::Bulk(job)) => self.encode(vec![job]),
                Err(_closed) => return,
            }
        }
    }

    /// Encodes a job together with those that wait behind it.
    fn encode_waiting(&self, first: Job) {
        let mut texts = first.texts.len();
        let mut batch = vec![first];
        while texts < MAX_BATCH {
            let Ok(job) = self.interactive.try_recv() else { break };
            if job.role != batch[0].role || texts + job.texts.len() > MAX_BATCH {
                self.encode(std::mem::take(&mut batch));
                texts = 0;
            }
            texts += job.texts.len();
            batch.push(job);
        }
        self.encode(batch);
    }

    /// Encodes jobs of one role in one batch.
    fn encode(&self, mut batch: Vec<Job>) {
        batch.retain(|job| !job.reply.is_closed());
        let Some(role) = batch.first().map(|job| job.role) else { return };
        let started = Instant::now();
        let texts: Vec<&str> = batch.iter().flat_map(|job| job.texts.iter().map(String::as_str)).collect();
        match self.embedder.embed(&texts, role) {
            Ok(vectors) => {
                let encoding = started.elapsed();
                let mut vectors = vectors.into_iter();
                for job in batch {
                    let encoded = Encoded {
                        vectors: vectors.by_ref().take(job.texts.len()).collect(),
                        queued: started.duration_since(job.enqueued),
                        encoding,
                    };
                    // A caller that left in the meantime is nobody's loss.
                    drop(job.reply.send(Ok(encoded)));
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
                    drop(job.reply.send(Err(error.into())));
                }
            }
        }
    }
}
