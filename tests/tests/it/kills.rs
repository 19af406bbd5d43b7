//! SIGKILL at any moment under concurrent writers: what was acknowledged is there after every start, what was never asked for is not.
//!
//! `FITMENT_KILLS=1000` makes the long form of it; see docs/testing.md.

mod writer;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use fitment_proto::v1;
use fitment_proto::v1::audit_service_client::AuditServiceClient;
use fitment_tests::{Daemon, Dice};
use tokio_stream::StreamExt;

use self::writer::{Standing, Way, Writer};
use crate::matching::intent;

/// Kills of one catalogue before a new one is begun.
const KILLS: u64 = 100;
/// Longest time that is written before a kill, in milliseconds.
const LONGEST_LIFE: u64 = 1200;

#[derive(Debug, Default)]
struct Summary {
    kills: u64,
    kills_while_starting: u64,
    acknowledged: u64,
    matches: u64,
    undecided: u64,
    audits: u64,
    slowest_start: Duration,
}

#[tokio::test(flavor = "multi_thread")]
async fn sigkill_at_any_moment_loses_nothing_and_invents_nothing() -> anyhow::Result<()> {
    let wanted = std::env::var("FITMENT_KILLS").ok().map_or(Ok(6), |text| text.parse::<u64>())?;
    let mut summary = Summary::default();
    let mut dice = Dice(wanted);
    while summary.kills < wanted {
        let folder = tempfile::tempdir()?;
        let mut writers: Vec<Writer> = [Way::One, Way::One, Way::One, Way::Stream]
            .into_iter()
            .enumerate()
            .map(|(number, way)| Writer::new(&format!("w{number}"), way, dice.roll()))
            .collect();
        for _ in 0..KILLS.min(wanted - summary.kills) {
            one_life(folder.path(), &mut writers, &mut dice, &mut summary)
                .await
                .with_context(|| format!("{summary:?}"))?;
            if summary.kills.is_multiple_of(10) {
                eprintln!("{summary:?}");
            }
        }
        let last = start(folder.path(), &mut summary)?;
        check(&last, &mut writers, &mut summary, true).await?;
    }
    eprintln!("{summary:?}: 0 lost, 0 phantom, every start clean");
    Ok(())
}

fn start(data_dir: &Path, summary: &mut Summary) -> anyhow::Result<Daemon> {
    let began = Instant::now();
    let daemon = Daemon::serve(data_dir, &[])?;
    summary.slowest_start = summary.slowest_start.max(began.elapsed());
    Ok(daemon)
}

/// A start, checks, writes, and a kill.
async fn one_life(
    data_dir: &Path,
    writers: &mut Vec<Writer>,
    dice: &mut Dice,
    summary: &mut Summary,
) -> anyhow::Result<()> {
    if dice.below(6) == 0 {
        Daemon::serve_and_kill(data_dir, Duration::from_millis(dice.below(600)))?;
        summary.kills += 1;
        summary.kills_while_starting += 1;
        return Ok(());
    }
    let daemon = start(data_dir, summary)?;
    check(&daemon, writers, summary, summary.kills.is_multiple_of(10)).await?;
    let killed: &'static AtomicBool = Box::leak(Box::new(AtomicBool::new(false)));
    let mut writing = Vec::new();
    for mut writer in std::mem::take(writers) {
        let catalog = daemon.catalog().await?;
        writing.push(tokio::spawn(async move {
            let written = writer.write(catalog, killed).await;
            (writer, written)
        }));
    }
    let mut matcher = daemon.matcher().await?;
    let matching = tokio::spawn(async move {
        let mut matches = 0u64;
        loop {
            match matcher.r#match(intent("a part that does what its number says")).await {
                Ok(_) => matches += 1,
                Err(_) if killed.load(Ordering::Acquire) => return Ok(matches),
                Err(status) => return Err(status),
            }
        }
    });
    // Short lives are as likely as long ones.
    let life = dice.below(LONGEST_LIFE) * dice.below(LONGEST_LIFE) / LONGEST_LIFE;
    tokio::time::sleep(Duration::from_millis(life)).await;
    killed.store(true, Ordering::Release);
    daemon.kill()?;
    summary.kills += 1;
    for task in writing {
        let (writer, written) = task.await?;
        summary.acknowledged += written?;
        writers.push(writer);
    }
    summary.matches += matching.await??;
    Ok(())
}

/// Holds a daemon against everything that was acknowledged and asked for.
async fn check(daemon: &Daemon, writers: &mut [Writer], summary: &mut Summary, whole: bool) -> anyhow::Result<()> {
    let mut catalog = daemon.catalog().await?;
    let mut found: BTreeMap<String, Standing> = BTreeMap::new();
    let from_the_start = v1::WatchCatalogRequest { after: Some(v1::LogPlace::default()), until_now: true };
    let mut changes = catalog.watch_catalog(from_the_start).await?.into_inner();
    while let Some(change) = changes.next().await {
        let change = change?;
        let moved = u64::from(change.kind() == v1::CatalogChangeKind::Moved);
        let moves = found.get(&change.name).map_or(0, |standing| standing.moves) + moved;
        let standing =
            Standing { digest: change.digest.clone(), lifecycle: change.lifecycle(), deleted: change.deleted, moves };
        found.insert(change.name, standing);
    }
    let mut strangers = found.clone();
    for writer in writers.iter_mut() {
        summary.undecided += writer.compare(&mut strangers)?;
    }
    ensure!(strangers.is_empty(), "phantom: nobody asked for {strangers:?}");

    // What is stored is found, by name, by vector and by word, and nothing else is.
    let live: Vec<(&String, &Standing)> = found.iter().filter(|(_, standing)| !standing.deleted).collect();
    let info = daemon.info().await?.get_server_info(v1::GetServerInfoRequest {}).await?.into_inner();
    let stored = info.catalog.context("a catalogue")?;
    ensure!(
        (stored.versions, stored.vectors) == (live.len() as u64, live.len() as u64),
        "{stored:?}, {} live",
        live.len()
    );
    let answers = |standing: &Standing| {
        !standing.deleted && matches!(standing.lifecycle, v1::Lifecycle::Certified | v1::Lifecycle::Deprecated)
    };
    let matchable = found.values().filter(|standing| answers(standing)).count() as u64;
    ensure!(stored.matchable_versions == matchable, "{stored:?}, {matchable} may answer");
    let mut matcher = daemon.matcher().await?;
    let recent = writers.iter().flat_map(|writer| writer.recent().iter());
    for (name, standing) in recent.filter_map(|name| Some((name, found.get(name)?))) {
        let filter = v1::filter_input::Form::Expression(format!("name:{name}"));
        let request = v1::MatchRequest { filter: Some(v1::FilterInput { form: Some(filter) }), ..intent("part") };
        let candidates = matcher.r#match(request).await?.into_inner().candidates;
        let seen: Vec<(&str, bool)> =
            candidates.iter().map(|candidate| (candidate.name.as_str(), candidate.lexical_score > 0.0)).collect();
        let expected = if answers(standing) { vec![(name.as_str(), true)] } else { Vec::new() };
        ensure!(seen == expected, "{name} {standing:?}: {seen:?}");
    }
    if whole {
        let mut listed = Vec::new();
        let mut page = v1::ListComponentsRequest { page_size: 1000, ..Default::default() };
        loop {
            let answer = catalog.list_components(page.clone()).await?.into_inner();
            listed.extend(answer.components.into_iter().map(|component| (component.name, component.digest)));
            if answer.next_page_token.is_empty() {
                break;
            }
            page.page_token = answer.next_page_token;
        }
        listed.sort_unstable();
        let expected: Vec<(String, String)> =
            live.iter().map(|(name, standing)| ((*name).clone(), standing.digest.clone())).collect();
        ensure!(listed == expected, "the list differs from the log");
        AuditServiceClient::new(daemon.channel().await?).verify_audit(v1::VerifyAuditRequest::default()).await?;
        summary.audits += 1;
    }
    Ok(())
}
