//! Tables of certification: trust roots, certificates as they were signed, accepted revocations, evidence.
//!
//! Nothing in them is ever taken back: a certificate ends by the clock or by a revocation, a trust root by the next one.

use fitment_catalog::{Digest, Format};
use fitment_index::DocId;
use fitment_trust::{Revocation, TrustRoot};
use redb::{ReadableTable, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::changes::{CHANGES, OP_MOVE};
use super::records::{decode, encode};
use super::{META, Revision, Store, StoreReader, audit, meta_u64};
use crate::audit::{Act, Author};
use crate::error::EngineError;

/// version of the root -> the root as canonical JSON; the last one is in force.
pub(super) const TRUST_ROOTS: TableDefinition<u64, &[u8]> = TableDefinition::new("trust_roots");
/// (version digest, sha256 of the envelope) -> [`StoredCertificate`] as JSON.
pub(super) const CERTIFICATES: TableDefinition<(&str, &str), &[u8]> = TableDefinition::new("certificates");
/// digest of the revocation -> the accepted revocation as JSON, with its envelope.
pub(super) const REVOCATIONS: TableDefinition<&str, &[u8]> = TableDefinition::new("revocations");
/// sha256 -> the bytes that a certificate names as evidence.
pub(super) const EVIDENCE: TableDefinition<&str, &[u8]> = TableDefinition::new("evidence");

/// A certificate as it was handed in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredCertificate {
    /// Digest of what was signed: the certificate's address.
    pub digest: String,
    /// The DSSE envelope, to the byte.
    pub envelope: String,
    /// When it was recorded.
    pub time: jiff::Timestamp,
    /// The revision that recorded it.
    pub revision: Revision,
}

#[derive(Serialize, Deserialize)]
struct StoredRevocation {
    accepted: Value,
    envelope: String,
}

/// What a certificate brings along.
pub(crate) struct NewCertificate<'a> {
    /// Its address.
    pub(crate) digest: Digest,
    /// Its envelope.
    pub(crate) envelope: &'a str,
    /// The stored versions that it speaks of.
    pub(crate) versions: &'a [(DocId, Digest)],
    /// Evidence by digest.
    pub(crate) evidence: &'a [(Digest, Vec<u8>)],
}

/// Makes the tables where they are not there yet.
pub(super) fn create_tables(transaction: &WriteTransaction) -> Result<(), EngineError> {
    transaction.open_table(TRUST_ROOTS)?;
    transaction.open_table(CERTIFICATES)?;
    transaction.open_table(REVOCATIONS)?;
    transaction.open_table(EVIDENCE)?;
    Ok(())
}

/// Keeps a trust root within a transaction.
pub(super) fn put_root_in(transaction: &WriteTransaction, root: &TrustRoot) -> Result<(), EngineError> {
    transaction.open_table(TRUST_ROOTS)?.insert(root.version(), encode(&root.to_value())?.as_slice())?;
    Ok(())
}

/// Keeps a certificate within a transaction, under each version that it speaks of.
pub(super) fn put_certificate_in(
    transaction: &WriteTransaction,
    new: &NewCertificate<'_>,
    revision: Revision,
    now: jiff::Timestamp,
) -> Result<(), EngineError> {
    let mut certificates = transaction.open_table(CERTIFICATES)?;
    let address = Digest::of(new.envelope.as_bytes()).to_string();
    let record =
        StoredCertificate { digest: new.digest.to_string(), envelope: new.envelope.to_owned(), time: now, revision };
    for (_, version) in new.versions {
        certificates.insert((version.to_string().as_str(), address.as_str()), encode(&record)?.as_slice())?;
    }
    let mut kept = transaction.open_table(EVIDENCE)?;
    for (digest, bytes) in new.evidence {
        kept.insert(digest.to_string().as_str(), bytes.as_slice())?;
    }
    Ok(())
}

/// Keeps a revocation within a transaction.
pub(super) fn put_revocation_in(
    transaction: &WriteTransaction,
    revocation: &Revocation,
    envelope: &str,
) -> Result<(), EngineError> {
    let record = StoredRevocation { accepted: revocation.to_value(), envelope: envelope.to_owned() };
    let digest = revocation.digest().to_string();
    transaction.open_table(REVOCATIONS)?.insert(digest.as_str(), encode(&record)?.as_slice())?;
    Ok(())
}

impl Store {
    /// Puts a trust root into force. The caller has checked that it may follow the one in force.
    pub(crate) fn put_trust_root(
        &self,
        root: &TrustRoot,
        act: Act,
        author: &Author,
        now: jiff::Timestamp,
    ) -> Result<Revision, EngineError> {
        self.certify(&[], act, author, now, |transaction, _revision| put_root_in(transaction, root))
    }

    /// Records a certificate under every version that it speaks of.
    pub(crate) fn put_certificate(
        &self,
        new: &NewCertificate<'_>,
        act: Act,
        author: &Author,
        now: jiff::Timestamp,
    ) -> Result<Revision, EngineError> {
        let docs: Vec<DocId> = new.versions.iter().map(|(doc, _)| *doc).collect();
        self.certify(&docs, act, author, now, |transaction, revision| {
            put_certificate_in(transaction, new, revision, now)
        })
    }

    /// Records a revocation. docs: the versions whose standing it may change.
    pub(crate) fn put_revocation(
        &self,
        revocation: &Revocation,
        envelope: &str,
        docs: &[DocId],
        act: Act,
        author: &Author,
        now: jiff::Timestamp,
    ) -> Result<Revision, EngineError> {
        self.certify(docs, act, author, now, |transaction, _revision| {
            put_revocation_in(transaction, revocation, envelope)
        })
    }

    /// One durable commit of certification, with its entries in the change log and in the audit chain.
    fn certify(
        &self,
        docs: &[DocId],
        act: Act,
        author: &Author,
        now: jiff::Timestamp,
        write: impl FnOnce(&WriteTransaction, Revision) -> Result<(), EngineError>,
    ) -> Result<Revision, EngineError> {
        let transaction = self.database.begin_write()?;
        let revision = meta_u64(&transaction.open_table(META)?, "revision")? + 1;
        write(&transaction, revision)?;
        {
            let mut changes = transaction.open_table(CHANGES)?;
            for (position, doc) in (0u32..).zip(docs) {
                changes.insert((revision, position), (OP_MOVE, doc.0))?;
            }
            transaction.open_table(META)?.insert("revision", revision.to_le_bytes().as_slice())?;
        }
        audit::append(&transaction, author, revision, now, [act])?;
        transaction.commit()?;
        Ok(revision)
    }
}

impl StoreReader {
    /// The trust root in force.
    pub(crate) fn trust_root(&self) -> Result<Option<TrustRoot>, EngineError> {
        let table = self.transaction.open_table(TRUST_ROOTS)?;
        let Some((_, bytes)) = table.last()? else { return Ok(None) };
        let root = TrustRoot::parse("the stored trust root", bytes.value(), Format::Json);
        root.map(Some).map_err(|error| EngineError::Internal(format!("the stored trust root cannot be read: {error}")))
    }

    /// Every trust root that ever was in force, by its version.
    pub(crate) fn trust_roots(&self) -> Result<Vec<TrustRoot>, EngineError> {
        let table = self.transaction.open_table(TRUST_ROOTS)?;
        let read = |bytes: &[u8]| {
            TrustRoot::parse("a stored trust root", bytes, Format::Json)
                .map_err(|error| EngineError::Internal(format!("a stored trust root cannot be read: {error}")))
        };
        table.iter()?.map(|entry| read(entry?.1.value())).collect()
    }

    /// Every certificate once, by the digest of its envelope.
    pub(crate) fn every_certificate(
        &self,
        mut each: impl FnMut(Digest, String) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let mut versions = std::collections::BTreeMap::new();
        let table = self.transaction.open_table(CERTIFICATES)?;
        for entry in table.iter()? {
            let (key, _) = entry?;
            let (version, address) = key.value();
            versions.entry(address.to_owned()).or_insert_with(|| version.to_owned());
        }
        for (address, version) in versions {
            let Some(record) = table.get((version.as_str(), address.as_str()))? else { continue };
            each(address.parse()?, decode::<StoredCertificate>(record.value())?.envelope)?;
        }
        Ok(())
    }

    /// All evidence, by its digest.
    pub(crate) fn every_evidence(
        &self,
        mut each: impl FnMut(Digest, Vec<u8>) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        for entry in self.transaction.open_table(EVIDENCE)?.iter()? {
            let (digest, bytes) = entry?;
            each(digest.value().parse()?, bytes.value().to_vec())?;
        }
        Ok(())
    }

    /// What was recorded about a version.
    pub(crate) fn certificates_of(&self, version: &Digest) -> Result<Vec<StoredCertificate>, EngineError> {
        let version = version.to_string();
        let table = self.transaction.open_table(CERTIFICATES)?;
        let mut found = Vec::new();
        for entry in table.range((version.as_str(), "")..)? {
            let (key, record) = entry?;
            if key.value().0 != version {
                break;
            }
            found.push(decode(record.value())?);
        }
        Ok(found)
    }

    /// Digests of the versions that a certificate was recorded under.
    pub(crate) fn versions_under(&self, certificate: &Digest) -> Result<Vec<String>, EngineError> {
        let wanted = certificate.to_string();
        let mut found = Vec::new();
        for entry in self.transaction.open_table(CERTIFICATES)?.iter()? {
            let (key, record) = entry?;
            if decode::<StoredCertificate>(record.value())?.digest == wanted {
                found.push(key.value().0.to_owned());
            }
        }
        Ok(found)
    }

    /// Every accepted revocation.
    pub(crate) fn revocations(&self) -> Result<Vec<Revocation>, EngineError> {
        let table = self.transaction.open_table(REVOCATIONS)?;
        let read = |bytes: &[u8]| {
            let record: StoredRevocation = decode(bytes)?;
            Revocation::from_value(&record.accepted)
                .map_err(|error| EngineError::Internal(format!("a stored revocation cannot be read: {error}")))
        };
        table.iter()?.map(|entry| read(entry?.1.value())).collect()
    }

    /// Every accepted revocation with the envelope that it came in.
    pub(crate) fn revocations_with_envelopes(&self) -> Result<Vec<(Revocation, String)>, EngineError> {
        let table = self.transaction.open_table(REVOCATIONS)?;
        let read = |bytes: &[u8]| {
            let record: StoredRevocation = decode(bytes)?;
            let accepted = Revocation::from_value(&record.accepted)
                .map_err(|error| EngineError::Internal(format!("a stored revocation cannot be read: {error}")))?;
            Ok((accepted, record.envelope))
        };
        table.iter()?.map(|entry| read(entry?.1.value())).collect()
    }

    /// Evidence by its digest.
    pub(crate) fn evidence(&self, digest: &Digest) -> Result<Option<Vec<u8>>, EngineError> {
        let table = self.transaction.open_table(EVIDENCE)?;
        Ok(table.get(digest.to_string().as_str())?.map(|bytes| bytes.value().to_vec()))
    }
}
