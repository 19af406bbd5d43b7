//! Approved labels as a data set, and as example intents of new versions.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use fitment_catalog::{ComponentName, Dataset, Digest, LabelledIntent, Manifest};
use fitment_index::DocId;
use semver::Version;
use serde_json::Value;

use super::{Label, LabelState};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::live::Searchable;
use crate::normalize::normalize_text;
use crate::store::StoreReader;

/// Labels that are read in one step of an export.
const STEP: usize = 500;
/// Example intents of a manifest at most.
const MAX_EXAMPLES: usize = 64;
/// Characters of an example intent at most.
const MAX_EXAMPLE_CHARS: usize = 500;
/// How a labelled intent is phrased: as somebody did in use.
const EXAMPLE_TYPE: &str = "feedback";

/// Where an export stands.
#[derive(Clone, Debug, Default)]
pub struct ExportCursor {
    after: String,
    done: bool,
}

/// A manifest with more example intents. It is written nowhere.
#[derive(Clone, Debug)]
pub struct ExampleProposal {
    /// The version that it extends.
    pub base_version: Version,
    /// The new version's manifest.
    pub manifest: Manifest,
    /// The example intents that are new in it.
    pub added: Vec<String>,
    /// Approved intents that found no room, or are no text for a manifest.
    pub left_out: usize,
}

impl Engine {
    /// The next approved labelled intents, some hundreds at a time; `None` once all were given.
    ///
    /// One intent a label or more: the component with the most verdicts has relevance 2, others have 1. Where more
    /// verdicts say that nothing fits, it is out of scope. Components that may not answer now are left out. The split is
    /// `dev` (80 %) or `test` by a hash of the intent, or `example` when it is an example intent of such a component.
    pub fn export_labels(&self, cursor: &mut ExportCursor) -> Result<Option<Vec<LabelledIntent>>, EngineError> {
        if cursor.done {
            return Ok(None);
        }
        let shared = self.shared();
        let reader = shared.store.read()?;
        let mut intents: Vec<Vec<(String, Label)>> = Vec::new();
        let mut read = 0;
        cursor.done = true;
        reader.labels_after(&cursor.after, |id, label| {
            let same = intents.last().is_some_and(|labels| labels[0].1.intent == label.intent);
            if read >= STEP && !same {
                cursor.done = false;
                return Ok(false);
            }
            read += 1;
            let entry = (id.to_owned(), label);
            match intents.last_mut() {
                Some(labels) if same => labels.push(entry),
                _ => intents.push(vec![entry]),
            }
            Ok(true)
        })?;
        if let Some((last, _)) = intents.last().and_then(|labels| labels.last()) {
            last.clone_into(&mut cursor.after);
        }
        let mut newest_docs = BTreeMap::new();
        {
            // The index is held for a moment only: whoever writes waits for it.
            let index = shared.index.searchable();
            for component in intents.iter().flatten().filter_map(|(_, label)| label.component.as_deref()) {
                let name: ComponentName = component.parse()?;
                if let Some(doc) = newest(&index, &name) {
                    newest_docs.insert(name, doc);
                }
            }
        }
        let mut examples = Examples { reader: &reader, newest: newest_docs, known: BTreeMap::new() };
        let mut exported = Vec::with_capacity(intents.len());
        for labels in intents {
            let labels = labels.into_iter().map(|(_, label)| label);
            exported.extend(examples.labelled(labels.collect())?);
        }
        Ok(Some(exported))
    }

    /// The approved labelled intents of components that may answer now, all in the split `feedback`, but for example
    /// intents, which are in `example`. Blocks.
    pub fn labelled_intents(&self) -> Result<Dataset, EngineError> {
        let mut dataset = Dataset { components: Vec::new(), ids: BTreeMap::new(), intents: Vec::new() };
        let mut cursor = ExportCursor::default();
        while let Some(mut intents) = self.export_labels(&mut cursor)? {
            for intent in intents.iter_mut().filter(|intent| intent.split != "example") {
                "feedback".clone_into(&mut intent.split);
            }
            dataset.intents.append(&mut intents);
        }
        Ok(dataset)
    }

    /// Approved intents of the split `dev` that could become example intents, heaviest first, by component. Blocks.
    ///
    /// Those of the split `test` stay out, so that there is something left to measure on that was not taught.
    pub fn example_candidates(&self) -> Result<BTreeMap<ComponentName, Vec<String>>, EngineError> {
        let mut candidates: BTreeMap<ComponentName, Vec<String>> = BTreeMap::new();
        let mut cursor = ExportCursor::default();
        while let Some(intents) = self.export_labels(&mut cursor)? {
            for intent in intents.into_iter().filter(|intent| intent.split == "dev") {
                if let Some(name) = expected(&intent) {
                    candidates.entry(name.clone()).or_default().push(intent.text);
                }
            }
        }
        Ok(candidates)
    }

    /// A manifest of the next patch version of a component's newest version that may answer, with these example intents
    /// added as far as there is room. `None` when nothing could be added or no version may answer. Blocks.
    pub fn propose_examples(
        &self,
        name: &ComponentName,
        intents: &[String],
    ) -> Result<Option<ExampleProposal>, EngineError> {
        let shared = self.shared();
        let reader = shared.store.read()?;
        let doc = newest(&shared.index.searchable(), name);
        let Some(base) = doc.map(|doc| reader.manifest(doc)).transpose()?.flatten() else { return Ok(None) };
        let base = Manifest::from_canonical_json(&name.to_string(), &base)?;
        let version = next_patch(&reader, &base)?;
        let room = MAX_EXAMPLES.saturating_sub(base.example_intents().len());
        let (mut added, mut left_out): (Vec<&String>, Vec<&String>) =
            intents.iter().partition(|intent| intent.chars().count() <= MAX_EXAMPLE_CHARS);
        left_out.extend(added.drain(room.min(added.len())..));
        let mut manifest = extended(&base, &version, &added);
        if manifest.is_err() {
            // One of them is no text that a manifest may hold: each has to stand by itself.
            let (fit, unfit): (Vec<_>, Vec<_>) =
                added.into_iter().partition(|intent| extended(&base, &version, &[intent]).is_ok());
            added = fit;
            left_out.extend(unfit);
            manifest = extended(&base, &version, &added);
        }
        if added.is_empty() {
            return Ok(None);
        }
        Ok(Some(ExampleProposal {
            base_version: base.version().clone(),
            manifest: manifest?,
            added: added.into_iter().cloned().collect(),
            left_out: left_out.len(),
        }))
    }
}

/// The first patch version after a manifest's that was never taken.
fn next_patch(reader: &StoreReader, base: &Manifest) -> Result<Version, EngineError> {
    let mut version = Version::new(base.version().major, base.version().minor, base.version().patch);
    loop {
        version.patch = version
            .patch
            .checked_add(1)
            .ok_or_else(|| EngineError::Internal(format!("{base} is the last patch version there can be")))?;
        if !reader.is_taken(&base.name().to_string(), &version.to_string())? {
            return Ok(version);
        }
    }
}

fn extended(base: &Manifest, version: &Version, added: &[&String]) -> Result<Manifest, EngineError> {
    let mut value = base.to_value();
    let examples = base.example_intents().iter().chain(added.iter().copied()).cloned().map(Value::String).collect();
    value["version"] = version.to_string().into();
    value["example_intents"] = Value::Array(examples);
    Ok(Manifest::from_value(&format!("{}@{version}", base.name()), &value)?)
}

fn newest(index: &Searchable, name: &ComponentName) -> Option<DocId> {
    index.view.versions(name).filter(|(_, doc)| index.view.matchable().contains(*doc)).last().map(|(_, doc)| doc)
}

/// The component of relevance 2.
fn expected(intent: &LabelledIntent) -> Option<&ComponentName> {
    intent.judgements.iter().find(|&(_, &relevance)| relevance == 2).map(|(name, _)| name)
}

/// Example intents of the components that may answer, read as they are needed.
struct Examples<'a> {
    reader: &'a StoreReader,
    newest: BTreeMap<ComponentName, DocId>,
    /// `None`: no version may answer.
    known: BTreeMap<ComponentName, Option<Vec<String>>>,
}

impl Examples<'_> {
    fn of(&mut self, name: &ComponentName) -> Result<Option<&[String]>, EngineError> {
        if !self.known.contains_key(name) {
            let version = self.newest.get(name).map(|&doc| self.reader.version(doc)).transpose()?.flatten();
            let examples = version.map(|version| {
                let examples = version.facets.into_iter().filter(|facet| facet.kind.starts_with("example-intent"));
                examples.map(|facet| normalize_text(&facet.text)).collect()
            });
            self.known.insert(name.clone(), examples);
        }
        Ok(self.known.get(name).and_then(Option::as_deref))
    }

    /// What the labels of one intent say together.
    fn labelled(&mut self, labels: Vec<Label>) -> Result<Option<LabelledIntent>, EngineError> {
        let mut nothing: Option<Label> = None;
        let mut components = Vec::new();
        let mut taught = false;
        for label in labels.into_iter().filter(|label| label.state == LabelState::Approved) {
            let Some(component) = &label.component else {
                nothing = Some(label);
                continue;
            };
            let name: ComponentName = component.parse()?;
            if let Some(examples) = self.of(&name)? {
                taught |= examples.contains(&label.intent);
                components.push((name, label));
            }
        }
        Ok(merge(nothing, components, taught))
    }
}

/// One labelled intent of the approved labels that speak of it.
fn merge(nothing: Option<Label>, mut components: Vec<(ComponentName, Label)>, taught: bool) -> Option<LabelledIntent> {
    components.sort_by(|(a, x), (b, y)| (Reverse(x.count), a).cmp(&(Reverse(y.count), b)));
    let out_of_scope = nothing
        .as_ref()
        .is_some_and(|nothing| components.first().is_none_or(|(_, heaviest)| nothing.count > heaviest.count));
    if out_of_scope {
        components.clear();
    }
    let leading = if out_of_scope { nothing? } else { components.first()?.1.clone() };
    let relevance = [2].into_iter().chain(std::iter::repeat(1));
    let id = Digest::of(leading.intent.as_bytes()).to_string();
    let id = id.rsplit(':').next().unwrap_or_default();
    let basis = if leading.reviewed { "approved by an operator" } else { "approved by the gate" };
    let note = if leading.note.is_empty() { String::new() } else { format!("; {}", leading.note) };
    Some(LabelledIntent {
        split: if taught && !out_of_scope { "example" } else { split_of(id) }.to_owned(),
        id: id[..16].to_owned(),
        text: leading.intent,
        example_type: Some(EXAMPLE_TYPE.to_owned()),
        judgements: components.into_iter().map(|(name, _)| name).zip(relevance).collect(),
        candidates: None,
        outcome: None,
        rationale: Some(format!("{} verdicts, {basis}{note}", leading.count)),
        out_of_scope_kind: None,
        names_component: None,
        unseen_component: None,
    })
}

/// `test` for one digest in five, else `dev`: the same for the same intent, whatever else is exported.
fn split_of(digest: &str) -> &'static str {
    let number = u32::from_str_radix(&digest[..8], 16).unwrap_or_default();
    if number.is_multiple_of(5) { "test" } else { "dev" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(component: Option<&str>, count: u64) -> Label {
        Label {
            intent: "take a payment".into(),
            component: component.map(str::to_owned),
            state: LabelState::Approved,
            count,
            decision_ids: Vec::new(),
            reviewed: true,
            note: String::new(),
            create_time: jiff::Timestamp::UNIX_EPOCH,
            update_time: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    fn component(name: &str, count: u64) -> (ComponentName, Label) {
        (name.parse().expect("a name"), label(Some(name), count))
    }

    #[track_caller]
    fn check(nothing: u64, components: &[(&str, u64)], expect: Option<&[(&str, u32)]>) {
        let nothing = (nothing > 0).then(|| label(None, nothing));
        let components = components.iter().map(|(name, count)| component(name, *count)).collect();
        let merged = merge(nothing, components, false);
        let judged = merged.as_ref().map(|intent| {
            intent.judgements.iter().map(|(name, relevance)| (name.to_string(), *relevance)).collect::<Vec<_>>()
        });
        let expect = expect.map(|some| some.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect::<Vec<_>>());
        assert_eq!(judged, expect);
    }

    #[test]
    fn the_heaviest_label_is_expected_and_others_are_alternates() {
        check(0, &[("a/a", 1), ("b/b", 3)], Some(&[("a/a", 1), ("b/b", 2)]));
        check(0, &[("b/b", 2), ("a/a", 2)], Some(&[("a/a", 2), ("b/b", 1)]));
        check(3, &[("a/a", 2)], Some(&[]));
        check(2, &[("a/a", 2)], Some(&[("a/a", 2)]));
        check(1, &[], Some(&[]));
        check(0, &[], None);
    }

    #[test]
    fn splits_are_steady_and_about_one_to_four() {
        let split = |n: u32| split_of(&Digest::of(format!("intent {n}").as_bytes()).to_string()["sha256:".len()..]);
        let tests = (0..2000).filter(|&n| split(n) == "test").count();
        assert!((340..460).contains(&tests), "{tests} of 2000");
        assert_eq!(split(7), split(7));
    }

    #[test]
    fn a_taught_intent_is_measured_on_by_nobody() {
        let merged = merge(None, vec![component("a/a", 1)], true).expect("an intent");
        assert_eq!(merged.split, "example");
    }
}
