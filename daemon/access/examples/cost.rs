//! What a decision costs: `cargo run -p fitment-access --example cost`. Prints microseconds each, one thread.

#![expect(clippy::print_stdout, reason = "figures are what it is for")]

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fitment_access::{Access, ApiKey, ComponentFacts, KEY_RANDOMNESS, Presented};
use fitment_catalog::Kind;
use jiff::Timestamp;
use rcgen::{KeyPair, SigningKey as _};
use serde_json::json;

const POLICIES: &str = r#"
@id("no-frozen") forbid (principal, action, resource is Fitment::Component) when { resource.tags.contains("frozen") };
@id("risk-reads-ledger") permit (principal, action == Fitment::Action::"match", resource in Fitment::Namespace::"ledger")
  when { principal.hasTag("department") && principal.getTag("department") == "risk" };
@id("copies-by-unix-peers") forbid (principal, action == Fitment::Action::"create-snapshot", resource)
  unless { principal.kind == "unix" };
"#;

fn main() -> Result<(), Box<dyn Error>> {
    let encoded = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let pair = KeyPair::generate_for(&rcgen::PKCS_ED25519)?;
    let jwks = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": encoded(pair.public_key_raw())}]});
    let now: Timestamp = "2026-06-01T12:00:00Z".parse()?;
    let key = ApiKey::generate(&[7; KEY_RANDOMNESS]);
    let document = |policies: &str| {
        json!({
            "version": 1,
            "principals": [{"id": "p", "grants": [
                {"role": "reader"},
                {"role": "publisher", "namespaces": ["payments"]},
                {"role": "reader", "effect": "deny", "namespaces": ["secret"]},
            ]}],
            "api_keys": [{"prefix": key.prefix(), "sha256": key.sha256(), "principal": "p", "created": "2026-01-01T00:00:00Z"}],
            "jwt_issuers": [{"id": "corp", "issuer": "corp", "audiences": ["fitment"], "algorithms": ["EdDSA"],
                "jwks": "jwks", "grants": [{"role": "reader"}]}],
            "policies": if policies.is_empty() { vec![] } else { vec!["org.cedar"] },
        })
        .to_string()
    };
    let load = |policies: &str| {
        let attached =
            |name: &str| Ok(if name == "jwks" { jwks.to_string() } else { policies.to_owned() }.into_bytes());
        Access::load("access.json", document(policies).as_bytes(), &attached)
    };
    let (plain, with_cedar) = (load("")?, load(POLICIES)?);

    let header = encoded(json!({"alg": "EdDSA", "kid": "k"}).to_string().as_bytes());
    let claims = json!({"iss": "corp", "aud": "fitment", "sub": "alice", "exp": now.as_second() + 300});
    let message = format!("{header}.{}", encoded(claims.to_string().as_bytes()));
    let token = format!("Bearer {message}.{}", encoded(&pair.sign(message.as_bytes())?));
    let key = format!("Bearer {}", key.reveal());
    let authenticate = |value: &str| {
        let authorization = [value.as_bytes()];
        plain.authenticate(&Presented { authorization: &authorization, ..Presented::default() }, now).map(drop)
    };
    authenticate(&key)?;
    authenticate(&token)?;
    time("authenticate, API key", 20_000, || assert!(authenticate(black_box(&key)).is_ok()));
    time("authenticate, EdDSA token", 2_000, || assert!(authenticate(black_box(&token)).is_ok()));

    let tags = ["web", "react"].map(str::parse).into_iter().collect::<Result<_, _>>()?;
    let facts = ComponentFacts {
        namespace: "payments".to_owned(),
        tags,
        kind: Kind::Service,
        owner: "team".to_owned(),
        roles: [].into(),
    };
    for (what, access) in [("grants", &plain), ("grants and 3 Cedar policies", &with_cedar)] {
        let who = access.principal("p").ok_or("listed")?;
        let permit = access.authorise(who, "/fitment.v1.MatcherService/Match")?;
        time(&format!("authorise, {what}"), 5_000, || {
            drop(black_box(access.authorise(who, "/fitment.v1.MatcherService/Match")));
        });
        time(&format!("permits, {what}"), 5_000, || {
            black_box(permit.permits(black_box(&facts)));
        });
    }
    Ok(())
}

fn time(what: &str, times: u32, mut work: impl FnMut()) {
    let start = Instant::now();
    for _ in 0..times {
        work();
    }
    println!("{what}: {:.2} µs", start.elapsed().as_secs_f64() * 1e6 / f64::from(times));
}
