//! The BEIR form of labelled intents: `corpus.jsonl`, `queries.jsonl` and one `qrels/SPLIT.tsv` a split.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Dataset, File, LabelledIntent, invalid, record};
use crate::document::utf8;
use crate::error::shorten;
use crate::{CatalogError, ComponentName, Manifest};

/// The files of a BEIR folder. A query belongs to the split that its `metadata.split` names or whose judgements speak
/// of it; queries of splits that are not given here are left out. A query of a given split without judgements is out of
/// scope; one that names no split and that no file judges is so in every split. `metadata.candidates` restricts the components that a query chooses from.
#[derive(Debug, Clone)]
pub struct BeirFolder<'b> {
    /// `corpus.jsonl`: one component a line (`_id`, `title`, `text`, `metadata`).
    pub corpus: File<'b>,
    /// `queries.jsonl`: one intent a line (`_id`, `text`, `metadata`).
    pub queries: File<'b>,
    /// Split to `qrels/SPLIT.tsv`: a header, then query id, component id and relevance from 0, tabs between.
    pub qrels: BTreeMap<String, File<'b>>,
}

/// A line of `corpus.jsonl` or `queries.jsonl`. Both are formats of others, so keys that nobody asked for are let be.
#[derive(Deserialize)]
struct Line {
    #[serde(rename = "_id")]
    id: String,
    #[serde(default)]
    title: String,
    text: String,
    #[serde(default)]
    metadata: Map<String, Value>,
}

/// Component id to name.
type Names = HashMap<String, ComponentName>;
/// Query id to the first line that judges it and its judgements in one split.
type Judgements = HashMap<String, (usize, BTreeMap<ComponentName, u32>)>;

pub(super) fn read(folder: &BeirFolder<'_>) -> Result<Dataset, CatalogError> {
    let (components, names) = components(folder.corpus)?;
    let mut judged = BTreeMap::new();
    for (split, file) in &folder.qrels {
        judged.insert(split.as_str(), judgements(*file, &names)?);
    }
    let intents = intents(folder, &names, judged)?;
    let ids = names.into_iter().map(|(id, name)| (name, id)).collect();
    Ok(Dataset { components, ids, intents })
}

/// The lines of a JSON Lines file that are not blank, numbered from 1.
fn lines(file: File<'_>) -> Result<Vec<(usize, Line)>, CatalogError> {
    let mut ids = HashSet::new();
    let mut lines = Vec::new();
    for (i, text) in utf8(file.name, file.bytes)?.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
        let line: Line =
            serde_json::from_str(text).map_err(|error| invalid(file.name, i + 1, format!("not a record: {error}")))?;
        if !ids.insert(line.id.clone()) {
            return Err(invalid(file.name, i + 1, format!("`_id` `{}` is there twice; keep one", shorten(&line.id))));
        }
        lines.push((i + 1, line));
    }
    Ok(lines)
}

fn components(file: File<'_>) -> Result<(Vec<Manifest>, Names), CatalogError> {
    let (mut components, mut names, mut taken) = (Vec::new(), Names::new(), HashSet::new());
    for (number, Line { id, title, text, metadata }) in lines(file)? {
        let manifest = record::manifest_from_record(&id, &title, &text, &metadata)
            .map_err(|error| invalid(file.name, number, error.to_string()))?;
        if !taken.insert(manifest.name().clone()) {
            return Err(invalid(
                file.name,
                number,
                format!("`_id` `{}` maps to the same name as another: {}", shorten(&id), manifest.name()),
            ));
        }
        names.insert(id, manifest.name().clone());
        components.push(manifest);
    }
    Ok((components, names))
}

fn judgements(file: File<'_>, names: &Names) -> Result<Judgements, CatalogError> {
    let mut judged = Judgements::new();
    for (i, line) in utf8(file.name, file.bytes)?.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let fault = |description: String| invalid(file.name, i + 1, description);
        let cells: Vec<&str> = line.split('\t').map(str::trim).collect();
        let [query, component, score] = cells[..] else {
            return Err(fault(format!(
                "has {} columns; write query id, component id and score with tabs between",
                cells.len()
            )));
        };
        if i == 0 && score.parse::<f64>().is_err() {
            continue;
        }
        let score: u32 = score
            .parse()
            .map_err(|error| fault(format!("score `{}` is not a whole number from 0: {error}", shorten(score))))?;
        let name = names
            .get(component)
            .ok_or_else(|| fault(format!("component `{}` is not in the corpus", shorten(component))))?;
        let (_, of_query) = judged.entry(query.to_owned()).or_insert_with(|| (i + 1, BTreeMap::new()));
        if of_query.contains_key(name) {
            return Err(fault(format!("`{}` is judged twice for `{}`; keep one", shorten(component), shorten(query))));
        }
        // Zero is a judgement too: looked at and found not to fit.
        of_query.insert(name.clone(), score);
    }
    Ok(judged)
}

fn intents(
    folder: &BeirFolder<'_>,
    names: &Names,
    mut judged: BTreeMap<&str, Judgements>,
) -> Result<Vec<LabelledIntent>, CatalogError> {
    let file = folder.queries;
    let mut intents = Vec::new();
    for (number, line) in lines(file)? {
        let fault = |description: String| invalid(file.name, number, description);
        if line.text.trim().is_empty() {
            return Err(fault("`text` is blank; write the intent or remove the line".to_owned()));
        }
        let candidates = candidates(&line.metadata, names).map_err(fault)?;
        let own_split = line.metadata.get("split").and_then(Value::as_str);
        if let Some(split) = own_split {
            let elsewhere = judged.iter().find(|(other, of_split)| **other != split && of_split.contains_key(&line.id));
            if let Some((other, _)) = elsewhere {
                return Err(fault(format!(
                    "query `{}` is of split `{split}` but judged in `{other}`",
                    shorten(&line.id)
                )));
            }
        }
        let judged_in: Vec<&str> =
            judged.iter().filter(|(_, of_split)| of_split.contains_key(&line.id)).map(|(split, _)| *split).collect();
        let splits: Vec<&str> = match own_split {
            Some(split) => judged.keys().copied().filter(|given| *given == split).collect(),
            // Nobody judged it and it names no split: out of scope of every one.
            None if judged_in.is_empty() => judged.keys().copied().collect(),
            None => judged_in,
        };
        let text = |key: &str| line.metadata.get(key).and_then(Value::as_str).map(str::to_owned);
        let flag = |key: &str| line.metadata.get(key).and_then(Value::as_bool);
        for split in splits {
            let of_query = judged.get_mut(split).and_then(|of_split| of_split.remove(&line.id));
            let mut judgements = of_query.map(|(_, judgements)| judgements).unwrap_or_default();
            judgements.retain(|_, relevance| *relevance > 0);
            if !judgements.is_empty() && line.metadata.get("out_of_scope") == Some(&Value::Bool(true)) {
                return Err(fault(format!("query `{}` is marked out of scope but has judgements", shorten(&line.id))));
            }
            intents.push(LabelledIntent {
                id: line.id.clone(),
                text: line.text.clone(),
                split: split.to_owned(),
                example_type: text("source"),
                judgements,
                candidates: candidates.clone(),
                outcome: None,
                rationale: None,
                out_of_scope_kind: text("oos_kind"),
                names_component: flag("names_component"),
                unseen_component: flag("unseen_component"),
            });
        }
    }
    // What is left speaks of queries that are not there.
    for (split, of_split) in judged {
        let first = of_split.into_iter().map(|(query, (number, _))| (number, query)).min();
        if let (Some((number, query)), Some(file)) = (first, folder.qrels.get(split)) {
            return Err(invalid(
                file.name,
                number,
                format!("judges query `{}`, which is not in {}", shorten(&query), folder.queries.name),
            ));
        }
    }
    Ok(intents)
}

fn candidates(metadata: &Map<String, Value>, names: &Names) -> Result<Option<Vec<ComponentName>>, String> {
    let Some(listed) = metadata.get("candidates") else { return Ok(None) };
    let listed = listed.as_array().ok_or("`metadata.candidates` is not a list of component ids")?;
    let name = |id: &Value| {
        let id = id.as_str().ok_or("`metadata.candidates` is not a list of component ids")?;
        names.get(id).cloned().ok_or_else(|| format!("candidate `{}` is not in the corpus", shorten(id)))
    };
    listed.iter().map(name).collect::<Result<_, String>>().map(Some)
}
