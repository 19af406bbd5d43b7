//! A value of the right form to a [`Lock`]: what JSON Schema cannot say is checked here.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use fitment_catalog::{Digest, License, RelativePath};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Lock, LockedArtifact, LockedComponent, LockedExternal, LockedPart, LockedRaw, LockedSource};
use crate::error::AssemblyError;
use crate::form::{self, Form};
use crate::reading::{Noted, Reader, WrittenConnection, WrittenExposure, trimmed};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    // The schema admits one form only.
    #[serde(rename = "lock_version")]
    _form: u32,
    assembly: WrittenAssembly,
    locked_at: String,
    revision: u64,
    policies: String,
    invariants: String,
    #[serde(default)]
    unmanaged: Vec<String>,
    parts: Vec<WrittenPart>,
    #[serde(default)]
    connections: Vec<WrittenConnection>,
    #[serde(default)]
    exposures: Vec<WrittenExposure>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenAssembly {
    name: String,
    digest: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPart {
    id: String,
    component: Option<String>,
    manifest: Option<String>,
    artifact: Option<WrittenArtifact>,
    path: Option<String>,
    certified_until: Option<String>,
    #[serde(default)]
    certificates: Vec<String>,
    #[serde(default)]
    configuration: Map<String, Value>,
    raw: Option<WrittenRaw>,
    external: Option<WrittenExternal>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenArtifact {
    purl: String,
    #[serde(default)]
    digests: BTreeMap<String, String>,
    #[serde(default)]
    files: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRaw {
    path: String,
    digest: String,
    lines: u32,
    owner: Option<String>,
    reviewer: Option<String>,
    license: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenExternal {
    owner: String,
    evidence: Option<String>,
    valid_until: Option<String>,
}

pub(super) fn lock(file: &str, value: &Value) -> Result<Lock, AssemblyError> {
    let written: Written = form::read(file, value, Form::Lock)?;
    let mut reader = Reader::default();
    let lock = reader.lock(written);
    reader.finish(file, lock)
}

impl Reader {
    fn lock(&mut self, written: Written) -> Option<Lock> {
        let Written {
            _form: _,
            assembly: WrittenAssembly { name, digest },
            locked_at,
            revision,
            policies,
            invariants,
            unmanaged,
            parts,
            connections,
            exposures,
        } = written;
        let name = self.parsed("/assembly/name", &name);
        let assembly = self.parsed("/assembly/digest", &digest);
        let locked_at = self.instant("/locked_at", Some(&locked_at));
        let policies = self.parsed("/policies", &policies);
        let invariants = self.parsed("/invariants", &invariants);
        let unmanaged = self.globs("/unmanaged", unmanaged);
        let mut ids = HashSet::new();
        let mut read = Vec::with_capacity(parts.len());
        let mut paths = Vec::new();
        for (i, part) in parts.into_iter().enumerate() {
            let at = format!("/parts/{i}");
            if !ids.insert(part.id.clone()) {
                self.note(format!("{at}/id"), format!("a second part has the id `{}`; make the lock anew", part.id));
            }
            let Some(part) = self.locked_part(&at, part) else { continue };
            match &part.source {
                LockedSource::Component(component) => {
                    paths.extend(component.path.clone().map(|path| (format!("{at}/path"), path)));
                }
                LockedSource::Raw(raw) => paths.push((format!("{at}/raw/path"), raw.path.clone())),
                LockedSource::External(_) => {}
            }
            read.push(part);
        }
        self.apart(&paths.iter().map(|(at, path)| (at.clone(), path)).collect::<Vec<_>>());
        let lock = Lock {
            name: name?,
            assembly: assembly?,
            locked_at: locked_at.ok()??,
            revision,
            policies: policies?,
            invariants: invariants?,
            unmanaged,
            parts: read,
            connections: self.connections(connections),
            exposures: self.exposures(exposures),
        };
        Some(lock.sorted())
    }

    fn locked_part(&mut self, at: &str, written: WrittenPart) -> Option<LockedPart> {
        let WrittenPart {
            id,
            component,
            manifest,
            artifact,
            path,
            certified_until,
            certificates,
            configuration,
            raw,
            external,
        } = written;
        if let Some(raw) = raw {
            let source = LockedSource::Raw(self.locked_raw(&format!("{at}/raw"), raw)?);
            return Some(LockedPart { id, source });
        }
        if let Some(WrittenExternal { owner, evidence, valid_until }) = external {
            let evidence = self.optional(&format!("{at}/external/evidence"), evidence.as_deref());
            let valid_until = self.instant(&format!("{at}/external/valid_until"), valid_until.as_deref());
            let (evidence, valid_until) = (evidence.ok()?, valid_until.ok()?);
            let source = LockedSource::External(LockedExternal { owner: trimmed(owner), evidence, valid_until });
            return Some(LockedPart { id, source });
        }
        let named = self.named_version(&format!("{at}/component"), &component.unwrap_or_default());
        let manifest = self.parsed(&format!("{at}/manifest"), &manifest.unwrap_or_default());
        let artifact = artifact.map(|artifact| self.artifact(&format!("{at}/artifact"), artifact));
        let path = self.optional(&format!("{at}/path"), path.as_deref());
        let certified_until = self.instant(&format!("{at}/certified_until"), certified_until.as_deref());
        let certificates: BTreeSet<Digest> = certificates
            .iter()
            .enumerate()
            .filter_map(|(i, certificate)| self.parsed(&format!("{at}/certificates/{i}"), certificate))
            .collect();
        let configuration = Value::Object(configuration);
        self.exact_numbers(&format!("{at}/configuration"), &configuration);
        let (name, version) = named?;
        let component = LockedComponent {
            name,
            version,
            manifest: manifest?,
            artifact,
            path: path.ok()?,
            certified_until: certified_until.ok()?,
            certificates,
            configuration,
        };
        Some(LockedPart { id, source: LockedSource::Component(component) })
    }

    fn locked_raw(&mut self, at: &str, written: WrittenRaw) -> Option<LockedRaw> {
        let WrittenRaw { path, digest, lines, owner, reviewer, license } = written;
        let path = self.parsed(&format!("{at}/path"), &path);
        let digest = self.parsed(&format!("{at}/digest"), &digest);
        let license: Result<Option<License>, Noted> = self.optional(&format!("{at}/license"), license.as_deref());
        let (owner, reviewer) = (owner.map(trimmed), reviewer.map(trimmed));
        Some(LockedRaw { path: path?, digest: digest?, lines, owner, reviewer, license: license.ok()? })
    }

    fn artifact(&mut self, at: &str, written: WrittenArtifact) -> LockedArtifact {
        let WrittenArtifact { purl, mut digests, files } = written;
        let sha256 = digests.remove("sha256");
        let sha256 =
            sha256.and_then(|digits| self.parsed(&format!("{at}/digests/sha256"), &format!("sha256:{digits}")));
        let mut read: BTreeMap<RelativePath, Digest> = BTreeMap::new();
        for (path, digest) in files {
            let at = format!("{at}/files/{}", path.replace('~', "~0").replace('/', "~1"));
            let (path, digest) = (self.parsed::<RelativePath>(&at, &path), self.parsed(&at, &digest));
            read.extend(path.zip(digest));
        }
        LockedArtifact { purl, other_digests: digests, sha256, files: read }
    }
}
