//! From a match to the book and the store: a match leaves its intent in a bounded queue; a thread of its own, or whoever reads
//! first, takes what has gathered into the book and writes what has changed in one commit.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use fitment_catalog::Digest;
use fitment_models::TextRole;
use parking_lot::{Condvar, Mutex};

use super::book::{Asked, Book, Day, IntentKey, StoredIntent, Tally, add, day_of, key_of, place};
use super::code::Code;
use super::{GapPolicy, GapText};
use crate::decisions::DecidedIntent;
use crate::encoder::Encoder;
use crate::engine::Clock;
use crate::error::EngineError;
use crate::gather::{Gathering, gather};
use crate::live::OnProgress;
use crate::pipeline::{MatchAnswer, Outcome};
use crate::store::Store;

/// Intents that may wait for the book.
const CAPACITY: usize = 4096;
/// How long an intent waits for others to be written with.
const GATHER: Duration = Duration::from_millis(200);
/// Bytes of a text that are kept.
const MAX_TEXT_BYTES: usize = 2000;
/// Texts that are encoded in one go when vectors are made again.
const ENCODED_AT_ONCE: usize = 16;

/// Takes intents that nothing met, and keeps them.
pub(crate) struct Gaps {
    shared: Arc<Shared>,
    policy: GapPolicy,
    dropped: AtomicU64,
    writer: Option<JoinHandle<()>>,
}

/// How gaps stand, within the retention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GapFigures {
    /// Gaps.
    pub gaps: usize,
    /// Gaps of which somebody said what closes them.
    pub linked: usize,
    /// Distinct intents that nothing met.
    pub intents: usize,
    /// How often they were asked.
    pub asked: u64,
    /// Unmet intents since the start that were lost before they were kept.
    pub lost: u64,
    /// All answers: zero, minimal, raw generation, candidates.
    pub answers: [u64; 4],
}

/// What the writer and everybody else share.
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    book: Mutex<Book>,
    store: Arc<Store>,
    clock: Clock,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Asked>,
    traffic: BTreeMap<Day, Tally>,
    lost: u64,
    stopping: bool,
    /// Digest of the model whose vectors the book compares; none while it is being changed.
    model: Option<String>,
}

impl Gathering for Queue {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.traffic.is_empty()
    }

    fn is_stopping(&self) -> bool {
        self.stopping
    }
}

impl Gaps {
    /// Reads the book and starts the writer. It ends, and what waits is written, when this is dropped. Vectors of another model
    /// are made again from their texts; intents without one are dropped.
    pub(crate) fn start(
        store: &Arc<Store>,
        policy: GapPolicy,
        encoder: &Encoder,
        clock: &Clock,
        on_progress: OnProgress<'_>,
    ) -> Result<Self, EngineError> {
        let (mut book, dropped) = read_book(store, policy, encoder, on_progress)?;
        book.forget(clock());
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue { model: Some(encoder.info().digest.to_string()), ..Queue::default() }),
            wake: Condvar::new(),
            book: Mutex::new(book),
            store: Arc::clone(store),
            clock: Arc::clone(clock),
        });
        shared.settle();
        let writer = (policy.intents > 0)
            .then(|| {
                let shared = Arc::clone(&shared);
                let spawned = thread::Builder::new().name("gaps".into()).spawn(move || shared.write());
                spawned.map_err(|source| EngineError::Io { path: "gap thread".into(), source })
            })
            .transpose()?;
        Ok(Self { shared, policy, dropped: dropped.into(), writer })
    }

    /// Makes the vectors of the book anew, by the model that serves from now on; what is asked meanwhile counts as lost. Blocks.
    pub(crate) fn change_model(&self, encoder: &Encoder, on_progress: OnProgress<'_>) -> Result<(), EngineError> {
        self.shared.queue.lock().model = None;
        self.shared.settle();
        let mut book = self.shared.book.lock();
        let (remade, dropped) = read_book(&self.shared.store, self.policy, encoder, on_progress)?;
        *book = remade;
        self.dropped.fetch_add(dropped, Ordering::Relaxed);
        self.shared.write_back(&mut book);
        self.shared.queue.lock().model = Some(encoder.info().digest.to_string());
        Ok(())
    }

    /// Takes note of an answer, and of its intent where nothing met it. Takes microseconds and no disk.
    pub(crate) fn remember(
        &self,
        now: jiff::Timestamp,
        model: &str,
        intent: &str,
        vector: &[f32],
        answer: &MatchAnswer,
        filtered: bool,
    ) {
        if self.writer.is_none() {
            return;
        }
        // What a filter leaves nothing for says something about the filter.
        let unmet = answer.outcome == Outcome::RawGeneration && !(filtered && answer.candidates.is_empty());
        let asked = unmet.then(|| asked(self.policy, intent, vector, now));
        let mut queue = self.shared.queue.lock();
        let first = queue.is_empty();
        queue.traffic.entry(day_of(now)).or_default()[place(answer.outcome)] += 1;
        if let Some(asked) = asked {
            let known = queue.model.as_deref() == Some(model);
            if queue.waiting.len() >= CAPACITY {
                queue.waiting.pop_front();
                queue.lost += 1;
            }
            if known {
                queue.waiting.push_back(asked);
            } else {
                queue.lost += 1;
            }
        }
        drop(queue);
        if first {
            self.shared.wake.notify_one();
        }
    }

    /// Reads or changes the book, with everything in it that was asked so far; what changes is written. Blocks.
    pub(super) fn with_book<T>(&self, work: impl FnOnce(&mut Book) -> T) -> T {
        self.shared.settle();
        let mut book = self.shared.book.lock();
        let done = work(&mut book);
        self.shared.write_back(&mut book);
        done
    }

    /// How the book stands. Blocks for what waits.
    pub(crate) fn figures(&self) -> GapFigures {
        let mut figures = self.with_book(|book| GapFigures {
            gaps: book.gaps.len(),
            linked: book.gaps.values().filter(|gap| gap.record.link.is_some()).count(),
            intents: book.intents.len(),
            asked: book.intents.values().map(|intent| intent.record.asked()).sum(),
            lost: 0,
            answers: book.traffic.values().fold([0; 4], |mut total, tally| {
                add(&mut total, tally);
                total
            }),
        });
        figures.lost = self.lost();
        figures
    }

    pub(super) fn store(&self) -> &Store {
        &self.shared.store
    }

    pub(super) fn policy(&self) -> GapPolicy {
        self.policy
    }

    /// Intents since the start that were dropped before they were kept.
    pub(super) fn lost(&self) -> u64 {
        self.shared.queue.lock().lost
    }

    /// Intents that were dropped at the start or when the model changed: of another model, and without their text.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for Gaps {
    fn drop(&mut self) {
        self.shared.queue.lock().stopping = true;
        self.shared.wake.notify_all();
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has nothing left to write.
            drop(writer.join());
        }
    }
}

impl Shared {
    /// The writer's thread.
    fn write(&self) {
        loop {
            let stopping = gather(&self.queue, &self.wake, GATHER).stopping;
            self.settle();
            if stopping {
                return;
            }
        }
    }

    /// Takes what waits into the book and writes what has changed.
    fn settle(&self) {
        let mut book = self.book.lock();
        let (waiting, traffic) = {
            let mut queue = self.queue.lock();
            (std::mem::take(&mut queue.waiting), std::mem::take(&mut queue.traffic))
        };
        if !waiting.is_empty() || !traffic.is_empty() {
            for (day, tally) in traffic {
                book.answered(day, tally);
            }
            for asked in waiting {
                book.ask(asked);
            }
            book.forget((self.clock)());
        }
        self.write_back(&mut book);
    }

    /// Writes what has changed; what cannot be written is tried again with the next change.
    fn write_back(&self, book: &mut Book) {
        if book.unwritten.is_empty() {
            return;
        }
        let unwritten = std::mem::take(&mut book.unwritten);
        let intents = unwritten
            .intents
            .iter()
            .map(|key| (*key, book.intents.get(key).map(|intent| (&intent.record, intent.code.to_bytes()))));
        let gaps = unwritten.gaps.iter().map(|id| (id.as_str(), book.gaps.get(id).map(|gap| &gap.record)));
        let traffic = unwritten.traffic.iter().map(|day| (*day, book.traffic.get(day).copied()));
        if let Err(error) = self.store.put_gaps(intents, gaps, traffic) {
            tracing::error!(%error, "gaps could not be written; they are kept in memory and tried again");
            book.unwritten = unwritten;
        }
    }
}

/// An intent as far as the policy keeps it. Its key is of its text, or of its vector where nothing of the text is kept.
fn asked(policy: GapPolicy, intent: &str, vector: &[f32], time: jiff::Timestamp) -> Asked {
    let code = Code::of(vector);
    let (text, key) = match policy.text {
        GapText::Keep => {
            // The longest beginning within the limit that ends with a whole character.
            let end = (0..=intent.len().min(MAX_TEXT_BYTES)).rev().find(|&end| intent.is_char_boundary(end));
            (DecidedIntent::Kept(intent[..end.unwrap_or(0)].to_owned()), key_of(intent.as_bytes()))
        }
        GapText::Hash => (DecidedIntent::Hashed(Digest::of(intent.as_bytes()).to_string()), key_of(intent.as_bytes())),
        GapText::Off => (DecidedIntent::Dropped, key_of(&code.to_bytes())),
    };
    Asked { key, text, code, time }
}

/// The book as it was written, and how many intents of another model were dropped from it.
fn read_book(
    store: &Store,
    policy: GapPolicy,
    encoder: &Encoder,
    on_progress: OnProgress<'_>,
) -> Result<(Book, u64), EngineError> {
    let (model, dimension) = (encoder.info().digest.to_string(), encoder.info().dimension);
    let mut book = Book::new(policy, model.clone(), dimension);
    let mut others: Vec<(IntentKey, StoredIntent)> = Vec::new();
    let mut dropped = 0;
    let reader = store.read()?;
    reader.gap_records(|id, record| book.restore_gap(id.to_owned(), record))?;
    reader.gap_traffic(|day, tally| add(book.traffic.entry(day).or_default(), &tally))?;
    reader.gap_intents(|key, record, bytes| match Code::from_bytes(bytes, dimension) {
        Some(code) if record.model == model => book.restore_intent(key, record, code),
        _ => others.push((key, record)),
    })?;
    let total = others.len() as u64;
    for (at, chunk) in others.chunks(ENCODED_AT_ONCE).enumerate() {
        let (kept, lost): (Vec<_>, Vec<_>) =
            chunk.iter().partition(|(_, record)| matches!(record.text, DecidedIntent::Kept(_)));
        let texts: Vec<String> = kept.iter().filter_map(|(_, record)| kept_text(record).map(str::to_owned)).collect();
        let vectors = encoder.encode_behind(&texts, TextRole::Query, ENCODED_AT_ONCE)?;
        for ((key, record), vector) in kept.into_iter().zip(vectors) {
            let record = StoredIntent { model: model.clone(), ..record.clone() };
            book.restore_intent(*key, record, Code::of(vector.as_slice()));
            book.unwritten.intents.insert(*key);
        }
        for (key, _) in lost {
            book.unwritten.intents.insert(*key);
            dropped += 1;
        }
        on_progress("making vectors of unmet intents again", (at * ENCODED_AT_ONCE) as u64, total);
    }
    if dropped > 0 {
        tracing::warn!(dropped, "unmet intents of another model had no text to be encoded again, and are dropped");
    }
    // Whose intents are all gone.
    let empty: Vec<String> =
        book.gaps.iter().filter(|(_, gap)| gap.members.is_empty()).map(|(id, _)| id.clone()).collect();
    for id in empty {
        book.gaps.remove(&id);
        book.unwritten.gaps.insert(id);
    }
    Ok((book, dropped))
}

/// The text of an intent, where it is kept.
pub(super) fn kept_text(record: &StoredIntent) -> Option<&str> {
    match &record.text {
        DecidedIntent::Kept(text) => Some(text),
        DecidedIntent::Hashed(_) | DecidedIntent::Dropped => None,
    }
}
