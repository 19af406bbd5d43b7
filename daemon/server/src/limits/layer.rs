//! Where a call meets its principal's limits: behind whoever authenticates, before everything else.

use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use tonic::Code;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tower::{Layer, Service};

use super::account::Open;
use super::{Account, Book};
use crate::caller::Caller;
use crate::ending::{Answer, OpenCall, follow};
use crate::rpc::limit_exceeded;
use crate::transport::{Peer, Transport};

/// Paths that are never refused: who watches a daemon must see it also when it refuses everything else.
const EXEMPT: [&str; 2] = ["/grpc.health.", "/grpc.reflection."];

/// Whose call it is and where it is counted; in the extensions of every call that is not exempt.
#[derive(Clone)]
pub(crate) struct Counted {
    pub(crate) principal: Arc<str>,
    pub(crate) account: Arc<Account>,
}

/// Adds [`Limit`] to a service.
#[derive(Clone)]
pub(crate) struct LimitLayer(Arc<Book>);

impl LimitLayer {
    pub(crate) fn new(book: Book) -> Self {
        Self(Arc::new(book))
    }
}

impl<S> Layer<S> for LimitLayer {
    type Service = Limit<S>;

    fn layer(&self, inner: S) -> Limit<S> {
        Limit { inner, book: Arc::clone(&self.0) }
    }
}

/// A service whose calls are counted.
#[derive(Clone)]
pub(crate) struct Limit<S> {
    inner: S,
    book: Arc<Book>,
}

impl<S> Service<Request<Body>> for Limit<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Answer<S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Answer<S::Error> {
        if EXEMPT.iter().any(|prefix| request.uri().path().starts_with(prefix)) {
            return Box::pin(self.inner.call(request));
        }
        let (principal, own) = match request.extensions().get::<Caller>() {
            Some(Caller { principal, limits, .. }) => (Arc::clone(principal), *limits),
            None => (anonymous(peer(&request)), None),
        };
        let account = self.book.account(&principal, own, Instant::now());
        let open = match account.open() {
            Ok(open) => open,
            Err(exceeded) => {
                let refusal = limit_exceeded(exceeded).into_http();
                return Box::pin(async move { Ok(refusal) });
            }
        };
        request.extensions_mut().insert(Counted { principal, account });
        Box::pin(follow(self.inner.call(request), open))
    }
}

fn peer(request: &Request<Body>) -> Option<IpAddr> {
    match request.extensions().get::<Arc<Peer>>()?.transport {
        Transport::Tcp(address) => Some(address.ip()),
        Transport::Unix { .. } => None,
    }
}

/// One name for all callers of an address. One network has more IPv6 addresses than can be counted: its first half is one peer.
fn anonymous(peer: Option<IpAddr>) -> Arc<str> {
    match peer.map(|address| address.to_canonical()) {
        None => "anonymous".into(),
        Some(IpAddr::V4(address)) => format!("anonymous@{address}").into(),
        Some(IpAddr::V6(address)) => {
            let [a, b, c, d, ..] = address.segments();
            format!("anonymous@{a:x}:{b:x}:{c:x}:{d:x}::/64").into()
        }
    }
}

impl OpenCall for Open {
    /// It is given back as soon as the call has ended, however that was.
    fn ended(&mut self, _code: Code) {}
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;

    use hyper::body::{Bytes, Frame};
    use tonic::Status;
    use tonic_types::StatusExt;
    use tower::service_fn;

    use super::*;
    use crate::limits::Limits;
    use crate::reread::DefaultLimits;

    #[test]
    fn peers_are_told_apart_by_address_and_by_network() {
        let name = |address: &str| anonymous(Some(address.parse().expect("an address")));
        assert_eq!(&*name("192.0.2.7"), "anonymous@192.0.2.7");
        assert_eq!(name("::ffff:192.0.2.7"), name("192.0.2.7"));
        assert_eq!(name("2001:db8:0:1::7"), name("2001:db8:0:1:ffff::8"));
        assert_ne!(name("2001:db8:0:1::7"), name("2001:db8:0:2::7"));
        assert_eq!(&*anonymous(None), "anonymous");
    }

    /// An answer that has not ended.
    struct Endless;

    impl tonic::codegen::Body for Endless {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            Poll::Pending
        }
    }

    #[tokio::test]
    async fn what_is_too_much_is_refused_by_principal_and_health_never_is() {
        let book = Book::new(DefaultLimits::new(Limits { concurrent: 1, ..Limits::default() }));
        let counted = service_fn(|request: Request<Body>| async move {
            let exempt = request.uri().path().starts_with("/grpc.health.");
            assert_eq!(request.extensions().get::<Counted>().is_none(), exempt);
            Ok::<_, Infallible>(Response::new(Body::new(Endless)))
        });
        let mut limited = LimitLayer::new(book).layer(counted);
        let request = |path: &str, principal: &str| {
            let caller = Caller { principal: principal.into(), tenant: "default".into(), permit: None, limits: None };
            Request::builder().uri(path).extension(caller).body(Body::empty()).expect("a request")
        };
        let matching = "/fitment.v1.MatcherService/Match";
        let first = limited.call(request(matching, "a")).await.expect("infallible");
        let refused = limited.call(request(matching, "a")).await.expect("infallible");
        let status = Status::from_header_map(refused.headers()).expect("a refusal");
        assert_eq!(status.code(), Code::ResourceExhausted);
        let details = status.get_error_details();
        assert_eq!(details.error_info().expect("details").reason, "TOO_MANY_CONCURRENT");
        assert!(details.retry_info().expect("RetryInfo").retry_delay.is_some());
        for call in [request(matching, "b"), request("/grpc.health.v1.Health/Check", "a")] {
            let other = limited.call(call).await.expect("infallible");
            assert!(Status::from_header_map(other.headers()).is_none());
        }
        drop(first);
        let again = limited.call(request(matching, "a")).await.expect("infallible");
        assert!(Status::from_header_map(again.headers()).is_none(), "the answer has ended");
    }
}
