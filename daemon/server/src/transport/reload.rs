//! Being told to read files again: by SIGHUP, or by whoever holds the handle.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// Asks everything that can be read again while the daemon runs to be read again. Clones are one and the same.
#[derive(Clone, Debug)]
pub struct Reload {
    asked: watch::Sender<u64>,
}

impl Default for Reload {
    fn default() -> Self {
        Self { asked: watch::Sender::new(0) }
    }
}

impl Reload {
    /// Asks. Several requests that come before anybody has looked are one.
    pub fn request(&self) {
        self.asked.send_modify(|count| *count += 1);
    }

    /// Hears of requests from now on.
    pub fn listen(&self) -> Reloads {
        Reloads(self.asked.subscribe())
    }

    /// Turns each SIGHUP into a request, for as long as it is polled. Once this has begun the signal ends the process no more.
    pub async fn on_hangup(self) {
        use tokio::signal::unix::{SignalKind, signal};
        let mut hangups = match signal(SignalKind::hangup()) {
            Ok(hangups) => hangups,
            Err(error) => {
                tracing::warn!(%error, "SIGHUP cannot be watched; files are read again when they change, or at a restart");
                return std::future::pending().await;
            }
        };
        while hangups.recv().await.is_some() {
            tracing::info!("SIGHUP: reading again what can be read again");
            self.request();
        }
    }
}

/// Requests of a [`Reload`].
#[derive(Debug)]
pub struct Reloads(watch::Receiver<u64>);

impl Reloads {
    /// Looks at files, on request (`look(true)`) and every so often (`look(false)`; 0: never), off the asynchronous threads, for as
    /// long as it is polled. `what` they are says the log when a look is lost.
    pub(crate) async fn look_again(
        mut self,
        what: &'static str,
        every: Duration,
        look: impl Fn(bool) + Send + Sync + 'static,
    ) {
        let look = Arc::new(look);
        loop {
            let asked = tokio::select! {
                () = self.next() => true,
                () = tokio::time::sleep(every), if !every.is_zero() => false,
            };
            let look = Arc::clone(&look);
            if let Err(error) = tokio::task::spawn_blocking(move || look(asked)).await {
                tracing::error!(%error, "a look at {what} was lost");
            }
        }
    }

    /// Waits for the next request; for ever once nobody can ask any more.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
