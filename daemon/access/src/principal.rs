//! Who a caller turned out to be.

use std::collections::{BTreeMap, BTreeSet};

use crate::grant::{Effect, Grant, Role};

/// The tenant of who is in no other.
pub const DEFAULT_TENANT: &str = "default";

/// Id of who calls without credentials, where that is allowed.
pub const ANONYMOUS: &str = "anonymous";

/// How a principal showed who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PrincipalKind {
    /// By an API key.
    ApiKey,
    /// By a signed token.
    Token,
    /// By a client certificate.
    Certificate,
    /// By the user or group behind a Unix socket.
    Unix,
    /// Not at all.
    Anonymous,
}

impl PrincipalKind {
    /// The word for it in policies and audit records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ApiKey => "api-key",
            Self::Token => "token",
            Self::Certificate => "certificate",
            Self::Unix => "unix",
            Self::Anonymous => "anonymous",
        }
    }
}

/// How much a principal may ask for; `None` leaves a limit to the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Limits {
    /// Calls a second, on average; above 0.
    pub requests_per_second: Option<f64>,
    /// Calls that may come at once on top, at least 1.
    pub burst: Option<u32>,
    /// Calls at work at the same time, at least 1.
    pub concurrent: Option<u32>,
    /// Tokens of text a second, on average; above 0.
    pub tokens_per_second: Option<f64>,
}

/// Who a caller turned out to be, with what was granted. Made by [`crate::Access`] alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Principal {
    pub(crate) id: String,
    pub(crate) tenant: String,
    pub(crate) kind: PrincipalKind,
    pub(crate) groups: BTreeSet<String>,
    pub(crate) grants: Vec<Grant>,
    pub(crate) limits: Limits,
    pub(crate) claims: BTreeMap<String, String>,
}

impl Principal {
    /// Its id, for audit records: at most 200 characters, none of them a control character. An id from a token starts with
    /// its issuer's id and a colon, so that it cannot be taken for a listed one.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The tenant that it belongs to.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// How it showed who it is.
    pub fn kind(&self) -> PrincipalKind {
        self.kind
    }

    /// Groups that it is in; manifests name them under `access`.
    pub fn groups(&self) -> &BTreeSet<String> {
        &self.groups
    }

    /// What was granted and denied.
    pub fn grants(&self) -> &[Grant] {
        &self.grants
    }

    /// The roles that its grants allow somewhere.
    pub fn roles(&self) -> BTreeSet<Role> {
        self.grants.iter().filter(|grant| grant.effect == Effect::Allow).map(|grant| grant.role).collect()
    }

    /// How much it may ask for.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Claims of its token that policies may read.
    pub fn claims(&self) -> &BTreeMap<String, String> {
        &self.claims
    }
}
