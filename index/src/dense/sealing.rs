//! When rows are sealed, and how a sealed segment takes the place of what it was built from.
//!
//! Two scopes, as in a log-structured merge tree (O'Neil et al. 1996) of two levels: what was written lately is sealed
//! often, into a small segment that is built again each time; everything is sealed seldom, into the main segment. Both may be
//! under way at the same time: a sealing of all takes the parts that are there, one of what is recent those that come after.

use std::sync::Arc;

use crate::doc_set::DocSet;
use crate::error::IndexError;

use super::build::SealInput;
use super::index::DenseIndex;
use super::live::Tombstones;
use super::part::{Part, Source};
use super::rows::Head;
use super::segment::Segment;

/// Below this many rows nothing is worth tidying.
const TIDY_ROWS: usize = 1024;
/// Every search walks the main segment and then what lies outside of it: that may be this part of the main segment.
const RECENT_SHARE: usize = 8;
/// And at least this many times `head_limit`.
const RECENT_HEADS: usize = 2;

/// What is sealed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealScope {
    /// What lies outside of the main segment: seconds of work, to be done as soon as it is due.
    Recent,
    /// Everything.
    All,
}

/// Why an index wants to be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealReason {
    /// Large enough for a graph and without one.
    NoGraph,
    /// More rows in no segment than `head_limit` allows.
    HeadFull,
    /// More rows outside of the main segment than an eighth of it.
    RecentFull,
    /// More dead rows than `vacuum_percent` allows.
    Dead,
}

/// A sealing under way.
pub(super) struct Sealing {
    pub(super) ticket: u64,
    scope: SealScope,
    /// Documents of its parts that were removed or rewritten since.
    pub(super) changed: DocSet,
}

/// What a segment took the place of. Dropping it may unmap a large file: do so where no search waits.
#[derive(Default)]
pub struct Retired(#[expect(dead_code, reason = "held to be dropped")] Vec<Part>);

impl DenseIndex {
    /// Whether sealing is due, and why. It stays due while a sealing is under way.
    pub fn needs_seal(&self, scope: SealScope) -> Option<SealReason> {
        let options = self.options();
        let main = self.main();
        match scope {
            SealScope::Recent => {
                let in_no_segment = self.parts.iter().filter(|part| part.source.segment().is_none());
                let rows =
                    in_no_segment.map(|part| part.source.view().rows()).sum::<usize>() + self.head.rows.view().rows();
                (main.is_some() && rows > options.head_limit).then_some(SealReason::HeadFull)
            }
            SealScope::All => {
                let dead: usize = self.blocks().map(|block| block.tombstones.dead_rows).sum();
                let total = self.len_rows() + dead;
                if self.len_rows() >= options.graph_threshold {
                    let Some(main) = main else { return Some(SealReason::NoGraph) };
                    let outside = total - main.len_rows();
                    if outside > (main.len_rows() / RECENT_SHARE).max(options.head_limit * RECENT_HEADS) {
                        return Some(SealReason::RecentFull);
                    }
                }
                let due = dead >= TIDY_ROWS && dead * 100 >= total * options.vacuum_percent;
                due.then_some(SealReason::Dead)
            }
        }
    }

    /// Freezes what is here and hands it out for building; what is written from now on goes to a new head. Cheap: nothing
    /// is copied but the tombstones. A later call of the same scope, and one of all, makes the segments of earlier ones stale.
    pub fn sealing_input(&mut self, scope: SealScope) -> SealInput {
        self.freeze_head();
        self.next_ticket += 1;
        let ticket = self.next_ticket;
        self.sealings.retain(|sealing| scope == SealScope::Recent && sealing.scope == SealScope::All);
        let all_ticket = self.sealings.first().map(|sealing| sealing.ticket);
        let first = match scope {
            SealScope::All => 0,
            SealScope::Recent => {
                let kept = usize::from(self.main().is_some());
                kept.max(self.parts.iter().take_while(|part| all_ticket.is_some() && part.taken == all_ticket).count())
            }
        };
        let parts = &mut self.parts[first..];
        for part in &mut *parts {
            part.taken = Some(ticket);
        }
        let sources: Vec<(Source, Tombstones)> =
            parts.iter().map(|part| (part.source.clone(), part.tombstones.clone())).collect();
        self.sealings.push(Sealing { ticket, scope, changed: DocSet::new() });
        SealInput { dimension: self.dimension(), options: self.options().clone(), ticket, scope, sources }
    }

    fn freeze_head(&mut self) {
        let empty = Head::new(self.dimension());
        let head = std::mem::replace(&mut self.head, empty);
        let tombstones = std::mem::take(&mut self.head_tombstones);
        if !head.rows.docs.is_empty() {
            self.parts.push(Part::new(Source::Head(Arc::new(head)), tombstones));
        }
    }

    /// Takes a built segment into use, and gives back what it replaces. What was written or removed since its input was
    /// taken stays written or removed.
    ///
    /// [`IndexError::StaleSegment`] when it was built from anything but the latest input of its scope.
    pub fn install(&mut self, segment: Segment) -> Result<Retired, IndexError> {
        let at = self.sealings.iter().position(|sealing| segment.ticket == Some(sealing.ticket));
        let Some(sealing) = at.map(|at| self.sealings.remove(at)) else {
            return Err(IndexError::StaleSegment);
        };
        let mut tombstones = Tombstones::default();
        for doc in sealing.changed.iter() {
            if let Some(slot) = segment.slot_of(doc.0) {
                tombstones.kill(segment.view(), slot);
            }
        }
        let taken = |part: &Part| part.taken == Some(sealing.ticket);
        // There may have been nothing to take.
        let nothing = if sealing.scope == SealScope::All { 0 } else { self.parts.len() };
        let from = self.parts.iter().position(taken).unwrap_or(nothing);
        let to = from + self.parts[from..].iter().take_while(|part| taken(part)).count();
        let kept = segment.len_docs() > 0 || sealing.scope == SealScope::All;
        let new = kept.then(|| Part::new(Source::Segment(Arc::new(segment)), tombstones));
        Ok(Retired(self.parts.splice(from..to, new).collect()))
    }

    /// The main segment, where it has a graph.
    pub(super) fn main(&self) -> Option<&Segment> {
        let first = self.parts.first()?.source.segment()?;
        (first.scope == SealScope::All && first.has_graph()).then_some(first)
    }

    /// Drops dead rows of the head once they are more than half of it.
    pub(super) fn tidy_head(&mut self) {
        let (rows, dead) = (self.head.rows.scales.len(), self.head_tombstones.dead_rows);
        if dead < TIDY_ROWS || dead * 2 < rows {
            return;
        }
        let mut head = Head::new(self.dimension());
        for slot in 0..super::number(self.head.rows.docs.len()) {
            if !self.head_tombstones.is_dead(slot) {
                head.copy(self.head.rows.view(), slot);
            }
        }
        self.head = head;
        self.head_tombstones = Tombstones::default();
    }
}
