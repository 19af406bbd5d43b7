//! API keys, certificates, peers of a Unix socket, and several of them at once.

use fitment_access::{Access, ApiKey, KEY_RANDOMNESS, Presented, PrincipalKind, Unauthenticated, UnixPeer};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

use crate::support::{at, bearer, good, now};

fn key(seed: u8) -> ApiKey {
    ApiKey::generate(&[seed; KEY_RANDOMNESS])
}

/// Entries of a YAML list, under a key of the document.
fn indented(entry: &str) -> String {
    entry.lines().flat_map(|line| ["  ", line, "\n"]).collect()
}

#[test]
fn a_key_counts_in_its_time_and_nothing_else_does() {
    let created = at("2026-05-01T00:00:00Z");
    let entry = key(1).entry("alice", created, Some(at("2026-07-01T00:00:00Z")));
    let access = good(&format!("version: 1\nprincipals: [{{id: alice}}]\napi_keys:\n{}", indented(&entry)));
    assert_eq!(bearer(&access, key(1).reveal(), now()), Ok("alice@default".to_owned()));
    assert_eq!(bearer(&access, key(1).reveal(), at("2026-04-30T23:59:59Z")), Err("key_not_yet_valid"));
    assert_eq!(bearer(&access, key(1).reveal(), at("2026-06-30T23:59:59Z")), Ok("alice@default".to_owned()));
    assert_eq!(bearer(&access, key(1).reveal(), at("2026-07-01T00:00:00Z")), Err("key_expired"));
    assert_eq!(bearer(&access, key(2).reveal(), now()), Err("key_unknown"));
    // The right name with another secret tells nothing about times.
    let forged = format!("{}_{}", key(1).prefix(), &key(2).reveal()[21..]);
    assert_eq!(bearer(&access, &forged, at("2030-01-01T00:00:00Z")), Err("key_unknown"));
    for bad in ["fitment_", key(1).prefix(), &format!("{}x", key(1).reveal())] {
        assert_eq!(bearer(&access, bad, now()), Err("key_unknown"), "{bad}");
    }
    assert_eq!(bearer(&access, "", now()), Err("credentials_malformed"));
    let said =
        |authorization: &[&[u8]]| access.authenticate(&Presented { authorization, ..Presented::default() }, now());
    assert_eq!(said(&[b"Basic abc"]).expect_err("another scheme").as_str(), "credentials_malformed");
    assert_eq!(said(&[b"Bearer \xff"]).expect_err("no text").as_str(), "credentials_malformed");
    assert_eq!(said(&[b"Bearer a", b"Bearer a"]).expect_err("two").as_str(), "credentials_disagree");
    assert_eq!(said(&[]).expect_err("none").as_str(), "credentials_missing");
}

#[test]
fn messages_never_hold_what_was_presented() {
    let value = format!("Bearer {}", key(9).reveal());
    let authorization = [value.as_bytes()];
    let presented = Presented { authorization: &authorization, ..Presented::default() };
    let shown = format!("{presented:?}");
    assert!(!shown.contains("fitment_"), "{shown}");
    let access = good("version: 1");
    let said = access.authenticate(&presented, now()).expect_err("unknown");
    assert!(!said.to_string().contains(key(9).prefix()));
}

struct Client {
    der: Vec<u8>,
}

fn client(common_names: &[&str], alternative: Vec<SanType>) -> Client {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for name in common_names {
        params.distinguished_name.push(DnType::CommonName, *name);
    }
    params.subject_alt_names = alternative;
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2027, 1, 1);
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
    Client { der: params.self_signed(&key).expect("a certificate").der().to_vec() }
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().expect("ASCII"))
}

fn with_certificate(access: &Access, der: &[u8]) -> Result<String, &'static str> {
    let presented = Presented { certificate: Some(der), ..Presented::default() };
    access.authenticate(&presented, now()).map(|who| who.id().to_owned()).map_err(Unauthenticated::as_str)
}

#[test]
fn a_certificate_stands_for_whom_one_of_its_names_is_listed() {
    let pinned = client(&["someone"], vec![]);
    let digest = fitment_catalog::Digest::of(&pinned.der).to_hex();
    let access = good(&format!(
        "version: 1\nprincipals: [{{id: a}}, {{id: b}}, {{id: c}}, {{id: d}}, {{id: e}}]\ncertificates:\n  \
         - {{principal: a, san_uri: \"spiffe://acme/shop\"}}\n  - {{principal: b, san_dns: CI.acme.example}}\n  \
         - {{principal: c, san_email: ops@acme.example}}\n  - {{principal: d, subject_cn: build box}}\n  \
         - {{principal: e, sha256: \"{digest}\"}}\n"
    ));
    let dns = |name: &str| SanType::DnsName(name.try_into().expect("ASCII"));
    let email = SanType::Rfc822Name("ops@acme.example".try_into().expect("ASCII"));
    for (certificate, expected) in [
        (client(&[], vec![uri("spiffe://acme/shop")]), Ok("a")),
        (client(&["x"], vec![dns("ci.ACME.example")]), Ok("b")),
        (client(&[], vec![email]), Ok("c")),
        (client(&["build box"], vec![]), Ok("d")),
        (pinned, Ok("e")),
        (client(&["build box", "other"], vec![]), Err("credentials_missing")),
        (client(&["spiffe://acme/shop"], vec![]), Err("credentials_missing")),
        (client(&[], vec![uri("spiffe://acme/shop/more")]), Err("credentials_missing")),
        (client(&["build box"], vec![uri("spiffe://acme/shop")]), Err("credentials_disagree")),
    ] {
        assert_eq!(with_certificate(&access, &certificate.der).as_deref(), expected.as_ref().map(|id| *id));
    }
    let good = client(&["build box"], vec![]);
    assert_eq!(with_certificate(&access, &good.der[..50]), Err("certificate_malformed"));
    assert_eq!(with_certificate(&access, &[&good.der[..], b"x"].concat()), Err("certificate_malformed"));
    let late = Presented { certificate: Some(&good.der), ..Presented::default() };
    let said = access.authenticate(&late, at("2027-01-02T00:00:00Z")).expect_err("over");
    assert_eq!(said.as_str(), "certificate_expired");
}

#[test]
fn credentials_that_come_together_must_agree() {
    let entry = key(1).entry("alice", at("2026-05-01T00:00:00Z"), None);
    let access = good(&format!(
        "version: 1\nprincipals: [{{id: alice}}, {{id: bob}}]\napi_keys:\n{}certificates:\n  \
         - {{principal: alice, subject_cn: alice}}\n  - {{principal: bob, subject_cn: bob}}\nunix:\n  \
         - {{uid: 1000, principal: alice}}\n  - {{gid: 50, principal: bob}}\n",
        indented(&entry)
    ));
    let (alice, bob, stranger) = (client(&["alice"], vec![]), client(&["bob"], vec![]), client(&["eve"], vec![]));
    let value = format!("Bearer {}", key(1).reveal());
    let header: &[&[u8]] = &[value.as_bytes()];
    let peer = |uid, gid| Some(UnixPeer { uid, gid });
    for (authorization, certificate, unix, expected) in [
        (header, Some(&alice), None, Ok(("alice", PrincipalKind::ApiKey))),
        (header, Some(&bob), None, Err("credentials_disagree")),
        (header, Some(&stranger), None, Ok(("alice", PrincipalKind::ApiKey))),
        (header, None, peer(1000, 1), Ok(("alice", PrincipalKind::ApiKey))),
        (header, None, peer(7, 50), Err("credentials_disagree")),
        (&[], Some(&bob), peer(1000, 50), Err("credentials_disagree")),
        (&[], Some(&bob), peer(7, 7), Ok(("bob", PrincipalKind::Certificate))),
        (&[], None, peer(1000, 50), Ok(("alice", PrincipalKind::Unix))),
        (&[], None, peer(7, 50), Ok(("bob", PrincipalKind::Unix))),
        (&[], None, peer(0, 0), Err("credentials_missing")),
    ] {
        let certificate = certificate.map(|client: &Client| &client.der[..]);
        let said = access.authenticate(&Presented { authorization, certificate, unix }, now());
        let said = said.as_ref().map(|who| (who.id(), who.kind())).map_err(|why| why.as_str());
        assert_eq!(said, expected);
    }
}

#[test]
fn who_shows_nothing_is_anonymous_where_that_is_on() {
    let access = good("version: 1\nanonymous: {grants: [{role: reader}]}\n");
    let who = access.authenticate(&Presented::default(), now()).expect("anonymous");
    assert_eq!((who.id(), who.kind()), ("anonymous", PrincipalKind::Anonymous));
    assert!(access.authorise(&who, "/fitment.v1.MatcherService/Match").is_ok());
    assert!(access.authorise(&who, "/fitment.v1.CatalogService/CreateComponent").is_err());
    // What is shown must hold: a wrong key is no way to be anonymous.
    assert_eq!(bearer(&access, key(1).reveal(), now()), Err("key_unknown"));
    assert_eq!(bearer(&access, "x.y.z", now()), Err("token_malformed"));
}
