//! The engine: its parts, how they come up and how they end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fitment_index::SealScope;
use fitment_models::{Embedder, ModelInfo, TextRole};
use fitment_ranking::Ranker;
use parking_lot::{Mutex, RwLock};

use crate::admission::gate::{Gate, Pass};
use crate::admission::{CallContext, Patience, WorkClass};
use crate::assemblies::{Registry, RulesInForce};
use crate::calibration::Calibration;
use crate::certification::Trust;
use crate::denials::Denials;
use crate::economics::Economics;
use crate::encoder::{Encoded, Encoder, EncoderLimits};
use crate::error::EngineError;
use crate::feedback::{Feedback, FeedbackPolicy};
use crate::figures::CalibrationStanding;
use crate::gaps::{GapPolicy, Gaps};
use crate::live::{LiveIndex, OnProgress, SealPolicy};
use crate::migration::is_scratch_index;
use crate::near::CatalogPolicy;
use crate::permit::Viewer;
use crate::rank::Ranking;
use crate::second_stage::{SecondStage, SecondStageInfo};
use crate::store::{Revision, Store, StoreReader};
use crate::vector_cache::CacheUse;

/// Tells the time; tests bring their own.
pub type Clock = Arc<dyn Fn() -> jiff::Timestamp + Send + Sync>;

/// Searches of matches that run at once on the blocking pool, at most: one for each processor keeps the wait of all shortest.
const SEARCHES_AT_ONCE: usize = 8;
/// Other computations for calls that run at once. Some take long, so they have a gate of their own.
const READS_AT_ONCE: usize = 8;
/// Writes at once: those that wait for the disk together share a commit.
const WRITES_AT_ONCE: usize = 16;
/// Of each, how many may wait.
const COMPUTATIONS_WAITING: usize = 1024;

/// What an engine is made from.
pub struct EngineOptions {
    /// Folder of the store and the index caches.
    pub data_dir: PathBuf,
    /// The folder's store, where it is open already; `None`: it is opened.
    pub store: Option<Store>,
    /// Bytes of the store's pages in memory at most, where it is opened.
    pub store_cache_bytes: usize,
    /// Settings of the searches; checked by the caller with [`Ranking::fault`].
    pub ranking: Ranking,
    /// The second stage's model; `None`: off. Goes with [`Ranking::second_stage`].
    pub second_embedder: Option<Box<dyn Embedder>>,
    /// What each encoder may take.
    pub encoder: EncoderLimits,
    /// The time.
    pub clock: Clock,
    /// What is remembered of answers; checked by the caller with [`FeedbackPolicy::fault`].
    pub feedback: FeedbackPolicy,
    /// What is done about near-duplicates; checked by the caller with [`CatalogPolicy::fault`].
    pub catalog: CatalogPolicy,
    /// What is kept of unmet intents; checked by the caller with [`GapPolicy::fault`].
    pub gaps: GapPolicy,
}

/// Answers intents from a catalogue.
#[derive(Clone)]
pub struct Engine {
    /// What answers now; every handle points to the same, so that all see a change of the model at once.
    current: Arc<RwLock<Arc<Shared>>>,
    /// What this handle holds on to, whatever comes into force meanwhile.
    pinned: Option<Arc<Shared>>,
    /// Who looks through this handle.
    viewer: Viewer,
}

/// The parts that every request shares.
pub(crate) struct Shared {
    pub(crate) store: Arc<Store>,
    pub(crate) index: LiveIndex,
    pub(crate) encoder: Arc<Encoder>,
    /// `None`: off.
    pub(crate) second: Option<SecondStage>,
    pub(crate) ranking: Ranking,
    pub(crate) ranker: RankerState,
    pub(crate) calibration: CalibrationState,
    pub(crate) trust: Trust,
    pub(crate) clock: Clock,
    pub(crate) feedback: Arc<Feedback>,
    pub(crate) catalog_policy: CatalogPolicy,
    pub(crate) denials: Arc<Denials>,
    pub(crate) gaps: Arc<Gaps>,
    pub(crate) economics: Arc<Economics>,
    pub(crate) assemblies: Arc<Registry>,
    pub(crate) assembly_rules: Arc<RulesInForce>,
    /// Held from a commit to the end of its indexing, so that the index sees revisions in order.
    pub(crate) writing: Arc<Mutex<()>>,
    /// Another model serves; set where nobody writes. What would be written here goes to its successor.
    retired: AtomicBool,
    /// The revision that searches see, for those who follow.
    pub(crate) announced: Arc<tokio::sync::watch::Sender<Revision>>,
    /// Of matches.
    pub(crate) searches: Gate,
    /// Everything else that is computed for calls.
    pub(crate) reads: Gate,
    /// Before what is written.
    pub(crate) writes: Gate,
    patience: Patience,
}

/// What is being served.
#[derive(Clone, Debug)]
pub struct EngineInfo {
    /// The encoding model.
    pub model: ModelInfo,
    /// Commits so far.
    pub revision: Revision,
    /// Versions stored.
    pub versions: usize,
    /// Versions that may answer.
    pub matchable: usize,
    /// Vectors in the index; 0 for a viewer who may not see all of it.
    pub vectors: usize,
    /// Id of the calibration in force.
    pub calibration_id: Option<String>,
    /// What it promises, or why there is none.
    pub calibration: String,
    /// Matches that may wait.
    pub queue_capacity: usize,
    /// How remembered vectors have served.
    pub cache: CacheUse,
    /// The second stage; `None`: off.
    pub second_stage: Option<SecondStageInfo>,
}

impl Engine {
    /// Opens or creates the catalogue in `options.data_dir` and brings its index up. Blocks.
    ///
    /// Errors: a store in use, damaged, of another format or embedded by another model.
    pub fn open(
        options: EngineOptions,
        embedder: Box<dyn Embedder>,
        on_progress: OnProgress<'_>,
    ) -> Result<Self, EngineError> {
        let encoder = Encoder::start(embedder, "first", options.encoder)?;
        Self::open_with(options, encoder, on_progress)
    }

    /// The same beside another engine, on whose encoder's thread and model this one's texts are encoded. They share nothing
    /// else.
    pub fn open_beside(options: EngineOptions, other: &Self, on_progress: OnProgress<'_>) -> Result<Self, EngineError> {
        let encoder = other.shared().encoder.beside();
        Self::open_with(options, encoder, on_progress)
    }

    fn open_with(options: EngineOptions, encoder: Encoder, on_progress: OnProgress<'_>) -> Result<Self, EngineError> {
        let EngineOptions {
            data_dir,
            store,
            store_cache_bytes,
            ranking,
            second_embedder,
            encoder: limits,
            clock,
            feedback,
            catalog: catalog_policy,
            gaps,
        } = options;
        if second_embedder.is_some() != ranking.second_stage.is_on() {
            return Err(EngineError::Internal("the second stage is on without its model, or off with one".into()));
        }
        let (path, caches) = (data_dir.join("catalog.redb"), data_dir.join("index"));
        if !path.exists() && caches.exists() {
            let detail = format!("it is missing beside the index that was made from it ({})", caches.display());
            return Err(EngineError::StoreDamaged { path, detail });
        }
        let store = Arc::new(store.map_or_else(|| Store::open_with(&path, store_cache_bytes), Ok)?);
        sweep_indexes(&data_dir)?;
        store.bind_model(encoder.info())?;
        let index = LiveIndex::open(&store, &caches, encoder.info(), &ranking.fields, on_progress)?;
        let encoder = Arc::new(encoder);
        let budget = Duration::from_millis(ranking.second_stage.budget_ms);
        let second = second_embedder.map(|embedder| SecondStage::start(embedder, limits, budget)).transpose()?;
        let (second, woken) = second.unzip();
        let shared = Arc::new(Shared {
            ranker: RankerState::default(),
            calibration: CalibrationState::default(),
            feedback: Arc::new(Feedback::start(&store, feedback)?),
            catalog_policy,
            denials: Arc::default(),
            gaps: Arc::new(Gaps::start(&store, gaps, &encoder, &clock, on_progress)?),
            economics: Arc::new(Economics::start(&store)?),
            assemblies: Arc::default(),
            assembly_rules: Arc::new(RulesInForce::read(store.read()?.assembly_policies()?)?),
            store,
            index,
            encoder,
            second,
            ranking,
            trust: Trust::default(),
            clock,
            writing: Arc::default(),
            retired: AtomicBool::new(false),
            announced: Arc::new(tokio::sync::watch::Sender::new(0)),
            searches: search_gate(limits.patience),
            reads: read_gate(limits.patience),
            writes: write_gate(limits.patience),
            patience: limits.patience,
        });
        shared.bring_up_trust()?;
        shared.assemblies.bring_up(&shared)?;
        shared.announce();
        shared.refresh_ranker()?;
        shared.refresh_calibration()?;
        if let Some(woken) = woken {
            shared.bring_up_second_stage(woken)?;
        }
        LiveIndex::seal_in_background(&shared, SealPolicy::default())?;
        Ok(Self::of(shared))
    }

    /// What the model is.
    pub fn model(&self) -> ModelInfo {
        self.shared().encoder.info().clone()
    }

    /// The ranker in force.
    pub fn ranker(&self) -> Arc<Ranker> {
        self.shared().ranker.in_force()
    }

    /// The settings of the searches.
    pub fn ranking(&self) -> Ranking {
        self.shared().ranking.clone()
    }

    /// What is being served.
    pub fn info(&self) -> EngineInfo {
        let shared = self.shared();
        let (calibration, fault) = shared.calibration.in_force();
        let second_stage = self.second_stage();
        let index = shared.index.searchable();
        let seen = index.view.seen_by(&self.viewer);
        let matchable = index.view.matchable();
        EngineInfo {
            model: shared.encoder.info().clone(),
            revision: shared.index.revision(),
            versions: seen.as_ref().map_or(index.view.all().len(), |seen| seen.len()),
            matchable: seen.as_ref().map_or(matchable.len(), |seen| matchable.and(seen).len()),
            vectors: if seen.is_some() { 0 } else { index.dense.len_rows() },
            calibration_id: calibration.as_ref().map(|calibration| calibration.id.clone()),
            calibration: calibration.map_or(fault, |calibration| calibration.promise()),
            queue_capacity: shared.encoder.capacity(),
            cache: shared.encoder.cache_use(),
            second_stage,
        }
    }

    /// Encodes texts, as somebody's request. Returns the length of each in tokens after truncation, too.
    pub async fn embed(
        &self,
        texts: Vec<String>,
        role: TextRole,
        context: &CallContext,
    ) -> Result<(Encoded, Vec<usize>), EngineError> {
        let context = context.several();
        let shared = self.shared();
        let encoded = shared.encoder.encode(texts.clone(), role, &context).await?;
        let tokens = shared.encoder.count_all(texts, &context).await?;
        Ok((encoded, tokens))
    }

    /// Whether the catalogue holds a version of a component that may answer.
    pub fn has_component(&self, name: &fitment_catalog::ComponentName) -> bool {
        let shared = self.shared();
        let index = shared.index.searchable();
        index.view.versions(name).any(|(_, doc)| index.view.matchable().contains(doc))
    }

    /// Tags of a component's newest version that may answer.
    pub fn tags_of(&self, name: &fitment_catalog::ComponentName) -> Vec<String> {
        let shared = self.shared();
        let index = shared.index.searchable();
        let newest = index.view.versions(name).filter(|(_, doc)| index.view.matchable().contains(*doc)).last();
        newest.and_then(|(_, doc)| index.view.card(doc)).map(|card| card.tags.clone()).unwrap_or_default()
    }

    /// The calibration in force.
    pub fn calibration(&self) -> Option<Arc<Calibration>> {
        self.shared().calibration.in_force().0
    }

    /// Builds the graph of a large catalogue now instead of in the background. Blocks; small catalogues need none.
    pub fn seal_now(&self, on_progress: OnProgress<'_>) -> Result<(), EngineError> {
        self.shared().index.seal(SealScope::All, on_progress)
    }

    pub(crate) fn of(shared: Arc<Shared>) -> Self {
        Self { current: Arc::new(RwLock::new(shared)), pinned: None, viewer: Viewer::default() }
    }

    /// The same engine, for as long as the handle lives: its model does not change under work of several steps.
    #[must_use]
    pub fn pinned(&self) -> Self {
        Self { pinned: Some(self.shared()), ..self.clone() }
    }

    /// The same engine as somebody sees it.
    #[must_use]
    pub fn seen_by(&self, viewer: Viewer) -> Self {
        Self { viewer, ..self.clone() }
    }

    /// Who looks through this handle.
    pub fn viewer(&self) -> &Viewer {
        &self.viewer
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        self.pinned.clone().unwrap_or_else(|| self.current())
    }

    /// What answers now, whatever this handle holds on to: where writes go.
    pub(crate) fn current(&self) -> Arc<Shared> {
        Arc::clone(&self.current.read())
    }

    /// Has every handle that holds on to nothing answer with this from now on.
    pub(crate) fn point_to(&self, shared: Arc<Shared>) {
        *self.current.write() = shared;
    }

    /// Refuses to answer from before a revision.
    pub(crate) fn reached(&self, wanted: Revision) -> Result<(), EngineError> {
        let current = self.shared().index.revision();
        if wanted > current { Err(EngineError::RevisionNotReached { wanted, current }) } else { Ok(()) }
    }

    /// Runs a computation off the asynchronous threads, a bounded number at once.
    pub(crate) async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let shared = self.shared();
        let pass = shared.reads.enter(&CallContext::own(WorkClass::Several)).await?;
        off_the_runtime(pass, move || work(&shared)).await
    }

    /// Runs a write off the asynchronous threads. One that has begun is finished even when its caller leaves; one that would
    /// wait for too long is refused.
    pub(crate) async fn write_out<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let pass = self.shared().writes.enter(&CallContext::own(WorkClass::Several)).await?;
        off_the_runtime(pass, work).await
    }

    /// The same for a search that answers an intent.
    pub(crate) async fn search<T: Send + 'static>(
        &self,
        context: &CallContext,
        work: impl FnOnce(&Shared) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let shared = self.shared();
        let pass = shared.searches.enter(context).await?;
        off_the_runtime(pass, move || work(&shared)).await
    }
}

/// The computation holds its pass itself: when its caller leaves it goes on, and still counts.
async fn off_the_runtime<T: Send + 'static>(
    pass: Pass,
    work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
) -> Result<T, EngineError> {
    tokio::task::spawn_blocking(move || {
        let _pass = pass;
        work()
    })
    .await
    .map_err(|error| EngineError::Internal(format!("a computation was lost: {error}")))?
}

fn search_gate(patience: Patience) -> Gate {
    let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    Gate::new("search", processors.clamp(2, SEARCHES_AT_ONCE), COMPUTATIONS_WAITING, patience)
}

fn write_gate(patience: Patience) -> Gate {
    Gate::new("write", WRITES_AT_ONCE, COMPUTATIONS_WAITING, patience)
}

fn read_gate(patience: Patience) -> Gate {
    Gate::new("read", READS_AT_ONCE, COMPUTATIONS_WAITING, patience)
}

impl Shared {
    /// The same catalogue, answered with another model. Its trust, ranker, calibration and second stage are still
    /// to be brought up.
    pub(crate) fn with_model(&self, encoder: Arc<Encoder>, second: Option<SecondStage>, index: LiveIndex) -> Self {
        Self {
            store: Arc::clone(&self.store),
            index,
            encoder,
            second,
            ranking: self.ranking.clone(),
            ranker: RankerState::default(),
            calibration: CalibrationState::default(),
            trust: Trust::default(),
            clock: Arc::clone(&self.clock),
            feedback: Arc::clone(&self.feedback),
            catalog_policy: self.catalog_policy,
            denials: Arc::clone(&self.denials),
            gaps: Arc::clone(&self.gaps),
            economics: Arc::clone(&self.economics),
            assemblies: Arc::clone(&self.assemblies),
            assembly_rules: Arc::clone(&self.assembly_rules),
            writing: Arc::clone(&self.writing),
            retired: AtomicBool::new(false),
            announced: Arc::clone(&self.announced),
            searches: search_gate(self.patience),
            reads: read_gate(self.patience),
            writes: write_gate(self.patience),
            patience: self.patience,
        }
    }

    /// Whether another model serves. Asked where nobody else writes.
    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    /// Reads the model's ranker again; without one the shipped one ranks.
    pub(crate) fn refresh_ranker(&self) -> Result<(), EngineError> {
        let fitted = self.store.read()?.ranker(&self.encoder.info().digest.to_string());
        let mut ranker = match fitted {
            Ok(fitted) => fitted.map_or_else(|| Arc::clone(Ranker::shipped()), Arc::new),
            Err(error) => {
                // A worse ranking beats none, and the calibration falls with the ranker that it names.
                tracing::warn!(%error, "the stored ranker cannot be used, the shipped one ranks; fit it again");
                Arc::clone(Ranker::shipped())
            }
        };
        if self.second.is_some() {
            let with_second_stage = ranker.fusion.clone().with_second_stage();
            Arc::make_mut(&mut ranker).fusion = with_second_stage;
        }
        self.index.searchable_mut().view.set_ranker(Arc::clone(&ranker));
        *self.ranker.0.write() = ranker;
        Ok(())
    }

    /// Reads the model's calibration again and checks whether it still fits.
    pub(crate) fn refresh_calibration(&self) -> Result<(), EngineError> {
        let model_digest = self.encoder.info().digest.to_string();
        let second_stage = self.second.as_ref().map(SecondStage::digest).unwrap_or_default();
        let reader = self.store.read()?;
        let state = match reader.calibration(&model_digest)? {
            None => match calibrated_before(&reader)? {
                Some(fault) => InForce::Stale(fault),
                None => InForce::Absent(
                    "no calibration was fitted for this catalogue and model: candidates, and no promise".into(),
                ),
            },
            Some(calibration) => {
                let changed =
                    reader.changes_since(calibration.fitted_revision)?.len() as u64 + calibration.changed_before;
                let broken = reader.promise(&calibration.id)?.broken.map(|broken| broken.reason(&calibration.id));
                let ranker = self.ranker.in_force();
                self.feedback.set_reference(calibration.reference.as_ref());
                match calibration.staleness(&model_digest, &second_stage, &self.ranking, &ranker.id, changed).or(broken)
                {
                    None => InForce::Calibrated(Arc::new(calibration)),
                    Some(fault) => InForce::Stale(fault),
                }
            }
        };
        *self.calibration.0.write() = state;
        Ok(())
    }
}

/// Says that the promise was made for the model that served before, where there is one.
fn calibrated_before(reader: &StoreReader) -> Result<Option<String>, EngineError> {
    let Some(before) = reader.model_before()? else { return Ok(None) };
    Ok(reader.calibration(&before.digest)?.map(|calibration| {
        format!(
            "calibration {} was fitted with model {}, which served before; calibrate again, or go back with `fitment model rollback`",
            calibration.id, before.name
        )
    }))
}

/// The ranker in force.
#[derive(Debug)]
pub(crate) struct RankerState(RwLock<Arc<Ranker>>);

impl Default for RankerState {
    fn default() -> Self {
        Self(RwLock::new(Arc::clone(Ranker::shipped())))
    }
}

impl RankerState {
    /// The ranker.
    pub(crate) fn in_force(&self) -> Arc<Ranker> {
        Arc::clone(&self.0.read())
    }
}

/// The calibration in force, or why there is none.
#[derive(Debug, Default)]
pub(crate) struct CalibrationState(RwLock<InForce>);

#[derive(Debug)]
enum InForce {
    Calibrated(Arc<Calibration>),
    Stale(String),
    Absent(String),
}

impl Default for InForce {
    fn default() -> Self {
        Self::Absent("the catalogue is still loading".into())
    }
}

impl CalibrationState {
    /// The calibration, or `None` and the reason.
    pub(crate) fn in_force(&self) -> (Option<Arc<Calibration>>, String) {
        match &*self.0.read() {
            InForce::Calibrated(calibration) => (Some(Arc::clone(calibration)), String::new()),
            InForce::Stale(fault) | InForce::Absent(fault) => (None, fault.clone()),
        }
    }

    /// The same in one word.
    pub(crate) fn standing(&self) -> CalibrationStanding {
        match &*self.0.read() {
            InForce::Calibrated(_) => CalibrationStanding::InForce,
            InForce::Stale(_) => CalibrationStanding::Stale,
            InForce::Absent(_) => CalibrationStanding::Absent,
        }
    }
}

/// Removes the indexes that changes of the model made: the one in `index` catches up, or is built again.
fn sweep_indexes(data_dir: &Path) -> Result<(), EngineError> {
    let failed = |source| EngineError::Io { path: data_dir.to_path_buf(), source };
    for entry in std::fs::read_dir(data_dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if is_scratch_index(&entry.file_name().to_string_lossy()) && entry.file_type().map_err(failed)?.is_dir() {
            std::fs::remove_dir_all(entry.path()).map_err(failed)?;
        }
    }
    Ok(())
}

/// The machine's clock.
pub fn system_clock() -> jiff::Timestamp {
    jiff::Timestamp::now()
}
