//! What assembly saved, as a table, as CSV and as a picture.

use std::path::PathBuf;
use std::process::ExitCode;

use fitment_assembly::{Counters, Economics, Figures, Period};
use fitment_proto::v1;
use jiff::civil::Date;

use super::absent;
use crate::cli::common::Common;
use crate::cli::laboratory::write_file;
use crate::output;

#[derive(Debug, clap::Args)]
pub(super) struct EconomicsArguments {
    /// How days are grouped.
    #[arg(long, value_enum, default_value_t = By::Month)]
    by: By,
    /// Only this team.
    #[arg(long, default_value = "")]
    team: String,
    /// First day, such as 2026-01-31.
    #[arg(long, value_name = "DAY")]
    from: Option<Date>,
    /// Last day.
    #[arg(long, value_name = "DAY")]
    to: Option<Date>,
    /// Write a table for spreadsheets (RFC 4180) to this file, which must not be there yet.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write a picture to this file, which must not be there yet.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

/// Lengths of time.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum By {
    /// Days, by UTC.
    Day,
    /// Weeks that begin on Monday.
    Week,
    /// Months.
    Month,
}

pub(super) async fn run(arguments: EconomicsArguments) -> anyhow::Result<ExitCode> {
    let EconomicsArguments { by, team, from, to, csv, svg, common } = arguments;
    csv.iter().chain(&svg).try_for_each(|path| absent(path))?;
    let (period, wanted) = match by {
        By::Day => (Period::Day, v1::EconomicsPeriod::Day),
        By::Week => (Period::Week, v1::EconomicsPeriod::Week),
        By::Month => (Period::Month, v1::EconomicsPeriod::Month),
    };
    let day = |day: Option<Date>| day.map(|day| day.to_string()).unwrap_or_default();
    let request = v1::GetEconomicsRequest { period: wanted as i32, team, from: day(from), to: day(to) };
    let mut client = common.server.assemblies().await?;
    let found = client.get_economics(common.server.request(request)).await?.into_inner();
    if csv.is_some() || svg.is_some() {
        let economics = Economics::of(&counters(&found.rows)?, period);
        if let Some(file) = &csv {
            write_file(file, &economics.to_csv())?;
        }
        if let Some(file) = &svg {
            write_file(file, &economics.to_svg("What assembly left to generate"))?;
        }
    }
    if common.json {
        output::json(&output::message_json("fitment.v1.GetEconomicsResponse", &found)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = output::table(&[
        "from",
        "to",
        "team",
        "zero",
        "minimal",
        "raw",
        "lines not generated",
        "gaps closed",
        "context tokens",
    ]);
    for row in &found.rows {
        table.add_row(cells(row));
    }
    let total = found.total.unwrap_or_default();
    table.add_row(cells(&v1::EconomicsRow { from: "all".to_owned(), ..total }));
    output::line(table)?;
    Ok(ExitCode::SUCCESS)
}

fn cells(row: &v1::EconomicsRow) -> [String; 9] {
    let v1::EconomicsRow { from, to, team, zero, minimal, raw, lines_not_generated, gaps_closed, context_tokens } =
        row.clone();
    let answers = zero + minimal + raw;
    [
        from,
        to,
        team,
        share(zero, answers),
        share(minimal, answers),
        share(raw, answers),
        lines_not_generated.to_string(),
        gaps_closed.to_string(),
        context_tokens.to_string(),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "a share for people")]
fn share(count: u64, all: u64) -> String {
    if all == 0 { count.to_string() } else { format!("{count} ({:.0} %)", count as f64 * 100.0 / all as f64) }
}

fn counters(rows: &[v1::EconomicsRow]) -> anyhow::Result<Vec<Counters>> {
    let counters = rows.iter().map(|row| {
        let figures = Figures {
            zero: row.zero,
            minimal: row.minimal,
            raw: row.raw,
            lines_saved: row.lines_not_generated,
            gaps_closed: row.gaps_closed,
            context_tokens: row.context_tokens,
        };
        Ok(Counters { team: row.team.clone(), day: row.from.parse()?, figures })
    });
    counters.collect()
}
