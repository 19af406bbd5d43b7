//! Changing and reading the catalogue.

mod look;

use fitment_catalog::{Compatibility, ComponentName, Digest, Filter, Format, Manifest, compatibility};
use fitment_index::{DocId, DocSet};
use fitment_models::{TextRole, UnitVector};
use semver::Version;

use crate::audit::{Act, Author};
use crate::bundle::Fate;
use crate::calibration::Calibration;
use crate::denials::Asked;
use crate::engine::{Engine, Shared};
use crate::error::EngineError;
use crate::limits::page_size;
use crate::live::Entry;
use crate::meters::near_duplicate;
use crate::near::{CatalogPolicy, NearDuplicate, NearDuplicates, with_batch};
use crate::normalize::normalize_text;
use crate::permit::Viewer;
use crate::store::{CarriedStanding, ImportMark, NewVersion, Revision, StoredVersion, Taken, Updated, Written};

pub use self::look::{LookedAt, Looking};

/// Longest idempotency key, in bytes.
const MAX_REQUEST_ID_BYTES: usize = 128;
/// Longest source name, in bytes.
const MAX_SOURCE_BYTES: usize = 1024;
/// Entries of a page at most.
const MAX_PAGE_SIZE: usize = 1000;
/// Entries of a page when the caller does not say.
const DEFAULT_PAGE_SIZE: usize = 50;

/// A manifest to write.
#[derive(Clone, Debug)]
pub struct Import {
    /// Its bytes.
    pub manifest: Vec<u8>,
    /// How to read them.
    pub format: Format,
    /// Where they came from.
    pub source: String,
    /// The digest that it must have; empty: any.
    pub expected_digest: String,
    /// Idempotency key; empty: none.
    pub request_id: String,
    /// Who writes it, and why.
    pub author: Author,
    /// Write it also where the policy refuses near-duplicates.
    pub allow_near_duplicate: bool,
    /// Where it stood elsewhere, as [`CarriedStanding`] is written; empty: nothing is said.
    pub standing: Vec<u8>,
}

/// What became of a manifest.
#[derive(Debug)]
pub struct Imported {
    /// The record.
    pub version: StoredVersion,
    /// Created, also where it was deleted and is back; unchanged; updated or kept where a standing came with it.
    pub fate: Fate,
    /// The revision that it was written at, or the current one.
    pub revision: Revision,
    /// Other components that what was created is nearly the same as, nearest first.
    pub near_duplicates: Vec<NearDuplicate>,
}

/// Names one version.
#[derive(Clone, Debug)]
pub enum VersionSelector {
    /// By its digest.
    Digest(Digest),
    /// The newest version of a component.
    Newest(ComponentName),
    /// One version.
    Exact(ComponentName, Version),
    /// One version, deleted or not.
    Deleted(ComponentName, Version),
}

/// Asks for a page of versions.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// 1..=1000; 0: 50.
    pub size: usize,
    /// Token of the page before; empty: the first page.
    pub token: String,
    /// Which versions.
    pub filter: Option<Filter>,
    /// Read the manifests too.
    pub with_manifests: bool,
    /// Stop a page once it holds this many bytes of manifests.
    pub max_bytes: usize,
}

/// A page of versions.
#[derive(Debug)]
pub struct Listing {
    /// Records, and manifests where they were asked for.
    pub versions: Vec<(StoredVersion, Vec<u8>)>,
    /// Token of the next page; empty on the last.
    pub next_token: String,
    /// Versions on all pages.
    pub total: usize,
    /// The revision that was read.
    pub revision: Revision,
}

/// What became of a write.
enum Tried {
    Written(Vec<Result<Imported, EngineError>>),
    /// Nothing: another model serves, and these had vectors of the one before.
    Retired(Vec<Accepted>),
}

/// A manifest after its first look.
enum Checked {
    /// Needs no write.
    Done(Box<Result<Imported, EngineError>>),
    /// To be written.
    New(Box<Accepted>),
}

/// A manifest that was read, and how it is to be written.
struct Accepted {
    manifest: Manifest,
    request_id: String,
    allow_near_duplicate: bool,
    standing: Option<CarriedStanding>,
}

/// What a version is nearly the same as, or why it is refused.
type Admission = Result<Vec<NearDuplicate>, EngineError>;

/// Versions that are about to be written.
struct Batch {
    versions: Vec<NewVersion>,
    /// Which of them may be near-duplicates.
    allowed: Vec<bool>,
    /// What is indexed that each is nearly the same as.
    near: Vec<Vec<NearDuplicate>>,
    /// The revision that was indexed then.
    searched: Revision,
    /// Who writes: what they may not see is near nothing.
    viewer: Viewer,
}

impl Batch {
    /// What it was made of, to be encoded again.
    fn again(self) -> Vec<Accepted> {
        let accepted = |(version, allow_near_duplicate): (NewVersion, bool)| {
            let NewVersion { manifest, request_id, standing, vectors: _ } = version;
            Accepted { manifest, request_id, allow_near_duplicate, standing }
        };
        self.versions.into_iter().zip(self.allowed).map(accepted).collect()
    }
}

impl Engine {
    /// Reads and checks a manifest without writing anything.
    pub fn check_manifest(&self, import: &Import) -> Result<Manifest, EngineError> {
        if import.request_id.len() > MAX_REQUEST_ID_BYTES {
            return Err(EngineError::field(
                "request_id",
                format!("is {} bytes long, at most {MAX_REQUEST_ID_BYTES} are taken", import.request_id.len()),
            ));
        }
        if import.source.len() > MAX_SOURCE_BYTES {
            return Err(EngineError::field(
                "source",
                format!("is {} bytes long, at most {MAX_SOURCE_BYTES} are taken", import.source.len()),
            ));
        }
        let source = if import.source.is_empty() { "manifest" } else { &import.source };
        let manifest = Manifest::parse(source, &import.manifest, import.format)?;
        self.viewer().may_write(&manifest)?;
        if !import.expected_digest.is_empty() {
            let expected: Digest = import
                .expected_digest
                .parse()
                .map_err(|error| EngineError::field("expected_digest", format!("{error}")))?;
            if manifest.digest() != expected {
                return Err(EngineError::DigestMismatch {
                    expected: expected.to_string(),
                    actual: manifest.digest().to_string(),
                });
            }
        }
        Ok(manifest)
    }

    /// Writes manifests in one durable commit and makes them searchable; each succeeds or fails by itself.
    ///
    /// Returns one result an item, in order. The outer error is one that struck them all.
    pub async fn import(&self, items: Vec<Import>) -> Result<Vec<Result<Imported, EngineError>>, EngineError> {
        // Reading a manifest costs milliseconds for a large schema: not on the asynchronous threads.
        let engine = self.clone();
        let author = items.first().map(|item| item.author.clone());
        self.keep_up().await?;
        let checked = self.compute(move |shared| engine.check_all(shared, items)).await?;
        // One commit has one author: a batch is one caller's.
        let author = author.unwrap_or_default();
        let mut slots = Vec::with_capacity(checked.len());
        let mut manifests = Vec::new();
        for item in checked {
            slots.push(match item {
                Checked::Done(result) => Some(*result),
                Checked::New(accepted) => {
                    manifests.push(*accepted);
                    None
                }
            });
        }
        let written = loop {
            let engine = self.pinned();
            let allowed = manifests.iter().map(|accepted| accepted.allow_near_duplicate).collect();
            let versions = engine.with_vectors(manifests).await?;
            let viewer = engine.viewer().clone();
            let batch = engine
                .compute(move |shared| {
                    let searched = shared.index.revision();
                    let near = shared.indexed_near(&versions, &viewer)?;
                    Ok(Batch { versions, allowed, near, searched, viewer })
                })
                .await?;
            let (shared, author) = (engine.shared(), author.clone());
            let subjects: Vec<String> = batch.versions.iter().map(|version| version.manifest.to_string()).collect();
            // A write that has begun is finished even when its caller leaves: half a write helps nobody.
            let write = move || {
                let tried = shared.write(batch, &author)?;
                if let Tried::Written(written) = &tried {
                    shared.record_denials("component.create", subjects, &author, written);
                }
                Ok::<_, EngineError>(tried)
            };
            match engine.write_out(write).await? {
                Tried::Written(written) => break written,
                // Another model came into force while they were encoded.
                Tried::Retired(again) => manifests = again,
            }
        };
        let mut written = written.into_iter();
        let mut next = || written.next().unwrap_or_else(|| Err(EngineError::Internal("a write gave no result".into())));
        Ok(slots.into_iter().map(|slot| slot.unwrap_or_else(&mut next)).collect())
    }

    /// Reads manifests and answers those that need no write.
    fn check_all(&self, shared: &Shared, items: Vec<Import>) -> Result<Vec<Checked>, EngineError> {
        let reader = shared.store.read()?;
        let revision = reader.revision()?;
        items
            .into_iter()
            .map(|item| {
                let manifest = match self.check_manifest(&item) {
                    Ok(manifest) => manifest,
                    Err(error) => {
                        shared.record_denial(&Asked::create(&item, &error), &error);
                        return Ok(Checked::Done(Box::new(Err(error))));
                    }
                };
                let standing = match item.standing.as_slice() {
                    [] => None,
                    bytes => match CarriedStanding::parse(&item.source, bytes, &manifest) {
                        Ok(standing) => Some(standing),
                        Err(error) => return Ok(Checked::Done(Box::new(Err(error)))),
                    },
                };
                // A retry under an id is settled by the write itself.
                if item.request_id.is_empty()
                    && let Some(doc) = reader.by_digest(&manifest.digest())?
                    && let Some(version) = reader.version_or_deleted(doc)?
                    && let Some(settled) = settled(version, standing.as_ref(), revision)
                {
                    return Ok(Checked::Done(Box::new(settled)));
                }
                let Import { request_id, allow_near_duplicate, .. } = item;
                Ok(Checked::New(Box::new(Accepted { manifest, request_id, allow_near_duplicate, standing })))
            })
            .collect()
    }

    /// Encodes every facet and counter-example of the manifests.
    async fn with_vectors(&self, manifests: Vec<Accepted>) -> Result<Vec<NewVersion>, EngineError> {
        let mut texts = Vec::new();
        let mut counts = Vec::with_capacity(manifests.len());
        for Accepted { manifest, .. } in &manifests {
            let facets = fitment_catalog::facets(manifest);
            let counter_examples = manifest.counter_examples();
            counts.push(facets.len() + counter_examples.len());
            texts.extend(facets.iter().map(|facet| normalize_text(&facet.text)));
            texts.extend(counter_examples.iter().map(|text| normalize_text(text)));
        }
        let mut vectors = self.shared().encoder.encode_bulk(&texts, TextRole::Document).await?.into_iter();
        Ok(manifests
            .into_iter()
            .zip(counts)
            .map(|(Accepted { manifest, request_id, allow_near_duplicate: _, standing }, count)| NewVersion {
                manifest,
                vectors: vectors.by_ref().take(count).collect(),
                request_id,
                standing,
            })
            .collect())
    }

    /// Writes one manifest, as [`Engine::import`] does.
    pub async fn create(&self, item: Import) -> Result<Imported, EngineError> {
        self.import(vec![item])
            .await?
            .pop()
            .unwrap_or_else(|| Err(EngineError::Internal("a write gave no result".into())))
    }

    /// Reads one version with its manifest.
    pub async fn get(
        &self,
        selector: VersionSelector,
        min_revision: Revision,
    ) -> Result<(StoredVersion, Vec<u8>), EngineError> {
        self.reached(min_revision)?;
        let viewer = self.viewer().clone();
        self.compute(move |shared| {
            let reader = shared.store.read()?;
            let (what, doc) = match &selector {
                VersionSelector::Digest(digest) => (digest.to_string(), reader.by_digest(digest)?),
                VersionSelector::Newest(name) => {
                    let index = shared.index.searchable();
                    let seen = index.view.seen_by(&viewer);
                    let is_seen = |doc: &DocId| seen.as_ref().is_none_or(|seen| seen.contains(*doc));
                    let newest = index.view.versions(name).map(|(_, doc)| doc).filter(is_seen).last();
                    (name.to_string(), newest)
                }
                VersionSelector::Exact(name, version) => {
                    (format!("{name}@{version}"), shared.index.searchable().view.find(name, version))
                }
                VersionSelector::Deleted(name, version) => {
                    (format!("{name}@{version}"), reader.by_name(name, version)?)
                }
            };
            let read = |doc| match selector {
                VersionSelector::Deleted(..) => reader.version_or_deleted(doc),
                _ => reader.version(doc),
            };
            let found = match doc {
                Some(doc) => read(doc)?.zip(reader.manifest(doc)?),
                None => None,
            };
            found.filter(|(version, _)| viewer.sees(&version.card)).ok_or(EngineError::NotFound { what })
        })
        .await
    }

    /// Lists versions by name and semantic version.
    pub async fn list(&self, page: Page, min_revision: Revision) -> Result<Listing, EngineError> {
        self.reached(min_revision)?;
        let size = page_size(page.size, DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)?;
        let after = read_token(&page)?;
        let viewer = self.viewer().clone();
        self.compute(move |shared| {
            let (docs, total, revision) = {
                let index = shared.index.searchable();
                let asked = page.filter.as_ref().map(|filter| index.view.select(filter));
                let wanted = match (asked, index.view.seen_by(&viewer)) {
                    (Some(asked), Some(seen)) => Some(asked.and(&seen)),
                    (None, Some(seen)) => Some(DocSet::clone(&seen)),
                    (asked, None) => asked,
                };
                let total = wanted.as_ref().map_or(index.view.all().len(), DocSet::len);
                let docs: Vec<DocId> = index
                    .view
                    .after(after.as_ref())
                    .map(|(_, doc)| doc)
                    .filter(|&doc| wanted.as_ref().is_none_or(|wanted| wanted.contains(doc)))
                    .take(size + 1)
                    .collect();
                (docs, total, shared.index.revision())
            };
            let reader = shared.store.read()?;
            let mut versions: Vec<(StoredVersion, Vec<u8>)> = Vec::new();
            let mut bytes = 0;
            let mut next_token = String::new();
            for doc in docs {
                let manifest = if page.with_manifests { reader.manifest(doc)?.unwrap_or_default() } else { Vec::new() };
                bytes += manifest.len();
                if let Some((last, _)) = versions.last()
                    && (versions.len() == size || (page.with_manifests && bytes > page.max_bytes))
                {
                    next_token = write_token(last, &page);
                    break;
                }
                let Some(version) = reader.version(doc)? else { continue };
                versions.push((version, manifest));
            }
            Ok(Listing { versions, next_token, total, revision })
        })
        .await
    }

    /// Whether the configuration schema of one manifest accepts every configuration that another's did.
    pub async fn compare_schemas(&self, old: Manifest, new: Manifest) -> Result<Compatibility, EngineError> {
        self.compute(move |_shared| Ok(compatibility(old.config_schema(), new.config_schema()))).await
    }

    /// Puts a calibration into force. It is taken as fitted on the catalogue as it stands.
    pub fn put_calibration(&self, calibration: Calibration, author: &Author) -> Result<(), EngineError> {
        let shared = self.shared();
        let _writing = shared.writing.lock();
        let calibration = Calibration { fitted_revision: shared.store.read()?.revision()?, ..calibration };
        let detail = serde_json::json!({"promise": calibration.promise(), "ranker": calibration.ranker_id});
        let act = Act { action: "calibration.put", subject: calibration.id.clone(), detail };
        shared.store.put_calibration(&calibration, act, author, (shared.clock)())?;
        shared.refresh_calibration()
    }

    /// Whether any version that may answer has required properties that its defaults leave open. Reads the records.
    pub(crate) fn has_configurable(&self) -> Result<bool, EngineError> {
        let shared = self.shared();
        let allowed = shared.index.searchable().view.allowed(None, None, None);
        let reader = shared.store.read()?;
        for doc in allowed.iter() {
            if reader.version(doc)?.is_some_and(|version| !version.open_properties.is_empty()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// sha256 over the digests of the versions that may answer, in the order of their text.
    pub fn catalog_digest(&self) -> String {
        let shared = self.shared();
        let index = shared.index.searchable();
        let mut digests: Vec<String> = index
            .view
            .matchable()
            .iter()
            .filter_map(|doc| index.view.card(doc))
            .map(|card| card.digest.to_string())
            .collect();
        digests.sort_unstable();
        Digest::of(digests.join("\n").as_bytes()).to_string()
    }
}

impl Shared {
    /// One commit and its indexing.
    fn write(&self, batch: Batch, author: &Author) -> Result<Tried, EngineError> {
        // A batch of which everything was there already needs no commit.
        if batch.versions.is_empty() {
            return Ok(Tried::Written(Vec::new()));
        }
        let _writing = self.writing.lock();
        if self.is_retired() {
            return Ok(Tried::Retired(batch.again()));
        }
        self.catch_up()?;
        let (versions, standings) = self.admit(batch)?;
        let (revision, written) = self.store.put(self.encoder.info(), &versions, author, (self.clock)())?;
        self.apply_written(revision, &written, &versions)?;
        let mut written = written.into_iter();
        let mut next = |near_duplicates: Vec<NearDuplicate>| {
            let (fate, version, near_duplicates) = match written.next() {
                Some(Written::Created(_, version)) => {
                    if !near_duplicates.is_empty() {
                        near_duplicate("written");
                    }
                    (Fate::Created, version, near_duplicates)
                }
                Some(Written::Updated(Updated { record, .. })) => (Fate::Updated, record, Vec::new()),
                Some(Written::Unchanged(_, version)) => (Fate::Unchanged, version, Vec::new()),
                Some(Written::Kept(_, version)) => (Fate::Kept, version, Vec::new()),
                Some(Written::Refused(error)) => return Err(error),
                None => return Err(EngineError::Internal("a write gave no result".into())),
            };
            Ok(Imported { version: *version, fate, revision, near_duplicates })
        };
        Ok(Tried::Written(standings.into_iter().map(|standing| standing.and_then(&mut next)).collect()))
    }

    /// Makes searchable what a commit wrote, and takes out of the answers what it took out.
    fn apply_written(
        &self,
        revision: Revision,
        written: &[Written],
        versions: &[NewVersion],
    ) -> Result<(), EngineError> {
        let (mut entries, mut deletes, mut moves) = (Vec::new(), Vec::new(), Vec::new());
        let mut changed = false;
        for (written, version) in written.iter().zip(versions) {
            let (doc, record, was_deleted) = match written {
                // Of a new one nothing is to be taken out.
                Written::Created(doc, record) => (*doc, record, true),
                Written::Updated(Updated { doc, record, was_deleted }) => (*doc, record, *was_deleted),
                Written::Unchanged(..) | Written::Kept(..) | Written::Refused(_) => continue,
            };
            changed = true;
            match (was_deleted, record.deleted.is_some()) {
                (true, false) => {
                    let vectors = version.vectors.iter().map(UnitVector::as_slice).collect();
                    entries.push(Entry { doc, card: record.card.clone(), manifest: &version.manifest, vectors });
                }
                (false, true) => deletes.push(doc),
                (false, false) => moves.push((doc, record.card.lifecycle)),
                (true, true) => {}
            }
        }
        if !changed {
            return Ok(());
        }
        for (doc, lifecycle) in moves {
            self.index.apply_move(revision, doc, lifecycle);
        }
        if !(entries.is_empty() && deletes.is_empty()) {
            self.index.apply(revision, &entries, &deletes)?;
            self.judge(&entries.iter().map(|entry| entry.doc).collect::<Vec<_>>())?;
        }
        self.index.reach(revision);
        self.announce();
        self.refresh_calibration()?;
        if let Some(second) = &self.second {
            second.wake();
        }
        Ok(())
    }

    /// What is written of a batch, and of each version what it is nearly the same as, or why it is refused. Under the lock
    /// of writing: of two near-duplicates that come at once, the second finds the first.
    fn admit(&self, batch: Batch) -> Result<(Vec<NewVersion>, Vec<Admission>), EngineError> {
        let Batch { versions, allowed, mut near, searched, viewer } = batch;
        let CatalogPolicy { near_duplicates: policy, near_duplicate_similarity: least } = self.catalog_policy;
        if policy == NearDuplicates::Off {
            let none = versions.iter().map(|_| Ok(Vec::new())).collect();
            return Ok((versions, none));
        }
        if self.index.revision() != searched {
            near = self.indexed_near(&versions, &viewer)?;
        }
        let reader = self.store.read()?;
        let mut written: Vec<NewVersion> = Vec::with_capacity(versions.len());
        let mut standings = Vec::with_capacity(versions.len());
        for ((version, allowed), near) in versions.into_iter().zip(allowed).zip(near) {
            let near = with_batch(near, &version, written.iter(), least);
            let refused = policy == NearDuplicates::Refuse && !allowed && !near.is_empty();
            // What is there already is no news, whatever it is like.
            if refused && reader.by_digest(&version.manifest.digest())?.is_none() {
                near_duplicate("refused");
                standings.push(Err(EngineError::near_duplicate(&version.manifest, &near)));
                continue;
            }
            standings.push(Ok(near));
            written.push(version);
        }
        Ok((written, standings))
    }
}

/// What needs no write: a version that is here and, as far as something is said of it, stands where that says.
fn settled(
    mut version: StoredVersion,
    standing: Option<&CarriedStanding>,
    revision: Revision,
) -> Option<Result<Imported, EngineError>> {
    let fate = match standing {
        None if version.deleted.is_none() => Fate::Unchanged,
        None => return None,
        Some(standing) => {
            let mark = ImportMark { time: version.create_time, actor: String::new(), reason: String::new() };
            match standing.take_into(&mut version, revision, &mark) {
                Taken::Same => Fate::Unchanged,
                Taken::Kept => Fate::Kept,
                Taken::Differs(error) => return Some(Err(error)),
                Taken::Changed => return None,
            }
        }
    };
    Some(Ok(Imported { version, fate, revision, near_duplicates: Vec::new() }))
}

/// A page token names the filter that it was made with and the last version of its page.
fn write_token(last: &StoredVersion, page: &Page) -> String {
    hex::encode(format!("{}\n{}\n{}", filter_fingerprint(page), last.card.name, last.card.version))
}

fn read_token(page: &Page) -> Result<Option<(ComponentName, Version)>, EngineError> {
    if page.token.is_empty() {
        return Ok(None);
    }
    let malformed = || EngineError::field("page_token", "is not a token of this catalogue; start again without one");
    let text = hex::decode(&page.token).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(malformed)?;
    let mut parts = text.splitn(3, '\n');
    let (Some(filter), Some(name), Some(version)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(malformed());
    };
    if filter != filter_fingerprint(page) {
        return Err(EngineError::field("page_token", "was made with another filter; start again without a token"));
    }
    let name = name.parse().map_err(|_error| malformed())?;
    let version = version.parse().map_err(|_error| malformed())?;
    Ok(Some((name, version)))
}

fn filter_fingerprint(page: &Page) -> String {
    let filter = page.filter.as_ref().map(ToString::to_string).unwrap_or_default();
    let digest = Digest::of(filter.as_bytes()).to_string();
    digest.chars().rev().take(16).collect()
}
