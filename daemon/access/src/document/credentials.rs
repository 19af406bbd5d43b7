//! The credentials of listed principals: API keys, client certificates, users of a Unix socket.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use super::{EXACT, Loading, Place};
use crate::access::{CertificateIdentity, CertificateName, Certificates, KeyEntry, UnixIdentities};
use crate::key;
use crate::principal::{Principal, PrincipalKind};

const MAX_KEYS: usize = 20_000;
const MAX_IDENTITIES: usize = 10_000;
/// Keys of one principal that may be in force at the same time: the old one and the new one.
const MAX_LIVE_KEYS: usize = 2;

/// A listed principal that showed who it is.
fn shown(principal: Principal, kind: PrincipalKind) -> Arc<Principal> {
    Arc::new(Principal { kind, ..principal })
}

impl Loading<'_> {
    pub(super) fn api_keys(&mut self, root: &Place<'_>) -> HashMap<String, KeyEntry> {
        let mut keys = HashMap::new();
        let mut windows: BTreeMap<String, Vec<(Timestamp, Option<Timestamp>)>> = BTreeMap::new();
        for place in self.reader.list(root, "api_keys", MAX_KEYS) {
            let Some((prefix, entry)) = self.api_key(&place) else { continue };
            let window = (entry.created, entry.expires);
            windows.entry(entry.principal.id.clone()).or_default().push(window);
            if keys.insert(prefix, entry).is_some() {
                self.reader.note(&place, "a second key has this prefix; remove one");
            }
        }
        for (principal, windows) in windows {
            // Most keys are in force where one begins.
            let live = |at: Timestamp| {
                windows.iter().filter(|(from, until)| *from <= at && until.is_none_or(|until| at < until)).count()
            };
            if windows.iter().any(|(from, _)| live(*from) > MAX_LIVE_KEYS) {
                let way_out = "let old ones expire before more begin";
                let said =
                    format!("principal `{principal}` has more than {MAX_LIVE_KEYS} keys at the same time; {way_out}");
                if let Some(place) = root.get("api_keys") {
                    self.reader.note(&place, said);
                }
            }
        }
        keys
    }

    fn api_key(&mut self, place: &Place<'_>) -> Option<(String, KeyEntry)> {
        self.reader.object(place, &["prefix", "sha256", "principal", "created", "expires"])?;
        let prefix = self.reader.required(place, "prefix").and_then(|at| {
            let text = self.reader.secret_text(&at)?;
            let good = key::is_prefix(text);
            if !good {
                self.reader.note(&at, "is no prefix: write the key's first 20 characters, `fitment_` and 12 more");
            }
            good.then(|| text.to_owned())
        });
        let sha256 = self.reader.required(place, "sha256").and_then(|at| {
            let digest = read_sha256(self.reader.secret_text(&at)?);
            if digest.is_none() {
                self.reader.note(&at, "is no sha256: write the 64 lower-case hexadecimal digits of the key's digest");
            }
            digest
        });
        let principal = self.named_principal(place);
        let created = self.reader.required(place, "created").and_then(|at| self.reader.time(&at));
        let expires = match place.get("expires") {
            None => None,
            Some(at) => Some(self.reader.time(&at)?),
        };
        let (prefix, sha256, principal, created) = (prefix?, sha256?, principal?, created?);
        if expires.is_some_and(|expires| expires <= created) {
            self.reader.note(place, "expires before it is created; correct one");
        }
        Some((prefix, KeyEntry { sha256, created, expires, principal: shown(principal, PrincipalKind::ApiKey) }))
    }

    pub(super) fn certificates(&mut self, root: &Place<'_>) -> Certificates {
        const NAMES: [&str; 5] = ["san_uri", "san_dns", "san_email", "subject_cn", "sha256"];
        let mut identities: Vec<CertificateIdentity> = Vec::new();
        for place in self.reader.list(root, "certificates", MAX_IDENTITIES) {
            let known = [&["principal"], &NAMES[..]].concat();
            if self.reader.object(&place, &known).is_none() {
                continue;
            }
            let principal = self.named_principal(&place);
            let named: Vec<&str> = NAMES.into_iter().filter(|name| place.get(name).is_some()).collect();
            let &[name] = &named[..] else {
                self.reader.note(&place, format!("has {} of {}; give one", named.len(), NAMES.join(", ")));
                continue;
            };
            let Some(value) = self.reader.required_word(&place, name, EXACT) else { continue };
            let name = match name {
                "san_uri" => CertificateName::Uri(value),
                // Names in the DNS are compared without regard to case (RFC 4343).
                "san_dns" => CertificateName::Dns(value.to_ascii_lowercase()),
                "san_email" => CertificateName::Email(value),
                "subject_cn" => CertificateName::CommonName(value),
                _ => {
                    let Some(digest) = read_sha256(&value) else {
                        self.reader.note(&place, "sha256 is no digest: write 64 lower-case hexadecimal digits");
                        continue;
                    };
                    CertificateName::Sha256(digest)
                }
            };
            let Some(principal) = principal else { continue };
            identities.push(CertificateIdentity { name, principal: shown(principal, PrincipalKind::Certificate) });
        }
        match Certificates::new(identities) {
            Ok(certificates) => certificates,
            Err(twice) => {
                if let Some(place) = root.get("certificates") {
                    self.reader.note(&place, format!("{twice} names two principals; keep one"));
                }
                Certificates::default()
            }
        }
    }

    pub(super) fn unix(&mut self, root: &Place<'_>) -> UnixIdentities {
        let mut identities = UnixIdentities::default();
        for place in self.reader.list(root, "unix", MAX_IDENTITIES) {
            if self.reader.object(&place, &["uid", "gid", "principal"]).is_none() {
                continue;
            }
            let principal = self.named_principal(&place);
            let uid = self.reader.count(&place, "uid", 0..=u32::MAX);
            let gid = self.reader.count(&place, "gid", 0..=u32::MAX);
            if place.get("uid").is_some() == place.get("gid").is_some() {
                self.reader.note(&place, "give one of uid and gid");
                continue;
            }
            let Some(principal) = principal.map(|principal| shown(principal, PrincipalKind::Unix)) else { continue };
            let earlier = match (uid, gid) {
                (Some(uid), _) => identities.users.insert(uid, principal),
                (_, Some(gid)) => identities.groups.insert(gid, principal),
                (None, None) => None,
            };
            if earlier.is_some() {
                self.reader.note(&place, "stands there twice; keep one");
            }
        }
        identities
    }
}

fn read_sha256(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    let lower = !text.bytes().any(|b| b.is_ascii_uppercase());
    (lower && hex::decode_to_slice(text, &mut digest).is_ok()).then_some(digest)
}
