//! The document that says who may what, from its file, and again whenever that or a file that it names changes.

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use arc_swap::ArcSwap;
use fitment_access::{Access, MAX_DOCUMENT_BYTES};
use parking_lot::Mutex;

use crate::metrics::names::ACCESS_RELOAD_FAILURES;
use crate::transport::Reloads;

/// How often the files are looked at for changes.
const LOOK: Duration = Duration::from_secs(5);

/// Who may what, kept up to date.
pub(crate) struct AccessStore {
    file: PathBuf,
    current: ArcSwap<Access>,
    /// The files that were read last, well or not, and what they looked like then.
    seen: Mutex<Vec<Seen>>,
}

/// A file and what tells two states of it apart without reading it.
type Seen = (PathBuf, Option<(u64, u64, u64, i64, i64)>);

impl AccessStore {
    /// Reads the document. Blocks.
    ///
    /// # Errors
    /// A file that cannot be read; a document with faults, all of them named.
    pub(crate) fn open(file: &Path) -> anyhow::Result<Self> {
        let (access, seen) = read(file);
        let current = ArcSwap::from_pointee(access.context("access.file")?);
        Ok(Self { file: file.to_path_buf(), current, seen: Mutex::new(seen) })
    }

    /// What calls that begin now are asked by.
    pub(crate) fn current(&self) -> Arc<Access> {
        self.current.load_full()
    }

    /// Reads the files again when they have changed or somebody asks, for as long as it is polled.
    pub(crate) async fn follow(self: Arc<Self>, mut reloads: Reloads) {
        loop {
            let asked = tokio::select! {
                () = reloads.next() => true,
                () = tokio::time::sleep(LOOK) => false,
            };
            let store = Arc::clone(&self);
            let looked = tokio::task::spawn_blocking(move || {
                if asked || store.has_changed() {
                    store.reload();
                }
            });
            if let Err(error) = looked.await {
                tracing::error!(%error, "a look at the access document was lost");
            }
        }
    }

    fn has_changed(&self) -> bool {
        self.seen.lock().iter().any(|(path, before)| stamp(path) != *before)
    }

    /// What was read before stays in force when the files are no good: callers are neither let in nor kept out by a slip.
    fn reload(&self) {
        let (access, seen) = read(&self.file);
        *self.seen.lock() = seen;
        match access {
            Ok(access) => {
                let before = self.current.load();
                if before.tenants().ne(access.tenants()) {
                    tracing::warn!(
                        "the access document names other tenants than at the start; new ones are served after a restart"
                    );
                }
                self.current.store(Arc::new(access));
                tracing::info!(file = %self.file.display(), "the access document was read again");
            }
            Err(error) => {
                // Looked up here: the document is read before anything records.
                metrics::counter!(ACCESS_RELOAD_FAILURES).increment(1);
                tracing::error!(
                    error = format!("{error:#}"),
                    "the access document cannot be used; what was read before stays in force"
                );
            }
        }
    }
}

/// Reads the document and what it names. The files that were looked at come along also when they are no good.
fn read(file: &Path) -> (anyhow::Result<Access>, Vec<Seen>) {
    let seen = Mutex::new(vec![(file.to_path_buf(), stamp(file))]);
    let folder = file.parent().unwrap_or(Path::new("."));
    let attached = |name: &str| {
        let path = folder.join(name);
        seen.lock().push((path.clone(), stamp(&path)));
        read_bounded(&path).map_err(|error| format!("{error:#}"))
    };
    let load = || {
        let bytes = read_bounded(file)?;
        Ok(Access::load(&file.display().to_string(), &bytes, &attached)?)
    };
    let access = load();
    (access, seen.into_inner())
}

fn read_bounded(path: &Path) -> anyhow::Result<Vec<u8>> {
    let shown = || path.display().to_string();
    let mut bytes = Vec::new();
    let most = MAX_DOCUMENT_BYTES as u64;
    fs::File::open(path).with_context(shown)?.take(most + 1).read_to_end(&mut bytes).with_context(shown)?;
    if bytes.len() as u64 > most {
        bail!("{}: is longer than {most} bytes", shown());
    }
    Ok(bytes)
}

fn stamp(path: &Path) -> Option<(u64, u64, u64, i64, i64)> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
}
