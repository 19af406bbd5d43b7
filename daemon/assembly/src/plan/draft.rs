//! A plan as the draft of an assembly document, to be completed by a person.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use fitment_catalog::ComponentName;

use super::{Choice, Plan, PlanError, PlannedOutcome, PlannedPart};

/// Longest id of a part.
const MAX_ID: usize = 63;

impl Plan {
    /// The draft of an assembly: a part for each component that was chosen, however many intents it meets, in the order
    /// of the plan. Its id is the component's name, numbered where two components share it. What must be decided, and
    /// the intents that nothing meets, stand in comments: raw code needs a path and a digest. The draft can be read as an
    /// assembly.
    ///
    /// # Errors
    /// [`PlanError::NothingChosen`] when no part has a component.
    pub fn draft(&self, name: &ComponentName) -> Result<String, PlanError> {
        let mut order: Vec<&Choice> = Vec::new();
        let mut intents: BTreeMap<(&ComponentName, String), Vec<&PlannedPart>> = BTreeMap::new();
        for part in &self.parts {
            let Some(chosen) = part.outcome.chosen() else { continue };
            let meets = intents.entry((&chosen.component, chosen.version.to_string())).or_default();
            if meets.is_empty() {
                order.push(chosen);
            }
            meets.push(part);
        }
        if order.is_empty() {
            return Err(PlanError::NothingChosen);
        }
        // Writing to a String cannot fail.
        let mut text = format!("name: {name}\nparts:\n");
        let mut ids = BTreeSet::new();
        for Choice { component, version, .. } in order {
            let meets = &intents[&(component, version.to_string())];
            for part in meets {
                let _ = writeln!(text, "  # line {}: {}", part.intent.line, comment(&part.intent.text));
            }
            let _ = writeln!(text, "  - id: {}\n    component: {component}@{version}", id(component.name(), &mut ids));
            let mut told = BTreeSet::new();
            for part in meets {
                let PlannedOutcome::Minimal { open, .. } = &part.outcome else { continue };
                for property in open.iter().filter(|property| told.insert(&property.pointer)) {
                    let words = comment(&format!("{} {}", property.pointer, property.description));
                    let _ = writeln!(text, "    # open: {}", words.trim_end());
                }
            }
        }
        let raw: Vec<_> = self.parts.iter().filter(|part| part.outcome.chosen().is_none()).collect();
        if !raw.is_empty() {
            text += "  # Nothing certified meets these. Raw code has a path and a digest once it is written:\n";
            for part in raw {
                let _ = writeln!(text, "  # line {}: {}", part.intent.line, comment(&part.intent.text));
            }
            text += "  # - id: NAME\n  #   raw: { path: PATH, digest: \"sha256:...\", lines: LINES, owner: TEAM, reviewer: PERSON }\n";
        }
        Ok(text)
    }
}

/// An id that no part has yet.
fn id(name: &str, taken: &mut BTreeSet<String>) -> String {
    let mut id = name.to_owned();
    let mut number = 2;
    while !taken.insert(id.clone()) {
        let tail = format!("-{number}");
        let head = name.get(..name.len().min(MAX_ID - tail.len())).unwrap_or(name);
        id = format!("{}{tail}", head.trim_end_matches('-'));
        number += 1;
    }
    id
}

/// A text that cannot end its comment: one line, without control characters and line separators.
fn comment(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || "\u{2028}\u{2029}\u{feff}".contains(c) { ' ' } else { c }).collect()
}
