//! What cannot be answered over gRPC is refused with its documented code, and the daemon goes on.

use std::fmt::Write as _;

use fitment_proto::v1;
use fitment_proto::v1::assembly_service_client::AssemblyServiceClient;
use fitment_proto::v1::impact_target::Target;
use fitment_tests::{Daemon, manifest};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use super::client;
use crate::matching::create;

type Client = AssemblyServiceClient<Channel>;

/// A call that must be refused.
macro_rules! refused {
    ($client:expr, $call:ident, $request:expr, $code:ident, $field:literal) => {{
        let status = $client.$call($request).await.expect_err(concat!(stringify!($call), " ", $field));
        same(&status, Code::$code, $field);
    }};
}

#[track_caller]
fn same(status: &Status, code: Code, field: &str) {
    assert_eq!(status.code(), code, "{field}: {status}");
    assert!(!status.message().is_empty());
    let details = status.get_error_details();
    assert_eq!(details.error_info().map(|info| info.domain.as_str()), Some("fitment"), "{status}");
    if !field.is_empty() {
        let violations = details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
        let named =
            violations.iter().any(|violation| violation.field.contains(field)) || status.message().contains(field);
        assert!(named, "{field} is not named: {status} {violations:?}");
    }
}

fn check(document: impl Into<Vec<u8>>) -> v1::CheckAssemblyRequest {
    v1::CheckAssemblyRequest { document: document.into(), ..Default::default() }
}

/// A daemon with one component, which has a configuration, and a client.
async fn served(folder: &std::path::Path) -> anyhow::Result<(Daemon, Client)> {
    let daemon = Daemon::serve(folder, &[])?;
    let schema =
        "config_schema:\n  type: object\n  additionalProperties: false\n  properties: { level: { type: integer } }\n";
    let component = manifest("x/part", "1.0.0", "Is a part.") + schema;
    create(&mut daemon.catalog().await?, component).await?;
    create(&mut daemon.catalog().await?, manifest("x/plain", "1.0.0", "Has no configuration.")).await?;
    let client = client(&daemon).await?;
    Ok((daemon, client))
}

const PART: &str = "x/part@1.0.0";

/// YAML whose aliases would grow to 9^9 values.
fn aliases() -> String {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for at in 1..9 {
        let one = format!("*a{}", at - 1);
        writeln!(text, "a{at}: &a{at} [{}]", [one.as_str(); 9].join(", ")).expect("a String takes it");
    }
    text + "name: a/b\nparts: *a8\n"
}

fn parts(count: usize) -> String {
    let mut text = "name: a/b\nparts:\n".to_owned();
    for at in 0..count {
        writeln!(text, "- {{id: p{at}, component: x/part@1.0.0}}").expect("a String takes it");
    }
    text
}

#[tokio::test]
async fn documents_that_cannot_be_read() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (_daemon, mut client) = served(folder.path()).await?;
    let deep = format!("name: a/b\nparts: {}{}\n", "[".repeat(20_000), "]".repeat(20_000));
    let deep_blocks = (0..500).map(|at| " ".repeat(at) + "a:").collect::<Vec<_>>().join("\n");
    let long = |text: &str| [text.as_bytes(), &vec![b' '; 256 << 10][..]].concat();
    let good = parts(1);
    for document in [
        long(&good),
        deep.into_bytes(),
        deep_blocks.into_bytes(),
        aliases().into_bytes(),
        parts(10_000).into_bytes(),
        parts(257).into_bytes(),
        b"\xff\xfe\x00".to_vec(),
        b"[]".to_vec(),
        b"name: a/b".to_vec(),
        b"name: a/b\nparts: []\nparts: []".to_vec(),
        b"name: Not A Name\nparts:\n- {id: a, component: x/part@1.0.0}\n".to_vec(),
        b"name: a/b\nparts:\n- {id: a, component: x/part}\n".to_vec(),
        b"name: a/b\nparts:\n- {id: a, digest: 'sha256:12'}\n".to_vec(),
        b"name: a/b\nparts:\n- {id: a, component: x/part@1.0.0, raw: {path: ../up}}\n".to_vec(),
        b"name: a/b\nparts:\n- {id: a, component: x/part@1.0.0}\nsurprise: true\n".to_vec(),
    ] {
        let shown = String::from_utf8_lossy(&document[..document.len().min(80)]).into_owned();
        let status = client.check_assembly(check(document.clone())).await.expect_err(&shown);
        same(&status, Code::InvalidArgument, "");
        assert!(status.message().len() < 4096, "{shown}: a message of {} bytes", status.message().len());
        let request = v1::RegisterAssemblyRequest { document, ..Default::default() };
        same(&client.register_assembly(request).await.expect_err(&shown), Code::InvalidArgument, "");
    }
    // 256 parts are as many as are taken.
    assert!(client.check_assembly(check(parts(256))).await?.into_inner().passes);

    refused!(client, check_assembly, check(""), InvalidArgument, "document");
    let both = v1::CheckAssemblyRequest { name: "a/b".into(), ..check(good.clone()) };
    refused!(client, check_assembly, both, InvalidArgument, "name");
    let named = |name: &str| v1::CheckAssemblyRequest { name: name.into(), ..Default::default() };
    refused!(client, check_assembly, named("no name"), InvalidArgument, "name");
    refused!(client, check_assembly, named("a/absent"), NotFound, "a/absent");
    let source = v1::CheckAssemblyRequest { source: "x".repeat(1025), ..check(good.clone()) };
    refused!(client, check_assembly, source, InvalidArgument, "source");
    let ahead = v1::CheckAssemblyRequest { min_revision: 1_000_000, ..check(good.clone()) };
    refused!(client, check_assembly, ahead, FailedPrecondition, "min_revision");
    let absent = v1::GetAssemblyRequest { name: "a/absent".into() };
    refused!(client, get_assembly, absent, NotFound, "a/absent");
    let absent = v1::DeleteAssemblyRequest { name: "a/absent".into(), ..Default::default() };
    refused!(client, delete_assembly, absent, NotFound, "a/absent");
    let long = v1::RegisterAssemblyRequest { document: good.into(), reason: "x".repeat(501), ..Default::default() };
    refused!(client, register_assembly, long, InvalidArgument, "reason");
    let empty = v1::RegisterAssemblyRequest::default();
    refused!(client, register_assembly, empty, InvalidArgument, "");
    let page = v1::ListAssembliesRequest { page_size: 1001, ..Default::default() };
    refused!(client, list_assemblies, page, InvalidArgument, "page_size");
    Ok(())
}

#[tokio::test]
async fn trees_that_are_too_large_or_not_what_they_say() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (_daemon, mut client) = served(folder.path()).await?;
    let file = |path: String| v1::TreeFile { path, sha256: vec![7; 32], lines: 1, ..Default::default() };
    let lock = |tree| v1::LockAssemblyRequest { document: parts(1).into(), tree, ..Default::default() };
    let many: Vec<_> = (0..=100_000).map(|at| file(format!("src/{at}.rs"))).collect();
    refused!(client, lock_assembly, lock(many.clone()), InvalidArgument, "tree");
    let report = v1::ReportAssemblyRequest { document: parts(1).into(), tree: many.clone(), ..Default::default() };
    refused!(client, report_assembly, report, InvalidArgument, "tree");
    let upgrade = v1::UpgradeAssemblyRequest { document: parts(1).into(), tree: many.clone(), ..Default::default() };
    refused!(client, upgrade_assembly, upgrade, InvalidArgument, "tree");
    let most = many[..100_000].to_vec();
    assert!(!client.lock_assembly(lock(most)).await?.into_inner().lock_yaml.is_empty(), "as many as are taken");
    let short = v1::TreeFile { sha256: vec![7; 31], ..file("a".into()) };
    refused!(client, lock_assembly, lock(vec![short]), InvalidArgument, "tree[0].sha256");
    // Paths that lead out of the tree are found, not followed.
    let odd = ["../up", "/etc/passwd", "", "a//b", "a\0b", "C:\\x"];
    let tree = odd.iter().map(|path| file((*path).to_owned())).collect();
    client.lock_assembly(lock(tree)).await?;

    let time = |seconds, nanos| v1::ReportAssemblyRequest {
        document: parts(1).into(),
        time: Some(prost_types::Timestamp { seconds, nanos }),
        ..Default::default()
    };
    for time in [time(i64::MAX, 0), time(i64::MIN, -1), time(0, i32::MAX), time(0, 0), time(4_000_000_000, 0)] {
        refused!(client, report_assembly, time, InvalidArgument, "time");
    }
    let parts =
        v1::UpgradeAssemblyRequest { document: parts(1).into(), parts: vec!["nobody".into()], ..Default::default() };
    refused!(client, upgrade_assembly, parts, InvalidArgument, "nobody");
    let many = v1::UpgradeAssemblyRequest { parts: vec!["a".into(); 257], ..Default::default() };
    refused!(client, upgrade_assembly, many, InvalidArgument, "parts");
    Ok(())
}

#[tokio::test]
async fn configurations_plans_and_context_out_of_bounds() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (_daemon, mut client) = served(folder.path()).await?;
    let bind = |component: &str, configuration: &[u8]| v1::BindConfigurationRequest {
        component: component.into(),
        configuration: configuration.to_vec(),
        ..Default::default()
    };
    let bound = client.bind_configuration(bind(PART, b"level: 3")).await?.into_inner();
    assert_eq!((bound.configuration_json.as_str(), bound.faults.len()), ("{\"level\":3}", 0));
    let refused_by_schema = client.bind_configuration(bind(PART, b"level: high\nother: 1")).await?.into_inner();
    assert_eq!(
        refused_by_schema.faults.iter().map(|fault| fault.rule.as_str()).collect::<Vec<_>>(),
        ["type", "additionalProperties"]
    );
    let nested = [&b"["[..]; 40].concat();
    for configuration in [&nested[..], b"{", b"- a", b"\xff", aliases().as_bytes(), &vec![b'x'; (64 << 10) + 1]] {
        refused!(client, bind_configuration, bind(PART, configuration), InvalidArgument, "");
    }
    refused!(client, bind_configuration, bind("x/part", b""), InvalidArgument, "component");
    refused!(client, bind_configuration, bind("x/part@new", b""), InvalidArgument, "component");
    refused!(client, bind_configuration, bind("sha256:12", b""), InvalidArgument, "component");
    refused!(client, bind_configuration, bind("x/part@9.9.9", b""), NotFound, "x/part@9.9.9");
    let unknown = v1::BindConfigurationRequest { written_as: 99, ..bind(PART, b"") };
    refused!(client, bind_configuration, unknown, InvalidArgument, "written_as");
    let many = (0..257).map(|at| (format!("p{at}"), PART.to_owned())).collect();
    let many = v1::BindConfigurationRequest { parts: many, ..bind(PART, b"") };
    refused!(client, bind_configuration, many, InvalidArgument, "parts");
    let lost =
        v1::BindConfigurationRequest { parts: [("a".to_owned(), "nothing".to_owned())].into(), ..bind(PART, b"") };
    refused!(client, bind_configuration, lost, InvalidArgument, "parts[a]");
    let form = |component: &str, form| v1::GetConfigurationFormRequest { component: component.into(), form };
    refused!(client, get_configuration_form, form(PART, 99), InvalidArgument, "form");
    refused!(client, get_configuration_form, form("x/plain@1.0.0", 0), FailedPrecondition, "x/plain@1.0.0");

    let pack = |token_budget, tokenizer: &str| v1::GetContextPackRequest {
        components: vec![PART.into()],
        token_budget,
        tokenizer: tokenizer.into(),
        team: String::new(),
    };
    refused!(client, get_context_pack, pack(0, ""), InvalidArgument, "token_budget");
    refused!(client, get_context_pack, pack(1_000_001, ""), InvalidArgument, "token_budget");
    refused!(client, get_context_pack, pack(100, "sentencepiece"), InvalidArgument, "tokenizer");
    refused!(
        client,
        get_context_pack,
        v1::GetContextPackRequest { components: vec![], ..pack(9, "") },
        InvalidArgument,
        "components"
    );
    let many = v1::GetContextPackRequest { components: vec![PART.into(); 257], ..pack(9, "") };
    refused!(client, get_context_pack, many, InvalidArgument, "components");
    let team = v1::GetContextPackRequest { team: "x".repeat(121), ..pack(9, "") };
    refused!(client, get_context_pack, team, InvalidArgument, "team");
    let twice = v1::GetContextPackRequest { components: vec![PART.into(); 3], ..pack(1, "") };
    let pack = client.get_context_pack(twice).await?.into_inner();
    assert!(pack.tokens <= 1, "{pack:?}");

    let plan = |requirement: &str| v1::PlanAssemblyRequest { requirement: requirement.into(), ..Default::default() };
    refused!(client, plan_assembly, plan(""), InvalidArgument, "requirement");
    refused!(client, plan_assembly, plan("# Only a heading\n"), InvalidArgument, "requirement");
    refused!(client, plan_assembly, plan(&"pay. ".repeat(20_000)), InvalidArgument, "");
    let intents = |count| v1::PlanAssemblyRequest { intents: vec!["pay".into(); count], ..Default::default() };
    refused!(client, plan_assembly, intents(257), InvalidArgument, "intents");
    refused!(
        client,
        plan_assembly,
        v1::PlanAssemblyRequest { requirement: "pay".into(), ..intents(1) },
        InvalidArgument,
        "intents"
    );
    refused!(
        client,
        plan_assembly,
        v1::PlanAssemblyRequest { alternatives: 21, ..intents(1) },
        InvalidArgument,
        "alternatives"
    );
    refused!(
        client,
        plan_assembly,
        v1::PlanAssemblyRequest { name: "no name".into(), ..intents(1) },
        InvalidArgument,
        "name"
    );
    let estimates = Some(v1::PlanEstimates { raw_lines: Some(10_000_001), ..Default::default() });
    refused!(client, plan_assembly, v1::PlanAssemblyRequest { estimates, ..intents(1) }, InvalidArgument, "raw_lines");
    Ok(())
}

#[tokio::test]
async fn questions_that_are_none() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (_daemon, mut client) = served(folder.path()).await?;
    let impact = |target: Option<Target>| v1::GetImpactRequest {
        target: Some(v1::ImpactTarget { target }),
        ..Default::default()
    };
    refused!(client, get_impact, v1::GetImpactRequest::default(), InvalidArgument, "target");
    refused!(client, get_impact, impact(None), InvalidArgument, "target");
    refused!(client, get_impact, impact(Some(Target::Component("no name".into()))), InvalidArgument, "name");
    refused!(client, get_impact, impact(Some(Target::Version("x/part".into()))), InvalidArgument, "target.version");
    refused!(
        client,
        get_impact,
        impact(Some(Target::Certificate("sha256:12".into()))),
        InvalidArgument,
        "target.certificate"
    );
    let standard = || impact(Some(Target::Standard("gdpr".into())));
    refused!(client, get_impact, v1::GetImpactRequest { page_size: 1001, ..standard() }, InvalidArgument, "page_size");
    let names = v1::GetImpactRequest { page_size: 10_001, names_only: true, ..standard() };
    refused!(client, get_impact, names, InvalidArgument, "page_size");

    let watch = |name: &str| v1::WatchAssembliesRequest { names: vec![name.into()], after_revision: 0 };
    refused!(client, watch_assemblies, watch("no name"), InvalidArgument, "name");
    let many = v1::WatchAssembliesRequest { names: vec!["a/b".into(); 10_001], after_revision: 0 };
    refused!(client, watch_assemblies, many, InvalidArgument, "names");
    let economics = v1::GetEconomicsRequest { period: 99, ..Default::default() };
    refused!(client, get_economics, economics, InvalidArgument, "period");
    for day in ["2026-13-01", "yesterday", "2026-01-31T00:00:00Z"] {
        let economics = v1::GetEconomicsRequest { from: day.into(), ..Default::default() };
        refused!(client, get_economics, economics, InvalidArgument, "from");
    }

    let set = |cedar: Vec<v1::CedarFile>| v1::SetAssemblyPoliciesRequest { cedar, ..Default::default() };
    let file = |text: String| v1::CedarFile { name: "ours.cedar".into(), text };
    let policies = v1::SetAssemblyPoliciesRequest { policies: vec![b' '; (256 << 10) + 1], ..Default::default() };
    refused!(client, set_assembly_policies, policies, InvalidArgument, "");
    refused!(client, set_assembly_policies, set(vec![file("x".repeat((256 << 10) + 1))]), InvalidArgument, "");
    refused!(client, set_assembly_policies, set(vec![file("(".repeat(100_000))]), InvalidArgument, "");
    let one =
        |at: usize| file(format!("@id(\"p{at}\") @reason(\"r\") @fix(\"f\") forbid (principal, action, resource);"));
    refused!(client, set_assembly_policies, set((0..257).map(one).collect()), InvalidArgument, "");
    refused!(client, set_assembly_policies, set(vec![one(1), one(1)]), InvalidArgument, "p1");
    let starter = client.get_assembly_policies(Request::new(v1::GetAssemblyPoliciesRequest {})).await?.into_inner();
    assert!(starter.starter && starter.time.is_none(), "nothing was put into force");
    Ok(())
}
