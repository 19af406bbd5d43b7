//! A connection's bytes, seen by [`Wire`] as they pass.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::wire::{Offence, Wire};

/// A stream of bytes with a watcher beside it.
pub(super) struct Guarded<S> {
    stream: S,
    wire: Arc<Mutex<Wire>>,
}

impl<S> Guarded<S> {
    pub(super) fn new(stream: S, wire: Arc<Mutex<Wire>>) -> Self {
        Self { stream, wire }
    }

    fn written(&self, poll: &Poll<io::Result<usize>>, slices: &[IoSlice<'_>]) {
        match poll {
            Poll::Pending => self.wire.lock().write_blocked(Instant::now()),
            Poll::Ready(Err(_)) => {}
            Poll::Ready(Ok(written)) => {
                let (mut wire, now, mut left) = (self.wire.lock(), Instant::now(), *written);
                for slice in slices {
                    let part = left.min(slice.len());
                    if part == 0 {
                        continue;
                    }
                    wire.wrote(&slice[..part], now);
                    left -= part;
                }
            }
        }
    }
}

/// The client does what the limits forbid.
#[derive(Debug, thiserror::Error)]
#[error("the client sends more frames that carry no request than `http2.control_frames_per_second` allows")]
struct Flooded;

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(context, buffer);
        let read = buffer.filled().get(before..).unwrap_or_default();
        match self.wire.lock().read(read, Instant::now()) {
            Ok(()) => poll,
            Err(Offence::Flood | Offence::WriteStalled | Offence::AnswerStalled) => {
                Poll::Ready(Err(io::Error::other(Flooded)))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(&poll, &[IoSlice::new(bytes)]);
        poll
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.written(&poll, slices);
        poll
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_flush(context);
        match &poll {
            Poll::Pending => self.wire.lock().write_blocked(Instant::now()),
            Poll::Ready(_) => self.wire.lock().flushed(Instant::now()),
        }
        poll
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_shutdown(context);
        if poll.is_pending() {
            self.wire.lock().write_blocked(Instant::now());
        }
        poll
    }
}
