//! What every call passes first and every answer last: the deadline, and errors that always carry an `ErrorInfo`.
//!
//! The transport's own refusals (bytes that are no message, a message over the limit, a method that does not exist)
//! leave it as bare codes. Here they get the documented code and details, so that a client has one form to read.

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use fitment_proto::ERROR_DOMAIN;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use tower::{Layer, Service};

use super::context::Deadline;
use crate::ending::Answer;
use crate::metrics::count_error;

const TIMEOUT_HEADER: &str = "grpc-timeout";

/// Adds [`Edge`] to a service.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EdgeLayer;

impl<S> Layer<S> for EdgeLayer {
    type Service = Edge<S>;

    fn layer(&self, inner: S) -> Edge<S> {
        Edge { inner }
    }
}

/// A service whose calls end at their deadline and whose errors carry details.
#[derive(Clone, Debug)]
pub(crate) struct Edge<S> {
    inner: S,
}

impl<S> Service<Request<Body>> for Edge<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Answer<S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Answer<S::Error> {
        let deadline = deadline_of(request.headers());
        // What would be late is refused inside, before it waits. One so far off that no clock tells it is none.
        if let Some(at) = deadline.and_then(|limit| Instant::now().checked_add(limit)) {
            request.extensions_mut().insert(Deadline(at));
        }
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = match deadline {
                None => answer.await?,
                // Dropping the call drops its work: what still waits for the encoder is never encoded.
                Some(limit) => {
                    let started = Instant::now();
                    match tokio::time::timeout(limit, answer).await {
                        // Timers tick once a millisecond: an answer may be quicker than the tick and still be late.
                        Ok(response) if started.elapsed() <= limit => response?,
                        _ => deadline_exceeded(limit).into_http(),
                    }
                }
            };
            Ok(with_details(response))
        })
    }
}

/// The `grpc-timeout` header as a duration; malformed ones are no deadline, as the protocol asks of servers.
fn deadline_of(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(TIMEOUT_HEADER)?.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

fn deadline_exceeded(limit: Duration) -> Status {
    count_error(Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
    Status::with_error_details(
        Code::DeadlineExceeded,
        format!(
            "the deadline of {limit:?} passed before the answer was ready; allow more time or retry when load is lower"
        ),
        ErrorDetails::with_error_info("DEADLINE_EXCEEDED", ERROR_DOMAIN, []),
    )
}

/// Gives a trailers-only error without details the documented code and an `ErrorInfo`.
fn with_details(response: Response<Body>) -> Response<Body> {
    let bare = Status::from_header_map(response.headers())
        .filter(|status| status.code() != Code::Ok && status.details().is_empty());
    match bare {
        None => response,
        Some(status) => explain_transport(&status).into_http(),
    }
}

/// The transport's own refusal, as Fitment documents it.
pub(crate) fn explain_transport(status: &Status) -> Status {
    let message = status.message();
    let (code, reason) = match status.code() {
        Code::Internal if message.contains("ecode") => (Code::InvalidArgument, "MALFORMED_MESSAGE"),
        Code::OutOfRange if message.contains("too large") => (Code::ResourceExhausted, "MESSAGE_TOO_LARGE"),
        Code::Unimplemented => (Code::Unimplemented, "METHOD_UNKNOWN"),
        Code::Cancelled => (Code::Cancelled, "CANCELLED"),
        code => (code, "TRANSPORT"),
    };
    let message = match reason {
        "MALFORMED_MESSAGE" => {
            format!("the request is not a valid protobuf message ({message}); send UTF-8 strings and known types")
        }
        "METHOD_UNKNOWN" => "no such method; reflection lists what is served".to_owned(),
        _ => message.to_owned(),
    };
    count_error(code, reason);
    Status::with_error_details(code, message, ErrorDetails::with_error_info(reason, ERROR_DOMAIN, []))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(header: &str, expect: Option<Duration>) {
        let mut headers = HeaderMap::new();
        headers.insert(TIMEOUT_HEADER, header.parse().expect("a header value"));
        assert_eq!(deadline_of(&headers), expect, "{header}");
    }

    #[test]
    fn deadlines_are_read_as_the_protocol_writes_them() {
        check("250m", Some(Duration::from_millis(250)));
        check("99999999H", Some(Duration::from_secs(99_999_999 * 3600)));
        check("5", None);
        check("m", None);
        check("123456789S", None);
        check("-1S", None);
    }

    /// A call that never ends and notes that it was dropped.
    #[derive(Clone)]
    struct Endless(std::sync::Arc<std::sync::atomic::AtomicBool>);

    struct Noted(std::sync::Arc<std::sync::atomic::AtomicBool>);

    impl Drop for Noted {
        fn drop(&mut self) {
            self.0.store(true, std::sync::atomic::Ordering::SeqCst);
        }
    }

    impl Service<Request<Body>> for Endless {
        type Response = Response<Body>;
        type Error = std::convert::Infallible;
        type Future = Answer<Self::Error>;

        fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _request: Request<Body>) -> Self::Future {
            let noted = Noted(std::sync::Arc::clone(&self.0));
            Box::pin(async move {
                let _noted = noted;
                std::future::pending().await
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_ends_at_its_deadline_and_its_work_is_dropped() {
        let dropped = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let mut edge = EdgeLayer.layer(Endless(std::sync::Arc::clone(&dropped)));
        let request = Request::builder().header(TIMEOUT_HEADER, "50m").body(Body::empty()).expect("a request");
        let response = edge.call(request).await.expect("infallible");
        let status = Status::from_header_map(response.headers()).expect("a status");
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert_eq!(status.get_details_error_info().expect("details").reason, "DEADLINE_EXCEEDED");
        assert!(dropped.load(std::sync::atomic::Ordering::SeqCst));
    }

    #[test]
    fn the_transport_speaks_in_documented_codes() {
        let explained = explain_transport(&Status::internal("failed to decode Protobuf message: invalid string value"));
        assert_eq!(explained.code(), Code::InvalidArgument);
        assert_eq!(explained.get_details_error_info().expect("details").reason, "MALFORMED_MESSAGE");
        let explained =
            explain_transport(&Status::out_of_range("Error, decoded message length too large: found 9 bytes"));
        assert_eq!(explained.code(), Code::ResourceExhausted);
    }
}
