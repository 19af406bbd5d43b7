//! A trust root: its bytes, and one with a few things changed, so that what lies behind its form is reached.
#![no_main]

use std::sync::LazyLock;

use arbitrary::Unstructured;
use fitment_catalog::Format;
use fitment_fuzz::{choice, component, edit, format, refused, root};
use fitment_trust::{PrivateKey, PublicKey, TrustRoot, parse_time};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

static GOOD: LazyLock<Value> = LazyLock::new(|| root().to_value());

fn judge(bytes: &[u8], form: Format) {
    match TrustRoot::parse("root", bytes, form) {
        Err(error) => refused(&error, bytes.len()),
        Ok(root) => {
            let written = root.to_value().to_string();
            let again = TrustRoot::parse("root", written.as_bytes(), Format::Json).expect("what it writes");
            assert_eq!(again, root);
            assert_eq!(again.digest(), root.digest());
            assert!(root.succeeds(&again).is_ok(), "a root takes its own place");
            assert!(root.policies_for(&component()).count() <= root.policies().len());
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, rest)) = choice(bytes) else { return };
    match kind % 4 {
        0 => judge(rest, format(kind >> 2)),
        1 => {
            let Ok(text) = std::str::from_utf8(rest) else { return };
            if let Ok(key) = PublicKey::parse(text) {
                assert_eq!(PublicKey::parse(&key.to_pem()), Ok(key));
                assert_eq!(PublicKey::parse(&key.to_base64()), Ok(key));
            }
            let _ = PrivateKey::from_pem(text);
            if let Ok(time) = parse_time(text) {
                assert_eq!(parse_time(&time.to_string()), Ok(time));
            }
        }
        _ => {
            let mut u = Unstructured::new(rest);
            let mut document = GOOD.clone();
            let edits = u.int_in_range(1..=4).unwrap_or(1);
            for _ in 0..edits {
                if edit(&mut u, &mut document).is_err() {
                    break;
                }
            }
            judge(document.to_string().as_bytes(), Format::Json);
        }
    }
});
