//! Near-duplicates: a component that is written and is nearly what another component already is.
//!
//! Likeness is the cosine of two profiles (title and summary), from the vectors that a write makes anyway. Versions of one
//! component are never duplicates of each other.

use fitment_catalog::ComponentName;
use fitment_index::{DocSet, Effort};
use fitment_models::UnitVector;
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::engine::Shared;
use crate::error::EngineError;
use crate::live::Searchable;
use crate::permit::Viewer;
use crate::store::NewVersion;

/// Neighbours that are named.
const NAMED: usize = 5;
/// Documents that one search brings: versions of one neighbour take several places.
const DEPTH: usize = 16;
/// Rows that a walk through the graph keeps: near-copies are the first that it finds.
const EFFORT: Effort = Effort::Rows(64);

/// What happens to near-duplicates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NearDuplicates {
    /// They are written, and named in the answer.
    Report,
    /// They are refused, unless the call allows them.
    Refuse,
    /// Nobody looks.
    Off,
}

/// What is done about components that are nearly the same.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogPolicy {
    /// What happens to near-duplicates.
    pub near_duplicates: NearDuplicates,
    /// Cosine of two profiles from which on they count as nearly the same, 0..=1.
    pub near_duplicate_similarity: f64,
}

impl Default for CatalogPolicy {
    fn default() -> Self {
        Self { near_duplicates: NearDuplicates::Report, near_duplicate_similarity: 0.9 }
    }
}

impl CatalogPolicy {
    /// Says what is out of range, or `None`.
    pub fn fault(&self) -> Option<String> {
        let value = self.near_duplicate_similarity;
        let fault = format!("catalog.near_duplicate_similarity is {value}; it must lie in 0..=1");
        (!(0.0..=1.0).contains(&value)).then_some(fault)
    }
}

/// A component that a written one is nearly the same as.
#[derive(Clone, Debug, PartialEq)]
pub struct NearDuplicate {
    /// The component.
    pub name: ComponentName,
    /// Its version that is nearest.
    pub version: Version,
    /// Cosine of the two profiles, -1..=1.
    pub similarity: f64,
}

impl std::fmt::Display for NearDuplicate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{} ({:.3})", self.name, self.version, self.similarity)
    }
}

impl Shared {
    /// What is indexed that each version is nearly the same as, in the order of the versions; nearest first.
    pub(crate) fn indexed_near(
        &self,
        versions: &[NewVersion],
        viewer: &Viewer,
    ) -> Result<Vec<Vec<NearDuplicate>>, EngineError> {
        if self.catalog_policy.near_duplicates == NearDuplicates::Off {
            return Ok(vec![Vec::new(); versions.len()]);
        }
        let index = self.index.searchable();
        let least = self.catalog_policy.near_duplicate_similarity;
        let seen = index.view.seen_by(viewer);
        versions.iter().map(|version| near(&index, version, least, seen.as_deref())).collect()
    }
}

/// What is indexed of other components and lies within the threshold.
fn near(
    index: &Searchable,
    version: &NewVersion,
    least: f64,
    seen: Option<&DocSet>,
) -> Result<Vec<NearDuplicate>, EngineError> {
    let (Some(profile), name) = (version.vectors.first(), version.manifest.name()) else { return Ok(Vec::new()) };
    // Versions of the component itself would fill the list.
    let own: DocSet = index.view.versions(name).map(|(_, doc)| doc).collect();
    let others = match seen {
        Some(seen) => Some(seen.and_not(&own)),
        None => (!own.is_empty()).then(|| index.view.all().and_not(&own)),
    };
    let hits = index.dense.search(profile.as_slice(), DEPTH, others.as_ref(), EFFORT)?.hits;
    let scorer = index.dense.scorer(profile.as_slice())?;
    let mut found = Vec::new();
    // A hit has the score of its nearest text, which may be another one than its profile.
    for hit in hits.into_iter().take_while(|hit| f64::from(hit.score) >= least) {
        let (Some(card), Some(facets)) = (index.view.card(hit.doc), scorer.facet_scores(hit.doc)) else { continue };
        let similarity = facets.first().map_or(-1.0, |&cosine| f64::from(cosine));
        if similarity >= least && card.name != *name {
            found.push(NearDuplicate { name: card.name.clone(), version: card.version.clone(), similarity });
        }
    }
    Ok(found)
}

/// Adds what is nearly the same among `earlier` ones of a batch, and leaves each component once, nearest first.
pub(crate) fn with_batch<'a>(
    found: Vec<NearDuplicate>,
    version: &NewVersion,
    earlier: impl Iterator<Item = &'a NewVersion>,
    least: f64,
) -> Vec<NearDuplicate> {
    let mut found = found;
    let name = version.manifest.name();
    for other in earlier.filter(|other| other.manifest.name() != name) {
        let similarity = cosine(version.vectors.first(), other.vectors.first());
        if similarity >= least {
            let (name, version) = (other.manifest.name().clone(), other.manifest.version().clone());
            found.push(NearDuplicate { name, version, similarity });
        }
    }
    // Of one component the nearest version, and of equal ones the newest.
    found.sort_by(|a, b| {
        b.similarity.total_cmp(&a.similarity).then_with(|| a.name.cmp(&b.name)).then_with(|| b.version.cmp(&a.version))
    });
    let mut named = std::collections::BTreeSet::new();
    found.retain(|one| named.insert(one.name.clone()));
    found.truncate(NAMED);
    found
}

fn cosine(a: Option<&UnitVector>, b: Option<&UnitVector>) -> f64 {
    a.zip(b).map_or(-1.0, |(a, b)| f64::from(fitment_index::dot(a.as_slice(), b.as_slice())))
}
