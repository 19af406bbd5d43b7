//! The encoder's thread and its two bounded queues.
//!
//! async waits, this thread computes. Interactive work (intents) goes before bulk work (component texts), what waits is
//! encoded in one batch, and what nobody waits for any more is dropped before it is encoded. Intents are read into tokens by
//! their own callers, and one whose vector is remembered never gets here.

use std::borrow::Cow;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, select, unbounded};
use fitment_models::{Embedder, ModelError, ModelInfo, TextRole, Tokens, UnitVector};
use tokio::sync::{Semaphore, oneshot};

use crate::error::EngineError;
use crate::figures::EncoderFigures;
use crate::meters::BatchMeters;
use crate::vector_cache::{CacheUse, VectorCache};

/// Intents encoded in one batch at most.
const MAX_BATCH: usize = 32;
/// Texts of a bulk job: small, so that an intent never waits long behind one.
const BULK_CHUNK: usize = 16;
/// Bulk jobs that may wait.
const BULK_CAPACITY: usize = 64;

/// What an encoder may take.
#[derive(Clone, Copy, Debug)]
pub struct EncoderLimits {
    /// Intents that may wait; at least 1.
    pub queue_capacity: usize,
    /// Bytes that remembered vectors of intents may take; 0: none are remembered.
    pub cache_bytes: usize,
    /// Tokens of a forward pass at most, at least 1; a longer text has one for itself.
    pub batch_tokens: usize,
}

/// Encodes texts on a thread of its own.
pub(crate) struct Encoder {
    name: &'static str,
    embedder: Arc<dyn Embedder>,
    interactive: Sender<Job>,
    bulk: Sender<Job>,
    bulk_permits: Semaphore,
    capacity: usize,
    cache: VectorCache,
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
    texts: Texts,
    enqueued: Instant,
    reply: oneshot::Sender<Result<Encoded, EngineError>>,
}

/// What a job encodes.
enum Texts {
    /// Read by whoever asks.
    Read(Vec<Tokens>),
    /// Many and long: read by the encoder's thread.
    Unread(Vec<String>, TextRole),
}

impl Texts {
    fn len(&self) -> usize {
        match self {
            Self::Read(texts) => texts.len(),
            Self::Unread(texts, _) => texts.len(),
        }
    }

    /// Tokens of the texts that were read.
    fn tokens(&self) -> usize {
        match self {
            Self::Read(texts) => texts.iter().map(|text| text.ids().len()).sum(),
            Self::Unread(..) => 0,
        }
    }

    fn read(&self, embedder: &dyn Embedder) -> Result<Cow<'_, [Tokens]>, ModelError> {
        match self {
            Self::Read(texts) => Ok(Cow::Borrowed(texts)),
            Self::Unread(texts, role) => texts.iter().map(|text| embedder.read(text, *role)).collect(),
        }
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
        let capacity = limits.queue_capacity.max(1);
        let (interactive, interactive_jobs) = bounded(capacity);
        // Bounded by `bulk_permits`.
        let (bulk, bulk_jobs) = unbounded();
        let worker = Worker {
            embedder: Arc::clone(&embedder),
            interactive: interactive_jobs,
            bulk: bulk_jobs,
            batch_tokens: limits.batch_tokens.max(1),
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
        let cache = VectorCache::new(limits.cache_bytes);
        Ok(Self { name, embedder, interactive, bulk, bulk_permits: Semaphore::new(BULK_CAPACITY), capacity, cache })
    }

    /// What the model is.
    pub(crate) fn info(&self) -> &ModelInfo {
        self.embedder.info()
    }

    /// Length of a text in tokens after truncation, and whether it fills the model's window.
    pub(crate) fn count_tokens(&self, text: &str) -> Result<(usize, bool), EngineError> {
        let tokens = self.embedder.count_tokens(text)?;
        Ok((tokens, tokens >= self.info().max_tokens))
    }

    /// How many interactive jobs may wait.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// How it stands.
    pub(crate) fn figures(&self) -> EncoderFigures {
        EncoderFigures {
            name: self.name,
            interactive_waiting: self.interactive.len(),
            bulk_waiting: self.bulk.len(),
            queue_capacity: self.capacity,
            cache: self.cache_use(),
        }
    }

    /// How the remembered vectors have served.
    pub(crate) fn cache_use(&self) -> CacheUse {
        self.cache.used()
    }

    /// Encodes texts that somebody waits for. Refused at once when the queue is full; dropping the future drops the work.
    pub(crate) async fn encode(&self, texts: Vec<String>, role: TextRole) -> Result<Encoded, EngineError> {
        let mut vectors: Vec<Option<UnitVector>> = texts.iter().map(|text| self.cache.get(role, text)).collect();
        let missing: Vec<usize> = (0..texts.len()).filter(|&text| vectors[text].is_none()).collect();
        let (mut queued, mut encoding) = (Duration::ZERO, Duration::ZERO);
        if !missing.is_empty() {
            // Threads that sleep wake while the text is read.
            self.embedder.expect_batch();
            let read = missing.iter().map(|&text| self.embedder.read(&texts[text], role)).collect::<Result<_, _>>()?;
            let encoded = self.ask(Texts::Read(read)).await?;
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

    async fn ask(&self, texts: Texts) -> Result<Encoded, EngineError> {
        let (job, answer) = Job::new(texts);
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
    pub(crate) async fn encode_bulk(&self, texts: &[String], role: TextRole) -> Result<Vec<UnitVector>, EngineError> {
        // Texts of like length in one job waste no padding.
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|&text| texts[text].len());
        let mut vectors: Vec<Option<UnitVector>> = vec![None; texts.len()];
        let mut pending = Vec::new();
        for chunk in order.chunks(BULK_CHUNK) {
            let permit = self.bulk_permits.acquire().await.map_err(|_closed| EngineError::Stopping)?;
            let unread = chunk.iter().map(|&text| texts[text].clone()).collect();
            let (job, answer) = Job::new(Texts::Unread(unread, role));
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
            let (job, answer) = Job::new(Texts::Unread(chunk.to_vec(), role));
            self.bulk.send(job).map_err(|_closed| EngineError::Stopping)?;
            vectors.extend(answer.blocking_recv().unwrap_or(Err(EngineError::Stopping))?.vectors);
        }
        Ok(vectors)
    }
}

type PendingJob<'a> = (&'a [usize], oneshot::Receiver<Result<Encoded, EngineError>>, tokio::sync::SemaphorePermit<'a>);

async fn collect(job: PendingJob<'_>, vectors: &mut [Option<UnitVector>]) -> Result<(), EngineError> {
    let (texts, answer, _permit) = job;
    let encoded = answer.await.unwrap_or(Err(EngineError::Stopping))?;
    for (&text, vector) in texts.iter().zip(encoded.vectors) {
        vectors[text] = Some(vector);
    }
    Ok(())
}

impl Job {
    fn new(texts: Texts) -> (Self, oneshot::Receiver<Result<Encoded, EngineError>>) {
        let (reply, answer) = oneshot::channel();
        (Self { texts, enqueued: Instant::now(), reply }, answer)
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
    batch_tokens: usize,
    interactive_meters: BatchMeters,
    bulk_meters: BatchMeters,
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
                Ok(Next::Bulk(job)) => self.encode(vec![job], &self.bulk_meters),
                Err(_closed) => return,
            }
        }
    }

    /// Encodes a job together with those that wait behind it.
    fn encode_waiting(&self, first: Job) {
        let (mut texts, mut tokens) = (first.texts.len(), first.texts.tokens());
        let mut batch = vec![first];
        while texts < MAX_BATCH && tokens < self.batch_tokens {
            let Ok(job) = self.interactive.try_recv() else { break };
            let (more_texts, more_tokens) = (job.texts.len(), job.texts.tokens());
            if texts + more_texts > MAX_BATCH || tokens + more_tokens > self.batch_tokens {
                self.encode(std::mem::take(&mut batch), &self.interactive_meters);
                (texts, tokens) = (0, 0);
            }
            texts += more_texts;
            tokens += more_tokens;
            batch.push(job);
        }
        self.encode(batch, &self.interactive_meters);
    }

    /// Encodes jobs in one batch, or in several where they are more tokens than one may have.
    fn encode(&self, mut batch: Vec<Job>, meters: &BatchMeters) {
        batch.retain(|job| !job.reply.is_closed());
        if batch.is_empty() {
            return;
        }
        let started = Instant::now();
        let read: Result<Vec<_>, _> = batch.iter().map(|job| job.texts.read(&*self.embedder)).collect();
        let vectors = read.and_then(|read| {
            let texts: Vec<&Tokens> = read.iter().flat_map(|texts| texts.iter()).collect();
            self.embed(&texts, meters)
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
                    // A caller that left in the meantime is nobody's loss.
                    drop(job.reply.send(Ok(encoded)));
                }
            }
            // One text must not fail its neighbours: each job is tried alone.
            Err(_) if batch.len() > 1 => {
                for job in batch {
                    self.encode(vec![job], meters);
                }
            }
            Err(error) => {
                if let Some(job) = batch.pop() {
                    drop(job.reply.send(Err(error.into())));
                }
            }
        }
    }

    /// Encodes texts in as many forward passes as the tokens of one allow.
    fn embed(&self, texts: &[&Tokens], meters: &BatchMeters) -> Result<Vec<UnitVector>, ModelError> {
        let mut vectors = Vec::with_capacity(texts.len());
        let mut rest = texts;
        while !rest.is_empty() {
            let started = Instant::now();
            let (count, tokens) = pass_of(rest, self.batch_tokens);
            let (now, later) = rest.split_at(count);
            vectors.append(&mut self.embedder.embed_tokens(now)?);
            meters.encoded(count, tokens, started.elapsed());
            rest = later;
        }
        Ok(vectors)
    }
}

/// How many of the first texts make up a forward pass of at most `batch_tokens` tokens, at least one, and their tokens.
fn pass_of(texts: &[&Tokens], batch_tokens: usize) -> (usize, usize) {
    let (mut count, mut tokens) = (0, 0);
    for text in texts {
        let more = text.ids().len();
        if count > 0 && tokens + more > batch_tokens {
            break;
        }
        count += 1;
        tokens += more;
    }
    (count, tokens)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use parking_lot::Mutex;

    use super::*;

    /// Notes every batch, and waits at a gate before it answers.
    struct Gated {
        info: ModelInfo,
        gate: Mutex<mpsc::Receiver<()>>,
        batches: mpsc::Sender<Vec<String>>,
    }

    impl Embedder for Gated {
        fn info(&self) -> &ModelInfo {
            &self.info
        }

        fn tokenize(&self, text: &str) -> Result<Vec<u32>, ModelError> {
            Ok(text.bytes().map(u32::from).collect())
        }

        fn embed_tokens(&self, texts: &[&Tokens]) -> Result<Vec<UnitVector>, ModelError> {
            let text = |tokens: &&Tokens| tokens.ids().iter().filter_map(|&id| char::from_u32(id)).collect();
            self.batches.send(texts.iter().map(text).collect()).expect("the test listens");
            self.gate.lock().recv().expect("the test opens the gate");
            texts.iter().map(|_| UnitVector::new(vec![1.0, 0.0])).collect()
        }
    }

    fn gated(capacity: usize) -> (Arc<Encoder>, mpsc::Sender<()>, mpsc::Receiver<Vec<String>>) {
        gated_within(capacity, 4096)
    }

    fn gated_within(
        capacity: usize,
        batch_tokens: usize,
    ) -> (Arc<Encoder>, mpsc::Sender<()>, mpsc::Receiver<Vec<String>>) {
        let (open, gate) = mpsc::channel();
        let (batches, seen) = mpsc::channel();
        let info = ModelInfo {
            name: "gated".into(),
            digest: fitment_models::ModelDigest::of(b"gated"),
            architecture: fitment_models::Architecture::Bert,
            dimension: 2,
            max_tokens: 8,
            pooling: fitment_models::Pooling::Mean,
            query_prefix: String::new(),
            document_prefix: String::new(),
            weight_bytes: 0,
            compute: fitment_models::Compute::default(),
        };
        let limits = EncoderLimits { queue_capacity: capacity, cache_bytes: 1 << 20, batch_tokens };
        let embedder = Gated { info, gate: Mutex::new(gate), batches };
        (Arc::new(Encoder::start(Box::new(embedder), "first", limits).expect("a thread")), open, seen)
    }

    fn ask(encoder: &Arc<Encoder>, text: &str) -> tokio::task::JoinHandle<Result<Encoded, EngineError>> {
        let (encoder, text) = (Arc::clone(encoder), text.to_owned());
        tokio::spawn(async move { encoder.encode(vec![text], TextRole::Query).await })
    }

    /// Lets spawned tasks run until they wait.
    async fn settle() {
        for _ in 0..16 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn what_waits_is_one_batch_and_work_whose_caller_left_is_never_encoded() {
        let (encoder, open, seen) = gated(8);
        let first = ask(&encoder, "first");
        settle().await;
        assert_eq!(seen.recv().expect("a batch"), ["first"]);
        let (second, left, third) = (ask(&encoder, "second"), ask(&encoder, "left"), ask(&encoder, "third"));
        settle().await;
        left.abort();
        settle().await;
        open.send(()).expect("open");
        assert_eq!(seen.recv().expect("a batch"), ["second", "third"]);
        open.send(()).expect("open");
        for answer in [first, second, third] {
            assert_eq!(answer.await.expect("joined").expect("encoded").vectors.len(), 1);
        }
    }

    #[tokio::test]
    async fn a_pass_holds_no_more_tokens_than_it_may() {
        // A token is a letter here.
        let (encoder, open, seen) = gated_within(8, 12);
        let mut answers = vec![ask(&encoder, "first")];
        settle().await;
        assert_eq!(seen.recv().expect("a batch"), ["first"]);
        for text in ["second", "third", "fourth", "a longer text than that", "fifth"] {
            answers.push(ask(&encoder, text));
        }
        let together = {
            let encoder = Arc::clone(&encoder);
            let texts = ["one", "two", "three", "four", "five"].map(str::to_owned).to_vec();
            tokio::spawn(async move { encoder.encode(texts, TextRole::Query).await })
        };
        settle().await;
        for _ in 0..7 {
            open.send(()).expect("open");
        }
        for answer in answers {
            assert_eq!(answer.await.expect("joined").expect("encoded").vectors.len(), 1);
        }
        assert_eq!(together.await.expect("joined").expect("encoded").vectors.len(), 5);
        let batches: Vec<Vec<String>> = seen.try_iter().collect();
        let expect: [&[&str]; 6] = [
            &["second", "third"],
            &["fourth"],
            &["a longer text than that"],
            &["fifth"],
            &["one", "two", "three"],
            &["four", "five"],
        ];
        assert_eq!(batches, expect);
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once() {
        let (encoder, open, seen) = gated(1);
        let running = ask(&encoder, "running");
        settle().await;
        assert_eq!(seen.recv().expect("a batch"), ["running"]);
        let waiting = ask(&encoder, "waiting");
        settle().await;
        let refused = ask(&encoder, "refused").await.expect("joined");
        assert!(matches!(refused, Err(EngineError::Overloaded { capacity: 1, .. })), "{refused:?}");
        open.send(()).expect("open");
        open.send(()).expect("open");
        running.await.expect("joined").expect("encoded");
        waiting.await.expect("joined").expect("encoded");
    }

    #[tokio::test]
    async fn intents_go_before_bulk_work() {
        let (encoder, open, seen) = gated(8);
        let texts: Vec<String> = (0..BULK_CHUNK * 3).map(|n| format!("text {n:02}")).collect();
        let bulk = {
            let encoder = Arc::clone(&encoder);
            tokio::spawn(async move { encoder.encode_bulk(&texts, TextRole::Document).await })
        };
        settle().await;
        assert_eq!(seen.recv().expect("a batch").len(), BULK_CHUNK);
        let intent = ask(&encoder, "intent");
        settle().await;
        for _ in 0..4 {
            open.send(()).expect("open");
        }
        assert_eq!(seen.recv().expect("a batch"), ["intent"], "before the second bulk job");
        intent.await.expect("joined").expect("encoded");
        assert_eq!(bulk.await.expect("joined").expect("encoded").len(), BULK_CHUNK * 3);
    }

    #[tokio::test]
    async fn what_was_encoded_is_remembered_by_role() {
        let (encoder, open, seen) = gated(8);
        for _ in 0..3 {
            open.send(()).expect("open");
        }
        ask(&encoder, "again").await.expect("joined").expect("encoded");
        let both = encoder.encode(vec!["again".into(), "new".into()], TextRole::Query).await.expect("encoded");
        assert_eq!(both.vectors.len(), 2);
        encoder.encode(vec!["again".into()], TextRole::Document).await.expect("encoded");
        let batches: Vec<Vec<String>> = seen.try_iter().collect();
        assert_eq!(batches, [["again"], ["new"], ["again"]]);
        let CacheUse { hits, misses, .. } = encoder.cache_use();
        assert_eq!((hits, misses), (1, 3));
    }
}
