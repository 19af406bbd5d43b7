//! The document that says who may what: its bytes, a sound one with a few things changed, and the keys and policies that it
//! names. What is accepted is asked who calls and what they may.
#![no_main]

use std::sync::LazyLock;

use arbitrary::Unstructured;
use fitment_access::{Access, AccessError, ComponentFacts, Presented, RPCS, Reach};
use fitment_catalog::Kind;
use fitment_fuzz::access::{CLIENT, POLICIES, attached, document, instant, keys};
use fitment_fuzz::{choice, edit, refused};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

static DOCUMENT: LazyLock<Value> = LazyLock::new(document);
static KEYS: LazyLock<Value> = LazyLock::new(keys);
static FACTS: LazyLock<ComponentFacts> = LazyLock::new(|| ComponentFacts {
    namespace: "payments".into(),
    kind: Kind::Service,
    tags: ["pci".parse().expect("a tag")].into(),
    owner: "team-payments".into(),
    roles: ["reader".into()].into(),
});

fn judge(file: &str, document: &[u8], keys: &[u8], policies: &[u8]) {
    let files = |name: &str| attached(name, keys, policies);
    let access = match Access::load(file, document, &files) {
        Err(error) => {
            if let AccessError::Invalid { faults } = &error {
                assert!(!faults.is_empty(), "refused for no reason");
            }
            return refused(&error, document.len() + keys.len() + policies.len());
        }
        Ok(access) => access,
    };
    let summary = access.summary();
    assert!(summary.tenants.iter().any(|tenant| tenant == "default"));
    assert_eq!(Access::load(file, document, &files).map(|again| again.summary()), Ok(summary));
    for principal in ["deploy-bot", "build-box", "anonymous"].into_iter().filter_map(|id| access.principal(id)) {
        for rpc in RPCS {
            let told = access.explain(principal, rpc.path, Some(&FACTS)).expect("a call that there is").allowed;
            let done = access.authorise(principal, rpc.path);
            let done = done.is_ok_and(|permit| permit.reach() != Reach::Component || permit.permits(&FACTS));
            // What is told is what is done.
            assert_eq!(told, done, "{} of {}", rpc.path, principal.id());
        }
    }
    // Whoever it is: asking ends.
    let _ = access.authenticate(&Presented { certificate: Some(CLIENT), ..Presented::default() }, instant());
}

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, rest)) = choice(bytes) else { return };
    let (document, keys) = (DOCUMENT.to_string(), KEYS.to_string());
    let mut u = Unstructured::new(rest);
    match kind % 8 {
        0 => judge("access.yaml", rest, keys.as_bytes(), POLICIES.as_bytes()),
        1 => judge("access.json", rest, keys.as_bytes(), POLICIES.as_bytes()),
        2 => judge("access.json", document.as_bytes(), rest, POLICIES.as_bytes()),
        3 => judge("access.json", document.as_bytes(), keys.as_bytes(), rest),
        _ => {
            let (mut document, mut keys) = (DOCUMENT.clone(), KEYS.clone());
            let place = if kind % 8 == 4 { &mut keys } else { &mut document };
            for _ in 0..u.int_in_range(1..=4).unwrap_or(1) {
                if edit(&mut u, place).is_err() {
                    break;
                }
            }
            judge("access.json", document.to_string().as_bytes(), keys.to_string().as_bytes(), POLICIES.as_bytes());
        }
    }
});
