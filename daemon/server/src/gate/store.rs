//! The document that says who may what, from its file, and again whenever that or a file that it names changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use fitment_access::{Access, MAX_DOCUMENT_BYTES};
use parking_lot::Mutex;

use crate::files::{Stamp, read_bounded};
use crate::metrics::names::{ACCESS_RELOAD_FAILURES, ACCESS_RELOADS};
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

/// A file and what it looked like.
type Seen = (PathBuf, Option<Stamp>);

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
    pub(crate) async fn follow(self: Arc<Self>, reloads: Reloads) {
        let look = move |asked| {
            if asked || self.has_changed() {
                self.reload();
            }
        };
        reloads.look_again("the access document", LOOK, look).await;
    }

    fn has_changed(&self) -> bool {
        self.seen.lock().iter().any(|(path, before)| Stamp::of(path) != *before)
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
                // Looked up here: the document is read before anything records.
                metrics::counter!(ACCESS_RELOADS).increment(1);
                tracing::info!(file = %self.file.display(), "the access document was read again");
            }
            Err(error) => {
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
    let seen = Mutex::new(vec![(file.to_path_buf(), Stamp::of(file))]);
    let folder = file.parent().unwrap_or(Path::new("."));
    let attached = |name: &str| {
        let path = folder.join(name);
        seen.lock().push((path.clone(), Stamp::of(&path)));
        bounded(&path).map_err(|error| format!("{error:#}"))
    };
    let load = || {
        let bytes = bounded(file)?;
        Ok(Access::load(&file.display().to_string(), &bytes, &attached)?)
    };
    let access = load();
    (access, seen.into_inner())
}

fn bounded(path: &Path) -> anyhow::Result<Vec<u8>> {
    let shown = || path.display().to_string();
    read_bounded(path, MAX_DOCUMENT_BYTES as u64)
        .with_context(shown)?
        .with_context(|| format!("{}: is longer than {MAX_DOCUMENT_BYTES} bytes", shown()))
}
