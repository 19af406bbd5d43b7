//! Grants, manifests' own lists, and what a permit promises.

use std::collections::HashMap;

use fitment_access::{Access, Because, CERTIFY_COMPONENT, ComponentFacts, DenialReason};

use crate::support::{facts, good, principal};

const MATCH: &str = "/fitment.v1.MatcherService/Match";
const CREATE: &str = "/fitment.v1.CatalogService/CreateComponent";

#[test]
fn what_denies_wins_and_what_nothing_allows_is_denied() {
    let access = Access::unrestricted();
    let who = principal(
        "[{role: publisher, namespaces: [payments]}, {role: reader, labels: {none_of: [internal]}}, \
          {role: reader, effect: deny, namespaces: [secret]}]",
    );
    let read = access.authorise(&who, MATCH).expect("a reader");
    let write = access.authorise(&who, CREATE).expect("a publisher");
    for (namespace, tags, reads, writes) in [
        ("payments", &[][..], true, true),
        // What a publisher may includes matching, so the label does not keep it out of its own namespace.
        ("payments", &["internal"], true, true),
        ("identity", &[], true, false),
        ("identity", &["internal"], false, false),
        ("secret", &[], false, false),
    ] {
        let facts = facts(namespace, tags);
        assert_eq!((read.permits(&facts), write.permits(&facts)), (reads, writes), "{namespace} {tags:?}");
    }
    assert!(access.authorise_step(&who, CERTIFY_COMPONENT).is_err());
    let denied = access.authorise(&who, "/fitment.v1.SnapshotService/CreateSnapshot").expect_err("no operator");
    assert_eq!(denied.reason, DenialReason::NoGrant);
    assert_eq!(
        denied.to_string(),
        "`p` may not `create-snapshot`: no grant allows it; ask the operator for a role that may"
    );
}

#[test]
fn a_manifest_says_who_may_use_it() {
    let access = good(
        "version: 1\nprincipals:\n  - {id: alice, groups: [team:payments], grants: [{role: reader}]}\n  \
         - {id: bob, grants: [{role: reader}]}\n  - {id: carol, grants: [{role: auditor}]}\n  \
         - {id: root, grants: [{role: administrator}]}\n  \
         - {id: dave, grants: [{role: administrator, namespaces: [payments]}, {role: reader}]}\n",
    );
    let may = |id: &str, namespace: &str, roles: &[&str]| {
        let principal = access.principal(id).expect("listed");
        let permit = access.authorise(principal, "/fitment.v1.CatalogService/GetComponent").expect("may read");
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        permit.permits(&ComponentFacts { roles, ..facts(namespace, &[]) })
    };
    for id in ["alice", "bob", "carol", "root", "dave"] {
        assert!(may(id, "identity", &[]), "{id}");
    }
    assert!(may("alice", "identity", &["team:payments"]) && !may("bob", "identity", &["team:payments"]));
    assert!(may("bob", "identity", &["bob"]) && may("bob", "identity", &["reader"]));
    assert!(may("carol", "identity", &["auditor"]) && !may("carol", "identity", &["reader"]));
    assert!(may("root", "identity", &["nobody"]), "an administrator could name itself");
    assert!(may("dave", "payments", &["nobody"]), "where it administrates");
    assert!(!may("dave", "identity", &["nobody"]), "and there alone");
}

#[test]
fn a_permit_that_is_not_narrowed_holds_for_everything() {
    let access = Access::unrestricted();
    let root = principal("[{role: administrator}]");
    let permit = access.authorise(&root, MATCH).expect("everything");
    assert!(!permit.is_narrowed());
    assert_eq!((permit.action(), permit.reach().as_str()), ("match", "component"));
    let reader = principal("[{role: reader}]");
    assert!(access.authorise(&reader, MATCH).expect("a reader").is_narrowed(), "manifests may name others");
}

#[test]
fn equal_ids_hold_for_the_same_components() {
    let access = Access::unrestricted();
    let grants = [
        "[{role: reader}]",
        "[{role: publisher}]",
        "[{role: reader, namespaces: [\"*\"]}]",
        "[{role: reader, namespaces: [a, b]}]",
        "[{role: reader, namespaces: [b, a]}]",
        "[{role: reader, namespaces: [a]}, {role: reader, namespaces: [b]}]",
        "[{role: reader, namespaces: [a]}]",
        "[{role: reader, namespaces: [a], labels: {any_of: [x]}}]",
        "[{role: reader}, {role: reader, namespaces: [a], effect: deny}]",
        "[{role: administrator}]",
    ];
    let roles = ["reader".to_owned()].into();
    let asked = [
        facts("a", &[]),
        facts("a", &["x"]),
        facts("b", &[]),
        facts("c", &[]),
        ComponentFacts { roles, ..facts("c", &[]) },
    ];
    let mut seen: HashMap<_, Vec<bool>> = HashMap::new();
    for grants in grants {
        let permit = access.authorise(&principal(grants), MATCH).expect("may match");
        let answers: Vec<bool> = asked.iter().map(|facts| permit.permits(facts)).collect();
        let earlier = seen.entry(permit.id()).or_insert_with(|| answers.clone());
        assert_eq!(*earlier, answers, "{grants}");
    }
    let id = |grants: &str| access.authorise(&principal(grants), MATCH).expect("may match").id();
    assert_eq!(id(grants[3]), id(grants[4]), "the order of a list says nothing");
    assert_eq!(id(grants[0]), id(grants[2]), "`*` is the same as nothing");
}

#[test]
fn an_explanation_names_what_decided() {
    let access = Access::unrestricted();
    let who = principal("[{role: reader}, {role: reader, effect: deny, namespaces: [secret]}]");
    let told = access.explain(&who, MATCH, Some(&facts("secret", &[]))).expect("a call");
    assert!(!told.allowed);
    assert!(matches!(&told.because[..], [Because::DeniedByGrant(_), Because::AllowedByGrant(_)]), "{told:?}");
    assert_eq!(told.because[0].to_string(), "denied by the grant `deny reader in secret`");
    let told = access.explain(&who, "match", Some(&facts("open", &[]))).expect("an action");
    assert!(told.allowed && told.narrowed);
    let told = access.explain(&who, "create-snapshot", None).expect("an action");
    assert_eq!(told.because, [Because::Refused(DenialReason::NoGrant)]);
    let roles = ["team:x".to_owned()].into();
    let told = access.explain(&who, MATCH, Some(&ComponentFacts { roles, ..facts("open", &[]) })).expect("a call");
    assert_eq!(told.because[0], Because::NotNamedByManifest);
    assert!(access.explain(&who, "/fitment.v1.Other/Call", None).is_err());
}
