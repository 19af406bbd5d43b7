//! An assembly's document, checked against the sample catalogue and the starter policies: it reads back, its digest does not
//! hang on its form, and the check always ends in a report.
#![no_main]

use std::sync::LazyLock;

use arbitrary::Unstructured;
use fitment_assembly::{Assembly, Policies, check};
use fitment_catalog::{Format, read_document};
use fitment_fuzz::{Catalogue, choice, edit, format, refused, starter};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

static PORTAL: LazyLock<Value> = LazyLock::new(|| {
    let text = include_bytes!("../../../daemon/assembly/tests/fixtures/portal.yaml");
    read_document("portal.yaml", text, Format::Yaml).expect("the worked example")
});

fn judge(bytes: &[u8], form: Format) {
    let assembly = match Assembly::parse("a.yaml", bytes, form) {
        Err(error) => return refused(&error, bytes.len()),
        Ok(assembly) => assembly,
    };
    let again = Assembly::parse("w.yaml", assembly.to_yaml().as_bytes(), Format::Yaml).expect("what it writes");
    assert_eq!(again.digest(), assembly.digest());
    let canonical = assembly.canonical_json();
    let canonical_again = Assembly::parse("c.json", &canonical, Format::Json).expect("the canonical form");
    assert_eq!(canonical_again.canonical_json(), canonical);
    let report = check(&assembly, &Policies::default(), starter(), &Catalogue);
    assert_eq!(report.assembly, assembly.digest());
    for finding in &report.findings {
        refused(finding, bytes.len());
    }
    assert_eq!(check(&again, &Policies::default(), starter(), &Catalogue), report, "the same document, another report");
}

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, rest)) = choice(bytes) else { return };
    if kind % 2 == 0 {
        return judge(rest, format(kind));
    }
    let mut u = Unstructured::new(rest);
    let mut document = PORTAL.clone();
    let edits = u.int_in_range(1..=4).unwrap_or(1);
    for _ in 0..edits {
        if edit(&mut u, &mut document).is_err() {
            break;
        }
    }
    judge(document.to_string().as_bytes(), Format::Json);
});
