//! The transport: sockets, TLS, HTTP/2 and their limits.
//!
//! Everything between the network and a decoded gRPC call. `settings` are the keys; `socket` listens; `connection` takes one
//! connection from its handshake to its end, with `wire` beside it, which sees every frame and knows the limits that the
//! protocol's implementation has none for. What is served is any service of HTTP requests; each request carries its
//! [`Peer`]. `docs/transport.md` says what each limit stops.

mod address;
mod admission;
mod body;
mod connection;
mod frames;
mod guarded;
mod patience;
mod peer;
mod reload;
mod settings;
mod socket;
mod tls;
mod wire;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::{Request, Response};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::body::Body;
use tower::Service;

pub use self::address::ListenAddress;
pub use self::peer::{Peer, TlsPeer, TlsVersion, Transport};
pub use self::reload::{Reload, Reloads};
pub use self::settings::{
    ANONYMOUS_SENTENCE, ClientAuth, Http2Limits, METRICS_SENTENCE, PLAINTEXT_SENTENCE, TlsFiles, TransportConfig,
};
pub use self::socket::Socket;

pub(crate) use self::settings::{Consent, RawHttp2, RawListen, RawTls};
pub(crate) use self::socket::bind_tcp;
pub(crate) use self::tls::TlsStore;
#[cfg(any(test, feature = "testing"))]
pub(crate) use self::wire::watch;

use self::admission::{Admission, Full};
use self::connection::Connections;
use crate::metrics::{OpenConnection, connection_refused};

/// How long to wait when no connection can be taken, for example for want of file descriptors.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Serves what comes in on the sockets until `stop` says so, and then what is in flight.
///
/// Dropping the future cuts every connection.
pub(crate) async fn serve<S>(
    sockets: Vec<Socket>,
    tls: Option<Arc<TlsStore>>,
    limits: Http2Limits,
    service: S,
    stop: watch::Receiver<bool>,
) where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    let admission = Admission::new(limits.max_connections, limits.max_connections_per_peer);
    let mut listeners = JoinSet::new();
    for socket in sockets {
        let tls = if socket.is_unix() { None } else { tls.clone() };
        let connections = Arc::new(Connections::new(service.clone(), limits, tls));
        listeners.spawn(listen(socket, connections, Arc::clone(&admission), stop.clone()));
    }
    while let Some(ended) = listeners.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a listener was lost");
        }
    }
}

async fn listen<S>(
    socket: Socket,
    connections: Arc<Connections<S>>,
    admission: Arc<Admission>,
    stop: watch::Receiver<bool>,
) where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    let mut open = JoinSet::new();
    let mut stopping = stop.clone();
    loop {
        let (stream, transport) = tokio::select! {
            () = stopped(&mut stopping) => break,
            Some(_) = open.join_next() => continue,
            accepted = socket.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a listener takes no connection");
                    tokio::time::sleep(BACK_OFF).await;
                    continue;
                }
            }
        };
        let place = match admission.admit(&transport) {
            Ok(place) => place,
            Err(full) => {
                let reason = match full {
                    Full::Connections => "max_connections",
                    Full::Peer => "max_connections_per_peer",
                };
                connection_refused(reason);
                tracing::debug!(peer = %transport, reason, "a connection was refused");
                continue;
            }
        };
        let (connections, stop) = (Arc::clone(&connections), stop.clone());
        let meter = OpenConnection::new(connections.transport(socket.is_unix()));
        open.spawn(async move {
            let end = connections.serve(stream, transport, age_factor(), stop).await;
            tracing::debug!(peer = %transport, reason = end.name(), "a connection ended");
            meter.end(end.name());
            drop(place);
        });
    }
    drop(socket);
    while open.join_next().await.is_some() {}
}

/// Waits until the daemon stops.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // A sender that is gone means the same.
    drop(stop.wait_for(|&stop| stop).await);
}

/// 0.9 to 1.1, so that connections that came together do not go together.
fn age_factor() -> f64 {
    // Without a source of randomness nothing is jittered, which harms nobody.
    let random = getrandom::u32().unwrap_or(u32::MAX / 2);
    0.9 + 0.2 * f64::from(random) / f64::from(u32::MAX)
}
