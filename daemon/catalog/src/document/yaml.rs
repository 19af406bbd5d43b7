//! YAML 1.2 with places. Aliases are allowed within tight limits; merge keys, custom tags, several documents and the
//! YAML 1.1 readings of `yes`, `1_000` and `010` are not.

use serde::de::{Deserialize, Deserializer};
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{Error, Options, Spanned};

use super::{Key, Node, Place, Tree, TreeVisitor, syntax, too_deep_message};
use crate::CatalogError;
use crate::error::shorten;
use crate::manifest::MAX_DEPTH;

/// Most anchors and most aliases in a document.
const MAX_ALIASES: usize = 64;

pub(super) fn read(file: &str, text: &str) -> Result<Node, CatalogError> {
    serde_saphyr::from_str_with_options::<SpannedNode>(text, options()).map(Node::from).map_err(|error| {
        let place = error.location().and_then(place);
        syntax(file, place, plain_message(&error))
    })
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_documents: 1,
            // Larger than any document of the allowed size can need without aliases.
            max_events: 300_000,
            max_nodes: 300_000,
            max_aliases: MAX_ALIASES,
            max_anchors: MAX_ALIASES,
            max_recorded_anchor_events: 20_000,
            max_recorded_anchor_bytes: 1024 * 1024,
            max_total_scalar_bytes: 2 * 1024 * 1024,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 5_000,
            max_replay_stack_depth: 8,
            max_alias_expansions_per_anchor: MAX_ALIASES,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        non_finite_float_policy: NonFiniteFloatPolicy::Reject,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

/// What went wrong and the way out, without the place, which is carried apart. What the options above refuse is told in
/// the words of this project, the rest in those of the parser.
fn plain_message(error: &Error) -> String {
    match error.without_snippet() {
        Error::AliasError { error, .. } => plain_message(error),
        Error::DuplicateMappingKey { key, .. } => {
            format!("duplicate key `{}`; keep one", shorten(key.as_deref().unwrap_or_default()))
        }
        Error::MergeKeyNotAllowed { .. } => "merge keys (`<<`) are not read; write the keys out".to_owned(),
        Error::UnsupportedTag { tag, .. } => format!("the tag `{}` is not read; remove it", shorten(tag)),
        Error::NonFiniteFloat { value, .. } => {
            format!("`{}` is not a finite number; quote it if it is text", shorten(value))
        }
        Error::Budget { breach: BudgetBreach::Documents { .. }, .. } | Error::MultipleDocuments { .. } => {
            "a second document starts here; write one a file".to_owned()
        }
        Error::Budget { .. }
        | Error::AliasReplayCounterOverflow { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => {
            format!(
                "expands too far: at most {MAX_DEPTH} levels, {MAX_ALIASES} aliases and a few thousand repeated values; write aliases out"
            )
        }
        other => {
            let message = other.to_string();
            let first = message.lines().next().unwrap_or_default();
            if first.starts_with("recursion limit exceeded") {
                return too_deep_message();
            }
            first.rsplit_once(" at line ").map_or(first, |(before, _)| before).to_owned()
        }
    }
}

fn place(location: serde_saphyr::Location) -> Option<Place> {
    let (line, column) = (usize::try_from(location.line()).ok()?, usize::try_from(location.column()).ok()?);
    (line > 0).then_some(Place { line, column })
}

struct SpannedNode(Node);
struct SpannedKey(Key);
struct YamlTree(Tree);

impl<'de> Deserialize<'de> for YamlTree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor::<SpannedKey, SpannedNode>::new()).map(Self)
    }
}

impl<'de> Deserialize<'de> for SpannedNode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<YamlTree>::deserialize(deserializer)?;
        Ok(Self(Node { place: place(spanned.referenced), tree: spanned.value.0 }))
    }
}

impl<'de> Deserialize<'de> for SpannedKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<String>::deserialize(deserializer)?;
        Ok(Self(Key { text: spanned.value, place: place(spanned.referenced) }))
    }
}

impl From<SpannedNode> for Node {
    fn from(node: SpannedNode) -> Self {
        node.0
    }
}

impl From<SpannedKey> for Key {
    fn from(key: SpannedKey) -> Self {
        key.0
    }
}
