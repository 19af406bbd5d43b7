//! What a caller's language model is told about the chosen components: descriptions and closed schemas, as much as a
//! budget of tokens holds, the most important first.
//!
//! The budget is for the text as it is handed out, counted by the caller's own tokenizer. Pieces go in whole or not at
//! all: half a schema would be another schema. What found no room is named.

use serde_json::{Map, Value};

use crate::token::tokens;
use crate::{Manifest, Port, Tier};

/// A chosen component.
#[derive(Debug, Clone, Copy)]
pub struct PackPart<'m> {
    /// The version.
    pub manifest: &'m Manifest,
    /// How much is left to generate, given what the caller bound already.
    pub tier: Tier,
    /// Lower numbers come first; equal ones by the component's name and version.
    pub priority: u32,
}

tokens! {
    /// A piece of what is told about a part. All parts get theirs in the order of [`PackPiece::ALL`], but for
    /// `configuration`, which comes with `description` where something must be configured and last where nothing must.
    PackPiece, "piece of a context pack" {
        /// Name, version, title and summary.
        Description = "description",
        /// The closed schema of the configuration.
        Configuration = "configuration",
        /// When to use it and when not.
        Advice = "advice",
        /// Offered and needed ports.
        Ports = "ports",
        /// Invariants and known limits.
        Limits = "limits",
    }
}

/// A text within a budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextPack {
    /// Markdown, parts in order of priority; empty when nothing found room.
    pub text: String,
    /// Tokens of `text` by the caller's count, at most the budget.
    pub tokens: usize,
    /// What `text` holds, in its order: `namespace/name@version` and the piece.
    pub included: Vec<(String, PackPiece)>,
    /// What found no room, in order of importance.
    pub left_out: Vec<LeftOut>,
}

/// A piece that found no room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// `namespace/name@version`.
    pub part: String,
    /// The piece.
    pub piece: PackPiece,
    /// Tokens of the piece by itself.
    pub tokens: usize,
}

/// Puts together what fits into `budget` tokens. `count` counts the tokens of a text; the same text must have the same
/// count. It is called about once for each piece.
///
/// Descriptions and the schemas that must be satisfied come first, part by part; then advice, ports, limits, and the
/// schemas that defaults satisfy, each for all parts in order of priority. A piece that does not fit is left out and
/// smaller ones after it still get their chance, but nothing is told of a part whose description found no room.
pub fn context_pack(parts: &[PackPart<'_>], budget: usize, count: &dyn Fn(&str) -> usize) -> ContextPack {
    let mut parts: Vec<PackPart<'_>> = parts.to_vec();
    parts.sort_by(|a, b| {
        let key = |part: &PackPart<'_>| (part.priority, part.manifest.name().clone(), part.manifest.version().clone());
        key(a).cmp(&key(b))
    });
    parts.dedup_by(|a, b| a.manifest.name() == b.manifest.name() && a.manifest.version() == b.manifest.version());
    let mut pieces = pieces(&parts);
    pieces.sort_by_key(|piece| piece.rank);

    let mut pack = Pack { chosen: Vec::new(), described: vec![false; parts.len()], reckoned: 0, budget, count };
    let mut left_out = Vec::new();
    for piece in &pieces {
        let tokens = count(&piece.text);
        if !pack.take(piece, tokens) {
            left_out.push(LeftOut { part: parts[piece.part].manifest.to_string(), piece: piece.kind, tokens });
        }
    }
    let (chosen, text, tokens) = pack.finish();
    // What was reckoned to fit and does not, after all.
    for piece in pieces.iter().filter(|piece| !chosen.iter().any(|kept| kept.is(piece))) {
        let part = parts[piece.part].manifest.to_string();
        if !left_out.iter().any(|left| left.part == part && left.piece == piece.kind) {
            left_out.push(LeftOut { part, piece: piece.kind, tokens: count(&piece.text) });
        }
    }
    let included = chosen.iter().map(|piece| (parts[piece.part].manifest.to_string(), piece.kind)).collect();
    ContextPack { text, tokens, included, left_out }
}

struct Piece {
    /// Position of the part.
    part: usize,
    kind: PackPiece,
    /// Importance: the round, then the part, then the position within both.
    rank: (usize, usize, PackPiece),
    text: String,
}

impl Piece {
    fn is(&self, other: &Self) -> bool {
        (self.part, self.kind) == (other.part, other.kind)
    }
}

/// What was chosen so far. Tokens of a text are nearly the sum of its pieces' tokens, so the whole is counted only where that
/// is too near to the budget to tell.
struct Pack<'p> {
    chosen: Vec<&'p Piece>,
    /// Parts whose description is in.
    described: Vec<bool>,
    /// Tokens of what was chosen: as counted last, and the sum of the pieces since.
    reckoned: usize,
    budget: usize,
    count: &'p dyn Fn(&str) -> usize,
}

impl<'p> Pack<'p> {
    /// Takes a piece in, if it fits and its part is described.
    fn take(&mut self, piece: &'p Piece, tokens: usize) -> bool {
        let is_description = piece.kind == PackPiece::Description;
        if !is_description && !self.described[piece.part] {
            return false;
        }
        self.chosen.push(piece);
        let reckoned = self.reckoned + tokens;
        // Where two pieces meet, the count may differ from the sum by some tokens.
        let doubt = 4 * self.chosen.len();
        let fits = if reckoned + doubt <= self.budget {
            self.reckoned = reckoned;
            true
        } else if reckoned > self.budget + doubt {
            false
        } else {
            let counted = (self.count)(&written(&self.sorted()));
            if counted <= self.budget {
                self.reckoned = counted;
            }
            counted <= self.budget
        };
        if fits {
            self.described[piece.part] |= is_description;
        } else {
            self.chosen.pop();
        }
        fits
    }

    fn sorted(&self) -> Vec<&'p Piece> {
        let mut sorted = self.chosen.clone();
        sorted.sort_by_key(|piece| (piece.part, piece.kind));
        sorted
    }

    /// The pieces in their order, the text and its tokens, counted; the budget holds whatever was reckoned.
    fn finish(mut self) -> (Vec<&'p Piece>, String, usize) {
        loop {
            let sorted = self.sorted();
            let text = written(&sorted);
            let tokens = (self.count)(&text);
            if tokens <= self.budget || self.chosen.is_empty() {
                return (sorted, text, tokens);
            }
            self.chosen.pop();
        }
    }
}

fn pieces(parts: &[PackPart<'_>]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (part, PackPart { manifest, tier, .. }) in parts.iter().enumerate() {
        for kind in PackPiece::ALL.iter().copied() {
            let round = match kind {
                PackPiece::Description => 0,
                PackPiece::Configuration if *tier == Tier::Minimal => 0,
                PackPiece::Advice => 1,
                PackPiece::Ports => 2,
                PackPiece::Limits => 3,
                PackPiece::Configuration => 4,
            };
            if let Some(text) = told(manifest, *tier, kind) {
                pieces.push(Piece { part, kind, rank: (round, part, kind), text });
            }
        }
    }
    pieces
}

fn written(pieces: &[&Piece]) -> String {
    let texts: Vec<&str> = pieces.iter().map(|piece| piece.text.as_str()).collect();
    texts.join("\n")
}

/// The text of a piece, one line feed at its end; `None` when there is nothing to tell.
fn told(manifest: &Manifest, tier: Tier, kind: PackPiece) -> Option<String> {
    let lines: Vec<String> = match kind {
        PackPiece::Description => {
            vec![format!("## {manifest}"), format!("{}: {}", manifest.title(), one_line(manifest.summary()))]
        }
        PackPiece::Configuration => {
            let schema = manifest.config_schema()?;
            let asked = match tier {
                Tier::Minimal => "Configuration: JSON that satisfies this closed JSON Schema, and nothing else.",
                Tier::Zero => "Configuration: none is needed. This JSON Schema says what may be set.",
            };
            vec![asked.to_owned(), bare(schema.as_value()).to_string()]
        }
        PackPiece::Advice => {
            let when = manifest.when_to_use().map(|text| format!("Use it: {}", one_line(text)));
            let when_not = manifest.when_not_to_use().map(|text| format!("Do not use it: {}", one_line(text)));
            when.into_iter().chain(when_not).collect()
        }
        PackPiece::Ports => {
            let offered = manifest.provides().iter().map(|port| format!("Offers {}", port_line(port)));
            offered.chain(manifest.requires().iter().map(|port| format!("Needs {}", port_line(port)))).collect()
        }
        PackPiece::Limits => {
            let always = manifest.invariants().iter().map(|text| format!("Always: {}", one_line(text)));
            always.chain(manifest.limitations().iter().map(|text| format!("Limit: {}", one_line(text)))).collect()
        }
    };
    (!lines.is_empty()).then(|| lines.join("\n") + "\n")
}

/// A schema without what tells a model nothing.
fn bare(schema: &Value) -> Value {
    let kept = |keyword: &str| !matches!(keyword, "$schema" | "$comment");
    match schema {
        Value::Object(keywords) => Value::Object(
            keywords
                .iter()
                .filter(|(keyword, _)| kept(keyword))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect::<Map<_, _>>(),
        ),
        other => other.clone(),
    }
}

fn port_line(port: &Port) -> String {
    let mut words = vec![format!("{}: {}", port.name(), port.protocol())];
    if port.authentication() != crate::Authentication::None {
        words.push(port.authentication().to_string());
    }
    if !port.scopes().is_empty() {
        words.push(format!("scopes {}", port.scopes().join(" ")));
    }
    if !port.data_classes().is_empty() {
        let classes: Vec<&str> = port.data_classes().iter().map(|class| class.as_str()).collect();
        words.push(format!("data {}", classes.join(" ")));
    }
    if port.optional() {
        words.push("optional".to_owned());
    }
    words.join(", ")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
