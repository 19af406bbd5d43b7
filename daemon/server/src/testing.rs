//! The services in process, over an engine whose model needs no weights: for tests here and in other packages.
//!
//! Calls pass what they pass in the daemon behind its transport (deadlines, details of errors, a gate that is open, limits); there
//! is no listener. Built for tests of this crate and with the feature `testing`, never into a release.

use std::convert::Infallible;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll};

use figment::Figment;
use figment::providers::Serialized;
use fitment_engine::{Engine, EngineOptions};
use fitment_models::{
    Architecture, Compute, Embedder, ModelDigest, ModelError, ModelInfo, Pooling, Tokens, UnitVector,
};
use tokio::sync::watch;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::service::Routes;
use tower::{Layer, Service};

use crate::config::{Config, RawConfig};
use crate::daemon;
use crate::gate::{Gate, GateLayer};
use crate::limits::{Book, Limit, LimitLayer};
use crate::reread::DefaultLimits;
use crate::rpc::{Edge, EdgeLayer, EngineSlot, Tenants};

/// Numbers in a vector of [`LetterCounts`].
pub const DIMENSION: usize = 32;

/// A model without weights: how often each letter is in a text. Equal texts are equal, similar ones are near.
pub struct LetterCounts(ModelInfo);

impl LetterCounts {
    /// The model.
    pub fn boxed() -> Box<dyn Embedder> {
        Box::new(Self(ModelInfo {
            name: "letter-counts".into(),
            digest: ModelDigest::of(b"letter-counts"),
            architecture: Architecture::Bert,
            dimension: DIMENSION,
            max_tokens: 64,
            pooling: Pooling::Mean,
            query_prefix: String::new(),
            document_prefix: String::new(),
            weight_bytes: 0,
            compute: Compute::default(),
        }))
    }
}

impl Embedder for LetterCounts {
    fn info(&self) -> &ModelInfo {
        &self.0
    }

    fn tokenize(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        // A text without a word has the one token that begins every text.
        Ok(std::iter::once(0).chain(text.chars().take(self.0.max_tokens - 1).map(u32::from)).collect())
    }

    fn embed_tokens(&self, texts: &[&Tokens]) -> Result<Vec<UnitVector>, ModelError> {
        let counted = |text: &&Tokens| {
            let mut vector = vec![0.0_f32; DIMENSION];
            for id in text.ids() {
                vector[*id as usize % DIMENSION] += 1.0;
            }
            let length = vector.iter().map(|count| count * count).sum::<f32>().sqrt();
            UnitVector::new(vector.into_iter().map(|count| count / length).collect::<Vec<_>>())
        };
        texts.iter().map(counted).collect()
    }
}

/// The configuration of a daemon whose every file lies in `folder`. The environment says nothing about it.
pub fn config(folder: &Path) -> anyhow::Result<Config> {
    let raw: RawConfig = Figment::from(Serialized::defaults(RawConfig::default()))
        .merge(("data_dir", folder.join("data")))
        .merge(("models_dir", folder.join("models")))
        .extract()?;
    Config::try_from(raw)
}

/// An engine on the configuration's folder, with [`LetterCounts`] and a clock that shows `now`, in seconds. Blocks: not for a
/// runtime's own thread.
pub fn open(config: &Config, now: &Arc<AtomicI64>) -> anyhow::Result<Engine> {
    let now = Arc::clone(now);
    let clock = move || {
        // What a test sets is in range, and the beginning is as good as any instant.
        jiff::Timestamp::from_second(now.load(Ordering::SeqCst)).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    };
    let options = EngineOptions {
        data_dir: config.data_dir.clone(),
        store: None,
        store_cache_bytes: fitment_engine::DEFAULT_STORE_CACHE_BYTES,
        ranking: config.ranking.clone(),
        second_embedder: None,
        encoder: config.encoder_limits,
        clock: Arc::new(clock),
        feedback: config.feedback,
        catalog: config.catalog,
        gaps: config.gaps,
    };
    Ok(Engine::open(options, LetterCounts::boxed(), &|_, _, _| {})?)
}

/// What answers calls; a client of `fitment-proto` takes it for its channel.
#[derive(Clone)]
pub struct Services(Edge<Gate<Limit<Routes>>>);

impl Service<Request<Body>> for Services {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.0.call(request)
    }
}

/// Every service over `engine`, and what ends streams that have no end of their own: a value of true, or being dropped.
pub fn services(config: &Config, engine: Engine) -> anyhow::Result<(Services, watch::Sender<bool>)> {
    let slot = EngineSlot::default();
    slot.fill(Tenants::open_to_all(engine));
    let (stop, stopping) = watch::channel(false);
    let routes = daemon::routes(config, &slot, &stopping)?;
    let calls = LimitLayer::new(Book::new(DefaultLimits::new(config.limits))).layer(routes);
    Ok((Services(EdgeLayer.layer(GateLayer::open().layer(calls))), stop))
}

/// Bytes that pass on a connection.
#[derive(Clone, Copy, Debug)]
pub enum Sent<'b> {
    /// From the client.
    ByClient(&'b [u8]),
    /// To the client.
    ByDaemon(&'b [u8]),
}

/// Streams that [`watch_connection`] takes for open at most: four for each that the protocol allows.
pub const MOST_STREAMS: usize = 4 * STREAMS as usize;

const STREAMS: u32 = 4;

/// What the watch beside the protocol's implementation makes of bytes that pass within a moment: streams that are open in the
/// end; `None` where it ends the connection.
pub fn watch_connection(pieces: &[Sent<'_>]) -> Option<usize> {
    crate::transport::watch(pieces, STREAMS)
}
