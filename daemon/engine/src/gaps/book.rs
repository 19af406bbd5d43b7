//! Intents and the gaps that they make up, in memory: grouping, counting, forgetting.
//!
//! An intent joins the gap with whose intents it has the greatest mean cosine, where that reaches the
//! policy's threshold; otherwise it founds one. Two gaps whose intents reach it between them become one, under the older one's id. This is average linkage
//! (Sokal and Michener, 1958) one intent at a time: where it puts an intent is kept, so that ids stay. Where intents of one
//! theme all reach the threshold with each other and those of different themes never do, any order gives the same gaps;
//! otherwise it depends on the order in which they were asked.

use std::collections::{BTreeMap, BTreeSet};

use fitment_catalog::Digest;
use serde::{Deserialize, Serialize};

use super::GapPolicy;
use super::code::{Code, unit};
use super::report::GapLink;
use crate::decisions::DecidedIntent;
use crate::pipeline::Outcome;

/// Ids of merged gaps that one gap remembers.
const MAX_EARLIER: usize = 64;
/// Hexadecimal digits of a gap's id.
const ID_DIGITS: usize = 12;

/// Names an intent: the beginning of a sha256.
pub(crate) type IntentKey = u128;
/// Days since 1970, by UTC.
pub(crate) type Day = u32;
/// How often zero, minimal and raw generation and candidates were answered.
pub(crate) type Tally = [u64; 4];

/// An intent that nothing certified met, as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoredIntent {
    /// Its text, as far as the policy keeps it.
    pub(crate) text: DecidedIntent,
    /// The gap that it is of.
    pub(crate) gap: String,
    /// Digest of the model that made its vector.
    pub(crate) model: String,
    /// First asked.
    pub(crate) first: jiff::Timestamp,
    /// Last asked.
    pub(crate) last: jiff::Timestamp,
    /// How often on each day within the retention.
    pub(crate) days: BTreeMap<Day, u64>,
}

impl StoredIntent {
    /// How often it was asked, within the retention.
    pub(super) fn asked(&self) -> u64 {
        self.days.values().sum()
    }
}

/// A gap, as it is kept: what is not in its intents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct GapRecord {
    /// When it was founded.
    pub(crate) founded: jiff::Timestamp,
    /// What closes it.
    pub(crate) link: Option<Linked>,
    /// Ids of gaps that were merged into it, the latest last.
    pub(crate) earlier: Vec<String>,
}

/// What closes a gap, and how all traffic stood then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Linked {
    pub(crate) link: GapLink,
    /// All answers within the retention before.
    pub(crate) before: Tally,
    /// The day, and its answers until then.
    pub(crate) day: Day,
    pub(crate) of_day: Tally,
}

/// One intent with its vector.
#[derive(Debug)]
pub(super) struct KeptIntent {
    pub(super) record: StoredIntent,
    pub(super) code: Code,
}

/// One gap with what is reckoned from its intents.
#[derive(Debug)]
pub(super) struct KeptGap {
    pub(super) record: GapRecord,
    pub(super) members: BTreeSet<IntentKey>,
    /// Sum of the members' vectors in units of 1 / [`ONE`]: whole numbers, so that it is the same in any order.
    sum: Vec<i64>,
    /// Their mean.
    mean: Vec<f32>,
}

/// What a value of 1 is in a sum.
const ONE: f64 = 4_294_967_296.0;

impl KeptGap {
    fn new(record: GapRecord, dimension: usize) -> Self {
        Self { record, members: BTreeSet::new(), sum: vec![0; dimension], mean: vec![0.0; dimension] }
    }

    fn add(&mut self, key: IntentKey, vector: &[f32]) {
        self.members.insert(key);
        self.sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += fixed(*value));
        self.refresh();
    }

    fn remove(&mut self, key: IntentKey, vector: &[f32]) {
        self.members.remove(&key);
        self.sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum -= fixed(*value));
        self.refresh();
    }

    fn absorb(&mut self, other: Self) {
        self.members.extend(other.members);
        self.sum.iter_mut().zip(&other.sum).for_each(|(sum, value)| *sum += value);
        self.refresh();
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "a mean of at most 50,000 values of -1..=1"
    )]
    fn refresh(&mut self) {
        let size = ONE * self.members.len().max(1) as f64;
        self.mean = self.sum.iter().map(|&sum| (sum as f64 / size) as f32).collect();
    }

    /// Mean cosine of a vector with the members.
    pub(super) fn likeness(&self, vector: &[f32]) -> f32 {
        fitment_index::dot(&self.mean, vector)
    }

    /// Mean cosine of its members with another one's.
    fn likeness_with(&self, other: &Self) -> f32 {
        fitment_index::dot(&self.mean, &other.mean)
    }

    /// Its middle, of length 1.
    pub(super) fn middle(&self) -> Vec<f32> {
        unit(self.mean.clone())
    }
}

#[expect(clippy::cast_possible_truncation, reason = "values of a unit vector")]
fn fixed(value: f32) -> i64 {
    (f64::from(value) * ONE).round() as i64
}

/// An intent on its way into the book.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) key: IntentKey,
    pub(super) text: DecidedIntent,
    pub(super) code: Code,
    pub(super) time: jiff::Timestamp,
}

/// What must be written: keys whose records have changed or are gone.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    pub(super) intents: BTreeSet<IntentKey>,
    pub(super) gaps: BTreeSet<String>,
    pub(super) traffic: BTreeSet<Day>,
}

impl Unwritten {
    pub(super) fn is_empty(&self) -> bool {
        self.intents.is_empty() && self.gaps.is_empty() && self.traffic.is_empty()
    }
}

/// Everything that is kept.
#[derive(Debug)]
pub(super) struct Book {
    policy: GapPolicy,
    model: String,
    dimension: usize,
    pub(super) intents: BTreeMap<IntentKey, KeptIntent>,
    pub(super) gaps: BTreeMap<String, KeptGap>,
    /// All answers by day.
    pub(super) traffic: BTreeMap<Day, Tally>,
    pub(super) unwritten: Unwritten,
}

impl Book {
    pub(super) fn new(policy: GapPolicy, model: String, dimension: usize) -> Self {
        Self {
            policy,
            model,
            dimension,
            intents: BTreeMap::new(),
            gaps: BTreeMap::new(),
            traffic: BTreeMap::new(),
            unwritten: Unwritten::default(),
        }
    }

    /// Takes what was written back in: gaps first, then their intents.
    pub(super) fn restore_gap(&mut self, id: String, record: GapRecord) {
        self.gaps.insert(id, KeptGap::new(record, self.dimension));
    }

    /// The same of an intent, whose vector is of this book's model.
    pub(super) fn restore_intent(&mut self, key: IntentKey, record: StoredIntent, code: Code) {
        let dimension = self.dimension;
        let gap = self.gaps.entry(record.gap.clone()).or_insert_with(|| {
            KeptGap::new(GapRecord { founded: record.first, link: None, earlier: Vec::new() }, dimension)
        });
        gap.add(key, &code.vector());
        self.intents.insert(key, KeptIntent { record, code });
    }

    /// Counts an intent, and puts a new one into a gap.
    pub(super) fn ask(&mut self, asked: Asked) {
        let Asked { key, text, code, time } = asked;
        let day = day_of(time);
        self.unwritten.intents.insert(key);
        if let Some(KeptIntent { record, .. }) = self.intents.get_mut(&key) {
            record.last = record.last.max(time);
            *record.days.entry(day).or_default() += 1;
            return;
        }
        let vector = code.vector();
        let gap = self.nearest(&vector).unwrap_or_else(|| self.found(key, time));
        if let Some(kept) = self.gaps.get_mut(&gap) {
            kept.add(key, &vector);
        }
        let days = BTreeMap::from([(day, 1)]);
        let record = StoredIntent { text, gap: gap.clone(), model: self.model.clone(), first: time, last: time, days };
        self.intents.insert(key, KeptIntent { record, code });
        self.merge_from(gap);
    }

    /// Counts answers of all sorts.
    pub(super) fn answered(&mut self, day: Day, tally: Tally) {
        add(self.traffic.entry(day).or_default(), &tally);
        self.unwritten.traffic.insert(day);
    }

    /// The gap with whose intents a vector has the greatest mean cosine, of those within the threshold; the lowest id of equal
    /// ones.
    fn nearest(&self, vector: &[f32]) -> Option<String> {
        let near = self.gaps.iter().map(|(id, gap)| (gap.likeness(vector), id));
        let near = near.filter(|(likeness, _)| f64::from(*likeness) >= self.policy.similarity);
        near.max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(a.1))).map(|(_, id)| id.clone())
    }

    /// A new gap, named after the intent that founds it.
    fn found(&mut self, key: IntentKey, time: jiff::Timestamp) -> String {
        let taken = |id: &String| self.gaps.iter().any(|(other, gap)| other == id || gap.record.earlier.contains(id));
        // An intent that was forgotten and is asked again may find its old gap's id taken.
        let id = (0..=u32::MAX).map(|n| gap_id(key, n)).find(|id| !taken(id)).unwrap_or_default();
        let record = GapRecord { founded: time, link: None, earlier: Vec::new() };
        self.gaps.insert(id.clone(), KeptGap::new(record, self.dimension));
        self.unwritten.gaps.insert(id.clone());
        id
    }

    /// Makes one gap of those whose intents have come near enough to those of `id`, as long as there are any. A gap that
    /// somebody has linked stays by itself.
    fn merge_from(&mut self, mut id: String) {
        while let Some(kept) = self.gaps.get(&id).filter(|gap| gap.record.link.is_none()) {
            let open = self.gaps.iter().filter(|(other, gap)| **other != id && gap.record.link.is_none());
            let near = open.map(|(other, gap)| (kept.likeness_with(gap), other));
            let near = near.filter(|(likeness, _)| f64::from(*likeness) >= self.policy.similarity);
            let Some((_, other)) = near.max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(a.1))) else { return };
            let other = other.clone();
            let age = |id: &String| self.gaps.get(id).map(|gap| gap.record.founded);
            let (into, from) = if (age(&id), &id) <= (age(&other), &other) { (id, other) } else { (other, id) };
            self.merge(&into, &from);
            id = into;
        }
    }

    fn merge(&mut self, into: &str, from: &str) {
        let (Some(gone), Some(kept)) = (self.gaps.remove(from), self.gaps.get_mut(into)) else { return };
        kept.record.earlier.extend_from_slice(&gone.record.earlier);
        kept.record.earlier.push(from.to_owned());
        let surplus = kept.record.earlier.len().saturating_sub(MAX_EARLIER);
        kept.record.earlier.drain(..surplus);
        for &key in &gone.members {
            if let Some(intent) = self.intents.get_mut(&key) {
                into.clone_into(&mut intent.record.gap);
            }
            self.unwritten.intents.insert(key);
        }
        kept.absorb(gone);
        self.unwritten.gaps.extend([into.to_owned(), from.to_owned()]);
    }

    /// Forgets what is older than the retention, and the intents over the limit that were last asked the longest ago.
    pub(super) fn forget(&mut self, now: jiff::Timestamp) {
        let oldest = day_of(now).saturating_sub(u32::try_from(self.policy.days).unwrap_or(Day::MAX));
        let past: Vec<Day> = self.traffic.range(..=oldest).map(|(&day, _)| day).collect();
        for day in past {
            self.traffic.remove(&day);
            self.unwritten.traffic.insert(day);
        }
        let mut gone: Vec<IntentKey> = Vec::new();
        for (&key, intent) in &mut self.intents {
            if day_of(intent.record.last) <= oldest {
                gone.push(key);
            } else if intent.record.days.first_key_value().is_some_and(|(&day, _)| day <= oldest) {
                intent.record.days = intent.record.days.split_off(&(oldest + 1));
                self.unwritten.intents.insert(key);
            }
        }
        let limit = usize::try_from(self.policy.intents).unwrap_or(usize::MAX);
        if self.intents.len() - gone.len() > limit {
            let mut by_age: Vec<_> = self.intents.iter().map(|(&key, intent)| (intent.record.last, key)).collect();
            by_age.sort_unstable();
            gone = by_age.into_iter().take(self.intents.len() - limit).map(|(_, key)| key).collect();
        }
        for key in gone {
            self.remove(key);
        }
    }

    /// Forgets an intent, and its gap when it was the last one there.
    pub(super) fn remove(&mut self, key: IntentKey) {
        let Some(KeptIntent { record, code }) = self.intents.remove(&key) else { return };
        self.unwritten.intents.insert(key);
        if let Some(gap) = self.gaps.get_mut(&record.gap) {
            gap.remove(key, &code.vector());
            if gap.members.is_empty() {
                self.gaps.remove(&record.gap);
                self.unwritten.gaps.insert(record.gap);
            }
        }
    }

    /// The id of the gap that an id stands for now.
    pub(super) fn resolve(&self, id: &str) -> Option<&str> {
        let merged = || self.gaps.iter().find(|(_, gap)| gap.record.earlier.iter().any(|earlier| earlier == id));
        self.gaps.get_key_value(id).or_else(merged).map(|(id, _)| id.as_str())
    }

    /// A gap's record with a link, or without one.
    pub(super) fn linked(&self, id: &str, link: Option<GapLink>) -> Option<GapRecord> {
        let link = link.map(|link| {
            let day = day_of(link.time);
            let of_day = self.traffic.get(&day).copied().unwrap_or_default();
            Linked { link, before: self.traffic_until(day), day, of_day }
        });
        self.gaps.get(id).map(|gap| GapRecord { link, ..gap.record.clone() })
    }

    /// Takes over a record that was written.
    pub(super) fn put_record(&mut self, id: &str, record: GapRecord) {
        if let Some(gap) = self.gaps.get_mut(id) {
            gap.record = record;
        }
    }

    fn traffic_until(&self, day: Day) -> Tally {
        total(self.traffic.range(..=day).map(|(_, tally)| tally))
    }

    /// All answers since a link, within the retention.
    pub(super) fn traffic_since(&self, linked: &Linked) -> Tally {
        let mut since = total(self.traffic.range(linked.day..).map(|(_, tally)| tally));
        if self.traffic.contains_key(&linked.day) {
            since.iter_mut().zip(linked.of_day).for_each(|(count, before)| *count = count.saturating_sub(before));
        }
        since
    }
}

fn total<'a>(tallies: impl Iterator<Item = &'a Tally>) -> Tally {
    tallies.fold(Tally::default(), |mut total, tally| {
        add(&mut total, tally);
        total
    })
}

/// The place of an outcome in a tally.
pub(super) fn place(outcome: Outcome) -> usize {
    match outcome {
        Outcome::ZeroGeneration => 0,
        Outcome::MinimalGeneration => 1,
        Outcome::RawGeneration => 2,
        Outcome::Candidates => 3,
    }
}

/// Adds one tally to another.
pub(super) fn add(total: &mut Tally, tally: &Tally) {
    total.iter_mut().zip(tally).for_each(|(total, count)| *total += count);
}

/// The day of an instant, by UTC.
pub(super) fn day_of(time: jiff::Timestamp) -> Day {
    Day::try_from(time.as_second().max(0) / 86_400).unwrap_or(Day::MAX)
}

/// The beginning of the sha256 of some bytes.
pub(super) fn key_of(bytes: &[u8]) -> IntentKey {
    let digest = Digest::of(bytes).to_string();
    let digits: String = digest.rsplit(':').next().unwrap_or_default().chars().take(32).collect();
    u128::from_str_radix(&digits, 16).unwrap_or_default()
}

fn gap_id(key: IntentKey, attempt: u32) -> String {
    let mut bytes = key.to_be_bytes().to_vec();
    bytes.extend_from_slice(&attempt.to_be_bytes());
    let digest = Digest::of(&bytes).to_string();
    digest.rsplit(':').next().unwrap_or_default().chars().take(ID_DIGITS).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIMENSION: usize = 8;

    fn at(seconds: i64) -> jiff::Timestamp {
        jiff::Timestamp::from_second(seconds).expect("in range")
    }

    fn book(intents: u64, days: u64) -> Book {
        Book::new(GapPolicy { intents, days, ..GapPolicy::default() }, "model".into(), DIMENSION)
    }

    /// An intent of a theme: near its axis, by at most `spread` on one other axis.
    fn asked(theme: usize, wobble: usize, spread: f32, time: i64) -> Asked {
        let mut vector = vec![0.0; DIMENSION];
        vector[theme] = 1.0;
        vector[4 + wobble % 4] += spread;
        let key = key_of(format!("{theme} {wobble}").as_bytes());
        Asked { key, text: DecidedIntent::Dropped, code: Code::of(&unit(vector)), time: at(time) }
    }

    /// Which intents are together.
    fn partition(book: &Book) -> BTreeSet<BTreeSet<IntentKey>> {
        book.gaps.values().map(|gap| gap.members.clone()).collect()
    }

    fn check_sums(book: &Book) {
        let mut members = 0;
        for (id, gap) in &book.gaps {
            assert!(!gap.members.is_empty(), "a gap without intents");
            members += gap.members.len();
            for key in &gap.members {
                assert_eq!(book.intents[key].record.gap, *id);
            }
        }
        assert_eq!(members, book.intents.len());
    }

    proptest! {
        /// Themes that are apart come apart, whatever the order.
        #[test]
        fn themes_that_are_apart_are_the_same_in_any_order(
            order in Just((0..12usize).collect::<Vec<_>>()).prop_shuffle(),
        ) {
            let mut ordered = book(100, 90);
            (0..12).for_each(|n| ordered.ask(asked(n % 3, n / 3, 0.4, 5)));
            let mut shuffled = book(100, 90);
            for n in order {
                shuffled.ask(asked(n % 3, n / 3, 0.4, 5));
            }
            prop_assert_eq!(ordered.gaps.len(), 3);
            prop_assert_eq!(partition(&ordered), partition(&shuffled));
            check_sums(&shuffled);
        }

        /// Whatever is asked, no more is kept than the policy says, and what is restored goes on as what was kept.
        #[test]
        fn it_is_bounded_and_goes_on_after_a_restart(
            steps in prop::collection::vec((0..4usize, 0..16usize, 0.0f32..3.0, 0..40i64), 1..60), limit in 1..12u64,
        ) {
            let mut kept = book(limit, 10);
            let (before, after) = steps.split_at(steps.len() / 2);
            let ask = |book: &mut Book, steps: &[(usize, usize, f32, i64)]| {
                for &(theme, wobble, spread, day) in steps {
                    book.ask(asked(theme, wobble, spread, day * 86_400));
                    book.answered(u32::try_from(day).expect("small"), [0, 0, 1, 0]);
                    book.forget(at(40 * 86_400));
                }
            };
            ask(&mut kept, before);
            let mut restored = book(limit, 10);
            for (id, gap) in &kept.gaps {
                restored.restore_gap(id.clone(), gap.record.clone());
            }
            for (key, intent) in &kept.intents {
                restored.restore_intent(*key, intent.record.clone(), intent.code.clone());
            }
            restored.traffic = kept.traffic.clone();
            prop_assert_eq!(partition(&kept), partition(&restored));
            ask(&mut restored, after);
            check_sums(&restored);
            prop_assert!(restored.intents.len() as u64 <= limit);
            prop_assert!(restored.traffic.len() <= 10);
            prop_assert!(restored.gaps.values().all(|gap| gap.record.earlier.len() <= MAX_EARLIER));
            prop_assert!(restored.intents.values().all(|intent| intent.record.days.keys().all(|day| *day > 30)));
        }
    }

    #[test]
    fn ids_stay_when_intents_join_and_merged_ones_are_found() {
        let mut book = book(100, 90);
        book.ask(asked(0, 0, 0.0, 1));
        let first = book.gaps.keys().next().expect("a gap").clone();
        book.ask(asked(0, 1, 0.4, 2));
        assert_eq!(book.gaps.keys().collect::<Vec<_>>(), [&first]);
        // Two axes are apart until enough intents lie between them.
        book.ask(asked(1, 0, 0.0, 3));
        assert_eq!(book.gaps.len(), 2);
        let second = book.gaps.keys().find(|id| **id != first).expect("another").clone();
        for n in 0..40u8 {
            let mut vector = vec![0.0; DIMENSION];
            (vector[0], vector[1], vector[3]) = (1.0, 1.0, f32::from(n) / 100.0);
            let code = Code::of(&unit(vector));
            book.ask(Asked { key: key_of(&[n]), text: DecidedIntent::Dropped, code, time: at(4) });
        }
        assert_eq!(book.gaps.keys().collect::<Vec<_>>(), [&first], "the older one stays");
        assert_eq!(book.resolve(&second), Some(first.as_str()));
        check_sums(&book);
    }

    #[test]
    fn a_link_divides_the_traffic() {
        let mut book = book(100, 90);
        book.ask(asked(0, 0, 0.0, 86_400 * 3));
        let id = book.gaps.keys().next().expect("a gap").clone();
        book.answered(2, [1, 0, 5, 0]);
        book.answered(3, [1, 0, 2, 0]);
        let link =
            GapLink { component: "a/b".into(), time: at(86_400 * 3 + 7), actor: String::new(), reason: String::new() };
        let record = book.linked(&id, Some(link)).expect("a gap");
        book.put_record(&id, record);
        book.answered(3, [2, 1, 0, 0]);
        book.answered(4, [1, 0, 1, 1]);
        let linked = book.gaps[&id].record.link.clone().expect("linked");
        assert_eq!((linked.before, book.traffic_since(&linked)), ([2, 0, 7, 0], [3, 1, 1, 1]));
    }
}
