//! The CSV form of labelled intents.

use std::collections::{BTreeMap, HashSet};

use csv::{ReaderBuilder, StringRecord, Trim};

use super::{Dataset, ExpectedOutcome, File, LabelledIntent, invalid};
use crate::document::utf8;
use crate::error::shorten;
use crate::{CatalogError, ComponentName, Digest};

const REQUIRED: [&str; 6] = ["split", "example_type", "intent", "expected", "alternates", "rationale"];
const OPTIONAL: [&str; 1] = ["outcome"];

pub(super) fn read(file: File<'_>) -> Result<Dataset, CatalogError> {
    let text = utf8(file.name, file.bytes)?;
    let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(text.as_bytes());
    let header = reader.headers().map_err(|error| fault(file, &error))?;
    let columns = columns(file, header)?;
    let mut intents = Vec::new();
    let mut seen = HashSet::new();
    for record in reader.records() {
        let record = record.map_err(|error| fault(file, &error))?;
        let line = record.position().map_or(0, |position| usize::try_from(position.line()).unwrap_or(usize::MAX));
        let intent = intent(&record, &columns).map_err(|description| invalid(file.name, line, description))?;
        if !seen.insert(intent.text.clone()) {
            return Err(invalid(
                file.name,
                line,
                format!("the intent `{}` is there twice; keep one", shorten(&intent.text)),
            ));
        }
        intents.push(intent);
    }
    Ok(Dataset { components: Vec::new(), ids: BTreeMap::new(), intents })
}

pub(super) fn write(dataset: &Dataset) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    // Writing to memory fails only for records of unequal length, and these have seven columns each.
    let mut line = |cells: [&str; 7]| writer.write_record(cells).expect("a line in memory can be written");
    line(["split", "example_type", "intent", "expected", "alternates", "rationale", "outcome"]);
    for LabelledIntent { id: _, text, split, example_type, judgements, candidates: _, outcome, rationale, .. } in
        &dataset.intents
    {
        // The first of the greatest relevance, as ties are broken by name.
        let best = judgements.iter().rev().max_by_key(|&(_, relevance)| relevance).map(|(name, _)| name);
        let alternates: Vec<String> =
            judgements.keys().filter(|&name| Some(name) != best).map(ToString::to_string).collect();
        line([
            split,
            example_type.as_deref().unwrap_or_default(),
            text,
            &best.map(ToString::to_string).unwrap_or_default(),
            &alternates.join("|"),
            rationale.as_deref().unwrap_or_default(),
            outcome.map(ExpectedOutcome::as_str).unwrap_or_default(),
        ]);
    }
    writer.into_inner().expect("memory can be flushed")
}

/// Column name to its position.
fn columns(file: File<'_>, header: &StringRecord) -> Result<BTreeMap<String, usize>, CatalogError> {
    let mut columns = BTreeMap::new();
    for (i, name) in header.iter().enumerate() {
        if !REQUIRED.contains(&name) && !OPTIONAL.contains(&name) {
            let known = [REQUIRED.as_slice(), &OPTIONAL].concat().join(", ");
            return Err(invalid(file.name, 1, format!("unknown column `{}`; columns are {known}", shorten(name))));
        }
        if columns.insert(name.to_owned(), i).is_some() {
            return Err(invalid(file.name, 1, format!("column `{name}` is there twice; keep one")));
        }
    }
    match REQUIRED.iter().find(|name| !columns.contains_key(**name)) {
        Some(missing) => Err(invalid(file.name, 1, format!("column `{missing}` is missing; add it to the header"))),
        None => Ok(columns),
    }
}

fn intent(record: &StringRecord, columns: &BTreeMap<String, usize>) -> Result<LabelledIntent, String> {
    let cell = |name: &str| columns.get(name).and_then(|i| record.get(*i)).unwrap_or_default();
    let filled = |name: &str| Some(cell(name)).filter(|text| !text.is_empty()).map(str::to_owned);
    let text = filled("intent").ok_or("`intent` is empty; write the intent or remove the line")?;
    let split = filled("split").ok_or("`split` is empty; write dev or test")?;
    let mut judgements = BTreeMap::new();
    if let Some(expected) = filled("expected") {
        judgements.insert(component(&expected)?, 2);
    }
    for alternate in cell("alternates").split('|').map(str::trim).filter(|text| !text.is_empty()) {
        if judgements.is_empty() {
            return Err(format!(
                "`alternates` names `{}`, but `expected` is empty; name the best one there",
                shorten(alternate)
            ));
        }
        if judgements.insert(component(alternate)?, 1).is_some() {
            return Err(format!("`{}` is named twice; keep one", shorten(alternate)));
        }
    }
    let outcome: Option<ExpectedOutcome> =
        filled("outcome").map(|word| word.parse()).transpose().map_err(|error: CatalogError| error.to_string())?;
    if let Some(outcome) = outcome
        && (outcome == ExpectedOutcome::RawGeneration) != judgements.is_empty()
    {
        return Err(format!(
            "outcome `{outcome}` does not fit: raw_generation goes with an empty `expected`, the others with a component"
        ));
    }
    let id = Digest::of(text.as_bytes()).to_string()["sha256:".len()..][..16].to_owned();
    Ok(LabelledIntent {
        id,
        text,
        split,
        example_type: filled("example_type"),
        judgements,
        candidates: None,
        outcome,
        rationale: filled("rationale"),
        out_of_scope_kind: None,
        names_component: None,
        unseen_component: None,
    })
}

fn component(text: &str) -> Result<ComponentName, String> {
    text.parse().map_err(|error: CatalogError| error.to_string())
}

fn fault(file: File<'_>, error: &csv::Error) -> CatalogError {
    let line = error.position().map_or(1, |position| usize::try_from(position.line()).unwrap_or(usize::MAX));
    let description = match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("has {len} columns, the header has {expected_len}; quote texts that hold commas")
        }
        _ => format!("not CSV: {error}"),
    };
    invalid(file.name, line, description)
}
