//! What is kept in memory of the catalogue: cards, names in order, and a bitmap for everything a filter asks about.
//!
//! Kept up to date with the store, one version at a time; never wider than the store.

mod permitted;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use fitment_catalog::{ComponentName, Filter, Kind, License, Lifecycle};
use fitment_index::{DocId, DocMap, DocSet};
use fitment_ranking::{Ranker, TextStatistics};
use semver::Version;

use self::permitted::Classes;
use crate::certification::Certified;
use crate::clues::Clues;
use crate::permit::{ComponentFacts, Viewer};
use crate::store::Card;

/// The catalogue in memory.
#[derive(Debug)]
pub(crate) struct CatalogView {
    known: DocMap<Known>,
    statistics: TextStatistics,
    /// The ranker in force: here, so that places of its labels and versions change together.
    ranker: Arc<Ranker>,
    /// Versions by the place of their component among those with labels.
    labelled: Vec<Vec<DocId>>,
    names: BTreeMap<(ComponentName, Version), DocId>,
    /// Different names in `names`.
    components: usize,
    all: DocSet,
    matchable: DocSet,
    /// Matchable versions that do not answer a request without a filter: another of their component stands in front of
    /// them, or they are pre-releases.
    overtaken: DocSet,
    /// Matchable versions of which there are others of the same component.
    contested: DocSet,
    /// Matchable pre-releases.
    prereleases: DocSet,
    /// What supersedes a component, with the version that its claim ends with.
    superseding: BTreeMap<ComponentName, Vec<(Option<Version>, DocId)>>,
    /// Matchable versions without a vector of the second stage's model.
    without_second_stage: DocSet,
    tags: Postings<String>,
    kinds: Postings<Kind>,
    lifecycles: Postings<Lifecycle>,
    licenses: Postings<String>,
    namespaces: Postings<String>,
    standards: Postings<String>,
    requirements: Postings<(String, String)>,
    classes: Classes,
    /// When the standing of a version changes by the clock.
    deadlines: BTreeSet<(jiff::Timestamp, DocId)>,
    /// Whether a trust root is in force: what it has not been asked about is not certified then.
    under_trust_root: bool,
}

/// What is known of one version.
#[derive(Debug)]
pub(crate) struct Known {
    /// What a filter asks about and people are shown.
    pub(crate) card: Card,
    /// Its words and what it must not answer.
    pub(crate) clues: Clues,
    /// The place of its component among those that the ranker in force has labels of.
    pub(crate) place: Option<u32>,
    /// Whether it is certified now; `None` without a trust root: its lifecycle decides alone.
    pub(crate) certified: Option<Certified>,
}

impl Known {
    /// Whether it may answer a match now.
    fn may_answer(&self) -> bool {
        matchable(self.card.lifecycle) && self.certified.as_ref().is_none_or(|certified| certified.certified)
    }
}

/// One narrowing of the catalogue, for Explain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterStage {
    /// What narrowed it.
    pub name: String,
    /// Versions that it took out.
    pub excluded: usize,
    /// Versions that were left.
    pub remaining: usize,
}

impl Default for CatalogView {
    fn default() -> Self {
        Self {
            known: DocMap::default(),
            statistics: TextStatistics::default(),
            ranker: Arc::clone(Ranker::shipped()),
            labelled: Vec::new(),
            names: BTreeMap::new(),
            components: 0,
            all: DocSet::new(),
            matchable: DocSet::new(),
            overtaken: DocSet::new(),
            contested: DocSet::new(),
            prereleases: DocSet::new(),
            superseding: BTreeMap::new(),
            without_second_stage: DocSet::new(),
            tags: Postings::default(),
            kinds: Postings::default(),
            lifecycles: Postings::default(),
            licenses: Postings::default(),
            namespaces: Postings::default(),
            standards: Postings::default(),
            requirements: Postings::default(),
            classes: Classes::default(),
            deadlines: BTreeSet::new(),
            under_trust_root: false,
        }
    }
}

impl CatalogView {
    /// Adds a version, or replaces its card.
    pub(crate) fn insert(&mut self, doc: DocId, card: Card, clues: Clues) {
        self.statistics.insert(&clues.text);
        let first = self.versions(&card.name).next().is_none();
        self.components += usize::from(first);
        self.names.insert((card.name.clone(), card.version.clone()), doc);
        self.all.insert(doc);
        for tag in &card.tags {
            self.tags.insert(tag.clone(), doc);
        }
        self.classes.insert(ComponentFacts::of(&card), doc);
        self.kinds.insert(card.kind, doc);
        self.lifecycles.insert(card.lifecycle, doc);
        self.licenses.insert(card.license.clone(), doc);
        self.namespaces.insert(card.name.namespace().to_owned(), doc);
        for (standard, requirements) in &card.compliance {
            self.standards.insert(standard.clone(), doc);
            for requirement in requirements {
                self.requirements.insert((standard.clone(), requirement.clone()), doc);
            }
        }
        if let Some((name, version)) = superseded(&card) {
            let claims = self.superseding.entry(name).or_default();
            claims.retain(|(_, other)| *other != doc);
            claims.push((version, doc));
        }
        let name = card.name.to_string();
        let place = self.ranker.labels.as_ref().and_then(|labels| labels.place(&name));
        let certified = self.under_trust_root.then(Certified::not);
        if let Some(before) = self.known.insert(doc, Known { card, clues, place, certified }) {
            self.statistics.remove(&before.clues.text);
            self.unlabel(doc, before.place);
            self.forget_deadline(doc, before.certified.as_ref());
        }
        if let Some(place) = place {
            self.labelled[place as usize].push(doc);
        }
        self.settle(doc);
    }

    /// Takes a version out; true when it was there.
    pub(crate) fn remove(&mut self, doc: DocId) -> bool {
        let Some(Known { card, clues, place, certified }) = self.known.remove(&doc) else { return false };
        self.forget_deadline(doc, certified.as_ref());
        self.statistics.remove(&clues.text);
        self.unlabel(doc, place);
        self.all.remove(doc);
        self.leave_answers(doc);
        if let Some((name, _)) = superseded(&card)
            && let Some(claims) = self.superseding.get_mut(&name)
        {
            claims.retain(|(_, other)| *other != doc);
            if claims.is_empty() {
                self.superseding.remove(&name);
            }
        }
        for tag in &card.tags {
            self.tags.remove(tag, doc);
        }
        self.classes.remove(&ComponentFacts::of(&card), doc);
        self.kinds.remove(&card.kind, doc);
        self.lifecycles.remove(&card.lifecycle, doc);
        self.licenses.remove(&card.license, doc);
        self.namespaces.remove(card.name.namespace(), doc);
        for (standard, requirements) in card.compliance {
            self.standards.remove(&standard, doc);
            for requirement in requirements {
                self.requirements.remove(&(standard.clone(), requirement), doc);
            }
        }
        self.names.remove(&(card.name.clone(), card.version));
        let last = self.versions(&card.name).next().is_none();
        self.components -= usize::from(last);
        self.reorder(&card.name);
        true
    }

    /// Moves a version along its life; one that is not here any more is passed over.
    pub(crate) fn move_to(&mut self, doc: DocId, lifecycle: Lifecycle) {
        let Some(known) = self.known.get_mut(&doc) else { return };
        let before = std::mem::replace(&mut known.card.lifecycle, lifecycle);
        self.lifecycles.remove(&before, doc);
        self.lifecycles.insert(lifecycle, doc);
        self.settle(doc);
    }

    /// A trust root is in force: versions that are written count as not certified until they are judged.
    pub(crate) fn put_under_trust_root(&mut self) {
        self.under_trust_root = true;
    }

    /// Keeps whether a version is certified; one that is not here any more is passed over.
    pub(crate) fn set_certified(&mut self, doc: DocId, certified: Certified) {
        let Some(known) = self.known.get_mut(&doc) else { return };
        let changes_at = certified.changes_at;
        let before = known.certified.replace(certified);
        self.forget_deadline(doc, before.as_ref());
        self.deadlines.extend(changes_at.map(|at| (at, doc)));
        self.settle(doc);
    }

    /// The next instant at which some version's standing changes by the clock.
    pub(crate) fn next_change(&self) -> Option<jiff::Timestamp> {
        self.deadlines.first().map(|&(at, _)| at)
    }

    /// Versions whose standing has changed by the clock.
    pub(crate) fn due(&self, now: jiff::Timestamp) -> Vec<DocId> {
        self.deadlines.iter().take_while(|&&(at, _)| at <= now).map(|&(_, doc)| doc).collect()
    }

    /// Certified versions that will not be any more at `until`, by the clock alone.
    pub(crate) fn expiring(&self, until: jiff::Timestamp) -> usize {
        let is_certified = |doc: &DocId| self.known(*doc).is_some_and(Known::may_answer);
        self.deadlines.iter().take_while(|&&(at, _)| at <= until).filter(|(_, doc)| is_certified(doc)).count()
    }

    fn forget_deadline(&mut self, doc: DocId, certified: Option<&Certified>) {
        if let Some(at) = certified.and_then(|certified| certified.changes_at) {
            self.deadlines.remove(&(at, doc));
        }
    }

    /// Puts a version among those that may answer, or takes it out.
    fn settle(&mut self, doc: DocId) {
        let Some(known) = self.known.get(&doc) else { return };
        let name = known.card.name.clone();
        if known.may_answer() {
            self.matchable.insert(doc);
            if !known.card.version.pre.is_empty() {
                self.prereleases.insert(doc);
            }
            if known.clues.second_stage.is_none() {
                self.without_second_stage.insert(doc);
            }
        } else {
            self.leave_answers(doc);
        }
        self.reorder(&name);
    }

    fn leave_answers(&mut self, doc: DocId) {
        for set in [
            &mut self.matchable,
            &mut self.overtaken,
            &mut self.contested,
            &mut self.prereleases,
            &mut self.without_second_stage,
        ] {
            set.remove(doc);
        }
    }

    fn unlabel(&mut self, doc: DocId, place: Option<u32>) {
        if let Some(place) = place {
            self.labelled[place as usize].retain(|other| *other != doc);
        }
    }

    /// Puts a ranker into force: which versions its labels speak of is looked up once, not at every match.
    pub(crate) fn set_ranker(&mut self, ranker: Arc<Ranker>) {
        let labels = ranker.labels.as_ref();
        self.labelled = vec![Vec::new(); labels.map_or(0, |labels| labels.names().count())];
        for doc in self.all.iter() {
            let Some(known) = self.known.get_mut(&doc) else { continue };
            known.place = labels.and_then(|labels| labels.place(&known.card.name.to_string()));
            if let Some(place) = known.place {
                self.labelled[place as usize].push(doc);
            }
        }
        self.ranker = ranker;
    }

    /// The ranker in force.
    pub(crate) fn ranker(&self) -> &Arc<Ranker> {
        &self.ranker
    }

    /// Versions of the component at a place among those that the ranker in force has labels of.
    pub(crate) fn labelled(&self, place: u32) -> &[DocId] {
        self.labelled.get(place as usize).map_or(&[], Vec::as_slice)
    }

    /// Marks which matchable versions of a component do not answer without being asked for.
    fn reorder(&mut self, name: &ComponentName) {
        let docs: Vec<DocId> =
            self.versions(name).map(|(_, doc)| doc).filter(|&doc| self.matchable.contains(doc)).collect();
        let releases = docs.iter().copied().filter(|&doc| !self.prereleases.contains(doc));
        let answering = releases.max_by_key(|&doc| self.standing(doc));
        for &doc in &docs {
            if Some(doc) == answering {
                self.overtaken.remove(doc);
            } else {
                self.overtaken.insert(doc);
            }
            if docs.len() > 1 {
                self.contested.insert(doc);
            } else {
                self.contested.remove(doc);
            }
        }
    }

    /// Which of several versions of a component answers is the greatest of these: certified before deprecated, then the
    /// newest.
    fn standing(&self, doc: DocId) -> Option<(bool, &Version)> {
        self.card(doc).map(|card| (card.lifecycle == Lifecycle::Certified, &card.version))
    }

    /// `namespace/name@version` of what may answer and says that it supersedes a version: the greatest by name and version.
    /// `seen`: what the one who asks may see; `None`: everything.
    pub(crate) fn superseded_by(&self, doc: DocId, seen: Option<&DocSet>) -> Option<String> {
        let card = self.card(doc)?;
        let claims = self.superseding.get(&card.name)?.iter();
        let holding = claims.filter(|(last, successor)| {
            let covers = last.as_ref().is_none_or(|last| card.version.cmp_precedence(last).is_le());
            let seen = seen.is_none_or(|seen| seen.contains(*successor));
            covers && seen && *successor != doc && self.matchable.contains(*successor)
        });
        let successors = holding.filter_map(|&(_, successor)| self.card(successor));
        // A component that supersedes itself does so by its newer versions.
        let successors = successors.filter(|other| other.name != card.name || other.version > card.version);
        let best =
            successors.max_by_key(|other| (other.lifecycle == Lifecycle::Certified, &other.name, &other.version))?;
        Some(format!("{}@{}", best.name, best.version))
    }

    /// Versions of other components that say that they supersede one.
    pub(crate) fn superseding(&self, name: &ComponentName) -> Vec<DocId> {
        let claims = self.superseding.get(name).into_iter().flatten().map(|&(_, successor)| successor);
        claims.filter(|successor| self.card(*successor).is_some_and(|card| card.name != *name)).collect()
    }

    /// Versions of a component, oldest first.
    pub(crate) fn versions(&self, name: &ComponentName) -> impl Iterator<Item = (&Version, DocId)> {
        let first = (name.clone(), oldest());
        self.names
            .range(first..)
            .take_while(move |((other, _), _)| other == name)
            .map(|((_, version), &doc)| (version, doc))
    }

    /// The document of one version.
    pub(crate) fn find(&self, name: &ComponentName, version: &Version) -> Option<DocId> {
        self.names.get(&(name.clone(), version.clone())).copied()
    }

    /// What is known of a document.
    pub(crate) fn known(&self, doc: DocId) -> Option<&Known> {
        self.known.get(&doc)
    }

    /// The card of a document.
    pub(crate) fn card(&self, doc: DocId) -> Option<&Card> {
        self.known(doc).map(|known| &known.card)
    }

    /// The words and counter-examples of a document.
    pub(crate) fn clues(&self, doc: DocId) -> Option<&Clues> {
        self.known(doc).map(|known| &known.clues)
    }

    /// Keeps a version's vector by the second stage's model; one that is not here any more is passed over.
    pub(crate) fn set_second_stage(&mut self, doc: DocId, centroid: Box<[f32]>) {
        if let Some(known) = self.known.get_mut(&doc) {
            known.clues.second_stage = Some(centroid);
            self.without_second_stage.remove(doc);
        }
    }

    /// Versions that may answer and have no vector of the second stage's model.
    pub(crate) fn without_second_stage(&self) -> &DocSet {
        &self.without_second_stage
    }

    /// Document frequencies of the words of all versions.
    pub(crate) fn statistics(&self) -> &TextStatistics {
        &self.statistics
    }

    /// Components of which there is a version.
    pub(crate) fn components(&self) -> usize {
        self.components
    }

    /// Every version.
    pub(crate) fn all(&self) -> &DocSet {
        &self.all
    }

    /// Versions that may answer a match: certified and deprecated ones.
    pub(crate) fn matchable(&self) -> &DocSet {
        &self.matchable
    }

    /// Versions after a place in the order of name and semantic version.
    pub(crate) fn after<'a>(
        &'a self,
        place: Option<&(ComponentName, Version)>,
    ) -> impl Iterator<Item = (&'a (ComponentName, Version), DocId)> {
        let start = place.map_or(Bound::Unbounded, Bound::Excluded);
        self.names.range::<(ComponentName, Version), _>((start, Bound::Unbounded)).map(|(key, &doc)| (key, doc))
    }

    /// What a viewer may see; `None`: everything.
    pub(crate) fn seen_by(&self, viewer: &Viewer) -> Option<Arc<DocSet>> {
        viewer.permit.as_deref().map(|permit| self.classes.permitted(permit))
    }

    /// What may answer a match: seen, matchable, within the filter, and of each component only the newest version of those.
    ///
    /// `seen`: what the one who asks may see, `None`: everything; the rest is counted nowhere.
    /// `stages` receives what each step took out, when it is given.
    pub(crate) fn allowed(
        &self,
        filter: Option<&Filter>,
        seen: Option<&DocSet>,
        mut stages: Option<&mut Vec<FilterStage>>,
    ) -> DocSet {
        let mut note = |name: String, before: usize, after: usize| {
            if let Some(stages) = &mut stages {
                stages.push(FilterStage { name, excluded: before - after, remaining: after });
            }
        };
        let (mut allowed, all) = match seen {
            None => (self.matchable.clone(), self.all.len()),
            Some(seen) => (self.matchable.and(seen), seen.len()),
        };
        note("catalogue".into(), all, all);
        note("certified".into(), all, allowed.len());
        if filter.is_none() && seen.is_none() {
            let newest = allowed.and_not(&self.overtaken);
            note("newest version".into(), allowed.len(), newest.len());
            return newest;
        }
        for condition in filter.map(conjuncts).unwrap_or_default() {
            let before = allowed.len();
            allowed.intersect(&self.select(condition));
            note(condition.to_string(), before, allowed.len());
        }
        let before = allowed.len();
        self.keep_asked_prereleases(filter, &mut allowed);
        self.keep_newest(&mut allowed);
        note("newest version".into(), before, allowed.len());
        allowed
    }

    /// Takes out pre-releases that no version condition of the filter names.
    fn keep_asked_prereleases(&self, filter: Option<&Filter>, allowed: &mut DocSet) {
        let present = allowed.and(&self.prereleases);
        if present.is_empty() {
            return;
        }
        let mut asked = DocSet::new();
        let conditions = filter.map(version_conditions).unwrap_or_default();
        for condition in conditions.into_iter().filter(|condition| names_prerelease(condition)) {
            asked = asked.or(&self.select(condition));
        }
        for doc in present.and_not(&asked).iter() {
            allowed.remove(doc);
        }
    }

    /// Leaves of each component the version that answers.
    fn keep_newest(&self, allowed: &mut DocSet) {
        let mut best: BTreeMap<&ComponentName, DocId> = BTreeMap::new();
        // Only components with several versions that may answer can have more than one here.
        for doc in allowed.and(&self.contested).iter() {
            let Some(card) = self.card(doc) else { continue };
            let place = best.entry(&card.name).or_insert(doc);
            let behind = if self.standing(*place) < self.standing(doc) { std::mem::replace(place, doc) } else { doc };
            if behind != *place {
                allowed.remove(behind);
            }
        }
    }

    /// The versions that a filter holds for.
    pub(crate) fn select(&self, filter: &Filter) -> DocSet {
        match filter {
            Filter::And(filters) => filters
                .iter()
                .fold(self.all.clone(), |set, filter| if set.is_empty() { set } else { set.and(&self.select(filter)) }),
            Filter::Or(filters) => filters.iter().fold(DocSet::new(), |set, filter| set.or(&self.select(filter))),
            Filter::Not(filter) => self.all.and_not(&self.select(filter)),
            Filter::Tag(tag) => self.tags.get(tag.as_str()),
            Filter::Kind(kind) => self.kinds.get(kind),
            Filter::Lifecycle(lifecycle) => self.lifecycles.get(lifecycle),
            Filter::Compliance { standard, requirement: None } => self.standards.get(standard),
            Filter::Compliance { standard, requirement: Some(requirement) } => {
                self.requirements.get(&(standard.clone(), requirement.clone()))
            }
            // Expressions are few; each is asked whether it names the licence.
            Filter::License(id) => self
                .licenses
                .0
                .iter()
                .filter(|(expression, _)| expression.parse::<License>().is_ok_and(|license| license.names(id)))
                .fold(DocSet::new(), |set, (_, docs)| set.or(docs)),
            Filter::Namespace(namespace) => self.namespaces.get(namespace.as_str()),
            Filter::Name(name) => self.versions(name).map(|(_, doc)| doc).collect(),
            Filter::MinimumVersion(minimum) => {
                let late = |version: &Version| version.cmp_precedence(minimum).is_ge();
                self.names.iter().filter(|((_, version), _)| late(version)).map(|(_, &doc)| doc).collect()
            }
            Filter::VersionRange(range) => {
                self.names.iter().filter(|((_, version), _)| range.matches(version)).map(|(_, &doc)| doc).collect()
            }
        }
    }
}

/// The conditions that must all hold.
fn conjuncts(filter: &Filter) -> &[Filter] {
    match filter {
        Filter::And(all) => all,
        one => std::slice::from_ref(one),
    }
}

/// Every condition on the version, wherever it stands in the filter.
fn version_conditions(filter: &Filter) -> Vec<&Filter> {
    match filter {
        Filter::And(filters) | Filter::Or(filters) => filters.iter().flat_map(version_conditions).collect(),
        Filter::Not(filter) => version_conditions(filter),
        Filter::MinimumVersion(_) | Filter::VersionRange(_) => vec![filter],
        Filter::Tag(_)
        | Filter::Kind(_)
        | Filter::Lifecycle(_)
        | Filter::Compliance { .. }
        | Filter::License(_)
        | Filter::Namespace(_)
        | Filter::Name(_) => Vec::new(),
    }
}

/// Whether a condition on the version names a pre-release.
fn names_prerelease(condition: &Filter) -> bool {
    match condition {
        Filter::MinimumVersion(version) => !version.pre.is_empty(),
        Filter::VersionRange(range) => range.comparators.iter().any(|bound| !bound.pre.is_empty()),
        _ => false,
    }
}

/// What a version says that it supersedes: a component, up to a version.
fn superseded(card: &Card) -> Option<(ComponentName, Option<Version>)> {
    let text = card.supersedes.as_deref().filter(|text| !text.is_empty())?;
    let (name, version) = text.split_once('@').map_or((text, None), |(name, version)| (name, Some(version)));
    // A manifest that was written is well-formed; a record that is not claims nothing.
    Some((name.parse().ok()?, version.map(Version::parse).transpose().ok()?))
}

/// Whether versions at this point of their life may answer a match.
fn matchable(lifecycle: Lifecycle) -> bool {
    match lifecycle {
        Lifecycle::Certified | Lifecycle::Deprecated => true,
        Lifecycle::Draft | Lifecycle::Candidate | Lifecycle::Revoked => false,
    }
}

/// A version that none comes before.
fn oldest() -> Version {
    Version { pre: semver::Prerelease::new("0").unwrap_or(semver::Prerelease::EMPTY), ..Version::new(0, 0, 0) }
}

/// Documents by key.
#[derive(Debug)]
struct Postings<K>(BTreeMap<K, DocSet>);

impl<K> Default for Postings<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord> Postings<K> {
    fn insert(&mut self, key: K, doc: DocId) {
        self.0.entry(key).or_default().insert(doc);
    }

    fn remove<Q>(&mut self, key: &Q, doc: DocId)
    where
        K: std::borrow::Borrow<Q>,
        Q: Ord + ?Sized,
    {
        if let Some(set) = self.0.get_mut(key) {
            set.remove(doc);
            if set.is_empty() {
                self.0.remove(key);
            }
        }
    }

    fn get<Q>(&self, key: &Q) -> DocSet
    where
        K: std::borrow::Borrow<Q>,
        Q: Ord + ?Sized,
    {
        self.0.get(key).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use fitment_catalog::{Format, Manifest};
    use proptest::prelude::*;

    use super::*;

    const TAGS: [&str; 3] = ["a", "b", "c"];
    const KINDS: [&str; 3] = ["ui", "service", "data"];
    const LIFECYCLES: [&str; 5] = ["draft", "candidate", "certified", "deprecated", "revoked"];
    const LICENSES: [&str; 3] = ["MIT", "Apache-2.0", "Apache-2.0 OR MIT"];
    const VERSIONS: [&str; 4] = ["0.9.0", "1.0.0-rc.1", "1.0.0", "2.1.0"];
    const NAMES: [&str; 4] = ["x/one", "x/two", "y/one", "y/three"];

    prop_compose! {
        fn manifest()(
            name in 0..NAMES.len(), version in 0..VERSIONS.len(), kind in 0..KINDS.len(), license in 0..LICENSES.len(),
            lifecycle in 0..LIFECYCLES.len(), tags in prop::collection::btree_set(0..TAGS.len(), 0..3), covered in any::<bool>(),
        ) -> Manifest {
            let tags: Vec<&str> = tags.into_iter().map(|tag| TAGS[tag]).collect();
            let compliance = if covered { "compliance: { gdpr: [art-32] }\n" } else { "" };
            let text = format!(
                "name: {}\nversion: {}\ntitle: T\nsummary: S\nkind: {}\nlifecycle: {}\nlicense: {}\nowner: o\ntags: [{}]\n{compliance}",
                NAMES[name], VERSIONS[version], KINDS[kind], LIFECYCLES[lifecycle], LICENSES[license], tags.join(", ")
            );
            Manifest::parse("test", text.as_bytes(), Format::Yaml).expect("a valid manifest")
        }
    }

    fn filter() -> impl Strategy<Value = Filter> {
        let leaf = prop_oneof![
            prop::sample::select(&TAGS[..]).prop_map(|tag| format!("tag:{tag}")),
            prop::sample::select(&KINDS[..]).prop_map(|kind| format!("kind:{kind}")),
            prop::sample::select(&LIFECYCLES[..]).prop_map(|lifecycle| format!("lifecycle:{lifecycle}")),
            prop::sample::select(&["MIT", "Apache-2.0", "MPL-2.0"][..]).prop_map(|id| format!("license:{id}")),
            prop::sample::select(&["x", "y", "z"][..]).prop_map(|namespace| format!("namespace:{namespace}")),
            prop::sample::select(&NAMES[..]).prop_map(|name| format!("name:{name}")),
            prop::sample::select(&VERSIONS[..]).prop_map(|version| format!("version>={version}")),
            prop::sample::select(&VERSIONS[..]).prop_map(|version| format!("version:^{version}")),
            prop::sample::select(&["gdpr", "gdpr/art-32", "gdpr/art-5"][..])
                .prop_map(|law| format!("compliance:{law}")),
        ]
        .prop_map(|text| Filter::parse(&text).expect("a valid filter"));
        leaf.prop_recursive(3, 16, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Filter::And),
                prop::collection::vec(inner.clone(), 0..3).prop_map(Filter::Or),
                inner.prop_map(|filter| Filter::Not(Box::new(filter))),
            ]
        })
    }

    proptest! {
        /// Bitmaps agree with asking every manifest, also after removals, and only the newest version answers.
        #[test]
        fn bitmaps_agree_with_the_manifests(
            manifests in prop::collection::vec(manifest(), 1..24), filter in filter(), removed in any::<u32>(),
        ) {
            let mut view = CatalogView::default();
            let mut stored: BTreeMap<(ComponentName, Version), (DocId, Manifest)> = BTreeMap::new();
            for (number, manifest) in (0u32..).zip(manifests) {
                let key = (manifest.name().clone(), manifest.version().clone());
                // A version is written once, as the store sees to it.
                if let std::collections::btree_map::Entry::Vacant(place) = stored.entry(key) {
                    view.insert(DocId(number), Card::of(&manifest, &[], 1), Clues::default());
                    place.insert((DocId(number), manifest));
                }
            }
            stored.retain(|_, (doc, _)| {
                let keep = removed & (1 << doc.0) == 0;
                assert!(keep || view.remove(*doc));
                keep
            });
            let expected: DocSet =
                stored.values().filter(|(_, manifest)| filter.matches(manifest)).map(|(doc, _)| *doc).collect();
            prop_assert_eq!(view.select(&filter), expected);
            let names: std::collections::BTreeSet<_> = stored.keys().map(|(name, _)| name).collect();
            prop_assert_eq!(view.components(), names.len());

            for filter in [None, Some(&filter)] {
                let conditions = filter.map(version_conditions).unwrap_or_default();
                let asked = |manifest: &Manifest| {
                    conditions.iter().any(|condition| names_prerelease(condition) && condition.matches(manifest))
                };
                let mut standing: Vec<_> = stored
                    .values()
                    .filter(|(_, manifest)| matchable(manifest.lifecycle()))
                    .filter(|(_, manifest)| filter.is_none_or(|filter| filter.matches(manifest)))
                    .filter(|(_, manifest)| manifest.version().pre.is_empty() || asked(manifest))
                    .collect();
                standing.sort_by_key(|(_, manifest)| (manifest.lifecycle() == Lifecycle::Certified, manifest.version()));
                // The last one of a name stands.
                let newest: BTreeMap<&ComponentName, DocId> =
                    standing.into_iter().map(|(doc, manifest)| (manifest.name(), *doc)).collect();
                let mut stages = Vec::new();
                let allowed = view.allowed(filter, None, Some(&mut stages));
                prop_assert_eq!(&allowed, &newest.into_values().collect::<DocSet>());
                let excluded: usize = stages.iter().map(|stage| stage.excluded).sum();
                prop_assert_eq!(stored.len() - excluded, allowed.len(), "the stages account for every version");
            }
        }
    }
}
