//! Work that waits, a lane for each who asks, served in turns by tokens: deficit round robin (Shreedhar and Varghese 1995).
//!
//! No clock, no lock. Room is taken away from who has most of it: a full queue makes room for a newcomer by dropping the
//! newest work of the longest lane, as long as that lane is longer than the newcomer's.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::admission::WorkClass;

/// Tokens that a lane may have encoded in its turn, about four short intents.
const QUANTUM: usize = 64;

/// Whose work it is. Single intents and bundles of them wait apart: neither waits behind the other of the same caller.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct LaneKey {
    pub(super) principal: Arc<str>,
    pub(super) work: WorkClass,
}

/// Everything that waits.
pub(super) struct Lanes<T> {
    by_key: HashMap<LaneKey, Lane<T>>,
    /// Keys of all lanes; the first one has been given its quantum.
    turns: VecDeque<LaneKey>,
    tokens: usize,
    jobs: usize,
}

struct Lane<T> {
    jobs: VecDeque<Waiting<T>>,
    tokens: usize,
    credit: usize,
}

/// A piece of work and its size.
pub(super) struct Waiting<T> {
    pub(super) tokens: usize,
    pub(super) item: T,
}

impl<T> Lanes<T> {
    pub(super) fn new() -> Self {
        Self { by_key: HashMap::new(), turns: VecDeque::new(), tokens: 0, jobs: 0 }
    }

    /// Jobs that wait.
    pub(super) fn jobs(&self) -> usize {
        self.jobs
    }

    /// Their tokens.
    pub(super) fn tokens(&self) -> usize {
        self.tokens
    }

    /// Tokens that are encoded before `more` of this lane, where lanes take turns: of others no more than of itself.
    pub(super) fn ahead_of(&self, key: &LaneKey, more: usize) -> usize {
        let own = self.by_key.get(key).map_or(0, |lane| lane.tokens);
        let turns = own + more.max(QUANTUM);
        let all: usize = self.by_key.values().map(|lane| lane.tokens.min(turns)).sum();
        // Its own are ahead whole; the sum has them, since they are fewer than `turns`.
        all
    }

    pub(super) fn push(&mut self, key: LaneKey, work: Waiting<T>) {
        self.tokens += work.tokens;
        self.jobs += 1;
        if let Some(lane) = self.by_key.get_mut(&key) {
            lane.tokens += work.tokens;
            lane.jobs.push_back(work);
            return;
        }
        let credit = if self.turns.is_empty() { QUANTUM } else { 0 };
        self.turns.push_back(key.clone());
        self.by_key.insert(key, Lane { tokens: work.tokens, jobs: VecDeque::from([work]), credit });
    }

    /// The next piece of work, when it is of at most `most` tokens.
    pub(super) fn pop(&mut self, most: usize) -> Option<Waiting<T>> {
        loop {
            let key = self.turns.front()?;
            let lane = self.by_key.get_mut(key)?;
            let head = lane.jobs.front()?.tokens;
            if head > lane.credit {
                self.turn();
                continue;
            }
            if head > most {
                return None;
            }
            let work = lane.jobs.pop_front()?;
            lane.credit -= work.tokens;
            lane.tokens -= work.tokens;
            self.tokens -= work.tokens;
            self.jobs -= 1;
            if lane.jobs.is_empty() {
                // What it has left is forfeited: a lane does not save up while it wants nothing.
                if let Some(key) = self.turns.pop_front() {
                    self.by_key.remove(&key);
                }
                self.grant();
            }
            return Some(work);
        }
    }

    /// Ends the first lane's turn.
    fn turn(&mut self) {
        if let Some(key) = self.turns.pop_front() {
            self.turns.push_back(key);
        }
        self.grant();
    }

    /// Gives the first lane its quantum.
    fn grant(&mut self) {
        if let Some(lane) = self.turns.front().and_then(|key| self.by_key.get_mut(key)) {
            lane.credit += QUANTUM;
        }
    }

    /// Takes the newest work of the longest lane out, when that lane is longer than `key`'s would be with `more` tokens.
    pub(super) fn displace(&mut self, key: &LaneKey, more: usize) -> Option<(LaneKey, Waiting<T>)> {
        let own = self.by_key.get(key).map_or(0, |lane| lane.tokens) + more;
        // In the order of turns, so that the choice does not hang on the map's.
        let longest = self.turns.iter().max_by_key(|key| self.by_key.get(*key).map_or(0, |lane| lane.tokens))?.clone();
        let lane = self.by_key.get_mut(&longest).filter(|lane| lane.tokens > own)?;
        let work = lane.jobs.pop_back()?;
        lane.tokens -= work.tokens;
        self.tokens -= work.tokens;
        self.jobs -= 1;
        if lane.jobs.is_empty() {
            let was_first = self.turns.front() == Some(&longest);
            self.turns.retain(|key| *key != longest);
            self.by_key.remove(&longest);
            if was_first {
                self.grant();
            }
        }
        Some((longest, work))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(name: &str) -> LaneKey {
        LaneKey { principal: name.into(), work: WorkClass::Single }
    }

    fn waiting(of: &[(&str, usize, usize)]) -> Lanes<(String, usize)> {
        let mut lanes = Lanes::new();
        for &(name, count, tokens) in of {
            for number in 0..count {
                lanes.push(key(name), Waiting { tokens, item: (name.to_owned(), number) });
            }
        }
        lanes
    }

    fn order(lanes: &mut Lanes<(String, usize)>) -> Vec<(String, usize)> {
        std::iter::from_fn(|| lanes.pop(usize::MAX)).map(|work| work.item).collect()
    }

    #[test]
    fn a_newcomer_waits_for_turns_and_not_for_a_full_lane() {
        let mut lanes = waiting(&[("greedy", 100, 16), ("modest", 1, 16)]);
        assert_eq!(lanes.ahead_of(&key("modest"), 16), 16 + 80);
        assert_eq!(lanes.ahead_of(&key("greedy"), 16), 100 * 16 + 16);
        let place = order(&mut lanes).iter().position(|(name, _)| name == "modest");
        assert_eq!(place, Some(4), "after one quantum of the other");
        assert_eq!((lanes.jobs(), lanes.tokens()), (0, 0));
    }

    #[test]
    fn large_work_gets_its_share_by_tokens() {
        let mut lanes = waiting(&[("large", 4, 512), ("small", 200, 16)]);
        let served: Vec<String> = order(&mut lanes).into_iter().map(|(name, _)| name).collect();
        let before_second: usize =
            served.iter().enumerate().filter(|(_, name)| *name == "large").nth(1).expect("two").0;
        // 512 tokens of each: 32 small ones for each large one.
        assert!((60..=70).contains(&before_second), "{before_second}");
    }

    #[test]
    fn what_does_not_fit_waits_for_the_next_pass() {
        let mut lanes = waiting(&[("one", 1, 40)]);
        assert!(lanes.pop(39).is_none());
        assert!(lanes.pop(40).is_some());
    }

    #[test]
    fn the_longest_lane_makes_room() {
        let mut lanes = waiting(&[("greedy", 10, 16), ("modest", 2, 16)]);
        assert!(lanes.displace(&key("greedy"), 16).is_none(), "nobody makes room for the longest");
        let (whose, work) = lanes.displace(&key("new"), 16).expect("room");
        assert_eq!((whose, work.item.1), (key("greedy"), 9), "the newest");
        assert!(lanes.displace(&key("new"), 160).is_none(), "what asks for more is longer itself");
    }

    proptest! {
        /// Nothing is lost, nothing is served twice, each lane keeps its order, and the counts are right throughout.
        #[test]
        fn every_piece_of_work_comes_out_once_and_in_its_lanes_order(
            steps in proptest::collection::vec((0..5usize, 1..300usize, 0..4u8), 1..200),
        ) {
            let mut lanes = Lanes::new();
            let mut model: Vec<VecDeque<(usize, usize)>> = vec![VecDeque::new(); 5];
            for (at, (lane, tokens, step)) in steps.into_iter().enumerate() {
                let name = key(&lane.to_string());
                match step {
                    0 | 1 => {
                        lanes.push(name, Waiting { tokens, item: (lane, at) });
                        model[lane].push_back((at, tokens));
                    }
                    2 => if let Some(work) = lanes.pop(tokens) {
                        prop_assert!(work.tokens <= tokens);
                        let (lane, at) = work.item;
                        prop_assert_eq!(model[lane].pop_front(), Some((at, work.tokens)));
                    },
                    _ => if let Some((from, work)) = lanes.displace(&name, tokens) {
                        prop_assert!(from != name);
                        let (lane, at) = work.item;
                        prop_assert_eq!(model[lane].pop_back(), Some((at, work.tokens)));
                    },
                }
                prop_assert_eq!(lanes.jobs(), model.iter().map(VecDeque::len).sum::<usize>());
                prop_assert_eq!(lanes.tokens(), model.iter().flatten().map(|one| one.1).sum::<usize>());
            }
            while let Some(work) = lanes.pop(usize::MAX) {
                let (lane, at) = work.item;
                prop_assert_eq!(model[lane].pop_front(), Some((at, work.tokens)));
            }
            prop_assert!(model.iter().all(VecDeque::is_empty));
        }
    }
}
