//! The daemon: listener first, engine behind it, an end that drains.
//!
//! It opens no outbound socket. The listener and the shutdown come in from outside, so that a test can bind port 0.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use fitment_engine::{Engine, EngineOptions, OnProgress};
use fitment_models::ModelCache;
use fitment_proto::v1::assembly_service_server::AssemblyServiceServer;
use fitment_proto::v1::audit_service_server::AuditServiceServer;
use fitment_proto::v1::bundle_service_server::BundleServiceServer;
use fitment_proto::v1::catalog_service_server::CatalogServiceServer;
use fitment_proto::v1::certification_service_server::CertificationServiceServer;
use fitment_proto::v1::evaluation_service_server::EvaluationServiceServer;
use fitment_proto::v1::feedback_service_server::FeedbackServiceServer;
use fitment_proto::v1::gap_service_server::GapServiceServer;
use fitment_proto::v1::info_service_server::InfoServiceServer;
use fitment_proto::v1::matcher_service_server::MatcherServiceServer;
use fitment_proto::v1::model_service_server::ModelServiceServer;
use fitment_proto::v1::snapshot_service_server::SnapshotServiceServer;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tower::ServiceBuilder;

use crate::config::Config;
use crate::gate::{AccessStore, GateLayer};
use crate::limits::{Book, LimitLayer};
use crate::metrics::{self, CallMeterLayer, MatchMeters, Watched};
use crate::reread::{ConfigSource, DefaultLimits};
use crate::rpc::{
    AssemblyService, AuditService, BundleService, CatalogService, CertificationService, EdgeLayer, EngineSlot,
    EvaluationService, FeedbackService, GapService, InfoService, Jobs, MAX_CSV_BYTES, MAX_TREE_BYTES, MatcherService,
    ModelService, SnapshotService, Tenants, WireLimits,
};
use crate::traces::TraceLayer;
use crate::transport::{self, ListenAddress, Reload, Socket, TlsStore};

/// Largest answer.
const MAX_RESPONSE_BYTES: usize = 64 * 1024 * 1024;

/// Services whose health follows the engine.
const SERVICES: [&str; 12] = [
    "fitment.v1.AssemblyService",
    "fitment.v1.MatcherService",
    "fitment.v1.CatalogService",
    "fitment.v1.FeedbackService",
    "fitment.v1.GapService",
    "fitment.v1.EvaluationService",
    "fitment.v1.AuditService",
    "fitment.v1.CertificationService",
    "fitment.v1.SnapshotService",
    "fitment.v1.BundleService",
    "fitment.v1.ModelService",
    "fitment.v1.InfoService",
];

/// Opens the model and the catalogue. Blocks.
pub fn open_engine(config: &Config, on_progress: OnProgress<'_>) -> anyhow::Result<Engine> {
    open_catalog(config, None, on_progress)
}

/// The same; with the encoder of an engine that is open already, where that has the catalogue's model.
fn open_catalog(config: &Config, beside: Option<&Engine>, on_progress: OnProgress<'_>) -> anyhow::Result<Engine> {
    // A catalogue says itself what it is embedded by, and after a change of the model it is not what the configuration began with.
    let (store, stored) = if config.model_is_chosen {
        (None, None)
    } else {
        fitment_engine::stored_model(&config.data_dir, config.store_cache_bytes)?
    };
    let name = stored.map(|stored| stored.name).filter(|name| !name.is_empty()).unwrap_or_else(|| config.model.clone());
    let model = ModelCache::new(&config.models_dir).get(&name)?;
    let second = &config.ranking.second_stage;
    let second_embedder = second
        .is_on()
        .then(|| -> anyhow::Result<_> {
            let model = ModelCache::new(&config.models_dir).get(&second.model)?;
            Ok(fitment_models::load(&model, &config.encoder)?)
        })
        .transpose()
        .context("ranking.second_stage.model")?;
    let options = EngineOptions {
        data_dir: config.data_dir.clone(),
        store,
        store_cache_bytes: config.store_cache_bytes,
        ranking: config.ranking.clone(),
        second_embedder,
        encoder: config.encoder_limits,
        clock: Arc::new(fitment_engine::system_clock),
        feedback: config.feedback,
        catalog: config.catalog,
        gaps: config.gaps,
    };
    Ok(match beside.filter(|other| other.model().name == name) {
        Some(other) => Engine::open_beside(options, other, on_progress)?,
        None => Engine::open(options, fitment_models::load(&model, &config.encoder)?, on_progress)?,
    })
}

/// Opens the catalogues of all tenants. Blocks.
pub fn open_tenants(config: &Config, on_progress: OnProgress<'_>) -> anyhow::Result<Tenants> {
    let Some(file) = &config.access else { return Ok(Tenants::open_to_all(open_engine(config, on_progress)?)) };
    let access = AccessStore::open(file)?.current();
    let mut engines: BTreeMap<Arc<str>, Engine> = BTreeMap::new();
    for tenant in access.tenants() {
        let config = config.of_tenant(tenant);
        let beside = engines.values().next();
        let engine = open_catalog(&config, beside, on_progress).with_context(|| format!("tenant {tenant}"))?;
        engines.insert(Arc::from(tenant), engine);
    }
    Ok(Tenants::guarded(engines))
}

/// What the daemon listens with.
pub struct Listeners {
    grpc: Vec<Socket>,
    tls: Option<Arc<TlsStore>>,
    access: Option<Arc<AccessStore>>,
    metrics: Option<TcpListener>,
}

impl Listeners {
    /// Where calls are taken: one address at least, the one of `listen` first.
    pub fn addresses(&self) -> anyhow::Result<Vec<ListenAddress>> {
        self.grpc.iter().map(Socket::address).collect()
    }

    /// Whether TCP is taken with TLS only.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Where metrics are read.
    pub fn metrics_address(&self) -> anyhow::Result<Option<SocketAddr>> {
        Ok(self.metrics.as_ref().map(TcpListener::local_addr).transpose()?)
    }
}

/// Serves what `source` has configured until `shutdown` completes, then waits for calls in flight, at most `config.drain`, or until a second SIGTERM or
/// Ctrl-C. SIGHUP has files read again that can be.
///
/// `open` runs on a thread of its own while the listener already answers that the engine is loading; its failure ends
/// the daemon. `ready` runs once everything is served.
pub async fn serve(
    config: Config,
    source: ConfigSource,
    listeners: Listeners,
    open: impl FnOnce(&Config) -> anyhow::Result<Tenants> + Send + 'static,
    ready: impl FnOnce(&Tenants),
    shutdown: impl Future<Output = ()> + Send,
) -> anyhow::Result<()> {
    let Listeners { grpc, tls, access, metrics: metrics_listener } = listeners;
    let engine = EngineSlot::default();
    let (stop, stopping) = watch::channel(false);
    // Before anything that records.
    let recording =
        metrics_listener.map(|listener| Ok::<_, anyhow::Error>((listener, metrics::start()?))).transpose()?;
    let call_meters = if recording.is_some() {
        CallMeterLayer::on(&[fitment_proto::FILE_DESCRIPTOR_SET, tonic_health::pb::FILE_DESCRIPTOR_SET])?
    } else {
        CallMeterLayer::off()
    };
    let metrics_page = recording.map(|(listener, handle)| {
        let watched = Watched { engine: engine.clone(), access: access.clone() };
        tokio::spawn(metrics::serve(listener, handle, watched, stopped(stopping.clone())))
    });
    let traces = config.traces.as_ref().map_or_else(|| Ok(TraceLayer::off()), TraceLayer::on)?;
    let (reporter, health) = tonic_health::server::health_reporter();
    report_health(&reporter, ServingStatus::NotServing).await;
    let principals = DefaultLimits::new(config.limits);
    let gate = match &access {
        None => GateLayer::open(),
        Some(access) => GateLayer::guarded(Arc::clone(access), engine.clone(), principals.clone()),
    };
    let calls = ServiceBuilder::new()
        .layer(call_meters)
        .layer(traces)
        .layer(EdgeLayer)
        .layer(gate)
        // Behind the gate, which says who calls.
        .layer(LimitLayer::new(Book::new(principals.clone())))
        .service(routes(&config, &engine, &stopping)?.add_service(health).prepare());
    let reload = Reload::default();
    let _hangups = Owned(tokio::spawn(reload.clone().on_hangup()));
    let _settings = Owned(tokio::spawn(source.follow(principals, reload.listen())));
    let _certificates = tls.clone().map(|tls| Owned(tokio::spawn(tls.keep_up(reload.listen()))));
    let _principals = access.map(|access| Owned(tokio::spawn(access.follow(reload.listen()))));
    let mut serving = Owned(tokio::spawn(transport::serve(grpc, tls, config.transport.http2, calls, stopping)));
    let drain = config.drain;
    let opening = tokio::task::spawn_blocking(move || open(&config));
    tokio::pin!(shutdown);
    tokio::select! {
        opened = opening => {
            let opened = opened.context("the engine's thread was lost")??;
            let opened = engine.fill(opened);
            report_health(&reporter, ServingStatus::Serving).await;
            ready(&opened);
            shutdown.await;
        }
        () = &mut shutdown => {}
    }
    tracing::info!("shutting down: no new calls, waiting up to {drain:?} for those in flight");
    let again = termination();
    report_health(&reporter, ServingStatus::NotServing).await;
    stop.send_replace(true);
    let ending = async {
        let served = (&mut serving.0).await;
        if let Some(page) = metrics_page {
            page.await.context("the metrics' task was lost")?;
        }
        served.context("the server's task was lost")
    };
    tokio::select! {
        ended = ending => ended,
        () = tokio::time::sleep(drain) => {
            tracing::warn!("calls were still in flight after {drain:?}; they are cut off");
            Ok(())
        }
        () = again => {
            tracing::warn!("told to stop a second time; calls in flight are cut off");
            Ok(())
        }
    }
}

/// A task that ends when this is dropped.
struct Owned<T>(JoinHandle<T>);

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Every service of the protocol, each bounded in the size of its messages, and reflection.
pub(crate) fn routes(config: &Config, engine: &EngineSlot, stopping: &watch::Receiver<bool>) -> anyhow::Result<Routes> {
    /// Bytes of a message beside the one large field that it is about.
    const REST: usize = 2 << 20;
    let limits = WireLimits { max_request_bytes: config.max_request_bytes, max_response_bytes: MAX_RESPONSE_BYTES };
    macro_rules! bounded {
        ($service:expr) => {
            bounded!($service, 0)
        };
        ($service:expr, $largest_field:expr) => {
            $service
                .max_decoding_message_size(limits.max_request_bytes.max($largest_field))
                .max_encoding_message_size(limits.max_response_bytes)
        };
    }
    let descriptors = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(fitment_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let slot = || engine.clone();
    let matcher = MatcherService { engine: slot(), meters: MatchMeters::new() };
    let catalog = CatalogService { engine: slot(), limits, stopping: stopping.clone() };
    let evaluation = EvaluationService { engine: slot(), jobs: Jobs::default() };
    let folder = config.snapshots_dir.clone();
    let snapshots = SnapshotService { engine: slot(), folder, jobs: Jobs::default() };
    let models = ModelService {
        engine: slot(),
        models_dir: config.models_dir.clone(),
        encoder: config.encoder.clone(),
        limits: config.encoder_limits,
        jobs: Jobs::default(),
    };
    let bundles = BundleService { engine: slot(), jobs: Jobs::default() };
    let largest_manifest = usize::try_from(fitment_engine::MAX_MANIFEST_JSON_BYTES).unwrap_or(usize::MAX);
    let queue_capacity = config.encoder_limits.queue_capacity;
    let info = InfoService { engine: slot(), limits, queue_capacity };
    let certification = CertificationServiceServer::new(CertificationService { engine: slot() });
    let assemblies = AssemblyService { engine: slot(), stopping: stopping.clone() };
    let mut routes = Routes::builder();
    routes
        .add_service(descriptors().build_v1()?)
        .add_service(descriptors().build_v1alpha()?)
        .add_service(bounded!(MatcherServiceServer::new(matcher)))
        .add_service(bounded!(CatalogServiceServer::new(catalog)))
        .add_service(bounded!(certification, fitment_engine::MAX_EVIDENCE_BYTES + REST))
        .add_service(bounded!(FeedbackServiceServer::new(FeedbackService { engine: slot() })))
        .add_service(bounded!(GapServiceServer::new(GapService { engine: slot() })))
        .add_service(bounded!(AssemblyServiceServer::new(assemblies), MAX_TREE_BYTES + REST))
        .add_service(bounded!(EvaluationServiceServer::new(evaluation), MAX_CSV_BYTES + REST))
        .add_service(bounded!(AuditServiceServer::new(AuditService { engine: slot() })))
        .add_service(bounded!(SnapshotServiceServer::new(snapshots)))
        .add_service(bounded!(ModelServiceServer::new(models), MAX_CSV_BYTES + REST))
        .add_service(bounded!(BundleServiceServer::new(bundles), largest_manifest + REST))
        .add_service(bounded!(InfoServiceServer::new(info)));
    Ok(routes.routes())
}

async fn stopped(mut stopping: watch::Receiver<bool>) {
    // A sender that is gone means the same.
    drop(stopping.wait_for(|&stop| stop).await);
}

async fn report_health(reporter: &HealthReporter, status: ServingStatus) {
    for service in SERVICES {
        // The information service answers also while the rest is loading.
        let own = if service.ends_with("InfoService") { ServingStatus::Serving } else { status };
        reporter.set_service_status(service, own).await;
    }
    reporter.set_service_status("", status).await;
}

/// SIGXFSZ on Linux' common architectures, macOS and the BSDs.
const FILE_TOO_LARGE: i32 = 25;

/// Has a write beyond the limit on file sizes (`ulimit -f`) fail, which the store answers with an error, instead of ending the
/// process. Runs within the runtime.
pub fn outlive_file_limit() {
    use tokio::signal::unix::{SignalKind, signal};
    // The handler stays when nobody listens any more.
    if let Err(error) = signal(SignalKind::from_raw(FILE_TOO_LARGE)) {
        tracing::warn!(%error, "SIGXFSZ cannot be caught; a limit on file sizes would end the daemon");
    }
}

/// Completes on the next Ctrl-C or SIGTERM from now on, not only from when it is polled. Runs within the runtime.
pub fn termination() -> impl Future<Output = ()> + Send {
    use tokio::signal::unix::{Signal, SignalKind, signal};
    let watch = |kind: SignalKind, name: &str| match signal(kind) {
        Ok(signal) => Some(signal),
        Err(error) => {
            tracing::warn!(%error, "{name} cannot be watched");
            None
        }
    };
    let (interrupt, terminate) = (watch(SignalKind::interrupt(), "Ctrl-C"), watch(SignalKind::terminate(), "SIGTERM"));
    let next = async |signal: Option<Signal>| match signal {
        Some(mut signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    };
    async move {
        tokio::select! {
            () = next(interrupt) => {}
            () = next(terminate) => {}
        }
    }
}

/// Reads the certificates and binds the addresses that were configured.
pub async fn bind(config: &Config) -> anyhow::Result<Listeners> {
    let tls = match config.transport.tls.clone() {
        None => None,
        Some(files) => Some(Arc::new(TlsStore::open(files, Timestamp::now())?)),
    };
    let access = config.access.as_deref().map(AccessStore::open).transpose()?.map(Arc::new);
    let mut grpc = Vec::new();
    for address in &config.transport.listen {
        grpc.push(Socket::bind(address, config.transport.unix_mode).await?);
    }
    let metrics = match config.metrics {
        None => None,
        Some(address) => Some(transport::bind_tcp(address, "metrics.listen").await?),
    };
    Ok(Listeners { grpc, tls, access, metrics })
}
