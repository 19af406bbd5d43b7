//! The sample catalogue as the checks of assemblies ask for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use fitment_assembly::{Certification, Claims, Facts, InvariantSet, Reference, VersionFacts, Versions};
use fitment_catalog::{ComponentName, Digest, Format, Manifest, sample};
use jiff::Timestamp;

static SAMPLE: LazyLock<BTreeMap<String, VersionFacts>> = LazyLock::new(|| {
    let facts = sample().map(|file| {
        let manifest = Manifest::parse(file.path, file.bytes, Format::Yaml).expect("a sample manifest");
        (manifest.to_string(), facts_of(manifest))
    });
    facts.collect()
});
static STARTER: LazyLock<InvariantSet> = LazyLock::new(InvariantSet::starter);

fn facts_of(manifest: Manifest) -> VersionFacts {
    VersionFacts {
        digest: manifest.digest(),
        lifecycle: manifest.lifecycle(),
        certification: Certification::Certified { until: Some(Timestamp::MAX) },
        certificates: BTreeSet::from([Digest::of(manifest.to_string().as_bytes())]),
        claims: Claims::of_manifest(&manifest),
        manifest: Arc::new(manifest),
    }
}

/// The policies that ship with the program.
pub fn starter() -> &'static InvariantSet {
    &STARTER
}

/// The sample catalogue, all of it certified.
#[derive(Clone, Copy, Debug, Default)]
pub struct Catalogue;

impl Facts for Catalogue {
    fn now(&self) -> Timestamp {
        crate::now()
    }

    fn version(&self, reference: &Reference) -> Option<VersionFacts> {
        match reference {
            Reference::Named { .. } => SAMPLE.get(&reference.to_string()).cloned(),
            Reference::Digest(digest) => SAMPLE.values().find(|facts| facts.digest == *digest).cloned(),
        }
    }
}

impl Versions for Catalogue {
    fn versions(&self, component: &ComponentName) -> Vec<VersionFacts> {
        SAMPLE.values().filter(|known| known.manifest.name() == component).cloned().collect()
    }

    fn successors(&self, _component: &ComponentName) -> Vec<VersionFacts> {
        Vec::new()
    }
}
