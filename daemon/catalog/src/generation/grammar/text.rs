//! Characters and texts as GBNF writes them, within JSON strings and outside.

use std::fmt::Write as _;

use regex_syntax::hir::ClassUnicode;

/// One character of a JSON string: what stands for itself, and the short escapes. `\u` escapes are left out, since they
/// can make half a character.
pub(super) const CHAR: &str = r#"[^"\\\x00-\x1F] | "\\" ["\\/bfnrt]"#;

/// A terminal of GBNF that stands for this text as it is.
pub(super) fn terminal(text: &str) -> String {
    let mut terminal = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                terminal.push('\\');
                terminal.push(c);
            }
            '\n' => terminal.push_str("\\n"),
            c if c.is_control() || !c.is_ascii() => escape(&mut terminal, c),
            c => terminal.push(c),
        }
    }
    terminal.push('"');
    terminal
}

/// A text as the inside of a JSON string, escaped as `serde_json` does.
pub(super) fn in_string(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// One character of a class, as it stands in a JSON string. `None` when none of them can.
pub(super) fn class(class: &ClassUnicode, most_ranges: usize) -> Option<String> {
    let plain = ClassUnicode::new([range('\u{20}', '\u{21}'), range('\u{23}', '\u{5b}'), range('\u{5d}', char::MAX)]);
    let mut raw = class.clone();
    raw.intersect(&plain);
    if raw.ranges().len() > most_ranges {
        return None;
    }
    let holds = |c: char| class.ranges().iter().any(|range| (range.start()..=range.end()).contains(&c));
    let mut ways = Vec::new();
    if !raw.ranges().is_empty() {
        let mut written = String::from('[');
        for range in raw.ranges() {
            member(&mut written, range.start());
            if range.end() > range.start() {
                written.push('-');
                member(&mut written, range.end());
            }
        }
        written.push(']');
        ways.push(written);
    }
    for c in ['"', '\\', '\u{8}', '\t', '\n', '\u{c}', '\r'].into_iter().filter(|c| holds(*c)) {
        ways.push(terminal(&in_string(&c.to_string())));
    }
    match ways.len() {
        0 => None,
        1 => ways.pop(),
        _ => Some(format!("({})", ways.join(" | "))),
    }
}

fn range(start: char, end: char) -> regex_syntax::hir::ClassUnicodeRange {
    regex_syntax::hir::ClassUnicodeRange::new(start, end)
}

/// A character within brackets: letters and digits as they are.
fn member(written: &mut String, c: char) {
    if c.is_ascii_alphanumeric() { written.push(c) } else { escape(written, c) }
}

fn escape(written: &mut String, c: char) {
    let code = u32::from(c);
    // Writing to a String cannot fail.
    let _ = match code {
        0..=0xff => write!(written, "\\x{code:02X}"),
        0x100..=0xffff => write!(written, "\\u{code:04X}"),
        _ => write!(written, "\\U{code:08X}"),
    };
}
