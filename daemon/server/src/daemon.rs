//! The daemon: listener first, engine behind it, an end that drains.
//!
//! It opens no outbound socket. The listener and the shutdown come in from outside, so that a test can bind port 0.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use fitment_engine::{Engine, EngineOptions, OnProgress};
use fitment_models::ModelCache;
use fitment_proto::v1::audit_service_server::AuditServiceServer;
use fitment_proto::v1::catalog_service_server::CatalogServiceServer;
use fitment_proto::v1::certification_service_server::CertificationServiceServer;
use fitment_proto::v1::evaluation_service_server::EvaluationServiceServer;
use fitment_proto::v1::feedback_service_server::FeedbackServiceServer;
use fitment_proto::v1::info_service_server::InfoServiceServer;
use fitment_proto::v1::matcher_service_server::MatcherServiceServer;
use fitment_proto::v1::snapshot_service_server::SnapshotServiceServer;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::config::Config;
use crate::metrics::{self, CallMeterLayer, MatchMeters};
use crate::rpc::{
    AuditService, CatalogService, CertificationService, EdgeLayer, EngineSlot, EvaluationService, FeedbackService,
    InfoService, Jobs, MAX_CSV_BYTES, MatcherService, SnapshotService, WireLimits,
};

/// Largest answer.
const MAX_RESPONSE_BYTES: usize = 64 * 1024 * 1024;
/// Calls that one connection may have open.
const MAX_STREAMS: u32 = 1024;
/// Bytes of one call's headers.
const MAX_HEADER_BYTES: u32 = 16 * 1024;

/// Services whose health follows the engine.
const SERVICES: [&str; 8] = [
    "fitment.v1.MatcherService",
    "fitment.v1.CatalogService",
    "fitment.v1.FeedbackService",
    "fitment.v1.EvaluationService",
    "fitment.v1.AuditService",
    "fitment.v1.CertificationService",
    "fitment.v1.SnapshotService",
    "fitment.v1.InfoService",
];

/// Opens the model and the catalogue. Blocks.
pub(crate) fn open_engine(config: &Config, on_progress: OnProgress<'_>) -> anyhow::Result<Engine> {
    let model = ModelCache::new(&config.models_dir).get(&config.model)?;
    let embedder = fitment_models::load(&model, &config.encoder)?;
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
        ranking: config.ranking.clone(),
        second_embedder,
        encoder: config.encoder_limits,
        clock: Arc::new(fitment_engine::system_clock),
        feedback: config.feedback,
    };
    Ok(Engine::open(options, embedder, on_progress)?)
}

/// What the daemon listens with.
pub(crate) struct Listeners {
    grpc: TcpListener,
    metrics: Option<TcpListener>,
}

impl Listeners {
    /// Where calls are taken.
    pub(crate) fn address(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.grpc.local_addr()?)
    }

    /// Where metrics are read.
    pub(crate) fn metrics_address(&self) -> anyhow::Result<Option<SocketAddr>> {
        Ok(self.metrics.as_ref().map(TcpListener::local_addr).transpose()?)
    }
}

/// Serves until `shutdown` completes, then waits for calls in flight, at most `config.drain`.
///
/// `open` runs on a thread of its own while the listener already answers that the engine is loading; its failure ends
/// the daemon. `ready` runs once everything is served.
pub(crate) async fn serve(
    config: Config,
    listeners: Listeners,
    open: impl FnOnce(&Config) -> anyhow::Result<Engine> + Send + 'static,
    ready: impl FnOnce(&Engine),
    shutdown: impl Future<Output = ()> + Send,
) -> anyhow::Result<()> {
    let Listeners { grpc, metrics: metrics_listener } = listeners;
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
        tokio::spawn(metrics::serve(listener, handle, engine.clone(), stopped(stopping.clone())))
    });
    let limits = WireLimits { max_request_bytes: config.max_request_bytes, max_response_bytes: MAX_RESPONSE_BYTES };
    let (reporter, health) = tonic_health::server::health_reporter();
    report_health(&reporter, ServingStatus::NotServing).await;
    let descriptors = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(fitment_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let router = Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(60)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)))
        .max_concurrent_streams(MAX_STREAMS)
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        .layer(call_meters)
        .layer(EdgeLayer)
        .add_service(health)
        .add_service(descriptors().build_v1()?)
        .add_service(descriptors().build_v1alpha()?)
        .add_service(
            MatcherServiceServer::new(MatcherService { engine: engine.clone(), meters: MatchMeters::new() })
                .max_decoding_message_size(limits.max_request_bytes)
                .max_encoding_message_size(limits.max_response_bytes),
        )
        .add_service(
            CatalogServiceServer::new(CatalogService { engine: engine.clone(), limits, stopping: stopping.clone() })
                .max_decoding_message_size(limits.max_request_bytes)
                .max_encoding_message_size(limits.max_response_bytes),
        )
        .add_service(
            FeedbackServiceServer::new(FeedbackService { engine: engine.clone() })
                .max_decoding_message_size(limits.max_request_bytes)
                .max_encoding_message_size(limits.max_response_bytes),
        )
        .add_service(
            EvaluationServiceServer::new(EvaluationService { engine: engine.clone(), jobs: Jobs::default() })
                // A file of the largest size, and the rest of the message.
                .max_decoding_message_size(limits.max_request_bytes.max(MAX_CSV_BYTES + 4096))
                .max_encoding_message_size(limits.max_response_bytes),
        )
        .add_service(
            CertificationServiceServer::new(CertificationService { engine: engine.clone() })
                // Evidence of the largest size, and the rest of the message.
                .max_decoding_message_size(limits.max_request_bytes.max(fitment_engine::MAX_EVIDENCE_BYTES + (2 << 20)))
                .max_encoding_message_size(limits.max_response_bytes),
        )
        .add_service(
            AuditServiceServer::new(AuditService { engine: engine.clone() })
                .max_decoding_message_size(limits.max_request_bytes)
                .max_encoding_message_size(limits.max_response_bytes),
        )
        .add_service(
            SnapshotServiceServer::new(SnapshotService {
                engine: engine.clone(),
                folder: config.snapshots_dir.clone(),
                jobs: Jobs::default(),
            })
            .max_decoding_message_size(limits.max_request_bytes)
            .max_encoding_message_size(limits.max_response_bytes),
        )
        .add_service(
            InfoServiceServer::new(InfoService {
                engine: engine.clone(),
                limits,
                queue_capacity: config.encoder_limits.queue_capacity,
            })
            .max_decoding_message_size(limits.max_request_bytes)
            .max_encoding_message_size(limits.max_response_bytes),
        );
    let serving = tokio::spawn(router.serve_with_incoming_shutdown(
        // Answers are one small frame: waiting for more to send would cost 40 ms.
        TcpIncoming::from(grpc).with_nodelay(Some(true)),
        stopped(stopping),
    ));
    let drain = config.drain;
    let opening = tokio::task::spawn_blocking(move || open(&config));
    tokio::pin!(shutdown);
    tokio::select! {
        opened = opening => {
            let opened = opened.context("the engine's thread was lost")??;
            engine.fill(opened.clone());
            report_health(&reporter, ServingStatus::Serving).await;
            ready(&opened);
            shutdown.await;
        }
        () = &mut shutdown => {}
    }
    tracing::info!("shutting down: no new calls, waiting up to {drain:?} for those in flight");
    report_health(&reporter, ServingStatus::NotServing).await;
    stop.send_replace(true);
    let ending = async {
        let served = serving.await;
        if let Some(page) = metrics_page {
            page.await.context("the metrics' task was lost")?;
        }
        served.context("the server's task was lost")?.map_err(anyhow::Error::from)
    };
    match tokio::time::timeout(drain, ending).await {
        Ok(ended) => ended,
        Err(_elapsed) => {
            tracing::warn!("calls were still in flight after {drain:?}; they are cut off");
            Ok(())
        }
    }
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

/// Completes on Ctrl-C or SIGTERM.
pub(crate) async fn termination() {
    use tokio::signal::unix::{SignalKind, signal};
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => {
                terminate.recv().await;
            }
            Err(error) => {
                tracing::warn!(%error, "SIGTERM cannot be watched; stop the daemon with Ctrl-C");
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        result = tokio::signal::ctrl_c() => {
            if let Err(error) = result {
                tracing::warn!(%error, "Ctrl-C cannot be watched");
                std::future::pending::<()>().await;
            }
        }
        () = terminated => {}
    }
}

/// Binds the addresses that were configured.
pub(crate) async fn bind(config: &Config) -> anyhow::Result<Listeners> {
    let bind = async |address: SocketAddr, way_out: &str| {
        TcpListener::bind(address).await.with_context(|| {
            format!("cannot listen on {address}; is a daemon running there already? choose another with {way_out}")
        })
    };
    let grpc = bind(config.listen, "--listen 127.0.0.1:PORT").await?;
    let metrics = match config.metrics {
        None => None,
        Some(address) => Some(bind(address, "metrics.listen").await?),
    };
    Ok(Listeners { grpc, metrics })
}
