//! Closed sets of lower-case words that a manifest chooses from.

/// Declares an enumeration whose variants are written as fixed words, with the list of all of them, `Display` and a
/// strict `FromStr`.
macro_rules! tokens {
    ($(#[$meta:meta])* $name:ident, $what:literal { $($(#[$variant_meta:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_meta])* $variant,)+
        }

        impl $name {
            /// Every value, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word that stands for this value in manifests, filters and answers.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::CatalogError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|value| value.as_str() == text).ok_or_else(|| {
                    let words: Vec<&str> = Self::ALL.iter().map(|value| value.as_str()).collect();
                    $crate::CatalogError::value($what, text, format!("use one of {}", words.join(", ")))
                })
            }
        }
    };
}
pub(crate) use tokens;

tokens! {
    /// What sort of thing a component is.
    Kind, "kind" {
        /// Something that people see and touch in a browser or a desktop program.
        Ui = "ui",
        /// A running process that answers requests.
        Service = "service",
        /// Code that is linked into another program.
        Library = "library",
        /// A data set, a feed or a data transformation.
        Data = "data",
        /// A described sequence of steps, human or automatic.
        Workflow = "workflow",
        /// A trained model with its serving code.
        Model = "model",
        /// Something that other components run on.
        Infrastructure = "infrastructure",
        /// A bridge to a system outside.
        Integration = "integration",
        /// Something that runs on a phone or a tablet.
        Mobile = "mobile",
    }
}

tokens! {
    /// Where a version stands in its life. Only `certified` and, where a caller accepts it, `deprecated` versions are
    /// ever promised.
    Lifecycle, "lifecycle" {
        /// Being written; not reviewed.
        Draft = "draft",
        /// Under review.
        Candidate = "candidate",
        /// Reviewed and in force.
        Certified = "certified",
        /// Still in force, to be replaced.
        Deprecated = "deprecated",
        /// No longer to be used.
        Revoked = "revoked",
    }
}

impl Lifecycle {
    /// Whether a version at this stage may be put at another one: a review may be withdrawn and a deprecation taken back,
    /// a certification only by deprecating or revoking; revoked is final. Nothing becomes what it is already. The table is
    /// in docs/manifest.md.
    pub const fn may_become(self, to: Self) -> bool {
        match (self, to) {
            (Self::Draft, Self::Candidate | Self::Revoked)
            | (Self::Candidate, Self::Draft | Self::Certified | Self::Revoked)
            | (Self::Certified, Self::Deprecated | Self::Revoked)
            | (Self::Deprecated, Self::Certified | Self::Revoked) => true,
            (Self::Draft | Self::Candidate | Self::Certified | Self::Deprecated | Self::Revoked, _) => false,
        }
    }

    /// Whether a version that stands here may come to stand there by steps of its life, none of them back to draft.
    pub fn leads_to(self, there: Self) -> bool {
        if there == Self::Draft {
            return false;
        }
        let mut reached = vec![self];
        let mut next = 0;
        while let Some(&from) = reached.get(next) {
            for &to in Self::ALL {
                if from.may_become(to) && !reached.contains(&to) {
                    reached.push(to);
                }
            }
            next += 1;
        }
        reached.contains(&there)
    }
}
