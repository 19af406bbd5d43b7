//! Calls of every service: bytes as they are for one method's message, or a short sequence of calls whose messages are made by
//! their descriptors, over a catalogue that earlier inputs have changed.
//!
//! What an input finds may need the ones before it: when a call panics, the inputs since the catalogue was begun are written
//! beside the crash, in order, and `services FILE...` runs them again.
#![no_main]

use std::cell::RefCell;
use std::path::Path;
use std::sync::{LazyLock, Mutex, Once};

use arbitrary::Unstructured;
use fitment_fuzz::choice;
use fitment_fuzz::daemon::{Daemon, message, methods};
use libfuzzer_sys::fuzz_target;
use prost_reflect::MethodDescriptor;
use prost_reflect::prost::Message as _;

/// Inputs after which a new history is begun.
const HISTORY: usize = 2000;

static METHODS: LazyLock<Vec<MethodDescriptor>> = LazyLock::new(methods);
static INPUTS: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
static HOOK: Once = Once::new();

thread_local! {
    static DAEMON: RefCell<Daemon> = RefCell::default();
}

fn write_history() {
    let Ok(inputs) = INPUTS.try_lock() else { return };
    let folder = Path::new("artifacts/services/history");
    if std::fs::create_dir_all(folder).is_ok() {
        for (at, input) in inputs.iter().enumerate() {
            // Whoever looks for it will see that it is missing.
            drop(std::fs::write(folder.join(format!("{at:05}")), input));
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            write_history();
            before(panic);
        }));
    });
    if let Ok(mut inputs) = INPUTS.lock() {
        if inputs.len() >= HISTORY {
            inputs.clear();
        }
        inputs.push(bytes.to_vec());
    }
    let Some((kind, rest)) = choice(bytes) else { return };
    DAEMON.with_borrow_mut(|daemon| {
        if kind >= 224 {
            let Some((which, rest)) = choice(rest) else { return };
            daemon.call(&METHODS[usize::from(which) % METHODS.len()], &[rest.to_vec()]);
            return;
        }
        let mut u = Unstructured::new(rest);
        for _ in 0..=kind % 4 {
            let Ok(at) = u.choose_index(METHODS.len()) else { return };
            let method = &METHODS[at];
            let count = if method.is_client_streaming() { u.int_in_range(0..=3).unwrap_or(1) } else { 1 };
            let made = (0..count).map(|_| message(&mut u, &method.input(), &daemon.remembered, 0));
            let Ok(made) = made.collect::<Result<Vec<_>, _>>() else { return };
            let bytes: Vec<Vec<u8>> = made.iter().map(|message| message.encode_to_vec()).collect();
            daemon.call(method, &bytes);
        }
    });
});
