//! What holds for all inputs.

use fitment_catalog::Format;
use fitment_trust::{Envelope, PrivateKey, PublicKey, Statement, TrustRoot, assess};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::support::{certificate, certification, component, now, root, root_value, verified, version};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    /// Whatever single byte of an envelope is changed: it is refused, or it says what was signed.
    #[test]
    fn a_changed_byte_never_changes_what_counts(at in any::<prop::sample::Index>(), mask in 1..=255_u8) {
        let good = certificate(&certification(), &["alice", "bob"]);
        let mut bytes = good.to_json();
        let at = at.index(bytes.len());
        bytes[at] ^= mask;
        if let Ok(read) = root().verify(&bytes) {
            let whole = verified(&root(), &good);
            prop_assert_eq!(read.digest(), whole.digest());
            prop_assert_eq!(read.statement(), whole.statement());
            prop_assert!(read.signers().is_subset(whole.signers()));
        }
    }

    /// A byte of the signed payload is changed, in an envelope that is otherwise well formed.
    #[test]
    fn a_changed_payload_is_refused(at in any::<prop::sample::Index>(), mask in 1..=255_u8) {
        let good = certificate(&certification(), &["alice"]);
        let mut payload = good.payload().to_vec();
        let at = at.index(payload.len());
        payload[at] ^= mask;
        let mut value: serde_json::Value = serde_json::from_slice(&good.to_json()).expect("JSON");
        value["payload"] = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &payload).into();
        prop_assert!(root().verify(value.to_string().as_bytes()).is_err());
    }

    #[test]
    fn any_bytes_are_judged(bytes in vec(any::<u8>(), 0..300)) {
        let _ = Envelope::parse(&bytes);
        let _ = Statement::parse(&bytes);
        let _ = root().verify(&bytes);
        let _ = TrustRoot::parse("any", &bytes, Format::Auto);
        let text = String::from_utf8_lossy(&bytes);
        let _ = PublicKey::parse(&text);
        let _ = PrivateKey::from_pem(&text);
        let _ = fitment_trust::parse_time(&text);
    }

    #[test]
    fn any_time_like_text_is_judged(text in "[0-9:.TZ+é-]{0,30}|[12][0-9]{3}-[01][0-9]-[0-3][0-9]T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{1,9})?Z") {
        if let Ok(time) = fitment_trust::parse_time(&text) {
            prop_assert_eq!(fitment_trust::parse_time(&time.to_string()), Ok(time));
        }
    }

    #[test]
    fn a_damaged_document_is_judged(edits in vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..6)) {
        let edit = |mut bytes: Vec<u8>| {
            for (at, byte, how) in &edits {
                let at = at.index(bytes.len());
                match how {
                    0 => bytes[at] = *byte,
                    1 => bytes.insert(at, *byte),
                    _ => drop(bytes.remove(at)),
                }
            }
            bytes
        };
        let good = certificate(&certification(), &["alice"]);
        let _ = root().verify(&edit(good.to_json()));
        let _ = Statement::parse(&edit(good.payload().to_vec()));
        let _ = TrustRoot::parse("root.json", &edit(root_value(1).to_string().into_bytes()), Format::Auto);
    }

    /// Any set of signers: certified exactly when two of the three assessors are among them.
    #[test]
    fn a_threshold_is_met_by_distinct_assessors(who in vec(0..5_usize, 1..8)) {
        let names = ["alice", "bob", "carol", "sam", "mallory"];
        let signers: Vec<&str> = who.iter().map(|i| names[*i]).collect();
        let root = crate::support::parse_root(&root_value(2));
        let envelope = certificate(&certification(), &signers);
        let assessors = [0, 1, 2].iter().filter(|i| who.contains(i)).count();
        match root.verify(&envelope.to_json()) {
            Ok(read) => {
                let standing = assess(&version(), &component(), &[read], &[], &root, now());
                prop_assert_eq!(standing.certified, assessors >= 2);
            }
            Err(_) => prop_assert!(who.iter().all(|i| *i == 4)),
        }
    }

    #[test]
    fn an_envelope_reads_back(names in vec(0..5_usize, 1..5), seed in any::<[u8; 32]>()) {
        let signers: Vec<&str> = names.iter().map(|i| ["alice", "bob", "carol", "sam", "mallory"][*i]).collect();
        let mut envelope = certificate(&certification(), &signers);
        let stranger = PrivateKey::from_seed(&seed);
        envelope.add_signature(&stranger).expect("room");
        let read = Envelope::parse(&envelope.to_json());
        prop_assert_eq!(read.as_ref(), Ok(&envelope));
        prop_assert!(envelope.signers(&[stranger.public()]).contains(&stranger.public()));
        prop_assert_eq!(PublicKey::parse(&stranger.public().to_pem()), Ok(stranger.public()));
        prop_assert_eq!(PrivateKey::from_pem(&stranger.to_pem()).map(|key| key.public()), Ok(stranger.public()));
    }
}
