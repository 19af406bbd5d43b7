//! The way to a daemon: TCP, TLS or a Unix socket.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tonic::codegen::http::Uri;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};

use super::credentials::{Bearer, CredentialFlags};
use crate::output::Invalid;

/// A connection that makes its user known with every request.
pub(crate) type Connection = InterceptedService<Channel, Bearer>;

/// How long a connection may take to come about, TLS included.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// What HTTP/2 calls a host that has no name.
const LOCAL_ORIGIN: &str = "http://localhost";

/// Bytes to and from a daemon.
trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Bytes for S {}

/// Where a daemon is.
#[derive(Clone)]
enum Target {
    Tcp { host: String, port: u16, tls: Option<(Arc<ClientConfig>, ServerName<'static>)> },
    Unix(PathBuf),
}

impl Target {
    async fn open(self) -> io::Result<Box<dyn Bytes>> {
        match self {
            Self::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
            Self::Tcp { host, port, tls } => {
                let stream = TcpStream::connect((host, port)).await?;
                stream.set_nodelay(true)?;
                Ok(match tls {
                    None => Box::new(stream),
                    Some((config, name)) => Box::new(TlsConnector::from(config).connect(name, stream).await?),
                })
            }
        }
    }
}

/// Connects to `HOST:PORT`, `http://HOST:PORT`, `https://HOST:PORT` or `unix:/PATH`.
pub(super) async fn connect(address: &str, credentials: &CredentialFlags) -> anyhow::Result<Connection> {
    let bearer = credentials.bearer()?;
    let (target, origin) = target(address, credentials)?;
    if bearer.is_there() && !is_private(&target) {
        let way_out = "use https://, or a daemon on this machine";
        return Err(
            Invalid(format!("{address}: a key or token would cross the network in the clear; {way_out}")).into()
        );
    }
    let endpoint = Endpoint::from(origin).connect_timeout(CONNECT_LIMIT);
    let connector = tower::service_fn(move |_origin: Uri| {
        let target = target.clone();
        async move { target.open().await.map(TokioIo::new) }
    });
    let channel = endpoint.connect_with_connector(connector).await.map_err(|error| {
        anyhow::Error::new(super::Unreachable { address: address.to_owned(), detail: super::root_cause(&error) })
    })?;
    Ok(InterceptedService::new(channel, bearer))
}

fn target(address: &str, credentials: &CredentialFlags) -> anyhow::Result<(Target, Uri)> {
    if let Some(path) = address.strip_prefix("unix:") {
        return Ok((Target::Unix(path.into()), Uri::from_static(LOCAL_ORIGIN)));
    }
    let wrong = || Invalid(format!("`{address}` is no address; write HOST:PORT, https://HOST:PORT or unix:/PATH"));
    let whole = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    let origin: Uri = whole.parse().map_err(|_not_a_uri| wrong())?;
    // IPv6 addresses stand in brackets in a URI and nowhere else.
    let host = origin.host().ok_or_else(wrong)?.trim_matches(['[', ']']).to_owned();
    let (tls, usual_port) = match origin.scheme_str() {
        Some("http") => (None, 80),
        Some("https") => {
            let name = ServerName::try_from(host.clone()).map_err(|_not_a_name| wrong())?;
            (Some((credentials.tls(address)?, name)), 443)
        }
        _ => return Err(wrong().into()),
    };
    let port = origin.port_u16().unwrap_or(usual_port);
    Ok((Target::Tcp { host, port, tls }, origin))
}

/// Whether nobody on a network reads what is sent there.
fn is_private(target: &Target) -> bool {
    match target {
        Target::Unix(_) | Target::Tcp { tls: Some(_), .. } => true,
        Target::Tcp { host, tls: None, .. } => {
            host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_apart() {
        let none = CredentialFlags::default();
        for (address, private) in [
            ("127.0.0.1:7411", true),
            ("localhost:7411", true),
            ("[::1]:7411", true),
            ("http://10.0.0.1:7411", false),
            ("catalogue.example:7411", false),
            ("unix:/run/fitment.sock", true),
        ] {
            let (target, _) = target(address, &none).expect("an address");
            assert_eq!(is_private(&target), private, "{address}");
        }
        for (address, expect) in [
            ("", "is no address"),
            ("ftp://host:1", "is no address"),
            ("a b", "is no address"),
            ("https://host:7411", "--ca FILE"),
        ] {
            let error = target(address, &none).err().expect("a refusal");
            assert!(error.to_string().contains(expect), "{error}");
        }
    }
}
