//! What a command shows a daemon of itself, and what it believes of the daemon.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Request, Status};

use crate::output::Invalid;

/// Bytes of a file with a key, a token or certificates.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// A key itself. There is no flag for it: command lines are read by every user of a machine.
const API_KEY: &str = "FITMENT_API_KEY";

/// How a command makes itself known. Secrets come from files or the environment, never from the command line.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct CredentialFlags {
    /// Certificates that the daemon's one is verified against (PEM); needed for https://.
    #[arg(long, value_name = "FILE", env = "FITMENT_CA")]
    ca: Option<PathBuf>,
    /// Certificate to show the daemon (PEM).
    #[arg(long, value_name = "FILE", env = "FITMENT_CLIENT_CERT", requires = "client_key")]
    client_cert: Option<PathBuf>,
    /// Its private key (PEM).
    #[arg(long, value_name = "FILE", env = "FITMENT_CLIENT_KEY", requires = "client_cert")]
    client_key: Option<PathBuf>,
    /// File with an API key; also the key itself in the variable `FITMENT_API_KEY`.
    #[arg(long, value_name = "FILE", env = "FITMENT_API_KEY_FILE", conflicts_with = "token_file")]
    api_key_file: Option<PathBuf>,
    /// File with a token (JWT).
    #[arg(long, value_name = "FILE", env = "FITMENT_TOKEN_FILE")]
    token_file: Option<PathBuf>,
}

impl CredentialFlags {
    /// What goes with every request.
    pub(super) fn bearer(&self) -> anyhow::Result<Bearer> {
        let secret = match self.api_key_file.as_ref().or(self.token_file.as_ref()) {
            Some(file) => Some((file.display().to_string(), text(file)?)),
            None => std::env::var(API_KEY).ok().map(|key| (API_KEY.to_owned(), key)),
        };
        let Some((source, secret)) = secret else { return Ok(Bearer(None)) };
        let secret = secret.trim();
        // What is wrong with it is not shown: it is a secret all the same.
        let value = (!secret.is_empty() && secret.bytes().all(|byte| byte.is_ascii_graphic()))
            .then(|| MetadataValue::try_from(format!("Bearer {secret}")).ok())
            .flatten();
        let Some(mut value) = value else {
            return Err(Invalid(format!("{source} holds no key or token: one word of visible ASCII characters")).into());
        };
        value.set_sensitive(true);
        Ok(Bearer(Some(value)))
    }

    /// What TLS is made with. address: for messages.
    pub(super) fn tls(&self, address: &str) -> anyhow::Result<Arc<ClientConfig>> {
        let Some(ca) = &self.ca else {
            let way_out = "name the file of the certificates that the daemon's one is signed by with --ca FILE";
            return Err(Invalid(format!("{address} is verified against nothing; {way_out}")).into());
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(ca)? {
            roots.add(certificate).with_context(|| format!("{} holds a certificate that is no root", ca.display()))?;
        }
        // A provider of our own: another crate brings a second one, and with two there is no default.
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .context("TLS has no cipher suites")?
            .with_root_certificates(roots);
        let mut config = match (&self.client_cert, &self.client_key) {
            (Some(certificate), Some(key)) => {
                let private = PrivateKeyDer::from_pem_slice(&bounded(key)?)
                    .map_err(|error| Invalid(format!("{} holds no private key in PEM ({error})", key.display())))?;
                builder.with_client_auth_cert(certificates(certificate)?, private).map_err(|error| {
                    let (key, certificate) = (key.display(), certificate.display());
                    Invalid(format!("{key} is no key for the certificate in {certificate} ({error})"))
                })?
            }
            _ => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }
}

/// The key or token that goes with every request.
#[derive(Clone)]
pub(crate) struct Bearer(Option<MetadataValue<Ascii>>);

impl Bearer {
    pub(super) fn is_there(&self) -> bool {
        self.0.is_some()
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

fn text(path: &Path) -> anyhow::Result<String> {
    String::from_utf8(bounded(path)?).map_err(|_secret| Invalid(format!("{} is no text", path.display())).into())
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let bytes = bounded(path)?;
    let found = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(Invalid(format!("{} holds no certificate in PEM", path.display())).into()),
        Err(error) => Err(Invalid(format!("{} is no PEM file ({error})", path.display())).into()),
    }
}

fn bounded(path: &Path) -> anyhow::Result<Vec<u8>> {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        fs::File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error| Invalid(format!("{} cannot be read ({error})", path.display())))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_FILE_BYTES {
        return Err(Invalid(format!("{} is larger than {MAX_FILE_BYTES} bytes", path.display())).into());
    }
    Ok(bytes)
}
