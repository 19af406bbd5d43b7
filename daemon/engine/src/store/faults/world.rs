//! One writer with its own names, and what it knows of them; and what must hold of a store whoever wrote to it.

use std::collections::BTreeMap;
use std::path::Path;

use fitment_catalog::{ComponentName, Digest, Format, Lifecycle, Manifest};
use fitment_models::{Architecture, Compute, ModelDigest, ModelInfo, Pooling, UnitVector};
use redb::ReadableTableMetadata;
use serde_json::json;
use uuid::Uuid;

use super::super::{
    CALIBRATIONS, Change, DEFAULT_CACHE_BYTES, DIGESTS, MANIFESTS, NAMES, NewCertificate, NewVersion, PROFILES,
    Standing, Store, StoreReader, VECTORS, VERSIONS, Written,
};
use super::{Dice, Disk};
use crate::audit::{Act, AuditHead, Author};
use crate::calibration::Calibration;
use crate::drift::PromiseRecord;
use crate::error::EngineError;

const DIMENSION: usize = 8;
const NOW: jiff::Timestamp = jiff::Timestamp::UNIX_EPOCH;

pub(super) fn model() -> ModelInfo {
    ModelInfo {
        name: "small".into(),
        digest: ModelDigest::of(b"small"),
        architecture: Architecture::Bert,
        dimension: DIMENSION,
        max_tokens: 16,
        pooling: Pooling::Mean,
        query_prefix: String::new(),
        document_prefix: String::new(),
        weight_bytes: 1,
        compute: Compute::default(),
    }
}

/// Opens the store on a disk.
pub(super) fn open(disk: &Disk) -> Result<Store, EngineError> {
    let store = Store::open_over(Path::new("catalog.redb"), Box::new(disk.clone()), DEFAULT_CACHE_BYTES)?;
    store.bind_model(&model())?;
    Ok(store)
}

/// What a writer knows of one of its versions.
#[derive(Clone, Debug, PartialEq)]
struct Known {
    digest: Digest,
    lifecycle: Lifecycle,
    deleted: bool,
    moves: usize,
    certificates: u64,
}

/// Everything that one writer knows.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct World {
    versions: BTreeMap<u64, Known>,
    verdicts: u64,
    calibrated: Option<String>,
}

/// A write.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Put(u64),
    Delete(u64),
    Undelete(u64),
    Move(u64, Lifecycle),
    Certify(u64),
    Verdict,
    Calibrate(String),
}

/// A writer. Its worlds: what it knows, and what may be instead since writes were not acknowledged.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    name: String,
    pub(super) known: World,
    pub(super) instead: Vec<World>,
    dice: Dice,
    next: u64,
    pub(super) acknowledged: u64,
}

impl Writer {
    pub(super) fn new(name: &str, seed: u64) -> Self {
        Self {
            name: name.to_owned(),
            known: World::default(),
            instead: Vec::new(),
            dice: Dice(seed),
            next: 0,
            acknowledged: 0,
        }
    }

    fn manifest(&self, number: u64) -> Manifest {
        let text = format!(
            "name: {name}/part-{number}\nversion: 1.0.0\ntitle: Part {number}\nsummary: Does what {number} parts do, {filling}.\n\
             kind: service\nlifecycle: draft\nlicense: Apache-2.0\nowner: team-a\nexample_intents: [do part {number}]\n",
            name = self.name,
            // Of several lengths.
            filling = "and some more ".repeat(usize::try_from(number % 7).expect("small") * 6),
        );
        Manifest::parse("part.yaml", text.as_bytes(), Format::Yaml).expect("a manifest")
    }

    fn component(&self, number: u64) -> ComponentName {
        format!("{}/part-{number}", self.name).parse().expect("a name")
    }

    fn standing(&self, number: u64) -> Standing {
        Standing {
            name: self.component(number),
            version: semver::Version::new(1, 0, 0),
            etag: String::new(),
            request_id: if number.is_multiple_of(2) { String::new() } else { Uuid::now_v7().to_string() },
            author: Author { actor: self.name.clone(), reason: "because".into() },
        }
    }

    /// Something that may be done now.
    pub(super) fn choose(&mut self) -> Step {
        let count = self.known.versions.len() as u64;
        let chosen = self.known.versions.iter().nth(usize::try_from(self.dice.below(count.max(1))).expect("small"));
        let Some((&number, known)) = chosen.filter(|_| self.dice.below(3) > 0) else {
            return match self.dice.below(6) {
                0 => Step::Verdict,
                1 => Step::Calibrate(format!("{:016x}", self.dice.roll())),
                _ => {
                    self.next += 1;
                    Step::Put(self.next)
                }
            };
        };
        if known.deleted {
            return Step::Undelete(number);
        }
        let ways: Vec<Lifecycle> =
            Lifecycle::ALL.iter().copied().filter(|&to| known.lifecycle.may_become(to)).collect();
        match self.dice.below(4) {
            0 => Step::Delete(number),
            1 if known.certificates < 3 => Step::Certify(number),
            _ if ways.is_empty() => Step::Delete(number),
            _ => Step::Move(number, ways[usize::try_from(self.dice.below(ways.len() as u64)).expect("small")]),
        }
    }

    /// Asks for a write.
    pub(super) fn ask(&self, store: &Store, step: &Step) -> Result<(), EngineError> {
        let author = Author { actor: self.name.clone(), reason: String::new() };
        match step {
            Step::Put(number) => {
                let manifest = self.manifest(*number);
                let rows = fitment_catalog::facets(&manifest).len();
                let new = NewVersion {
                    vectors: (0..rows).map(|row| vector(*number + row as u64)).collect(),
                    manifest,
                    request_id: Uuid::now_v7().to_string(),
                    standing: None,
                };
                let (_, written) = store.put(&model(), &[new], &author, NOW)?;
                assert!(matches!(written.as_slice(), [Written::Created(..)]), "{written:?}");
                Ok(())
            }
            Step::Delete(number) => store.delete(&self.standing(*number), NOW).map(drop),
            Step::Undelete(number) => store.undelete(&self.standing(*number), NOW).map(drop),
            Step::Move(number, to) => store.move_to(&self.standing(*number), *to, NOW).map(drop),
            Step::Certify(number) => {
                let known = &self.known.versions[number];
                let doc = store.read()?.by_digest(&known.digest)?.expect("what was acknowledged is there");
                let envelope = format!("{}/{number}: {}", self.name, known.certificates);
                let new = NewCertificate {
                    digest: Digest::of(envelope.as_bytes()),
                    envelope: &envelope,
                    versions: &[(doc, known.digest)],
                    evidence: &[(Digest::of(b"evidence"), b"evidence".to_vec())],
                };
                let act = Act { action: "certificate.add", subject: new.digest.to_string(), detail: json!({}) };
                store.put_certificate(&new, act, &author, NOW).map(drop)
            }
            Step::Verdict => {
                let write = store.write_feedback()?;
                let verdicts = self.known.verdicts + 1;
                write.put_promise(&self.name, &PromiseRecord { verdicts, ..PromiseRecord::default() })?;
                write.commit(NOW, Vec::new())
            }
            Step::Calibrate(id) => {
                let act = Act { action: "calibration.put", subject: id.clone(), detail: json!({}) };
                store.put_calibration(&self.calibration(id), act, &author, NOW)
            }
        }
    }

    fn calibration(&self, id: &str) -> Calibration {
        serde_json::from_value(json!({
            "id": id, "model_digest": self.name, "catalog_digest": "", "fitted_revision": 0, "fitted_versions": 0,
            "dataset_digest": "", "dataset": "", "evidence": "labelled",
            "ranking": crate::rank::Ranking::default(), "ranker_id": "", "max_error": 0.05, "confidence_level": 0.9,
            "zero": null, "minimal": null, "in_scope": 0, "out_of_scope": 0, "reference": null,
        }))
        .expect("a calibration")
    }

    /// The world after a step.
    fn after(&self, step: &Step) -> World {
        let mut world = self.known.clone();
        match step {
            Step::Put(number) => {
                let digest = self.manifest(*number).digest();
                let known = Known { digest, lifecycle: Lifecycle::Draft, deleted: false, moves: 0, certificates: 0 };
                world.versions.insert(*number, known);
            }
            Step::Verdict => world.verdicts += 1,
            Step::Calibrate(id) => world.calibrated = Some(id.clone()),
            Step::Delete(number) | Step::Undelete(number) | Step::Move(number, _) | Step::Certify(number) => {
                let known = world.versions.get_mut(number).expect("chosen among these");
                match step {
                    Step::Delete(_) => known.deleted = true,
                    Step::Undelete(_) => known.deleted = false,
                    Step::Certify(_) => known.certificates += 1,
                    Step::Move(_, to) => {
                        known.lifecycle = *to;
                        known.moves += 1;
                    }
                    Step::Put(_) | Step::Verdict | Step::Calibrate(_) => {}
                }
            }
        }
        world
    }

    /// The step was acknowledged.
    pub(super) fn acknowledge(&mut self, step: &Step) {
        self.known = self.after(step);
        self.instead.clear();
        self.acknowledged += 1;
    }

    /// The step was not acknowledged: it may have been done all the same.
    pub(super) fn doubt(&mut self, step: &Step) {
        self.instead.push(self.after(step));
    }

    /// What the store says of everything that the writer ever asked for.
    pub(super) fn find(&self, reader: &StoreReader) -> Result<World, EngineError> {
        let mut world = World { verdicts: reader.promise(&self.name)?.verdicts, ..World::default() };
        world.calibrated = reader.calibration(&self.name)?.map(|calibration| calibration.id);
        for number in 1..=self.next {
            let name = self.component(number);
            let Some(doc) = reader.by_name(&name, &semver::Version::new(1, 0, 0))? else { continue };
            let record = reader.version_or_deleted(doc)?.expect("a name has its record");
            let known = Known {
                certificates: reader.certificates_of(&record.card.digest)?.len() as u64,
                digest: record.card.digest,
                lifecycle: record.card.lifecycle,
                deleted: record.deleted.is_some(),
                moves: record.history.len(),
            };
            world.versions.insert(number, known);
        }
        Ok(world)
    }

    /// Holds what the store says against what was acknowledged, and goes on from there.
    pub(super) fn compare(&mut self, reader: &StoreReader) -> Result<(), EngineError> {
        let found = self.find(reader)?;
        let one_of_them = found == self.known || self.instead.contains(&found);
        assert!(one_of_them, "{}: found {found:?}\nknown {:?}\nor {:?}", self.name, self.known, self.instead);
        self.known = found;
        self.instead.clear();
        Ok(())
    }

    pub(super) fn versions(&self) -> u64 {
        self.known.versions.len() as u64
    }
}

fn vector(number: u64) -> UnitVector {
    let mut dice = Dice(number);
    #[expect(clippy::cast_precision_loss, reason = "any direction will do")]
    let values: Vec<f32> = (0..DIMENSION).map(|_| dice.below(2001) as f32 / 1000.0 - 1.0).collect();
    let length = values.iter().map(|value| value * value).sum::<f32>().sqrt();
    UnitVector::new(values.iter().map(|value| value / length).collect::<Vec<f32>>()).expect("of length one")
}

/// What must hold of every store at every time. Returns how many versions there are, deleted ones too.
pub(super) fn check(reader: &StoreReader) -> Result<u64, EngineError> {
    let revision = reader.revision()?;
    let mut head = AuditHead::default();
    let mut created = 0;
    for record in reader.audit_after(0, usize::MAX)? {
        head = record.follow(&head)?;
        assert!(record.revision <= revision, "an act of a revision that is not there");
        created += u64::from(record.action == "component.create");
    }
    assert_eq!(head, reader.audit_head()?);
    let mut there: BTreeMap<u32, bool> = BTreeMap::new();
    let mut reached = 0;
    for logged in reader.logged_after((0, u32::MAX), usize::MAX)? {
        assert!(logged.revision == reached || logged.revision == reached + 1, "a revision left nothing in the log");
        reached = logged.revision;
        match logged.change {
            Change::Put(doc) => assert!(there.insert(doc.0, true).is_none(), "written twice"),
            Change::Delete(doc) => assert_eq!(there.insert(doc.0, false), Some(true), "deleted twice"),
            Change::Restore(doc) => assert_eq!(there.insert(doc.0, true), Some(false), "not deleted"),
            Change::Move(doc) => assert!(there.contains_key(&doc.0), "moved before it was there"),
        }
    }
    assert_eq!(reached, revision);
    let model_digest = model().digest.to_string();
    let mut versions = 0;
    reader.every_version(|doc, record| {
        versions += 1;
        let manifest = reader.manifest(doc)?.expect("a version has its manifest");
        assert_eq!(Digest::of(&manifest), record.card.digest);
        assert_eq!(reader.by_digest(&record.card.digest)?, Some(doc));
        assert_eq!(reader.by_name(&record.card.name, &record.card.version)?, Some(doc));
        let floats = reader.vectors(&model_digest, doc)?.expect("a version has its vectors");
        assert_eq!(floats.len(), record.facets.len() * DIMENSION);
        assert_eq!(there.get(&doc.0), Some(&record.deleted.is_none()));
        Ok(())
    })?;
    let transaction = &reader.transaction;
    let rows = [
        transaction.open_table(VERSIONS)?.len()?,
        transaction.open_table(MANIFESTS)?.len()?,
        transaction.open_table(NAMES)?.len()?,
        transaction.open_table(DIGESTS)?.len()?,
        transaction.open_table(VECTORS)?.len()?,
        transaction.open_table(PROFILES)?.len()?,
        there.len() as u64,
        created,
    ];
    assert!(rows.iter().all(|&rows| rows == versions), "{versions} versions, rows {rows:?}");
    transaction.open_table(CALIBRATIONS)?;
    Ok(versions)
}
