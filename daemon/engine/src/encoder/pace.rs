//! How fast the encoder is: a forward pass takes a fixed time and a time for each token, both learnt from what passes took.

#![expect(clippy::cast_precision_loss, reason = "tokens of a pass are far below 2^52")]

use std::time::{Duration, Instant};

/// What an older pass still counts when a newer one is recorded: some thirty passes decide.
const MEMORY: f64 = 0.97;

/// Tokens that a pass may always have: a few short intents.
const LEAST_PASS: usize = 64;

/// Least squares over passes, older ones counting less and less.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    weight: f64,
    tokens: f64,
    seconds: f64,
    tokens_squared: f64,
    product: f64,
    running: Option<(Instant, f64)>,
}

impl Pace {
    /// A pass of so many tokens begins.
    pub(super) fn began(&mut self, tokens: usize, now: Instant) {
        self.running = Some((now, self.seconds_for(tokens, 1)));
    }

    /// The pass that began last has ended, or failed (`None`).
    pub(super) fn ended(&mut self, tokens: usize, took: Option<Duration>) {
        self.running = None;
        let Some(took) = took else { return };
        let (tokens, seconds) = (tokens as f64, took.as_secs_f64());
        for (sum, more) in [
            (&mut self.weight, 1.0),
            (&mut self.tokens, tokens),
            (&mut self.seconds, seconds),
            (&mut self.tokens_squared, tokens * tokens),
            (&mut self.product, tokens * seconds),
        ] {
            *sum = *sum * MEMORY + more;
        }
    }

    /// Tokens a second, the passes' fixed time shared out; 0 before the first pass.
    pub(super) fn tokens_per_second(&self) -> f64 {
        if self.seconds > 0.0 { self.tokens / self.seconds } else { 0.0 }
    }

    /// How long it takes until so many tokens, in passes of at most `pass_tokens`, are encoded behind the pass that runs; 0
    /// before anything was measured.
    pub(super) fn wait(&self, tokens: usize, pass_tokens: usize, now: Instant) -> Duration {
        let left =
            self.running.map_or(0.0, |(since, whole)| (whole - now.duration_since(since).as_secs_f64()).max(0.0));
        let seconds = left + self.seconds_for(tokens, tokens.div_ceil(pass_tokens.max(1)));
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// Tokens of a pass that takes at most so long, though not so few that its fixed time is most of it; without end before
    /// anything was measured.
    pub(super) fn tokens_within(&self, limit: Duration) -> usize {
        let (fixed, each) = self.terms();
        if each <= 0.0 {
            return usize::MAX;
        }
        let tokens = (limit.as_secs_f64() - fixed).max(fixed) / each;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and is no less than 0")]
        let tokens = tokens as usize;
        tokens.max(LEAST_PASS)
    }

    fn seconds_for(&self, tokens: usize, passes: usize) -> f64 {
        let (fixed, each) = self.terms();
        fixed * passes as f64 + each * tokens as f64
    }

    /// Seconds of a pass whatever it holds, and of each token.
    fn terms(&self) -> (f64, f64) {
        if self.weight == 0.0 {
            return (0.0, 0.0);
        }
        let spread = self.weight * self.tokens_squared - self.tokens * self.tokens;
        // Passes of one size say nothing of what the size costs.
        if spread > 0.01 * self.tokens * self.tokens {
            let each = (self.weight * self.product - self.tokens * self.seconds) / spread;
            let fixed = (self.seconds - each * self.tokens) / self.weight;
            if each > 0.0 && fixed >= 0.0 {
                return (fixed, each);
            }
        }
        (0.0, self.seconds / self.tokens.max(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(pace: &mut Pace, tokens: usize, micros: u64) {
        let now = Instant::now();
        pace.began(tokens, now);
        pace.ended(tokens, Some(Duration::from_micros(micros)));
    }

    #[test]
    fn a_fixed_time_and_a_time_a_token_are_told_apart() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        assert_eq!(pace.wait(1000, 100, now), Duration::ZERO, "nothing is known yet");
        for tokens in [16, 32, 64, 512, 16, 128] {
            pass(&mut pace, tokens, 2000 + 50 * tokens as u64);
        }
        let wait = pace.wait(1000, 500, now).as_secs_f64();
        assert!((wait - 0.054).abs() < 1e-4, "{wait}");
        assert!((459..=460).contains(&pace.tokens_within(Duration::from_millis(25))));
        assert_eq!(pace.tokens_within(Duration::ZERO), LEAST_PASS);
    }

    #[test]
    fn passes_of_one_size_give_a_rate_and_a_slower_machine_is_noticed() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        for _ in 0..50 {
            pass(&mut pace, 100, 10_000);
        }
        assert!((pace.tokens_per_second() - 10_000.0).abs() < 1.0);
        assert!((pace.wait(200, 4096, now).as_secs_f64() - 0.02).abs() < 1e-4);
        for _ in 0..100 {
            pass(&mut pace, 100, 40_000);
        }
        let wait = pace.wait(200, 4096, now).as_secs_f64();
        assert!((0.07..=0.08).contains(&wait), "{wait}");
    }

    #[test]
    fn the_pass_that_runs_counts_for_what_is_left_of_it() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        for _ in 0..5 {
            pass(&mut pace, 100, 10_000);
        }
        pace.began(100, now);
        let at = |millis| pace.wait(0, 4096, now + Duration::from_millis(millis)).as_secs_f64();
        assert!((at(4) - 0.006).abs() < 1e-4);
        assert!(at(50).abs() < 1e-9);
    }
}
