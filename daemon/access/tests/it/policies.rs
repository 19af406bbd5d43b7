//! Cedar beside the grants.

use fitment_access::{Access, Because, DenialReason};

use crate::support::{facts, faults, load_with};

const MATCH: &str = "/fitment.v1.MatcherService/Match";
const READ: &str = "/fitment.v1.CatalogService/GetComponent";
const SNAPSHOT: &str = "/fitment.v1.SnapshotService/CreateSnapshot";

const DOCUMENT: &str = "
version: 1
tenants: [retail]
principals:
  - {id: alice, groups: [team:payments], grants: [{role: reader}]}
  - {id: bob, tenant: retail, grants: []}
  - {id: oscar, grants: [{role: operator}]}
policies: [org.cedar]
";

fn access(policies: &str) -> Access {
    load_with(DOCUMENT, &[("org.cedar", policies)]).expect("valid policies")
}

#[test]
fn a_forbid_denies_what_grants_allow_and_a_permit_allows_what_they_do_not() {
    let access = access(
        r#"
        @id("no-frozen") forbid (principal, action, resource is Fitment::Component)
          when { resource.tags.contains("frozen") };
        @id("bob-reads-payments") permit (principal == Fitment::Principal::"bob", action == Fitment::Action::"match",
          resource in Fitment::Namespace::"payments");
        @id("no-copies-but-for-admins") forbid (principal, action == Fitment::Action::"create-snapshot", resource)
          unless { principal in Fitment::Role::"administrator" };
        "#,
    );
    let alice = access.principal("alice").expect("listed");
    let bob = access.principal("bob").expect("listed");
    let permit = access.authorise(alice, MATCH).expect("a reader");
    assert!(permit.is_narrowed());
    assert!(permit.permits(&facts("payments", &[])) && !permit.permits(&facts("payments", &["frozen"])));
    let permit = access.authorise(bob, MATCH).expect("a policy may permit it");
    assert!(permit.permits(&facts("payments", &[])) && !permit.permits(&facts("identity", &[])));
    assert!(!permit.permits(&facts("payments", &["frozen"])), "a forbid wins over a permit");
    assert_eq!(access.authorise(bob, READ).expect_err("nothing permits it").reason, DenialReason::NoGrant);
    let oscar = access.principal("oscar").expect("listed");
    assert_eq!(access.authorise(oscar, SNAPSHOT).expect_err("forbidden").reason, DenialReason::DeniedByPolicy);
    let told = access.explain(oscar, SNAPSHOT, None).expect("a call");
    assert_eq!(told.because[0], Because::ForbiddenByPolicy("no-copies-but-for-admins".to_owned()));
    let told = access.explain(bob, MATCH, Some(&facts("payments", &[]))).expect("a call");
    assert!(told.allowed);
    assert_eq!(told.because, [Because::PermittedByPolicy("bob-reads-payments".to_owned())]);
    let told = access.explain(bob, MATCH, None).expect("a call");
    assert_eq!(told.because, [Because::MayBePermittedByPolicy]);
}

#[test]
fn what_cannot_be_evaluated_denies() {
    // The sum overflows for a principal of the default tenant alone; the policy is valid.
    let access = access(
        r#"@id("overflows") permit (principal, action == Fitment::Action::"match", resource)
           when { (if principal.tenant == "default" then 9223372036854775807 + 1 else 1) == 1 };"#,
    );
    let alice = access.principal("alice").expect("listed");
    let permit = access.authorise(alice, MATCH).expect("a reader");
    assert!(!permit.permits(&facts("payments", &[])));
    let bob = access.principal("bob").expect("listed");
    assert!(access.authorise(bob, MATCH).expect("permitted").permits(&facts("payments", &[])));
}

#[test]
fn permits_differ_where_policies_see_a_difference() {
    let access = access(r#"@id("a") permit (principal, action, resource) when { principal.tenant == "retail" };"#);
    let [alice, bob] = ["alice", "bob"].map(|id| access.principal(id).expect("listed"));
    let id = |who| access.authorise(who, MATCH).expect("may match").id();
    assert_ne!(id(alice), id(bob));
    assert_ne!(access.authorise(alice, MATCH).expect("may").id(), access.authorise(alice, READ).expect("may").id());
    assert!(access.authorise(bob, SNAPSHOT).is_ok(), "a permit on the whole catalogue");
    assert!(access.authorise(alice, SNAPSHOT).is_err());
}

#[test]
fn policies_that_could_not_work_are_refused_with_their_places() {
    for (policy, expected) in [
        (r#"@id("a") permit (principal, action, resource) when { principal.name == "x" };"#, "name"),
        ("permit (principal, action, resource);", "has no @id"),
        (r#"@id("a") permit (principal, action, resource == Fitment::Component::"payments/x");"#, "by an id"),
        (r#"@id("a") permit (principal, action == Fitment::Action::"destroy", resource);"#, "destroy"),
        (r#"@id("a") permit (principal == ?principal, action, resource);"#, "template"),
        (r#"@id("a") permit (principal, action, resource"#, "org.cedar"),
        (
            "@id(\"a\") permit (principal, action, resource);\n@id(\"a\") forbid (principal, action, resource);",
            "second",
        ),
        (r#"@id("a") permit (principal, action, resource) when { principal.getTag("x") == "y" };"#, "tag"),
    ] {
        let said = faults(DOCUMENT, &[("org.cedar", policy)]);
        assert!(said.contains(expected) && said.contains("org.cedar"), "{policy}: {said}");
    }
    let nested = format!("@id(\"a\") permit (principal, action, resource) when {{ {} true }};", "!".repeat(1_000));
    assert!(faults(DOCUMENT, &[("org.cedar", &nested)]).contains("split it"));
    assert!(faults(DOCUMENT, &[]).contains("policies[0]: `org.cedar` cannot be read"));
}
