//! A part of an index: rows that are written no more, and which of them still count.

use std::sync::Arc;

use super::live::Tombstones;
use super::rows::{Head, RowView};
use super::segment::Segment;

/// Rows of a part, shared with a build that reads them.
#[derive(Clone)]
pub(super) enum Source {
    Segment(Arc<Segment>),
    /// A head that was frozen, and waits to be sealed.
    Head(Arc<Head>),
}

impl Source {
    pub(super) fn view(&self) -> RowView<'_> {
        match self {
            Self::Segment(segment) => segment.view(),
            Self::Head(head) => head.rows.view(),
        }
    }

    /// The slot of a document, dead or alive.
    pub(super) fn slot_of(&self, doc: u32) -> Option<u32> {
        match self {
            Self::Segment(segment) => segment.slot_of(doc),
            Self::Head(head) => head.slot_of(doc),
        }
    }

    pub(super) fn segment(&self) -> Option<&Segment> {
        match self {
            Self::Segment(segment) => Some(segment),
            Self::Head(_) => None,
        }
    }
}

/// One part; parts are kept in the order of their age, oldest first.
pub(super) struct Part {
    pub(super) source: Source,
    pub(super) tombstones: Tombstones,
    /// Which sealing under way will replace it.
    pub(super) taken: Option<u64>,
}

impl Part {
    pub(super) fn new(source: Source, tombstones: Tombstones) -> Self {
        Self { source, tombstones, taken: None }
    }
}
