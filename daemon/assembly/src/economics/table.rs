//! Economics as CSV.

use super::{Economics, Figures};

impl Economics {
    /// One line for each team in each period and, last, the total, under a line with the columns' names (RFC 4180, ended
    /// by CRLF). Shares have four digits and are empty without intents. A text that a spreadsheet would take for a
    /// formula gets an apostrophe before it.
    pub fn to_csv(&self) -> String {
        const COLUMNS: [&str; 12] = [
            "period",
            "start",
            "team",
            "intents",
            "zero",
            "minimal",
            "raw",
            "zero_share",
            "minimal_share",
            "raw_share",
            "lines_saved",
            "gaps_closed",
        ];
        let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
        let mut lines: Vec<Vec<String>> =
            vec![COLUMNS.into_iter().chain(["context_tokens"]).map(str::to_owned).collect()];
        for group in &self.groups {
            lines.push(line(&group.period, &group.start.to_string(), &group.team, &group.figures));
        }
        lines.push(line("total", "", "", &self.total));
        for line in lines {
            writer.write_record(line).expect("writing to memory does not fail, and all lines have as many fields");
        }
        let bytes = writer.into_inner().expect("flushing to memory does not fail");
        String::from_utf8(bytes).expect("fields are text")
    }
}

fn line(period: &str, start: &str, team: &str, figures: &Figures) -> Vec<String> {
    let Figures { zero, minimal, raw, lines_saved, gaps_closed, context_tokens } = figures;
    let mut fields: Vec<String> = [period, start, team].into_iter().map(harmless).collect();
    fields.extend([figures.intents(), *zero, *minimal, *raw].map(|count| count.to_string()));
    match figures.shares() {
        Some(shares) => fields.extend(shares.map(|share| format!("{share:.4}"))),
        None => fields.extend([const { String::new() }; 3]),
    }
    fields.extend([lines_saved, gaps_closed, context_tokens].map(ToString::to_string));
    fields
}

/// A field that no spreadsheet runs. A tab or a line break before the sign would hide it.
fn harmless(field: &str) -> String {
    let risky = field.starts_with(['\t', '\r', '\n', '\0'])
        || field.trim_start().starts_with(['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}']);
    if risky { format!("'{field}") } else { field.to_owned() }
}
