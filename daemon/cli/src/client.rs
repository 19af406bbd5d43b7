//! Connecting to a running daemon.

mod connector;
mod credentials;

use std::time::Duration;

use fitment_proto::v1::assembly_service_client::AssemblyServiceClient;
use fitment_proto::v1::audit_service_client::AuditServiceClient;
use fitment_proto::v1::bundle_service_client::BundleServiceClient;
use fitment_proto::v1::catalog_service_client::CatalogServiceClient;
use fitment_proto::v1::certification_service_client::CertificationServiceClient;
use fitment_proto::v1::evaluation_service_client::EvaluationServiceClient;
use fitment_proto::v1::feedback_service_client::FeedbackServiceClient;
use fitment_proto::v1::gap_service_client::GapServiceClient;
use fitment_proto::v1::info_service_client::InfoServiceClient;
use fitment_proto::v1::matcher_service_client::MatcherServiceClient;
use fitment_proto::v1::model_service_client::ModelServiceClient;
use fitment_proto::v1::snapshot_service_client::SnapshotServiceClient;
use fitment_server::config::DEFAULT_LISTEN;

pub(crate) use self::connector::Connection;
pub(crate) use self::credentials::CredentialFlags;

/// Largest message in either direction.
const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;

/// Which daemon to talk to.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ServerFlags {
    /// Address of the daemon: `HOST:PORT`, `https://HOST:PORT` or `unix:/PATH`.
    #[arg(long, value_name = "ADDR", env = "FITMENT_SERVER", default_value = DEFAULT_LISTEN)]
    server: String,
    /// Give up after this many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    #[command(flatten)]
    credentials: CredentialFlags,
}

/// Who asks, and why: kept in the audit trail.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct AuthorFlags {
    /// Why; kept in the audit trail.
    #[arg(long, default_value = "")]
    pub(crate) reason: String,
    /// Who asks; kept in the audit trail.
    #[arg(long, env = "FITMENT_ACTOR", default_value = "")]
    pub(crate) actor: String,
}

impl ServerFlags {
    /// The flags of a command that asks a daemon only on demand. address: `None`: the usual one.
    pub(crate) fn at(address: Option<String>, credentials: CredentialFlags) -> Self {
        let usual = || std::env::var("FITMENT_SERVER").unwrap_or_else(|_absent| DEFAULT_LISTEN.to_owned());
        Self { server: address.unwrap_or_else(usual), timeout: 30, credentials }
    }

    async fn connect(&self) -> anyhow::Result<Connection> {
        connector::connect(&self.server, &self.credentials).await
    }

    /// A client for intents, with a deadline on every call.
    pub(crate) async fn matcher(&self) -> anyhow::Result<MatcherServiceClient<Connection>> {
        Ok(MatcherServiceClient::new(self.connect().await?)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES))
    }

    /// A client for the catalogue.
    pub(crate) async fn catalog(&self) -> anyhow::Result<CatalogServiceClient<Connection>> {
        Ok(CatalogServiceClient::new(self.connect().await?)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES))
    }

    /// A client for certificates.
    pub(crate) async fn certification(&self) -> anyhow::Result<CertificationServiceClient<Connection>> {
        Ok(CertificationServiceClient::new(self.connect().await?)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES))
    }

    /// A client for the audit trail.
    pub(crate) async fn audit(&self) -> anyhow::Result<AuditServiceClient<Connection>> {
        Ok(AuditServiceClient::new(self.connect().await?)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES))
    }

    /// A client for verdicts and what comes of them.
    pub(crate) async fn feedback(&self) -> anyhow::Result<FeedbackServiceClient<Connection>> {
        Ok(FeedbackServiceClient::new(self.connect().await?)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES))
    }

    /// A client for gaps.
    pub(crate) async fn gaps(&self) -> anyhow::Result<GapServiceClient<Connection>> {
        Ok(GapServiceClient::new(self.connect().await?)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES))
    }

    /// A client for assemblies.
    pub(crate) async fn assemblies(&self) -> anyhow::Result<AssemblyServiceClient<Connection>> {
        Ok(AssemblyServiceClient::new(self.connect().await?)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES))
    }

    /// A client for learning and measuring.
    pub(crate) async fn evaluation(&self) -> anyhow::Result<EvaluationServiceClient<Connection>> {
        Ok(EvaluationServiceClient::new(self.connect().await?)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES))
    }

    /// A client for what the daemon says of itself.
    pub(crate) async fn info(&self) -> anyhow::Result<InfoServiceClient<Connection>> {
        Ok(InfoServiceClient::new(self.connect().await?))
    }

    /// A client for snapshots.
    pub(crate) async fn snapshots(&self) -> anyhow::Result<SnapshotServiceClient<Connection>> {
        Ok(SnapshotServiceClient::new(self.connect().await?)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES))
    }

    /// A client for changes of the model.
    pub(crate) async fn models(&self) -> anyhow::Result<ModelServiceClient<Connection>> {
        Ok(ModelServiceClient::new(self.connect().await?)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES))
    }

    /// A client for bundles.
    pub(crate) async fn bundles(&self) -> anyhow::Result<BundleServiceClient<Connection>> {
        Ok(BundleServiceClient::new(self.connect().await?)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            // A manifest of the largest size and what is around it.
            .max_encoding_message_size(2 * MAX_MESSAGE_BYTES))
    }

    /// A request with the deadline.
    pub(crate) fn request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request.set_timeout(Duration::from_secs(self.timeout));
        request
    }
}

/// No daemon answers.
#[derive(Debug, thiserror::Error)]
#[error(
    "no daemon answers at {address} ({detail}); start one with `fitment demo` or `fitment serve`, or name another with --server"
)]
pub(crate) struct Unreachable {
    address: String,
    detail: String,
}

/// What is behind an error and everything that wraps it.
pub(crate) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
