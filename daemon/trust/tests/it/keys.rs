//! Keys in the forms of other tools, and keys that are refused.

use fitment_trust::{PrivateKey, PublicKey, TrustError};

use crate::support::key;

#[test]
fn keys_are_read_in_every_documented_form() {
    let public = key("alice").public();
    // The SPKI that OpenSSL writes for the first key of RFC 8032, and the sha256 of its DER.
    let pem = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n";
    assert_eq!(public.to_pem(), pem);
    assert_eq!(public.to_base64(), "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
    for form in [
        pem,
        "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
        "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
    ] {
        assert_eq!(PublicKey::parse(form).as_ref(), Ok(&public), "{form}");
    }
    assert_eq!(public.id(), KEY_ID);
    let private = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
    assert_eq!(*key("alice").to_pem(), private);
    assert_eq!(PrivateKey::from_pem(private).expect("a key").public(), public);
}

const KEY_ID: &str = "06e3fd8fda29bb60ab59557de61edb0aecdb231134be30e75b455f8e1b792fa9";

#[test]
fn a_private_key_is_never_shown() {
    let shown = format!("{:?}", key("alice"));
    assert!(shown.contains("11qYAYK") && !shown.contains("nWGxne"), "{shown}");
    let error =
        PrivateKey::from_pem("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----").expect_err("bad");
    assert!(!error.to_string().contains("c2VjcmV0"), "{error}");
}

/// The points of small order, in both encodings where there are two: for such a key a signature can be made by anybody.
#[test]
fn weak_public_keys_are_refused() {
    let low_order = [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0100000000000000000000000000000000000000000000000000000000000080",
    ];
    for hex in low_order {
        let bytes: [u8; 32] = std::array::from_fn(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hex"));
        let error = PublicKey::from_bytes(&bytes).expect_err(hex);
        assert!(matches!(&error, TrustError::Key(message) if message.contains("new key pair")), "{error}");
    }
    // Not on the curve.
    assert!(PublicKey::from_bytes(&[2; 32]).is_err());
}

/// A key of mixed order is another encoding of nearly the same key: it must not count as a second one.
#[test]
fn a_key_with_torsion_is_refused() {
    let eighth = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05";
    let bytes: [u8; 32] = std::array::from_fn(|i| u8::from_str_radix(&eighth[2 * i..2 * i + 2], 16).expect("hex"));
    let torsion = ed25519_dalek::VerifyingKey::from_bytes(&bytes).expect("a point").to_edwards();
    let honest = ed25519_dalek::VerifyingKey::from_bytes(key("alice").public().as_bytes()).expect("a key").to_edwards();
    let mixed = (honest + torsion).compress().to_bytes();
    assert!(PublicKey::from_bytes(&mixed).is_err());
}

#[test]
fn what_is_no_key_is_refused_with_a_way_out() {
    for text in ["", "AAAA", "not base64!", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"] {
        let error = PublicKey::parse(text).expect_err(text);
        assert!(error.to_string().contains("PEM"), "{error}");
    }
}
