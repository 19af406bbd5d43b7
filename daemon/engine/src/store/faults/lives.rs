//! Lives of a store that end with a power cut, on disks that fail now and then, with several writers and a reader.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::disk::Failing;
use super::world::{Writer, check, open};
use super::{Dice, Disk};
use crate::error::{EngineError, ErrorKind, Kept};
use crate::store::Store;

/// Power cuts on one store before a new one is begun.
const CUTS: u64 = 25;
/// Steps that a writer takes at most in one life.
const STEPS: u64 = 40;

fn cuts_wanted(short: u64) -> u64 {
    std::env::var("FITMENT_POWER_CUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(short)
}

/// What an error of a disk must look like to a caller.
fn assert_clear(error: &EngineError) {
    let (kind, reason) = error.classify();
    let expected = matches!(
        (kind, reason),
        (ErrorKind::ResourceExhausted, "STORE_FULL")
            | (ErrorKind::FailedPrecondition, "STORE_READ_ONLY")
            | (ErrorKind::Unavailable, "STORE_UNWRITABLE")
    );
    assert!(expected, "{reason}: {error}");
    let interrupted = matches!(error, EngineError::StoreInterrupted);
    assert!(interrupted || error.to_string().contains("catalog.redb"), "{error}");
}

/// Writes until the power is cut or enough was done.
fn live(store: &Store, disk: &Disk, writer: &mut Writer) {
    for _ in 0..STEPS {
        let step = writer.choose();
        match writer.ask(store, &step) {
            Ok(()) => writer.acknowledge(&step),
            Err(error) => {
                // What is said not to be kept must not be there after the power cut either.
                if error.kept() != Some(Kept::Nothing) {
                    writer.doubt(&step);
                }
                if disk.is_off() {
                    return;
                }
                assert_clear(&error);
                // Reading goes on, without what was refused.
                if let Ok(reader) = store.read()
                    && let Ok(found) = writer.find(&reader)
                {
                    assert_eq!(found, writer.known, "what was refused is not seen");
                }
            }
        }
    }
}

/// Reads for as long as others write.
fn watch(store: &Store, ended: &AtomicBool) -> u64 {
    let mut looks = 0;
    while !ended.load(Ordering::Acquire) {
        // A disk that fails may end a look; what a look does see is whole.
        if let Ok(reader) = store.read()
            && check(&reader).is_ok()
        {
            looks += 1;
        }
    }
    looks
}

fn power_cuts(cuts: u64, failing: bool, seed: u64) {
    let mut dice = Dice(seed);
    let (mut acknowledged, mut done, mut looks) = (0, 0, 0);
    while done < cuts {
        let disk = Disk::new(Vec::new(), dice.roll());
        drop(open(&disk).expect("a new store"));
        let mut image = disk.cut();
        let mut writers: Vec<Writer> = ["a", "b", "c"].map(|name| Writer::new(name, dice.roll())).into();
        for _ in 0..CUTS.min(cuts - done) {
            let disk = Disk::new(image, dice.roll());
            let store = open(&disk).expect("every start is clean");
            disk.cut_after(dice.below(400));
            if failing && dice.coin() {
                let kind = Failing::ALL[usize::try_from(dice.below(5)).expect("small")];
                disk.fail_after(dice.below(150), 1 + dice.below(30), kind);
            }
            let ended = AtomicBool::new(false);
            thread::scope(|scope| {
                let watching = scope.spawn(|| watch(&store, &ended));
                let writing: Vec<_> =
                    writers.iter_mut().map(|writer| scope.spawn(|| live(&store, &disk, writer))).collect();
                let lived: Vec<_> = writing.into_iter().map(thread::ScopedJoinHandle::join).collect();
                ended.store(true, Ordering::Release);
                looks += watching.join().expect("the reader ends well");
                for end in lived {
                    end.expect("a writer ends well");
                }
            });
            // Also while the store is being closed.
            if dice.coin() {
                image = disk.cut();
                drop(store);
            } else {
                drop(store);
                image = disk.cut();
            }
            done += 1;
            let store = open(&Disk::new(image.clone(), dice.roll())).expect("every start is clean");
            let reader = store.read().expect("reads");
            let versions = check(&reader).expect("reads");
            for writer in &mut writers {
                writer.compare(&reader).expect("reads");
            }
            assert_eq!(versions, writers.iter().map(Writer::versions).sum::<u64>(), "nobody asked for the others");
        }
        acknowledged += writers.iter().map(|writer| writer.acknowledged).sum::<u64>();
    }
    eprintln!(
        "{done} power cuts (failing disk: {failing}): {acknowledged} acknowledged writes, 0 lost, 0 phantom, {looks} looks"
    );
    assert!(acknowledged > done, "something was written");
}

#[test]
fn a_power_cut_loses_nothing_that_was_acknowledged() {
    power_cuts(cuts_wanted(40), false, 7);
}

#[test]
fn nor_does_one_on_a_disk_that_failed_before() {
    power_cuts(cuts_wanted(40), true, 11);
}

#[test]
fn a_disk_that_fails_is_named_and_writing_goes_on_once_it_works() {
    for (number, failing) in Failing::ALL.into_iter().enumerate() {
        let disk = Disk::new(Vec::new(), 3);
        let store = open(&disk).expect("a new store");
        let mut writer = Writer::new("a", 5);
        for _ in 0..30 {
            let step = writer.choose();
            writer.ask(&store, &step).expect("works");
            writer.acknowledge(&step);
        }
        disk.set_failing(Some(failing));
        for _ in 0..20 {
            let step = writer.choose();
            let error = writer.ask(&store, &step).expect_err("refused");
            assert_clear(&error);
            let (_, reason) = error.classify();
            let expected = match failing {
                Failing::Full | Failing::Short => "STORE_FULL",
                Failing::ReadOnly => "STORE_READ_ONLY",
                Failing::Broken | Failing::Unsynced | Failing::Gone => "STORE_UNWRITABLE",
            };
            assert_eq!(reason, expected, "{failing:?}: {error}");
            if failing != Failing::Gone {
                let reader = store.read().expect("reading goes on");
                assert_eq!(writer.find(&reader).expect("reads"), writer.known, "{failing:?}");
                check(&reader).expect("reads");
            }
        }
        disk.set_failing(None);
        // The disk is left alone for a few times as long as opening took.
        let step = writer.choose();
        let since = std::time::Instant::now();
        while let Err(error) = writer.ask(&store, &step) {
            assert_clear(&error);
            assert!(since.elapsed().as_secs() < 60, "{failing:?}: it never works again: {error}");
            thread::yield_now();
        }
        writer.acknowledge(&step);
        let reader = store.read().expect("reads");
        writer.compare(&reader).expect("reads");
        drop((reader, store));
        let store = open(&Disk::new(disk.cut(), number as u64)).expect("every start is clean");
        let reader = store.read().expect("reads");
        writer.compare(&reader).expect("reads");
        assert_eq!(check(&reader).expect("reads"), writer.versions());
    }
}
