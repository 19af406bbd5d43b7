//! The table for people.

use std::fmt::Write as _;

use super::{RPCS, STEPS};
use crate::grant::Role;

/// The table of calls and roles, as Markdown. A role's column has an `x` where it may.
pub fn table_markdown() -> String {
    let names: Vec<&str> = Role::ALL.iter().map(|role| role.as_str()).collect();
    let mut text = format!("| call | action | reach | {} |\n", names.join(" | "));
    text.push_str("|---|---|---|");
    text.push_str(&":-:|".repeat(names.len()));
    text.push('\n');
    let row = |text: &mut String, call: &str, action: &str, reach: &str, roles: &[Role]| {
        let marks: Vec<&str> = Role::ALL.iter().map(|role| if roles.contains(role) { "x" } else { "" }).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| {call} | `{action}` | {reach} | {} |", marks.join(" | "));
    };
    for rpc in RPCS {
        let call = rpc.path.trim_start_matches('/').trim_start_matches("fitment.v1.");
        row(&mut text, &format!("`{call}`"), rpc.action, rpc.reach.as_str(), rpc.roles);
    }
    for step in STEPS {
        row(&mut text, &format!("besides, when {}", step.when), step.action, step.reach.as_str(), step.roles);
    }
    text
}
