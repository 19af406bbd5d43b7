//! A client that writes, and knows what was acknowledged to it and what it only asked for.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{bail, ensure};
use fitment_proto::v1;
use fitment_proto::v1::catalog_service_client::CatalogServiceClient;
use fitment_tests::{Dice, manifest};
use tonic::Status;
use tonic::transport::Channel;

type Catalog = CatalogServiceClient<Channel>;

/// Every version has this one.
const VERSION: &str = "1.0.0";
/// Manifests of one import.
const IMPORTED: u64 = 40;
/// Names that are looked for after a start.
const RECENT: usize = 4;

/// Where a version stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Standing {
    /// Empty: nobody has said it yet.
    pub(crate) digest: String,
    pub(crate) lifecycle: v1::Lifecycle,
    pub(crate) deleted: bool,
    pub(crate) moves: u64,
}

impl Standing {
    fn new(digest: String) -> Self {
        Self { digest, lifecycle: v1::Lifecycle::Certified, deleted: false, moves: 0 }
    }

    fn is(&self, found: &Self) -> bool {
        let digest = if self.digest.is_empty() { found.digest.clone() } else { self.digest.clone() };
        Self { digest, ..self.clone() } == *found
    }
}

/// How a writer writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// One call after the other: put, delete, bring back, move.
    One,
    /// Imports.
    Stream,
}

/// The client.
pub(crate) struct Writer {
    name: String,
    way: Way,
    dice: Dice,
    next: u64,
    known: BTreeMap<String, Standing>,
    /// What was asked for and never answered: it may be so, or as it is known.
    asked: BTreeMap<String, Standing>,
    recent: Vec<String>,
    acknowledged: u64,
}

impl Writer {
    pub(crate) fn new(name: &str, way: Way, seed: u64) -> Self {
        Self {
            name: name.to_owned(),
            way,
            dice: Dice(seed),
            next: 0,
            known: BTreeMap::new(),
            asked: BTreeMap::new(),
            recent: Vec::new(),
            acknowledged: 0,
        }
    }

    /// Names that were written last.
    pub(crate) fn recent(&self) -> &[String] {
        &self.recent
    }

    /// Writes until the daemon is gone. Returns how many writes were acknowledged. Errors: one was refused before.
    pub(crate) async fn write(&mut self, catalog: Catalog, killed: &AtomicBool) -> anyhow::Result<u64> {
        self.recent.clear();
        let before = self.acknowledged;
        let ended = match self.way {
            Way::One => self.write_one_by_one(catalog).await,
            Way::Stream => self.import(catalog).await,
        };
        ensure!(killed.load(Ordering::Acquire), "{}: {ended}", self.name);
        Ok(self.acknowledged - before)
    }

    fn acknowledge(&mut self, name: String, standing: Standing) {
        self.asked.remove(&name);
        self.recent.retain(|recent| *recent != name);
        self.recent.push(name.clone());
        if self.recent.len() > RECENT {
            self.recent.remove(0);
        }
        self.known.insert(name, standing);
        self.acknowledged += 1;
    }

    fn new_name(&mut self) -> String {
        self.next += 1;
        format!("{}/part-{}", self.name, self.next)
    }

    fn manifest(&self, name: &str) -> Vec<u8> {
        manifest(name, VERSION, &format!("Part of {} that does what {name} says.", self.name)).into_bytes()
    }

    async fn write_one_by_one(&mut self, mut catalog: Catalog) -> Status {
        loop {
            let chosen = self.dice.below(self.known.len().max(1) as u64);
            let chosen = self.known.iter().nth(usize::try_from(chosen).unwrap_or_default());
            let old = chosen.map(|(name, standing)| (name.clone(), standing.clone()));
            let written = match old {
                Some((name, standing)) if self.dice.below(2) == 0 => self.change(&mut catalog, name, standing).await,
                _ => self.create(&mut catalog).await,
            };
            if let Err(status) = written {
                return status;
            }
        }
    }

    async fn create(&mut self, catalog: &mut Catalog) -> Result<(), Status> {
        let name = self.new_name();
        self.asked.insert(name.clone(), Standing::new(String::new()));
        let request = v1::CreateComponentRequest { manifest: self.manifest(&name), ..Default::default() };
        let created = catalog.create_component(request).await?.into_inner();
        self.acknowledge(name, Standing::new(created.digest));
        Ok(())
    }

    async fn change(&mut self, catalog: &mut Catalog, name: String, old: Standing) -> Result<(), Status> {
        let version = VERSION.to_owned();
        let mut new = old.clone();
        if old.deleted {
            new.deleted = false;
            self.asked.insert(name.clone(), new.clone());
            catalog
                .undelete_component(v1::UndeleteComponentRequest { name: name.clone(), version, ..Default::default() })
                .await?;
        } else if old.lifecycle == v1::Lifecycle::Revoked || self.dice.below(3) == 0 {
            new.deleted = true;
            self.asked.insert(name.clone(), new.clone());
            catalog
                .delete_component(v1::DeleteComponentRequest { name: name.clone(), version, ..Default::default() })
                .await?;
        } else {
            let to = match (self.dice.below(8), old.lifecycle) {
                (0, _) => v1::Lifecycle::Revoked,
                (_, v1::Lifecycle::Certified) => v1::Lifecycle::Deprecated,
                _ => v1::Lifecycle::Certified,
            };
            (new.lifecycle, new.moves) = (to, old.moves + 1);
            self.asked.insert(name.clone(), new.clone());
            let lifecycle = to as i32;
            catalog
                .move_component(v1::MoveComponentRequest {
                    name: name.clone(),
                    version,
                    lifecycle,
                    ..Default::default()
                })
                .await?;
        }
        self.acknowledge(name, new);
        Ok(())
    }

    async fn import(&mut self, mut catalog: Catalog) -> Status {
        loop {
            let names: Vec<String> = (0..IMPORTED).map(|_| self.new_name()).collect();
            for name in &names {
                self.asked.insert(name.clone(), Standing::new(String::new()));
            }
            let items: Vec<v1::ImportComponentsRequest> = names
                .iter()
                .map(|name| v1::ImportComponentsRequest { manifest: self.manifest(name), ..Default::default() })
                .collect();
            let mut results = match catalog.import_components(tokio_stream::iter(items)).await {
                Ok(results) => results.into_inner(),
                Err(status) => return status,
            };
            loop {
                match results.message().await {
                    Ok(Some(item)) if item.result() == v1::ImportResult::Created => {
                        self.acknowledge(item.name, Standing::new(item.digest));
                    }
                    Ok(Some(item)) => return Status::internal(format!("{item:?}")),
                    Ok(None) => break,
                    Err(status) => return status,
                }
            }
        }
    }

    /// Holds what was found against what is known, takes it out of there, and goes on from it. Returns how many unanswered
    /// writes turned out to have been done.
    pub(crate) fn compare(&mut self, found: &mut BTreeMap<String, Standing>) -> anyhow::Result<u64> {
        let mut done = 0;
        for (name, known) in &mut self.known {
            let asked = self.asked.remove(name);
            match (found.remove(name), asked) {
                (Some(found), _) if known.is(&found) => {}
                (Some(found), Some(asked)) if asked.is(&found) => {
                    *known = found;
                    done += 1;
                }
                (found, asked) => bail!("lost: {name} is {found:?}, acknowledged was {known:?}, asked for {asked:?}"),
            }
        }
        for (name, asked) in std::mem::take(&mut self.asked) {
            let Some(found) = found.remove(&name) else { continue };
            ensure!(asked.is(&found), "phantom: {name} is {found:?}, asked for was {asked:?}");
            self.known.insert(name, found);
            done += 1;
        }
        Ok(done)
    }
}
