//! Every table of the store, for what walks all of them. A table that is not named here is in no snapshot.

use redb::{TableDefinition, TableHandle};

use super::columns::{Column, RowKey};
use super::{
    assemblies, audit, bundles, certificates, changes, economics, feedback, gaps, models, rankers, second_stage,
};
use crate::error::EngineError;

/// What is done to each table.
pub(super) trait Visitor {
    /// One table.
    fn visit<K: RowKey, V: Column>(&mut self, table: TableDefinition<'static, K, V>) -> Result<(), EngineError>;
}

macro_rules! tables {
    ($($table:path),* $(,)?) => {
        /// Visits all tables, in the order in which a snapshot holds them.
        pub(super) fn visit_all(visitor: &mut impl Visitor) -> Result<(), EngineError> {
            $(visitor.visit($table)?;)*
            Ok(())
        }

        /// Visits the table of that name; false: there is none.
        pub(super) fn visit_named(name: &str, visitor: &mut impl Visitor) -> Result<bool, EngineError> {
            $(
                if $table.name() == name {
                    visitor.visit($table)?;
                    return Ok(true);
                }
            )*
            Ok(false)
        }
    };
}

tables!(
    super::META,
    super::VERSIONS,
    super::MANIFESTS,
    super::NAMES,
    super::DIGESTS,
    super::VECTORS,
    super::PROFILES,
    changes::CHANGES,
    super::REQUESTS,
    super::REQUEST_ORDER,
    super::CALIBRATIONS,
    rankers::RANKERS,
    rankers::RANKER_ARTEFACTS,
    rankers::RANKER_RECORDS,
    feedback::DECISIONS,
    feedback::LABELS,
    feedback::PROMISES,
    second_stage::SECOND_STAGE,
    audit::AUDIT,
    certificates::TRUST_ROOTS,
    certificates::CERTIFICATES,
    certificates::REVOCATIONS,
    certificates::EVIDENCE,
    gaps::GAP_INTENTS,
    gaps::GAP_VECTORS,
    gaps::GAPS,
    gaps::GAP_TRAFFIC,
    bundles::BUNDLES,
    bundles::STAGED_VECTORS,
    models::NORMS,
    assemblies::ASSEMBLIES,
    assemblies::ASSEMBLY_DOCUMENTS,
    assemblies::ASSEMBLY_POLICIES,
    economics::ECONOMICS,
);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::store::Store;

    struct Names(Vec<String>);

    impl Visitor for Names {
        fn visit<K: RowKey, V: Column>(&mut self, table: TableDefinition<'static, K, V>) -> Result<(), EngineError> {
            self.0.push(table.name().to_owned());
            Ok(())
        }
    }

    #[test]
    fn every_table_of_a_store_is_named_here() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(&folder.path().join("catalog.redb")).expect("opens");
        let transaction = store.database.begin_read().expect("reads");
        assert_eq!(transaction.list_multimap_tables().expect("lists").count(), 0);
        let there: BTreeSet<String> =
            transaction.list_tables().expect("lists").map(|table| table.name().to_owned()).collect();
        let mut names = Names(Vec::new());
        visit_all(&mut names).expect("visits");
        assert_eq!(names.0.iter().cloned().collect::<BTreeSet<_>>(), there);
        assert_eq!(names.0.len(), there.len(), "none twice");
        for name in names.0 {
            assert!(visit_named(&name, &mut Names(Vec::new())).expect("visits"));
        }
    }
}
