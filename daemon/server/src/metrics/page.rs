//! The page: `GET /metrics` over HTTP/1.1, `/livez` and `/readyz` beside it, and nothing else.
//!
//! A scraper asks a few times a minute, so one request a connection is answered and everything is bounded: connections,
//! the size of a request's head, and how long a connection may last. Request bodies are never read.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::sample::sample;
use crate::rpc::EngineSlot;

/// The page.
const PATH: &str = "/metrics";
/// Whether the process runs: a daemon that fails this is to be restarted.
const LIVE: &str = "/livez";
/// Whether intents are answered: a daemon that fails this is to be sent nothing.
const READY: &str = "/readyz";
/// Prometheus' text format.
const TEXT_FORMAT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
/// Connections that are answered at once; the next ones wait to be taken.
const MAX_CONNECTIONS: usize = 4;
/// Bytes of a request's head; the library's least.
const MAX_HEAD_BYTES: usize = 8192;
/// Header lines of a request.
const MAX_HEADERS: usize = 32;
/// How long a connection may last, its request's head and the answer together.
const CONNECTION_LIMIT: Duration = Duration::from_secs(5);
/// How often samples of histograms are summed up, so that they take no memory when nobody asks for the page.
const UPKEEP: Duration = Duration::from_secs(1);
/// How long to wait when no connection can be taken, for example for want of file descriptors.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Serves the page until `stop` completes, then ends what is open within its limit.
pub(crate) async fn serve(
    listener: TcpListener,
    handle: PrometheusHandle,
    engine: EngineSlot,
    stop: impl Future<Output = ()> + Send,
) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut open = JoinSet::new();
    let mut upkeep = tokio::time::interval(UPKEEP);
    tokio::pin!(stop);
    loop {
        let accepted = async {
            let permit = Arc::clone(&room).acquire_owned().await;
            (listener.accept().await, permit)
        };
        tokio::select! {
            () = &mut stop => break,
            _ = upkeep.tick() => handle.run_upkeep(),
            Some(_) = open.join_next() => {}
            (accepted, permit) = accepted => match accepted {
                Ok((stream, _)) => {
                    let connection = answer_one(stream, handle.clone(), engine.clone());
                    open.spawn(async move {
                        connection.await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the metrics' listener takes no connection");
                    tokio::time::sleep(BACK_OFF).await;
                }
            }
        }
    }
    drop(listener);
    while open.join_next().await.is_some() {}
}

async fn answer_one(stream: TcpStream, handle: PrometheusHandle, engine: EngineSlot) {
    let service = service_fn(move |request| {
        let (handle, engine) = (handle.clone(), engine.clone());
        async move { Ok::<_, Infallible>(answer(&request, handle, engine).await) }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES)
        .timer(TokioTimer::new())
        .header_read_timeout(CONNECTION_LIMIT)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(CONNECTION_LIMIT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a request for metrics was refused"),
        Err(_elapsed) => tracing::debug!("a request for metrics took longer than {CONNECTION_LIMIT:?}"),
    }
}

async fn answer(request: &Request<Incoming>, handle: PrometheusHandle, engine: EngineSlot) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    if ![PATH, LIVE, READY].contains(&path) {
        return plain(StatusCode::NOT_FOUND, format!("only {PATH}, {LIVE} and {READY} are served here\n"));
    }
    if request.method() != Method::GET {
        let mut refusal = plain(StatusCode::METHOD_NOT_ALLOWED, format!("{path} is read with GET\n"));
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        return refusal;
    }
    match path {
        // That this is answered says it: the process runs and its runtime turns.
        LIVE => return plain(StatusCode::OK, "alive\n".to_owned()),
        READY if engine.is_ready() => return plain(StatusCode::OK, "ready\n".to_owned()),
        READY => return plain(StatusCode::SERVICE_UNAVAILABLE, "loading or shutting down\n".to_owned()),
        _ => {}
    }
    let page = tokio::task::spawn_blocking(move || {
        sample(engine.first().as_ref());
        handle.render()
    });
    match page.await {
        Ok(page) => {
            let mut response = Response::new(Full::from(page));
            response.headers_mut().insert(CONTENT_TYPE, TEXT_FORMAT);
            response
        }
        Err(error) => {
            tracing::error!(%error, "the page of metrics was lost");
            plain(StatusCode::INTERNAL_SERVER_ERROR, "the page could not be made\n".to_owned())
        }
    }
}

fn plain(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
