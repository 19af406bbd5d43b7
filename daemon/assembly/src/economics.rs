//! What assembly saves: outcomes, lines not generated, gaps closed and context tokens, per team and period.

mod picture;
mod table;

use std::collections::BTreeMap;

use jiff::civil::{Date, ISOWeekDate, Weekday};
use serde::{Deserialize, Serialize};

/// What happened to one team on one day, UTC. Rows of the same team and day add up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counters {
    /// The team.
    pub team: String,
    /// The day.
    pub day: Date,
    /// What is counted.
    #[serde(flatten)]
    pub figures: Figures,
}

/// Counts; sums stop at the largest number instead of starting over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Intents that a component met as it is.
    pub zero: u64,
    /// Intents that a component met once configured.
    pub minimal: u64,
    /// Intents that nothing certified met.
    pub raw: u64,
    /// Lines that were not generated, by the estimates that callers gave.
    pub lines_saved: u64,
    /// Gaps that a new component closed.
    pub gaps_closed: u64,
    /// Tokens of context packs.
    pub context_tokens: u64,
}

impl Figures {
    /// All intents.
    pub fn intents(&self) -> u64 {
        self.zero.saturating_add(self.minimal).saturating_add(self.raw)
    }

    /// Shares of zero, minimal and raw outcomes, 0..=1; `None` without intents.
    #[expect(clippy::cast_precision_loss, reason = "a share is shown with three digits")]
    pub fn shares(&self) -> Option<[f64; 3]> {
        let counts = [self.zero, self.minimal, self.raw].map(|count| count as f64);
        let all: f64 = counts.iter().sum();
        (all > 0.0).then(|| counts.map(|count| count / all))
    }

    fn add(&mut self, other: &Self) {
        let Self { zero, minimal, raw, lines_saved, gaps_closed, context_tokens } = other;
        for (sum, more) in [
            (&mut self.zero, zero),
            (&mut self.minimal, minimal),
            (&mut self.raw, raw),
            (&mut self.lines_saved, lines_saved),
            (&mut self.gaps_closed, gaps_closed),
            (&mut self.context_tokens, context_tokens),
        ] {
            *sum = sum.saturating_add(*more);
        }
    }
}

/// Length of a period, in the UTC calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    /// One day.
    Day,
    /// Monday to Sunday (ISO 8601).
    Week,
    /// A calendar month.
    Month,
}

impl Period {
    /// The first day of the period that a day lies in. The first of all weeks begins where the calendar does.
    pub fn start(self, day: Date) -> Date {
        match self {
            Self::Day => day,
            Self::Week => {
                let week = day.iso_week_date();
                ISOWeekDate::new(week.year(), week.week(), Weekday::Monday).map_or(Date::MIN, ISOWeekDate::date)
            }
            Self::Month => day.first_of_month(),
        }
    }

    /// The name of the period that begins on a day: `2026-11-23`, `2026-W48` or `2026-11`.
    pub fn name(self, start: Date) -> String {
        match self {
            Self::Day => start.to_string(),
            Self::Week => {
                let week = start.iso_week_date();
                format!("{:04}-W{:02}", week.year(), week.week())
            }
            Self::Month => format!("{:04}-{:02}", start.year(), start.month()),
        }
    }
}

/// One team in one period.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Group {
    /// The team.
    pub team: String,
    /// The period's name.
    pub period: String,
    /// Its first day.
    pub start: Date,
    /// What was counted.
    pub figures: Figures,
}

/// Counters put together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Economics {
    /// Length of the periods.
    pub period: Period,
    /// Teams in periods, by period and then by team. What has no counters is left out.
    pub groups: Vec<Group>,
    /// Each team over all periods, by team.
    pub teams: BTreeMap<String, Figures>,
    /// All teams in each period, in order: name and counts.
    pub periods: Vec<(String, Figures)>,
    /// Everything.
    pub total: Figures,
}

impl Economics {
    /// Groups counters. The order of the rows means nothing.
    pub fn of(rows: &[Counters], period: Period) -> Self {
        let mut groups: BTreeMap<(Date, &str), Figures> = BTreeMap::new();
        let mut periods: BTreeMap<Date, Figures> = BTreeMap::new();
        let mut teams: BTreeMap<String, Figures> = BTreeMap::new();
        let mut total = Figures::default();
        for Counters { team, day, figures } in rows {
            let start = period.start(*day);
            groups.entry((start, team)).or_default().add(figures);
            periods.entry(start).or_default().add(figures);
            teams.entry(team.clone()).or_default().add(figures);
            total.add(figures);
        }
        let group = |((start, team), figures): ((Date, &str), Figures)| Group {
            team: team.to_owned(),
            period: period.name(start),
            start,
            figures,
        };
        Self {
            period,
            groups: groups.into_iter().map(group).collect(),
            teams,
            periods: periods.into_iter().map(|(start, figures)| (period.name(start), figures)).collect(),
            total,
        }
    }
}
