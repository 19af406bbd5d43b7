//! The operator's document: tenants, principals, what is granted to them, and the credentials that show who they are.

mod credentials;
mod issuers;
mod reader;

use std::collections::{BTreeMap, BTreeSet};

use fitment_catalog::{Format, Tag, read_document_up_to};

use crate::access::{Access, Credentials};
use crate::error::{AccessError, MAX_FAULTS};
use crate::grant::{Effect, Grant, Labels, Role};
use crate::policy::{Policies, PolicyText};
use crate::principal::{ANONYMOUS, DEFAULT_TENANT, Limits, Principal, PrincipalKind};

use reader::{EXACT, LABEL, NAME, Place, Reader};

/// Largest document, in bytes; also the largest file that it names.
pub const MAX_DOCUMENT_BYTES: usize = 2 * 1024 * 1024;

const MAX_PRINCIPALS: usize = 10_000;
const MAX_TENANTS: usize = 1_000;
const MAX_GRANTS: usize = 64;
const MAX_WORDS: usize = 256;
const MAX_FILES: usize = 64;

/// Gives the bytes of a file that a document names, relative to where the document lies; or says why it cannot.
pub type Attached<'a> = &'a dyn Fn(&str) -> Result<Vec<u8>, String>;

/// Reads a document. `file` names the bytes in messages, and its ending decides between YAML and JSON.
pub(crate) fn load(file: &str, bytes: &[u8], attached: Attached<'_>) -> Result<Access, AccessError> {
    let value = read_document_up_to(file, bytes, Format::Auto, MAX_DOCUMENT_BYTES)?;
    let mut faults = Vec::new();
    let access = Loading {
        reader: Reader::new(file, &mut faults),
        attached,
        tenants: BTreeSet::new(),
        principals: BTreeMap::new(),
    }
    .access(&Place::root(&value));
    match access {
        Some(access) if faults.is_empty() => Ok(access),
        _ => {
            // A list that is read twice, for its length and for its words, is wrong twice.
            faults.dedup();
            faults.truncate(MAX_FAULTS);
            Err(AccessError::Invalid { faults })
        }
    }
}

/// A document on its way.
struct Loading<'l> {
    reader: Reader<'l>,
    attached: Attached<'l>,
    tenants: BTreeSet<String>,
    principals: BTreeMap<String, Principal>,
}

const KEYS: [&str; 9] =
    ["version", "tenants", "principals", "api_keys", "jwt_issuers", "certificates", "unix", "anonymous", "policies"];

impl Loading<'_> {
    fn access(mut self, root: &Place<'_>) -> Option<Access> {
        self.reader.object(root, &KEYS)?;
        if self.reader.required(root, "version").is_some() {
            self.reader.count(root, "version", 1..=1);
        }
        self.tenants = self.reader.words(root, "tenants", MAX_TENANTS, LABEL);
        self.tenants.insert(DEFAULT_TENANT.to_owned());
        for place in self.reader.list(root, "principals", MAX_PRINCIPALS) {
            self.principal(&place);
        }
        let keys = self.api_keys(root);
        let issuers = self.issuers(root);
        let certificates = self.certificates(root);
        let unix = self.unix(root);
        let anonymous = root.get("anonymous").and_then(|place| self.anonymous(&place));
        let policies = self.policies(root);
        let Self { tenants, principals, .. } = self;
        let credentials = Credentials { keys, issuers, certificates, unix, anonymous };
        Some(Access::new(tenants, principals, credentials, policies))
    }

    fn principal(&mut self, place: &Place<'_>) {
        if self.reader.object(place, &["id", "tenant", "groups", "grants", "limits"]).is_none() {
            return;
        }
        let id = self.reader.required_word(place, "id", NAME);
        let tenant = self.tenant(place);
        let groups = self.groups(place);
        let grants = self.grants(place);
        let limits = self.limits(place);
        let Some(id) = id else { return };
        let said = if Role::ALL.iter().any(|role| role.as_str() == id) || id == ANONYMOUS {
            Some(format!("`{id}` has a meaning of its own; choose another id"))
        } else if self.principals.contains_key(&id) {
            Some(format!("a second principal has the id `{id}`; rename one"))
        } else {
            None
        };
        if let (Some(said), Some(at)) = (said, place.get("id")) {
            return self.reader.note(&at, said);
        }
        let kind = PrincipalKind::Anonymous;
        let principal = Principal { id: id.clone(), tenant, kind, groups, grants, limits, claims: BTreeMap::new() };
        self.principals.insert(id, principal);
    }

    fn anonymous(&mut self, place: &Place<'_>) -> Option<Principal> {
        self.reader.object(place, &["tenant", "grants", "limits"])?;
        self.reader.required(place, "grants")?;
        Some(Principal {
            id: ANONYMOUS.to_owned(),
            tenant: self.tenant(place),
            kind: PrincipalKind::Anonymous,
            groups: BTreeSet::new(),
            grants: self.grants(place),
            limits: self.limits(place),
            claims: BTreeMap::new(),
        })
    }

    /// The tenant that a key `tenant` names; the default one where it is absent.
    fn tenant(&mut self, place: &Place<'_>) -> String {
        let Some(at) = place.get("tenant") else { return DEFAULT_TENANT.to_owned() };
        self.known_tenant(&at).unwrap_or_else(|| DEFAULT_TENANT.to_owned())
    }

    fn known_tenant(&mut self, at: &Place<'_>) -> Option<String> {
        let name = self.reader.word(at, LABEL)?;
        if !self.tenants.contains(&name) {
            self.reader.note(at, format!("there is no tenant `{name}`; add it under `tenants`"));
        }
        Some(name)
    }

    /// The principal that a key `principal` names.
    fn named_principal(&mut self, place: &Place<'_>) -> Option<Principal> {
        let at = self.reader.required(place, "principal")?;
        self.known_principal(&at)
    }

    fn known_principal(&mut self, at: &Place<'_>) -> Option<Principal> {
        let id = self.reader.word(at, NAME)?;
        let found = self.principals.get(&id).cloned();
        if found.is_none() {
            self.reader.note(at, format!("there is no principal `{id}`; add it under `principals`"));
        }
        found
    }

    fn groups(&mut self, place: &Place<'_>) -> BTreeSet<String> {
        let groups = self.reader.words(place, "groups", MAX_WORDS, NAME);
        if let Some(role) = Role::ALL.iter().find(|role| groups.contains(role.as_str())) {
            self.reader.note(place, format!("`{role}` is a role and no group; grant it, or rename the group"));
        }
        groups
    }

    fn grants(&mut self, place: &Place<'_>) -> Vec<Grant> {
        let items = self.reader.list(place, "grants", MAX_GRANTS);
        items.iter().filter_map(|item| self.grant(item)).collect()
    }

    fn grant(&mut self, place: &Place<'_>) -> Option<Grant> {
        self.reader.object(place, &["role", "effect", "namespaces", "labels"])?;
        let role = self.reader.required(place, "role").and_then(|at| self.reader.parsed(&at));
        let effect = match place.get("effect") {
            None => Some(Effect::Allow),
            Some(at) => match self.reader.text(&at) {
                Some("allow") => Some(Effect::Allow),
                Some("deny") => Some(Effect::Deny),
                Some(other) => {
                    let said = format!("`{}` is no effect; use allow or deny", crate::error::shorten(other));
                    self.reader.note(&at, said);
                    None
                }
                None => None,
            },
        };
        let namespaces = place.get("namespaces").and_then(|at| self.namespaces(place, &at));
        let labels = place.get("labels").map(|at| self.labels(&at));
        Some(Grant { role: role?, effect: effect?, namespaces, labels })
    }

    /// `None` for `*`, which is all of them.
    fn namespaces(&mut self, place: &Place<'_>, at: &Place<'_>) -> Option<BTreeSet<String>> {
        const NAMESPACE: reader::Form = (
            |text| text == "*" || (LABEL.0(text) && !text.starts_with('-') && !text.ends_with('-')),
            "use *, or 1 to 63 characters of a-z, 0-9 and -, neither starting nor ending with -",
        );
        // An empty list would count for nothing, which nobody means.
        self.reader.items(at, 1..=MAX_WORDS);
        let names = self.reader.words(place, "namespaces", MAX_WORDS, NAMESPACE);
        if !names.contains("*") {
            return Some(names);
        }
        if names.len() > 1 {
            self.reader.note(at, "`*` means all of them; leave out the others or the `*`");
        }
        None
    }

    fn labels(&mut self, place: &Place<'_>) -> Labels {
        if self.reader.object(place, &["any_of", "none_of"]).is_none_or(serde_json::Map::is_empty) {
            self.reader.note(place, "names no labels; give any_of or none_of, or leave `labels` out");
        }
        let mut tags = |key: &str| -> BTreeSet<Tag> {
            let Some(at) = place.get(key) else { return BTreeSet::new() };
            let items = self.reader.items(&at, 1..=MAX_WORDS);
            items.iter().filter_map(|item| self.reader.parsed(item)).collect()
        };
        Labels { any_of: tags("any_of"), none_of: tags("none_of") }
    }

    fn limits(&mut self, place: &Place<'_>) -> Limits {
        let Some(place) = place.get("limits") else { return Limits::default() };
        self.reader.object(&place, &["requests_per_second", "burst", "concurrent", "tokens_per_second"]);
        let limits = Limits {
            requests_per_second: self.reader.rate(&place, "requests_per_second"),
            burst: self.reader.count(&place, "burst", 1..=1_000_000),
            concurrent: self.reader.count(&place, "concurrent", 1..=1_000_000),
            tokens_per_second: self.reader.rate(&place, "tokens_per_second"),
        };
        if limits.burst.is_some() && place.get("requests_per_second").is_none() {
            self.reader.note(&place, "burst says nothing without requests_per_second; give that too");
        }
        limits
    }

    fn policies(&mut self, root: &Place<'_>) -> Policies {
        let mut texts = Vec::new();
        for at in self.reader.list(root, "policies", MAX_FILES) {
            let Some(file) = self.reader.word(&at, EXACT) else { continue };
            let Some(bytes) = self.attached(&at, &file) else { continue };
            match String::from_utf8(bytes) {
                Ok(text) => texts.push((file, text)),
                Err(_) => self.reader.note(&at, format!("`{file}` is not UTF-8")),
            }
        }
        let texts: Vec<PolicyText<'_>> = texts.iter().map(|(file, text)| PolicyText { file, text }).collect();
        Policies::load(&texts, self.reader.faults())
    }

    /// The bytes of a file that the document names.
    fn attached(&mut self, at: &Place<'_>, file: &str) -> Option<Vec<u8>> {
        match (self.attached)(file) {
            Ok(bytes) if bytes.len() <= MAX_DOCUMENT_BYTES => Some(bytes),
            Ok(bytes) => {
                let length = bytes.len();
                self.reader.note(at, format!("`{file}` has {length} bytes, at most {MAX_DOCUMENT_BYTES} are read"));
                None
            }
            Err(why) => {
                self.reader.note(at, format!("`{file}` cannot be read: {}", crate::error::one_line(&why)));
                None
            }
        }
    }
}
