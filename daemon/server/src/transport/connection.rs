//! One connection from its first byte to its end.

use std::convert::Infallible;
use std::error::Error;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, timeout_at};
use tokio_rustls::TlsAcceptor;
use tonic::body::Body;
use tower::Service;

use super::body::TimedBody;
use super::guarded::Guarded;
use super::peer::{Peer, TlsPeer, TlsVersion, Transport};
use super::settings::Http2Limits;
use super::socket::Bytes;
use super::stopped;
use super::tls::{ALPN, TlsStore};
use super::wire::{Offence, Wire, WireLimits};

/// How often a connection is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How long a client that has no call open may take to end a connection that it was asked to end.
const QUIET_GRACE: Duration = Duration::from_secs(5);

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The client went.
    Closed,
    /// The daemon stops.
    Stopped,
    /// It did not get as far as HTTP/2 in time.
    HandshakeTimeout,
    /// No TLS came about.
    TlsRefused,
    /// What came is not HTTP/2 as it should be.
    Protocol,
    /// It did not say that it lives.
    Keepalive,
    /// No call was open for too long.
    Idle,
    /// It became too old.
    Age,
    /// The client did what is not allowed.
    Offence(Offence),
}

impl End {
    /// The label in metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Stopped => "stopped",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::TlsRefused => "tls_refused",
            Self::Protocol => "protocol",
            Self::Keepalive => "keepalive",
            Self::Idle => "idle",
            Self::Age => "age",
            Self::Offence(Offence::WriteStalled) => "write_stalled",
            Self::Offence(Offence::AnswerStalled) => "answer_stalled",
            Self::Offence(Offence::Flood) => "control_frames",
        }
    }
}

/// What every connection of a listener is served with.
pub(super) struct Connections<S> {
    service: S,
    limits: Http2Limits,
    tls: Option<Arc<TlsStore>>,
    protocol: http2::Builder<TokioExecutor>,
}

impl<S> Connections<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    pub(super) fn new(service: S, limits: Http2Limits, tls: Option<Arc<TlsStore>>) -> Self {
        let mut protocol = http2::Builder::new(TokioExecutor::new());
        protocol
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.max_concurrent_streams)
            .max_header_list_size(limits.max_header_list_bytes)
            .initial_stream_window_size(limits.stream_window_bytes)
            .initial_connection_window_size(limits.connection_window_bytes)
            .max_frame_size(limits.max_frame_bytes)
            .max_send_buf_size(limits.send_buffer_bytes)
            .keep_alive_interval(limits.keepalive_interval)
            .keep_alive_timeout(limits.keepalive_timeout)
            .max_pending_accept_reset_streams(limits.max_pending_reset_streams)
            .max_local_error_reset_streams(limits.max_local_reset_streams);
        Self { service, limits, tls, protocol }
    }

    /// How its metrics call these connections.
    pub(super) fn transport(&self, is_unix: bool) -> &'static str {
        match (&self.tls, is_unix) {
            (_, true) => "unix",
            (Some(_), false) => "tls",
            (None, false) => "tcp",
        }
    }

    /// Serves one connection to its end. `age_factor`: of the age that it may have, 0.9 to 1.1.
    pub(super) async fn serve(
        &self,
        stream: Box<dyn Bytes>,
        transport: Transport,
        age_factor: f64,
        stop: watch::Receiver<bool>,
    ) -> End {
        let started = Instant::now();
        let greeting_until = started + self.limits.handshake;
        let (stream, tls): (Box<dyn Bytes>, _) = match &self.tls {
            None => (stream, None),
            Some(tls) => {
                let mut stopping = stop.clone();
                let handshake = tokio::select! {
                    handshake = timeout_at(greeting_until, handshake(tls, stream)) => handshake,
                    () = stopped(&mut stopping) => return End::Stopped,
                };
                match handshake {
                    Err(_elapsed) => return End::HandshakeTimeout,
                    Ok(Err(error)) => {
                        tracing::debug!(peer = %transport, %error, "no TLS came about");
                        return End::TlsRefused;
                    }
                    Ok(Ok((stream, tls))) => (stream, Some(tls)),
                }
            }
        };
        let wire = Arc::new(Mutex::new(Wire::new(
            WireLimits {
                write_stall: self.limits.write_stall,
                answer_stall: self.limits.answer_stall,
                control_frames_per_second: self.limits.control_frames_per_second,
                max_concurrent_streams: self.limits.max_concurrent_streams,
            },
            Instant::now(),
        )));
        let calls = Calls {
            service: self.service.clone(),
            peer: Arc::new(Peer { transport, tls }),
            message: self.limits.message,
        };
        let io = TokioIo::new(Guarded::new(stream, Arc::clone(&wire)));
        let watched = Watched { limits: self.limits, wire, greeting_until };
        let max_age = (!self.limits.max_age.is_zero()).then(|| started + self.limits.max_age.mul_f64(age_factor));
        watched.run(self.protocol.serve_connection(io, calls), max_age, stop).await
    }
}

/// A connection that was asked to end.
struct Closing {
    why: End,
    since: Instant,
}

/// A connection that speaks, and what is known of it.
struct Watched {
    limits: Http2Limits,
    wire: Arc<Mutex<Wire>>,
    greeting_until: Instant,
}

impl Watched {
    async fn run<I, S>(
        self,
        connection: http2::Connection<I, Calls<S>, TokioExecutor>,
        max_age: Option<Instant>,
        mut stop: watch::Receiver<bool>,
    ) -> End
    where
        I: hyper::rt::Read + hyper::rt::Write + Unpin,
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send + 'static,
    {
        let mut connection = pin!(connection);
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut closing: Option<Closing> = None;
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    return match (ended, closing) {
                        (Ok(()), None) => End::Closed,
                        (Ok(()), Some(closing)) => closing.why,
                        (Err(error), _) => self.why(&error),
                    };
                }
                () = stopped(&mut stop), if !matches!(closing, Some(Closing { why: End::Stopped, .. })) => {
                    if !self.wire.lock().is_greeted() {
                        return End::Stopped;
                    }
                    connection.as_mut().graceful_shutdown();
                    closing = Some(Closing { why: End::Stopped, since: Instant::now() });
                }
                now = look.tick() => match (self.check(now, max_age), &closing) {
                    (Some(Verdict::Cut(end)), _) => return end,
                    (_, Some(closing)) => if self.is_over(closing, now) { return closing.why },
                    (Some(Verdict::Close(why)), None) => {
                        connection.as_mut().graceful_shutdown();
                        closing = Some(Closing { why, since: now });
                    }
                    (None, None) => {}
                }
            }
        }
    }

    fn check(&self, now: Instant, max_age: Option<Instant>) -> Option<Verdict> {
        let wire = self.wire.lock();
        if let Err(offence) = wire.check(now) {
            return Some(Verdict::Cut(End::Offence(offence)));
        }
        if !wire.is_greeted() {
            return (now >= self.greeting_until).then_some(Verdict::Cut(End::HandshakeTimeout));
        }
        if max_age.is_some_and(|max_age| now >= max_age) {
            return Some(Verdict::Close(End::Age));
        }
        let limit = self.limits.idle;
        (!limit.is_zero() && wire.quiet(now).is_some_and(|quiet| quiet >= limit)).then_some(Verdict::Close(End::Idle))
    }

    /// Whether a connection that was asked to end has had its time. When the daemon stops it is that of the whole drain.
    fn is_over(&self, closing: &Closing, now: Instant) -> bool {
        if closing.why == End::Stopped {
            return false;
        }
        let closing_for = now.saturating_duration_since(closing.since);
        let is_quiet = self.wire.lock().open_streams() == 0;
        closing_for >= self.limits.age_grace || (is_quiet && closing_for >= QUIET_GRACE)
    }

    fn why(&self, error: &hyper::Error) -> End {
        if let Err(offence) = self.wire.lock().check(Instant::now()) {
            return End::Offence(offence);
        }
        if error.is_timeout() {
            return End::Keepalive;
        }
        tracing::debug!(%error, "a connection failed");
        let mut cause: Option<&(dyn Error + 'static)> = error.source();
        while let Some(error) = cause {
            if error.is::<io::Error>() {
                return End::Closed;
            }
            cause = error.source();
        }
        End::Protocol
    }
}

/// What a look at a connection has come to.
enum Verdict {
    /// It ends now.
    Cut(End),
    /// It takes no new calls and ends with those that it has.
    Close(End),
}

async fn handshake(tls: &TlsStore, stream: Box<dyn Bytes>) -> io::Result<(Box<dyn Bytes>, TlsPeer)> {
    let stream = TlsAcceptor::from(tls.current()).accept(stream).await?;
    let (_, session) = stream.get_ref();
    if session.alpn_protocol() != Some(ALPN) {
        return Err(io::Error::other("the client does not offer HTTP/2 (ALPN h2)"));
    }
    let version = match session.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_2) => TlsVersion::Tls12,
        Some(rustls::ProtocolVersion::TLSv1_3) => TlsVersion::Tls13,
        other => return Err(io::Error::other(format!("the version {other:?} is not spoken here"))),
    };
    let client_leaf_der = session.peer_certificates().and_then(<[_]>::first).map(|leaf| leaf.to_vec());
    Ok((Box::new(stream), TlsPeer { version, client_leaf_der }))
}

/// The calls of one connection.
struct Calls<S> {
    service: S,
    peer: Arc<Peer>,
    message: Duration,
}

impl<S> hyper::service::Service<Request<Incoming>> for Calls<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let mut request = request.map(|body| Body::new(TimedBody::new(body, self.message)));
        request.extensions_mut().insert(Arc::clone(&self.peer));
        let mut service = self.service.clone();
        Box::pin(async move {
            poll_fn(|context| service.poll_ready(context)).await?;
            service.call(request).await
        })
    }
}
