//! The faults: each injects one, looks at what must be so while it lasts, and leaves a daemon that runs.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use jiff::SignedDuration;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, prlimit};
use tokio::net::TcpStream;

use super::clients::{Hub, Tally};
use super::ledger::Offsets;
use super::world::{World, aside, tool};
use fitment_tests::Dice;

/// How long what must happen under a fault, or after it, may take; generous, since the machine may be shared.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);
/// Connections that are opened when descriptors are short.
const CONNECTIONS: usize = 60;
/// Descriptors that are left to the daemon then.
const DESCRIPTORS_LEFT: u64 = 3;
/// How often the preloaded library reads its clock's offset.
const CLOCK_SECONDS: &str = "1";
const CLOCK_READ: Duration = Duration::from_millis(1200);
/// Clocks that were told by whole seconds, on a busy machine.
const CLOCK_SLACK: SignedDuration = SignedDuration::from_secs(5);
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// What is done to the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(super) enum Fault {
    /// SIGKILL, at times while it starts.
    Kill,
    /// SIGSTOP for seconds, then SIGCONT.
    Pause,
    /// SIGTERM under load.
    Drain,
    /// No room on the disk, at times with a kill and a start while there is none.
    DiskFull,
    /// The file system turns read-only under it, as after an error of the disk.
    ReadOnly,
    /// A start on a file system that is read-only.
    ReadOnlyStart,
    /// The disk answers nothing for seconds.
    DiskHang,
    /// The clock jumps forward and back by days, past ends and beginnings of certificates.
    Clock,
    /// Files of the indexes with flipped bytes, cut short, emptied, gone.
    Caches,
    /// The model's files are gone while it runs.
    ModelGone,
    /// The same before a start.
    ModelGoneStart,
    /// The model's files are cut short or have a flipped byte before a start.
    ModelDamaged,
    /// No descriptor is left.
    Descriptors,
}

impl Fault {
    /// Why it cannot be injected here; `None`: it can.
    pub(super) fn missing(self, world: &World) -> Option<&'static str> {
        match self {
            Self::DiskFull | Self::ReadOnly | Self::ReadOnlyStart | Self::DiskHang if !world.mounted() => {
                Some("it needs a file system of its own (root, without --without-mounts)")
            }
            Self::Clock if world.fake_clock().is_none() => Some("libfaketime is not installed; give --faketime PATH"),
            _ => None,
        }
    }

    /// Injects it.
    pub(super) async fn inject(self, world: &mut World, hub: &Hub, dice: &mut Dice) -> anyhow::Result<()> {
        match self {
            Self::Kill => kill(world, dice).await,
            Self::Pause => pause(world, dice).await,
            Self::Drain => drain(world).await,
            Self::DiskFull => disk_full(world, hub, dice).await,
            Self::ReadOnly => read_only(world, hub).await,
            Self::ReadOnlyStart => read_only_start(world).await,
            Self::DiskHang => disk_hang(world, hub, dice).await,
            Self::Clock => clock(world, hub, dice).await,
            Self::Caches => caches(world, dice).await,
            Self::ModelGone => model_gone(world, hub).await,
            Self::ModelGoneStart => model_gone_start(world).await,
            Self::ModelDamaged => model_damaged(world, dice).await,
            Self::Descriptors => descriptors(world, hub).await,
        }
    }
}

/// Waits until the clients have seen something.
async fn seen(hub: &Hub, what: &str, is_there: impl Fn(&Tally) -> bool) -> anyhow::Result<()> {
    let began = Instant::now();
    while !is_there(&hub.tally.lock()) {
        ensure!(began.elapsed() < PATIENCE, "{what} within {PATIENCE:?}: {:?}", hub.tally.lock());
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Waits until so many more matches were answered and, where asked for, writes acknowledged.
async fn goes_on(hub: &Hub, what: &str, writes: bool) -> anyhow::Result<()> {
    let before = hub.tally.lock().clone();
    let enough =
        |tally: &Tally| tally.matches > before.matches + 3 && (!writes || tally.acknowledged > before.acknowledged + 3);
    seen(hub, &format!("no matches{} {what}", if writes { " and writes" } else { "" }), enough).await
}

/// Waits until a write was refused for one of some reasons.
async fn refused(hub: &Hub, reasons: &[&str]) -> anyhow::Result<()> {
    let count = |errors: &BTreeMap<String, u64>| reasons.iter().filter_map(|reason| errors.get(*reason)).sum::<u64>();
    let before = count(&hub.tally.lock().write_errors);
    seen(hub, &format!("no write was refused with one of {reasons:?}"), |tally| count(&tally.write_errors) > before)
        .await
}

async fn kill(world: &mut World, dice: &mut Dice) -> anyhow::Result<()> {
    world.take()?.kill().await?;
    if dice.below(3) == 0 {
        // Also in the middle of a start.
        let limit = Duration::from_millis(dice.below(700));
        match tokio::time::timeout(limit, world.try_start()).await {
            // Dropped with its handle: killed.
            Err(_elapsed) => {}
            Ok(started) => {
                ensure!(started?.is_none(), "a start after a kill was refused");
                world.take()?.kill().await?;
            }
        }
    }
    world.start().await
}

async fn pause(world: &mut World, dice: &mut Dice) -> anyhow::Result<()> {
    let daemon = world.daemon()?;
    daemon.signal(Signal::STOP)?;
    tokio::time::sleep(Duration::from_millis(1000 + dice.below(3000))).await;
    daemon.signal(Signal::CONT)
}

async fn drain(world: &mut World) -> anyhow::Result<()> {
    world.take()?.drain().await?;
    world.start().await
}

async fn disk_full(world: &mut World, hub: &Hub, dice: &mut Dice) -> anyhow::Result<()> {
    let filler = world.filler();
    let path = filler.clone();
    tokio::task::spawn_blocking(move || fill(&path)).await??;
    refused(hub, &["STORE_FULL", "INDEX_BEHIND"]).await?;
    goes_on(hub, "on a full disk", false).await?;
    if dice.below(2) == 0 {
        world.take()?.kill().await?;
        // It serves what it has, or says that there is no room.
        if let Some(refusal) = world.try_start().await? {
            let told = ["no room", "No space", "is full", "make room"].iter().any(|words| refusal.said.contains(words));
            ensure!(refusal.code.is_some_and(|code| code != 101) && told, "on a full disk: {refusal:?}");
        } else {
            goes_on(hub, "after a start on a full disk", false).await?;
        }
    }
    std::fs::remove_file(&filler)?;
    if world.daemon().is_err() {
        world.start().await?;
    }
    goes_on(hub, "once there is room", true).await
}

/// Writes until there is no room.
fn fill(path: &Path) -> anyhow::Result<()> {
    let mut file = std::fs::File::create(path)?;
    for size in [1 << 20, 4096, 1] {
        let bytes = vec![0xa5; size];
        loop {
            match file.write_all(&bytes) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => break,
                Err(error) => bail!("{}: {error}", path.display()),
            }
        }
    }
    Ok(file.sync_all()?)
}

async fn read_only(world: &mut World, hub: &Hub) -> anyhow::Result<()> {
    // What ext4 does after an error of the disk; only mounting it anew brings it back.
    world.remount("abort").await?;
    refused(hub, &["STORE_READ_ONLY", "STORE_UNWRITABLE", "INDEX_BEHIND"]).await?;
    goes_on(hub, "on a disk that turned read-only", false).await?;
    world.take()?.kill().await?;
    world.unmount().await?;
    world.mount().await?;
    world.start().await
}

async fn read_only_start(world: &mut World) -> anyhow::Result<()> {
    world.take()?.drain().await?;
    world.remount("ro").await?;
    let refused = world.start_is_refused(6, &["catalog.redb", "cannot be written"]).await;
    world.remount("rw").await?;
    refused?;
    world.start().await
}

async fn disk_hang(world: &mut World, hub: &Hub, dice: &mut Dice) -> anyhow::Result<()> {
    tool("fsfreeze", vec!["-f".into(), world.disk()]).await?;
    // Whatever comes of it, the disk must answer again, or nothing on it ever ends.
    let during = async {
        tokio::time::sleep(Duration::from_millis(1000 + dice.below(2000))).await;
        goes_on(hub, "while the disk hangs", false).await
    };
    let during = during.await;
    tool("fsfreeze", vec!["-u".into(), world.disk()]).await?;
    during?;
    goes_on(hub, "after the disk hung", true).await
}

/// Sets the daemon's clock, and waits until it says so itself.
async fn set_clock(world: &World, hub: &Hub, offset: SignedDuration) -> anyhow::Result<()> {
    let before = hub.offsets.lock().low;
    *hub.offsets.lock() = Offsets { low: before.min(offset), high: before.max(offset) };
    let (file, new) = (world.clock_file(), world.clock_file().with_extension("new"));
    std::fs::write(&new, format!("{:+}\n", offset.as_secs()))?;
    std::fs::rename(&new, &file)?;
    tokio::time::sleep(CLOCK_READ).await;
    *hub.told_offset.lock() = None;
    let began = Instant::now();
    loop {
        let told = *hub.told_offset.lock();
        if told.is_some_and(|told| (told - offset).abs() < CLOCK_SLACK) {
            break;
        }
        ensure!(began.elapsed() < PATIENCE, "the daemon's clock should be {offset:#} off and is {told:?}");
        tokio::time::sleep(LOOK).await;
    }
    *hub.offsets.lock() = Offsets::exactly(offset);
    Ok(())
}

async fn clock(world: &mut World, hub: &Hub, dice: &mut Dice) -> anyhow::Result<()> {
    let library = world.fake_clock().context("no library")?.display().to_string();
    world.take()?.drain().await?;
    std::fs::write(world.clock_file(), "+0\n")?;
    let environment = [
        ("LD_PRELOAD", library),
        ("FAKETIME_TIMESTAMP_FILE", world.clock_file().display().to_string()),
        ("FAKETIME_CACHE_DURATION", CLOCK_SECONDS.to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("NO_FAKE_STAT", "1".to_owned()),
    ];
    world.set_environment(environment.map(|(name, value)| (name.to_owned(), value)).into());
    world.start().await?;
    // The past is further than any certificate goes back; the last jump is back to now.
    let mut jumps = vec![DAY * 2, -DAY * 500, DAY * 3, SignedDuration::ZERO, -SignedDuration::from_hours(1)];
    let first = dice.place(jumps.len());
    jumps.rotate_left(first);
    for offset in jumps.into_iter().chain([SignedDuration::ZERO]) {
        set_clock(world, hub, offset).await?;
        goes_on(hub, "after a jump of the clock", true).await?;
    }
    // Killed in another time, and started in this one.
    if dice.below(2) == 0 {
        set_clock(world, hub, DAY * 2).await?;
    }
    world.take()?.kill().await?;
    world.set_environment(Vec::new());
    *hub.offsets.lock() = Offsets::default();
    world.start().await
}

async fn caches(world: &mut World, dice: &mut Dice) -> anyhow::Result<()> {
    if dice.below(2) == 0 {
        world.take()?.kill().await?;
    } else {
        world.take()?.drain().await?;
    }
    let mut files = Vec::new();
    list(&world.data().join("index"), &mut files)?;
    ensure!(!files.is_empty(), "there is no cache to damage");
    for _ in 0..=dice.below(3) {
        if let Some(file) = files.get(dice.place(files.len())) {
            damage(file, dice)?;
        }
    }
    if dice.below(8) == 0 {
        std::fs::remove_dir_all(world.data().join("index"))?;
    }
    world.start().await
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            list(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    files.sort_unstable();
    Ok(())
}

fn damage(path: &Path, dice: &mut Dice) -> anyhow::Result<()> {
    let Ok(metadata) = path.metadata() else { return Ok(()) };
    let length = metadata.len();
    match dice.below(5) {
        0 => std::fs::remove_file(path)?,
        1 => std::fs::File::options().write(true).open(path)?.set_len(dice.below(length))?,
        2 => std::fs::write(path, b"this is no index")?,
        _ => flip(path, dice.below(length), 1 << dice.below(8))?,
    }
    Ok(())
}

/// Flips bits of one byte; does nothing to an empty file.
fn flip(path: &Path, place: u64, bits: u8) -> anyhow::Result<()> {
    let mut file = std::fs::File::options().read(true).write(true).open(path)?;
    let mut byte = [0];
    file.seek(SeekFrom::Start(place))?;
    if file.read(&mut byte)? == 1 {
        file.seek(SeekFrom::Start(place))?;
        file.write_all(&[byte[0] ^ bits])?;
    }
    Ok(())
}

async fn model_gone(world: &mut World, hub: &Hub) -> anyhow::Result<()> {
    let weights = world.weights();
    std::fs::rename(&weights, aside(&weights))?;
    let during = goes_on(hub, "without the model's file", true).await;
    std::fs::rename(aside(&weights), &weights)?;
    during
}

async fn model_gone_start(world: &mut World) -> anyhow::Result<()> {
    world.take()?.kill().await?;
    let folder = world.weights().parent().context("a folder")?.to_owned();
    std::fs::rename(&folder, aside(&folder))?;
    let refused = world.start_is_refused(4, &["fitment model pull"]).await;
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::rename(aside(&folder), &folder)?;
    refused?;
    // One file of it.
    let weights = world.weights();
    std::fs::rename(&weights, aside(&weights))?;
    let refused = world.try_start().await;
    std::fs::rename(aside(&weights), &weights)?;
    let refusal = refused?.context("it started without the model's weights")?;
    let told = refusal.said.contains("model.safetensors") && refusal.said.contains("fitment model");
    ensure!(matches!(refusal.code, Some(4 | 7)) && told, "without the weights: {refusal:?}");
    world.start().await
}

async fn model_damaged(world: &mut World, dice: &mut Dice) -> anyhow::Result<()> {
    world.take()?.drain().await?;
    let weights = world.weights();
    let whole = aside(&weights);
    std::fs::rename(&weights, &whole)?;
    std::fs::copy(&whole, &weights)?;
    let length = weights.metadata()?.len();
    if dice.below(2) == 0 {
        std::fs::File::options().write(true).open(&weights)?.set_len(dice.below(length))?;
    } else {
        flip(&weights, dice.below(length), 1 << dice.below(8))?;
    }
    let refused = world.start_is_refused(7, &["model.safetensors"]).await;
    std::fs::rename(&whole, &weights)?;
    refused?;
    world.start().await
}

async fn descriptors(world: &mut World, hub: &Hub) -> anyhow::Result<()> {
    let daemon = world.daemon()?;
    let (address, pid) = (daemon.address().to_owned(), daemon.pid());
    let few = daemon.usage()?.descriptors + DESCRIPTORS_LEFT;
    // The hard limit stays: it is this process's own, which the daemon inherited.
    let maximum = getrlimit(Resource::Nofile).maximum;
    let Rlimit { current, .. } = prlimit(Some(pid), Resource::Nofile, Rlimit { current: Some(few), maximum })?;
    // The connections that are there go on; new ones are not answered.
    let mut waiting = Vec::new();
    for _ in 0..CONNECTIONS {
        match tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(&address)).await {
            Ok(Ok(stream)) => waiting.push(stream),
            Ok(Err(_)) | Err(_) => break,
        }
    }
    let during = goes_on(hub, "without descriptors", false).await;
    prlimit(Some(pid), Resource::Nofile, Rlimit { current, maximum })?;
    drop(waiting);
    during?;
    goes_on(hub, "with descriptors again", true).await
}
