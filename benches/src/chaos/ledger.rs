//! What the writers know: what was acknowledged to them, what they asked for and never heard of, and what may answer therefore.
//!
//! Pure: it is told what happened and what the time is, and is held against what a daemon says of itself.

use std::collections::BTreeMap;

use fitment_proto::v1::Lifecycle;
use jiff::{SignedDuration, Timestamp};

use fitment_tests::Dice;

/// Live versions of one writer above which it deletes before it creates.
const MOST_LIVE: usize = 36;
/// Manifests of one import.
const IMPORTED: u64 = 8;
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// A version of a component: `1.VERSION.0` of `WRITER/part-NUMBER`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) version: u64,
}

impl Key {
    /// Reads `1.N.0`; `None` where no writer writes such a one.
    pub(crate) fn read(name: &str, version: &str) -> Option<Self> {
        let version = version.strip_prefix("1.")?.strip_suffix(".0")?.parse().ok()?;
        Some(Self { name: name.to_owned(), version })
    }

    pub(crate) fn version(&self) -> String {
        format!("1.{}.0", self.version)
    }
}

/// When a certificate counts, in days around the beginning of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Window {
    /// All the time that clocks are set to, but the far past.
    Long,
    /// Until the next day.
    Short,
    /// From the next day on.
    Future,
}

impl Window {
    /// First instant at which it counts and first at which it no longer does.
    pub(crate) fn around(self, base: Timestamp) -> (Timestamp, Timestamp) {
        let (from, until) = match self {
            Self::Long => (-400, 3650),
            Self::Short => (-400, 1),
            Self::Future => (1, 3650),
        };
        // Times around today are far from the ends of time.
        (base + DAY * from, base + DAY * until)
    }
}

/// A certificate of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Certificate {
    pub(crate) digest: String,
    pub(crate) window: Window,
    pub(crate) revoked: bool,
}

/// Where a version stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// Empty: nobody has said it yet.
    pub(crate) digest: String,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) deleted: bool,
    /// Moves along its life, and certificates and revocations.
    pub(crate) moves: u64,
    pub(crate) certificate: Option<Certificate>,
}

impl State {
    fn new(digest: String) -> Self {
        Self { digest, lifecycle: Lifecycle::Certified, deleted: false, moves: 0, certificate: None }
    }

    /// Whether its certificate counts then.
    pub(crate) fn certified(&self, base: Timestamp, at: Timestamp) -> bool {
        self.certificate.as_ref().is_some_and(|certificate| {
            let (from, until) = certificate.window.around(base);
            !certificate.revoked && from <= at && at < until
        })
    }

    /// Whether it may answer then.
    pub(crate) fn answers(&self, base: Timestamp, at: Timestamp) -> bool {
        let stands = matches!(self.lifecycle, Lifecycle::Certified | Lifecycle::Deprecated);
        !self.deleted && stands && self.certified(base, at)
    }

    fn is(&self, found: &Found) -> bool {
        let same = (self.digest.is_empty() || self.digest == found.digest)
            && (self.lifecycle, self.deleted, self.moves) == (found.lifecycle, found.deleted, found.moves);
        let certificate = self.certificate.as_ref().map(|one| (one.digest.as_str(), one.revoked));
        let listed = found.certificate.as_ref().map(|(digest, revoked)| (digest.as_str(), *revoked));
        // A deleted version's certificates are not asked for.
        same && (self.deleted || certificate == listed)
    }
}

/// What a daemon says of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) digest: String,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) deleted: bool,
    pub(crate) moves: u64,
    /// Address of its certificate, and whether that is revoked.
    pub(crate) certificate: Option<(String, bool)>,
}

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    Create,
    Certify(Certificate),
    Move(Lifecycle),
    Revoke,
    Delete,
}

/// What a writer does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// One call about one version.
    One(Key, Kind),
    /// New versions in one stream.
    Import(Vec<Key>),
}

/// What sort of write; a certificate's address is known once it is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Create,
    Certify(Window),
    Move(Lifecycle),
    Revoke,
    Delete,
}

#[derive(Clone, Debug)]
struct Entry {
    /// `None`: it was asked for, and nobody said that it is there.
    known: Option<State>,
    /// What it is if the call that was not answered was done.
    asked: Option<State>,
}

/// The versions that may answer for one component, as far as that is certain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expectation {
    /// The version that answers.
    pub(crate) version: Option<u64>,
    /// Raised by every write that begins or ends.
    stamp: u64,
}

/// How far the daemon's clock is off: between these two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Offsets {
    pub(crate) low: SignedDuration,
    pub(crate) high: SignedDuration,
}

impl Offsets {
    pub(crate) fn exactly(offset: SignedDuration) -> Self {
        Self { low: offset, high: offset }
    }
}

/// What all writers know.
pub(crate) struct Ledger {
    base: Timestamp,
    entries: BTreeMap<Key, Entry>,
    stamps: BTreeMap<String, u64>,
    next: BTreeMap<String, u64>,
}

impl Ledger {
    /// `base`: the beginning of the run, around which certificates are issued.
    pub(crate) fn new(base: Timestamp) -> Self {
        Self { base, entries: BTreeMap::new(), stamps: BTreeMap::new(), next: BTreeMap::new() }
    }

    pub(crate) fn base(&self) -> Timestamp {
        self.base
    }

    /// What a writer does next: about its own versions, and none of which it waits for an answer.
    pub(crate) fn choose(&mut self, writer: &str, dice: &mut Dice) -> Step {
        let mine = |key: &Key| key.name.strip_prefix(writer).is_some_and(|rest| rest.starts_with('/'));
        let known = self.entries.iter().filter(|(key, entry)| mine(key) && entry.asked.is_none());
        let live: Vec<(Key, State)> = known
            .filter_map(|(key, entry)| Some((key.clone(), entry.known.clone().filter(|state| !state.deleted)?)))
            .collect();
        let Some((key, state)) = live.get(dice.place(live.len())).cloned() else {
            return Step::One(self.new_key(writer), Kind::Create);
        };
        if live.len() >= MOST_LIVE || state.lifecycle == Lifecycle::Revoked {
            return Step::One(key, Kind::Delete);
        }
        let Some(certificate) = &state.certificate else {
            let window = [Window::Long, Window::Long, Window::Long, Window::Short, Window::Future];
            return Step::One(key, Kind::Certify(window.get(dice.place(5)).copied().unwrap_or(Window::Long)));
        };
        match dice.below(20) {
            0 | 1 if !certificate.revoked => Step::One(key, Kind::Revoke),
            0..=2 => Step::One(key, Kind::Delete),
            3 => Step::One(key, Kind::Move(Lifecycle::Revoked)),
            4..=6 if state.lifecycle == Lifecycle::Certified => Step::One(key, Kind::Move(Lifecycle::Deprecated)),
            4..=6 => Step::One(key, Kind::Move(Lifecycle::Certified)),
            7..=9 => {
                // A later version than all that were ever asked for.
                let versions = self.entries.keys().filter(|other| other.name == key.name);
                let version = versions.map(|other| other.version).max().unwrap_or_default() + 1;
                Step::One(Key { name: key.name, version }, Kind::Create)
            }
            10 => Step::Import((0..IMPORTED).map(|_| self.new_key(writer)).collect()),
            _ => Step::One(self.new_key(writer), Kind::Create),
        }
    }

    fn new_key(&mut self, writer: &str) -> Key {
        let number = self.next.entry(writer.to_owned()).or_default();
        *number += 1;
        Key { name: format!("{writer}/part-{number}"), version: 0 }
    }

    /// What is acknowledged of a version.
    pub(crate) fn known(&self, key: &Key) -> Option<&State> {
        self.entries.get(key)?.known.as_ref()
    }

    /// A call is about to be sent.
    pub(crate) fn begin(&mut self, key: &Key, write: &Write) {
        let known = self.entries.get(key).and_then(|entry| entry.known.clone());
        let mut asked = known.clone().unwrap_or_else(|| State::new(String::new()));
        match write {
            Write::Create => {}
            // What changes its certification is in the log like a move.
            Write::Certify(certificate) => {
                (asked.certificate, asked.moves) = (Some(certificate.clone()), asked.moves + 1);
            }
            Write::Move(to) => (asked.lifecycle, asked.moves) = (*to, asked.moves + 1),
            Write::Revoke => {
                if let Some(certificate) = &mut asked.certificate {
                    certificate.revoked = true;
                }
                asked.moves += 1;
            }
            Write::Delete => asked.deleted = true,
        }
        self.entries.insert(key.clone(), Entry { known, asked: Some(asked) });
        self.touch(&key.name);
    }

    /// It was done, says the daemon; `digest`: the version's, where the answer says it.
    pub(crate) fn acknowledge(&mut self, key: &Key, digest: Option<String>) {
        if let Some(entry) = self.entries.get_mut(key)
            && let Some(mut state) = entry.asked.take()
        {
            if let Some(digest) = digest {
                state.digest = digest;
            }
            entry.known = Some(state);
        }
        self.touch(&key.name);
    }

    /// It was not done and never will be, says the daemon.
    pub(crate) fn refuse(&mut self, key: &Key) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.asked = None;
            if entry.known.is_none() {
                self.entries.remove(key);
            }
        }
        self.touch(&key.name);
    }

    fn touch(&mut self, name: &str) {
        *self.stamps.entry(name.to_owned()).or_default() += 1;
    }

    /// Names of the components that there are or may be.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.entries.keys().map(|key| key.name.clone()).collect();
        names.dedup();
        names
    }

    /// Versions that are live, as far as is known.
    pub(crate) fn live(&self) -> impl Iterator<Item = (&Key, &State)> {
        let known = self.entries.iter().filter_map(|(key, entry)| Some((key, entry.known.as_ref()?)));
        known.filter(|(_, state)| !state.deleted)
    }

    /// What answers for a component; `None` where a call about it is under way or undecided, or the clock leaves it open.
    pub(crate) fn expectation(&self, name: &str, now: Timestamp, offsets: Offsets) -> Option<Expectation> {
        let first = Key { name: name.to_owned(), version: 0 };
        let versions = || self.entries.range(first.clone()..).take_while(|(key, _)| key.name == name);
        if versions().any(|(_, entry)| entry.asked.is_some()) {
            return None;
        }
        // A certified one before a deprecated one, then the newest.
        let newest = |at: Timestamp| {
            let known = versions().filter_map(|(key, entry)| Some((key.version, entry.known.as_ref()?)));
            let answers = known.filter(|(_, state)| state.answers(self.base, at));
            let best = answers.max_by_key(|(version, state)| (state.lifecycle == Lifecycle::Certified, *version));
            best.map(|(version, _)| version)
        };
        let (low, high) = (newest(now + offsets.low), newest(now + offsets.high));
        let stamp = self.stamps.get(name).copied().unwrap_or_default();
        (low == high).then_some(Expectation { version: low, stamp })
    }

    /// The same of every component.
    pub(crate) fn expectations(&self, now: Timestamp, offsets: Offsets) -> BTreeMap<String, Option<Expectation>> {
        let names = self.names().into_iter();
        names.map(|name| (name.clone(), self.expectation(&name, now, offsets))).collect()
    }

    /// Holds what a daemon says against what is known, settles what was undecided, and goes on from what was found. Returns how
    /// many unanswered writes turned out to have been done, and what is wrong.
    pub(crate) fn compare(&mut self, mut found: BTreeMap<Key, Found>) -> (u64, Vec<String>) {
        let (mut done, mut wrong) = (0, Vec::new());
        for (key, entry) in &mut self.entries {
            let Entry { known, asked } = entry.clone();
            let there = found.remove(key);
            entry.asked = None;
            match (&there, known, asked) {
                (None, None, _) => {}
                (Some(there), Some(known), _) if known.is(there) => {}
                (Some(there), _, Some(mut asked)) if asked.is(there) => {
                    asked.digest.clone_from(&there.digest);
                    entry.known = Some(asked);
                    done += 1;
                }
                (there, known, asked) => {
                    let lost = if known.is_some() { "lost" } else { "half there" };
                    wrong.push(format!("{lost}: {key:?} is {there:?}, acknowledged {known:?}, asked for {asked:?}"));
                    entry.known = there.as_ref().map(|there| believe(there, known.or(asked)));
                }
            }
        }
        self.entries.retain(|_, entry| entry.known.is_some());
        wrong.extend(found.iter().map(|(key, found)| format!("phantom: nobody asked for {key:?}: {found:?}")));
        for (key, found) in found {
            self.entries.insert(key, Entry { known: Some(believe(&found, None)), asked: None });
        }
        let names = self.names();
        for name in &names {
            self.touch(name);
        }
        (done, wrong)
    }
}

/// A state that was found and that nobody knew, so that the same is not complained about twice.
fn believe(found: &Found, guess: Option<State>) -> State {
    let window = guess.and_then(|state| state.certificate).map_or(Window::Long, |certificate| certificate.window);
    let certificate = found.certificate.clone();
    State {
        digest: found.digest.clone(),
        lifecycle: found.lifecycle,
        deleted: found.deleted,
        moves: found.moves,
        certificate: certificate.map(|(digest, revoked)| Certificate { digest, window, revoked }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(version: u64) -> Key {
        Key { name: "w0/part-1".into(), version }
    }

    fn certificate(window: Window) -> Write {
        Write::Certify(Certificate { digest: "c".into(), window, revoked: false })
    }

    fn found(deleted: bool, certificate: Option<(&str, bool)>) -> Found {
        Found {
            digest: "d".into(),
            lifecycle: Lifecycle::Certified,
            deleted,
            moves: 1,
            certificate: certificate.map(|(digest, revoked)| (digest.to_owned(), revoked)),
        }
    }

    fn ledger(versions: &[(u64, Window)]) -> Ledger {
        let mut ledger = Ledger::new(Timestamp::UNIX_EPOCH);
        for &(version, window) in versions {
            ledger.begin(&key(version), &Write::Create);
            ledger.acknowledge(&key(version), Some("d".into()));
            ledger.begin(&key(version), &certificate(window));
            ledger.acknowledge(&key(version), None);
        }
        ledger
    }

    fn newest(ledger: &Ledger, days: i32) -> Option<u64> {
        let offsets = Offsets::exactly(DAY * days);
        ledger.expectation("w0/part-1", Timestamp::UNIX_EPOCH, offsets).expect("certain").version
    }

    #[test]
    fn the_newest_version_whose_certificate_counts_answers() {
        let ledger = self::ledger(&[(0, Window::Long), (1, Window::Short), (2, Window::Future)]);
        assert_eq!(newest(&ledger, 0), Some(1));
        assert_eq!(newest(&ledger, 2), Some(2));
        assert_eq!(newest(&ledger, -500), None);
        // A certified one before a deprecated one.
        let mut moved = self::ledger(&[(0, Window::Long), (1, Window::Long)]);
        moved.begin(&key(1), &Write::Move(Lifecycle::Deprecated));
        moved.acknowledge(&key(1), None);
        assert_eq!(newest(&moved, 0), Some(0));
        // The clock is one or the other.
        let unsure = Offsets { low: SignedDuration::ZERO, high: DAY * 2 };
        assert_eq!(ledger.expectation("w0/part-1", Timestamp::UNIX_EPOCH, unsure), None);
    }

    #[test]
    fn nothing_is_expected_while_a_call_is_open_and_each_call_changes_the_stamp() {
        let mut ledger = ledger(&[(0, Window::Long)]);
        let now = Timestamp::UNIX_EPOCH;
        let before = ledger.expectation("w0/part-1", now, Offsets::default()).expect("certain");
        ledger.begin(&key(0), &Write::Revoke);
        assert_eq!(ledger.expectation("w0/part-1", now, Offsets::default()), None);
        ledger.refuse(&key(0));
        let after = ledger.expectation("w0/part-1", now, Offsets::default()).expect("certain");
        assert_eq!(before.version, after.version);
        assert_ne!(before, after, "something happened in between");
    }

    #[test]
    fn an_unanswered_write_was_done_or_was_not() {
        for (there, done) in [(found(false, Some(("c", false))), 0), (found(true, None), 1)] {
            let mut ledger = ledger(&[(0, Window::Long)]);
            ledger.begin(&key(0), &Write::Delete);
            assert_eq!(ledger.compare([(key(0), there.clone())].into()), (done, Vec::new()));
            assert_eq!(ledger.known(&key(0)).expect("known").deleted, there.deleted);
            // Settled: the same again is as it should be, the other is not.
            assert_eq!(ledger.compare([(key(0), there)].into()), (0, Vec::new()));
        }
        let mut ledger = Ledger::new(Timestamp::UNIX_EPOCH);
        ledger.begin(&key(0), &Write::Create);
        assert_eq!(ledger.compare(BTreeMap::new()), (0, Vec::new()));
        assert!(ledger.names().is_empty());
    }

    #[test]
    fn what_is_lost_half_there_or_asked_for_by_nobody_is_told_once() {
        let cases = [
            (BTreeMap::new(), "lost"),
            ([(key(0), found(false, None))].into(), "lost"),
            ([(key(0), found(false, Some(("c", true))))].into(), "lost"),
            ([(key(0), found(false, Some(("c", false)))), (key(9), found(false, None))].into(), "phantom"),
        ];
        for (there, expect) in cases {
            let mut ledger = ledger(&[(0, Window::Long)]);
            let (_, wrong) = ledger.compare(there.clone());
            assert!(wrong.len() == 1 && wrong[0].starts_with(expect), "{wrong:?}");
            assert_eq!(ledger.compare(there), (0, Vec::new()));
        }
        let mut ledger = Ledger::new(Timestamp::UNIX_EPOCH);
        ledger.begin(&key(0), &Write::Create);
        let (_, wrong) = ledger.compare([(key(0), found(false, None))].into());
        assert!(wrong[0].starts_with("half there"), "{wrong:?}");
    }

    #[test]
    fn what_was_refused_must_not_be_there() {
        let mut ledger = Ledger::new(Timestamp::UNIX_EPOCH);
        ledger.begin(&key(0), &Write::Create);
        ledger.refuse(&key(0));
        let (_, wrong) = ledger.compare([(key(0), found(false, None))].into());
        assert!(wrong[0].starts_with("phantom"), "{wrong:?}");
    }

    #[test]
    fn writers_keep_their_number_of_versions_and_to_their_own() {
        let mut ledger = Ledger::new(Timestamp::UNIX_EPOCH);
        let mut dice = Dice(5);
        for round in 0..3000 {
            let writer = ["w0", "w1"][round % 2];
            let step = ledger.choose(writer, &mut dice);
            let (keys, kind) = match step {
                Step::One(key, kind) => (vec![key], kind),
                Step::Import(keys) => (keys, Kind::Create),
            };
            for key in keys {
                assert!(key.name.starts_with(writer));
                let write = match kind {
                    Kind::Create => Write::Create,
                    Kind::Certify(window) => certificate(window),
                    Kind::Move(to) => Write::Move(to),
                    Kind::Revoke => Write::Revoke,
                    Kind::Delete => Write::Delete,
                };
                ledger.begin(&key, &write);
                ledger.acknowledge(&key, Some("d".into()));
            }
        }
        let live = ledger.live().count();
        assert!((40..=90).contains(&live), "{live}");
    }

    #[test]
    fn versions_are_read_as_they_are_written() {
        assert_eq!(Key::read("w0/part-1", &key(7).version()), Some(key(7)));
        assert_eq!(Key::read("w0/part-1", "2.0.0"), None);
    }
}
