//! What a write would do, without writing.

use fitment_catalog::{ComponentName, Digest};
use semver::Version;

use super::{Checked, Import, Imported};
use crate::bundle::Fate;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::near::{NearDuplicate, NearDuplicates, with_batch};
use crate::store::{NewVersion, Revision};

/// Manifests of one go that later ones are compared with.
const MOST_SEEN: usize = 10_000;

/// What would become of a manifest.
#[derive(Debug)]
pub struct LookedAt {
    /// The component.
    pub name: ComponentName,
    /// Its version.
    pub version: Version,
    /// Digest of the manifest.
    pub digest: Digest,
    /// Created, unchanged, updated or kept, as a write would say.
    pub fate: Fate,
    /// The revision that it was compared with.
    pub revision: Revision,
    /// Of what would be created: other components that it is nearly the same as, nearest first.
    pub near_duplicates: Vec<NearDuplicate>,
}

/// Manifests that were looked at before, as if they had been written: of two near-duplicates the second finds the first.
#[derive(Debug, Default)]
pub struct Looking(Vec<NewVersion>);

impl Engine {
    /// Says what [`Engine::import`] would do with manifests; each is judged by itself.
    ///
    /// `looking`: what was looked at before in the same go, at most 10,000 of them. Returns one result an item, in order.
    pub async fn look(
        &self,
        items: Vec<Import>,
        looking: &mut Looking,
    ) -> Result<Vec<Result<LookedAt, EngineError>>, EngineError> {
        let engine = self.pinned();
        let checking = engine.clone();
        let checked = engine.compute(move |shared| checking.check_all(shared, items)).await?;
        let (mut slots, mut accepted, mut allowed) = (Vec::with_capacity(checked.len()), Vec::new(), Vec::new());
        for item in checked {
            slots.push(match item {
                Checked::Done(result) => Some((*result).map(LookedAt::from)),
                Checked::New(new) => {
                    allowed.push(new.allow_near_duplicate);
                    accepted.push(*new);
                    None
                }
            });
        }
        let versions = engine.with_vectors(accepted).await?;
        let viewer = engine.viewer().clone();
        let (versions, near, known, revision) = engine
            .compute(move |shared| {
                let reader = shared.store.read()?;
                let known = versions
                    .iter()
                    .map(|version| reader.digest_of(version.manifest.name(), version.manifest.version()))
                    .collect::<Result<Vec<_>, _>>()?;
                let near = shared.indexed_near(&versions, &viewer)?;
                Ok((versions, near, known, shared.index.revision()))
            })
            .await?;
        let policy = engine.shared().catalog_policy;
        let mut looked = Vec::with_capacity(versions.len());
        for (((version, near), known), allowed) in versions.into_iter().zip(near).zip(known).zip(allowed) {
            let manifest = &version.manifest;
            let mut found = LookedAt {
                name: manifest.name().clone(),
                version: manifest.version().clone(),
                digest: manifest.digest(),
                fate: Fate::Created,
                revision,
                near_duplicates: Vec::new(),
            };
            if let Some(existing) = known {
                looked.push(if existing == found.digest {
                    // It would move or be deleted, or be brought back.
                    found.fate = if version.standing.is_some() { Fate::Updated } else { Fate::Created };
                    Ok(found)
                } else {
                    let (name, version) = (found.name.to_string(), found.version.to_string());
                    Err(EngineError::VersionTaken { name, version, existing: existing.to_string() })
                });
                continue;
            }
            if policy.near_duplicates != NearDuplicates::Off {
                let least = policy.near_duplicate_similarity;
                found.near_duplicates = with_batch(near, &version, looking.0.iter(), least);
            }
            if policy.near_duplicates == NearDuplicates::Refuse && !allowed && !found.near_duplicates.is_empty() {
                looked.push(Err(EngineError::near_duplicate(manifest, &found.near_duplicates)));
                continue;
            }
            if looking.0.len() < MOST_SEEN {
                let vectors = version.vectors.into_iter().take(1).collect();
                looking.0.push(NewVersion { vectors, ..version });
            }
            looked.push(Ok(found));
        }
        let mut looked = looked.into_iter();
        let mut next = || looked.next().unwrap_or_else(|| Err(EngineError::Internal("a look gave no result".into())));
        Ok(slots.into_iter().map(|slot| slot.unwrap_or_else(&mut next)).collect())
    }
}

impl From<Imported> for LookedAt {
    fn from(imported: Imported) -> Self {
        let Imported { version, fate, revision, near_duplicates } = imported;
        let card = version.card;
        Self { name: card.name, version: card.version, digest: card.digest, fate, revision, near_duplicates }
    }
}
