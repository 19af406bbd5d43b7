//! Everything that a document says, ready to be asked: who is it, and may it?

mod certificate;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use subtle::ConstantTimeEq as _;

use crate::document::{self, Attached};
use crate::error::{AccessError, DenialReason, Denied, Unauthenticated};
use crate::grant::ComponentFacts;
use crate::key;
use crate::permit::{Explanation, Permit};
use crate::policy::Policies;
use crate::principal::{DEFAULT_TENANT, Principal, PrincipalKind};
use crate::rpc::{self, Asked};
use crate::token::{self, Issuer};

pub(crate) use certificate::{CertificateIdentity, CertificateName, Certificates};

/// Who may what, valid by construction. Cheap to ask; a change of the document makes a new one.
#[derive(Debug, Clone)]
pub struct Access {
    tenants: BTreeSet<String>,
    principals: BTreeMap<String, Principal>,
    credentials: Credentials,
    policies: Arc<Policies>,
}

/// What shows who somebody is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Credentials {
    /// By prefix.
    pub(crate) keys: HashMap<String, KeyEntry>,
    pub(crate) issuers: Vec<Issuer>,
    pub(crate) certificates: Certificates,
    pub(crate) unix: UnixIdentities,
    pub(crate) anonymous: Option<Principal>,
}

/// An API key as it is kept.
#[derive(Debug, Clone)]
pub(crate) struct KeyEntry {
    pub(crate) sha256: [u8; 32],
    /// First instant at which it counts.
    pub(crate) created: Timestamp,
    /// First instant at which it no longer counts.
    pub(crate) expires: Option<Timestamp>,
    pub(crate) principal: Arc<Principal>,
}

/// Users and groups behind a Unix socket.
#[derive(Debug, Clone, Default)]
pub(crate) struct UnixIdentities {
    pub(crate) users: BTreeMap<u32, Arc<Principal>>,
    pub(crate) groups: BTreeMap<u32, Arc<Principal>>,
}

/// The user and the group of the process at the other end of a Unix socket, as the kernel says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnixPeer {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// What came with a call that may say who calls.
#[derive(Clone, Copy, Default)]
pub struct Presented<'p> {
    /// Every value of the header `authorization`.
    pub authorization: &'p [&'p [u8]],
    /// The client's own certificate, DER, of a chain that TLS has verified. Never one that it has not.
    pub certificate: Option<&'p [u8]>,
    /// The peer of a Unix socket.
    pub unix: Option<UnixPeer>,
}

/// Shows what sort of credentials came, and none of them.
impl fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { authorization, certificate, unix } = self;
        f.debug_struct("Presented")
            .field("authorization", &authorization.len())
            .field("certificate", &certificate.is_some())
            .field("unix", unix)
            .finish()
    }
}

/// What a document holds, in numbers, for people who check it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Tenants, `default` among them; ordered.
    pub tenants: Vec<String>,
    /// Listed principals.
    pub principals: usize,
    /// API keys, whether in force or not.
    pub api_keys: usize,
    /// Issuers of tokens, by id; ordered.
    pub jwt_issuers: Vec<String>,
    /// Names in client certificates that stand for principals.
    pub certificates: usize,
    /// Users and groups of Unix sockets that stand for principals.
    pub unix: usize,
    /// Whether calls without credentials are somebody's.
    pub anonymous: bool,
    /// Ids of the Cedar policies; ordered.
    pub policies: Vec<String>,
}

impl Access {
    /// Reads a document, YAML or JSON, and the files that it names. `file` names the bytes in messages.
    ///
    /// # Errors
    /// [`AccessError::Document`] where it cannot be read, otherwise [`AccessError::Invalid`] with all faults at once.
    pub fn load(file: &str, bytes: &[u8], attached: Attached<'_>) -> Result<Self, AccessError> {
        document::load(file, bytes, attached)
    }

    pub(crate) fn new(
        tenants: BTreeSet<String>,
        principals: BTreeMap<String, Principal>,
        credentials: Credentials,
        policies: Policies,
    ) -> Self {
        Self { tenants, principals, credentials, policies: Arc::new(policies) }
    }

    /// Where nobody is asked who it is: every call is one principal's, which may do everything. What a daemon without a
    /// document starts from, and the reason why it listens on loopback alone.
    pub fn unrestricted() -> Self {
        let everybody = Principal {
            id: crate::principal::ANONYMOUS.to_owned(),
            tenant: DEFAULT_TENANT.to_owned(),
            kind: PrincipalKind::Anonymous,
            groups: BTreeSet::new(),
            grants: vec![crate::Grant::of(crate::Role::Administrator)],
            limits: crate::Limits::default(),
            claims: BTreeMap::new(),
        };
        let credentials = Credentials { anonymous: Some(everybody), ..Credentials::default() };
        Self::new([DEFAULT_TENANT.to_owned()].into(), BTreeMap::new(), credentials, Policies::none())
    }

    /// The tenants, `default` among them; ordered.
    pub fn tenants(&self) -> impl Iterator<Item = &str> {
        self.tenants.iter().map(String::as_str)
    }

    /// A listed principal, or `anonymous` where that is on. It has shown nothing, so its kind is
    /// [`PrincipalKind::Anonymous`].
    pub fn principal(&self, id: &str) -> Option<&Principal> {
        let anonymous = self.credentials.anonymous.as_ref().filter(|anonymous| anonymous.id == id);
        self.principals.get(id).or(anonymous)
    }

    /// What the document holds, in numbers.
    pub fn summary(&self) -> Summary {
        let Credentials { keys, issuers, certificates, unix, anonymous } = &self.credentials;
        let mut jwt_issuers: Vec<String> = issuers.iter().map(|issuer| issuer.id.clone()).collect();
        jwt_issuers.sort();
        Summary {
            tenants: self.tenants.iter().cloned().collect(),
            principals: self.principals.len(),
            api_keys: keys.len(),
            jwt_issuers,
            certificates: certificates.len(),
            unix: unix.users.len() + unix.groups.len(),
            anonymous: anonymous.is_some(),
            policies: self.policies.ids().into_iter().collect(),
        }
    }

    /// Says who calls. An `authorization` must hold where there is one; certificates and peers that nobody is listed for
    /// say nothing. All that say something must say the same.
    ///
    /// # Errors
    /// Why nobody is known.
    pub fn authenticate(&self, presented: &Presented<'_>, now: Timestamp) -> Result<Arc<Principal>, Unauthenticated> {
        let Presented { authorization, certificate, unix } = *presented;
        let by_header = match authorization {
            [] => None,
            [one] => Some(self.by_authorization(one, now)?),
            _ => return Err(Unauthenticated::Disagreeing),
        };
        let by_certificate =
            certificate.map(|der| self.credentials.certificates.principal(der, now)).transpose()?.flatten();
        let by_peer = unix.and_then(|peer| self.credentials.unix.principal(peer));
        // The first to speak is the one that a caller chose for this call.
        let mut said = [by_header, by_certificate, by_peer].into_iter().flatten();
        match said.next() {
            Some(first) if said.all(|other| other.id == first.id && other.tenant == first.tenant) => Ok(first),
            Some(_) => Err(Unauthenticated::Disagreeing),
            None => self.credentials.anonymous.clone().map(Arc::new).ok_or(Unauthenticated::Missing),
        }
    }

    fn by_authorization(&self, value: &[u8], now: Timestamp) -> Result<Arc<Principal>, Unauthenticated> {
        // The scheme is compared without regard to case (RFC 9110, section 11.1).
        let credential = value
            .split_at_checked(7)
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "))
            .and_then(|(_, rest)| std::str::from_utf8(rest).ok())
            .map(str::trim_ascii)
            .filter(|credential| !credential.is_empty())
            .ok_or(Unauthenticated::Malformed)?;
        if credential.starts_with(key::MARK) {
            return self.by_key(credential, now);
        }
        token::verify(credential, &self.credentials.issuers, now).map(Arc::new)
    }

    /// One hash and one comparison, whether or not there is such a key.
    fn by_key(&self, presented: &str, now: Timestamp) -> Result<Arc<Principal>, Unauthenticated> {
        let prefix = key::prefix_of(presented).ok_or(Unauthenticated::UnknownKey)?;
        let entry = self.credentials.keys.get(prefix);
        let kept = entry.map_or([0; 32], |entry| entry.sha256);
        let same = bool::from(key::digest_of(presented).ct_eq(&kept));
        let entry = entry.filter(|_| same).ok_or(Unauthenticated::UnknownKey)?;
        // Only who has the key learns how it stands.
        if now < entry.created {
            return Err(Unauthenticated::KeyNotYetValid);
        }
        if entry.expires.is_some_and(|expires| expires <= now) {
            return Err(Unauthenticated::KeyExpired);
        }
        Ok(entry.principal.clone())
    }

    /// Says whether a principal may make a call at all, and gives the proof. Where the proof is
    /// [narrowed](Permit::is_narrowed), each component must be asked about too.
    ///
    /// # Errors
    /// [`Denied`], with the reason.
    pub fn authorise(&self, principal: &Principal, rpc_path: &str) -> Result<Permit, Denied> {
        match rpc::rpc_of(rpc_path) {
            Some(rpc) => Permit::ask(principal, Asked::from(rpc), &self.policies),
            None => Err(Denied {
                principal: principal.id.clone(),
                action: crate::error::shorten(rpc_path),
                reason: DenialReason::UnknownRpc,
            }),
        }
    }

    /// The same for a finer question within a call, one of [`crate::STEPS`].
    ///
    /// # Errors
    /// [`Denied`], with the reason.
    pub fn authorise_step(&self, principal: &Principal, action: &str) -> Result<Permit, Denied> {
        match rpc::STEPS.iter().find(|step| step.action == action) {
            Some(step) => Permit::ask(principal, Asked::from(step), &self.policies),
            None => Err(Denied {
                principal: principal.id.clone(),
                action: crate::error::shorten(action),
                reason: DenialReason::UnknownRpc,
            }),
        }
    }

    /// What decides whether a principal may make a call, and about a component where one is given: the same rules as
    /// [`Access::authorise`], told instead of applied. `rpc` is a path or an action.
    ///
    /// # Errors
    /// [`Denied`] where there is no such call.
    pub fn explain(
        &self,
        principal: &Principal,
        rpc: &str,
        facts: Option<&ComponentFacts>,
    ) -> Result<Explanation, Denied> {
        let asked = rpc::rpc_of(rpc)
            .or_else(|| rpc::RPCS.iter().find(|known| known.action == rpc))
            .map(Asked::from)
            .or_else(|| rpc::STEPS.iter().find(|step| step.action == rpc).map(Asked::from));
        let Some(asked) = asked else {
            let action = crate::error::shorten(rpc);
            return Err(Denied { principal: principal.id.clone(), action, reason: DenialReason::UnknownRpc });
        };
        Ok(Explanation::of(principal, asked, &self.policies, facts))
    }
}

impl UnixIdentities {
    /// A user says more than its group.
    fn principal(&self, peer: UnixPeer) -> Option<Arc<Principal>> {
        self.users.get(&peer.uid).or_else(|| self.groups.get(&peer.gid)).cloned()
    }
}
