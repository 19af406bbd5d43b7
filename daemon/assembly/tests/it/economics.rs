//! Economics: counters by team and period, as a table, as CSV and as a picture.

use fitment_assembly::{Counters, Economics, Figures, Period};
use proptest::prelude::*;

fn counters(team: &str, day: &str, zero: u64, minimal: u64, raw: u64) -> Counters {
    let figures = Figures { zero, minimal, raw, lines_saved: 100 * zero, gaps_closed: raw, context_tokens: 7 };
    Counters { team: team.to_owned(), day: day.parse().expect("a day"), figures }
}

fn rows() -> Vec<Counters> {
    vec![
        counters("payments", "2026-11-23", 3, 1, 0),
        counters("payments", "2026-11-23", 1, 0, 1),
        counters("portal", "2026-11-29", 2, 2, 4),
        counters("portal", "2026-11-30", 0, 0, 0),
        counters("payments", "2027-01-01", 1, 1, 2),
    ]
}

#[test]
fn periods_are_days_weeks_and_months() {
    let names =
        |period| -> Vec<String> { Economics::of(&rows(), period).periods.into_iter().map(|(name, _)| name).collect() };
    assert_eq!(names(Period::Day), ["2026-11-23", "2026-11-29", "2026-11-30", "2027-01-01"]);
    assert_eq!(names(Period::Week), ["2026-W48", "2026-W49", "2026-W53"]);
    assert_eq!(names(Period::Month), ["2026-11", "2027-01"]);
}

#[test]
fn counts_add_up() {
    let economics = Economics::of(&rows(), Period::Week);
    let first = &economics.groups[0];
    assert_eq!(
        (first.team.as_str(), first.period.as_str(), first.start.to_string().as_str()),
        ("payments", "2026-W48", "2026-11-23")
    );
    assert_eq!((first.figures.zero, first.figures.intents(), first.figures.lines_saved), (4, 6, 400));
    assert_eq!(economics.total.intents(), 18);
    assert_eq!(economics.teams["portal"].raw, 4);
    assert_eq!(economics.periods[1].1.shares(), None);
    let most = Counters { figures: Figures { zero: u64::MAX, ..Figures::default() }, ..rows().remove(0) };
    assert_eq!(Economics::of(&[most.clone(), most], Period::Day).total.zero, u64::MAX);
}

#[test]
fn csv_has_a_line_for_each_group_and_no_formulas() {
    let mut rows = rows();
    rows.extend(
        ["=1+1", "+a", "-a", "@a", " =a", "\t=a", "a,\"b\"\nc", "＝a"]
            .map(|team| counters(team, "2026-12-01", 1, 0, 0)),
    );
    let text = Economics::of(&rows, Period::Month).to_csv();
    assert!(text.starts_with("period,start,team,intents,zero,minimal,raw,zero_share,minimal_share,raw_share,lines_saved,gaps_closed,context_tokens\r\n"));
    assert!(text.contains("2026-11,2026-11-01,payments,6,4,1,1,0.6667,0.1667,0.1667,400,1,14\r\n"), "{text}");
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let teams: Vec<String> = reader.records().map(|record| record.expect("a record")[2].to_owned()).collect();
    assert_eq!(teams.len(), 12);
    for team in teams {
        assert!(!team.trim_start().starts_with(['=', '+', '-', '@', '＝']), "{team}");
    }
    assert!(text.ends_with("total,,,26,15,4,7,0.5769,0.1538,0.2692,1500,7,91\r\n"), "{text}");
}

#[test]
fn a_picture_shows_shares_of_each_period() {
    let svg = Economics::of(&rows(), Period::Month).to_svg("Teams <&> \"all\"\u{0}");
    assert!(svg.starts_with("<svg xmlns="), "{svg}");
    assert!(svg.contains("Teams &lt;&amp;&gt;") && !svg.contains('\u{0}') && !svg.contains("http://www.w3.org/1999"));
    assert!(svg.contains("2026-11: 43 % zero, 21 % minimal, 36 % raw"), "{svg}");
    assert!(svg.contains("prefers-color-scheme:dark"));
    assert_eq!(svg.matches("class=\"bar ").count(), 6);
    assert!(Economics::of(&[], Period::Day).to_svg("none").contains("no intents"));
    let many: Vec<Counters> = (0..100_i64)
        .map(|day| {
            let mut row = counters("a", "2026-01-01", 1, 0, 0);
            row.day = row.day.saturating_add(jiff::Span::new().days(day));
            row
        })
        .collect();
    let svg = Economics::of(&many, Period::Day).to_svg("many");
    assert_eq!((svg.matches("class=\"bar ").count(), svg.contains("the last 60 of 100 periods")), (60, true));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn nothing_is_lost(rows in proptest::collection::vec(("\\PC{0,9}", -100_000..100_000_i64, 0..9_u64, 0..9_u64, 0..9_u64), 0..20), period in 0..3) {
        let period = [Period::Day, Period::Week, Period::Month][usize::try_from(period).expect("small")];
        let rows: Vec<Counters> = rows
            .into_iter()
            .map(|(team, day, zero, minimal, raw)| {
                let mut row = counters(&team, "2026-01-01", zero, minimal, raw);
                row.day = row.day.saturating_add(jiff::Span::new().days(day));
                row
            })
            .collect();
        let economics = Economics::of(&rows, period);
        let sum = |figures: &mut dyn Iterator<Item = Figures>| figures.map(|figures| figures.intents()).sum::<u64>();
        let all = economics.total.intents();
        prop_assert_eq!(sum(&mut rows.iter().map(|row| row.figures)), all);
        prop_assert_eq!(sum(&mut economics.groups.iter().map(|group| group.figures)), all);
        prop_assert_eq!(sum(&mut economics.teams.values().copied()), all);
        prop_assert_eq!(sum(&mut economics.periods.iter().map(|(_, figures)| *figures)), all);
        let mut reversed = rows.clone();
        reversed.reverse();
        prop_assert_eq!(&Economics::of(&reversed, period), &economics);
        let text = economics.to_csv();
        prop_assert_eq!(csv::Reader::from_reader(text.as_bytes()).records().count(), economics.groups.len() + 1);
        prop_assert!(economics.to_svg("t").ends_with("</svg>"));
    }
}
