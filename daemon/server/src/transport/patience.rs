//! How long the other end may keep us waiting: a supply of time that waiting uses up and progress gives back.
//!
//! A limit on one pause alone is met by sending a byte just before it ends, for ever. Here a byte gives back only what it
//! is worth at [`LEAST_BYTES_PER_SECOND`], so whoever is slower than that runs out, and whoever is faster never does.

use std::time::Duration;

/// The rate below which a peer counts as stalling, bytes a second, once its supply is used up.
pub(super) const LEAST_BYTES_PER_SECOND: u64 = 16 * 1024;

/// A supply of waiting time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    whole: Duration,
    left: Duration,
}

impl Patience {
    pub(super) fn new(whole: Duration) -> Self {
        Self { whole, left: whole }
    }

    /// What is left.
    pub(super) fn left(&self) -> Duration {
        self.left
    }

    /// Takes off what was waited. Returns whether anything is left.
    pub(super) fn spend(&mut self, waited: Duration) -> bool {
        self.left = self.left.saturating_sub(waited);
        !self.left.is_zero()
    }

    /// Gives back what this many bytes are worth, up to the whole.
    pub(super) fn earn(&mut self, bytes: u64) {
        let worth = Duration::from_micros(bytes.saturating_mul(1_000_000) / LEAST_BYTES_PER_SECOND);
        self.left = self.left.saturating_add(worth).min(self.whole);
    }

    /// Gives back everything.
    pub(super) fn renew(&mut self) {
        self.left = self.whole;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trickle_runs_out_and_a_stream_does_not() {
        let pause = Duration::from_secs(1);
        let mut trickle = Patience::new(Duration::from_secs(10));
        let pauses = (0..).take_while(|_| {
            let left = trickle.spend(pause);
            trickle.earn(1);
            left
        });
        assert_eq!(pauses.count(), 10, "a byte a second buys nothing that counts");
        let mut stream = Patience::new(Duration::from_secs(10));
        for _ in 0..1000 {
            assert!(stream.spend(pause));
            stream.earn(LEAST_BYTES_PER_SECOND);
        }
        assert_eq!(stream.left(), Duration::from_secs(10), "what is given back ends at the whole");
    }
}
