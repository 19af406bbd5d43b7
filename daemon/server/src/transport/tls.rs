//! TLS: from files to what handshakes use, and again whenever the files change.
//!
//! Each handshake takes the configuration of its moment and keeps it, so that a change touches no connection that is there.
//! A session is resumed only with the configuration that began it: who was verified by a client CA that has gone since is
//! verified again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use arc_swap::ArcSwap;
use jiff::Timestamp;
use parking_lot::Mutex;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::peer::TlsVersion;
use super::reload::Reloads;
use super::settings::{ClientAuth, TlsFiles};
use crate::files::{Stamp, read_bounded};
use crate::metrics::TlsMeters;

/// Bytes of a file of certificates: a hundred times what a long chain takes.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// The protocol that is agreed on; there is no other one here.
pub(super) const ALPN: &[u8] = b"h2";

/// What handshakes use, kept up to date.
pub(crate) struct TlsStore {
    files: TlsFiles,
    current: ArcSwap<Loaded>,
    /// What the files looked like when they were last read, well or not.
    seen: Mutex<Vec<Option<Stamp>>>,
}

/// What the files held.
struct Loaded {
    config: Arc<ServerConfig>,
    certificate_expires: Timestamp,
    /// The first of them that does.
    client_ca_expires: Option<Timestamp>,
}

impl Loaded {
    fn announce(&self) {
        TlsMeters::certificate_expires(self.certificate_expires);
        if let Some(expires) = self.client_ca_expires {
            TlsMeters::client_ca_expires(expires);
        }
    }
}

impl TlsStore {
    /// Reads the files. Blocks.
    ///
    /// Errors: a file that cannot be read or holds something else, a key of another certificate, a certificate that has expired.
    pub(crate) fn open(files: TlsFiles, now: Timestamp) -> anyhow::Result<Self> {
        let seen = stamps(&files);
        let current = ArcSwap::from_pointee(read(&files, now)?);
        Ok(Self { files, current, seen: Mutex::new(seen) })
    }

    /// What a handshake that begins now uses.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().config)
    }

    /// Reads the files again. What was read before stays when they are no good. Blocks.
    pub(crate) fn reload(&self, now: Timestamp) -> anyhow::Result<()> {
        // Before the files: a change while they are read is found by the next look.
        *self.seen.lock() = stamps(&self.files);
        match read(&self.files, now) {
            Ok(loaded) => {
                loaded.announce();
                self.current.store(Arc::new(loaded));
                TlsMeters::reloaded();
                tracing::info!(certificate = %self.files.certificate.display(), "TLS certificates were read again");
                Ok(())
            }
            Err(error) => {
                TlsMeters::reload_failed();
                tracing::error!("TLS certificates could not be read again, the ones from before stay: {error:#}");
                Err(error)
            }
        }
    }

    /// Whether the files look other than when they were last read. Blocks.
    fn has_changed(&self) -> bool {
        *self.seen.lock() != stamps(&self.files)
    }

    /// Reads the files again on request and when they change, for as long as it is polled.
    pub(crate) async fn keep_up(self: Arc<Self>, requests: Reloads) {
        self.current.load().announce();
        let every = self.files.watch;
        let look = move |asked| {
            if asked || self.has_changed() {
                // It has been logged and counted.
                drop(self.reload(Timestamp::now()));
            }
        };
        requests.look_again("TLS certificates", every, look).await;
    }
}

fn stamps(files: &TlsFiles) -> Vec<Option<Stamp>> {
    let paths = [Some(&files.certificate), Some(&files.key), files.client_ca.as_ref()];
    paths.into_iter().flatten().map(|path| Stamp::of(path)).collect()
}

fn read(files: &TlsFiles, now: Timestamp) -> anyhow::Result<Loaded> {
    let TlsFiles { certificate, key, client_ca, client_auth, min_version, watch: _ } = files;
    let chain = certificates(certificate).context("tls.certificate")?;
    let certificate_expires =
        validity(&chain[0], now).with_context(|| format!("tls.certificate: {}", certificate.display()))?;
    let private = PrivateKeyDer::from_pem_slice(&bounded(key).context("tls.key")?)
        .map_err(|error| anyhow::anyhow!("tls.key: {} holds no private key in PEM ({error})", key.display()))?;
    warn_of_readers(key);
    // A provider of our own: another crate brings a second one, and with two there is no default.
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions(*min_version))
        .context("TLS has no cipher suites")?;
    let (builder, client_ca_expires) = match (client_auth, client_ca) {
        (ClientAuth::Optional | ClientAuth::Required, Some(client_ca)) => {
            let (roots, expires) = roots(client_ca, now).context("tls.client_ca")?;
            (builder.with_client_cert_verifier(client_verifier(roots, provider, *client_auth)?), Some(expires))
        }
        _ => (builder.with_no_client_auth(), None),
    };
    let mut config = builder.with_single_cert(chain, private).with_context(|| {
        format!("tls.key: {} is no key for the certificate in {}", key.display(), certificate.display())
    })?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Loaded { config: Arc::new(config), certificate_expires, client_ca_expires })
}

fn client_verifier(
    roots: RootCertStore,
    provider: Arc<CryptoProvider>,
    client_auth: ClientAuth,
) -> anyhow::Result<Arc<dyn rustls::server::danger::ClientCertVerifier>> {
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier = if client_auth == ClientAuth::Optional { verifier.allow_unauthenticated() } else { verifier };
    verifier.build().context("tls.client_ca")
}

/// Roots of a file, and when the first of them expires.
fn roots(path: &Path, now: Timestamp) -> anyhow::Result<(RootCertStore, Timestamp)> {
    let mut roots = RootCertStore::empty();
    let mut soonest: Option<Timestamp> = None;
    for certificate in certificates(path)? {
        // One that has expired beside its successor is how roots are changed.
        if let Ok(expires) = validity(&certificate, now) {
            soonest = Some(soonest.map_or(expires, |soonest| soonest.min(expires)));
        }
        roots.add(certificate).with_context(|| format!("{} holds a certificate that is no root", path.display()))?;
    }
    let soonest = soonest.with_context(|| format!("every certificate in {} has expired", path.display()))?;
    Ok((roots, soonest))
}

/// Certificates of a file, one at least.
fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let bytes = bounded(path)?;
    let found = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| anyhow::anyhow!("{} is no PEM file ({error})", path.display()))?;
    if found.is_empty() {
        bail!("{} holds no certificate in PEM", path.display());
    }
    Ok(found)
}

/// When a certificate expires. Errors: it has, or is no certificate.
fn validity(certificate: &CertificateDer<'_>, now: Timestamp) -> anyhow::Result<Timestamp> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|error| anyhow::anyhow!("this is no X.509 certificate ({error})"))?;
    let expires = Timestamp::from_second(parsed.validity().not_after.timestamp()).context("an expiry out of range")?;
    if expires <= now {
        bail!("the certificate expired at {expires}; put a new one there");
    }
    Ok(expires)
}

fn bounded(path: &Path) -> anyhow::Result<Vec<u8>> {
    read_bounded(path, MAX_FILE_BYTES)
        .with_context(|| format!("{} cannot be read", path.display()))?
        .with_context(|| format!("{} is larger than {MAX_FILE_BYTES} bytes", path.display()))
}

fn warn_of_readers(key: &Path) {
    let mode = fs::metadata(key).map(|metadata| metadata.permissions().mode()).unwrap_or_default();
    if mode & 0o007 != 0 {
        tracing::warn!(
            "tls.key: {} is open to every user of this machine; take their rights with chmod o=",
            key.display()
        );
    }
}

fn versions(least: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    static FROM_12: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];
    static FROM_13: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];
    match least {
        TlsVersion::Tls12 => &FROM_12,
        TlsVersion::Tls13 => &FROM_13,
    }
}

#[cfg(test)]
mod tests;
