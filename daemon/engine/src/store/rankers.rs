//! Tables of fitted rankers: which one is in force, what is kept of earlier ones. Their commits raise no revision.

use fitment_ranking::{Ranker, Trial};
use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::records::{decode, encode};
use super::{Store, StoreReader, audit};
use crate::audit::{Act, Author};
use crate::error::EngineError;

/// model digest -> id of the ranker in force; absent: the shipped one. Older builds wrote the whole ranker here.
pub(super) const RANKERS: TableDefinition<&str, &[u8]> = TableDefinition::new("rankers");
/// (model digest, id) -> the ranker as JSON.
pub(super) const RANKER_ARTEFACTS: TableDefinition<(&str, &str), &[u8]> = TableDefinition::new("ranker_artefacts");
/// (model digest, id) -> [`RankerRecord`] as JSON.
pub(super) const RANKER_RECORDS: TableDefinition<(&str, &str), &[u8]> = TableDefinition::new("ranker_records");

/// Rankers that are kept for a model.
const KEPT: usize = 20;

/// What is known of a kept ranker without reading all of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RankerRecord {
    /// Its id.
    pub(crate) id: String,
    /// Counts the rankers of a model, in the order in which they were first put into force.
    pub(crate) number: u64,
    /// When that was; `None` for one from before rankers were kept.
    pub(crate) create_time: Option<jiff::Timestamp>,
    /// `name split` of what it was fitted on.
    pub(crate) fitted_on: Vec<String>,
    /// What was tried.
    pub(crate) trials: Vec<Trial>,
    /// Whether labels are signals in it.
    pub(crate) uses_labels: bool,
    /// Seed of its random choices.
    pub(crate) seed: u64,
    /// Labelled intents with a right component.
    pub(crate) in_scope: u64,
    /// Labelled intents with none.
    pub(crate) out_of_scope: u64,
}

impl RankerRecord {
    /// What is known of a ranker.
    pub(crate) fn of(ranker: &Ranker, number: u64, create_time: Option<jiff::Timestamp>) -> Self {
        let in_scope = ranker.observations.iter().filter(|seen| seen.observation.in_scope).count() as u64;
        Self {
            id: ranker.id.clone(),
            number,
            create_time,
            fitted_on: ranker.fitted_on.clone(),
            trials: ranker.trials.clone(),
            uses_labels: ranker.labels.is_some(),
            seed: ranker.seed,
            in_scope,
            out_of_scope: ranker.observations.len() as u64 - in_scope,
        }
    }
}

/// Makes the tables where they are not there yet, and gives a ranker of the older form its id and its record.
pub(super) fn create_tables(transaction: &WriteTransaction) -> Result<(), EngineError> {
    let mut in_force = transaction.open_table(RANKERS)?;
    let mut artefacts = transaction.open_table(RANKER_ARTEFACTS)?;
    let mut records = transaction.open_table(RANKER_RECORDS)?;
    let mut older = Vec::new();
    for entry in in_force.iter()? {
        let (model, bytes) = entry?;
        if bytes.value().first() == Some(&b'{') {
            older.push((model.value().to_owned(), bytes.value().to_vec()));
        }
    }
    for (model, bytes) in older {
        // One that cannot be read stays where it is and is said to be unusable when it is asked for.
        let Ok(ranker) = parse(&bytes) else { continue };
        keep(&mut artefacts, &mut records, &model, &ranker, None)?;
        in_force.insert(model.as_str(), ranker.id.as_bytes())?;
    }
    Ok(())
}

type Records<'t> = Table<'t, (&'static str, &'static str), &'static [u8]>;

/// Writes a ranker that is new, and forgets the oldest over the limit; the ranker itself stays.
fn keep(
    artefacts: &mut Records<'_>,
    records: &mut Records<'_>,
    model: &str,
    ranker: &Ranker,
    now: Option<jiff::Timestamp>,
) -> Result<(), EngineError> {
    let key = (model, ranker.id.as_str());
    if records.get(key)?.is_some() {
        return Ok(());
    }
    let mut kept = records_of(records, model)?;
    let number = kept.last().map_or(0, |last| last.number + 1);
    records.insert(key, encode(&RankerRecord::of(ranker, number, now))?.as_slice())?;
    artefacts.insert(key, encode(ranker)?.as_slice())?;
    let surplus = (kept.len() + 1).saturating_sub(KEPT);
    for forgotten in kept.drain(..surplus) {
        records.remove((model, forgotten.id.as_str()))?;
        artefacts.remove((model, forgotten.id.as_str()))?;
    }
    Ok(())
}

/// Records of a model, oldest first.
fn records_of(
    records: &impl ReadableTable<(&'static str, &'static str), &'static [u8]>,
    model: &str,
) -> Result<Vec<RankerRecord>, EngineError> {
    let mut found = Vec::new();
    for entry in records.range((model, "")..)? {
        let (key, record) = entry?;
        if key.value().0 != model {
            break;
        }
        found.push(decode::<RankerRecord>(record.value())?);
    }
    found.sort_by_key(|record| record.number);
    Ok(found)
}

fn parse(bytes: &[u8]) -> Result<Ranker, EngineError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| EngineError::Internal(format!("the stored ranker is not text: {error}")))?;
    Ranker::from_json(text).map_err(|error| EngineError::Learning(error.to_string()))
}

/// Keeps a ranker and puts it into force for its model, within a transaction.
pub(super) fn put_in(
    transaction: &WriteTransaction,
    ranker: &Ranker,
    now: jiff::Timestamp,
) -> Result<Act, EngineError> {
    let mut artefacts = transaction.open_table(RANKER_ARTEFACTS)?;
    let mut records = transaction.open_table(RANKER_RECORDS)?;
    let model = ranker.model_digest.as_str();
    keep(&mut artefacts, &mut records, model, ranker, Some(now))?;
    transaction.open_table(RANKERS)?.insert(model, ranker.id.as_bytes())?;
    let detail = json!({"model": ranker.model_digest, "fitted_on": ranker.fitted_on});
    Ok(Act { action: "ranker.activate", subject: ranker.id.clone(), detail })
}

impl Store {
    /// Keeps a ranker and puts it into force for its model.
    pub(crate) fn put_ranker(&self, ranker: &Ranker, now: jiff::Timestamp) -> Result<(), EngineError> {
        let transaction = self.database.begin_write()?;
        let act = put_in(&transaction, ranker, now)?;
        audit::append_now(&transaction, &Author::default(), now, [act])?;
        transaction.commit()?;
        Ok(())
    }

    /// Takes a model's ranker out of force and keeps it; true when there was one.
    pub(crate) fn remove_ranker(&self, model_digest: &str, now: jiff::Timestamp) -> Result<bool, EngineError> {
        let transaction = self.database.begin_write()?;
        let was_there = transaction.open_table(RANKERS)?.remove(model_digest)?.is_some();
        if was_there {
            let detail = json!({"model": model_digest});
            let act = Act { action: "ranker.activate", subject: "default".into(), detail };
            audit::append_now(&transaction, &Author::default(), now, [act])?;
        }
        transaction.commit()?;
        Ok(was_there)
    }
}

impl StoreReader {
    /// The fitted ranker in force for a model.
    pub(crate) fn ranker(&self, model_digest: &str) -> Result<Option<Ranker>, EngineError> {
        let table = self.transaction.open_table(RANKERS)?;
        let Some(bytes) = table.get(model_digest)? else { return Ok(None) };
        if bytes.value().first() == Some(&b'{') {
            return parse(bytes.value()).map(Some);
        }
        let id = String::from_utf8_lossy(bytes.value()).into_owned();
        let kept = self.kept_ranker(model_digest, &id)?;
        kept.map(Some).ok_or_else(|| EngineError::Internal(format!("ranker {id} is in force and not kept")))
    }

    /// Digests of the models that have a fitted ranker in force.
    pub(crate) fn models_with_rankers(&self) -> Result<Vec<String>, EngineError> {
        let table = self.transaction.open_table(RANKERS)?;
        table.iter()?.map(|entry| Ok(entry?.0.value().to_owned())).collect()
    }

    /// A ranker that was in force for a model.
    pub(crate) fn kept_ranker(&self, model_digest: &str, id: &str) -> Result<Option<Ranker>, EngineError> {
        let table = self.transaction.open_table(RANKER_ARTEFACTS)?;
        table.get((model_digest, id))?.map(|bytes| parse(bytes.value())).transpose()
    }

    /// Rankers that were in force for a model, in the order in which they first were.
    pub(crate) fn ranker_records(&self, model_digest: &str) -> Result<Vec<RankerRecord>, EngineError> {
        records_of(&self.transaction.open_table(RANKER_RECORDS)?, model_digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (std::path::PathBuf, Store) {
        let folder = std::env::temp_dir().join(format!("fitment-rankers-{}", uuid::Uuid::now_v7()));
        let store = Store::open(&folder.join("catalog.redb")).expect("a new store");
        (folder, store)
    }

    fn ranker(id: &str) -> Ranker {
        Ranker { id: id.to_owned(), model_digest: "sha256:m".to_owned(), ..Ranker::clone(Ranker::shipped()) }
    }

    fn ids(store: &Store) -> Vec<String> {
        let records = store.read().expect("readable").ranker_records("sha256:m").expect("readable");
        records.into_iter().map(|record| record.id).collect()
    }

    #[test]
    fn the_oldest_goes_and_the_one_in_force_stays() {
        let (folder, store) = store();
        for number in 0..25 {
            store.put_ranker(&ranker(&format!("r{number:02}")), jiff::Timestamp::UNIX_EPOCH).expect("written");
        }
        // Put into force again, it is neither written twice nor newer than it was.
        store.put_ranker(&ranker("r05"), jiff::Timestamp::UNIX_EPOCH).expect("written");
        assert_eq!(ids(&store), (5..25).map(|number| format!("r{number:02}")).collect::<Vec<_>>());
        let in_force = || store.read().expect("readable").ranker("sha256:m").expect("readable").map(|ranker| ranker.id);
        assert_eq!(in_force().as_deref(), Some("r05"));
        assert!(store.remove_ranker("sha256:m", jiff::Timestamp::UNIX_EPOCH).expect("written"));
        assert_eq!((in_force(), ids(&store).len()), (None, 20));
        drop(store);
        std::fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn a_ranker_of_the_older_form_is_in_force_and_kept() {
        let (folder, store) = store();
        let transaction = store.database.begin_write().expect("writable");
        {
            let mut table = transaction.open_table(RANKERS).expect("there");
            table.insert("sha256:m", encode(&ranker("old")).expect("JSON").as_slice()).expect("written");
            table.insert("sha256:n", b"{damaged".as_slice()).expect("written");
        }
        transaction.commit().expect("committed");
        drop(store);
        let store = Store::open(&folder.join("catalog.redb")).expect("opens");
        let reader = store.read().expect("readable");
        assert_eq!(reader.ranker("sha256:m").expect("readable").map(|ranker| ranker.id).as_deref(), Some("old"));
        assert_eq!(ids(&store), ["old"]);
        assert!(reader.ranker("sha256:n").is_err(), "said, not taken for the shipped one");
        drop((reader, store));
        std::fs::remove_dir_all(folder).expect("removed");
    }
}
