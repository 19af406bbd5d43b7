//! How a call ended: behind its last message, in its headers where it has none, or by its caller leaving.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::body::{Bytes, Frame, SizeHint};
use tonic::body::Body;
use tonic::codegen::http::Response;
use tonic::{Code, Status};

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
    Ok(response.map(|body| Body::new(FollowedBody { body, open })))
}

/// An answer on its way; its call ends with it.
struct FollowedBody<C> {
    body: Body,
    open: C,
}

impl<C: OpenCall> tonic::codegen::Body for FollowedBody<C> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(status) = frame.trailers_ref().and_then(Status::from_header_map) {
                    self.open.ended(status.code());
                }
            }
            Some(Err(status)) => {
                let code = status.code();
                self.open.ended(code);
            }
            None => {}
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
