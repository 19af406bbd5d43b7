//! Faults injected into a daemon that is in use, by turns and again and again, and what must hold after each of them.

mod clients;
mod faults;
mod invariants;
mod ledger;
mod world;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::ValueEnum;
use fitment_proto::v1;
use fitment_proto::v1::certification_service_client::CertificationServiceClient;
use jiff::Timestamp;
use serde_json::json;

use self::clients::Hub;
use self::faults::Fault;
use self::invariants::Before;
use self::ledger::Offsets;
use self::world::World;
use crate::print;
use crate::signer::Signer;
use fitment_tests::Dice;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sudo fitment-load chaos --fitment target/release/fitment --rounds 5 --out chaos.json
  sudo fitment-load chaos --fitment target/release/fitment --faults kill,clock,descriptors --rounds 20 --seed 7
  fitment-load chaos --fitment target/release/fitment --without-mounts

Three writers, two matchers and a watcher use the daemon all the while. After each fault they hold still, and the daemon is held against all
that was acknowledged to them. What is mounted is mounted in a name space of this process, which needs root. The clock is faked by libfaketime
(package libfaketime). Ends with an error, and keeps the folder, when an invariant is broken.")]
pub(crate) struct ChaosArguments {
    /// The daemon's binary.
    #[arg(long, value_name = "PATH")]
    fitment: PathBuf,
    /// Folder to work in, which must not be there yet [default: one that is removed at the end].
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Folder of the models, which are copied [default: where the daemon looks].
    #[arg(long, value_name = "DIR")]
    models_dir: Option<PathBuf>,
    /// How often each fault is injected.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// Begin no other fault after this many seconds.
    #[arg(long, default_value_t = 3600, value_parser = clap::value_parser!(u64).range(1..=604_800))]
    seconds: u64,
    /// What faults and writes are drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Faults to inject [default: all].
    #[arg(long, value_delimiter = ',')]
    faults: Vec<Fault>,
    /// Leave out what needs a file system of its own.
    #[arg(long)]
    without_mounts: bool,
    /// Size of that file system.
    #[arg(long, default_value_t = 192, value_parser = clap::value_parser!(u64).range(64..=65_536))]
    disk_mib: u64,
    /// libfaketime's library [default: where distributions put it].
    #[arg(long, value_name = "PATH")]
    faketime: Option<PathBuf>,
    /// Write what was seen as JSON.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// What became of one kind of fault.
#[derive(Default)]
struct Outcome {
    rounds: u32,
    acknowledged: u64,
    matches: u64,
    /// Unanswered writes that turned out to have been done.
    done: u64,
    write_errors: BTreeMap<String, u64>,
    match_errors: BTreeMap<String, u64>,
    resumed: u64,
    longest: Duration,
    broken: Vec<String>,
}

/// All of them, and why some were not injected.
#[derive(Default)]
struct Outcomes {
    by_fault: BTreeMap<Fault, Outcome>,
    left_out: Vec<(Fault, &'static str)>,
}

pub(crate) async fn run(arguments: &ChaosArguments) -> anyhow::Result<()> {
    if !arguments.without_mounts
        && let Some(code) = world::apart()?
    {
        // Everything was said there.
        std::process::exit(code);
    }
    let folder = arguments.folder.clone();
    let folder = folder.unwrap_or_else(|| std::env::temp_dir().join(format!("fitment-chaos-{}", std::process::id())));
    std::fs::create_dir(&folder)
        .with_context(|| format!("{}: give a folder that is not there yet", folder.display()))?;
    let folder = folder.canonicalize()?;
    let mut outcomes = Outcomes::default();
    let ended = run_in(&folder, arguments, &mut outcomes).await;
    report(&outcomes, arguments)?;
    ended.with_context(|| format!("{} is kept", folder.display()))?;
    let broken: usize = outcomes.by_fault.values().map(|outcome| outcome.broken.len()).sum();
    ensure!(broken == 0, "{broken} invariants were broken; {} is kept", folder.display());
    if arguments.folder.is_none() {
        // What is mounted there is still in use by nobody; its name space ends with this process.
        if !arguments.without_mounts {
            world::tool("umount", vec![folder.join("disk")]).await?;
        }
        std::fs::remove_dir_all(&folder)?;
    }
    Ok(())
}

async fn run_in(folder: &Path, arguments: &ChaosArguments, outcomes: &mut Outcomes) -> anyhow::Result<()> {
    let models = match &arguments.models_dir {
        Some(models) => models.clone(),
        None => std::env::var_os("FITMENT_MODELS_DIR")
            .map(PathBuf::from)
            .map_or_else(|| fitment_models::ModelCache::default_root(|name| std::env::var_os(name)), Ok)?,
    };
    let (mount, fake_clock) = (!arguments.without_mounts, arguments.faketime.clone());
    let mut world = World::make(folder, &arguments.fitment, &models, arguments.disk_mib, mount, fake_clock).await?;
    let wanted = if arguments.faults.is_empty() { Fault::value_variants() } else { &arguments.faults };
    let mut faults = Vec::new();
    for &fault in wanted {
        match fault.missing(&world) {
            None => faults.push(fault),
            Some(why) => outcomes.left_out.push((fault, why)),
        }
    }
    ensure!(!faults.is_empty(), "no fault can be injected here: {:?}", outcomes.left_out);
    world.start().await?;
    let mut dice = Dice(arguments.seed);
    let hub = Arc::new(Hub::new(Timestamp::now(), Signer::new(arguments.seed), world.way()));
    let root = v1::InstallTrustRootRequest { trust_root: hub.signer.root(), ..Default::default() };
    CertificationServiceClient::new(world.daemon()?.channel().await?).install_trust_root(root).await?;
    let mut clients = clients::start(&hub, &mut dice);
    let ended = rounds(&mut world, &hub, arguments, &faults, &mut dice, outcomes).await;
    hub.end();
    // Calls have limits, but a watch waits for as long as the daemon is there.
    let last = world.take();
    let stopped = match last {
        Ok(daemon) => daemon.drain().await,
        Err(error) => Err(error),
    };
    clients.abort_all();
    while clients.join_next().await.is_some() {}
    ended.and(stopped)
}

async fn rounds(
    world: &mut World,
    hub: &Hub,
    arguments: &ChaosArguments,
    faults: &[Fault],
    dice: &mut Dice,
    outcomes: &mut Outcomes,
) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut before = Before::default();
    // The first look: what the daemon holds when nothing has happened yet.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let first = {
        let _alone = hub.gate.write().await;
        invariants::check(world, hub, &mut before, dice).await?
    };
    if !first.wrong.is_empty() {
        bail!("before any fault: {:?}", first.wrong);
    }
    hub.take_tally();
    for round in 1..=arguments.rounds {
        for &fault in faults {
            if began.elapsed() > Duration::from_secs(arguments.seconds) {
                print(&format!("stopped in round {round}: {} seconds are over", arguments.seconds));
                return Ok(());
            }
            let outcome = outcomes.by_fault.entry(fault).or_default();
            one(world, hub, fault, &mut before, dice, outcome)
                .await
                .with_context(|| format!("round {round}, {fault:?}"))?;
            print(&format!(
                "{:5.0} s  round {round}  {fault:?}: {} acknowledged, {} broken",
                began.elapsed().as_secs_f64(),
                outcome.acknowledged,
                outcome.broken.len()
            ));
        }
    }
    Ok(())
}

/// Injects a fault once, and looks.
async fn one(
    world: &mut World,
    hub: &Hub,
    fault: Fault,
    before: &mut Before,
    dice: &mut Dice,
    outcome: &mut Outcome,
) -> anyhow::Result<()> {
    let began = Instant::now();
    let dwell = |dice: &mut Dice| tokio::time::sleep(Duration::from_millis(200 + dice.below(800)));
    dwell(dice).await;
    outcome.rounds += 1;
    let injected = fault.inject(world, hub, dice).await;
    if injected.is_ok() {
        dwell(dice).await;
    }
    if let Err(error) = &injected {
        outcome.broken.push(format!("{error:#}"));
        print(&format!("BROKEN: {error:#}"));
        *hub.offsets.lock() = Offsets::default();
        world.repair().await?;
    }
    let look = {
        let _alone = hub.gate.write().await;
        invariants::check(world, hub, before, dice).await
    };
    let tally = hub.take_tally();
    outcome.acknowledged += tally.acknowledged;
    outcome.matches += tally.matches;
    outcome.resumed += tally.resumed;
    for (sum, new) in [(&mut outcome.write_errors, tally.write_errors), (&mut outcome.match_errors, tally.match_errors)]
    {
        for (reason, count) in new {
            *sum.entry(reason).or_default() += count;
        }
    }
    outcome.longest = outcome.longest.max(began.elapsed());
    let look = look.context("the look after it")?;
    outcome.done += look.done;
    for wrong in tally.wrong.into_iter().chain(look.wrong) {
        print(&format!("BROKEN: {wrong}"));
        outcome.broken.push(wrong);
    }
    Ok(())
}

fn report(outcomes: &Outcomes, arguments: &ChaosArguments) -> anyhow::Result<()> {
    print("fault             rounds  writes  unanswered, done  matches  watch resumed  longest s  broken  errors");
    for (fault, outcome) in &outcomes.by_fault {
        print(&format!(
            "{:16} {:7} {:7} {:17} {:8} {:14} {:10.1} {:7}  writes {:?}, matches {:?}",
            format!("{fault:?}"),
            outcome.rounds,
            outcome.acknowledged,
            outcome.done,
            outcome.matches,
            outcome.resumed,
            outcome.longest.as_secs_f64(),
            outcome.broken.len(),
            outcome.write_errors,
            outcome.match_errors
        ));
    }
    for (fault, why) in &outcomes.left_out {
        print(&format!("{fault:?} was not injected: {why}"));
    }
    let Some(out) = &arguments.out else { return Ok(()) };
    let faults: BTreeMap<String, serde_json::Value> = outcomes
        .by_fault
        .iter()
        .map(|(fault, outcome)| {
            let told = json!({ "rounds": outcome.rounds, "acknowledged": outcome.acknowledged, "matches": outcome.matches,
                "unanswered_and_done": outcome.done, "watch_resumed": outcome.resumed,
                "longest_seconds": outcome.longest.as_secs_f64(), "write_errors": outcome.write_errors,
                "match_errors": outcome.match_errors, "broken": outcome.broken });
            (format!("{fault:?}"), told)
        })
        .collect();
    let left_out: BTreeMap<String, &str> =
        outcomes.left_out.iter().map(|(fault, why)| (format!("{fault:?}"), *why)).collect();
    let whole =
        json!({ "seed": arguments.seed, "rounds": arguments.rounds, "faults": faults, "not_injected": left_out });
    std::fs::write(out, format!("{whole:#}\n")).with_context(|| out.display().to_string())
}
