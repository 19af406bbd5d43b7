//! The model hub as a source, for builds that have an HTTP client.

#[cfg(feature = "fetch")]
mod client;

use std::time::Duration;

#[cfg(feature = "fetch")]
pub(super) use self::client::fetch;
use crate::known::KnownModel;

/// How to reach the model hub. Proxies come from the environment, as the client library reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubAccess {
    /// The hub or a mirror of it, without a trailing `/`.
    pub endpoint: String,
    /// Sent as a bearer token.
    pub token: Option<String>,
    /// How long to wait for the first answer.
    pub answer_within: Duration,
    /// How long to wait for the next byte.
    pub stall_after: Duration,
}

impl Default for HubAccess {
    fn default() -> Self {
        Self {
            endpoint: "https://huggingface.co".to_owned(),
            token: None,
            answer_within: Duration::from_secs(6),
            stall_after: Duration::from_secs(60),
        }
    }
}

pub(super) fn describe(access: &HubAccess, known: &KnownModel) -> String {
    let revision = known.hub.revision.get(..7).unwrap_or(&known.hub.revision);
    format!("hub {}/{}@{revision}", access.endpoint, known.hub.repository)
}

/// Builds without an HTTP client have this source not at all.
#[cfg(not(feature = "fetch"))]
pub(super) fn fetch(
    _access: &HubAccess,
    _known: &KnownModel,
    _staging: &super::pull::Staging,
    _progress: &dyn crate::progress::Progress,
) -> Result<(), String> {
    Err("this build has no HTTP client".to_owned())
}
