//! Labelled intents: small hand-made files, and the public sets that live beside the repository.

use std::collections::BTreeMap;

use fitment_catalog::{BeirFolder, Dataset, ExpectedOutcome, File, component_name_for};

use crate::support::intents_folder;

fn csv(text: &str) -> Result<Dataset, String> {
    Dataset::from_csv(File { name: "intents.csv", bytes: text.as_bytes() }).map_err(|error| error.to_string())
}

fn beir(corpus: &str, queries: &str, qrels: &[(&str, &str)]) -> Result<Dataset, String> {
    let file = |name, text: &'static str| File { name, bytes: text.as_bytes() };
    let leak = |text: &str| -> &'static str { text.to_owned().leak() };
    let folder = BeirFolder {
        corpus: file("corpus.jsonl", leak(corpus)),
        queries: file("queries.jsonl", leak(queries)),
        qrels: qrels.iter().map(|(split, text)| ((*split).to_owned(), file("qrels.tsv", leak(text)))).collect(),
    };
    Dataset::from_beir(&folder).map_err(|error| error.to_string())
}

#[test]
fn csv_rows_become_intents() {
    let text = "outcome,intent,split,example_type,expected,alternates,rationale\n\
        minimal_generation,\"take a card, now\",dev,terse,pay/card,pay/link|pay/stored,because\n\
        ,make tea,test,far,,,\n";
    let set = csv(text).expect("valid");
    assert_eq!(set.intents.len(), 2);
    let first = &set.intents[0];
    assert_eq!(
        (first.text.as_str(), first.split.as_str(), first.outcome),
        ("take a card, now", "dev", Some(ExpectedOutcome::MinimalGeneration))
    );
    let judged: Vec<String> = first.judgements.iter().map(|(name, relevance)| format!("{name}={relevance}")).collect();
    assert_eq!(judged, ["pay/card=2", "pay/link=1", "pay/stored=1"]);
    assert!(set.intents[1].out_of_scope() && set.intents[1].outcome.is_none());
    assert_eq!(set.split("dev").count(), 1);
    assert_eq!(set.digest(), csv(text).expect("valid").digest());
    assert_ne!(set.digest(), csv(&text.replace("pay/link|", "")).expect("valid").digest());
}

#[test]
fn csv_faults_name_the_line() {
    let header = "split,example_type,intent,expected,alternates,outcome,rationale\n";
    let report: Vec<String> = [
        "split,intent\n".to_owned(),
        "split,example_type,intent,expected,alternates,rationale,colour\n".to_owned(),
        "split,split,example_type,intent,expected,alternates,rationale\n".to_owned(),
        format!("{header}dev,terse,a,b/c,,,\ndev,terse,,b/c,,,\n"),
        format!("{header}dev,terse,a,nonsense,,,\n"),
        format!("{header}dev,terse,a,,b/c,,\n"),
        format!("{header}dev,terse,a,b/c,b/c,,\n"),
        format!("{header}dev,terse,a,b/c,,raw_generation,\n"),
        format!("{header}dev,terse,a,b/c,,often,\n"),
        format!("{header}dev,terse,a,b/c\n"),
        format!("{header}dev,terse,a,b/c,,,\ndev,plain,a,,,,\n"),
        format!("{header},terse,a,b/c,,,\n"),
    ]
    .iter()
    .map(|text| csv(text).expect_err(text))
    .collect();
    insta::assert_snapshot!("bad_csv", report.join("\n"));
}

const CORPUS: &str = r#"{"_id": "Bank Guru", "title": "Bank Guru", "text": "", "metadata": {"tags": ["Über Bank"], "examples": ["why", "why", ""]}}
{"_id": "[", "title": "[", "text": "Tests a condition.", "metadata": {"parameters": {"x": {"type": "dict"}, "y": {"type": "string", "default": "z"}}, "required": ["x", "gone"]}}
"#;

#[test]
fn beir_files_become_a_data_set() {
    let queries = r#"{"_id": "q1", "text": "is my bank open", "metadata": {"split": "dev", "candidates": ["[", "Bank Guru"]}}
{"_id": "q2", "text": "make tea", "metadata": {"split": "dev"}}
{"_id": "q3", "text": "elsewhere", "metadata": {"split": "test"}}
"#;
    let set =
        beir(CORPUS, queries, &[("dev", "query-id\tcorpus-id\tscore\nq1\tBank Guru\t2\nq1\t[\t0\n")]).expect("valid");
    assert_eq!(set.components.len(), 2);
    let [bank, bracket] = [component_name_for("Bank Guru"), component_name_for("[")];
    assert_eq!(set.ids[&bank], "Bank Guru");
    assert_eq!(set.components[0].summary(), "Bank Guru");
    assert_eq!(set.components[0].tags()[0].as_str(), "ber-bank");
    assert_eq!(set.components[0].example_intents(), ["why"]);
    let schema = set.components[1].config_schema().expect("parameters").unbound().clone();
    assert_eq!(schema.open.iter().map(|property| property.pointer.as_str()).collect::<Vec<_>>(), ["/x"]);
    assert_eq!(set.intents.len(), 2);
    assert_eq!(set.intents[0].judgements, BTreeMap::from([(bank.clone(), 2)]));
    assert_eq!(set.intents[0].candidates, Some(vec![bracket, bank]));
    assert!(set.intents[1].out_of_scope());
}

#[test]
fn queries_without_a_split_belong_where_they_are_judged() {
    let queries = r#"{"_id": "q1", "text": "one"}
{"_id": "q2", "text": "two"}
{"_id": "q3", "text": "nobody judged it"}
"#;
    let qrels = [("dev", "query-id\tcorpus-id\trelevance\nq1\t[\t1\n"), ("test", "q2\t[\t1\n")];
    let set = beir(CORPUS, queries, &qrels).expect("valid");
    let ids = |split| set.split(split).map(|intent| (intent.id.as_str(), intent.out_of_scope())).collect::<Vec<_>>();
    assert_eq!(ids("dev"), [("q1", false), ("q3", true)]);
    assert_eq!(ids("test"), [("q2", false), ("q3", true)]);
}

#[test]
fn beir_faults_name_file_and_line() {
    let query = r#"{"_id": "q1", "text": "a", "metadata": {"split": "dev"}}"#;
    let good = "q1\t[\t1\n";
    let report: Vec<String> = [
        beir("{", query, &[("dev", good)]),
        beir(&format!("{CORPUS}{CORPUS}"), query, &[("dev", good)]),
        beir(CORPUS, r#"{"_id": "q1"}"#, &[("dev", good)]),
        beir(CORPUS, r#"{"_id": "q1", "text": " "}"#, &[("dev", good)]),
        beir(CORPUS, r#"{"_id": "q1", "text": "a", "metadata": {"candidates": ["x"]}}"#, &[("dev", good)]),
        beir(CORPUS, r#"{"_id": "q1", "text": "a", "metadata": {"split": "test"}}"#, &[("dev", good)]),
        beir(CORPUS, r#"{"_id": "q1", "text": "a", "metadata": {"out_of_scope": true}}"#, &[("dev", good)]),
        beir(CORPUS, query, &[("dev", "q1 [ 1\n")]),
        beir(CORPUS, query, &[("dev", "q1\tnone\t1\n")]),
        beir(CORPUS, query, &[("dev", "q1\t[\t-1\n")]),
        beir(CORPUS, query, &[("dev", "q1\t[\t1\nq1\t[\t1\n")]),
        beir(CORPUS, query, &[("dev", "query-id\tcorpus-id\tscore\nq1\t[\t1\nq9\t[\t1\nq8\t[\t1\n")]),
    ]
    .into_iter()
    .map(|set| set.expect_err("refused"))
    .collect();
    insta::assert_snapshot!("bad_beir", report.join("\n"));
}

#[test]
fn names_from_ids_are_valid_and_distinct() {
    assert_eq!(component_name_for("fn00001").to_string(), "eval/fn00001");
    let odd = ["Bank Guru", "bank guru", "Bank-Guru", "[", "]", "", "日本語", &"x".repeat(300), "-a", "a_b", "A"];
    let names: std::collections::BTreeSet<_> = odd.iter().map(|id| component_name_for(id)).collect();
    assert_eq!(names.len(), odd.len());
    assert!(names.iter().all(|name| name.to_string().parse() == Ok(name.clone())));
}

/// Components, in-scope and out-of-scope intents of the development split.
fn check_public_set(set: &str, components: usize, in_scope: usize, out_of_scope: usize) -> Dataset {
    let folder = intents_folder().join(set);
    let read = |file: &str| {
        std::fs::read(folder.join(file)).unwrap_or_else(|error| panic!("{}: {error}", folder.join(file).display()))
    };
    let [corpus, queries, dev] = ["corpus.jsonl", "queries.jsonl", "qrels/dev.tsv"].map(read);
    let file = |name, bytes| File { name, bytes };
    let folder = BeirFolder {
        corpus: file("corpus.jsonl", corpus.as_slice()),
        queries: file("queries.jsonl", queries.as_slice()),
        qrels: BTreeMap::from([("dev".to_owned(), file("qrels/dev.tsv", dev.as_slice()))]),
    };
    let loaded = Dataset::from_beir(&folder).unwrap_or_else(|error| panic!("{set}: {error}"));
    let outside = loaded.split("dev").filter(|intent| intent.out_of_scope()).count();
    assert_eq!(
        (loaded.components.len(), loaded.intents.len() - outside, outside),
        (components, in_scope, out_of_scope),
        "{set}"
    );
    loaded
}

#[test]
fn the_public_sets_load_whole() {
    let nl2bash = check_public_set("nl2bash", 784, 1_026, 122);
    assert!(nl2bash.intents.iter().any(|intent| intent.judgements.values().any(|relevance| *relevance == 2)));
    check_public_set("metatool", 174, 1_612, 328);
    let clinc = check_public_set("clinc150", 150, 2_995, 200);
    assert!(clinc.components.iter().all(|component| component.example_intents().len() == 10));
    let bfcl = check_public_set("bfcl", 2_634, 735, 313);
    assert!(bfcl.intents.iter().all(|intent| intent.candidates.as_ref().is_some_and(|some| !some.is_empty())));
    let exact = bfcl.components.iter().filter(|component| component.config_schema().is_some()).count();
    assert!(exact > 2_500, "{exact} of the records have parameters");
}

#[test]
fn csv_that_was_written_reads_back_the_same() {
    let text = "split,example_type,intent,expected,alternates,rationale,outcome\n\
        dev,terse,\"take a \"\"card\"\", now\",pay/link,pay/card|pay/stored,\"two, say\",minimal_generation\n\
        test,feedback,make tea,,,,\n\
        dev,,\"=1+1 \u{2028} 支払い\",ui/form,,,\n";
    let set = csv(text).expect("valid");
    let written = String::from_utf8(set.to_csv()).expect("text");
    assert_eq!(csv(&written).expect("valid"), set);
    assert_eq!(String::from_utf8(csv(&written).expect("valid").to_csv()).expect("text"), written);
}
