//! What may be granted: a role, in some namespaces, for components with some labels; or the denial of it.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use fitment_catalog::{Kind, Tag};

/// What sort of work somebody does here. A principal may have several; none of them includes another but by the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Asks for components and puts them together.
    Reader,
    /// Writes components and looks after them.
    Publisher,
    /// Says which versions are certified.
    Certifier,
    /// Reads what was done and what it rests on.
    Auditor,
    /// Keeps the daemon in order: copies, models, rankers, calibrations.
    Operator,
    /// Everything, the trust root and the policies too.
    Administrator,
}

impl Role {
    /// Every role, in the order of the table.
    pub const ALL: [Self; 6] =
        [Self::Reader, Self::Publisher, Self::Certifier, Self::Auditor, Self::Operator, Self::Administrator];

    /// The word for it in documents and policies.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Publisher => "publisher",
            Self::Certifier => "certifier",
            Self::Auditor => "auditor",
            Self::Operator => "operator",
            Self::Administrator => "administrator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| {
            let words: Vec<&str> = Self::ALL.iter().map(|role| role.as_str()).collect();
            format!("`{}` is no role; use one of {}", crate::error::shorten(text), words.join(", "))
        })
    }
}

/// Whether a grant gives or takes. Taking wins, whatever the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Effect {
    /// The role's actions are allowed.
    #[default]
    Allow,
    /// The role's actions are denied, also those that another role would allow.
    Deny,
}

impl Effect {
    /// The word for it in documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// Tags that a component must, and must not, carry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Labels {
    /// At least one of these; empty means that none is asked for.
    pub any_of: BTreeSet<Tag>,
    /// None of these.
    pub none_of: BTreeSet<Tag>,
}

/// A role and the components for which it counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Grant {
    /// The role.
    pub role: Role,
    /// Whether it gives or takes.
    pub effect: Effect,
    /// The namespaces for which it counts; `None` means all.
    pub namespaces: Option<BTreeSet<String>>,
    /// The labels for which it counts; `None` means all.
    pub labels: Option<Labels>,
}

impl Grant {
    /// A role for everything.
    pub fn of(role: Role) -> Self {
        Self { role, effect: Effect::Allow, namespaces: None, labels: None }
    }

    /// Whether it counts for some components only.
    pub fn is_narrowed(&self) -> bool {
        self.namespaces.is_some() || self.labels.is_some()
    }

    /// Whether it counts for a component.
    pub fn covers(&self, facts: &ComponentFacts) -> bool {
        let in_namespace = self.namespaces.as_ref().is_none_or(|names| names.contains(&facts.namespace));
        in_namespace
            && self.labels.as_ref().is_none_or(|Labels { any_of, none_of }| {
                (any_of.is_empty() || facts.tags.iter().any(|tag| any_of.contains(tag)))
                    && !facts.tags.iter().any(|tag| none_of.contains(tag))
            })
    }
}

/// In words, as an explanation shows it.
impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |tags: &BTreeSet<Tag>| tags.iter().map(Tag::as_str).collect::<Vec<_>>().join(", ");
        write!(f, "{} {}", self.effect.as_str(), self.role)?;
        if let Some(namespaces) = &self.namespaces {
            write!(f, " in {}", namespaces.iter().map(String::as_str).collect::<Vec<_>>().join(", "))?;
        }
        if let Some(Labels { any_of, none_of }) = &self.labels {
            if !any_of.is_empty() {
                write!(f, " with a label of {}", joined(any_of))?;
            }
            if !none_of.is_empty() {
                write!(f, " without the labels {}", joined(none_of))?;
            }
        }
        Ok(())
    }
}

/// What a decision about a component looks at, and nothing else: what is decided for some facts holds for equal ones.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComponentFacts {
    /// Namespace of its name.
    pub namespace: String,
    /// Its labels.
    pub tags: BTreeSet<Tag>,
    /// What sort of thing it is.
    pub kind: Kind,
    /// The team that answers for it.
    pub owner: String,
    /// Roles that its manifest gives under `access`; empty means everybody.
    pub roles: BTreeSet<String>,
}

impl ComponentFacts {
    /// The facts of a version.
    pub fn of(manifest: &fitment_catalog::Manifest) -> Self {
        Self {
            namespace: manifest.name().namespace().to_owned(),
            tags: manifest.tags().iter().cloned().collect(),
            kind: manifest.kind(),
            owner: manifest.owner().to_owned(),
            roles: manifest.access().iter().cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(namespace: &str, tags: &[&str]) -> ComponentFacts {
        ComponentFacts {
            namespace: namespace.to_owned(),
            tags: tags.iter().map(|tag| tag.parse().expect("a tag")).collect(),
            kind: Kind::Service,
            owner: "team-tests".to_owned(),
            roles: BTreeSet::new(),
        }
    }

    #[test]
    fn a_grant_counts_where_namespaces_and_labels_say() {
        let all = Grant::of(Role::Reader);
        assert!(all.covers(&facts("payments", &[])) && !all.is_narrowed());
        let grant = Grant {
            namespaces: Some(["payments".to_owned()].into()),
            labels: Some(Labels {
                any_of: ["web".parse().expect("a tag"), "app".parse().expect("a tag")].into(),
                none_of: ["frozen".parse().expect("a tag")].into(),
            }),
            ..all
        };
        assert!(grant.is_narrowed());
        assert!(grant.covers(&facts("payments", &["web"])));
        for (namespace, tags) in
            [("identity", &["web"][..]), ("payments", &[]), ("payments", &["other"]), ("payments", &["web", "frozen"])]
        {
            assert!(!grant.covers(&facts(namespace, tags)), "{namespace} {tags:?}");
        }
        assert_eq!(grant.to_string(), "allow reader in payments with a label of app, web without the labels frozen");
    }

    #[test]
    fn roles_have_words() {
        for role in Role::ALL {
            assert_eq!(role.to_string().parse(), Ok(role));
        }
        assert!("root".parse::<Role>().is_err());
    }
}
