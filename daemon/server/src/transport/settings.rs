//! The transport's part of the configuration: where to listen, TLS, and the limits of HTTP/2.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::address::ListenAddress;
use super::peer::TlsVersion;

/// The largest window (RFC 9113, section 6.9.1).
const MOST_WINDOW: u32 = (1 << 31) - 1;

/// What must be said to speak without TLS on an address that is reachable from the network.
pub const PLAINTEXT_SENTENCE: &str = "anyone on the network can read and change what is sent";
/// What must be said to let everybody in who reaches such an address.
pub const ANONYMOUS_SENTENCE: &str = "anyone who reaches this address can do everything";
/// What must be said to serve metrics on such an address: they go out without TLS, to whoever asks.
pub const METRICS_SENTENCE: &str = "anyone on the network can read these metrics";

/// The keys at the top of the configuration that say where to listen.
#[derive(Clone, Debug)]
pub(crate) struct RawListen {
    pub(crate) listen: String,
    pub(crate) unix_socket: String,
    pub(crate) unix_socket_mode: String,
    pub(crate) insecure_plaintext_on_network: String,
    pub(crate) insecure_anonymous_on_network: String,
}

/// How connections are taken and what they may cost.
#[derive(Clone, Debug)]
pub struct TransportConfig {
    /// Where to listen: one address at least.
    pub listen: Vec<ListenAddress>,
    /// Permissions of the Unix socket.
    pub unix_mode: u32,
    /// `None`: TCP without TLS. Unix sockets never have it: the kernel keeps them.
    pub tls: Option<TlsFiles>,
    /// Limits of connections.
    pub http2: Http2Limits,
}

impl TransportConfig {
    /// `authenticated`: whether callers are asked who they are.
    pub(crate) fn check(listen: RawListen, tls: RawTls, http2: RawHttp2, authenticated: bool) -> anyhow::Result<Self> {
        let RawListen {
            listen,
            unix_socket,
            unix_socket_mode,
            insecure_plaintext_on_network,
            insecure_anonymous_on_network,
        } = listen;
        let mut addresses = vec![listen.parse::<ListenAddress>().context("listen")?];
        if !unix_socket.is_empty() {
            if matches!(addresses[0], ListenAddress::Unix(_)) {
                bail!("unix_socket: `listen` names a Unix socket already; leave one of them out");
            }
            addresses.push(format!("unix:{unix_socket}").parse().context("unix_socket")?);
        }
        let tls = tls.check()?;
        let plaintext =
            Consent::of("insecure_plaintext_on_network", &insecure_plaintext_on_network, PLAINTEXT_SENTENCE)?;
        let anonymous =
            Consent::of("insecure_anonymous_on_network", &insecure_anonymous_on_network, ANONYMOUS_SENTENCE)?;
        for address in &addresses {
            let ListenAddress::Tcp(address) = address else { continue };
            if address.ip().is_loopback() {
                continue;
            }
            if tls.is_none() {
                plaintext.required(
                    &format!("listen: {address} is reachable from the network and there is no TLS"),
                    "set [tls]",
                )?;
            }
            let verified = authenticated || tls.as_ref().is_some_and(|tls| tls.client_auth == ClientAuth::Required);
            if !verified {
                anonymous.required(
                    &format!("listen: {address} is reachable from the network and callers are not authenticated"),
                    "set access.file, or tls.client_auth = \"required\"",
                )?;
            }
        }
        Ok(Self { listen: addresses, unix_mode: mode(&unix_socket_mode)?, tls, http2: http2.check()? })
    }
}

/// Whether somebody has said in words that they want what is dangerous.
pub(crate) struct Consent<'a> {
    key: &'a str,
    sentence: &'a str,
    given: bool,
}

impl<'a> Consent<'a> {
    /// Errors: something else was said, also where it is not needed.
    pub(crate) fn of(key: &'a str, said: &str, sentence: &'a str) -> anyhow::Result<Self> {
        if !said.is_empty() && said != sentence {
            bail!("{key}: `{said}` is not the sentence; leave the key out, or set it to exactly `{sentence}`");
        }
        Ok(Self { key, sentence, given: !said.is_empty() })
    }

    /// Errors: it was not said. danger: what is the case. `way_out`: what to do instead.
    pub(crate) fn required(&self, danger: &str, way_out: &str) -> anyhow::Result<()> {
        if self.given {
            return Ok(());
        }
        bail!("{danger}; listen on 127.0.0.1, or {way_out}, or set {} = \"{}\"", self.key, self.sentence)
    }
}

/// Permissions in octal digits: the owner can connect, and no bit is set that a socket has no use for.
fn mode(text: &str) -> anyhow::Result<u32> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| mode & !0o666 == 0 && mode & 0o600 == 0o600);
    mode.with_context(|| {
        format!("unix_socket_mode: `{text}` is out of range; write \"0600\" (this user), \"0660\" (and its group) or \"0666\" (everybody here)")
    })
}

/// Whether clients show certificates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// None is asked for.
    #[default]
    Off,
    /// One is asked for, and verified when it is shown.
    Optional,
    /// No handshake succeeds without one.
    Required,
}

/// Files of TLS, and what is asked of it.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The daemon's certificate and what is between it and its root (PEM).
    pub certificate: PathBuf,
    /// Its private key (PEM).
    pub key: PathBuf,
    /// Roots that clients' certificates are verified against (PEM).
    pub client_ca: Option<PathBuf>,
    /// Whether clients show certificates.
    pub client_auth: ClientAuth,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// How often the files are looked at for changes; zero: never.
    pub watch: Duration,
}

/// `[tls]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawTls {
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    client_ca: Option<PathBuf>,
    client_auth: ClientAuth,
    min_version: String,
    watch_seconds: u64,
}

impl Default for RawTls {
    fn default() -> Self {
        Self {
            certificate: None,
            key: None,
            client_ca: None,
            client_auth: ClientAuth::Off,
            min_version: "1.2".into(),
            watch_seconds: 5,
        }
    }
}

impl RawTls {
    fn check(self) -> anyhow::Result<Option<TlsFiles>> {
        let Self { certificate, key, client_ca, client_auth, min_version, watch_seconds } = self;
        let min_version = match min_version.as_str() {
            "1.2" => TlsVersion::Tls12,
            "1.3" => TlsVersion::Tls13,
            _ => bail!("tls.min_version: `{min_version}` is not spoken here; write \"1.2\" or \"1.3\""),
        };
        if watch_seconds > 3600 {
            bail!("tls.watch_seconds: {watch_seconds} is out of range 0..=3600; 0 looks for changes on SIGHUP only");
        }
        let (certificate, key) = match (certificate, key) {
            (Some(certificate), Some(key)) => (certificate, key),
            (None, None) if client_ca.is_none() && client_auth == ClientAuth::Off => return Ok(None),
            (None, _) => {
                bail!("tls.certificate: is not set; name the file of the daemon's certificate, or leave [tls] out")
            }
            (_, None) => {
                bail!("tls.key: is not set; name the file of the certificate's private key, or leave [tls] out")
            }
        };
        match (client_auth, &client_ca) {
            (ClientAuth::Off, Some(_)) => {
                bail!(
                    "tls.client_ca: is set and tls.client_auth is off; set tls.client_auth to \"optional\" or \"required\""
                )
            }
            (ClientAuth::Optional | ClientAuth::Required, None) => {
                bail!(
                    "tls.client_auth: needs tls.client_ca, a file of the certificates that clients' ones are signed by"
                )
            }
            (ClientAuth::Off, None) | (ClientAuth::Optional | ClientAuth::Required, Some(_)) => {}
        }
        Ok(Some(TlsFiles {
            certificate,
            key,
            client_ca,
            client_auth,
            min_version,
            watch: Duration::from_secs(watch_seconds),
        }))
    }
}

/// What connections may cost. Each is a key of `[http2]`; `docs/transport.md` says what it stops.
#[derive(Clone, Copy, Debug)]
pub struct Http2Limits {
    /// Connections at once, of everybody.
    pub max_connections: usize,
    /// Connections at once from one address (IPv4), one /64 network (IPv6) or one user (Unix).
    pub max_connections_per_peer: usize,
    /// From the connection to the end of the greeting, TLS included.
    pub handshake: Duration,
    /// Calls that one connection may have open.
    pub max_concurrent_streams: u32,
    /// Bytes of one call's headers.
    pub max_header_list_bytes: u32,
    /// Bytes of one request that may arrive before they are read.
    pub stream_window_bytes: u32,
    /// The same of all requests of a connection.
    pub connection_window_bytes: u32,
    /// Bytes of one frame that a client may send.
    pub max_frame_bytes: u32,
    /// Bytes of one answer that are made before the client takes them.
    pub send_buffer_bytes: usize,
    /// How often a connection is asked whether it lives.
    pub keepalive_interval: Duration,
    /// How long it may take to say so.
    pub keepalive_timeout: Duration,
    /// How long a connection may have no call open; zero: for ever.
    pub idle: Duration,
    /// How old a connection may become, give or take a tenth; zero: as old as it likes.
    pub max_age: Duration,
    /// What calls in flight get at that age.
    pub age_grace: Duration,
    /// Calls that a client has reset and nobody has seen yet.
    pub max_pending_reset_streams: usize,
    /// Calls that the client's faults have had reset, in a connection's life.
    pub max_local_reset_streams: usize,
    /// Frames a second that carry no request.
    pub control_frames_per_second: u32,
    /// How long nothing may be taken of what is written.
    pub write_stall: Duration,
    /// How long an answer may wait for the client's window.
    pub answer_stall: Duration,
    /// How long a message of a request may be on its way.
    pub message: Duration,
}

/// `[http2]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawHttp2 {
    max_connections: usize,
    max_connections_per_peer: usize,
    handshake_seconds: u64,
    max_concurrent_streams: u32,
    max_header_list_bytes: u32,
    stream_window_bytes: u32,
    connection_window_bytes: u32,
    max_frame_bytes: u32,
    send_buffer_bytes: usize,
    keepalive_interval_seconds: u64,
    keepalive_timeout_seconds: u64,
    idle_seconds: u64,
    max_age_seconds: u64,
    age_grace_seconds: u64,
    max_pending_reset_streams: usize,
    max_local_reset_streams: usize,
    control_frames_per_second: u32,
    write_stall_seconds: u64,
    answer_stall_seconds: u64,
    message_seconds: u64,
}

impl Default for RawHttp2 {
    fn default() -> Self {
        Self {
            max_connections: 1024,
            max_connections_per_peer: 256,
            handshake_seconds: 10,
            max_concurrent_streams: 256,
            max_header_list_bytes: 16 << 10,
            stream_window_bytes: 1 << 20,
            connection_window_bytes: 1 << 20,
            max_frame_bytes: 16 << 10,
            send_buffer_bytes: 256 << 10,
            keepalive_interval_seconds: 60,
            keepalive_timeout_seconds: 20,
            idle_seconds: 600,
            max_age_seconds: 3600,
            age_grace_seconds: 600,
            max_pending_reset_streams: 20,
            max_local_reset_streams: 1024,
            control_frames_per_second: 1000,
            write_stall_seconds: 20,
            answer_stall_seconds: 60,
            message_seconds: 20,
        }
    }
}

impl RawHttp2 {
    fn check(self) -> anyhow::Result<Http2Limits> {
        let Self {
            max_connections,
            max_connections_per_peer,
            handshake_seconds,
            max_concurrent_streams,
            max_header_list_bytes,
            stream_window_bytes,
            connection_window_bytes,
            max_frame_bytes,
            send_buffer_bytes,
            keepalive_interval_seconds,
            keepalive_timeout_seconds,
            idle_seconds,
            max_age_seconds,
            age_grace_seconds,
            max_pending_reset_streams,
            max_local_reset_streams,
            control_frames_per_second,
            write_stall_seconds,
            answer_stall_seconds,
            message_seconds,
        } = self;
        let seconds = |key, value, range| within(key, value, range).map(Duration::from_secs);
        Ok(Http2Limits {
            max_connections: within("max_connections", max_connections, 1..=1_000_000)?,
            max_connections_per_peer: within("max_connections_per_peer", max_connections_per_peer, 1..=1_000_000)?,
            handshake: seconds("handshake_seconds", handshake_seconds, 1..=300)?,
            max_concurrent_streams: within("max_concurrent_streams", max_concurrent_streams, 1..=65_536)?,
            max_header_list_bytes: within("max_header_list_bytes", max_header_list_bytes, 4096..=1 << 20)?,
            stream_window_bytes: within("stream_window_bytes", stream_window_bytes, 65_535..=MOST_WINDOW)?,
            connection_window_bytes: within("connection_window_bytes", connection_window_bytes, 65_535..=MOST_WINDOW)?,
            max_frame_bytes: within("max_frame_bytes", max_frame_bytes, 16_384..=(1 << 24) - 1)?,
            send_buffer_bytes: within("send_buffer_bytes", send_buffer_bytes, 16_384..=1 << 30)?,
            keepalive_interval: seconds("keepalive_interval_seconds", keepalive_interval_seconds, 1..=3600)?,
            keepalive_timeout: seconds("keepalive_timeout_seconds", keepalive_timeout_seconds, 1..=3600)?,
            idle: seconds("idle_seconds", idle_seconds, 0..=86_400)?,
            max_age: seconds("max_age_seconds", max_age_seconds, 0..=604_800)?,
            age_grace: seconds("age_grace_seconds", age_grace_seconds, 1..=86_400)?,
            max_pending_reset_streams: within("max_pending_reset_streams", max_pending_reset_streams, 1..=65_536)?,
            max_local_reset_streams: within("max_local_reset_streams", max_local_reset_streams, 1..=65_536)?,
            control_frames_per_second: within("control_frames_per_second", control_frames_per_second, 10..=1_000_000)?,
            write_stall: seconds("write_stall_seconds", write_stall_seconds, 1..=3600)?,
            answer_stall: seconds("answer_stall_seconds", answer_stall_seconds, 1..=3600)?,
            message: seconds("message_seconds", message_seconds, 1..=3600)?,
        })
    }
}

fn within<T: PartialOrd + std::fmt::Display + Copy>(
    key: &str,
    value: T,
    range: RangeInclusive<T>,
) -> anyhow::Result<T> {
    if !range.contains(&value) {
        bail!("http2.{key}: {value} is out of range {}..={}", range.start(), range.end());
    }
    Ok(value)
}
