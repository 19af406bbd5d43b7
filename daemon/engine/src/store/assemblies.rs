//! Tables of kept assemblies and of the policies for all of them. Their commits raise no revision of the catalogue and enter no
//! change log; each is in the audit trail.

use fitment_catalog::{ComponentName, Digest};
use redb::{ReadableTableMetadata, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::records::{decode, encode, text};
use super::{Store, StoreReader, audit};
use crate::audit::{Act, Author};
use crate::error::EngineError;

/// assembly's name -> [`StoredAssembly`] as JSON.
pub(super) const ASSEMBLIES: TableDefinition<&str, &[u8]> = TableDefinition::new("assemblies");
/// assembly's name -> its document as it was sent.
pub(super) const ASSEMBLY_DOCUMENTS: TableDefinition<&str, &[u8]> = TableDefinition::new("assembly_documents");
/// `in-force` -> [`StoredPolicies`] as JSON.
pub(super) const ASSEMBLY_POLICIES: TableDefinition<&str, &[u8]> = TableDefinition::new("assembly_policies");

const IN_FORCE: &str = "in-force";

/// A kept assembly, without its document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredAssembly {
    /// `namespace/name`.
    #[serde(with = "text")]
    pub(crate) name: ComponentName,
    /// Digest of the document.
    pub(crate) digest: Digest,
    /// Its owner, as the document says.
    pub(crate) owner: Option<String>,
    /// When it was kept.
    pub(crate) time: jiff::Timestamp,
    /// Who kept it, as they said.
    pub(crate) actor: String,
    /// Parts that are components of the catalogue: id, what the document names, and the version's digest where the catalogue
    /// had it then.
    pub(crate) components: Vec<StoredPart>,
    /// Number of all its parts.
    pub(crate) parts: u32,
    /// Standards and requirements that it declares, and that its parts outside the catalogue claim.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) claims: Vec<StoredClaim>,
}

/// A standard, or `standard/requirement`, that a document names by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredClaim {
    /// What is claimed.
    pub(crate) claim: String,
    /// The part that claims it, and who runs that; `None`: the assembly declares it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) part: Option<(String, String)>,
}

/// A part that is a component of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredPart {
    /// Its id.
    pub(crate) id: String,
    /// `namespace/name@version`, or a digest, as the document names it.
    pub(crate) reference: String,
    /// The version's digest; `None`: the catalogue had no such version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<Digest>,
}

impl StoredAssembly {
    /// Changes with every change of it.
    pub(crate) fn etag(&self) -> String {
        let stamp = format!("{}\n{}", self.digest, self.time);
        Digest::of(stamp.as_bytes()).to_hex()[..16].to_owned()
    }
}

/// The organisation's policies as they were set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredPolicies {
    /// YAML or JSON; empty: none.
    pub(crate) policies: String,
    /// Name and text of each file of Cedar policies; `None`: those that Fitment comes with.
    pub(crate) cedar: Option<Vec<(String, String)>>,
    /// When they were set; `None`: never.
    pub(crate) time: Option<jiff::Timestamp>,
    /// Who set them, as they said.
    pub(crate) actor: String,
}

impl StoredPolicies {
    /// Changes with every change of them.
    pub(crate) fn etag(&self) -> Result<String, EngineError> {
        Ok(Digest::of(&encode(self)?).to_hex()[..16].to_owned())
    }
}

/// Makes the tables where they are not there yet: a store from before them has none.
pub(super) fn create_tables(transaction: &WriteTransaction) -> Result<(), EngineError> {
    transaction.open_table(ASSEMBLIES)?;
    transaction.open_table(ASSEMBLY_DOCUMENTS)?;
    transaction.open_table(ASSEMBLY_POLICIES)?;
    Ok(())
}

impl Store {
    /// Keeps an assembly in place of the one of its name.
    pub(crate) fn put_assembly(
        &self,
        record: &StoredAssembly,
        document: &[u8],
        act: Act,
        author: &Author,
    ) -> Result<(), EngineError> {
        let transaction = self.database.begin_write()?;
        let name = record.name.to_string();
        transaction.open_table(ASSEMBLIES)?.insert(name.as_str(), encode(record)?.as_slice())?;
        transaction.open_table(ASSEMBLY_DOCUMENTS)?.insert(name.as_str(), document)?;
        audit::append_now(&transaction, author, record.time, [act])?;
        transaction.commit()?;
        Ok(())
    }

    /// Forgets an assembly.
    pub(crate) fn remove_assembly(
        &self,
        name: &ComponentName,
        act: Act,
        author: &Author,
        now: jiff::Timestamp,
    ) -> Result<(), EngineError> {
        let transaction = self.database.begin_write()?;
        let name = name.to_string();
        transaction.open_table(ASSEMBLIES)?.remove(name.as_str())?;
        transaction.open_table(ASSEMBLY_DOCUMENTS)?.remove(name.as_str())?;
        audit::append_now(&transaction, author, now, [act])?;
        transaction.commit()?;
        Ok(())
    }

    /// Puts the organisation's policies into force.
    pub(crate) fn put_assembly_policies(
        &self,
        policies: &StoredPolicies,
        act: Act,
        author: &Author,
        now: jiff::Timestamp,
    ) -> Result<(), EngineError> {
        let transaction = self.database.begin_write()?;
        transaction.open_table(ASSEMBLY_POLICIES)?.insert(IN_FORCE, encode(policies)?.as_slice())?;
        audit::append_now(&transaction, author, now, [act])?;
        transaction.commit()?;
        Ok(())
    }
}

impl StoreReader {
    /// How many assemblies are kept.
    pub(crate) fn assemblies(&self) -> Result<u64, EngineError> {
        Ok(self.transaction.open_table(ASSEMBLIES)?.len()?)
    }

    /// A kept assembly.
    pub(crate) fn assembly(&self, name: &ComponentName) -> Result<Option<StoredAssembly>, EngineError> {
        let table = self.transaction.open_table(ASSEMBLIES)?;
        table.get(name.to_string().as_str())?.map(|record| decode(record.value())).transpose()
    }

    /// Its document as it was sent.
    pub(crate) fn assembly_document(&self, name: &ComponentName) -> Result<Option<Vec<u8>>, EngineError> {
        let table = self.transaction.open_table(ASSEMBLY_DOCUMENTS)?;
        Ok(table.get(name.to_string().as_str())?.map(|document| document.value().to_vec()))
    }

    /// Kept assemblies whose names come after a text, in order, at most `most`.
    pub(crate) fn assemblies_after(&self, after: &str, most: usize) -> Result<Vec<StoredAssembly>, EngineError> {
        let table = self.transaction.open_table(ASSEMBLIES)?;
        let range = (std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded);
        table.range::<&str>(range)?.take(most).map(|entry| decode(entry?.1.value())).collect()
    }

    /// The organisation's policies; those of a fresh store where none were set.
    pub(crate) fn assembly_policies(&self) -> Result<StoredPolicies, EngineError> {
        let table = self.transaction.open_table(ASSEMBLY_POLICIES)?;
        let stored = table.get(IN_FORCE)?.map(|record| decode(record.value())).transpose()?;
        Ok(stored.unwrap_or_default())
    }
}
