//! What can be wrong: with the documents of an operator, with who a caller says to be, with what a caller asks for.

use std::fmt::{self, Write as _};

use fitment_catalog::{CatalogError, cut};
use thiserror::Error;

/// Most faults that are listed; a document with more is wrong in the same way throughout.
pub(crate) const MAX_FAULTS: usize = 200;

/// The documents that say who may what cannot be used. Each message names the file, the place and the way out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AccessError {
    /// The document cannot be read as YAML or JSON, or is too large.
    #[error(transparent)]
    Document(#[from] CatalogError),
    /// The document, or a file that it names, breaks rules. All faults are listed, at most 200.
    #[error("{}", list(faults))]
    Invalid {
        /// At least one.
        faults: Vec<Fault>,
    },
}

/// One thing that is wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Name of the document: the one that the caller gave, or the one that this document names.
    pub file: String,
    /// Path of the value, such as `principals[2].grants[0].role`, or line and column in a text; empty for the whole.
    pub path: String,
    /// What is wrong and the way out. Never holds a secret.
    pub description: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, path, description } = self;
        if path.is_empty() { write!(f, "{file}: {description}") } else { write!(f, "{file}: {path}: {description}") }
    }
}

/// Why nobody is known to be behind a call. The words are for logs and for callers: they are stable, and repeat nothing
/// of what was presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Unauthenticated {
    /// Nothing was presented that names anybody, and anonymous calls are off.
    Missing,
    /// An `authorization` that is no `Bearer` with a key or a token.
    Malformed,
    /// Several `authorization` values, or credentials that name different principals.
    Disagreeing,
    /// No such key.
    UnknownKey,
    /// The key is not in force yet.
    KeyNotYetValid,
    /// The key's time is over.
    KeyExpired,
    /// The token is longer than is read.
    TokenTooLarge,
    /// The token is no compact JWS with a JSON header and JSON claims.
    TokenMalformed,
    /// The token's `alg` is not one that its issuer may use.
    TokenAlgorithm,
    /// The token's header asks for something that is not done here, such as `crit`, or is of another type.
    TokenHeader,
    /// No issuer of that name is believed.
    TokenIssuer,
    /// The token is for somebody else.
    TokenAudience,
    /// No key of the issuer suits the token.
    TokenKey,
    /// The signature is not the issuer's.
    TokenSignature,
    /// `exp` is absent or no number, or another claim is not of its form.
    TokenClaims,
    /// The token's time is over.
    TokenExpired,
    /// The token's time has not come, or it says that it was made in the future.
    TokenNotYetValid,
    /// The token was made longer ago than its issuer's tokens may be.
    TokenTooOld,
    /// The token names a tenant that its issuer may not name, or none.
    TokenTenant,
    /// The client certificate cannot be read.
    CertificateMalformed,
    /// The client certificate's time is over, or has not come.
    CertificateExpired,
}

impl Unauthenticated {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::Missing,
        Self::Malformed,
        Self::Disagreeing,
        Self::UnknownKey,
        Self::KeyNotYetValid,
        Self::KeyExpired,
        Self::TokenTooLarge,
        Self::TokenMalformed,
        Self::TokenAlgorithm,
        Self::TokenHeader,
        Self::TokenIssuer,
        Self::TokenAudience,
        Self::TokenKey,
        Self::TokenSignature,
        Self::TokenClaims,
        Self::TokenExpired,
        Self::TokenNotYetValid,
        Self::TokenTooOld,
        Self::TokenTenant,
        Self::CertificateMalformed,
        Self::CertificateExpired,
    ];

    /// The reason as a stable word for metrics, audit records and `ErrorInfo`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "credentials_missing",
            Self::Malformed => "credentials_malformed",
            Self::Disagreeing => "credentials_disagree",
            Self::UnknownKey => "key_unknown",
            Self::KeyNotYetValid => "key_not_yet_valid",
            Self::KeyExpired => "key_expired",
            Self::TokenTooLarge => "token_too_large",
            Self::TokenMalformed => "token_malformed",
            Self::TokenAlgorithm => "token_algorithm",
            Self::TokenHeader => "token_header",
            Self::TokenIssuer => "token_issuer",
            Self::TokenAudience => "token_audience",
            Self::TokenKey => "token_key",
            Self::TokenSignature => "token_signature",
            Self::TokenClaims => "token_claims",
            Self::TokenExpired => "token_expired",
            Self::TokenNotYetValid => "token_not_yet_valid",
            Self::TokenTooOld => "token_too_old",
            Self::TokenTenant => "token_tenant",
            Self::CertificateMalformed => "certificate_malformed",
            Self::CertificateExpired => "certificate_expired",
        }
    }

    const fn sentence(self) -> &'static str {
        match self {
            Self::Missing => "no credentials were presented; send `authorization: Bearer` with an API key or a token",
            Self::Malformed => {
                "the authorization is not of the form `Bearer KEY-OR-TOKEN`; send one API key or one token"
            }
            Self::Disagreeing => "credentials of different principals were presented; send those of one",
            Self::UnknownKey => "the API key is not known; ask the operator for one",
            Self::KeyNotYetValid => "the API key is not in force yet; check both clocks",
            Self::KeyExpired => "the API key has expired; ask the operator for a new one",
            Self::TokenTooLarge => "the token is longer than 8192 bytes; ask its issuer for fewer claims",
            Self::TokenMalformed => "the token is no signed JWT in compact form",
            Self::TokenAlgorithm => "the token is signed in a way that is not accepted from its issuer",
            Self::TokenHeader => "the token's header is of another type or asks for an extension that is not supported",
            Self::TokenIssuer => "the token's issuer is not believed here",
            Self::TokenAudience => "the token was issued for somebody else",
            Self::TokenKey => "the token's key is not among its issuer's; it may have been rotated: get a new token",
            Self::TokenSignature => "the token's signature does not hold",
            Self::TokenClaims => "the token lacks a claim that is needed, or one is not of its form",
            Self::TokenExpired => "the token has expired; get a new one",
            Self::TokenNotYetValid => "the token is not in force yet; check both clocks",
            Self::TokenTooOld => "the token was issued too long ago; get a new one",
            Self::TokenTenant => "the token names no tenant that its issuer may name",
            Self::CertificateMalformed => "the client certificate cannot be read",
            Self::CertificateExpired => "the client certificate is not in its time; renew it",
        }
    }
}

impl fmt::Display for Unauthenticated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}

impl std::error::Error for Unauthenticated {}

/// A principal may not do what it asks for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{principal}` may not `{action}`: {reason}")]
pub struct Denied {
    /// Who.
    pub principal: String,
    /// What, as the table of RPCs calls it; the path where the table has no such RPC.
    pub action: String,
    /// Why.
    pub reason: DenialReason,
}

/// Why something is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Error)]
#[non_exhaustive]
pub enum DenialReason {
    /// The path is in no table.
    #[error("there is no such call")]
    UnknownRpc,
    /// Nothing allows it.
    #[error("no grant allows it; ask the operator for a role that may")]
    NoGrant,
    /// It is about the whole catalogue, and what the principal was granted is narrowed.
    #[error("it concerns the whole catalogue and the grant is narrowed to a part; ask for one that is not")]
    Narrowed,
    /// A grant with the effect `deny`.
    #[error("a grant denies it; the operator can say which with `fitment access explain`")]
    DeniedByGrant,
    /// A Cedar policy forbids it, or could not be evaluated.
    #[error("a policy denies it; the operator can say which with `fitment access explain`")]
    DeniedByPolicy,
}

impl DenialReason {
    /// The reason as a stable word for metrics, audit records and `ErrorInfo`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownRpc => "rpc_unknown",
            Self::NoGrant => "grant_missing",
            Self::Narrowed => "grant_narrowed",
            Self::DeniedByGrant => "grant_denies",
            Self::DeniedByPolicy => "policy_denies",
        }
    }
}

/// Cuts a value that is quoted in a message to 80 characters and takes its control characters out.
pub(crate) fn shorten(value: &str) -> String {
    cut(value, 80)
}

/// A message of another library on one line, at most 240 characters.
pub(crate) fn one_line(message: &impl fmt::Display) -> String {
    cut(&message.to_string(), 240)
}

fn list(faults: &[Fault]) -> String {
    let mut text = String::new();
    for (i, fault) in faults.iter().enumerate() {
        let separator = if i == 0 { "" } else { "\n" };
        // Writing to a String cannot fail.
        let _ = write!(text, "{separator}{fault}");
    }
    text
}
