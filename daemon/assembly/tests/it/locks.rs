//! The lock: what it holds, what it refuses to be made from, and that it is read as it was written.

use fitment_assembly::{
    AssemblyError, Facts, LOCK_SCHEMA, Lock, LockedSource, Locking, MAX_LOCK_BYTES, Rule, Tree, TreeEntry, lock,
};
use fitment_catalog::{Digest, Format};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use crate::support::{application, assembly, digest, instant, locked, part, portal_value, report, tree};

fn read(text: &str) -> Result<Lock, AssemblyError> {
    Lock::parse("app.lock.yaml", text.as_bytes(), Format::Auto)
}

fn example() -> Lock {
    let (document, catalogue, files) = application();
    locked(&document, &catalogue, Some(&tree(&files))).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_lock_holds_what_passed() {
    let (document, catalogue, files) = application();
    let tree = tree(&files);
    let made = example();
    assert_eq!(made.assembly(), assembly(&document).digest());
    assert_eq!((made.revision(), made.locked_at()), (42, instant("2026-11-01T12:00:00Z")));
    let ids: Vec<&str> = made.parts().iter().map(|part| part.id.as_str()).collect();
    assert_eq!(ids, ["bank", "own", "pack", "service", "table", "tool"]);
    let LockedSource::Component(pack) = &made.parts()[2].source else { panic!("a component") };
    assert_eq!(pack.configuration, json!({ "axis": "x", "level": 3 }));
    assert_eq!(pack.manifest, catalogue.versions["x/pack@1.0.0"].digest);
    assert_eq!(pack.certified_until, Some(instant("2027-11-01T00:00:00Z")));
    assert_eq!(pack.certificates, catalogue.versions["x/pack@1.0.0"].certificates);
    assert_eq!(pack.artifact.as_ref().and_then(|artifact| artifact.sha256), Some(Digest::of(b"\0asm")));
    let LockedSource::Component(table) = &made.parts()[4].source else { panic!("a component") };
    assert_eq!(table.artifact.as_ref().map(|artifact| artifact.files.len()), Some(2));
    let LockedSource::Raw(own) = &made.parts()[1].source else { panic!("raw code") };
    assert_eq!(Some((own.digest, own.lines)), tree.measure(&own.path).map(|found| (found.digest, found.lines)));
    assert_eq!((own.lines, own.owner.as_deref(), own.reviewer.as_deref()), (3, Some("Ada"), Some("Grace")));
}

#[test]
fn a_lock_is_read_as_it_was_written() {
    let made = example();
    let text = made.to_yaml();
    assert!(text.starts_with("lock_version: 1\nassembly:\n  name: test/app\n  digest: "), "{text}");
    assert_eq!(read(&text), Ok(made.clone()), "{text}");
    assert_eq!(Lock::parse("a.json", made.to_value().to_string().as_bytes(), Format::Auto), Ok(made.clone()));
    assert_eq!(read(&text).map(|lock| lock.digest()), Ok(made.digest()));
    // The order of the document does not reach the lock.
    let (mut document, catalogue, files) = application();
    document["parts"].as_array_mut().expect("parts").reverse();
    let turned = locked(&document, &catalogue, Some(&tree(&files)));
    assert_eq!(turned.map(|lock| lock.to_yaml()), Ok(text));
}

#[test]
fn the_portal_is_locked_by_what_it_states() {
    let portal = portal_value();
    let made = locked(&portal, &crate::support::Catalogue::new(), None).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((made.parts().len(), made.connections().len(), made.exposures().len()), (14, 9, 6));
    assert_eq!(read(&made.to_yaml()), Ok(made));
}

/// The rules in the way of a lock.
fn in_the_way(refused: Result<Lock, AssemblyError>) -> Vec<(String, String)> {
    match refused {
        Err(AssemblyError::NotLocked { findings }) => {
            assert!(findings.iter().all(|finding| !finding.way_out.is_empty()));
            findings.into_iter().map(|finding| (finding.rule, finding.place.pointer)).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_does_not_pass_is_not_locked() {
    let (document, catalogue, files) = application();
    let tree = tree(&files);
    let expect = |rule: Rule, pointer: &str| vec![(rule.id().to_owned(), pointer.to_owned())];
    // Raw code that is elsewhere, or is not what is stated, or is not at hand.
    let mut moved = document.clone();
    part(&mut moved, "own")["raw"]["path"] = "lib".into();
    assert_eq!(in_the_way(locked(&moved, &catalogue, Some(&tree))), expect(Rule::RawMissing, "/parts/3/raw/path"));
    let linked: Vec<(String, TreeEntry)> = tree
        .entries()
        .map(|(path, entry)| (path.to_string(), entry.clone()))
        .chain([("src/link".to_owned(), TreeEntry::Link { target: "..".to_owned() })])
        .collect();
    let linked = in_the_way(locked(&document, &catalogue, Some(&Tree::new(linked))));
    assert_eq!(linked, expect(Rule::RawUnreadable, "/parts/3/raw/path"));
    let mut other = document.clone();
    part(&mut other, "tool")["raw"]["lines"] = 2.into();
    assert_eq!(in_the_way(locked(&other, &catalogue, Some(&tree))), expect(Rule::RawMismatch, "/parts/4/raw/lines"));
    part(&mut other, "tool")["raw"]["lines"] = 1.into();
    part(&mut other, "tool")["raw"]["digest"] = digest("other").to_string().into();
    assert_eq!(in_the_way(locked(&other, &catalogue, Some(&tree))), expect(Rule::RawMismatch, "/parts/4/raw/digest"));
    let unknown = in_the_way(locked(&document, &catalogue, None));
    assert_eq!(unknown, [expect(Rule::RawUnknown, "/parts/3/raw"), expect(Rule::RawUnknown, "/parts/4/raw")].concat());
    // A report of another assembly, and one of another time.
    let (read, of_other) = (assembly(&document), report(&moved, &catalogue));
    let locking = Locking {
        assembly: &read,
        report: &of_other,
        facts: &catalogue,
        tree: Some(&tree),
        revision: 1,
        at: catalogue.now(),
    };
    assert_eq!(in_the_way(lock(&locking)), expect(Rule::ReportMismatch, ""));
    let mut later = catalogue.clone();
    later.now = instant("2026-11-02T12:00:00Z");
    let of_earlier = report(&document, &catalogue);
    assert_eq!(
        in_the_way(lock(&Locking { report: &of_earlier, facts: &later, ..locking })),
        expect(Rule::ReportMismatch, "")
    );
    // A revision that JSON numbers cannot carry.
    let (document, catalogue, _) = application();
    let (read, of_it) = (assembly(&document), report(&document, &catalogue));
    let far = Locking { report: &of_it, assembly: &read, facts: &catalogue, revision: 1 << 53, ..locking };
    assert!(lock(&far).expect_err("refused").to_string().contains("/revision"));
    // What the check found.
    let mut catalogue = catalogue.clone();
    catalogue.versions.remove("x/table@1.0.0");
    let rules = in_the_way(locked(&document, &catalogue, Some(&tree)));
    assert!(rules.contains(&(Rule::PartUnknown.id().to_owned(), "/parts/0".to_owned())), "{rules:?}");
}

#[test]
fn a_lock_is_read_strictly() {
    let good = example().to_value();
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut value = good.clone();
        change(&mut value);
        let error = read(&value.to_string()).expect_err(&value.to_string());
        error.to_string()
    };
    let set = |pointer: &'static str, with: Value| {
        refused(&move |value| *value.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) = with.clone())
    };
    for (pointer, with, expected) in [
        ("/lock_version", json!(2), "/lock_version"),
        ("/revision", json!(-1), "/revision"),
        ("/assembly/digest", json!("sha256:0"), "/assembly/digest"),
        ("/locked_at", json!("2026-13-01T00:00:00Z"), "/locked_at"),
        ("/unmanaged", json!(["*"]), "/unmanaged/0: `*` holds for any path"),
        ("/parts/0/id", json!("own"), "/parts/1/id: a second part has the id `own`"),
        ("/parts/1/raw/path", json!("vendor"), "lies in another part, `vendor`"),
        ("/parts/1/raw/path", json!("vendor/table"), "/parts/4/path: a second part lies at `vendor/table`"),
        ("/parts/1/raw/path", json!("../src"), "/parts/1/raw/path"),
        ("/parts/1/raw/lines", json!(1.5), "/parts/1/raw/lines"),
        ("/parts/1/raw", json!({ "path": "src" }), "\"digest\""),
        ("/parts/2/component", json!("x/pack"), "/parts/2/component"),
        ("/parts/2/configuration", json!([]), "/parts/2/configuration"),
        ("/parts/4/artifact/files", json!({ "../a": digest("a") }), "/parts/4/artifact/files"),
        ("/parts/4/artifact/digests", json!({ "md5": "00" }), "unknown key `md5`"),
    ] {
        let message = set(pointer, with.clone());
        assert!(message.contains(expected), "{pointer} {with}: {message}");
    }
    let message = refused(&|value| value["colour"] = 1.into());
    assert!(message.contains("unknown key `colour`; known keys are lock_version"), "{message}");
    let message = refused(&|value| value["parts"][1]["component"] = "x/y@1.0.0".into());
    assert!(message.contains("exactly one of the three"), "{message}");
    let many = format!("{{\"parts\":[{}{{}}]}}", "{},".repeat(50_000));
    assert!(read(&many).expect_err("refused").to_string().contains("more than 50000 values"));
    let large = format!("# {}\n", "x".repeat(MAX_LOCK_BYTES));
    assert!(matches!(read(&large), Err(AssemblyError::Document(_))));
}

#[test]
fn a_lock_of_too_many_files_is_not_made() {
    let (mut document, mut catalogue, files) = application();
    for i in 0..40 {
        let listed = (0..1_000).map(|n| (format!("dist/file-{n}.js"), json!(digest("x"))));
        catalogue.add(&json!({ "name": format!("x/big-{i}"),
            "artifact": { "purl": "pkg:npm/big@1.0.0", "files": listed.collect::<serde_json::Map<_, _>>() } }));
        let part = json!({ "id": format!("big-{i}"), "component": format!("x/big-{i}@1.0.0") });
        document["parts"].as_array_mut().expect("parts").push(part);
    }
    let error = locked(&document, &catalogue, Some(&tree(&files))).expect_err("too large");
    assert!(matches!(error, AssemblyError::LockTooLarge { .. }), "{error}");
}

#[test]
fn the_published_schema_takes_what_is_made() {
    let schema: Value = serde_json::from_str(LOCK_SCHEMA).expect("JSON");
    assert!(jsonschema::draft202012::meta::is_valid(&schema));
    let validator = jsonschema::draft202012::options().offline().build(&schema).expect("a JSON Schema");
    assert!(validator.is_valid(&example().to_value()));
}

/// Texts that YAML writers and readers stumble over.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,12}",
        "[ -~\n\t]{0,24}",
        "[ -~\n]{60,200}",
        "\n[ \n]{0,3}[a-z]{0,3}[ \n]{0,3}",
        proptest::sample::select(
            &["yes", "~", "null", "1e3", "0x1", "010", "- a", "a: b", "#", "2026-01-01", "'\"", "|", " x "][..]
        )
        .prop_map(str::to_owned),
    ]
}

fn configuration() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-9_007_199_254_740_991_i64..=9_007_199_254_740_991).prop_map(Value::from),
        prop_oneof![-1e9..1e9_f64, any::<f64>()].prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    let inner = leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(text(), inner, 0..4).prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    });
    btree_map("[a-z]{1,6}", inner, 0..5).prop_map(|entries| Value::Object(entries.into_iter().collect()))
}

fn component() -> impl Strategy<Value = Value> {
    let step = "[a-zA-Z0-9 äß#:'-]{1,8}".prop_filter("no step of dots", |step| !matches!(step.as_str(), "." | ".."));
    let files = btree_map(step, 0..9_u8, 0..4).prop_map(|files| {
        Value::Object(files.into_iter().map(|(path, n)| (path, json!(digest(&n.to_string())))).collect())
    });
    (configuration(), files, any::<bool>(), 1970..9999_i16).prop_map(|(configuration, files, placed, year)| {
        let mut part = json!({ "component": "x/y@1.2.3-rc.1", "manifest": digest("m"), "configuration": configuration,
            "artifact": { "purl": "pkg:npm/y", "digests": { "sha256": "ab".repeat(32), "sha384": "cd".repeat(48) },
                "files": files },
            "certified_until": format!("{year:04}-02-03T04:05:06.5Z"), "certificates": [digest("c")] });
        if placed {
            part["path"] = "vendor".into();
        }
        part
    })
}

fn locks() -> impl Strategy<Value = Value> {
    let raw = ("[a-z]{1,5}/[a-zä #]{0,5}x", any::<u32>(), proptest::option::of("[A-Za-z]{1,9}")).prop_map(
        |(path, lines, owner)| {
            let mut raw = json!({ "path": format!("src-{path}"), "digest": digest("r"), "lines": lines });
            if let Some(owner) = owner {
                raw["owner"] = owner.into();
            }
            json!({ "raw": raw })
        },
    );
    let external = any::<bool>().prop_map(|proven| {
        let mut external = json!({ "owner": "Bank" });
        if proven {
            external["evidence"] = json!(digest("e"));
            external["valid_until"] = "2027-01-01T00:00:00Z".into();
        }
        json!({ "external": external })
    });
    (component(), raw, external, 0..=9_007_199_254_740_991_u64, vec("[a-z]{1,3}", 0..3)).prop_map(
        |(mut component, mut raw, mut external, revision, globs)| {
            for (part, id) in [(&mut component, "c"), (&mut raw, "b"), (&mut external, "a")] {
                part["id"] = id.into();
            }
            let globs: std::collections::BTreeSet<String> =
                globs.into_iter().map(|text| format!("{text}/**")).collect();
            json!({ "lock_version": 1, "assembly": { "name": "a/b", "digest": digest("a") },
                "locked_at": "2026-11-01T12:00:00Z", "revision": revision, "policies": digest("p"),
                "invariants": digest("i"), "unmanaged": globs, "parts": [component, raw, external],
                "connections": [{ "from": "b.x", "to": "c.y", "data_classes": ["public"], "version": "^1" }],
                "exposures": [{ "port": "c.y", "audience": "public" }] })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(192) })]

    #[test]
    fn any_lock_is_read_as_it_was_written(value in locks()) {
        let lock = match read(&value.to_string()) {
            Ok(lock) => lock,
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        };
        let text = lock.to_yaml();
        let again = read(&text);
        prop_assert_eq!(again.as_ref(), Ok(&lock), "{}", text);
        prop_assert_eq!(again.map(|again| again.to_yaml()), Ok(text));
    }

    #[test]
    fn any_bytes_are_judged_as_a_lock(bytes in vec(any::<u8>(), 0..300), at in any::<Index>(), with in configuration()) {
        let _ = Lock::parse("any", &bytes, Format::Auto);
        let text = example().to_yaml();
        let mut damaged = text.clone().into_bytes();
        let at = at.index(damaged.len());
        damaged.splice(at..at, bytes.into_iter().take(3));
        let _ = Lock::parse("any.yaml", &damaged, Format::Auto);
        let mut value = example().to_value();
        value["parts"][at % 6] = with;
        let _ = read(&value.to_string());
    }
}
