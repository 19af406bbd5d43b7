//! Which assemblies use something: a component, a version, or versions that a certificate, a key or a standard stands
//! behind.
//!
//! Two layers, since they change apart: assemblies use versions, and versions have traits. A new certificate is one
//! change to one version, however many assemblies use it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use fitment_catalog::{ComponentName, Digest};

/// What is asked about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// All versions of a component.
    Component(ComponentName),
    /// One version.
    Version(Digest),
    /// Versions that this certificate is about.
    Certificate(Digest),
    /// Versions that this key, by its id, has certified.
    Key(String),
    /// Versions that claim this standard, written `standard`, or one requirement of it, `standard/requirement`.
    Standard(String),
}

/// What a version is, and what stands behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionTraits {
    /// The component.
    pub component: ComponentName,
    /// Certificates about it.
    pub certificates: BTreeSet<Digest>,
    /// Ids of the keys that signed them.
    pub keys: BTreeSet<String>,
    /// Standards, and `standard/requirement`, that count for it.
    pub standards: BTreeSet<String>,
}

/// An assembly that uses what was asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use<'i> {
    /// The assembly's name.
    pub assembly: &'i ComponentName,
    /// Ids of its parts concerned, ordered.
    pub parts: Vec<&'i str>,
}

/// Assemblies by what they use. Names of assemblies are unique: a second one of a name takes the first one's place.
#[derive(Debug, Default)]
pub struct ImpactIndex {
    /// Places of assemblies; one that was taken out leaves its place to the next.
    assemblies: Vec<Option<Registered>>,
    free: Vec<u32>,
    by_name: BTreeMap<ComponentName, u32>,
    versions: Vec<Version>,
    by_digest: HashMap<Digest, u32>,
    /// What versions a trait leads to.
    by_trait: HashMap<Target, BTreeSet<u32>>,
}

#[derive(Debug)]
struct Registered {
    name: ComponentName,
    /// Part's id and its version's place, ordered by id.
    parts: Vec<(Box<str>, u32)>,
}

#[derive(Debug)]
struct Version {
    traits: Option<VersionTraits>,
    /// Places of assemblies with that version, and the numbers of their parts with it. Flat, since a key may stand behind
    /// half a million of them.
    used_by: BTreeSet<(u32, u16)>,
}

impl ImpactIndex {
    /// An index of no assemblies.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of assemblies.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there are no assemblies.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Adds an assembly, or puts it in the place of the one of its name. `parts` are ids and the digests of their
    /// versions; what follows the 65,536th is left out, far beyond [`crate::MAX_PARTS`].
    pub fn insert<P: AsRef<str>>(&mut self, name: &ComponentName, parts: impl IntoIterator<Item = (P, Digest)>) {
        self.remove(name);
        let mut listed: Vec<(Box<str>, u32)> =
            parts.into_iter().map(|(id, digest)| (Box::from(id.as_ref()), self.version(digest))).collect();
        listed.sort();
        let registered = Registered { name: name.clone(), parts: listed };
        let place = self.free.pop().unwrap_or_else(|| {
            self.assemblies.push(None);
            number(self.assemblies.len() - 1)
        });
        for (number, (_, version)) in (0..=u16::MAX).zip(&registered.parts) {
            self.versions[*version as usize].used_by.insert((place, number));
        }
        self.assemblies[place as usize] = Some(registered);
        self.by_name.insert(name.clone(), place);
    }

    /// Takes an assembly out; whether there was one.
    pub fn remove(&mut self, name: &ComponentName) -> bool {
        let Some(place) = self.by_name.remove(name) else { return false };
        if let Some(registered) = self.assemblies[place as usize].take() {
            for (number, (_, version)) in (0..=u16::MAX).zip(&registered.parts) {
                self.versions[*version as usize].used_by.remove(&(place, number));
            }
        }
        self.free.push(place);
        true
    }

    /// States what a version is and what stands behind it, in place of what was stated before. Versions that no assembly
    /// uses may be stated too.
    pub fn describe(&mut self, version: Digest, traits: VersionTraits) {
        let place = self.version(version);
        if let Some(before) = self.versions[place as usize].traits.take() {
            for target in targets(&before) {
                if let Some(versions) = self.by_trait.get_mut(&target) {
                    versions.remove(&place);
                    if versions.is_empty() {
                        self.by_trait.remove(&target);
                    }
                }
            }
        }
        for target in targets(&traits) {
            self.by_trait.entry(target).or_default().insert(place);
        }
        self.versions[place as usize].traits = Some(traits);
    }

    /// The assemblies that use something, by name, each with its parts concerned.
    pub fn uses(&self, target: &Target) -> Vec<Use<'_>> {
        let versions = self.versions_of(target);
        let mut found: Vec<(u32, u16)> =
            versions.into_iter().flat_map(|version| &self.versions[version as usize].used_by).copied().collect();
        // Parts are numbered in the order of their ids, and each has one version.
        found.sort_unstable();
        let mut uses: Vec<Use<'_>> = found
            .chunk_by(|(a, _), (b, _)| a == b)
            .filter_map(|of_one| {
                let registered = self.assemblies[of_one[0].0 as usize].as_ref()?;
                let parts = of_one.iter().map(|(_, number)| &*registered.parts[usize::from(*number)].0).collect();
                Some(Use { assembly: &registered.name, parts })
            })
            .collect();
        uses.sort_unstable_by(|a, b| a.assembly.cmp(b.assembly));
        uses
    }

    fn versions_of(&self, target: &Target) -> Vec<u32> {
        match target {
            Target::Version(digest) => self.by_digest.get(digest).copied().into_iter().collect(),
            Target::Component(_) | Target::Certificate(_) | Target::Key(_) | Target::Standard(_) => {
                self.by_trait.get(target).into_iter().flatten().copied().collect()
            }
        }
    }

    /// The place of a version, made when it has none.
    fn version(&mut self, digest: Digest) -> u32 {
        *self.by_digest.entry(digest).or_insert_with(|| {
            self.versions.push(Version { traits: None, used_by: BTreeSet::new() });
            number(self.versions.len() - 1)
        })
    }
}

fn targets(traits: &VersionTraits) -> impl Iterator<Item = Target> {
    let VersionTraits { component, certificates, keys, standards } = traits;
    std::iter::once(Target::Component(component.clone()))
        .chain(certificates.iter().copied().map(Target::Certificate))
        .chain(keys.iter().cloned().map(Target::Key))
        .chain(standards.iter().cloned().map(Target::Standard))
}

fn number(length: usize) -> u32 {
    u32::try_from(length).expect("there are fewer than 2^32 assemblies and versions in memory")
}
