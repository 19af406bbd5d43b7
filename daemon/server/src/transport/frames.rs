//! The frames of one direction of an HTTP/2 connection (RFC 9113, section 4.1), read from its bytes as they pass.
//!
//! Nothing is kept of a frame but its head and the few bytes of payload that limits depend on, whatever its length says.

/// Bytes of a frame's head.
const HEAD_BYTES: usize = 9;
/// Bytes of payload that are kept: a setting takes six of them, a window update four.
const KEPT_BYTES: usize = 6;
/// The client's first bytes (RFC 9113, section 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types (RFC 9113, section 6).
pub(super) mod kind {
    pub(in super::super) const DATA: u8 = 0x0;
    pub(in super::super) const HEADERS: u8 = 0x1;
    pub(in super::super) const RST_STREAM: u8 = 0x3;
    pub(in super::super) const SETTINGS: u8 = 0x4;
    pub(in super::super) const WINDOW_UPDATE: u8 = 0x8;
}

/// `END_STREAM` of DATA and HEADERS.
const END_STREAM: u8 = 0x1;
/// ACK of SETTINGS.
const ACK: u8 = 0x1;

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    /// Bytes of the payload.
    pub(super) length: u32,
}

impl Head {
    fn of(bytes: [u8; HEAD_BYTES]) -> Self {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = bytes;
        Self {
            kind,
            flags,
            stream: u32::from_be_bytes([s0, s1, s2, s3]) & 0x7fff_ffff,
            length: u32::from_be_bytes([0, l0, l1, l2]),
        }
    }

    /// Whether the sender says nothing more on the stream.
    pub(super) fn ends_stream(&self) -> bool {
        matches!(self.kind, kind::DATA | kind::HEADERS) && self.flags & END_STREAM != 0
    }

    /// Whether settings are a receipt for ours.
    pub(super) fn is_ack(&self) -> bool {
        self.flags & ACK != 0
    }
}

/// What a reader has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A frame's head.
    Frame(Head),
    /// One setting, by its identifier.
    Setting(u16, u32),
    /// A window that grows, of a stream or (0) of the connection.
    WindowUpdate(u32, u32),
}

/// Reads frames from bytes in pieces of any length.
#[derive(Debug)]
pub(super) struct Frames {
    /// Bytes of the preface that are still to come.
    preface: usize,
    head: [u8; HEAD_BYTES],
    head_filled: usize,
    /// The frame whose payload is passing, and the bytes of it that are to come.
    passing: Option<(Head, u32)>,
    kept: [u8; KEPT_BYTES],
    kept_filled: usize,
}

impl Frames {
    /// What a client sends.
    pub(super) fn of_client() -> Self {
        Self { preface: PREFACE.len(), ..Self::of_server() }
    }

    /// What a server sends.
    pub(super) fn of_server() -> Self {
        Self { preface: 0, head: [0; HEAD_BYTES], head_filled: 0, passing: None, kept: [0; KEPT_BYTES], kept_filled: 0 }
    }

    /// Takes the next bytes and tells what they say.
    pub(super) fn take(&mut self, mut bytes: &[u8], mut each: impl FnMut(Event)) {
        let skipped = self.preface.min(bytes.len());
        self.preface -= skipped;
        bytes = &bytes[skipped..];
        while !bytes.is_empty() {
            bytes = match self.passing {
                Some((head, left)) => self.take_payload(head, left, bytes, &mut each),
                None => self.take_head(bytes, &mut each),
            };
        }
    }

    fn take_head<'a>(&mut self, bytes: &'a [u8], each: &mut impl FnMut(Event)) -> &'a [u8] {
        let taken = bytes.len().min(HEAD_BYTES - self.head_filled);
        self.head[self.head_filled..self.head_filled + taken].copy_from_slice(&bytes[..taken]);
        self.head_filled += taken;
        if self.head_filled == HEAD_BYTES {
            let head = Head::of(self.head);
            self.head_filled = 0;
            self.kept_filled = 0;
            self.passing = (head.length > 0).then_some((head, head.length));
            each(Event::Frame(head));
        }
        &bytes[taken..]
    }

    fn take_payload<'a>(&mut self, head: Head, left: u32, bytes: &'a [u8], each: &mut impl FnMut(Event)) -> &'a [u8] {
        let passing = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let (payload, rest) = bytes.split_at(passing);
        match head.kind {
            kind::SETTINGS => {
                for &byte in payload {
                    self.keep(byte);
                    if self.kept_filled == KEPT_BYTES {
                        let [i0, i1, v0, v1, v2, v3] = self.kept;
                        self.kept_filled = 0;
                        each(Event::Setting(u16::from_be_bytes([i0, i1]), u32::from_be_bytes([v0, v1, v2, v3])));
                    }
                }
            }
            kind::WINDOW_UPDATE => {
                for &byte in payload {
                    self.keep(byte);
                    if self.kept_filled == 4 {
                        let [v0, v1, v2, v3, ..] = self.kept;
                        each(Event::WindowUpdate(head.stream, u32::from_be_bytes([v0, v1, v2, v3]) & 0x7fff_ffff));
                    }
                }
            }
            _ => {}
        }
        let left = left - u32::try_from(passing).unwrap_or(left);
        self.passing = (left > 0).then_some((head, left));
        rest
    }

    fn keep(&mut self, byte: u8) {
        if let Some(place) = self.kept.get_mut(self.kept_filled) {
            *place = byte;
            self.kept_filled += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    fn events(pieces: &[&[u8]]) -> Vec<Event> {
        let mut frames = Frames::of_client();
        let mut seen = Vec::new();
        for piece in pieces {
            frames.take(piece, |event| seen.push(event));
        }
        seen
    }

    #[test]
    fn frames_are_the_same_however_the_bytes_are_cut() {
        let settings = [[0, 4, 0, 0, 0, 9], [0, 3, 0, 0, 1, 0]].concat();
        let bytes = [
            PREFACE.to_vec(),
            frame(kind::SETTINGS, 0, 0, &settings),
            frame(kind::HEADERS, 4, 1, &[7; 100]),
            frame(kind::DATA, 1, 1, &[]),
            frame(kind::WINDOW_UPDATE, 0, 1, &[0x80, 0, 0, 5]),
            frame(0xee, 0xff, 0x8000_0003, &[1, 2, 3, 4, 5, 6, 7, 8]),
        ]
        .concat();
        let whole = events(&[&bytes]);
        let head = |kind, flags, stream, length| Event::Frame(Head { kind, flags, stream, length });
        assert_eq!(
            whole,
            [
                head(kind::SETTINGS, 0, 0, 12),
                Event::Setting(4, 9),
                Event::Setting(3, 256),
                head(kind::HEADERS, 4, 1, 100),
                head(kind::DATA, 1, 1, 0),
                head(kind::WINDOW_UPDATE, 0, 1, 4),
                Event::WindowUpdate(1, 5),
                head(0xee, 0xff, 3, 8),
            ]
        );
        for cut in 0..bytes.len() {
            let (before, after) = bytes.split_at(cut);
            assert_eq!(events(&[before, after]), whole, "cut at {cut}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(events(&single), whole);
    }

    #[test]
    fn a_window_update_of_a_wrong_length_says_at_most_one_thing() {
        let bytes = [PREFACE.to_vec(), frame(kind::WINDOW_UPDATE, 0, 0, &[0; 40])].concat();
        assert_eq!(events(&[&bytes]).len(), 2, "the head and one update; that it is wrong is for the protocol to say");
    }
}
