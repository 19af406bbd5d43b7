//! What several test modules share: the worked example and a catalogue to check it against.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use fitment_assembly::{
    Assembly, AssemblyError, Certification, Claims, Facts, Finding, InvariantSet, Lock, Locking, Policies, Reference,
    Report, Severity, Tree, TreeEntry, TreeFile, VersionFacts, Versions, check, lock,
};
use fitment_catalog::{ComponentName, Digest, Format, Lifecycle, Manifest, read_document, sample};
use jiff::Timestamp;
use serde_json::{Value, json};

/// The worked example: it passes.
pub(crate) const PORTAL: &str = include_str!("../fixtures/portal.yaml");

static CATALOGUE: LazyLock<BTreeMap<String, VersionFacts>> = LazyLock::new(|| {
    let facts = sample().map(|file| {
        let manifest = Manifest::parse(file.path, file.bytes, Format::Yaml).expect("a sample manifest");
        (manifest.to_string(), facts_of(manifest))
    });
    facts.collect()
});
static STARTER: LazyLock<InvariantSet> = LazyLock::new(InvariantSet::starter);

/// A certified version with all that is known of it.
pub(crate) fn facts_of(manifest: Manifest) -> VersionFacts {
    VersionFacts {
        digest: manifest.digest(),
        lifecycle: manifest.lifecycle(),
        certification: Certification::Certified { until: Some(instant("2027-11-01T00:00:00Z")) },
        certificates: BTreeSet::from([digest(&format!("certificate of {manifest}"))]),
        claims: Claims::of_manifest(&manifest),
        manifest: Arc::new(manifest),
    }
}

pub(crate) fn instant(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

/// The sample catalogue, to be changed by a test.
#[derive(Clone)]
pub(crate) struct Catalogue {
    pub(crate) now: Timestamp,
    pub(crate) versions: BTreeMap<String, VersionFacts>,
}

impl Catalogue {
    pub(crate) fn new() -> Self {
        Self { now: instant("2026-11-01T12:00:00Z"), versions: CATALOGUE.clone() }
    }

    pub(crate) fn entry(&mut self, version: &str) -> &mut VersionFacts {
        self.versions.get_mut(version).unwrap_or_else(|| panic!("no {version} in the sample"))
    }

    /// Puts a changed manifest in the place of a version's; one that is no manifest takes the version out.
    pub(crate) fn rewrite(&mut self, version: &str, change: impl FnOnce(&mut Value)) {
        let mut value = self.entry(version).manifest.to_value();
        change(&mut value);
        match Manifest::from_value(version, &value) {
            Ok(manifest) => drop(self.versions.insert(version.to_owned(), facts_of(manifest))),
            Err(_) => drop(self.versions.remove(version)),
        }
    }

    /// Adds a version that is another one with something changed.
    pub(crate) fn derive(&mut self, version: &str, change: impl FnOnce(&mut Value)) -> String {
        let mut value = self.entry(version).manifest.to_value();
        change(&mut value);
        let manifest = Manifest::from_value("derived", &value).unwrap_or_else(|error| panic!("{error}"));
        let name = manifest.to_string();
        self.versions.insert(name.clone(), facts_of(manifest));
        name
    }

    /// Takes a version's certification away.
    pub(crate) fn revoke(&mut self, version: &str) {
        self.entry(version).lifecycle = Lifecycle::Revoked;
    }

    /// Adds a version that is in no sample.
    pub(crate) fn add(&mut self, fields: &Value) {
        let mut value = json!({ "version": "1.0.0", "title": "Test", "summary": "For a test.", "kind": "service",
            "lifecycle": "certified", "license": "MIT", "owner": "team-test" });
        for (key, field) in fields.as_object().expect("an object") {
            value[key] = field.clone();
        }
        let manifest = Manifest::from_value("test", &value).unwrap_or_else(|error| panic!("{error}"));
        self.versions.insert(manifest.to_string(), facts_of(manifest));
    }
}

impl Facts for Catalogue {
    fn now(&self) -> Timestamp {
        self.now
    }

    fn version(&self, reference: &Reference) -> Option<VersionFacts> {
        match reference {
            Reference::Named { .. } => self.versions.get(&reference.to_string()).cloned(),
            Reference::Digest(digest) => self.versions.values().find(|facts| facts.digest == *digest).cloned(),
        }
    }
}

impl Versions for Catalogue {
    fn versions(&self, component: &ComponentName) -> Vec<VersionFacts> {
        self.versions.values().filter(|known| known.manifest.name() == component).cloned().collect()
    }

    fn successors(&self, component: &ComponentName) -> Vec<VersionFacts> {
        let takes_over = |known: &&VersionFacts| {
            known.manifest.name() != component
                && known.manifest.supersedes().is_some_and(|older| older.name() == component)
        };
        self.versions.values().filter(takes_over).cloned().collect()
    }
}

pub(crate) fn starter() -> &'static InvariantSet {
    &STARTER
}

/// The worked example as a value, to be changed by a test.
pub(crate) fn portal_value() -> Value {
    read_document("portal.yaml", PORTAL.as_bytes(), Format::Yaml).expect("the portal is YAML")
}

pub(crate) fn assembly(value: &Value) -> Assembly {
    Assembly::from_value("test", value).unwrap_or_else(|error| panic!("{error}\n{value:#}"))
}

/// Checks a document against a catalogue and the starter policies.
pub(crate) fn report(value: &Value, catalogue: &Catalogue) -> Report {
    check(&assembly(value), &Policies::default(), starter(), catalogue)
}

/// The entry of a list whose field has a value.
pub(crate) fn entry<'v>(value: &'v mut Value, list: &str, key: &str, wanted: &str) -> &'v mut Value {
    let items = value[list].as_array_mut().expect("a list");
    items.iter_mut().find(|item| item[key] == *wanted).unwrap_or_else(|| panic!("no {wanted} in {list}"))
}

pub(crate) fn part<'v>(value: &'v mut Value, id: &str) -> &'v mut Value {
    entry(value, "parts", "id", id)
}

pub(crate) fn errors(report: &Report) -> Vec<&Finding> {
    report.findings.iter().filter(|finding| finding.severity == Severity::Error).collect()
}

pub(crate) fn shown(report: &Report) -> String {
    report.findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// A tree of files with their contents.
pub(crate) fn tree(files: &BTreeMap<String, Vec<u8>>) -> Tree {
    Tree::new(files.iter().map(|(path, bytes)| (path.clone(), TreeEntry::File(TreeFile::of(bytes)))))
}

/// A small application with its files: a certified folder, a certified file, raw code, and what is no code.
pub(crate) fn application() -> (Value, Catalogue, BTreeMap<String, Vec<u8>>) {
    let files = [
        ("app.yaml", "name: test/app\n"),
        ("app.lock.yaml", "lock_version: 1\n"),
        ("README.md", "# Application\n"),
        ("docs/ways out.txt", "none\n"),
        ("src/main.rs", "fn main() {}\n"),
        ("src/bin/two.rs", "fn main() {}\nfn two() {}\n"),
        ("tool.sh", "exit 0\n"),
        ("vendor/pack.wasm", "\0asm"),
        ("vendor/table/index.js", "export {}\n"),
        ("vendor/table/lib/row.js", "export const row = 1\n"),
    ];
    let files: BTreeMap<String, Vec<u8>> =
        files.into_iter().map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec())).collect();
    let sha256 = |path: &str| Digest::of(&files[path]).to_string();
    let mut catalogue = Catalogue::new();
    catalogue.add(&json!({ "name": "x/table", "artifact": { "purl": "pkg:npm/table@1.0.0",
        "digests": { "sha512": "ab".repeat(64) }, "files": {
            "index.js": sha256("vendor/table/index.js"), "lib/row.js": sha256("vendor/table/lib/row.js") } } }));
    catalogue.add(&json!({ "name": "x/pack", "artifact": { "purl": "pkg:generic/pack@1.0.0",
        "digests": { "sha256": sha256("vendor/pack.wasm").trim_start_matches("sha256:") } },
        "config_schema": { "type": "object", "additionalProperties": false,
            "properties": { "level": { "type": "integer", "default": 3 }, "axis": { "type": "string" } } } }));
    catalogue.add(&json!({ "name": "x/service" }));
    let document = json!({ "name": "test/app", "unmanaged": ["docs/**", "*.md"], "parts": [
        { "id": "table", "component": "x/table@1.0.0", "path": "vendor/table" },
        { "id": "pack", "component": "x/pack@1.0.0", "path": "vendor/pack.wasm", "configuration": { "axis": "x" } },
        { "id": "service", "component": "x/service@1.0.0" },
        { "id": "own", "raw": { "path": "src", "owner": "Ada", "reviewer": "Grace", "license": "LicenseRef-Own" } },
        { "id": "tool", "raw": { "path": "tool.sh", "lines": 1, "owner": "Ada", "reviewer": "Grace" } },
        { "id": "bank", "external": { "owner": "Example Bank" } },
    ] });
    (document, catalogue, files)
}

/// Locks a document that passes.
pub(crate) fn locked(document: &Value, catalogue: &Catalogue, tree: Option<&Tree>) -> Result<Lock, AssemblyError> {
    let (assembly, report) = (assembly(document), report(document, catalogue));
    let at = instant("2026-11-01T12:00:00.75Z");
    lock(&Locking { assembly: &assembly, report: &report, facts: catalogue, tree, revision: 42, at })
}

pub(crate) fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}
