//! What must be: the catalogue as a few maps, written from the API's manual and not from the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use tonic::Code;

use super::steps::{Believed, COMPONENTS, Invalid, LIFECYCLES, Step, VERSIONS, Which};

/// What makes two manifests of one version differ: a content, and where its life begins.
pub(super) type Written = (usize, usize);

/// A version as its record must be.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Version {
    pub(super) written: Written,
    /// A place in [`LIFECYCLES`].
    pub(super) lifecycle: usize,
    pub(super) moves: usize,
    pub(super) deleted: bool,
    /// Counts the states that it has had: an etag names one of them.
    pub(super) state: usize,
}

/// When a certificate counts, in seconds: from, until.
pub(super) type Window = (i64, i64);

/// The catalogue.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) now: i64,
    /// Commits that changed what may be read: the least and the most that there may have been, since those of an import
    /// gather as its items come.
    pub(super) revision: (u64, u64),
    pub(super) versions: BTreeMap<Which, Version>,
    requests: BTreeMap<usize, String>,
    pub(super) assemblies: BTreeSet<usize>,
    /// What the audit trail must name, in order: the act and, where the model knows it, the subject.
    pub(super) audit: Vec<(&'static str, Option<String>)>,
    /// Where in it an import's records are: items gather as they come, and denials are recorded behind the commit of those
    /// that they came with, so that their order is nobody's promise.
    pub(super) imports: Vec<Range<usize>>,
    root: Option<u64>,
    certificates: BTreeMap<Which, BTreeSet<Window>>,
    revoked: BTreeSet<Which>,
    /// Revocations of versions that are not there, by their content: they are kept, once each.
    revoked_nothing: BTreeSet<Which>,
}

/// `name@version`.
pub(super) fn subject((component, version): Which) -> String {
    format!("{}@{}", COMPONENTS[component], VERSIONS[version])
}

/// When a certificate counts that is asked for at `now`.
pub(super) fn window(now: i64, hours: i64) -> Window {
    (now + 3600, now + 3600 * (1 + hours))
}

const DRAFT: usize = 0;
const CERTIFIED: usize = 2;
const DEPRECATED: usize = 3;

/// The steps of a life, from docs/manifest.md.
fn may_become(from: usize, to: usize) -> bool {
    matches!(
        (LIFECYCLES[from], LIFECYCLES[to]),
        ("draft", "candidate" | "revoked")
            | ("candidate", "draft" | "certified" | "revoked")
            | ("certified", "deprecated" | "revoked")
            | ("deprecated", "certified" | "revoked")
    )
}

impl Model {
    pub(super) fn new(now: i64) -> Self {
        Self {
            now,
            revision: (0, 0),
            versions: BTreeMap::new(),
            requests: BTreeMap::new(),
            assemblies: BTreeSet::new(),
            audit: Vec::new(),
            imports: Vec::new(),
            root: None,
            certificates: BTreeMap::new(),
            revoked: BTreeSet::new(),
            revoked_nothing: BTreeSet::new(),
        }
    }

    /// Takes a call and says how it must end.
    pub(super) fn take(&mut self, step: &Step) -> Result<(), Code> {
        match *step {
            Step::Create { which, content, lifecycle, request, validate_only } => {
                self.create(which, (content, lifecycle), request, validate_only)
            }
            Step::Delete { which, believed, request } => self.change(which, believed, request, "delete", |version| {
                if std::mem::replace(&mut version.deleted, true) { Err(Code::NotFound) } else { Ok("component.delete") }
            }),
            Step::Undelete { which, believed, request } => {
                self.change(which, believed, request, "undelete", |version| {
                    let was_deleted = std::mem::replace(&mut version.deleted, false);
                    if was_deleted { Ok("component.undelete") } else { Err(Code::FailedPrecondition) }
                })
            }
            Step::Move { which, to, believed, request } => self.move_to(which, to, believed, request),
            Step::Import { .. } => unreachable!("taken item by item"),
            Step::Register { name, which: _, believed } => {
                if believed == Believed::Other {
                    return Err(Code::Aborted);
                }
                self.assemblies.insert(name);
                self.audit.push(("assembly.register", Some(format!("apps/app-{name}"))));
                Ok(())
            }
            Step::Forget { name, believed } => {
                if !self.assemblies.contains(&name) {
                    return Err(Code::NotFound);
                }
                if believed == Believed::Other {
                    return Err(Code::Aborted);
                }
                self.assemblies.remove(&name);
                self.audit.push(("assembly.delete", Some(format!("apps/app-{name}"))));
                Ok(())
            }
            Step::InstallRoot { version } => self.install_root(version),
            Step::Certify { which, hours, believed_key } => self.certify(which, hours, believed_key),
            Step::Revoke { which, believed_key } => self.revoke(which, believed_key),
            Step::Wait { hours } => {
                self.now += hours * 3600;
                Ok(())
            }
            Step::Restart => Ok(()),
            Step::Invalid(invalid) => Err(self.invalid(invalid)),
        }
    }

    /// One item of an import: written as a certified version.
    pub(super) fn import_item(&mut self, which: Which, content: usize) -> Result<(), Code> {
        self.create(which, (content, CERTIFIED), None, false)
    }

    fn committed(&mut self) {
        self.revision = (self.revision.0 + 1, self.revision.1 + 1);
    }

    fn denied(&mut self, subject: Option<String>) {
        self.audit.push(("call.deny", subject));
    }

    /// Errors: the request id has been used for something else. True: for this, and nothing is left to do.
    fn repeats(&self, request: Option<usize>, asked: &str) -> Result<bool, Code> {
        match request.and_then(|request| self.requests.get(&request)) {
            None => Ok(false),
            Some(before) if before == asked => Ok(true),
            Some(_) => Err(Code::InvalidArgument),
        }
    }

    fn remember(&mut self, request: Option<usize>, asked: String) {
        if let Some(request) = request {
            self.requests.insert(request, asked);
        }
    }

    fn create(
        &mut self,
        which: Which,
        written: Written,
        request: Option<usize>,
        validate_only: bool,
    ) -> Result<(), Code> {
        let taken = self.versions.get(&which).is_some_and(|version| version.written != written);
        if validate_only {
            return if taken { Err(Code::AlreadyExists) } else { Ok(()) };
        }
        let asked = format!("put {which:?} {written:?}");
        if self.repeats(request, &asked)? {
            return Ok(());
        }
        if taken {
            self.denied(Some(subject(which)));
            return Err(Code::AlreadyExists);
        }
        self.remember(request, asked);
        let act = match self.versions.get_mut(&which) {
            Some(version) if version.deleted => {
                version.deleted = false;
                version.state += 1;
                "component.undelete"
            }
            Some(_) => return Ok(()),
            None => {
                let (_, lifecycle) = written;
                self.versions.insert(which, Version { written, lifecycle, moves: 0, deleted: false, state: 0 });
                "component.create"
            }
        };
        self.audit.push((act, Some(subject(which))));
        self.committed();
        Ok(())
    }

    fn change(
        &mut self,
        which: Which,
        believed: Believed,
        request: Option<usize>,
        operation: &str,
        edit: impl FnOnce(&mut Version) -> Result<&'static str, Code>,
    ) -> Result<(), Code> {
        let asked = format!("{operation} {which:?}");
        if self.repeats(request, &asked)? {
            return Ok(());
        }
        let version = self.versions.get_mut(&which).ok_or(Code::NotFound)?;
        if believed == Believed::Other {
            return Err(Code::Aborted);
        }
        let act = edit(version)?;
        version.state += 1;
        self.audit.push((act, Some(subject(which))));
        self.remember(request, asked);
        self.committed();
        Ok(())
    }

    fn move_to(&mut self, which: Which, to: usize, believed: Believed, request: Option<usize>) -> Result<(), Code> {
        let mut forbidden = false;
        let done = self.change(which, believed, request, &format!("move {to}"), |version| {
            if version.deleted {
                return Err(Code::NotFound);
            }
            if !may_become(version.lifecycle, to) {
                forbidden = true;
                return Err(Code::FailedPrecondition);
            }
            version.lifecycle = to;
            version.moves += 1;
            Ok("component.move")
        });
        if forbidden {
            self.denied(Some(subject(which)));
        }
        done
    }

    fn install_root(&mut self, version: u64) -> Result<(), Code> {
        match self.root {
            Some(installed) if version < installed => {
                self.denied(None);
                Err(Code::FailedPrecondition)
            }
            Some(installed) if version == installed => Ok(()),
            _ => {
                self.root = Some(version);
                self.audit.push(("trust.install", Some(format!("version {version}"))));
                self.committed();
                Ok(())
            }
        }
    }

    fn certify(&mut self, which: Which, hours: i64, believed_key: bool) -> Result<(), Code> {
        if self.root.is_none() || !believed_key {
            self.denied(None);
            return Err(Code::FailedPrecondition);
        }
        if !self.versions.contains_key(&which) {
            return Err(Code::NotFound);
        }
        if self.certificates.entry(which).or_default().insert(window(self.now, hours)) {
            self.audit.push(("certificate.add", None));
            self.committed();
        }
        Ok(())
    }

    fn revoke(&mut self, which: Which, believed_key: bool) -> Result<(), Code> {
        if self.root.is_none() || !believed_key {
            self.denied(None);
            return Err(Code::FailedPrecondition);
        }
        let there = self.versions.contains_key(&which);
        let kept = if there { &mut self.revoked } else { &mut self.revoked_nothing };
        if kept.insert(which) {
            self.audit.push(("certificate.revoke", None));
            self.committed();
        }
        Ok(())
    }

    fn invalid(&mut self, invalid: Invalid) -> Code {
        match invalid {
            Invalid::Revision => Code::FailedPrecondition,
            // Whoever may certify nothing is told so before anything is read.
            Invalid::Envelope if self.root.is_none() => {
                self.denied(None);
                Code::FailedPrecondition
            }
            _ => Code::InvalidArgument,
        }
    }

    /// What a list must hold, in its order.
    pub(super) fn listed(&self) -> Vec<(Which, &Version)> {
        let mut listed: Vec<_> = self.versions.iter().filter(|(_, version)| !version.deleted).collect();
        listed.sort_by_key(|((component, version), _)| (COMPONENTS[*component], *version));
        listed.into_iter().map(|(which, version)| (*which, version)).collect()
    }

    /// What may answer an intent: of each component the newest certified version, or the newest deprecated one.
    pub(super) fn answering(&self) -> BTreeSet<String> {
        let may = |(which, version): &(&Which, &Version)| {
            let certified = self.root.is_none() || self.is_certified(**which);
            let stands = version.lifecycle == CERTIFIED || version.lifecycle == DEPRECATED;
            stands && certified && !version.deleted && !VERSIONS[which.1].contains('-')
        };
        let mut newest: BTreeMap<usize, (bool, usize)> = BTreeMap::new();
        for (&(component, version), record) in self.versions.iter().filter(may) {
            let place = (record.lifecycle == CERTIFIED, version);
            let best = newest.entry(component).or_insert(place);
            *best = (*best).max(place);
        }
        newest.into_iter().map(|(component, (_, version))| subject((component, version))).collect()
    }

    fn is_certified(&self, which: Which) -> bool {
        let counts = |(from, until): &Window| (*from..*until).contains(&self.now);
        !self.revoked.contains(&which)
            && self.certificates.get(&which).is_some_and(|windows| windows.iter().any(counts))
    }

    /// Versions at the beginning of their life, as a filter asks for them.
    pub(super) fn drafts(&self) -> usize {
        self.versions.values().filter(|version| !version.deleted && version.lifecycle == DRAFT).count()
    }
}
