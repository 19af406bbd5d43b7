//! Downloading.
//!
//! The client library sets no time limits, so it works on a thread of its own and is watched from here: no answer
//! within seconds, or no byte for a minute, and the next source gets its turn. The thread ends with its connection.

use std::fs::File;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};

use hf_hub::api::sync::ApiBuilder;
use hf_hub::{Repo, RepoType};

use super::HubAccess;
use crate::cache::files::{Incoming, copy_checked, remove_all};
use crate::cache::pull::{Staging, missing};
use crate::error::ModelError;
use crate::known::{KnownModel, ModelFile};
use crate::progress::Progress;

/// What the downloading thread reports.
enum Event {
    /// Bytes of the current file that are here.
    Bytes(u64),
    /// A file is complete.
    Done(ModelFile, PathBuf),
    /// The download failed.
    Failed(String),
}

/// Fetches every missing file into staging; the error is one line for people.
pub(in crate::cache) fn fetch(
    access: &HubAccess,
    known: &KnownModel,
    staging: &Staging,
    progress: &dyn Progress,
) -> Result<(), String> {
    let (events, reports) = channel();
    let files: Vec<ModelFile> = missing(known, staging).into_iter().cloned().collect();
    let total = files.iter().map(|file| file.size).sum();
    progress.start(&format!("{} from the hub", known.name), total);
    let job = Job { access: access.clone(), known: known.clone(), cache: staging.hub(), files };
    std::thread::Builder::new()
        .name("fitment-hub".to_owned())
        .spawn(move || job.run(&events))
        .map_err(|error| format!("cannot start a thread: {error}"))?;
    let result = watch(access, known, &reports, staging, progress);
    progress.finish();
    if result.is_ok() {
        // Only complete and checked files were taken from it.
        remove_all(&staging.hub()).map_err(|error| error.to_string())?;
    }
    result
}

fn watch(
    access: &HubAccess,
    known: &KnownModel,
    reports: &Receiver<Event>,
    staging: &Staging,
    progress: &dyn Progress,
) -> Result<(), String> {
    let mut patience = access.answer_within;
    let mut done = 0;
    loop {
        match reports.recv_timeout(patience) {
            Ok(Event::Bytes(bytes)) => progress.advance_to(done + bytes),
            Ok(Event::Done(file, path)) => {
                take(&file, &path, staging).map_err(|error| {
                    // Bytes that are wrong now would be found again by the next try.
                    let _ = remove_all(&staging.hub());
                    error.to_string()
                })?;
                done += file.size;
                progress.advance_to(done);
            }
            Ok(Event::Failed(reason)) => return Err(reason),
            Err(RecvTimeoutError::Timeout) => return Err(format!("no answer within {} s", patience.as_secs_f32())),
            Err(RecvTimeoutError::Disconnected) => break,
        }
        patience = access.stall_after;
    }
    match missing(known, staging).as_slice() {
        [] => Ok(()),
        [file, ..] => Err(format!("the download ended without `{}`", file.path)),
    }
}

/// Checks a downloaded file and moves its bytes over to the staged files.
fn take(file: &ModelFile, path: &PathBuf, staging: &Staging) -> Result<(), ModelError> {
    let mut reader = File::open(path).map_err(ModelError::io("open", path))?;
    let on_read_error = |error| ModelError::io("read", path)(error);
    let incoming =
        Incoming { reader: &mut reader, place: path.clone(), limit: file.size, on_read_error: &on_read_error };
    copy_checked(incoming, &staging.files().join(&file.path), file, &crate::progress::Silent)
}

/// The thread's work.
struct Job {
    access: HubAccess,
    known: KnownModel,
    cache: PathBuf,
    files: Vec<ModelFile>,
}

impl Job {
    /// Reports each file; ends early when no one listens any more. A panic of the client library ends the thread
    /// without a complete set of files, which the caller sees as files still missing.
    fn run(self, events: &Sender<Event>) {
        let Self { access, known, cache, files } = self;
        let result = (|| {
            let api = ApiBuilder::new()
                .with_endpoint(access.endpoint)
                .with_token(access.token)
                .with_cache_dir(cache)
                .with_progress(false)
                .build()?;
            let repo = api.repo(Repo::with_revision(known.hub.repository, RepoType::Model, known.hub.revision));
            for file in files {
                let path = repo.download_with_progress(&file.path, Report { events: events.clone(), bytes: 0 })?;
                if events.send(Event::Done(file, path)).is_err() {
                    break;
                }
            }
            Ok(())
        })();
        if let Err(error) = result {
            let error: hf_hub::api::sync::ApiError = error;
            // No one may be listening: then no one wants to know.
            let _ = events.send(Event::Failed(one_line(&error)));
        }
    }
}

/// The innermost cause says more than the chain of wrappers.
fn one_line(error: &dyn std::error::Error) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or("failed").to_owned()
}

/// Turns the client library's progress into events.
struct Report {
    events: Sender<Event>,
    bytes: u64,
}

impl hf_hub::api::Progress for Report {
    fn init(&mut self, _size: usize, _filename: &str) {
        self.bytes = 0;
        let _ = self.events.send(Event::Bytes(0));
    }

    fn update(&mut self, size: usize) {
        self.bytes += size as u64;
        let _ = self.events.send(Event::Bytes(self.bytes));
    }

    fn finish(&mut self) {}
}
