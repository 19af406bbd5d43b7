//! Certification at work: who is believed, what was certified, and that only what is certified now may answer.
//!
//! Without a trust root a version's lifecycle decides alone. With one, a version answers only while its policy is met: what
//! each version's standing is and when it changes by the clock lies in the view, so that a search pays one comparison.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use fitment_catalog::{ComponentName, Digest, Format};
use fitment_index::DocId;
use fitment_trust::{Evidence, Predicate, Revocation, Standing, TrustRoot, VerifiedCertificate, assess};
use parking_lot::RwLock;
use serde_json::json;

use crate::audit::{Act, Author};
use crate::bundle::recorded_revocation;
use crate::denials::Asked;
use crate::engine::{Engine, Shared};
use crate::error::EngineError;
use crate::store::{Card, NewCertificate, Revision, StoreReader, StoredCertificate};
use crate::writes::VersionSelector;

/// Bytes of evidence that come with one certificate at most.
pub const MAX_EVIDENCE_BYTES: usize = 8 << 20;
/// Certificates that one version may have.
pub(crate) const MAX_CERTIFICATES: usize = 64;

/// Whether a version is certified now, as searches need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certified {
    /// Whether it is.
    pub certified: bool,
    /// The next instant at which that changes by the clock; `None`: never.
    pub changes_at: Option<jiff::Timestamp>,
    /// Digests of the certificates that stand behind it, in order.
    pub certificates: Vec<Digest>,
}

impl Certified {
    /// Of a version that nobody has judged yet.
    pub(crate) fn not() -> Self {
        Self { certified: false, changes_at: None, certificates: Vec::new() }
    }
}

/// The trust root in force, and when the next standing changes by the clock.
#[derive(Debug)]
pub(crate) struct Trust {
    root: RwLock<Option<Arc<TrustRoot>>>,
    /// Milliseconds since 1970; `i64::MAX`: never.
    next_change: AtomicI64,
    /// Latest instant that standings were judged at, milliseconds since 1970; `i64::MIN`: nothing was.
    judged_at: AtomicI64,
}

/// Milliseconds that a clock may be set back before standings are judged anew. Small corrections, which some machines make all
/// the time, are not worth it.
const SET_BACK: i64 = 1000;

impl Trust {
    /// The root in force.
    pub(crate) fn root(&self) -> Option<Arc<TrustRoot>> {
        self.root.read().clone()
    }
}

impl Default for Trust {
    fn default() -> Self {
        Self { root: RwLock::new(None), next_change: AtomicI64::new(i64::MAX), judged_at: AtomicI64::new(i64::MIN) }
    }
}

/// What became of a certificate or a revocation.
#[derive(Debug)]
pub struct Recorded {
    /// Digest of what was signed.
    pub digest: Digest,
    /// The revision that recorded it.
    pub revision: Revision,
    /// Every version that it speaks of and its standing now; none where it was recorded before.
    pub versions: Vec<(Card, Standing)>,
    /// False: it was recorded before, and nothing was written.
    pub new: bool,
}

/// What is recorded about one version.
#[derive(Debug)]
pub struct CertificateListing {
    /// The version.
    pub card: Card,
    /// Its certificates, with what each says where a key of the root in force signed it.
    pub certificates: Vec<(StoredCertificate, Option<VerifiedCertificate>)>,
    /// Its standing now; `None` without a trust root.
    pub standing: Option<Standing>,
}

/// A call about an envelope, which is named by its digest: what it says is not believed yet.
fn of_envelope(act: &'static str, envelope: &[u8], author: &Author) -> Asked {
    Asked { act, subject: format!("envelope {}", Digest::of(envelope)), author: author.clone() }
}

impl Engine {
    /// The trust root in force.
    pub fn trust_root(&self) -> Option<Arc<TrustRoot>> {
        self.shared().trust.root()
    }

    /// Puts a trust root into force; every version is judged anew.
    ///
    /// Errors: a root that cannot be read, or may not follow the one in force: its version only rises.
    pub async fn install_trust_root(
        &self,
        source: String,
        bytes: Vec<u8>,
        author: Author,
    ) -> Result<(Revision, Arc<TrustRoot>), EngineError> {
        let asked = Asked { act: "trust.install", subject: source.clone(), author: author.clone() };
        self.change_asked(asked, move |shared| {
            let root = TrustRoot::parse(&source, &bytes, Format::Auto)?;
            if let Some(installed) = shared.trust.root.read().clone() {
                root.succeeds(&installed)?;
                if installed.digest() == root.digest() {
                    return Ok((shared.index.revision(), installed));
                }
            }
            let act = Act {
                action: "trust.install",
                subject: format!("version {}", root.version()),
                detail: json!({"digest": root.digest().to_string()}),
            };
            let revision = shared.store.put_trust_root(&root, act, &author, (shared.clock)())?;
            let root = Arc::new(root);
            *shared.trust.root.write() = Some(Arc::clone(&root));
            shared.judge_all()?;
            shared.index.reach(revision);
            Ok((revision, root))
        })
        .await
    }

    /// Records a certificate about versions that are stored, with evidence that it names by digest. What is recorded already
    /// is not written again.
    ///
    /// `earlier_roots`: take it also where no key of the root in force signed it and one of an earlier root did; it is kept
    /// and certifies nothing. Errors: no trust root; an envelope that is malformed, or signed by no key of the root; no stored
    /// version among its subjects; evidence that it does not name.
    pub async fn add_certificate(
        &self,
        envelope: Vec<u8>,
        evidence: Vec<Vec<u8>>,
        earlier_roots: bool,
        author: Author,
    ) -> Result<Recorded, EngineError> {
        let viewer = self.viewer().clone();
        self.change_asked(of_envelope("certificate.add", &envelope, &author), move |shared| {
            let root = shared.trust_root()?;
            let certificate = match root.verify(&envelope) {
                Err(refused) if earlier_roots => {
                    let roots = shared.store.read()?.trust_roots()?;
                    roots.iter().rev().find_map(|root| root.verify(&envelope).ok()).ok_or(refused)?
                }
                verified => verified?,
            };
            let named: &[Evidence] = match certificate.statement().predicate() {
                Predicate::Certification(certification) => &certification.evidence,
                Predicate::VerificationResult(_) => &[],
                Predicate::Revocation(_) => {
                    return Err(EngineError::field("envelope", "holds a revocation; send it with RevokeCertificate"));
                }
                Predicate::Other { .. } => {
                    return Err(EngineError::field("envelope", "holds a statement of a type that certifies nothing"));
                }
            };
            let evidence = checked_evidence(evidence, named)?;
            let reader = shared.store.read()?;
            let address = Digest::of(&envelope);
            let (mut versions, mut known) = (Vec::new(), true);
            for digest in certificate.statement().subjects().iter().filter_map(|subject| subject.digest) {
                if let Some(doc) = reader.by_digest(&digest)?
                    && reader.version_or_deleted(doc)?.is_some_and(|stored| viewer.sees(&stored.card))
                {
                    let there = reader.certificates_of(&digest)?;
                    let is_there = there.iter().any(|stored| Digest::of(stored.envelope.as_bytes()) == address);
                    known &= is_there;
                    if !is_there && there.len() >= MAX_CERTIFICATES {
                        let fault = format!("is one too many: {digest} has {MAX_CERTIFICATES} certificates already");
                        return Err(EngineError::field("envelope", fault));
                    }
                    versions.push((doc, digest));
                }
            }
            if versions.is_empty() {
                return Err(EngineError::NotFound { what: "a version that the certificate is about".into() });
            }
            for (digest, _) in &evidence {
                known &= reader.evidence(digest)?.is_some();
            }
            if known {
                let digest = certificate.digest();
                return Ok(Recorded { digest, revision: shared.index.revision(), versions: Vec::new(), new: false });
            }
            let envelope =
                String::from_utf8(envelope).map_err(|_error| EngineError::field("envelope", "is not UTF-8"))?;
            let digests: Vec<String> = versions.iter().map(|(_, digest)| digest.to_string()).collect();
            let detail = json!({
                "versions": digests,
                "type": certificate.statement().predicate().type_uri(),
                "evidence": evidence.iter().map(|(digest, _)| digest.to_string()).collect::<Vec<_>>(),
            });
            let act = Act { action: "certificate.add", subject: certificate.digest().to_string(), detail };
            let digest = certificate.digest();
            let new = NewCertificate { digest, envelope: &envelope, versions: &versions, evidence: &evidence };
            let revision = shared.store.put_certificate(&new, act, &author, (shared.clock)())?;
            let docs: Vec<DocId> = versions.into_iter().map(|(doc, _)| doc).collect();
            let versions = shared.judge(&docs)?;
            shared.index.reach(revision);
            Ok(Recorded { digest, revision, versions, new: true })
        })
        .await
    }

    /// Records a signed revocation of a certificate or a version. What it takes the ground from is in no answer once this
    /// returns.
    ///
    /// `accepted`: the record of its acceptance elsewhere, which is taken over where the trust root that it names is or was in
    /// force here and one of its keys signed the envelope. Errors: no trust root; an envelope that is malformed, is no
    /// revocation, or whose signers may not revoke.
    pub async fn revoke(
        &self,
        envelope: Vec<u8>,
        accepted: Option<serde_json::Value>,
        author: Author,
    ) -> Result<Recorded, EngineError> {
        self.change_asked(of_envelope("certificate.revoke", &envelope, &author), move |shared| {
            let root = shared.trust_root()?;
            let now = (shared.clock)();
            let revocation = match accepted {
                Some(accepted) => accepted_elsewhere(&shared.store.read()?, &accepted, &envelope, now)?,
                None => None,
            };
            let revocation = match revocation {
                Some(revocation) => revocation,
                None => root.admit(&root.verify(&envelope)?, now)?,
            };
            if shared.store.read()?.revocations()?.iter().any(|known| known.digest() == revocation.digest()) {
                let (digest, revision) = (revocation.digest(), shared.index.revision());
                return Ok(Recorded { digest, revision, versions: Vec::new(), new: false });
            }
            let reader = shared.store.read()?;
            let mut docs = Vec::new();
            if let Some(version) = revocation.claim().version {
                docs.extend(reader.by_digest(&version)?);
            }
            if let Some(certificate) = revocation.claim().certificate {
                for version in reader.versions_under(&certificate)? {
                    let version: Digest = version.parse()?;
                    docs.extend(reader.by_digest(&version)?);
                }
            }
            docs.sort_unstable();
            docs.dedup();
            let envelope = String::from_utf8(envelope)
                .map_err(|_error| EngineError::field("envelope", "is not UTF-8"))?;
            let act = Act {
                action: "certificate.revoke",
                subject: revocation.digest().to_string(),
                detail: json!({"claim": revocation.claim().to_value(), "keys": revocation.keys(), "versions": docs.len()}),
            };
            let revision = shared.store.put_revocation(&revocation, &envelope, &docs, act, &author, now)?;
            let versions = shared.judge(&docs)?;
            shared.index.reach(revision);
            Ok(Recorded { digest: revocation.digest(), revision, versions, new: true })
        })
        .await
    }

    /// What is recorded about one version, and how it stands.
    pub async fn certificates(&self, selector: VersionSelector) -> Result<CertificateListing, EngineError> {
        let (version, _) = self.get(selector, 0).await?;
        self.compute(move |shared| {
            let reader = shared.store.read()?;
            let root = shared.trust.root.read().clone();
            let stored = reader.certificates_of(&version.card.digest)?;
            let certificates = stored
                .into_iter()
                .map(|stored| {
                    let verified = root.as_ref().and_then(|root| root.verify(stored.envelope.as_bytes()).ok());
                    (stored, verified)
                })
                .collect();
            let standing = root
                .map(|root| {
                    let revocations = reader.revocations()?;
                    standing(&reader, &root, &revocations, &version.card.digest, &version.card.name, (shared.clock)())
                })
                .transpose()?;
            Ok(CertificateListing { card: version.card, certificates, standing })
        })
        .await
    }

    /// Evidence that was kept, by its digest.
    pub async fn evidence(&self, digest: Digest) -> Result<Vec<u8>, EngineError> {
        self.compute(move |shared| {
            let found = shared.store.read()?.evidence(&digest)?;
            found.ok_or_else(|| EngineError::NotFound { what: format!("evidence {digest}") })
        })
        .await
    }
}

/// A revocation as another catalogue accepted it, under a trust root that is known here; `None` where it is not.
fn accepted_elsewhere(
    reader: &StoreReader,
    accepted: &serde_json::Value,
    envelope: &[u8],
    now: jiff::Timestamp,
) -> Result<Option<Revocation>, EngineError> {
    let wrong = |fault: String| EngineError::field("accepted_json", fault);
    let text = std::str::from_utf8(envelope).map_err(|_error| EngineError::field("envelope", "is not UTF-8"))?;
    let recorded = recorded_revocation(accepted, text).map_err(wrong)?;
    let under = accepted.get("root").and_then(serde_json::Value::as_str).unwrap_or_default();
    let Some(root) = reader.trust_roots()?.into_iter().find(|root| root.digest().to_string() == under) else {
        return Ok(None);
    };
    let verified = root.verify(envelope)?;
    // Whose key has ended since could revoke when it was accepted.
    Ok(Some(root.admit(&verified, now).unwrap_or(recorded)))
}

fn checked_evidence(evidence: Vec<Vec<u8>>, named: &[Evidence]) -> Result<Vec<(Digest, Vec<u8>)>, EngineError> {
    let bytes: usize = evidence.iter().map(Vec::len).sum();
    if bytes > MAX_EVIDENCE_BYTES {
        let fault =
            format!("is {bytes} bytes in all; at most {MAX_EVIDENCE_BYTES} are kept, name larger ones by digest");
        return Err(EngineError::field("evidence", fault));
    }
    evidence
        .into_iter()
        .enumerate()
        .map(|(at, bytes)| {
            let digest = Digest::of(&bytes);
            if named.iter().any(|evidence| evidence.digest == digest) {
                return Ok((digest, bytes));
            }
            Err(EngineError::field(
                format!("evidence[{at}]"),
                format!("has digest {digest}, which the certificate does not name"),
            ))
        })
        .collect()
}

/// How a version stands under a root at an instant.
fn standing(
    reader: &StoreReader,
    root: &TrustRoot,
    revocations: &[Revocation],
    version: &Digest,
    name: &ComponentName,
    now: jiff::Timestamp,
) -> Result<Standing, EngineError> {
    let stored = reader.certificates_of(version)?;
    // One whose signers are all gone from the root certifies nothing.
    let certificates: Vec<VerifiedCertificate> =
        stored.iter().filter_map(|stored| root.verify(stored.envelope.as_bytes()).ok()).collect();
    Ok(assess(version, name, &certificates, revocations, root, now))
}

fn certified(standing: &Standing) -> Certified {
    let support = standing.requirements.iter().flat_map(|coverage| &coverage.support);
    let mut certificates: Vec<Digest> = support.map(|support| support.certificate).collect();
    certificates.sort_unstable();
    certificates.dedup();
    Certified { certified: standing.certified, changes_at: standing.changes_at, certificates }
}

impl Shared {
    fn trust_root(&self) -> Result<Arc<TrustRoot>, EngineError> {
        self.trust.root.read().clone().ok_or(EngineError::NoTrustRoot)
    }

    /// Reads the trust root and judges every version; at the start.
    pub(crate) fn bring_up_trust(&self) -> Result<(), EngineError> {
        *self.trust.root.write() = self.store.read()?.trust_root()?.map(Arc::new);
        self.judge_all()
    }

    /// Judges every version anew.
    fn judge_all(&self) -> Result<(), EngineError> {
        let docs: Vec<DocId> = self.index.searchable().view.all().iter().collect();
        self.judge(&docs).map(|_judged| ())
    }

    /// Judges versions and takes what is not certified out of the answers, or puts it back. Callers hold `writing`.
    pub(crate) fn judge(&self, docs: &[DocId]) -> Result<Vec<(Card, Standing)>, EngineError> {
        let Some(root) = self.trust.root.read().clone() else { return Ok(Vec::new()) };
        let cards: Vec<(DocId, Card)> = {
            let index = self.index.searchable();
            docs.iter().filter_map(|&doc| Some((doc, index.view.card(doc)?.clone()))).collect()
        };
        let reader = self.store.read()?;
        let revocations = reader.revocations()?;
        let now = (self.clock)();
        self.trust.judged_at.fetch_max(now.as_millisecond(), Ordering::AcqRel);
        let judged = cards
            .into_iter()
            .map(|(doc, card)| {
                let standing = standing(&reader, &root, &revocations, &card.digest, &card.name, now)?;
                Ok((doc, card, standing))
            })
            .collect::<Result<Vec<_>, EngineError>>()?;
        {
            let mut index = self.index.searchable_mut();
            // Also where there is no version yet: what is written from here on is not certified until it is judged.
            index.view.put_under_trust_root();
            for (doc, _, standing) in &judged {
                index.view.set_certified(*doc, certified(standing));
            }
        }
        // Looked for while searches go on.
        let next = self.index.searchable().view.next_change().map_or(i64::MAX, jiff::Timestamp::as_millisecond);
        self.trust.next_change.store(next, Ordering::Release);
        Ok(judged.into_iter().map(|(_, card, standing)| (card, standing)).collect())
    }

    /// Lets time take effect: what has expired, or has become valid, since the last search. Two comparisons when nothing has.
    ///
    /// A clock that was set back takes effect too: what was judged at a later time than it is now is judged anew, all of it.
    pub(crate) fn keep_time(&self) -> Result<(), EngineError> {
        let now = (self.clock)();
        let was_set_back =
            || now.as_millisecond() < self.trust.judged_at.load(Ordering::Acquire).saturating_sub(SET_BACK);
        if now.as_millisecond() < self.trust.next_change.load(Ordering::Acquire) && !was_set_back() {
            return Ok(());
        }
        let _writing = self.writing.lock();
        if was_set_back() {
            tracing::warn!(%now, "the clock was set back; what is certified is judged anew");
            self.trust.judged_at.store(now.as_millisecond(), Ordering::Release);
            return self.judge_all();
        }
        let due = self.index.searchable().view.due(now);
        self.judge(&due).map(|_judged| ())
    }
}

#[cfg(test)]
mod tests;
