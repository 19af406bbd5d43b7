//! How a call ended: behind its last message, in its headers where it has none, or by its caller leaving.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::body::{Bytes, Frame, SizeHint};
use tonic::body::Body;
use tonic::codegen::Body as _;
use tonic::codegen::http::Response;
use tonic::{Code, Status};

/// An answer that a layer's service gives.
pub(crate) type Answer<E> = Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>;

/// What lasts as long as a call does. It is dropped when the call has ended; that it was told nothing before says that the
/// caller left.
pub(crate) trait OpenCall: Send + Unpin + 'static {
    /// The code that the call ended with.
    fn ended(&mut self, code: Code);
}

/// The answer, with whatever is open for as long as it is on its way.
pub(crate) async fn follow<E>(
    answer: impl Future<Output = Result<Response<Body>, E>>,
    mut open: impl OpenCall,
) -> Result<Response<Body>, E> {
    let response = answer.await?;
    // Errors without a message have their status in the headers, everything else behind the last message.
    if let Some(status) = Status::from_header_map(response.headers()) {
        open.ended(status.code());
        return Ok(response);
    }
    if response.body().is_end_stream() {
        return Ok(response);
    }
    Ok(response.map(|body| Body::new(FollowedBody { body, open: Some(open) })))
}

/// An answer on its way; its call ends with it.
struct FollowedBody<C> {
    body: Body,
    open: Option<C>,
}

impl<C: OpenCall> tonic::codegen::Body for FollowedBody<C> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let is_last = frame.as_ref().is_none_or(|frame| frame.as_ref().map_or(true, Frame::is_trailers));
        // Before the caller can have seen the end and sent its next call.
        if is_last && let Some(mut open) = self.open.take() {
            let code = match &frame {
                Some(Ok(frame)) => frame.trailers_ref().and_then(Status::from_header_map).map(|status| status.code()),
                Some(Err(status)) => Some(status.code()),
                None => None,
            };
            if let Some(code) = code {
                open.ended(code);
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
