//! Sets of Cedar policies: what is loaded, what is refused, and what a failure brings.

use fitment_assembly::{
    AssemblyError, InvariantSet, MAX_POLICY_BYTES, Policies, PolicySource, Rule, STARTER_POLICIES, Severity, check,
};

use crate::support::{Catalogue, assembly, errors, portal_value, shown};

fn load(text: &str) -> Result<InvariantSet, AssemblyError> {
    InvariantSet::load(&[PolicySource { file: "p.cedar", text }])
}

fn refused(text: &str) -> String {
    match load(text) {
        Ok(_) => panic!("is loaded: {text}"),
        Err(AssemblyError::Policies { faults }) => {
            assert!(!faults.is_empty());
            faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        }
        Err(other) => panic!("{other}"),
    }
}

/// A policy with all that is asked for and a condition.
fn policy(id: &str, action: &str, condition: &str) -> String {
    format!(
        "@id(\"{id}\")\n@reason(\"because\")\n@fix(\"change it\")\n\
         forbid (principal, action == Fitment::Action::\"{action}\", resource)\nwhen {{ {condition} }};\n"
    )
}

#[test]
fn the_starter_set_is_valid_and_named() {
    let starter = InvariantSet::starter();
    let ids: Vec<&str> = starter.ids().collect();
    assert!(ids.contains(&"sql-behind-components") && ids.is_sorted(), "{ids:?}");
    let manual = include_str!("../../../../docs/assembly.md");
    for id in ids {
        assert!(manual.contains(&format!("| `{id}` |")), "docs/assembly.md has no row for {id}");
    }
}

#[test]
fn the_digest_is_that_of_the_policies() {
    let (a, b) = (policy("a", "include", "true"), policy("b", "include", "false"));
    let one = load(&format!("{a}{b}")).expect("valid");
    let other = load(&format!("// in another order\n\n{b}\n{a}")).expect("valid");
    assert_eq!(one.digest(), other.digest());
    let files = [PolicySource { file: "1", text: &b }, PolicySource { file: "2", text: &a }];
    assert_eq!(InvariantSet::load(&files).expect("valid").digest(), one.digest());
    let changed = load(&format!("{a}{}", policy("b", "include", "true"))).expect("valid");
    assert_ne!(changed.digest(), one.digest());
    assert_ne!(one.digest(), InvariantSet::empty().digest());
    assert_eq!(load("").expect("no policies").digest(), InvariantSet::empty().digest());
}

#[test]
fn what_the_schema_refuses_is_refused_with_its_place() {
    for (text, expected) in [
        (policy("a", "include", "resource.colour == \"red\""), "p.cedar:5:"),
        (policy("a", "include", "resource.colour == \"red\""), "colour"),
        // An optional attribute without `has`.
        (policy("a", "include", "resource.license == \"MIT\""), "license"),
        (policy("a", "include", "resource has lines && resource.lines == \"many\""), "p.cedar:5:"),
        (policy("a", "include", "resource.lines == 3"), "lines"),
        (policy("a", "destroy", "true"), "destroy"),
        (policy("a", "connect", "resource.lines > 3"), "lines"),
        (policy("a", "include", "resource."), "p.cedar:5:"),
        ("forbid (principal, action, resource);".to_owned(), "p.cedar:1:1: has no @id"),
        ("@id(\"a\")\nforbid (principal, action, resource);".to_owned(), "has no @reason"),
        ("@id(\"a\")@reason(\"r\")forbid (principal, action, resource);".to_owned(), "has no @fix"),
        ("@id(\"A B\")@reason(\"r\")@fix(\"f\")forbid (principal, action, resource);".to_owned(), "has no @id of"),
        (
            "@id(\"a\")@reason(\"r\")@fix(\"f\")permit (principal, action, resource);".to_owned(),
            "a permit has no effect",
        ),
        (
            "@id(\"a\")@reason(\"r\")@fix(\"f\")@severity(\"bad\")forbid (principal, action, resource);".to_owned(),
            "@severity(\"bad\") is unknown",
        ),
        (policy("a", "include", "true") + &policy("a", "include", "false"), "a second policy has the @id `a`"),
        (
            "@id(\"a\")@reason(\"r\")@fix(\"f\")forbid (principal == ?principal, action, resource);".to_owned(),
            "a template is linked to nothing",
        ),
    ] {
        let message = refused(&text);
        assert!(message.contains(expected), "{expected} is not in: {message}");
    }
    let second = policy("a", "include", "true") + "\n" + &policy("b", "include", "resource.colour == \"red\"");
    assert!(refused(&second).contains("p.cedar:11:"), "{}", refused(&second));
}

#[test]
fn texts_that_would_cost_too_much_are_refused() {
    let deep = format!("{}true{}", "(".repeat(40), ")".repeat(40));
    assert!(refused(&policy("a", "include", &deep)).contains("levels of brackets"));
    let nested = format!("{}true{}", "if true then ".repeat(40), " else true".repeat(40));
    assert!(refused(&policy("a", "include", &nested)).contains("levels of brackets"));
    let long = vec!["true"; 300].join(" && ");
    assert!(refused(&policy("a", "include", &long)).contains("operators"));
    let just_read = vec!["true"; 180].join(" && ");
    assert!(load(&policy("a", "include", &just_read)).is_ok());
    let in_text = format!("resource.id == \"{}\"", "((&&".repeat(300));
    assert!(load(&policy("a", "include", &in_text)).is_ok());
    assert!(refused(&format!("// {}", "x".repeat(MAX_POLICY_BYTES))).contains("bytes of policies"));
    let many: String = (0..257).map(|i| policy(&format!("p{i}"), "include", "true")).collect();
    assert!(refused(&many).contains("257 policies"));
}

#[test]
fn policies_see_the_facts() {
    let seen = [
        (
            "assemble",
            "principal.name == \"customer/portal\" && principal.parts == 14 && principal has raw_lines && principal.raw_lines == 86",
        ),
        ("assemble", "principal has owner && principal.owner == \"team-portal\""),
        ("assemble", "principal.standards.contains(\"pci-dss-4.0/6.4.3\") && context.now == 1793534400"),
        ("include", "resource has component && resource.component == \"ui/data-table\" && resource.certified"),
        (
            "include",
            "resource has certified_until && resource.certified_until > context.now && resource.id == \"table\"",
        ),
        (
            "include",
            "resource has license && resource.license == \"MPL-2.0\" && resource.claims.contains(\"pci-dss-4.0/8.6.2\")",
        ),
        (
            "include",
            "resource has lifecycle && resource.lifecycle == \"certified\" && resource.data_classes.contains(\"card\")",
        ),
        (
            "include",
            "resource.source == \"raw\" && resource has lines && resource.lines == 86 && resource has reviewer && resource.reviewer == \"Grace\"",
        ),
        ("include", "resource.source == \"external\" && resource has owner && resource.owner == \"Example Bank\""),
        ("include", "resource in principal && resource.secret_references == 1"),
        (
            "connect",
            "resource.from.id == \"sign-in\" && resource.to.id == \"sessions\" && resource.scopes.contains(\"session.create\")",
        ),
        (
            "connect",
            "resource.from_port == \"trail\" && resource.to_port == \"append\" && resource.authentication == \"mtls\"",
        ),
        ("expose", "resource.part.id == \"gateway\" && resource.port == \"edge\" && resource.audience == \"public\""),
    ];
    for (action, condition) in seen {
        let set = load(&policy("seen", action, condition)).unwrap_or_else(|error| panic!("{error}"));
        let report = check(&assembly(&portal_value()), &Policies::default(), &set, &Catalogue::new());
        let found = errors(&report);
        assert!(!found.is_empty() && found.iter().all(|f| f.rule == "policy/seen"), "{condition}: {}", shown(&report));
        assert!(found.iter().all(|f| f.reason == "because" && f.way_out == "change it"));
    }
}

#[test]
fn severities_are_the_policy_s() {
    let text = policy("soft", "assemble", "true").replace("@reason", "@severity(\"warning\")\n@reason");
    let report =
        check(&assembly(&portal_value()), &Policies::default(), &load(&text).expect("valid"), &Catalogue::new());
    assert!(report.passes());
    assert!(report.findings.iter().any(|f| f.rule == "policy/soft" && f.severity == Severity::Warning));
}

#[test]
fn a_policy_that_cannot_be_evaluated_is_a_finding() {
    // 86 times this is beyond 64 bits.
    let text = policy("overflows", "include", "resource has lines && resource.lines * 9000000000000000000 > 0");
    let report =
        check(&assembly(&portal_value()), &Policies::default(), &load(&text).expect("valid"), &Catalogue::new());
    let found = errors(&report);
    assert_eq!(found.len(), 1, "{}", shown(&report));
    assert_eq!((found[0].rule.as_str(), found[0].place.pointer.as_str()), (Rule::InvariantFailed.id(), "/parts/9"));
    assert!(found[0].reason.contains("`overflows`"), "{}", found[0]);
}

#[test]
fn the_starter_set_reads_as_shipped() {
    assert_eq!(load(STARTER_POLICIES).expect("valid").digest(), InvariantSet::starter().digest());
}
