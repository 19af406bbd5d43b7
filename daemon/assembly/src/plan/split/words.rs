//! The word lists and patterns by which a text is split, and what they say of a few words.

use std::sync::LazyLock;

use regex::Regex;

/// What may join two clauses, longer ones first.
pub(super) const JOINTS: &[&str] = &[
    "; and ",
    "; ",
    ";",
    ", and then ",
    ", and ",
    ", but ",
    ", while ",
    ", whereas ",
    ", und ",
    ", aber ",
    ", sowie ",
    " and then ",
    " and ",
    " und ",
];

/// Forms of verbs that tell a clause from a list of things.
const FINITE: &[&str] = &[
    "must", "shall", "should", "can", "could", "may", "might", "will", "would", "is", "are", "was", "were", "be",
    "has", "have", "do", "does", "cannot", "needs", "need", "wants", "want", "gets", "get", "receives", "receive",
    "muss", "müssen", "soll", "sollen", "sollte", "sollten", "kann", "können", "darf", "dürfen", "wird", "werden",
    "ist", "sind", "hat", "haben",
];

/// Verbs that begin a clause by themselves. Left out are those that are as often nouns: report, change, search, order.
const VERBS: &[&str] = &[
    "accept",
    "add",
    "allow",
    "approve",
    "assign",
    "attach",
    "authenticate",
    "authorise",
    "authorize",
    "block",
    "book",
    "calculate",
    "cancel",
    "check",
    "choose",
    "compare",
    "configure",
    "confirm",
    "connect",
    "convert",
    "create",
    "delete",
    "deliver",
    "deny",
    "detect",
    "disable",
    "display",
    "download",
    "edit",
    "enable",
    "encrypt",
    "enforce",
    "enter",
    "export",
    "fetch",
    "fill",
    "find",
    "forward",
    "generate",
    "give",
    "handle",
    "hide",
    "import",
    "inform",
    "invite",
    "keep",
    "let",
    "list",
    "load",
    "log",
    "make",
    "manage",
    "mark",
    "measure",
    "migrate",
    "monitor",
    "notify",
    "offer",
    "open",
    "pay",
    "pick",
    "prevent",
    "print",
    "protect",
    "provide",
    "publish",
    "read",
    "receive",
    "record",
    "redirect",
    "refund",
    "refuse",
    "register",
    "reject",
    "remember",
    "remove",
    "render",
    "replace",
    "reset",
    "resize",
    "restore",
    "restrict",
    "retry",
    "revoke",
    "rotate",
    "save",
    "scan",
    "schedule",
    "see",
    "select",
    "send",
    "show",
    "sign",
    "sort",
    "stop",
    "store",
    "submit",
    "subscribe",
    "support",
    "switch",
    "sync",
    "synchronise",
    "synchronize",
    "take",
    "tell",
    "test",
    "translate",
    "trigger",
    "turn",
    "unlock",
    "update",
    "upload",
    "use",
    "validate",
    "verify",
    "view",
    "warn",
    "withdraw",
    "write",
];

const PREPOSITIONS: &[&str] = &[
    "as", "at", "by", "for", "from", "in", "into", "on", "per", "through", "to", "via", "with", "without", "als",
    "auf", "aus", "bei", "durch", "für", "im", "in", "mit", "nach", "ohne", "per", "über", "von",
];

/// Headings that say nothing of what stands below them.
const GENERAL: &[&str] = &[
    "anforderungen",
    "background",
    "could have",
    "details",
    "features",
    "funktionale anforderungen",
    "funktionen",
    "functional requirements",
    "general",
    "goals",
    "introduction",
    "mvp",
    "must have",
    "must-have",
    "nice to have",
    "non-functional requirements",
    "nichtfunktionale anforderungen",
    "notes",
    "overview",
    "requirements",
    "scope",
    "should have",
    "stories",
    "summary",
    "todo",
    "übersicht",
    "use cases",
    "user stories",
    "ziele",
];

const ABBREVIATIONS: &[&str] = &[
    "approx.", "bzw.", "ca.", "cf.", "d.h.", "dr.", "e.g.", "etc.", "evtl.", "fig.", "ggf.", "i.e.", "inc.", "incl.",
    "inkl.", "max.", "min.", "mr.", "mrs.", "ms.", "no.", "nr.", "prof.", "sec.", "st.", "u.a.", "usw.", "vgl.", "vs.",
    "z.b.", "d.", "z.",
];

/// Characters that stand around words and say nothing of them.
const EDGES: &[char] = &[
    '.', ';', ',', ':', '!', '*', '_', '~', '"', '\'', '\u{201c}', '\u{201d}', '\u{201e}', '|', '-', '\u{2013}',
    '\u{2014}', '>',
];

/// The marks of an item: a bullet, a number, a letter; then a check box; then an id such as `REQ-12:`.
static MARKER: LazyLock<Regex> = LazyLock::new(|| {
    compiled(
        r"^(?:[-*+•‣◦–—·](?:[ \t]+|$)|\(?[0-9]{1,3}(?:\.[0-9]{1,3}){0,4}[.)][ \t]+|\(?[A-Za-z][)][ \t]+)(?:\[[ xX]?\][ \t]*)?",
    )
});
/// A chapter's number such as `1.2`, before a word with a capital: `1.5 GB` is an amount.
static CHAPTER: LazyLock<Regex> = LazyLock::new(|| compiled(r"^([0-9]{1,3}(?:\.[0-9]{1,3}){1,4}[ \t]+)\p{Lu}\p{Ll}"));
static ID: LazyLock<Regex> =
    LazyLock::new(|| compiled(r"^(?:\[[A-Z]{1,8}[-_]?[0-9.]{1,8}\]|[A-Z]{1,8}[-_]?[0-9.]{1,8}[:.)])[ \t]*"));
static ADDRESS: LazyLock<Regex> =
    LazyLock::new(|| compiled(r"^<?(?:[a-z][a-z0-9+.-]{1,20}://|www\.|mailto:)[^ \t]+>?$"));
static SCENARIO: LazyLock<Regex> =
    LazyLock::new(|| compiled(r"^(?:Feature|Background|Rule|Scenario|Scenario Outline|Examples?|Epic):"));
static LINK: LazyLock<Regex> = LazyLock::new(|| compiled(r"!?\[([^\]\[]{0,500})\]\([^()\s]{0,2000}\)"));
static BENEFIT: LazyLock<Regex> = LazyLock::new(|| {
    compiled(
        r"(?i)^(as an? .*?|als .*?),? (?:so that|so I can|so we can|in order to|damit|um .{1,200} zu können)(?: .*)?$",
    )
});
/// What is said before the matter itself.
static LEADS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    [
        r"(?i)^(?:as an? |als )[^,]{1,120}?,? (?:i|we|ich|wir) (?:also )?(?:want|need|wish|would like|can|must|should|möchten?|wollen|will|brauchen?)(?: to)?(?: be able to)? ",
        r"(?i)^(?:the|our|this|that) (?:system|application|app|platform|portal|product|service|software|solution|tool|website|site) (?:must|shall|should|will|can|may|could|has to|needs to|is required to|is able to)(?: also)?(?: be (?:able to|capable of))? ",
        r"(?i)^(?:i|we) (?:also )?(?:need|want|require|would like)(?: to have| a way to| to be able to| to)? ",
        r"(?i)^it (?:must|shall|should|has to) (?:also )?be possible to ",
        r"(?i)^there (?:must|shall|should|has to) be ",
        r"(?i)^(?:it|they) (?:must|shall|should|can|will) (?:also )?(?:be able to )?",
        r"(?i)^(?:must|shall|should|could|will)(?::| have| be able to)? ",
        r"(?i)^(?:\[|\()(?:must|should|could|optional|muss|soll|kann)(?:\]|\)):? ",
        r"(?i)^(?:please|additionally|also|furthermore|moreover|finally|first|firstly|secondly|then|and|but|außerdem|ferner|zudem|bitte|und),? ",
        r"(?i)^given .{1,400}?,? then ",
        r"(?i)^als [^,]{1,120}? (?:möchte|will|kann|muss|brauche) ich ",
        r"(?i)^(?:das|die|der|unser|unsere) (?:system|anwendung|plattform|portal|software|app|lösung) (?:muss|soll|sollte|kann|wird) ",
        r"(?i)^es (?:muss|soll|sollte) möglich sein,? ",
        r"(?i)^(?:wir|ich) (?:brauchen?|benötigen?|wollen|möchten?) ",
    ]
    .map(compiled)
    .into()
});

fn compiled(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the patterns of this file are valid")
}

fn lower(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split_whitespace().map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase())
}

fn among(list: &[&str], word: &str) -> bool {
    list.contains(&word)
}

/// A candidate without marks, lead-ins and what stands at its edges; `None` when fewer than two letters are left.
pub(super) fn cleaned(text: &str) -> Option<String> {
    let linked = LINK.replace_all(text, "$1");
    let plain: String = linked.chars().filter(|c| *c != '`' && (!c.is_control() || c.is_whitespace())).collect();
    let plain = plain.replace("**", "").replace("__", "").replace("~~", "");
    let mut words = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some(story) = BENEFIT.captures(&words).and_then(|found| found.get(1)) {
        words.truncate(story.end());
    }
    loop {
        let before = words.len();
        words = String::from(words.trim_matches(|c: char| c.is_whitespace() || EDGES.contains(&c)));
        if let Some(marks) = marker(&words) {
            words.drain(..marks);
        }
        for pattern in LEADS.iter() {
            if let Some(found) = pattern.find(&words) {
                words.drain(..found.end());
            }
        }
        words = String::from(words.trim_start_matches('#').trim());
        if words.len() == before {
            break;
        }
    }
    let letters = words.chars().filter(|c| c.is_alphabetic()).count();
    (letters > 1 && !is_address(&words)).then_some(words)
}

/// Whether a few words name a thing and ask for nothing.
pub(super) fn is_fragment(words: &str) -> bool {
    words.split_whitespace().count() <= 3 && !has_verb(words)
}

pub(super) fn is_fragment_line(line: &str) -> bool {
    cleaned(line).is_some_and(|words| is_fragment(&words))
}

fn has_verb(words: &str) -> bool {
    lower(words).any(|word| among(FINITE, &word)) || lower(words).next().is_some_and(|first| among(VERBS, &first))
}

/// A heading as what items belong to.
pub(super) fn noun(words: &str) -> Option<String> {
    cleaned(words).filter(|words| words.split_whitespace().count() <= 6)
}

pub(super) fn is_general(heading: &str) -> bool {
    among(GENERAL, &heading.to_lowercase())
}

pub(super) fn starts_with_preposition(line: &str) -> bool {
    lower(line).find(|word| !word.is_empty()).is_some_and(|first| among(PREPOSITIONS, &first))
}

/// Whether a line's last word asks for more.
pub(super) fn goes_on(line: &str) -> bool {
    // Not `in` and `on`, which end verbs such as `sign in`.
    const OPEN: &[&str] = &[
        "a", "an", "and", "by", "das", "der", "die", "for", "from", "für", "mit", "oder", "of", "or", "the", "to",
        "und", "via", "von", "with",
    ];
    lower(line).last().is_some_and(|last| among(OPEN, &last))
}

/// Whether what stands before a joint is a clause: two words or more, one of them a verb.
pub(super) fn stands_before(left: &str) -> bool {
    left.split_whitespace().count() > 1 && lower(left).any(|word| among(FINITE, &word) || among(VERBS, &word))
}

/// Whether what stands after a joint is a clause. After a bare `and` it needs a subject and a verb of its own.
pub(super) fn stands_after(right: &str, joint: &str) -> bool {
    const SUBJECT: usize = 8;
    let count = lower(right).filter(|word| !word.is_empty()).count();
    let first = lower(right).next().unwrap_or_default();
    let finite = lower(right).take(SUBJECT).skip(1).any(|word| among(FINITE, &word));
    if count < 2 {
        return false;
    }
    match joint.as_bytes().first() {
        Some(b';') => true,
        Some(b',') => finite || among(VERBS, &first),
        _ => finite && count > 2 && !among(FINITE, &first) && !among(VERBS, &first),
    }
}

pub(super) fn ends_in_abbreviation(sentence: &str) -> bool {
    let Some(last) = sentence.split_whitespace().next_back() else { return false };
    let last = last.trim_start_matches(['(', '"', '\'']).to_lowercase();
    let ordinal = last
        .strip_suffix('.')
        .is_some_and(|number| (1..=2).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit()));
    among(ABBREVIATIONS, &last) || ordinal
}

/// Bytes of the marks at the beginning of an item.
pub(super) fn marker(line: &str) -> Option<usize> {
    let chapter = || CHAPTER.captures(line).and_then(|found| found.get(1));
    MARKER.find(line).or_else(|| ID.find(line)).or_else(chapter).map(|found| found.end())
}

pub(super) fn is_address(line: &str) -> bool {
    ADDRESS.is_match(line)
}

/// Level of a scenario's title, which is a heading.
pub(super) fn scenario_heading(line: &str) -> Option<usize> {
    SCENARIO.is_match(line).then_some(1)
}
