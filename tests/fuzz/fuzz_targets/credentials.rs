//! What says who calls: an `authorization`, a token whose signature the issuer's key made over anything, a client certificate
//! with bytes changed. Nobody is known by a key that the document does not list.
#![no_main]

use std::sync::LazyLock;

use arbitrary::Unstructured;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use fitment_access::{Access, Presented, PrincipalKind, RPCS, Unauthenticated};
use fitment_fuzz::access::{CLIENT, access, claims, instant, issuer};
use fitment_fuzz::{choice, edit, refused};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

static ACCESS: LazyLock<Access> = LazyLock::new(access);
static CLAIMS: LazyLock<Value> = LazyLock::new(claims);

/// Asks who it is, and what that one may.
fn judge(presented: &Presented<'_>) -> Result<PrincipalKind, Unauthenticated> {
    let principal = ACCESS.authenticate(presented, instant()).inspect_err(|why| refused(why, 0))?;
    assert!(!principal.id().is_empty() && ACCESS.tenants().any(|tenant| tenant == principal.tenant()));
    for rpc in RPCS {
        if let Err(denied) = ACCESS.authorise(&principal, rpc.path) {
            refused(&denied, 0);
        }
    }
    Ok(principal.kind())
}

fn bearer(value: &[u8]) -> Result<PrincipalKind, Unauthenticated> {
    let authorization = [value];
    judge(&Presented { authorization: &authorization, ..Presented::default() })
}

fn token(header: &[u8], claims: &[u8], key: &SigningKey) -> Vec<u8> {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes()).to_bytes());
    format!("Bearer {message}.{signature}").into_bytes()
}

fn edited(u: &mut Unstructured<'_>, value: &Value) -> Value {
    let mut value = value.clone();
    for _ in 0..u.int_in_range(1..=3).unwrap_or(1) {
        if edit(u, &mut value).is_err() {
            break;
        }
    }
    value
}

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, rest)) = choice(bytes) else { return };
    let mut u = Unstructured::new(rest);
    let header = json!({ "alg": "EdDSA", "kid": "k" });
    match kind % 8 {
        // The key's secret and the issuer's are not among what is tried.
        0 => assert!(bearer(rest).is_err(), "known by what nobody was given"),
        1 => assert!(bearer(&[b"Bearer ", rest].concat()).is_err(), "known by what nobody was given"),
        2 => {
            let _ = bearer(&token(header.to_string().as_bytes(), rest, &issuer()));
        }
        3 => {
            let _ = bearer(&token(rest, CLAIMS.to_string().as_bytes(), &issuer()));
        }
        4 => drop(bearer(&token(
            edited(&mut u, &header).to_string().as_bytes(),
            CLAIMS.to_string().as_bytes(),
            &issuer(),
        ))),
        5 => {
            let claims = edited(&mut u, &CLAIMS).to_string();
            let _ = bearer(&token(header.to_string().as_bytes(), claims.as_bytes(), &issuer()));
            let forged = token(header.to_string().as_bytes(), claims.as_bytes(), &SigningKey::from_bytes(&[9; 32]));
            assert!(bearer(&forged).is_err(), "known by a stranger's signature");
        }
        _ => {
            // TLS hands on no certificate whose chain it has not verified; what it says is any bytes all the same.
            let mut der = CLIENT.to_vec();
            if kind % 8 == 6 {
                der = rest.to_vec();
            } else {
                for change in rest.chunks_exact(2).take(16) {
                    // Places beyond the end: cut there.
                    match der.get_mut(usize::from(change[0]) | usize::from(kind >> 7) << 8) {
                        Some(byte) => *byte = change[1],
                        None => der.truncate(usize::from(change[1]) * 2),
                    }
                }
            }
            let known = judge(&Presented { certificate: Some(&der), ..Presented::default() });
            assert!(known.is_err() || known == Ok(PrincipalKind::Certificate));
        }
    }
});
