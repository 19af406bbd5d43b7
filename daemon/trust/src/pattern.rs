//! Patterns in a trust root: few, so that what a role may do can be read off.

use std::fmt;
use std::str::FromStr;

use fitment_catalog::ComponentName;

use crate::error::shorten;

/// Which components: `*` (all), `payments/*` (a namespace) or `payments/card-checkout` (one).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamePattern(Names);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Names {
    All,
    Namespace(String),
    One(ComponentName),
}

impl NamePattern {
    /// Whether a component is meant.
    pub fn matches(&self, name: &ComponentName) -> bool {
        match &self.0 {
            Names::All => true,
            Names::Namespace(namespace) => namespace == name.namespace(),
            Names::One(one) => one == name,
        }
    }

    /// Whether some component is meant by both.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Names::All, _) | (_, Names::All) => true,
            (Names::Namespace(a), Names::Namespace(b)) => a == b,
            (Names::Namespace(namespace), Names::One(one)) | (Names::One(one), Names::Namespace(namespace)) => {
                one.namespace() == namespace
            }
            (Names::One(a), Names::One(b)) => a == b,
        }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Names::All => f.write_str("*"),
            Names::Namespace(namespace) => write!(f, "{namespace}/*"),
            Names::One(name) => write!(f, "{name}"),
        }
    }
}

impl FromStr for NamePattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self(Names::All));
        }
        // Any valid name behind the slash makes the namespace's rule apply.
        if let Some(namespace) = text.strip_suffix("/*")
            && ComponentName::new(namespace, "x").is_ok()
        {
            return Ok(Self(Names::Namespace(namespace.to_owned())));
        }
        match text.parse() {
            Ok(name) => Ok(Self(Names::One(name))),
            Err(_) => Err(format!(
                "`{}` is no pattern of component names; write *, namespace/* or namespace/name",
                shorten(text)
            )),
        }
    }
}

/// Which words: a word as it is, or a beginning followed by `*`. Which words there are is another's rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct WordPattern {
    beginning: String,
    open: bool,
}

impl WordPattern {
    /// Whether a word is meant.
    pub fn matches(&self, word: &str) -> bool {
        if self.open { word.starts_with(&self.beginning) } else { word == self.beginning }
    }

    /// Reads a pattern whose fixed part, if there is one, `accepts` agrees with.
    pub(crate) fn parse(text: &str, (accepts, rule): crate::place::Form) -> Result<Self, String> {
        let (beginning, open) = match text.strip_suffix('*') {
            Some(beginning) => (beginning, true),
            None => (text, false),
        };
        if (beginning.is_empty() && open) || (accepts(beginning) && !beginning.contains('*')) {
            return Ok(Self { beginning: beginning.to_owned(), open });
        }
        Err(format!("`{}`: {rule}; a * may follow and stands for any ending", shorten(text)))
    }
}

impl fmt::Display for WordPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.beginning)?;
        f.write_str(if self.open { "*" } else { "" })
    }
}
