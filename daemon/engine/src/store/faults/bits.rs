//! Bits that flip in a store's file: it is refused, or says what it said.

use std::collections::BTreeMap;
use std::path::Path;

use redb::{ReadTransaction, ReadableTable, TableDefinition};

use super::super::DEFAULT_CACHE_BYTES;
use super::super::columns::{Column, RowKey};
use super::super::tables::{Visitor, visit_all};
use super::world::{Writer, check, open};
use super::{Dice, Disk};
use crate::error::EngineError;
use crate::store::Store;

/// Bytes of redb's header that mean anything.
const HEADER: usize = 320;

/// Table and key -> value.
type Content = BTreeMap<(String, Vec<u8>), Vec<u8>>;

/// Every row of every table.
struct Rows<'a> {
    transaction: &'a ReadTransaction,
    found: Content,
}

impl Visitor for Rows<'_> {
    fn visit<K: RowKey, V: Column>(&mut self, table: TableDefinition<'static, K, V>) -> Result<(), EngineError> {
        use redb::TableHandle;
        for entry in self.transaction.open_table(table)?.iter()? {
            let (key, value) = entry?;
            let key = K::as_bytes(&key.value()).as_ref().to_vec();
            let value = V::as_bytes(&value.value()).as_ref().to_vec();
            self.found.insert((table.name().to_owned(), key), value);
        }
        Ok(())
    }
}

fn rows(store: &Store) -> Result<Content, EngineError> {
    let reader = store.read()?;
    let mut rows = Rows { transaction: &reader.transaction, found: BTreeMap::new() };
    visit_all(&mut rows)?;
    Ok(rows.found)
}

/// A store with something in it; stopped as a daemon stops, or killed.
fn filled(clean: bool) -> Vec<u8> {
    let disk = Disk::new(Vec::new(), 1);
    let store = open(&disk).expect("a new store");
    let mut writer = Writer::new("a", 5);
    for _ in 0..60 {
        let step = writer.choose();
        writer.ask(&store, &step).expect("works");
        writer.acknowledge(&step);
    }
    if clean {
        drop(store);
        disk.cut()
    } else {
        let image = disk.cut();
        drop(store);
        image
    }
}

/// Opens a damaged file. `false`: it was refused.
fn is_right_or_refused(image: Vec<u8>, expected: &Content, what: &str) -> bool {
    match Store::open_over(Path::new("catalog.redb"), Box::new(Disk::new(image, 1)), DEFAULT_CACHE_BYTES) {
        Err(EngineError::StoreDamaged { .. } | EngineError::StoreFormat { .. }) => false,
        Err(error) => panic!("{what}: {error}"),
        Ok(store) => {
            assert!(rows(&store).expect("reads") == *expected, "{what}: it answers wrongly");
            check(&store.read().expect("reads")).expect("reads");
            true
        }
    }
}

fn flip(clean: bool) {
    let whole = filled(clean);
    let expected = rows(&open(&Disk::new(whole.clone(), 1)).expect("opens")).expect("reads");
    let mut dice = Dice(9);
    let some = std::env::var("FITMENT_POWER_CUTS").map_or(300, |_long| 5000);
    let anywhere = (0..some).map(|_| dice.below(whole.len() as u64 * 8));
    let places: Vec<u64> = (0..HEADER as u64 * 8).chain(anywhere).collect();
    let mut refused = 0;
    for &bit in &places {
        let mut image = whole.clone();
        image[usize::try_from(bit / 8).expect("small")] ^= 1 << (bit % 8);
        refused += usize::from(!is_right_or_refused(image, &expected, &format!("clean: {clean}, bit {bit}")));
    }
    eprintln!("clean: {clean}: of {} flipped bits {refused} were refused, the others changed nothing", places.len());
    assert!(refused > 0);
}

#[test]
fn a_flipped_bit_in_a_store_that_was_closed_is_refused_or_harmless() {
    flip(true);
}

#[test]
fn a_flipped_bit_in_a_store_whose_daemon_was_killed_is_refused_or_harmless() {
    flip(false);
}
