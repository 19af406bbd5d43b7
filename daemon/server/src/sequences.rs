//! Random calls of the services against a model in memory: after each call, whatever can be seen agrees.
//!
//! `model` says what must be; `steps` what may be asked, valid or not; `world` asks the real services, in process. A number of
//! sequences is run, 24 unless `FITMENT_SEQUENCES` says otherwise; a failing one is cut down to its shortest form.

mod model;
mod steps;
mod world;

use proptest::collection::vec;
use proptest::test_runner::{Config, TestRunner};

use self::steps::step;
use self::world::World;

/// Calls of one sequence at most: fewer than the denials that a minute has room for.
const LONGEST: usize = 40;

#[test]
fn sequences_of_calls_leave_what_the_model_says() {
    let cases = std::env::var("FITMENT_SEQUENCES").ok().map_or(24, |text| text.parse().expect("a number of sequences"));
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 400, ..Config::default() };
    let steps = std::cell::Cell::new(0usize);
    let outcome = TestRunner::new(config).run(&vec(step(), 1..LONGEST), |sequence| {
        let mut world = World::new();
        for step in &sequence {
            world.take(step);
            world.compare();
        }
        steps.set(steps.get() + sequence.len());
        Ok(())
    });
    eprintln!("{cases} sequences, {} calls", steps.get());
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
