//! The worked example: planned, told to a language model, configured, locked, verified and reported on.

use std::path::Path;

use fitment_tests::Daemon;
use serde_json::{Value, json};

use super::application;
use crate::commands::{ends, keygen, on, told};

const REQUIREMENT: &str = "\
# Customer portal

The portal shall:

- show a table of customer rows with sorting and filtering
- take a card payment at checkout
- tune the strings of my guitar through the microphone
";

const CHECKOUT: &str = "payments/card-checkout@4.2.1";

#[test]
fn from_a_requirement_to_a_report_that_can_be_made_again() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let daemon = Daemon::demo(&folder.path().join("data"))?;
    let folder = folder.path();
    planned(&daemon, folder)?;
    context(&daemon, folder)?;
    bound(&daemon, folder)?;
    forms(&daemon, folder)?;
    application(folder)?;
    locked_and_verified(&daemon, &folder.join("app"))?;
    reported(&daemon, folder)
}

fn planned(daemon: &Daemon, folder: &Path) -> anyhow::Result<()> {
    std::fs::write(folder.join("requirement.md"), REQUIREMENT)?;
    std::fs::write(folder.join("estimates.yaml"), "raw_lines: 400\nconfiguration_lines: 3\ngenerated_lines: 500\n")?;
    let plan = ["assembly", "plan", "requirement.md", "--estimates", "estimates.yaml", "--name", "customer/portal"];
    let said = told(daemon, folder, &[&plan[..], &["--out", "draft.yaml"]].concat())?;
    let parts = said["parts"].as_array().expect("parts");
    let of = |field: &'static str| parts.iter().map(|part| part[field].clone()).collect::<Vec<Value>>();
    assert_eq!(
        of("intent"),
        [
            "show a table of customer rows with sorting and filtering",
            "take a card payment at checkout",
            "tune the strings of my guitar through the microphone"
        ]
    );
    assert_eq!(
        of("outcome"),
        ["OUTCOME_ZERO_GENERATION", "OUTCOME_MINIMAL_GENERATION", "OUTCOME_RAW_GENERATION"],
        "{said:#}"
    );
    assert_eq!(of("part"), ["data-table", "card-checkout", ""]);
    assert_eq!(parts[1]["choice"]["openProperties"], json!(["/merchant_id", "/api_key", "/return_url"]));
    assert!(parts.iter().all(|part| part["alternatives"].as_array().is_some_and(|others| others.len() >= 3)));
    let at = parts[1]["start"].as_u64().and_then(|start| usize::try_from(start).ok()).expect("a place");
    assert!(REQUIREMENT[at..].starts_with("take a card payment"));
    let surface = &said["surface"];
    assert_eq!((&surface["zero"], &surface["minimal"], &surface["raw"]), (&json!(1), &json!(1), &json!(1)));
    // 3 properties of 3 lines each, and the raw part.
    assert_eq!((&surface["reviewLines"], &surface["allGeneratedLines"]), (&json!(409), &json!(1500)));
    let draft = std::fs::read_to_string(folder.join("draft.yaml"))?;
    assert!(draft.starts_with("name: customer/portal\n") && draft.contains("# open: /merchant_id"), "{draft}");
    // It is a document: what is open is found.
    let said = on(daemon, folder, 8, &["assembly", "check", "draft.yaml"])?;
    assert!(said.contains("configuration/required at card-checkout"), "{said}");
    // A draft is never overwritten.
    on(daemon, folder, 3, &[&plan[..], &["--out", "draft.yaml"]].concat())?;
    let said = on(daemon, folder, 0, &["assembly", "plan", "--intent", "take a card payment at checkout"])?;
    assert!(said.contains("0 need nothing, 1 a configuration (3 properties), 0 code"), "{said}");
    Ok(())
}

fn context(daemon: &Daemon, folder: &Path) -> anyhow::Result<()> {
    let pack = ["assembly", "context", CHECKOUT, "ui/data-table@7.4.0", "--tokens"];
    let small = told(daemon, folder, &[&pack[..], &["300"]].concat())?;
    let tokens = small["tokens"].as_u64().expect("tokens");
    assert!((1..=300).contains(&tokens), "{small:#}");
    assert_eq!(small["included"][0], json!({ "component": CHECKOUT, "piece": "description", "tokens": 0 }));
    assert!(small["leftOut"].as_array().is_some_and(|left| !left.is_empty()), "{small:#}");
    let large = told(daemon, folder, &[&pack[..], &["100000", "--tokenizer", "cl100k_base"]].concat())?;
    assert_eq!((&large["leftOut"], &large["tokenizer"]), (&json!([]), &json!("cl100k_base")));
    assert!(large["text"].as_str().is_some_and(|text| text.contains("merchant_id")), "{large:#}");
    on(daemon, folder, 4, &["assembly", "context", "payments/gone@1.0.0"])?;
    Ok(())
}

fn bound(daemon: &Daemon, folder: &Path) -> anyhow::Result<()> {
    let bind = |more: &[&str]| told(daemon, folder, &[&["assembly", "bind", CHECKOUT, "checkout.yaml"], more].concat());
    let good =
        "merchant_id: ACME0001\napi_key: secret://portal/acquirer\nreturn_url: https://portal.example.org/paid\n";
    std::fs::write(folder.join("checkout.yaml"), good)?;
    let said = bind(&[])?;
    let used: Value = serde_json::from_str(said["configurationJson"].as_str().expect("a configuration"))?;
    assert_eq!((&said["faults"], &used["capture"]), (&json!([]), &json!("immediate")), "defaults are filled in");
    assert_eq!(said["secretReferences"], json!(["/api_key"]));

    let secret = ["sk", "live", "4eC39HqLyjWDarjtT1zdp7dc"].join("_");
    std::fs::write(
        folder.join("checkout.yaml"),
        format!("merchant_id: x\napi_key: {secret}\ncolour: red\nreturn_url: nowhere\n"),
    )?;
    let said = bind(&[])?;
    let faults = said["faults"].as_array().expect("faults");
    let found: Vec<_> = faults.iter().map(|fault| (&fault["pointer"], &fault["rule"])).collect();
    assert_eq!(
        found,
        [
            (&json!("/api_key"), &json!("secret-reference")),
            (&json!("/colour"), &json!("additionalProperties")),
            (&json!("/merchant_id"), &json!("pattern")),
            (&json!("/return_url"), &json!("format")),
        ]
    );
    assert!(faults.iter().all(|fault| fault["wayOut"].as_str().is_some_and(|way| !way.is_empty())));
    assert!(!said.to_string().contains(&secret), "a secret is never repeated: {said:#}");
    assert_eq!(said["configurationJson"], "");
    on(daemon, folder, 8, &["assembly", "bind", CHECKOUT, "checkout.yaml"])?;

    // As a language model writes it that is held to the restricted form: null is what is left out.
    let generated = json!({ "merchant_id": "ACME0001", "api_key": "secret://portal/acquirer", "capture": null,
        "return_url": "https://portal.example.org/paid", "networks": null, "strong_authentication": null });
    std::fs::write(folder.join("checkout.yaml"), generated.to_string())?;
    assert_ne!(bind(&[])?["faults"], json!([]));
    let said = bind(&["--structured"])?;
    assert_eq!(said["faults"], json!([]), "{said:#}");
    assert!(said["configurationJson"].as_str().is_some_and(|used| used.contains("immediate")));
    Ok(())
}

fn forms(daemon: &Daemon, folder: &Path) -> anyhow::Result<()> {
    let form = |form: &str| told(daemon, folder, &["assembly", "schema", CHECKOUT, "--form", form]);
    let closed = form("closed")?;
    let schema: Value = serde_json::from_str(closed["text"].as_str().expect("a schema"))?;
    assert_eq!((&schema["additionalProperties"], &closed["uncovered"]), (&json!(false), &json!([])));
    let structured = form("structured-output")?;
    let schema: Value = serde_json::from_str(structured["text"].as_str().expect("a schema"))?;
    let properties = schema["properties"].as_object().expect("properties").len();
    assert_eq!(
        schema["required"].as_array().map(Vec::len),
        Some(properties),
        "each is required, null where it is left out"
    );
    assert!(structured["uncovered"].as_array().is_some_and(|left| !left.is_empty()));
    assert!(form("gbnf")?["text"].as_str().is_some_and(|text| text.starts_with("root ::= ")));
    Ok(())
}

fn locked_and_verified(daemon: &Daemon, app: &Path) -> anyhow::Result<()> {
    let said = on(daemon, app, 0, &["assembly", "lock", "--tree", "."])?;
    assert!(said.contains("locked in assembly.lock.yaml"), "{said}");
    let lock = std::fs::read_to_string(app.join("assembly.lock.yaml"))?;
    assert!(lock.contains("reviewer: Grace") && lock.contains("lines: 3"), "{lock}");
    let verify = ["assembly", "verify", "--tree", ".", "--sarif", "drift.sarif"];
    let verified = || -> anyhow::Result<()> {
        let said = ends(app, 0, &["assembly", "verify"])?;
        assert!(said.contains("14 parts are as they were locked"), "{said}");
        Ok(())
    };
    verified()?;

    let trail = app.join("src/journal/trail.rs");
    let before = std::fs::read(&trail)?;
    std::fs::write(&trail, "pub fn write() { unreviewed() }\n")?;
    std::fs::write(app.join("src/other.rs"), "fn other() {}\n")?;
    let said = ends(app, 8, &verify)?;
    assert!(
        said.contains("error raw-changed at src/journal") && said.contains("error raw-undeclared at src/other.rs"),
        "{said}"
    );
    let sarif: Value = serde_json::from_slice(&std::fs::read(app.join("drift.sarif"))?)?;
    let places: Vec<&Value> = sarif["runs"][0]["results"]
        .as_array()
        .expect("results")
        .iter()
        .map(|result| &result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"])
        .collect();
    assert_eq!(places, ["src/journal", "src/other.rs"]);
    std::fs::write(&trail, before)?;
    std::fs::remove_file(app.join("src/other.rs"))?;
    std::fs::remove_file(app.join("drift.sarif"))?;
    verified()?;

    // The document is held against the lock too.
    let document = std::fs::read_to_string(app.join("assembly.yaml"))?;
    std::fs::write(app.join("assembly.yaml"), document.replace("Customer portal", "Another portal"))?;
    assert!(ends(app, 8, &["assembly", "verify"])?.contains("error assembly-changed"));
    std::fs::write(app.join("assembly.yaml"), document)?;
    verified()
}

fn reported(daemon: &Daemon, folder: &Path) -> anyhow::Result<()> {
    keygen(folder, "auditor")?;
    let at = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let report = ["assembly", "report", "app/assembly.yaml", "--tree", "app", "--out"];
    let made = |out: &str, more: &[&str]| on(daemon, folder, 0, &[&report[..], &[out], more].concat());
    for out in ["one", "two"] {
        made(out, &["--key", "auditor.pem", "--at", &at])?;
    }
    let files = ["report.cdx.json", "report.oscal.json", "report.html", "report.dsse.json"];
    for file in files {
        let (one, two) = (std::fs::read(folder.join("one").join(file))?, std::fs::read(folder.join("two").join(file))?);
        assert!(!one.is_empty() && one == two, "{file} is not the same twice");
    }
    let bom: Value = serde_json::from_slice(&std::fs::read(folder.join("one/report.cdx.json"))?)?;
    assert_eq!((&bom["specVersion"], &bom["metadata"]["timestamp"]), (&json!("1.6"), &json!(at)));
    let oscal: Value = serde_json::from_slice(&std::fs::read(folder.join("one/report.oscal.json"))?)?;
    assert!(oscal["component-definition"].is_object());
    let envelope: Value = serde_json::from_slice(&std::fs::read(folder.join("one/report.dsse.json"))?)?;
    assert_eq!(envelope["signatures"].as_array().map(Vec::len), Some(1));

    let said = made("unsigned", &[])?;
    assert!(said.contains("not signed") && folder.join("unsigned/report.intoto.json").exists(), "{said}");
    // What the catalogue knew before it changed is gone, and what will be is not known.
    for time in ["2020-01-01T00:00:00Z", "2099-01-01T00:00:00Z"] {
        let said = on(daemon, folder, 3, &[&report[..], &["never", "--at", time]].concat())?;
        assert!(said.contains("time: "), "{said}");
    }
    assert!(!folder.join("never").exists());
    Ok(())
}
