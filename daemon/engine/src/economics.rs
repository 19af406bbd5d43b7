//! What assembly saves, counted by team and day while matches are answered: a match adds to a few numbers in memory; a thread of
//! its own, or whoever reads first, writes them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use fitment_assembly::{Counters, Figures};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use parking_lot::{Condvar, Mutex};

use crate::engine::{Engine, Shared as EngineParts};
use crate::error::EngineError;
use crate::gather::{Gathering, gather};
use crate::limits::without_controls;
use crate::pipeline::{MatchAnswer, Outcome};
use crate::store::Store;

/// How long counts wait for others to be written with.
const GATHER: Duration = Duration::from_secs(1);
/// Longest name of a team, in characters.
const MAX_TEAM_CHARS: usize = 120;
/// Teams that are told apart on one day; the others are counted as [`OTHER_TEAMS`].
const MAX_TEAMS: usize = 1000;
/// The team of those beyond [`MAX_TEAMS`].
const OTHER_TEAMS: &str = "(other teams)";
/// Days that are kept.
const KEPT_DAYS: i64 = 1100;
/// Most lines of code that a caller may state for one intent.
const MAX_LINES: u32 = 10_000_000;

/// Counts outcomes.
pub(crate) struct Economics {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

/// What the writer and everybody else share.
struct Shared {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    store: Arc<Store>,
    /// Held while counts are written, so that readers see them in one place or the other.
    writing: Mutex<()>,
}

#[derive(Default)]
struct Waiting {
    counts: BTreeMap<(Date, String), Figures>,
    stopping: bool,
}

impl Gathering for Waiting {
    fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    fn is_stopping(&self) -> bool {
        self.stopping
    }
}

impl Economics {
    /// Starts the writer. It ends, and what waits is written, when this is dropped.
    pub(crate) fn start(store: &Arc<Store>) -> Result<Self, EngineError> {
        let shared = Arc::new(Shared {
            waiting: Mutex::default(),
            wake: Condvar::new(),
            store: Arc::clone(store),
            writing: Mutex::default(),
        });
        let writing = Arc::clone(&shared);
        let spawned = thread::Builder::new().name("economics".into()).spawn(move || writing.write());
        let writer = spawned.map_err(|source| EngineError::Io { path: "economics thread".into(), source })?;
        Ok(Self { shared, writer: Some(writer) })
    }

    /// Takes note of an answer. Takes microseconds and no disk. `lines`: what the caller would have generated; 0: not stated.
    pub(crate) fn answered(&self, now: jiff::Timestamp, team: &str, lines: u32, answer: &MatchAnswer) {
        let open = answer.candidates.first().map_or(0, |first| first.open_properties.len() as u64);
        let figures = match answer.outcome {
            Outcome::ZeroGeneration => Figures { zero: 1, lines_saved: lines.into(), ..Figures::default() },
            // A line is reckoned for each property that is left to fill in.
            Outcome::MinimalGeneration => {
                Figures { minimal: 1, lines_saved: u64::from(lines).saturating_sub(open), ..Figures::default() }
            }
            Outcome::RawGeneration => Figures { raw: 1, ..Figures::default() },
            Outcome::Candidates => return,
        };
        self.count(now, team, figures);
    }

    /// Takes note of a plan's lines: what would have been generated without it, less what must be reviewed with it.
    pub(crate) fn planned(&self, now: jiff::Timestamp, team: &str, lines: u64) {
        self.count(now, team, Figures { lines_saved: lines, ..Figures::default() });
    }

    /// Takes note of a context pack.
    pub(crate) fn served_context(&self, now: jiff::Timestamp, team: &str, tokens: usize) {
        self.count(now, team, Figures { context_tokens: tokens as u64, ..Figures::default() });
    }

    /// Takes note of a gap that a component of a team closes.
    pub(crate) fn closed_gap(&self, now: jiff::Timestamp, team: &str) {
        self.count(now, team, Figures { gaps_closed: 1, ..Figures::default() });
    }

    fn count(&self, now: jiff::Timestamp, team: &str, figures: Figures) {
        let day = now.to_zoned(TimeZone::UTC).date();
        let mut waiting = self.shared.waiting.lock();
        let first = waiting.counts.is_empty();
        let mut key = (day, team.to_owned());
        if waiting.counts.len() >= MAX_TEAMS && !waiting.counts.contains_key(&key) {
            OTHER_TEAMS.clone_into(&mut key.1);
        }
        waiting.counts.entry(key).or_default().add(&figures);
        drop(waiting);
        if first {
            self.shared.wake.notify_one();
        }
    }

    /// Counts of the days asked for, what waits included. Blocks.
    fn rows(&self, from: Date, to: Date) -> Result<Vec<Counters>, EngineError> {
        self.shared.settle();
        self.shared.store.read()?.economics(from, to)
    }
}

impl Drop for Economics {
    fn drop(&mut self) {
        self.shared.waiting.lock().stopping = true;
        self.shared.wake.notify_all();
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has nothing left to write.
            drop(writer.join());
        }
    }
}

impl Shared {
    /// The writer's thread.
    fn write(&self) {
        loop {
            let stopping = gather(&self.waiting, &self.wake, GATHER).stopping;
            self.settle();
            if stopping {
                return;
            }
        }
    }

    /// Writes what waits; what cannot be written waits on.
    fn settle(&self) {
        let _writing = self.writing.lock();
        let counts = std::mem::take(&mut self.waiting.lock().counts);
        if counts.is_empty() {
            return;
        }
        let newest = counts.keys().map(|(day, _)| *day).max().unwrap_or(Date::MIN);
        let oldest = newest.checked_sub(jiff::Span::new().days(KEPT_DAYS)).unwrap_or(Date::MIN);
        if let Err(error) = self.store.add_economics(&counts, oldest, MAX_TEAMS, OTHER_TEAMS) {
            tracing::error!(%error, "the economics could not be written; they are kept in memory and tried again");
            let mut waiting = self.waiting.lock();
            for (key, figures) in counts {
                waiting.counts.entry(key).or_default().add(&figures);
            }
        }
    }
}

/// A team's name as it is counted.
///
/// Errors: one that is too long, or more than a line.
pub(crate) fn checked_team(team: &str) -> Result<String, EngineError> {
    if team.chars().count() > MAX_TEAM_CHARS {
        return Err(EngineError::field("team", format!("is longer than {MAX_TEAM_CHARS} characters")));
    }
    without_controls("team", team, &[])?;
    Ok(team.trim().to_owned())
}

/// Lines of code that a caller states.
///
/// Errors: more than [`MAX_LINES`].
pub(crate) fn checked_lines(field: &str, lines: u32) -> Result<u32, EngineError> {
    if lines <= MAX_LINES {
        return Ok(lines);
    }
    Err(EngineError::field(field, format!("is {lines}; at most {MAX_LINES} are taken")))
}

impl Engine {
    /// Counts by team and day, from one day to another. `team`: only that one.
    pub async fn economics(&self, from: Date, to: Date, team: Option<String>) -> Result<Vec<Counters>, EngineError> {
        self.compute(move |shared: &EngineParts| {
            let mut rows = shared.economics.rows(from, to)?;
            if let Some(team) = team {
                let team = checked_team(&team)?;
                rows.retain(|row| row.team == team);
            }
            Ok(rows)
        })
        .await
    }
}
