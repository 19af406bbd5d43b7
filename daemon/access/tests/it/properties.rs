//! What holds for any grants, any components and any bytes.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use fitment_access::{Access, ComponentFacts, Presented, Principal, RPCS, Reach, Role};
use fitment_catalog::Kind;
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

use crate::support::{load, now, principal};

/// A grant as it is written.
#[derive(Debug, Clone)]
struct Written {
    role: Role,
    deny: bool,
    namespaces: Option<BTreeSet<&'static str>>,
    any_of: BTreeSet<&'static str>,
    none_of: BTreeSet<&'static str>,
}

impl Written {
    fn yaml(&self) -> String {
        let mut text = format!("{{role: {}, effect: {}", self.role, if self.deny { "deny" } else { "allow" });
        let list = |words: &BTreeSet<&str>| words.iter().copied().collect::<Vec<_>>().join(", ");
        if let Some(namespaces) = &self.namespaces {
            write!(text, ", namespaces: [{}]", list(namespaces)).expect("a String");
        }
        let labels: Vec<String> = [("any_of", &self.any_of), ("none_of", &self.none_of)]
            .into_iter()
            .filter(|(_, tags)| !tags.is_empty())
            .map(|(key, tags)| format!("{key}: [{}]", list(tags)))
            .collect();
        if !labels.is_empty() {
            write!(text, ", labels: {{{}}}", labels.join(", ")).expect("a String");
        }
        text.push('}');
        text
    }
}

fn listed(grants: &[Written]) -> Principal {
    principal(&format!("[{}]", grants.iter().map(Written::yaml).collect::<Vec<_>>().join(", ")))
}

fn namespaces() -> impl Strategy<Value = BTreeSet<&'static str>> {
    btree_set(prop::sample::select(vec!["a", "b", "c"]), 1..3)
}

fn tags() -> impl Strategy<Value = BTreeSet<&'static str>> {
    btree_set(prop::sample::select(vec!["x", "y", "z"]), 0..3)
}

fn grant() -> impl Strategy<Value = Written> {
    let role = prop::sample::select(Role::ALL.to_vec());
    (role, prop::bool::weighted(0.3), prop::option::of(namespaces()), tags(), tags())
        .prop_map(|(role, deny, namespaces, any_of, none_of)| Written { role, deny, namespaces, any_of, none_of })
}

fn component() -> impl Strategy<Value = ComponentFacts> {
    let roles = btree_set(prop::sample::select(vec!["p", "reader", "other"]), 0..2);
    (prop::sample::select(vec!["a", "b", "c"]), tags(), roles).prop_map(|(namespace, tags, roles)| ComponentFacts {
        namespace: namespace.to_owned(),
        tags: tags.into_iter().map(|tag| tag.parse().expect("a tag")).collect(),
        kind: Kind::Library,
        owner: "team".to_owned(),
        roles: roles.into_iter().map(str::to_owned).collect(),
    })
}

/// Whether a call may be made and, where it is about components, whether to this one.
fn may(access: &Access, who: &Principal, path: &str, facts: &ComponentFacts) -> bool {
    access.authorise(who, path).is_ok_and(|permit| permit.permits(facts))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_denial_wins_over_any_grants(grants in vec(grant(), 0..5), facts in component(), role in 0_usize..6) {
        let access = Access::unrestricted();
        let role = Role::ALL[role];
        let everything = Written { role, deny: true, namespaces: None, any_of: [].into(), none_of: [].into() };
        let who = listed(&[grants, vec![everything]].concat());
        for rpc in RPCS.iter().filter(|rpc| rpc.reach != Reach::Open && rpc.roles.contains(&role)) {
            prop_assert!(!may(&access, &who, rpc.path, &facts), "{}", rpc.path);
        }
    }

    #[test]
    fn who_was_granted_nothing_gets_nothing(grants in vec(grant(), 0..5), facts in component()) {
        let access = Access::unrestricted();
        let denials: Vec<Written> = grants.into_iter().map(|grant| Written { deny: true, ..grant }).collect();
        let who = listed(&denials);
        for rpc in RPCS.iter().filter(|rpc| rpc.reach != Reach::Open) {
            prop_assert!(!may(&access, &who, rpc.path, &facts), "{}", rpc.path);
        }
    }

    #[test]
    fn narrowing_a_grant_never_permits_more(
        grants in vec(grant(), 1..5), facts in component(), more in namespaces(), tags in tags(),
    ) {
        let access = Access::unrestricted();
        let wide = listed(&grants);
        let narrowed: Vec<Written> = grants
            .into_iter()
            .map(|grant| match (grant.deny, &grant.namespaces) {
                (true, _) => grant,
                (false, None) => Written { namespaces: Some(more.clone()), ..grant },
                (false, Some(_)) => Written { none_of: &grant.none_of | &tags, ..grant },
            })
            .collect();
        let narrow = listed(&narrowed);
        for rpc in RPCS {
            let (before, after) = (may(&access, &wide, rpc.path, &facts), may(&access, &narrow, rpc.path, &facts));
            prop_assert!(before || !after, "{}", rpc.path);
        }
    }

    #[test]
    fn what_is_told_is_what_is_done(grants in vec(grant(), 0..5), facts in component()) {
        let access = Access::unrestricted();
        let who = listed(&grants);
        for rpc in RPCS {
            let told = access.explain(&who, rpc.path, Some(&facts)).expect("a call");
            prop_assert_eq!(told.allowed, may(&access, &who, rpc.path, &facts), "{}", rpc.path);
            prop_assert_eq!(told.allowed, !told.because.iter().any(fitment_access::Because::denies), "{:?}", told);
        }
    }

    #[test]
    fn an_unnarrowed_permit_holds_for_all(grants in vec(grant(), 0..5), facts in component()) {
        let access = Access::unrestricted();
        let who = listed(&grants);
        for rpc in RPCS {
            if let Ok(permit) = access.authorise(&who, rpc.path) && !permit.is_narrowed() {
                prop_assert!(permit.permits(&facts), "{}", rpc.path);
            }
        }
    }

    #[test]
    fn bytes_of_any_kind_are_read_or_refused(bytes in vec(any::<u8>(), 0..400), text in "\\PC{0,200}") {
        let attached = |_: &str| Ok(bytes.clone());
        drop(Access::load("access.yaml", &bytes, &attached));
        let document = "version: 1\nprincipals: [{id: a}]\npolicies: [p]\ncertificates: [{principal: a, subject_cn: x}]\n\
                        jwt_issuers: [{id: i, issuer: i, audiences: [a], algorithms: [EdDSA], jwks: j}]\n";
        drop(Access::load("access.yaml", document.as_bytes(), &attached));
        drop(load(&text));
        drop(load(&format!("version: 1\nprincipals: {text}\n")));
        let access = load("version: 1\nprincipals: [{id: a}]\ncertificates: [{principal: a, subject_cn: x}]\n").expect("valid");
        let value = format!("Bearer {text}");
        for authorization in [&[&bytes[..]][..], &[value.as_bytes()]] {
            let presented = Presented { authorization, certificate: Some(&bytes), unix: None };
            prop_assert!(access.authenticate(&presented, now()).is_err());
        }
    }
}
