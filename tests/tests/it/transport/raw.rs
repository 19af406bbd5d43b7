//! HTTP/2 by hand, for clients that no library would be.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// More than any limit of these tests lets a connection live: whoever waits for as long has not been cut off.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) const DATA: u8 = 0x0;
pub(super) const HEADERS: u8 = 0x1;
pub(super) const PRIORITY: u8 = 0x2;
pub(super) const RST_STREAM: u8 = 0x3;
pub(super) const SETTINGS: u8 = 0x4;
pub(super) const PING: u8 = 0x6;
pub(super) const GOAWAY: u8 = 0x7;
pub(super) const WINDOW_UPDATE: u8 = 0x8;
pub(super) const CONTINUATION: u8 = 0x9;

pub(super) const END_STREAM: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;

/// A gRPC message without fields.
pub(super) const EMPTY_MESSAGE: [u8; 5] = [0; 5];
/// An RPC that answers at once.
pub(super) const INFO: &str = "/fitment.v1.InfoService/GetServerInfo";
/// An RPC that answers for as long as it is listened to.
pub(super) const WATCH: &str = "/fitment.v1.CatalogService/WatchCatalog";

/// A frame as it came.
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl Frame {
    /// Whether it is the last one of a stream.
    pub(super) fn ends(&self, stream: u32) -> bool {
        let last = matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0;
        self.stream == stream && (last || self.kind == RST_STREAM)
    }
}

/// Bytes of a frame.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The head of a call, as one frame.
pub(super) fn head(stream: u32, path: &str, flags: u8) -> Vec<u8> {
    frame(HEADERS, flags, stream, &header_block(path))
}

/// A call with a message without fields.
pub(super) fn call(stream: u32, path: &str) -> Vec<u8> {
    [head(stream, path, END_HEADERS), frame(DATA, END_STREAM, stream, &EMPTY_MESSAGE)].concat()
}

/// Headers in HPACK's plainest form: indexed where the static table has them, literal and not remembered elsewhere.
pub(super) fn header_block(path: &str) -> Vec<u8> {
    let literal = |text: &str| [&[u8::try_from(text.len()).expect("a short text")], text.as_bytes()].concat();
    // POST, http, the path by the name of entry 4, the content type by that of entry 31.
    [&[0x83, 0x86, 0x04][..], &literal(path), &[0x0f, 0x10], &literal("application/grpc")].concat()
}

/// A connection that has greeted.
pub(super) struct Raw(TcpStream);

impl Raw {
    /// settings: identifiers and values.
    pub(super) fn greet(address: &str, settings: &[(u16, u32)]) -> io::Result<Self> {
        let mut raw = Self(connect(address)?);
        let payload: Vec<u8> =
            settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
        raw.send(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(SETTINGS, 0, 0, &payload)[..]].concat())?;
        Ok(raw)
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    /// The next frame; `None`: the connection has ended.
    pub(super) fn next(&mut self) -> io::Result<Option<Frame>> {
        let mut head = [0; 9];
        match self.0.read_exact(&mut head) {
            Err(error) if is_end(&error) => return Ok(None),
            outcome => outcome?,
        }
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = head;
        let length = u64::from(u32::from_be_bytes([0, l0, l1, l2]));
        io::copy(&mut (&self.0).take(length), &mut io::sink())?;
        Ok(Some(Frame { kind, flags, stream: u32::from_be_bytes([s0, s1, s2, s3]) }))
    }

    /// Reads until such a frame has come. Errors: the connection ended before.
    pub(super) fn until(&mut self, wanted: impl Fn(&Frame) -> bool) -> io::Result<()> {
        while let Some(frame) = self.next()? {
            if wanted(&frame) {
                return Ok(());
            }
        }
        Err(ErrorKind::UnexpectedEof.into())
    }

    /// Reads until the daemon ends the connection. Errors: it does not.
    pub(super) fn until_end(mut self) -> io::Result<()> {
        while self.next()?.is_some() {}
        Ok(())
    }

    /// Sends these bytes again and again and reads what comes, until the daemon ends the connection. Returns how often, or an
    /// error when it has taken as many as `most`.
    pub(super) fn flood(self, most: usize, mut bytes: impl FnMut(usize) -> Vec<u8>) -> io::Result<usize> {
        let mut answers = self.0.try_clone()?;
        let reader = std::thread::spawn(move || drop(io::copy(&mut answers, &mut io::sink())));
        let mut stream = self.0;
        let sent = (0..most).take_while(|&number| stream.write_all(&bytes(number)).is_ok()).count();
        drop(stream.shutdown(std::net::Shutdown::Both));
        drop(reader.join());
        if sent == most { Err(io::Error::other(format!("{most} were taken"))) } else { Ok(sent) }
    }
}

/// A connection of which nothing is known yet.
pub(super) fn connect(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Whether the other end has gone, in whatever way.
pub(super) fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}
