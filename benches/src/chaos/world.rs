//! Where the daemon lives: a folder with a file system, models and a log of its own, and the daemon that runs there now.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use fitment_tests::copy_folder;
use parking_lot::Mutex;
use tonic::transport::Channel;

use crate::process::{Daemon, Launch, Refusal, Start};

/// Set for the process that already has a mount name space of its own.
const APART: &str = "FITMENT_LOAD_MOUNTS_APART";
/// Where distributions put the library that fakes clocks.
const FAKE_CLOCKS: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
];
/// The model's file that is damaged and taken away.
const WEIGHTS: &str = "model.safetensors";

/// Starts this program again in a mount name space of its own, so that what it mounts is nobody else's and goes away with it.
/// `None`: this is that program already.
pub(super) fn apart() -> anyhow::Result<Option<i32>> {
    if std::env::var_os(APART).is_some() {
        return Ok(None);
    }
    ensure!(
        rustix::process::geteuid().is_root(),
        "chaos mounts a file system of its own and needs root for that: run it as root, or leave out what needs it with --without-mounts"
    );
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "--"])
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1));
    let status = command.env(APART, "1").status().context("unshare (of util-linux)")?;
    Ok(Some(status.code().unwrap_or(1)))
}

/// Runs a tool to its end. Errors: it said no, in its words.
pub(super) async fn tool(program: &'static str, arguments: Vec<PathBuf>) -> anyhow::Result<()> {
    tokio::task::spawn_blocking(move || {
        let output = Command::new(program).args(&arguments).output().with_context(|| program.to_owned())?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{program} {arguments:?}: {}", said.trim());
        Ok(())
    })
    .await?
}

/// Words and paths as a tool's arguments.
pub(super) fn words(words: &[&str]) -> Vec<PathBuf> {
    words.iter().map(PathBuf::from).collect()
}

/// How clients reach the daemon: through one connection, another after each start.
#[derive(Clone)]
pub(super) struct Way(Arc<Mutex<Option<(Channel, String)>>>);

impl Way {
    /// The connection in use; `None` while nothing was ever started.
    pub(super) fn channel(&self) -> Option<Channel> {
        self.0.lock().as_ref().map(|(channel, _)| channel.clone())
    }
}

/// The folder and what runs in it.
pub(super) struct World {
    folder: PathBuf,
    launch: Launch,
    daemon: Option<Daemon>,
    way: Way,
    mounted: bool,
    fake_clock: Option<PathBuf>,
}

impl World {
    /// Makes the folder's file system and copies the models.
    pub(super) async fn make(
        folder: &Path,
        fitment: &Path,
        models: &Path,
        disk_mib: u64,
        mount: bool,
        fake_clock: Option<PathBuf>,
    ) -> anyhow::Result<Self> {
        let disk = folder.join("disk");
        std::fs::create_dir(&disk)?;
        let world = Self {
            folder: folder.to_owned(),
            launch: Launch {
                fitment: fitment.to_owned(),
                data: disk.join("data"),
                models: Some(folder.join("models")),
                log: folder.join("daemon.log"),
                environment: Vec::new(),
            },
            daemon: None,
            way: Way(Arc::default()),
            mounted: mount,
            fake_clock: fake_clock.or_else(|| FAKE_CLOCKS.iter().map(PathBuf::from).find(|path| path.exists())),
        };
        if mount {
            let image = world.image();
            std::fs::File::create(&image)?.set_len(disk_mib << 20)?;
            let mut arguments = words(&["-q", "-F", "-m", "0"]);
            arguments.push(image);
            tool("mkfs.ext4", arguments).await?;
            world.mount().await?;
        }
        let (from, to) = (models.join(fitment_models::DEFAULT_MODEL), world.model());
        ensure!(from.join(WEIGHTS).exists(), "{} is not there; run `fitment model pull`", from.join(WEIGHTS).display());
        tokio::task::spawn_blocking(move || copy_folder(&from, &to)).await??;
        Ok(world)
    }

    /// Whether the data folder has a file system of its own.
    pub(super) fn mounted(&self) -> bool {
        self.mounted
    }

    /// The library that fakes clocks, where there is one.
    pub(super) fn fake_clock(&self) -> Option<&Path> {
        self.fake_clock.as_deref()
    }

    /// The file that the faked clock's offset is read from.
    pub(super) fn clock_file(&self) -> PathBuf {
        self.folder.join("clock")
    }

    /// The daemon's data folder.
    pub(super) fn data(&self) -> &Path {
        &self.launch.data
    }

    /// Where the data folder's file system is mounted.
    pub(super) fn disk(&self) -> PathBuf {
        self.folder.join("disk")
    }

    fn image(&self) -> PathBuf {
        self.folder.join("disk.img")
    }

    fn model(&self) -> PathBuf {
        self.folder.join("models").join(fitment_models::DEFAULT_MODEL)
    }

    /// The model's weights.
    pub(super) fn weights(&self) -> PathBuf {
        self.model().join(WEIGHTS)
    }

    pub(super) fn way(&self) -> Way {
        self.way.clone()
    }

    /// The daemon that runs.
    pub(super) fn daemon(&mut self) -> anyhow::Result<&mut Daemon> {
        self.daemon.as_mut().context("no daemon runs")
    }

    /// Takes the daemon out, to end it.
    pub(super) fn take(&mut self) -> anyhow::Result<Daemon> {
        self.daemon.take().context("no daemon runs")
    }

    /// What a daemon that is started from now on has in its environment besides.
    pub(super) fn set_environment(&mut self, environment: Vec<(String, String)>) {
        self.launch.environment = environment;
    }

    /// Starts a daemon; clients reach it from then on. What was refused is returned.
    pub(super) async fn try_start(&mut self) -> anyhow::Result<Option<Refusal>> {
        match self.launch.start().await? {
            Start::Ready(daemon) => {
                let (channel, address) = (daemon.endpoint()?.connect_lazy(), daemon.address().to_owned());
                *self.way.0.lock() = Some((channel, address));
                self.daemon = Some(daemon);
                Ok(None)
            }
            Start::Refused(refusal) => Ok(Some(refusal)),
        }
    }

    /// The same; an error where it did not become ready.
    pub(super) async fn start(&mut self) -> anyhow::Result<()> {
        match self.try_start().await? {
            None => Ok(()),
            Some(Refusal { code, said }) => bail!("a start ended with {code:?}: {}", said.trim()),
        }
    }

    /// A start that must be refused, with an exit code and words of the message.
    pub(super) async fn start_is_refused(&mut self, code: i32, words: &[&str]) -> anyhow::Result<()> {
        let Some(refusal) = self.try_start().await? else {
            bail!("it started, and should have ended with code {code}")
        };
        let as_documented = refusal.code == Some(code) && words.iter().all(|word| refusal.said.contains(word));
        ensure!(as_documented, "expected was code {code} and {words:?}: {refusal:?}");
        Ok(())
    }

    /// After a fault that did not go as it should: undoes what is left of it, and starts anew.
    pub(super) async fn repair(&mut self) -> anyhow::Result<()> {
        drop(self.daemon.take());
        self.set_environment(Vec::new());
        let model = self.model();
        for path in [model.clone(), self.weights()] {
            if aside(&path).exists() {
                if path.is_dir() {
                    std::fs::remove_dir_all(&path)?;
                }
                std::fs::rename(aside(&path), &path)?;
            }
        }
        if self.mounted {
            // Not frozen, mostly, and then that is an error.
            drop(tool("fsfreeze", vec!["-u".into(), self.disk()]).await);
            self.unmount().await?;
            self.mount().await?;
            if self.filler().exists() {
                std::fs::remove_file(self.filler())?;
            }
        }
        self.start().await
    }

    /// The file that takes all room.
    pub(super) fn filler(&self) -> PathBuf {
        self.disk().join("filler")
    }

    /// Mounts the image.
    pub(super) async fn mount(&self) -> anyhow::Result<()> {
        let mut arguments = words(&["-o", "loop"]);
        arguments.extend([self.image(), self.disk()]);
        tool("mount", arguments).await
    }

    /// Takes it off.
    pub(super) async fn unmount(&self) -> anyhow::Result<()> {
        tool("umount", vec![self.disk()]).await
    }

    /// Mounts it with other options.
    pub(super) async fn remount(&self, option: &str) -> anyhow::Result<()> {
        let mut arguments = words(&["-o", &format!("remount,{option}")]);
        arguments.push(self.disk());
        tool("mount", arguments).await
    }
}

/// Where a file or folder is for as long as it is away.
pub(super) fn aside(path: &Path) -> PathBuf {
    path.with_extension("aside")
}
