//! Which version of a component answers: newest certified, within a range, pinned, superseded.

use fitment_proto::v1;
use fitment_tests::{Daemon, fitment, manifest, text};

use crate::matching::{create, intent};

const SUMMARY: &str = "Takes a card payment from a buyer in the checkout.";

/// `name@version` of what answers within a filter, and what it is superseded by.
async fn answering(daemon: &Daemon, filter: &str) -> anyhow::Result<Vec<(String, String)>> {
    let filter = (!filter.is_empty())
        .then(|| v1::FilterInput { form: Some(v1::filter_input::Form::Expression(filter.to_owned())) });
    let request = v1::MatchRequest { filter, ..intent("let the buyer pay with a card") };
    let answer = daemon.matcher().await?.r#match(request).await?.into_inner();
    let named =
        |candidate: v1::Candidate| (format!("{}@{}", candidate.name, candidate.version), candidate.superseded_by);
    Ok(answer.candidates.into_iter().map(named).collect())
}

#[track_caller]
fn only(answers: &[(String, String)], expect: &str) {
    let names: Vec<&str> = answers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, if expect.is_empty() { vec![] } else { vec![expect] });
}

#[tokio::test]
async fn the_newest_certified_release_in_range_answers() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let daemon = Daemon::serve(folder.path(), &[])?;
    let mut catalog = daemon.catalog().await?;
    for (version, lifecycle) in [
        ("1.2.3", "certified"),
        ("1.10.0", "certified"),
        ("1.9.0", "certified"),
        ("1.11.0", "draft"),
        ("2.0.0", "certified"),
        ("2.1.0-rc.1", "certified"),
        ("3.0.0", "deprecated"),
        ("4.0.0", "candidate"),
    ] {
        create(&mut catalog, manifest("pay/card", version, SUMMARY).replace("certified", lifecycle)).await?;
    }
    for (filter, expect) in [
        ("", "pay/card@2.0.0"),
        ("*", "pay/card@2.0.0"),
        ("version:^1.2", "pay/card@1.10.0"),
        ("version:~1.9", "pay/card@1.9.0"),
        ("version:=1.2.3", "pay/card@1.2.3"),
        ("version:>=1,<2", "pay/card@1.10.0"),
        ("version>=1.10.0", "pay/card@2.0.0"),
        ("version:^3", "pay/card@3.0.0"),
        ("version:=2.1.0-rc.1", "pay/card@2.1.0-rc.1"),
        ("version:>=2.1.0-rc.0", "pay/card@2.1.0-rc.1"),
        ("version>=2.1.0-0", "pay/card@2.1.0-rc.1"),
        ("not version:^1", "pay/card@2.0.0"),
        ("version:=1.11.0", ""),
        ("version:^4", ""),
    ] {
        let answers = answering(&daemon, filter).await.map_err(|error| error.context(filter.to_owned()))?;
        only(&answers, expect);
    }
    // A pre-release that is certified alone answers nobody who does not ask for one.
    create(&mut catalog, manifest("pay/wire", "0.1.0-beta.1", "Takes a card payment by wire.")).await?;
    only(&answering(&daemon, "").await?, "pay/card@2.0.0");
    only(&answering(&daemon, "name:pay/wire and version:>=0.1.0-beta").await?, "pay/wire@0.1.0-beta.1");

    // The newest goes, the one before answers, also after a restart.
    let step = v1::MoveComponentRequest {
        name: "pay/card".into(),
        version: "2.0.0".into(),
        lifecycle: v1::Lifecycle::Revoked as i32,
        ..Default::default()
    };
    catalog.move_component(step).await?;
    only(&answering(&daemon, "").await?, "pay/card@1.10.0");
    daemon.terminate()?;
    daemon.wait().await?;
    let daemon = Daemon::serve(folder.path(), &[])?;
    only(&answering(&daemon, "").await?, "pay/card@1.10.0");
    only(&answering(&daemon, "version:^1.2 and not version:^1.9").await?, "pay/card@1.2.3");
    Ok(())
}

#[tokio::test]
async fn a_pin_holds_one_component_and_leaves_the_others() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let daemon = Daemon::serve(folder.path(), &[])?;
    let mut catalog = daemon.catalog().await?;
    for version in ["1.2.3", "1.3.0", "2.0.0"] {
        create(&mut catalog, manifest("pay/card", version, SUMMARY)).await?;
        create(&mut catalog, manifest("pay/wire", version, "Takes a payment from a bank account.")).await?;
    }
    create(&mut catalog, manifest("pay/wire", "3.0.0-rc.1", "Takes a payment from a bank account.")).await?;
    for (pins, expect) in [
        (vec![], ["pay/card@2.0.0", "pay/wire@2.0.0"]),
        (vec!["--pin", "pay/card@1.2.3"], ["pay/card@1.2.3", "pay/wire@2.0.0"]),
        (vec!["--pin", "pay/card@^1.2", "--pin", "pay/wire@=1.2.3"], ["pay/card@1.3.0", "pay/wire@1.2.3"]),
        (vec!["--pin", "pay/card@~1.2", "--filter", "kind:service or kind:ui"], ["pay/card@1.2.3", "pay/wire@2.0.0"]),
        (vec!["--pin", "pay/wire@3.0.0-rc.1"], ["pay/card@2.0.0", "pay/wire@3.0.0-rc.1"]),
    ] {
        let output = fitment()?
            .args(["match", "--json", "--server", daemon.address(), "let the buyer pay with a card"])
            .args(&pins)
            .output()?;
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout)
            .map_err(|error| anyhow::anyhow!("{pins:?}: {error}: {}", text(&output.stderr)))?;
        let candidates = answer["candidates"].as_array().expect("candidates");
        let mut names: Vec<String> = candidates
            .iter()
            .map(|one| format!("{}@{}", one["name"].as_str().expect("a name"), one["version"].as_str().expect("one")))
            .collect();
        names.sort();
        assert_eq!(names, expect, "{pins:?}");
    }
    let output = fitment()?.args(["match", "pay", "--pin", "pay/card", "--server", daemon.address()]).output()?;
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    Ok(())
}

#[tokio::test]
async fn what_is_superseded_points_to_its_successor() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let daemon = Daemon::serve(folder.path(), &[])?;
    let mut catalog = daemon.catalog().await?;
    create(&mut catalog, manifest("pay/form", "1.0.0", SUMMARY)).await?;
    create(&mut catalog, manifest("pay/form", "2.0.0", SUMMARY)).await?;
    let successor = |version: &str, what: &str, lifecycle: &str| {
        manifest("pay/checkout", version, "Takes payments by card and by wire.").replace("certified", lifecycle)
            + &format!("supersedes: {what}\n")
    };
    let of = async |filter: &str, name: &str| -> anyhow::Result<String> {
        let answers = answering(&daemon, filter).await?;
        let found = answers.into_iter().find(|(answer, _)| answer == name);
        Ok(found.unwrap_or_else(|| panic!("{name} does not answer")).1)
    };
    create(&mut catalog, successor("1.0.0", "pay/form@1.5.0", "draft")).await?;
    assert_eq!(of("version:=1.0.0", "pay/form@1.0.0").await?, "", "a draft supersedes nothing");
    create(&mut catalog, successor("1.1.0", "pay/form@1.5.0", "certified")).await?;
    assert_eq!(of("version:=1.0.0", "pay/form@1.0.0").await?, "pay/checkout@1.1.0");
    assert_eq!(of("", "pay/form@2.0.0").await?, "", "later versions are not meant");
    create(&mut catalog, successor("1.2.0", "pay/form", "certified")).await?;
    assert_eq!(of("", "pay/form@2.0.0").await?, "pay/checkout@1.2.0");
    assert_eq!(of("", "pay/checkout@1.2.0").await?, "");
    daemon.terminate()?;
    daemon.wait().await?;
    let daemon = Daemon::serve(folder.path(), &[])?;
    let answers = answering(&daemon, "").await?;
    assert!(answers.contains(&("pay/form@2.0.0".into(), "pay/checkout@1.2.0".into())), "{answers:?}");
    Ok(())
}
