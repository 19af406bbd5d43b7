//! What the entries of a bundle say: read once, strictly, before anything is decided.

use std::collections::{BTreeMap, BTreeSet};

use fitment_catalog::{Digest, Format, Lifecycle, Manifest};
use fitment_ranking::Ranker;
use fitment_trust::{Predicate, Revocation, TrustRoot, VerifiedCertificate};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::manifest::{BundleEntry, BundleKind, BundleManifest};
use crate::calibration::Calibration;
use crate::error::EngineError;

/// Puts the bytes of the carried entries together as they come, and checks each against the manifest.
#[derive(Debug)]
pub struct BundleAssembly {
    manifest: BundleManifest,
    due: Vec<usize>,
    contents: Vec<Vec<u8>>,
    under_way: Vec<u8>,
}

impl BundleAssembly {
    /// Nothing has come yet.
    pub fn new(manifest: BundleManifest) -> Self {
        let carried = |(at, entry): (usize, &BundleEntry)| entry.kind.is_carried().then_some(at);
        let due = manifest.entries.iter().enumerate().filter_map(carried).collect();
        let mut new = Self { manifest, due, contents: Vec::new(), under_way: Vec::new() };
        new.take_empty();
        new
    }

    /// The next bytes. Errors: [`EngineError::BundleDamaged`].
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), EngineError> {
        while !bytes.is_empty() {
            let Some(entry) = self.next() else { return Err(damaged("more bytes came than it has".into())) };
            let left = usize::try_from(entry.bytes).unwrap_or(usize::MAX) - self.under_way.len();
            let (taken, rest) = bytes.split_at(left.min(bytes.len()));
            self.under_way.extend_from_slice(taken);
            bytes = rest;
            if taken.len() == left {
                self.finish_entry()?;
                self.take_empty();
            }
        }
        Ok(())
    }

    /// All that was due. Errors: [`EngineError::BundleDamaged`].
    pub fn finish(self) -> Result<(BundleManifest, Vec<Vec<u8>>), EngineError> {
        match self.next() {
            None => Ok((self.manifest, self.contents)),
            Some(entry) => Err(damaged(format!("the bytes ended inside `{}`", entry.path))),
        }
    }

    fn next(&self) -> Option<&BundleEntry> {
        self.due.get(self.contents.len()).map(|&at| &self.manifest.entries[at])
    }

    fn finish_entry(&mut self) -> Result<(), EngineError> {
        let Some(entry) = self.next() else { return Ok(()) };
        let digest = Digest::of(&self.under_way);
        if digest != entry.sha256 {
            return Err(damaged(format!("`{}` has digest {digest}, not {}", entry.path, entry.sha256)));
        }
        self.contents.push(std::mem::take(&mut self.under_way));
        Ok(())
    }

    /// An entry without bytes is there as soon as it is due.
    fn take_empty(&mut self) {
        while self.next().is_some_and(|entry| entry.bytes == 0) {
            self.contents.push(Vec::new());
        }
    }
}

fn damaged(detail: String) -> EngineError {
    EngineError::BundleDamaged { path: "that was sent".into(), detail }
}

/// A calibration on its way.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CarriedCalibration {
    pub(crate) calibration: Calibration,
    /// Versions that had changed since its fit when it was exported.
    pub(crate) changed: u64,
}

/// A revocation on its way: a file of a bundle or of an export.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CarriedRevocation {
    /// As the source accepted it.
    pub accepted: Value,
    /// The signed statement.
    pub envelope: String,
}

/// A version on its way.
#[derive(Debug)]
pub(crate) struct CarriedVersion {
    pub(crate) manifest: Manifest,
    pub(crate) lifecycle: Lifecycle,
}

/// A certificate on its way.
#[derive(Debug)]
pub(crate) struct CarriedCertificate {
    pub(crate) envelope: String,
    pub(crate) verified: VerifiedCertificate,
}

/// What a bundle says, read and checked in itself.
#[derive(Debug, Default)]
pub struct BundleContent {
    pub(crate) trust_root: Option<TrustRoot>,
    pub(crate) versions: Vec<CarriedVersion>,
    /// Digests of the versions that could answer at the source.
    pub(crate) answering: BTreeSet<Digest>,
    pub(crate) certificates: Vec<CarriedCertificate>,
    pub(crate) evidence: BTreeMap<Digest, Vec<u8>>,
    pub(crate) revocations: Vec<(Revocation, String)>,
    pub(crate) rankers: Vec<Ranker>,
    pub(crate) calibrations: Vec<CarriedCalibration>,
}

/// Under whose eyes a bundle is read.
#[derive(Clone, Copy)]
pub struct Reading<'a> {
    /// The root that is in force where it is read.
    pub root: Option<&'a TrustRoot>,
    /// Whether somebody who may signed it: then a revocation that the source accepted under an earlier root is taken.
    pub vouched: bool,
    /// The moment of reading.
    pub now: jiff::Timestamp,
    /// What is not looked at.
    pub without: &'a BTreeSet<BundleKind>,
}

impl BundleContent {
    /// Reads what the carried entries say. `contents`: their bytes, in order.
    ///
    /// Errors: [`EngineError::BundleDamaged`], which names the entry and what is wrong with it.
    pub fn read(manifest: &BundleManifest, contents: Vec<Vec<u8>>, reading: Reading<'_>) -> Result<Self, EngineError> {
        let mut content = Self::default();
        let (mut certificates, mut revocations) = (Vec::new(), Vec::new());
        for (entry, bytes) in manifest.carried().zip(contents) {
            let wrong = |why: String| damaged(format!("`{}`: {why}", entry.path));
            let said = |error: &dyn std::fmt::Display| wrong(error.to_string());
            // Which versions answered is read even where components are left out: a calibration is judged by it.
            if entry.kind == BundleKind::Component {
                let manifest = Manifest::parse(&entry.path, &bytes, Format::Json).map_err(|error| said(&error))?;
                let Some(lifecycle) = entry.lifecycle else { return Err(wrong("it has no lifecycle".into())) };
                if entry.may_answer {
                    content.answering.insert(manifest.digest());
                }
                if !reading.without.contains(&BundleKind::Component) {
                    content.versions.push(CarriedVersion { manifest, lifecycle });
                }
                continue;
            }
            if reading.without.contains(&entry.kind.group()) {
                continue;
            }
            match entry.kind {
                BundleKind::TrustRoot => {
                    let root = TrustRoot::parse(&entry.path, &bytes, Format::Json).map_err(|error| said(&error))?;
                    content.trust_root = Some(root);
                }
                BundleKind::Certificate => certificates.push((entry, text(bytes).map_err(wrong)?)),
                BundleKind::Evidence => {
                    content.evidence.insert(Digest::of(&bytes), bytes);
                }
                BundleKind::Revocation => {
                    let carried: CarriedRevocation = serde_json::from_slice(&bytes).map_err(|error| said(&error))?;
                    revocations.push((entry, carried));
                }
                BundleKind::Ranker => {
                    let ranker = Ranker::from_json(&text(bytes).map_err(wrong)?).map_err(|error| said(&error))?;
                    content.rankers.push(ranker);
                }
                BundleKind::Calibration => {
                    content.calibrations.push(serde_json::from_slice(&bytes).map_err(|error| said(&error))?);
                }
                BundleKind::Component | BundleKind::Labels | BundleKind::Model => {}
            }
        }
        content.verify(&certificates, revocations, reading)?;
        Ok(content)
    }

    /// Certificates and revocations, under the root that will be in force.
    fn verify(
        &mut self,
        certificates: &[(&BundleEntry, String)],
        revocations: Vec<(&BundleEntry, CarriedRevocation)>,
        reading: Reading<'_>,
    ) -> Result<(), EngineError> {
        let newer = |root: &&TrustRoot| reading.root.is_none_or(|installed| root.version() >= installed.version());
        let root = self.trust_root.as_ref().filter(newer).or(reading.root);
        if certificates.is_empty() && revocations.is_empty() {
            return Ok(());
        }
        let Some(root) = root else {
            return Err(EngineError::BundleRefused {
                detail: "it carries certificates, and there is no trust root here nor in it to verify them with".into(),
            });
        };
        let mut named = BTreeSet::new();
        for (entry, envelope) in certificates {
            let wrong = |why: String| damaged(format!("`{}`: {why}", entry.path));
            let verified = root.verify(envelope.as_bytes()).map_err(|error| wrong(error.to_string()))?;
            match verified.statement().predicate() {
                Predicate::Certification(certification) => {
                    named.extend(certification.evidence.iter().map(|evidence| evidence.digest));
                }
                Predicate::VerificationResult(_) => {}
                Predicate::Revocation(_) | Predicate::Other(_) => {
                    return Err(wrong("it certifies nothing".into()));
                }
            }
            self.certificates.push(CarriedCertificate { envelope: envelope.clone(), verified });
        }
        if let Some(stray) = self.evidence.keys().find(|digest| !named.contains(digest)) {
            return Err(damaged(format!("evidence {stray} is named by no certificate in it")));
        }
        for (entry, CarriedRevocation { accepted, envelope }) in revocations {
            let wrong = |why: String| damaged(format!("`{}`: {why}", entry.path));
            let admitted = root
                .verify(envelope.as_bytes())
                .and_then(|verified| root.admit(&verified, reading.now))
                .map_err(|error| error.to_string());
            let revocation = match admitted {
                Ok(revocation) => revocation,
                Err(why) if !reading.vouched => return Err(wrong(why)),
                // Its signer's key has ended or left the root since. Whoever signed the bundle vouches that it was accepted,
                // and what is revoked must stay so.
                Err(_) => recorded_revocation(&accepted, &envelope).map_err(wrong)?,
            };
            self.revocations.push((revocation, envelope));
        }
        Ok(())
    }
}

/// A revocation as it was accepted elsewhere: what was accepted is what was signed, and nothing more is verified.
///
/// Errors: what is wrong, in words.
pub(crate) fn recorded_revocation(accepted: &Value, envelope: &str) -> Result<Revocation, String> {
    let recorded = Revocation::from_value(accepted).map_err(|error| error.to_string())?;
    let signed = fitment_trust::Envelope::parse(envelope.as_bytes()).map_err(|error| error.to_string())?;
    let claims = fitment_trust::Statement::parse(signed.payload()).is_ok_and(
        |statement| matches!(statement.predicate(), Predicate::Revocation(claim) if claim == recorded.claim()),
    );
    if recorded.digest() != signed.digest() || !claims {
        return Err("what was accepted is not what was signed".into());
    }
    Ok(recorded)
}

fn text(bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|error| error.to_string())
}
