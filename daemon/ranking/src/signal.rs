//! What is known of one candidate for one intent.

use serde::{Deserialize, Serialize};

/// How many signals there are.
pub const SIGNALS: usize = Signal::ALL.len();

/// The values of one candidate's signals, in the order of [`Signal::ALL`].
pub type Signals = [f32; SIGNALS];

macro_rules! signals {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// One piece of evidence that a candidate meets an intent.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Signal {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
        }

        impl Signal {
            /// Every signal, in the order of [`Signals`].
            pub const ALL: [Self; [$($text),*].len()] = [$(Self::$name),*];

            /// Its name, as Explain and artefacts write it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

signals! {
    /// Cosine of the intent and the centroid of the facets, -1..=1.
    Centroid = "centroid",
    /// Cosine of the intent and the nearest facet, -1..=1.
    BestFacet = "best-facet",
    /// BM25 over the weighted fields, saturated, 0..1.
    Words = "words",
    /// Share of the intent's words, by inverse document frequency, that the component has anywhere, 0..=1.
    Coverage = "coverage",
    /// Share of the title's words, by inverse document frequency, that the intent has, 0..=1.
    Name = "name",
    /// BM25 over the three-letter pieces of words, saturated, 0..1.
    Trigrams = "trigrams",
    /// How much nearer the intent is to a counter-example than to any facet, 0..=2.
    CounterExample = "counter-example",
    /// Cosine by the second stage's model, -1..=1; 0 while there is none.
    SecondStage = "second-stage",
    /// Cosine of the intent and the centroid of facets and labelled intents, -1..=1.
    Prototype = "prototype",
    /// Cosine of the intent and the component's nearest labelled intent, -1..=1.
    NearestLabel = "nearest-label",
    /// Soft count of labelled intents around the intent, as a scaled logarithm; 0 without labels.
    LabelNeighbours = "label-neighbours",
    /// BM25 over the component's labelled intents, saturated, 0..1.
    LabelWords = "label-words",
    /// TF-IDF cosine of the intent and the component's nearest labelled intent, 0..=1.
    NearestLabelWords = "nearest-label-words",
    /// Soft count of labelled intents with like words, as a scaled logarithm; 0 without labels.
    LabelWordNeighbours = "label-word-neighbours",
    /// Log probability by the softmax head over vectors, a tenth, -1.2..=0.
    Head = "head",
    /// Log probability by the softmax head over words, a tenth, -1.2..=0.
    WordHead = "word-head",
    /// 1 for a component without a labelled intent.
    Unlabelled = "unlabelled",
    /// Logarithm of one more than the component's labelled intents, a twentieth.
    LabelCount = "label-count",
    /// Cosine of the adapted intent and the centroid of the facets, -1..=1; 0 while there is no adapter.
    Adapted = "adapted",
}

/// A signal's value as it is counted: one that is not finite says nothing.
pub(crate) fn counted(value: f32) -> f64 {
    if value.is_finite() { f64::from(value) } else { 0.0 }
}

impl Signal {
    /// Its place in [`Signals`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Whether it speaks of labelled intents.
    pub const fn is_learnt(self) -> bool {
        self.index() >= Self::Prototype.index()
    }

    /// Whether it says how near labelled intents are: more of it never speaks against a component.
    pub(crate) fn is_nearness(self) -> bool {
        self.is_learnt() && !matches!(self, Self::Unlabelled | Self::LabelCount)
    }

    /// The signal with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|signal| signal.as_str() == name)
    }
}
