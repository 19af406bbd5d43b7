//! Tokens: signed JWTs of issuers whose keys lie here as files. Nothing is fetched.
//!
//! Header and claims are read by the reader of all other documents, which refuses what two readers could take for
//! different things, such as repeated names. The library checks the signature and nothing else: times are compared with
//! the instant that comes in.

mod jwks;

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fitment_catalog::{Format, read_document_up_to};
use jiff::Timestamp;
use serde_json::Value;

use crate::error::Unauthenticated;
use crate::grant::{Grant, Role};
use crate::principal::{Limits, Principal, PrincipalKind};

pub(crate) use jwks::{IssuerKey, read_jwks};

/// Longest token that is read, in bytes.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// Longest subject, in characters.
const MAX_SUBJECT: usize = 128;
/// Most grants that claims add up to.
const MAX_GRANTS: usize = 256;

/// How a token may be signed. None of them is symmetric: whoever can check could sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Algorithm {
    EdDsa,
    Es256,
    Rs256,
}

impl Algorithm {
    pub(crate) const ALL: [Self; 3] = [Self::EdDsa, Self::Es256, Self::Rs256];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }

    pub(crate) fn of(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == text)
    }
}

/// An issuer that is believed, and what its claims mean.
#[derive(Debug, Clone)]
pub(crate) struct Issuer {
    pub(crate) id: String,
    /// As tokens have it in `iss`.
    pub(crate) iss: String,
    pub(crate) audiences: BTreeSet<String>,
    pub(crate) algorithms: BTreeSet<Algorithm>,
    pub(crate) keys: Vec<IssuerKey>,
    /// Seconds that two clocks may differ.
    pub(crate) leeway: f64,
    /// Seconds since `iat`.
    pub(crate) max_age: Option<f64>,
    pub(crate) subject_claim: String,
    /// Subjects that are listed principals.
    pub(crate) subjects: BTreeMap<String, Principal>,
    pub(crate) tenant: TenantRule,
    /// A claim, and what each of its values grants.
    pub(crate) roles: Option<(String, BTreeMap<String, Vec<Grant>>)>,
    pub(crate) groups_claim: Option<String>,
    /// Claims that policies may read.
    pub(crate) claims: BTreeSet<String>,
    /// What each of its tokens grants.
    pub(crate) grants: Vec<Grant>,
    pub(crate) limits: Limits,
}

/// Where a token's tenant comes from.
#[derive(Debug, Clone)]
pub(crate) enum TenantRule {
    Fixed(String),
    Claim { claim: String, allow: BTreeSet<String> },
}

/// Says whose token it is.
pub(crate) fn verify(token: &str, issuers: &[Issuer], now: Timestamp) -> Result<Principal, Unauthenticated> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(Unauthenticated::TokenTooLarge);
    }
    let (message, signature) = token.rsplit_once('.').ok_or(Unauthenticated::TokenMalformed)?;
    let (header, claims) = message.split_once('.').ok_or(Unauthenticated::TokenMalformed)?;
    let (header, claims, signature) = (json(header)?, json(claims)?, bytes(signature)?);
    let algorithm = header["alg"].as_str().and_then(Algorithm::of).ok_or(Unauthenticated::TokenAlgorithm)?;
    check_header(&header)?;
    let named = claims["iss"].as_str().ok_or(Unauthenticated::TokenIssuer)?;
    let issuer = issuers.iter().find(|issuer| issuer.iss == named).ok_or(Unauthenticated::TokenIssuer)?;
    if !issuer.algorithms.contains(&algorithm) {
        return Err(Unauthenticated::TokenAlgorithm);
    }
    let key = issuer.key(algorithm, &header["kid"])?;
    if !key.signed(message.as_bytes(), &signature) {
        return Err(Unauthenticated::TokenSignature);
    }
    issuer.check_audience(&claims["aud"])?;
    issuer.check_times(&claims, now)?;
    issuer.principal(&claims)
}

fn bytes(part: &str) -> Result<Vec<u8>, Unauthenticated> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_not_base64| Unauthenticated::TokenMalformed)
}

fn json(part: &str) -> Result<Value, Unauthenticated> {
    let read = read_document_up_to("token", &bytes(part)?, Format::Json, MAX_TOKEN_BYTES);
    match read {
        Ok(value) if value.is_object() => Ok(value),
        Ok(_) | Err(_) => Err(Unauthenticated::TokenMalformed),
    }
}

/// Refuses what changes a token's meaning, and tokens that were made for another purpose (RFC 8725, section 3.11).
/// Members that offer a key or where to fetch one are not looked at.
fn check_header(header: &Value) -> Result<(), Unauthenticated> {
    let changes = ["crit", "b64", "enc", "zip"].iter().any(|name| header.get(name).is_some());
    let of_type = match header.get("typ") {
        None => true,
        Some(Value::String(kind)) => {
            let kind = kind.to_ascii_lowercase();
            matches!(kind.strip_prefix("application/").unwrap_or(&kind), "jwt" | "at+jwt")
        }
        Some(_) => false,
    };
    if changes || !of_type { Err(Unauthenticated::TokenHeader) } else { Ok(()) }
}

impl Issuer {
    /// The key that a token names; where it names none, the only one that suits.
    fn key(&self, algorithm: Algorithm, kid: &Value) -> Result<&IssuerKey, Unauthenticated> {
        let mut suitable = self.keys.iter().filter(|key| key.algorithm == algorithm);
        let found = match kid {
            Value::String(kid) => suitable.find(|key| key.kid.as_ref() == Some(kid)),
            Value::Null => match (suitable.next(), suitable.next()) {
                (Some(only), None) => Some(only),
                _ => None,
            },
            _ => None,
        };
        found.ok_or(Unauthenticated::TokenKey)
    }

    fn check_audience(&self, audience: &Value) -> Result<(), Unauthenticated> {
        let ours = |value: &Value| value.as_str().is_some_and(|text| self.audiences.contains(text));
        let meant = match audience {
            Value::Array(items) => items.iter().any(ours),
            one => ours(one),
        };
        if meant { Ok(()) } else { Err(Unauthenticated::TokenAudience) }
    }

    #[expect(clippy::cast_precision_loss, reason = "seconds of an instant are exact in a double")]
    fn check_times(&self, claims: &Value, now: Timestamp) -> Result<(), Unauthenticated> {
        let now = now.as_second() as f64;
        let expires = instant(claims, "exp")?.ok_or(Unauthenticated::TokenClaims)?;
        if now >= expires + self.leeway {
            return Err(Unauthenticated::TokenExpired);
        }
        let issued = instant(claims, "iat")?;
        let begins = [instant(claims, "nbf")?, issued];
        if begins.into_iter().flatten().any(|begin| now + self.leeway < begin) {
            return Err(Unauthenticated::TokenNotYetValid);
        }
        match (self.max_age, issued) {
            (Some(_), None) => Err(Unauthenticated::TokenClaims),
            (Some(age), Some(issued)) if now > issued + age + self.leeway => Err(Unauthenticated::TokenTooOld),
            (None, _) | (Some(_), Some(_)) => Ok(()),
        }
    }

    fn principal(&self, claims: &Value) -> Result<Principal, Unauthenticated> {
        let subject = claim(claims, &self.subject_claim).and_then(Value::as_str).filter(|text| is_subject(text));
        let subject = subject.ok_or(Unauthenticated::TokenClaims)?;
        let tenant = match &self.tenant {
            TenantRule::Fixed(tenant) => tenant.clone(),
            TenantRule::Claim { claim: name, allow } => {
                let named = claim(claims, name).and_then(Value::as_str).filter(|tenant| allow.contains(*tenant));
                named.ok_or(Unauthenticated::TokenTenant)?.to_owned()
            }
        };
        let read = self.claims.iter().filter_map(|name| Some((name.clone(), scalar(claim(claims, name)?)?)));
        let read: BTreeMap<String, String> = read.collect();
        if let Some(listed) = self.subjects.get(subject) {
            // What is listed decides, tenant included: its issuer says no more than who it is.
            return Ok(Principal { kind: PrincipalKind::Token, claims: read, ..listed.clone() });
        }
        let mut grants = self.grants.clone();
        if let Some((name, table)) = &self.roles {
            let held: BTreeSet<&str> = claim(claims, name).map(values).unwrap_or_default();
            let granted = held.iter().filter_map(|value| table.get(*value)).flatten();
            grants.extend(granted.cloned());
        }
        if grants.len() > MAX_GRANTS {
            // Cut off, it could lose a denial.
            return Err(Unauthenticated::TokenClaims);
        }
        let groups = self.groups_claim.as_ref().and_then(|name| claim(claims, name)).map(values).unwrap_or_default();
        let is_role = |group: &str| Role::ALL.iter().any(|role| role.as_str() == group);
        Ok(Principal {
            id: format!("{}:{subject}", self.id),
            tenant,
            kind: PrincipalKind::Token,
            groups: groups.into_iter().filter(|group| !is_role(group)).map(str::to_owned).collect(),
            grants,
            limits: self.limits,
            claims: read,
        })
    }
}

/// A claim by its name, or by a JSON pointer.
fn claim<'c>(claims: &'c Value, name: &str) -> Option<&'c Value> {
    if name.starts_with('/') { claims.pointer(name) } else { claims.get(name) }
}

/// The texts of a list, or the words of a text, as `scope` has them.
fn values(claim: &Value) -> BTreeSet<&str> {
    match claim {
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        Value::String(text) => text.split_ascii_whitespace().collect(),
        _ => BTreeSet::new(),
    }
}

fn scalar(claim: &Value) -> Option<String> {
    match claim {
        Value::String(text) => Some(text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Seconds since 1970, to the end of year 9999; fractions are allowed (RFC 7519, section 2).
fn instant(claims: &Value, name: &str) -> Result<Option<f64>, Unauthenticated> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => {
            let seconds = value.as_f64().filter(|seconds| (0.0..=253_402_300_799.0).contains(seconds));
            seconds.map(Some).ok_or(Unauthenticated::TokenClaims)
        }
    }
}

/// A subject that can stand in an audit record: no control characters, none that turn the direction of writing.
fn is_subject(text: &str) -> bool {
    let odd = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !text.is_empty() && text.trim() == text && text.chars().count() <= MAX_SUBJECT && !text.contains(odd)
}
