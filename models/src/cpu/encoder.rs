//! Batches of token ids to pooled states, by whoever of the team is free.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::forward::{Pass, Plan};
use super::kernel::Kernel;
use super::parameters::{Parameters, unsupported};
use super::team::{NoTeam, PieceFailed, Progress, Team, Work};
use super::threads::{PinFailed, Threads};
use crate::error::ModelError;
use crate::load::{TransformerConfig, Weights};
use crate::recipe::Pooling;

/// Tokens that one thread takes through the whole model at a time when a batch is split by texts.
const GROUP: usize = 256;

/// A packed model and the threads that run it.
pub(crate) struct CpuEncoder {
    plan: Arc<Plan>,
    team: Team,
    weight_bytes: usize,
    /// Passes and crowds that are not in use, with their memory.
    passes: Pool<Pass>,
    crowds: Pool<Crowd>,
}

/// Why there is no encoder of this kind, or what is wrong with the model.
pub(crate) enum Refusal {
    /// A sound model of a shape that is left to candle.
    Unsupported(String),
    Failed(ModelError),
}

impl CpuEncoder {
    /// Packs `weights` for `kernel`, which is available here. `path` is the weights' file, for messages.
    pub(crate) fn new(
        config: &TransformerConfig,
        weights: &Weights,
        pooling: Pooling,
        kernel: Kernel,
        threads: Threads,
        path: &Path,
    ) -> Result<Self, Refusal> {
        if let Some(reason) = unsupported(config) {
            return Err(Refusal::Unsupported(reason));
        }
        let (parameters, packed) = Parameters::pack(config, weights, kernel, path).map_err(Refusal::Failed)?;
        let weight_bytes = packed + parameters.loose_bytes();
        let team = Team::new(threads).map_err(|error| {
            Refusal::Failed(match error {
                NoTeam::Io(source) => ModelError::io("start encoder threads for", path)(source),
                NoTeam::Pin(failed) => failed.into(),
            })
        })?;
        let plan = Arc::new(Plan::new(parameters, pooling, kernel));
        Ok(Self { plan, team, weight_bytes, passes: Pool::default(), crowds: Pool::default() })
    }

    pub(crate) fn threads(&self) -> usize {
        self.team.size()
    }

    /// Makes the calling thread, which is going to encode, run as the others do.
    pub(crate) fn adopt_caller(&self) -> Result<(), PinFailed> {
        self.team.adopt_caller()
    }

    /// Bytes of the packed weights and the embedding tables.
    pub(crate) fn weight_bytes(&self) -> usize {
        self.weight_bytes
    }

    /// Tells the team's threads that a batch is about to come.
    pub(crate) fn rouse(&self) {
        self.team.rouse();
    }

    /// Pooled states of `texts`, `[hidden]` each, handed to `take` in their order. Each text has at least one token and no
    /// more than the model has places; ids are under the vocabulary.
    ///
    /// # Errors
    /// [`PieceFailed`] when a thread panicked over it, which no input is known to bring about.
    pub(crate) fn encode<T: AsRef<[u32]>>(&self, texts: &[T], take: impl FnMut(&[f32])) -> Result<(), PieceFailed> {
        if texts.is_empty() {
            return Ok(());
        }
        let tokens: usize = texts.iter().map(|text| text.as_ref().len()).sum();
        // A short batch is one pass whose pieces all threads share. A long one is cut into groups of texts, which
        // threads take through the whole model by themselves: they meet once a batch instead of six times a layer.
        let groups = if tokens <= GROUP / 2 { 1 } else { tokens.div_ceil(GROUP).max(self.team.size()) };
        match groups.min(texts.len()) {
            1 => self.together(texts, take),
            groups => self.apart(texts, tokens.div_ceil(groups), take),
        }
    }

    fn together<T: AsRef<[u32]>>(&self, texts: &[T], take: impl FnMut(&[f32])) -> Result<(), PieceFailed> {
        let mut pass = self.passes.take(|| Pass::new(Arc::clone(&self.plan), self.team.size()));
        exclusive(&mut pass).begin(texts.iter().map(AsRef::as_ref));
        let outcome = self.team.run(&(Arc::clone(&pass) as Arc<dyn Work>));
        if outcome.is_ok() {
            pass.results().for_each(take);
        }
        self.passes.put(pass);
        outcome
    }

    fn apart<T: AsRef<[u32]>>(
        &self,
        texts: &[T],
        target: usize,
        mut take: impl FnMut(&[f32]),
    ) -> Result<(), PieceFailed> {
        let mut crowd = self.crowds.take(|| Crowd::new(&self.plan, self.team.size()));
        exclusive(&mut crowd).begin(texts, target);
        let outcome = self.team.run(&(Arc::clone(&crowd) as Arc<dyn Work>));
        if outcome.is_ok() {
            let hidden = self.plan.parameters.hidden;
            for group in crowd.groups() {
                lock(&group.results).chunks_exact(hidden).for_each(&mut take);
            }
        }
        self.crowds.put(crowd);
        outcome
    }
}

/// Groups of texts, each taken through the whole model by one thread.
struct Crowd {
    progress: Progress,
    ids: Vec<u32>,
    /// Those in use come first; the others keep their memory for a larger batch.
    kept: Vec<Group>,
    used: usize,
    /// The memory of each worker.
    passes: Vec<Mutex<Pass>>,
}

/// Texts that follow one another.
#[derive(Default)]
struct Group {
    /// Where the texts begin in `ids`, and where the last one ends.
    starts: Vec<usize>,
    /// `[texts][hidden]`
    results: Mutex<Vec<f32>>,
}

impl Crowd {
    fn new(plan: &Arc<Plan>, workers: usize) -> Self {
        Self {
            progress: Progress::default(),
            ids: Vec::new(),
            kept: Vec::new(),
            used: 0,
            passes: (0..workers).map(|_| Mutex::new(Pass::new(Arc::clone(plan), 1))).collect(),
        }
    }

    /// Cuts `texts` into groups of about `target` tokens.
    fn begin<T: AsRef<[u32]>>(&mut self, texts: &[T], target: usize) {
        self.ids.clear();
        self.used = 0;
        for text in texts {
            let (start, text) = (self.ids.len(), text.as_ref());
            self.ids.extend_from_slice(text);
            match self.kept[..self.used].last_mut() {
                Some(group) if start - group.starts[0] + text.len() / 2 < target => group.starts.push(self.ids.len()),
                _ => {
                    if self.used == self.kept.len() {
                        self.kept.push(Group::default());
                    }
                    self.kept[self.used].begin([start, self.ids.len()]);
                    self.used += 1;
                }
            }
        }
        let pieces = self.pieces(0);
        self.progress.reset(pieces);
    }

    fn groups(&self) -> &[Group] {
        &self.kept[..self.used]
    }
}

impl Group {
    /// Forgets what it held and takes up its first text.
    fn begin(&mut self, text: [usize; 2]) {
        self.starts.clear();
        self.starts.extend(text);
        self.results.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Work for Crowd {
    fn steps(&self) -> u32 {
        1
    }

    fn pieces(&self, _step: u32) -> u16 {
        u16::try_from(self.used).expect("a batch is bounded far below 65,536 groups")
    }

    fn run(&self, _step: u32, piece: u16, worker: usize) {
        let group = &self.groups()[usize::from(piece)];
        let mut pass = lock(&self.passes[worker]);
        pass.begin(group.starts.windows(2).map(|text| &self.ids[text[0]..text[1]]));
        pass.run_alone();
        let mut results = lock(&group.results);
        pass.results().for_each(|result| results.extend_from_slice(result));
    }

    fn progress(&self) -> &Progress {
        &self.progress
    }
}

/// Things that are made once and used again.
struct Pool<T>(Mutex<Vec<Arc<T>>>);

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Pool<T> {
    /// More callers at once than this make new ones.
    const KEPT: usize = 4;

    /// One that nobody else holds. A thread that came late to a work may hold it a moment longer than its caller.
    fn take(&self, make: impl FnOnce() -> T) -> Arc<T> {
        let mut kept = lock(&self.0);
        let free = kept.iter_mut().position(|item| Arc::get_mut(item).is_some());
        free.map_or_else(|| Arc::new(make()), |free| kept.swap_remove(free))
    }

    fn put(&self, item: Arc<T>) {
        let mut kept = lock(&self.0);
        if kept.len() < Self::KEPT {
            kept.push(item);
        }
    }
}

fn exclusive<T>(item: &mut Arc<T>) -> &mut T {
    Arc::get_mut(item).expect("the pool hands out what nobody else holds")
}

/// A panic while the lock was held leaves memory that the next user begins anew.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
