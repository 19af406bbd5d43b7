//! Long work for one caller: one at a time, told step by step, ended when the caller leaves.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fitment_engine::{EngineError, Stop};
use fitment_proto::v1;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status};

use crate::rpc::status::refused;

/// Steps that wait for a slow receiver; further ones are left out.
const STREAM_BUFFER: usize = 64;
/// Steps of the same sort are told this often.
const TOLD_EVERY: Duration = Duration::from_millis(100);

/// The messages of a job as they come.
pub(crate) type Events<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Told how far a job has come: step, done, of how many.
pub(super) type Tell = Arc<dyn Fn(&str, u64, u64) + Send + Sync>;

/// Which job runs for each tenant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Jobs(Arc<Mutex<BTreeMap<Arc<str>, &'static str>>>);

/// The place of the job that runs; free again once the last clone is dropped.
#[derive(Clone, Debug)]
pub(super) struct Place {
    _place: Arc<Held>,
}

#[derive(Debug)]
struct Held(Jobs, Arc<str>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.0.lock().remove(&self.1);
    }
}

impl Jobs {
    /// Takes the tenant's place for a job. Errors: [`EngineError::JobRunning`].
    pub(super) fn start(&self, tenant: &Arc<str>, job: &'static str) -> Result<Place, EngineError> {
        let mut running = self.0.lock();
        if let Some(running) = running.get(tenant).copied() {
            return Err(EngineError::JobRunning { running });
        }
        running.insert(Arc::clone(tenant), job);
        Ok(Place { _place: Arc::new(Held(self.clone(), Arc::clone(tenant))) })
    }
}

/// A message of a job's stream.
pub(super) trait Event: Send + 'static {
    /// The message that says how far it has come.
    fn progress(progress: v1::JobProgress) -> Self;
}

/// Tells a caller how far its job has come. Telling never waits.
pub(super) struct Teller<T> {
    events: mpsc::Sender<Result<T, Status>>,
    last: Mutex<(String, Option<Instant>)>,
}

impl<T: Event> Teller<T> {
    /// A step has come so far. Told when it begins and ends, and now and then between.
    pub(super) fn tell(&self, step: &str, done: u64, total: u64) {
        let mut last = self.last.lock();
        let soon = last.1.is_some_and(|at| at.elapsed() < TOLD_EVERY);
        if last.0 == step && soon && done < total {
            return;
        }
        *last = (step.to_owned(), Some(Instant::now()));
        // What a slow caller misses is in the next message.
        drop(self.events.try_send(Ok(T::progress(v1::JobProgress { step: step.to_owned(), done, total }))));
    }
}

/// Runs work and streams its progress and its result. The work is dropped, and `stop` says so to threads of its own, when
/// the caller leaves.
pub(super) fn run<T, Work>(work: impl FnOnce(Arc<Teller<T>>, Stop) -> Work) -> Response<Events<T>>
where
    T: Event,
    Work: Future<Output = Result<T, EngineError>> + Send + 'static,
{
    let (events, stream) = mpsc::channel(STREAM_BUFFER);
    let stop = Stop::default();
    let teller = Arc::new(Teller { events: events.clone(), last: Mutex::default() });
    let work = work(teller, stop.clone());
    tokio::spawn(async move {
        let result = tokio::select! {
            result = work => result,
            () = events.closed() => {
                stop.stop();
                return;
            }
        };
        // A receiver that left needs no answer.
        drop(events.send(result.map_err(|error| refused(&error))).await);
    });
    Response::new(Box::pin(ReceiverStream::new(stream)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_job_at_a_time_and_the_next_when_every_part_of_it_has_ended() {
        let jobs = Jobs::default();
        let tenant: Arc<str> = "default".into();
        let place = jobs.start(&tenant, "a fit").expect("free");
        let of_a_thread = place.clone();
        assert!(jobs.start(&tenant, "a calibration").expect_err("taken").to_string().starts_with("a fit is running"));
        drop(place);
        assert!(jobs.start(&tenant, "a calibration").is_err());
        drop(of_a_thread);
        assert!(jobs.start(&tenant, "a calibration").is_ok());
    }
}
