//! A lock file, held against a tree made from bytes: it reads back to the byte, and looking for drift always ends.
#![no_main]

use std::sync::LazyLock;

use arbitrary::Unstructured;
use fitment_assembly::{Assembly, Lock, Locking, OwnFiles, Policies, Tree, TreeEntry, TreeFile, check, lock, verify};
use fitment_catalog::Format;
use fitment_fuzz::{Catalogue, choice, edit, format, now, refused, starter};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// A lock of the worked example without what lies in files.
static GOOD: LazyLock<Option<Value>> = LazyLock::new(|| {
    let text = include_bytes!("../../../daemon/assembly/tests/fixtures/portal.yaml");
    let assembly = Assembly::parse("portal.yaml", text, Format::Yaml).expect("the worked example");
    let report = check(&assembly, &Policies::default(), starter(), &Catalogue);
    let locking =
        Locking { assembly: &assembly, report: &report, facts: &Catalogue, tree: None, revision: 1, at: now() };
    lock(&locking).ok().map(|lock| lock.to_value())
});

fn judge(u: &mut Unstructured<'_>, bytes: &[u8], form: Format) {
    let lock = match Lock::parse("l.yaml", bytes, form) {
        Err(error) => return refused(&error, bytes.len()),
        Ok(lock) => lock,
    };
    let yaml = lock.to_yaml();
    let again = Lock::parse("w.yaml", yaml.as_bytes(), Format::Yaml).expect("what it writes");
    assert_eq!(again.to_yaml(), yaml);
    assert_eq!(again.digest(), lock.digest());
    let count = u.int_in_range(0..=6).unwrap_or(0);
    let found: Vec<(String, TreeEntry)> = (0..count)
        .filter_map(|_| {
            let path: String = u.arbitrary().ok()?;
            Some((path, TreeEntry::File(TreeFile::of(u.arbitrary::<&[u8]>().ok()?))))
        })
        .collect();
    let own = OwnFiles { lock: None, assembly: None };
    for drift in verify(&lock, &Tree::new(found), &own) {
        refused(&drift, yaml.len() + bytes.len());
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, rest)) = choice(bytes) else { return };
    let mut u = Unstructured::new(rest);
    if kind % 2 == 0 {
        return judge(&mut Unstructured::new(&[]), rest, format(kind));
    }
    let Some(mut document) = GOOD.clone() else { return };
    let edits = u.int_in_range(0..=3).unwrap_or(1);
    for _ in 0..edits {
        if edit(&mut u, &mut document).is_err() {
            break;
        }
    }
    judge(&mut u, document.to_string().as_bytes(), Format::Json);
});
