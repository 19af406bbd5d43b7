//! The issuers whose tokens are believed, and what their claims mean here.

use std::collections::{BTreeMap, BTreeSet};

use fitment_catalog::{Format, read_document_up_to};

use super::{EXACT, LABEL, Loading, MAX_DOCUMENT_BYTES, MAX_WORDS, Place};
use crate::error::{one_line, shorten};
use crate::grant::Grant;
use crate::token::{Algorithm, Issuer, IssuerKey, TenantRule, read_jwks};

const MAX_ISSUERS: usize = 64;
const MAX_LEEWAY: u32 = 300;
const DEFAULT_LEEWAY: u32 = 60;
/// A year: a token that may be older is a key, and should be one.
const MAX_AGE: u32 = 366 * 24 * 3600;

const KEYS: [&str; 15] = [
    "id",
    "issuer",
    "audiences",
    "algorithms",
    "jwks",
    "leeway_seconds",
    "max_age_seconds",
    "subject_claim",
    "subjects",
    "tenant",
    "roles",
    "groups_claim",
    "claims",
    "grants",
    "limits",
];

impl Loading<'_> {
    pub(super) fn issuers(&mut self, root: &Place<'_>) -> Vec<Issuer> {
        let mut issuers: Vec<Issuer> = Vec::new();
        for place in self.reader.list(root, "jwt_issuers", MAX_ISSUERS) {
            let Some(issuer) = self.issuer(&place) else { continue };
            if issuers.iter().any(|other| other.id == issuer.id || other.iss == issuer.iss) {
                self.reader.note(&place, "a second issuer has this id or this issuer; put them together");
                continue;
            }
            issuers.push(issuer);
        }
        issuers
    }

    fn issuer(&mut self, place: &Place<'_>) -> Option<Issuer> {
        self.reader.object(place, &KEYS)?;
        let id = self.reader.required_word(place, "id", LABEL);
        let iss = self.reader.required_word(place, "issuer", EXACT);
        if let Some(at) = self.reader.required(place, "audiences") {
            self.reader.items(&at, 1..=MAX_WORDS);
        }
        let audiences = self.reader.words(place, "audiences", MAX_WORDS, EXACT);
        let algorithms = self.algorithms(place);
        let keys = self.keys(place, &algorithms);
        let leeway = self.reader.count(place, "leeway_seconds", 0..=MAX_LEEWAY).unwrap_or(DEFAULT_LEEWAY);
        let max_age = self.reader.count(place, "max_age_seconds", 1..=MAX_AGE);
        let subject_claim = self.claim_name(place, "subject_claim").unwrap_or_else(|| "sub".to_owned());
        let subjects = self.subjects(place);
        let tenant = self.tenant_rule(place);
        let roles = place.get("roles").and_then(|at| self.roles(&at));
        let groups_claim = self.claim_name(place, "groups_claim");
        let claims = self.reader.words(place, "claims", 16, EXACT);
        let grants = self.grants(place);
        let limits = self.limits(place);
        Some(Issuer {
            id: id?,
            iss: iss?,
            audiences,
            algorithms,
            keys,
            leeway: f64::from(leeway),
            max_age: max_age.map(f64::from),
            subject_claim,
            subjects,
            tenant,
            roles,
            groups_claim,
            claims,
            grants,
            limits,
        })
    }

    fn algorithms(&mut self, place: &Place<'_>) -> BTreeSet<Algorithm> {
        let Some(at) = self.reader.required(place, "algorithms") else { return BTreeSet::new() };
        let items = self.reader.items(&at, 1..=Algorithm::ALL.len());
        items.iter().filter_map(|item| self.reader.parsed(item)).collect()
    }

    fn keys(&mut self, place: &Place<'_>, algorithms: &BTreeSet<Algorithm>) -> Vec<IssuerKey> {
        let Some(at) = self.reader.required(place, "jwks") else { return Vec::new() };
        let Some(file) = self.reader.word(&at, EXACT) else { return Vec::new() };
        let Some(bytes) = self.attached(&at, &file) else { return Vec::new() };
        match read_document_up_to(&file, &bytes, Format::Json, MAX_DOCUMENT_BYTES) {
            Ok(value) => {
                let keys = read_jwks(&file, &value, self.reader.faults());
                if !keys.iter().any(|key| algorithms.contains(&key.algorithm)) {
                    self.reader.note(&at, format!("`{file}` holds no key for the algorithms of this issuer"));
                }
                keys
            }
            Err(error) => {
                self.reader.note(&at, one_line(&error));
                Vec::new()
            }
        }
    }

    /// A claim's name, or a JSON pointer to it where it starts with a slash.
    fn claim_name(&mut self, place: &Place<'_>, key: &str) -> Option<String> {
        let at = place.get(key)?;
        self.reader.word(&at, EXACT)
    }

    fn subjects(&mut self, place: &Place<'_>) -> BTreeMap<String, crate::Principal> {
        let Some(at) = place.get("subjects") else { return BTreeMap::new() };
        if !at.is_object() {
            self.reader.note(&at, "is no table; write `subject: principal` lines");
        }
        let mut subjects = BTreeMap::new();
        for (subject, at) in at.entries() {
            if let Some(principal) = self.known_principal(&at) {
                subjects.insert(subject.to_owned(), principal);
            }
        }
        subjects
    }

    fn tenant_rule(&mut self, place: &Place<'_>) -> TenantRule {
        let Some(at) = place.get("tenant").filter(Place::is_object) else {
            return TenantRule::Fixed(self.tenant(place));
        };
        self.reader.object(&at, &["claim", "allow"]);
        let claim = self.reader.required_word(&at, "claim", EXACT).unwrap_or_default();
        let mut allow = BTreeSet::new();
        if let Some(at) = self.reader.required(&at, "allow") {
            for item in self.reader.items(&at, 1..=MAX_WORDS) {
                allow.extend(self.known_tenant(&item));
            }
        }
        TenantRule::Claim { claim, allow }
    }

    fn roles(&mut self, place: &Place<'_>) -> Option<(String, BTreeMap<String, Vec<Grant>>)> {
        self.reader.object(place, &["claim", "grants"])?;
        let claim = self.reader.required_word(place, "claim", EXACT);
        let mut table = BTreeMap::new();
        let at = self.reader.required(place, "grants")?;
        if !at.is_object() {
            self.reader.note(&at, "is no table; write a list of grants under each value of the claim");
        }
        for (value, at) in at.entries() {
            let items = self.reader.items(&at, 1..=super::MAX_GRANTS);
            let grants: Vec<Grant> = items.iter().filter_map(|item| self.grant(item)).collect();
            table.insert(value.to_owned(), grants);
        }
        if table.len() > MAX_WORDS {
            self.reader.note(&at, format!("has {} entries; at most {MAX_WORDS} are allowed", table.len()));
        }
        Some((claim?, table))
    }
}

impl std::str::FromStr for Algorithm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::of(text).ok_or_else(|| {
            let words: Vec<&str> = Self::ALL.iter().map(|algorithm| algorithm.as_str()).collect();
            format!("`{}` is no algorithm that is accepted; use some of {}", shorten(text), words.join(", "))
        })
    }
}
