//! Labelled intents sent to a running daemon, and its progress shown.

use std::path::{Path, PathBuf};

use fitment_proto::v1;
use tonic::Streaming;

use super::laboratory::SAMPLE;
use crate::client::{CredentialFlags, ServerFlags};
use crate::output::{Invalid, Steps};

/// Asks a running daemon instead of a scratch store.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct RemoteFlags {
    /// Work on the catalogue of the daemon at this address instead of in a scratch store.
    #[arg(long, value_name = "ADDR", help_heading = "On a running daemon")]
    server: Option<String>,
    /// Take the daemon's approved labelled intents (see `fitment feedback`) instead of a file; without --server of the daemon
    /// on this machine.
    #[arg(long, conflicts_with = "dataset", help_heading = "On a running daemon")]
    feedback: bool,
    #[command(flatten)]
    credentials: CredentialFlags,
}

impl RemoteFlags {
    /// The daemon to ask, if one is to be asked.
    pub(super) fn server(&self) -> Option<ServerFlags> {
        (self.server.is_some() || self.feedback).then(|| ServerFlags::at(self.server.clone(), self.credentials.clone()))
    }

    /// The labelled intents to send.
    ///
    /// split: `None`: the usual one. Errors: no file, a folder, a file that cannot be read.
    pub(super) fn intents(&self, dataset: Option<&Path>, split: Option<&str>) -> anyhow::Result<v1::LabelledIntents> {
        use v1::labelled_intents::Source;
        let split = split.unwrap_or_default().to_owned();
        if self.feedback {
            return Ok(v1::LabelledIntents { source: Some(Source::Feedback(())), name: String::new(), split });
        }
        let Some(path) = dataset else {
            return Err(Invalid("name labelled intents: --dataset FILE.csv, or --feedback".into()).into());
        };
        if path == Path::new(SAMPLE) && !path.exists() {
            let csv = fitment_catalog::sample_intents().as_bytes().to_vec();
            return Ok(v1::LabelledIntents { source: Some(Source::Csv(csv)), name: SAMPLE.to_owned(), split });
        }
        if path.is_dir() {
            let fault = format!(
                "{} is a folder with components of its own; a daemon takes a CSV file of intents for the catalogue it serves",
                path.display()
            );
            return Err(Invalid(fault).into());
        }
        let csv =
            std::fs::read(path).map_err(|error| Invalid(format!("{} cannot be read: {error}", path.display())))?;
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(v1::LabelledIntents { source: Some(Source::Csv(csv)), name, split })
    }
}

/// What a job says while it runs and at its end.
pub(super) trait JobEvent {
    /// What the job gives.
    type Result;
    /// Progress, the result, or something that this build does not know.
    fn taken_apart(self) -> Option<Told<Self::Result>>;
}

/// One word of a job.
pub(super) enum Told<R> {
    /// How far it is.
    Progress(v1::JobProgress),
    /// Its end.
    Result(R),
}

macro_rules! job_event {
    ($response:ident, $events:ident, $result:ident) => {
        impl JobEvent for v1::$response {
            type Result = v1::$result;

            fn taken_apart(self) -> Option<Told<Self::Result>> {
                let Self { event } = self;
                Some(match event? {
                    v1::$events::Event::Progress(progress) => Told::Progress(progress),
                    v1::$events::Event::Result(result) => Told::Result(result),
                })
            }
        }
    };
}

job_event!(FitResponse, fit_response, FitResult);
job_event!(CalibrateResponse, calibrate_response, CalibrateResult);
job_event!(EvaluateResponse, evaluate_response, EvaluateResult);
job_event!(CreateSnapshotResponse, create_snapshot_response, CreateSnapshotResult);
job_event!(MigrateModelResponse, migrate_model_response, MigrateModelResult);
job_event!(ImportBundleResponse, import_bundle_response, ImportBundleResult);
job_event!(VerifySnapshotResponse, verify_snapshot_response, Snapshot);

/// The result of a job; its progress is shown meanwhile. Ctrl-C leaves the call, and so ends the job.
pub(super) async fn finish<T: JobEvent>(mut events: Streaming<T>) -> anyhow::Result<T::Result> {
    let steps = Steps::new();
    while let Some(event) = events.message().await? {
        match event.taken_apart() {
            Some(Told::Progress(v1::JobProgress { step, done, total })) => steps.tell(&step, done, total),
            Some(Told::Result(result)) => {
                steps.finish();
                return Ok(result);
            }
            None => {}
        }
    }
    anyhow::bail!("the daemon ended the job without a result; retry")
}

/// Refuses flags that make no sense on a running daemon.
pub(super) fn refuse(flags: &[(&str, bool)]) -> anyhow::Result<()> {
    match flags.iter().find(|(_, given)| *given) {
        Some((flag, _)) => Err(Invalid(format!("{flag} does not go with --server or --feedback; leave it out")).into()),
        None => Ok(()),
    }
}

/// The one data set that a daemon takes.
pub(super) fn only(datasets: &[PathBuf]) -> anyhow::Result<Option<&Path>> {
    match datasets {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        _ => Err(Invalid("a daemon takes one --dataset: its catalogue is one".into()).into()),
    }
}
