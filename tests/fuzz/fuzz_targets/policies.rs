//! Policies: Cedar text and an organisation's file of them. What is accepted is asked about the worked example.
#![no_main]

use std::sync::LazyLock;

use fitment_assembly::{Assembly, InvariantSet, Policies, PolicySource, check};
use fitment_catalog::Format;
use fitment_fuzz::{Catalogue, choice, format, refused};
use libfuzzer_sys::fuzz_target;

static PORTAL: LazyLock<Assembly> = LazyLock::new(|| {
    let text = include_bytes!("../../../daemon/assembly/tests/fixtures/portal.yaml");
    Assembly::parse("portal.yaml", text, Format::Yaml).expect("the worked example")
});

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, rest)) = choice(bytes) else { return };
    if kind % 2 == 1 {
        match Policies::parse("p.yaml", rest, format(kind)) {
            Err(error) => refused(&error, rest.len()),
            Ok(policies) => {
                let written = policies.to_value().to_string();
                let again = Policies::parse("p.json", written.as_bytes(), Format::Json).expect("what it writes");
                assert_eq!(again.digest(), policies.digest());
            }
        }
        return;
    }
    let Ok(text) = std::str::from_utf8(rest) else { return };
    match InvariantSet::load(&[PolicySource { file: "p.cedar", text }]) {
        Err(error) => refused(&error, text.len()),
        Ok(set) => {
            let again = InvariantSet::load(&[PolicySource { file: "q.cedar", text }]).expect("the same text");
            assert_eq!(again.digest(), set.digest());
            if set.ids().next().is_some() {
                let report = check(&PORTAL, &Policies::default(), &set, &Catalogue);
                assert_eq!(report.invariants, set.digest());
            }
        }
    }
});
