//! Who a caller is and what it may.
//!
//! Everything here is a pure function of its arguments. The crate opens no file, reads no clock and draws no random
//! number: documents, keys, credentials and the instant come in from outside. It knows neither the engine nor the wire.
//!
//! Reading order: [`Access`] is read from an operator's document; [`Access::authenticate`] makes a [`Principal`] of what
//! was [`Presented`]; [`RPCS`] says which [`Role`] may make which call; [`Access::authorise`] gives a [`Permit`], the
//! proof that work behind the edge asks for; [`ApiKey`] makes keys.

mod access;
mod document;
mod error;
mod grant;
mod key;
mod permit;
mod policy;
mod principal;
mod rpc;
mod token;

pub use access::{Access, Presented, Summary, UnixPeer};
pub use document::{Attached, MAX_DOCUMENT_BYTES};
pub use error::{AccessError, DenialReason, Denied, Fault, Unauthenticated};
pub use grant::{ComponentFacts, Effect, Grant, Labels, Role};
pub use key::{ApiKey, KEY_RANDOMNESS};
pub use permit::{Because, Explanation, Permit};
pub use policy::{ACCESS_CEDAR_SCHEMA, MAX_POLICIES, MAX_POLICY_BYTES};
pub use principal::{ANONYMOUS, DEFAULT_TENANT, Limits, Principal, PrincipalKind};
pub use rpc::{CERTIFY_COMPONENT, RPCS, Reach, Rpc, STEPS, Step, needs_no_principal, rpc_of, table_markdown};
pub use token::MAX_TOKEN_BYTES;
