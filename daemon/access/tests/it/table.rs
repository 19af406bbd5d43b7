//! The table against the protocol, against the manual, against the Cedar schema, and against what is decided.

use std::collections::BTreeSet;

use fitment_access::{
    ACCESS_CEDAR_SCHEMA, Access, DenialReason, RPCS, Reach, Role, STEPS, needs_no_principal, rpc_of, table_markdown,
};
use prost::Message as _;

use crate::support::{facts, principal};

#[test]
fn every_rpc_of_the_protocol_stands_there_once_and_no_other() {
    let set = prost_types::FileDescriptorSet::decode(fitment_proto::FILE_DESCRIPTOR_SET).expect("descriptors");
    let mut declared = BTreeSet::new();
    for file in set.file.iter().filter(|file| file.package() == "fitment.v1") {
        for service in &file.service {
            for method in &service.method {
                declared.insert(format!("/fitment.v1.{}/{}", service.name(), method.name()));
            }
        }
    }
    assert!(declared.len() > 60);
    let ours: Vec<&str> = RPCS.iter().map(|rpc| rpc.path).filter(|path| path.starts_with("/fitment.")).collect();
    let listed: BTreeSet<String> = ours.iter().map(|path| (*path).to_owned()).collect();
    assert_eq!(listed.len(), ours.len(), "a path stands there twice");
    assert_eq!(listed, declared);
}

#[test]
fn an_action_is_decided_in_one_way() {
    for rpc in RPCS {
        assert!(rpc.roles.contains(&Role::Administrator), "{}", rpc.path);
        for other in RPCS.iter().filter(|other| other.action == rpc.action) {
            assert_eq!((rpc.roles, rpc.reach), (other.roles, other.reach), "{}", rpc.action);
        }
        assert_eq!(rpc_of(rpc.path), Some(rpc));
    }
    let without: Vec<&str> = RPCS.iter().map(|rpc| rpc.path).filter(|path| needs_no_principal(path)).collect();
    assert_eq!(without, ["/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"]);
}

#[test]
fn the_manual_holds_the_table() {
    let manual = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/authorization.md");
    let manual = std::fs::read_to_string(manual).expect("the manual");
    let (_, rest) = manual.split_once("<!-- table: begin -->\n").expect("a marker");
    let (table, _) = rest.split_once("<!-- table: end -->").expect("a marker");
    assert_eq!(table, table_markdown(), "put the output of `fitment access table --markdown` between the markers");
}

#[test]
fn the_cedar_schema_has_the_actions_of_the_table() {
    let quoted = |line: &str| line.trim().strip_prefix('"')?.trim_end_matches(',').strip_suffix('"').map(str::to_owned);
    let (components, catalog) =
        ACCESS_CEDAR_SCHEMA.split_once("resource: Component }").expect("actions on components stand first");
    let named = |text: &str| text.lines().filter_map(quoted).collect::<BTreeSet<String>>();
    let of = |reaches: &[Reach]| {
        let rpcs = RPCS.iter().map(|rpc| (rpc.action, rpc.reach));
        let all = rpcs.chain(STEPS.iter().map(|step| (step.action, step.reach)));
        all.filter(|(_, reach)| reaches.contains(reach)).map(|(action, _)| action.to_owned()).collect::<BTreeSet<_>>()
    };
    assert_eq!(named(components), of(&[Reach::Component]));
    assert_eq!(named(catalog), of(&[Reach::General, Reach::Whole]));
}

/// Every call, every role, granted in full and narrowed, and denied.
#[test]
fn every_call_is_decided_as_the_table_says() {
    let access = Access::unrestricted();
    let (inside, outside) = (facts("payments", &[]), facts("identity", &[]));
    for role in Role::ALL {
        let full = principal(&format!("[{{role: {role}}}]"));
        let narrowed = principal(&format!("[{{role: {role}, namespaces: [payments]}}]"));
        let denied = principal(&format!("[{{role: administrator}}, {{role: {role}, effect: deny}}]"));
        let narrowly =
            principal(&format!("[{{role: {role}}}, {{role: {role}, effect: deny, namespaces: [payments]}}]"));
        let nobody = principal("[]");
        for rpc in RPCS {
            let path = rpc.path;
            let may = rpc.roles.contains(&role) || rpc.reach == Reach::Open;
            let open = rpc.reach == Reach::Open;
            assert_eq!(access.authorise(&full, path).is_ok(), may, "{role} {path}");
            assert_eq!(access.authorise(&nobody, path).is_ok(), open, "nobody {path}");

            let permit = access.authorise(&narrowed, path);
            assert_eq!(permit.is_ok(), may && rpc.reach != Reach::Whole, "narrowed {role} {path}");
            match permit {
                Ok(permit) if rpc.reach == Reach::Component => {
                    assert!(permit.is_narrowed(), "{role} {path}");
                    assert!(permit.permits(&inside) && !permit.permits(&outside), "{role} {path}");
                }
                Ok(permit) => assert!(permit.permits(&outside) && !permit.is_narrowed(), "{role} {path}"),
                Err(denied) if may => assert_eq!(denied.reason, DenialReason::Narrowed, "{role} {path}"),
                Err(denied) => assert_eq!(denied.reason, DenialReason::NoGrant, "{role} {path}"),
            }

            let loses = rpc.roles.contains(&role) && !open;
            assert_eq!(access.authorise(&denied, path).is_err(), loses, "denied {role} {path}");
            match access.authorise(&narrowly, path) {
                Ok(permit) if rpc.reach == Reach::Component => {
                    assert!(!permit.permits(&inside) && permit.permits(&outside), "{role} {path}");
                }
                Ok(_) => assert!(may && rpc.reach != Reach::Whole, "{role} {path}"),
                Err(denied) => {
                    let reason = if may { DenialReason::DeniedByGrant } else { DenialReason::NoGrant };
                    assert_eq!(denied.reason, reason, "{role} {path}");
                    assert!(!may || rpc.reach == Reach::Whole, "{role} {path}");
                }
            }
        }
        for step in STEPS {
            let may = step.roles.contains(&role);
            assert_eq!(access.authorise_step(&full, step.action).is_ok(), may, "{role} {}", step.action);
        }
    }
    let unknown = access.authorise(&principal("[{role: administrator}]"), "/fitment.v1.Other/Call");
    assert_eq!(unknown.expect_err("no such call").reason, DenialReason::UnknownRpc);
}
