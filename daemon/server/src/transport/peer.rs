//! Who is at the other end of a connection, as far as the transport can tell.

use std::fmt;
use std::net::SocketAddr;

/// The other end of a connection. Every request carries its connection's one as `Arc<Peer>` among its extensions.
///
/// This is what was seen, not who may do what: a certificate has been verified against the client CA, a Unix peer's ids
/// come from the kernel, and an address is only where the packets came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// How it came in.
    pub transport: Transport,
    /// `None`: not over TLS.
    pub tls: Option<TlsPeer>,
}

/// The way of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Over TCP, from this address.
    Tcp(SocketAddr),
    /// Through the Unix socket.
    Unix {
        /// User of the process that connected, as it was then.
        uid: u32,
        /// Its group.
        gid: u32,
        /// Its id; `None` where the system does not say.
        pid: Option<i32>,
    },
}

/// What a TLS handshake found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsPeer {
    /// The version that was agreed on.
    pub version: TlsVersion,
    /// The client's own certificate (DER), verified against the client CA at the handshake; `None`: it showed none.
    pub client_leaf_der: Option<Vec<u8>>,
}

/// Versions of TLS that are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

impl fmt::Display for Transport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(formatter, "{address}"),
            Self::Unix { uid, gid: _, pid: Some(pid) } => write!(formatter, "process {pid} of user {uid}"),
            Self::Unix { uid, gid: _, pid: None } => write!(formatter, "a process of user {uid}"),
        }
    }
}
