//! A request on its way in: each of its messages must arrive in time.
//!
//! Between two messages a stream of requests may be silent for as long as its connection lives: who follows something or
//! thinks about the next intent is not slow. Within a message, and before the first one, silence uses up patience.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use fitment_proto::ERROR_DOMAIN;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::patience::Patience;

/// Bytes before each message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// A body whose messages must arrive in time.
pub(super) struct TimedBody<B> {
    body: B,
    limit: Duration,
    patience: Patience,
    /// The running wait, since then.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
    messages: Messages,
    is_late: bool,
}

impl<B> TimedBody<B> {
    pub(super) fn new(body: B, limit: Duration) -> Self {
        Self {
            body,
            limit,
            patience: Patience::new(limit),
            waiting: None,
            messages: Messages::default(),
            is_late: false,
        }
    }

    fn arrived(&mut self, bytes: &[u8]) {
        if let Some((since, _)) = self.waiting.take() {
            self.patience.spend(since.elapsed());
        }
        if self.messages.take(bytes) {
            self.patience.renew();
        }
        self.patience.earn(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    }

    fn late(&mut self) -> Status {
        self.is_late = true;
        Status::with_error_details(
            Code::DeadlineExceeded,
            format!(
                "a message of the request did not arrive within {:?}; send it faster, or in smaller parts",
                self.limit
            ),
            ErrorDetails::with_error_info("MESSAGE_TOO_SLOW", ERROR_DOMAIN, []),
        )
    }
}

impl<B> Body for TimedBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.is_late {
            return Poll::Ready(None);
        }
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(frame) => {
                if let Some(Ok(frame)) = &frame {
                    let bytes = frame.data_ref().cloned().unwrap_or_default();
                    self.arrived(&bytes);
                }
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending if self.messages.is_between() => Poll::Pending,
            Poll::Pending => {
                let left = self.patience.left();
                let (_, sleep) =
                    self.waiting.get_or_insert_with(|| (Instant::now(), Box::pin(tokio::time::sleep(left))));
                if sleep.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                Poll::Ready(Some(Err(self.late().into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_late || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Where a stream of length-prefixed messages stands.
#[derive(Debug, Default)]
struct Messages {
    prefix: [u8; PREFIX_BYTES],
    filled: usize,
    /// Bytes of the message that are to come.
    left: u64,
    begun: bool,
}

impl Messages {
    /// Takes bytes. Returns whether a message was completed by them.
    fn take(&mut self, mut bytes: &[u8]) -> bool {
        let mut completed = false;
        while !bytes.is_empty() {
            self.begun = true;
            if self.filled < PREFIX_BYTES {
                let taken = bytes.len().min(PREFIX_BYTES - self.filled);
                self.prefix[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
                self.filled += taken;
                bytes = &bytes[taken..];
                let [_, l0, l1, l2, l3] = self.prefix;
                self.left = u64::from(u32::from_be_bytes([l0, l1, l2, l3]));
            } else {
                let taken = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                self.left -= u64::try_from(taken).unwrap_or(self.left);
                bytes = &bytes[taken..];
            }
            if self.filled == PREFIX_BYTES && self.left == 0 {
                self.filled = 0;
                completed = true;
            }
        }
        completed
    }

    /// Whether a message is complete and the next one has not begun.
    fn is_between(&self) -> bool {
        self.begun && self.filled == 0
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use tokio::sync::mpsc;

    use super::*;

    /// A body of what is sent into it.
    struct Sent(mpsc::UnboundedReceiver<&'static [u8]>);

    impl Body for Sent {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            self.0.poll_recv(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(Bytes::from_static(bytes)))))
        }
    }

    const LIMIT: Duration = Duration::from_secs(20);

    fn body() -> (mpsc::UnboundedSender<&'static [u8]>, TimedBody<Sent>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (sender, TimedBody::new(Sent(receiver), LIMIT))
    }

    #[test]
    fn messages_are_found_however_they_are_cut() {
        let bytes = [0, 0, 0, 0, 2, b'a', b'b', 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, b'c'];
        for cut in 0..=bytes.len() {
            let mut messages = Messages::default();
            messages.take(&bytes[..cut]);
            assert_eq!(messages.is_between(), [7, 12, 18].contains(&cut), "cut at {cut}");
            messages.take(&bytes[cut..]);
            assert!(messages.is_between());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_does_not_come_ends_the_request() {
        for begun in [&[][..], &[0, 0, 0], &[0, 0, 0, 0, 2, b'a']] {
            let (sender, mut body) = body();
            if !begun.is_empty() {
                sender.send(begun).expect("a reader");
                body.frame().await.expect("a frame").expect("bytes");
            }
            let started = Instant::now();
            let error = body.frame().await.expect("an end").expect_err("too late");
            assert_eq!(started.elapsed().as_secs(), LIMIT.as_secs());
            let status = error.downcast::<Status>().expect("a status");
            assert_eq!(status.code(), Code::DeadlineExceeded);
            assert!(body.frame().await.is_none());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_between_messages_is_no_fault() {
        let (sender, mut body) = body();
        sender.send(&[0, 0, 0, 0, 1, b'a']).expect("a reader");
        body.frame().await.expect("a frame").expect("bytes");
        let next =
            tokio::spawn(async move { body.frame().await.expect("a frame").map(|frame| frame.into_data().ok()) });
        tokio::time::sleep(Duration::from_secs(86_400)).await;
        sender.send(&[0, 0, 0, 0, 1, b'b']).expect("a reader");
        assert!(next.await.expect("a task").expect("bytes").is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickle_is_as_late_as_silence() {
        let (sender, mut body) = body();
        sender.send(&[0, 0, 0, 0, 200]).expect("a reader");
        let started = Instant::now();
        let trickle = tokio::spawn(async move {
            while sender.send(&[1]).is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let error = loop {
            match body.frame().await.expect("a frame") {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert!(error.downcast_ref::<Status>().is_some());
        assert!((19..=21).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
        drop(body);
        trickle.await.expect("a task");
    }
}
