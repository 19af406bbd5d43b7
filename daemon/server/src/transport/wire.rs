//! What passes on a connection, watched from beside the protocol's implementation: the limits that it has none for.
//!
//! `h2` keeps the protocol, and bounds what it stores. It does not say when a peer does nothing with an answer, or makes it
//! work for nothing. Both can be told from the frames: which streams are open, how much window the client has left for
//! each, and how many frames it sends that carry no request.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::frames::{Event, Frames, Head, kind};
use super::patience::Patience;

/// Identifier of the setting that is the first window of each stream (RFC 9113, section 6.5.2).
const INITIAL_WINDOW_SIZE: u16 = 0x4;
/// A window before anybody has said anything (RFC 9113, section 6.9.2).
const FIRST_WINDOW: i64 = 65_535;
/// Bytes that are written for one more control frame that may come: who reads much acknowledges much.
const BYTES_PER_CONTROL_FRAME: f64 = 64.0;
/// Seconds of the allowed rate that may come at once.
const BURST_SECONDS: f64 = 5.0;
/// Streams that may be open on the wire for each that the protocol allows: refused ones are closed a moment later.
const STREAMS_OVER: usize = 4;

/// Limits of [`Wire`].
#[derive(Clone, Copy, Debug)]
pub(super) struct WireLimits {
    /// How long nothing may be taken of what is to be written.
    pub(super) write_stall: Duration,
    /// How long a client may leave an answer without window.
    pub(super) answer_stall: Duration,
    /// Frames a second that carry no request: resets, pings, settings, priorities, window updates, empty data, ...
    pub(super) control_frames_per_second: u32,
    /// Streams that the protocol allows.
    pub(super) max_concurrent_streams: u32,
}

/// Why a connection is ended from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offence {
    /// Nothing is read from the connection.
    WriteStalled,
    /// An answer is not taken.
    AnswerStalled,
    /// Frames that carry no request come faster than allowed.
    Flood,
}

/// Time that passes while something is in the way.
#[derive(Clone, Copy, Debug)]
struct Wait {
    since: Option<Instant>,
    patience: Patience,
}

impl Wait {
    fn new(whole: Duration) -> Self {
        Self { since: None, patience: Patience::new(whole) }
    }

    /// Says whether something is in the way now.
    fn set(&mut self, waits: bool, now: Instant) {
        if let Some(since) = self.since.take() {
            self.patience.spend(now.saturating_duration_since(since));
        }
        self.since = waits.then_some(now);
    }

    fn is_over(&self, now: Instant) -> bool {
        self.since.is_some_and(|since| now.saturating_duration_since(since) >= self.patience.left())
    }
}

/// A stream that is open.
#[derive(Debug)]
struct Stream {
    /// Bytes that the client still takes; less than nothing after it has made its windows smaller.
    window: i64,
    wait: Wait,
}

/// Both directions of a connection.
#[derive(Debug)]
pub(super) struct Wire {
    limits: WireLimits,
    from_client: Frames,
    to_client: Frames,
    greeted: bool,
    streams: BTreeMap<u32, Stream>,
    newest: u32,
    first_window: i64,
    window: i64,
    window_wait: Wait,
    write_wait: Wait,
    quiet_since: Option<Instant>,
    control_frames: f64,
    refilled: Instant,
    flooded: bool,
}

impl Wire {
    pub(super) fn new(limits: WireLimits, now: Instant) -> Self {
        Self {
            limits,
            from_client: Frames::of_client(),
            to_client: Frames::of_server(),
            greeted: false,
            streams: BTreeMap::new(),
            newest: 0,
            first_window: FIRST_WINDOW,
            window: FIRST_WINDOW,
            window_wait: Wait::new(limits.answer_stall),
            write_wait: Wait::new(limits.write_stall),
            quiet_since: Some(now),
            control_frames: f64::from(limits.control_frames_per_second) * BURST_SECONDS,
            refilled: now,
            flooded: false,
        }
    }

    /// Whether the client has said that it speaks HTTP/2.
    pub(super) fn is_greeted(&self) -> bool {
        self.greeted
    }

    /// Streams that are open.
    pub(super) fn open_streams(&self) -> usize {
        self.streams.len()
    }

    /// For how long no stream has been open.
    pub(super) fn quiet(&self, now: Instant) -> Option<Duration> {
        self.quiet_since.map(|since| now.saturating_duration_since(since))
    }

    /// Takes what the client has sent.
    pub(super) fn read(&mut self, bytes: &[u8], now: Instant) -> Result<(), Offence> {
        let mut frames = std::mem::replace(&mut self.from_client, Frames::of_server());
        frames.take(bytes, |event| match event {
            Event::Frame(head) => self.client_frame(head, now),
            Event::Setting(INITIAL_WINDOW_SIZE, size) => self.first_window_set(i64::from(size), now),
            Event::Setting(..) => {}
            Event::WindowUpdate(stream, growth) => self.window_grown(stream, i64::from(growth), now),
        });
        self.from_client = frames;
        let most_streams = usize::try_from(self.limits.max_concurrent_streams).unwrap_or(usize::MAX);
        let rate = f64::from(self.limits.control_frames_per_second);
        let earned = now.saturating_duration_since(self.refilled).as_secs_f64() * rate;
        self.refilled = now;
        self.control_frames = (self.control_frames + earned).min(rate * BURST_SECONDS);
        self.flooded |= self.control_frames < 0.0 || self.streams.len() > most_streams.saturating_mul(STREAMS_OVER);
        if self.flooded { Err(Offence::Flood) } else { Ok(()) }
    }

    /// Takes what was written to the client.
    pub(super) fn wrote(&mut self, bytes: &[u8], now: Instant) {
        let mut frames = std::mem::replace(&mut self.to_client, Frames::of_server());
        frames.take(bytes, |event| {
            if let Event::Frame(head) = event {
                self.own_frame(head, now);
            }
        });
        self.to_client = frames;
        let written = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let most = f64::from(self.limits.control_frames_per_second) * BURST_SECONDS;
        self.control_frames = (self.control_frames + f64::from(written) / BYTES_PER_CONTROL_FRAME).min(most);
        self.write_wait.set(false, now);
        self.write_wait.patience.earn(u64::from(written));
    }

    /// Nothing more can be written now.
    pub(super) fn write_blocked(&mut self, now: Instant) {
        if self.write_wait.since.is_none() {
            self.write_wait.set(true, now);
        }
    }

    /// Everything is written.
    pub(super) fn flushed(&mut self, now: Instant) {
        self.write_wait.set(false, now);
        self.write_wait.patience.renew();
    }

    /// Whether the client has kept us waiting for too long.
    pub(super) fn check(&self, now: Instant) -> Result<(), Offence> {
        if self.flooded {
            return Err(Offence::Flood);
        }
        if self.write_wait.is_over(now) {
            return Err(Offence::WriteStalled);
        }
        // Without a stream nothing is waiting for the connection's window.
        let connection = !self.streams.is_empty() && self.window_wait.is_over(now);
        if connection || self.streams.values().any(|stream| stream.wait.is_over(now)) {
            return Err(Offence::AnswerStalled);
        }
        Ok(())
    }

    fn client_frame(&mut self, head: Head, now: Instant) {
        let Head { kind, flags: _, stream, length } = head;
        match kind {
            kind::HEADERS => {
                // Clients' streams are odd and only grow; headers of an older one are its trailers.
                if stream % 2 == 1 && stream > self.newest {
                    self.newest = stream;
                    let mut opened = Stream { window: self.first_window, wait: Wait::new(self.limits.answer_stall) };
                    opened.wait.set(opened.window <= 0, now);
                    self.streams.insert(stream, opened);
                    self.quiet_since = None;
                }
                return;
            }
            kind::DATA if length > 0 || head.ends_stream() => return,
            kind::RST_STREAM => self.close(stream, now),
            kind::SETTINGS => self.greeted = true,
            _ => {}
        }
        if kind == kind::SETTINGS && head.is_ack() {
            return;
        }
        self.control_frames -= 1.0;
    }

    fn own_frame(&mut self, head: Head, now: Instant) {
        if head.kind == kind::DATA {
            let length = i64::from(head.length);
            self.window -= length;
            self.window_wait.patience.earn(u64::from(head.length));
            self.window_wait.set(self.window <= 0, now);
            if let Some(stream) = self.streams.get_mut(&head.stream) {
                stream.window -= length;
                stream.wait.patience.earn(u64::from(head.length));
                stream.wait.set(stream.window <= 0, now);
            }
        }
        if head.ends_stream() || head.kind == kind::RST_STREAM {
            self.close(head.stream, now);
        }
    }

    fn close(&mut self, stream: u32, now: Instant) {
        if self.streams.remove(&stream).is_some() && self.streams.is_empty() {
            self.quiet_since = Some(now);
        }
    }

    fn first_window_set(&mut self, size: i64, now: Instant) {
        let growth = size - self.first_window;
        self.first_window = size;
        for stream in self.streams.values_mut() {
            stream.window += growth;
            stream.wait.set(stream.window <= 0, now);
        }
    }

    fn window_grown(&mut self, stream: u32, growth: i64, now: Instant) {
        if stream == 0 {
            self.window = self.window.saturating_add(growth);
            self.window_wait.set(self.window <= 0, now);
        } else if let Some(stream) = self.streams.get_mut(&stream) {
            stream.window = stream.window.saturating_add(growth);
            stream.wait.set(stream.window <= 0, now);
        }
    }
}

/// What [`Wire`] makes of what passes within a moment: streams that are open in the end; `None` where it ends the connection.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn watch(pieces: &[crate::testing::Sent<'_>], max_concurrent_streams: u32) -> Option<usize> {
    use crate::testing::Sent;

    const PATIENCE: Duration = Duration::from_secs(1);
    let limits = WireLimits {
        write_stall: PATIENCE,
        answer_stall: PATIENCE,
        control_frames_per_second: 50,
        max_concurrent_streams,
    };
    let now = Instant::now();
    let mut wire = Wire::new(limits, now);
    for piece in pieces {
        match piece {
            Sent::ByClient(bytes) => wire.read(bytes, now).ok()?,
            Sent::ByDaemon(bytes) => wire.wrote(bytes, now),
        }
    }
    wire.check(now).ok().map(|()| wire.open_streams())
}

#[cfg(test)]
mod tests;
