//! What is counted by team and day, and that it outlives the daemon.

use fitment_tests::Daemon;
use serde_json::{Value, json};

use crate::commands::{on, told};
use crate::gaps::data_of;

const UNMET: &str = "tune the strings of my guitar through the microphone";

#[test]
fn answers_context_and_closed_gaps_are_counted_by_team() -> anyhow::Result<()> {
    let temporary = tempfile::tempdir()?;
    let daemon = Daemon::demo(temporary.path())?;
    let folder = &temporary.path().join("work");
    std::fs::create_dir(folder)?;
    let ask = |intent: &str, more: &[&str]| on(&daemon, folder, 0, &[&["match", intent], more].concat());
    let counted = ["--team", "portal", "--generated-lines", "300"];
    ask("bar chart of revenue per region", &counted)?;
    ask("take a card payment at checkout", &counted)?;
    ask(UNMET, &counted)?;
    ask("take a card payment at checkout", &[])?;
    let pack = told(&daemon, folder, &["assembly", "context", "ui/data-table@7.4.0", "--team", "portal"])?;
    let gaps = told(&daemon, folder, &["gaps", "list"])?;
    let gap = gaps["gaps"][0]["id"].as_str().expect("a gap").to_owned();
    on(&daemon, folder, 0, &["gaps", "link", &gap, "ui/data-table"])?;
    // What needs a team that cannot be is refused, and counts nothing.
    on(&daemon, folder, 3, &["match", UNMET, "--team", &"x".repeat(121)])?;

    let told_of = |daemon: &Daemon| told(daemon, folder, &["assembly", "economics", "--by", "day"]);
    let said = told_of(&daemon)?;
    let figures = |of: &Value| ["zero", "minimal", "raw", "linesNotGenerated"].map(|field| of["total"][field].clone());
    // A line is reckoned for each of the three properties that the card checkout leaves open.
    assert_eq!(figures(&said), [1, 2, 1, 597].map(|count| json!(count)), "{said:#}");
    assert_eq!(said["total"]["gapsClosed"], 1, "{said:#}");
    let portal = told(&daemon, folder, &["assembly", "economics", "--team", "portal"])?;
    assert_eq!(figures(&portal), [1, 1, 1, 597].map(|count| json!(count)), "{portal:#}");
    assert_eq!(portal["total"]["contextTokens"], pack["tokens"], "{portal:#}");
    assert_eq!(portal["total"]["gapsClosed"], 0, "counted for the team that owns the component: {portal:#}");
    assert!(portal["rows"].as_array().is_some_and(|rows| rows.iter().all(|row| row["team"] == "portal")), "{portal:#}");

    let files = ["assembly", "economics", "--csv", "economics.csv", "--svg", "economics.svg"];
    let table = on(&daemon, folder, 0, &files)?;
    assert!(table.contains("portal") && table.contains("597"), "{table}");
    let csv = std::fs::read_to_string(folder.join("economics.csv"))?;
    assert!(
        csv.starts_with("period,start,team,") && csv.lines().last().is_some_and(|last| last.starts_with("total,")),
        "{csv}"
    );
    assert!(std::fs::read_to_string(folder.join("economics.svg"))?.starts_with("<svg "));
    on(&daemon, folder, 3, &files)?;
    let never = told(&daemon, folder, &["assembly", "economics", "--to", "2020-01-01"])?;
    assert_eq!(never["rows"], json!([]));

    daemon.kill()?;
    let daemon = Daemon::serve(&data_of(temporary.path())?, &[])?;
    assert_eq!(told_of(&daemon)?, said, "reading wrote what waited, so a kill lost nothing");
    Ok(())
}
