//! Plans: texts to intents, intents to parts, parts to figures and to the draft of an assembly.

use std::collections::BTreeMap;

use fitment_assembly::{
    Assembly, Choice, Estimates, Lines, MAX_INTENTS, MAX_TEXT_BYTES, OpenPointer, Plan, PlanError, PlannedOutcome,
    PlannedPart, split,
};
use fitment_catalog::Format;
use proptest::prelude::*;

fn texts(requirement: &str) -> Vec<String> {
    split(requirement).expect("within the limits").into_iter().map(|intent| intent.text).collect()
}

fn check(requirement: &str, expected: &[&str]) {
    assert_eq!(texts(requirement), expected, "{requirement}");
}

/// The blocks of the manual with an info word, in order.
fn fenced<'d>(manual: &'d str, info: &str) -> Vec<&'d str> {
    let mut blocks = Vec::new();
    let mut rest = manual;
    let open = format!("```{info}\n");
    while let Some((_, after)) = rest.split_once(open.as_str()) {
        let (block, after) = after.split_once("```").expect("a closing fence");
        blocks.push(block);
        rest = after;
    }
    blocks
}

#[test]
fn the_manual_tells_the_truth() {
    let manual = include_str!("../../../../docs/planning.md");
    let (requirements, intents) = (fenced(manual, "requirement"), fenced(manual, "intents"));
    assert!(requirements.len() >= 4 && requirements.len() == intents.len());
    for (requirement, intents) in requirements.iter().zip(intents) {
        check(requirement, &intents.lines().collect::<Vec<_>>());
    }
}

#[test]
fn lists_nest_and_fragments_take_their_context() {
    check(
        "- Payments\n  - by card\n  - by invoice\n- Sign-in",
        &["Payments: by card", "Payments: by invoice", "Sign-in"],
    );
    check("- Users can pay\n  1. by card\n  2. Refund a payment", &["Users can pay: by card", "Refund a payment"]);
    check("We need:\n* a data table\n* an audit trail", &["a data table", "an audit trail"]);
    check("Features\n========\n1) Export data\n2) [x] REQ-7: Import data\n", &["Export data", "Import data"]);
    check(
        "- Show the list\n  of customers\n  and their orders\n\n- Sort it",
        &["Show the list of customers and their orders", "Sort it"],
    );
    check(
        "1.1 Sign-in\n  - Passkeys\n1.2 Store 1.5 GB\n1.3.1 Send mails",
        &["Sign-in: Passkeys", "Store 1.5 GB", "Send mails"],
    );
    check("> - Keep an audit trail\n> - Sign in\n", &["Keep an audit trail", "Sign in"]);
}

#[test]
fn lead_ins_and_benefits_are_dropped() {
    check("As an administrator, I want to lock accounts so that fraud stops.", &["lock accounts"]);
    check("As a user I can upload files in order to share them", &["upload files"]);
    check("The system shall be able to send mails. The app must also support SSO.", &["send mails", "support SSO"]);
    check("Must have dark mode\nShould: export CSV", &["dark mode", "export CSV"]);
    check("**The system must** [encrypt](https://example.com/a) `files`!", &["encrypt files"]);
    check("Given a customer, when she pays, then the stock is updated.", &["the stock is updated"]);
    check("Als Kunde möchte ich Rechnungen sehen, damit ich sie bezahlen kann.", &["Rechnungen sehen"]);
}

#[test]
fn clauses_are_cut_where_both_sides_stand_alone() {
    check("Store names, addresses, and bank details", &["Store names, addresses, and bank details"]);
    check("Users can search and filter lists", &["Users can search and filter lists"]);
    check("Customers can pay online and an invoice is sent", &["Customers can pay online", "an invoice is sent"]);
    check("Show prices (net, and they are rounded; always)", &["Show prices (net, and they are rounded; always)"]);
    check(
        "Staff can approve refunds, but customers cannot see them",
        &["Staff can approve refunds", "customers cannot see them"],
    );
    check(
        "Approx. 3 users, i.e. staff, sign in. Dr. Who signs too.",
        &["Approx. 3 users, i.e. staff, sign in", "Dr. Who signs too"],
    );
}

#[test]
fn what_is_no_requirement_is_left_out() {
    check("```\nlet a = 1;\n```\nKeep logs\n\n---\nhttps://example.com\n<!-- note -->\n***\n", &["Keep logs"]);
    check("", &[]);
    check(" \n\t\n# Title\n", &[]);
    check("```\nnever closed", &[]);
    check("Keep logs\n\nKEEP LOGS.\n- keep logs", &["Keep logs"]);
    check("顧客はカードで支払う。監査ログを保存する。", &["顧客はカードで支払う。", "監査ログを保存する。"]);
    check(
        "Les clients paient par carte. Le journal est conservé.",
        &["Les clients paient par carte", "Le journal est conservé"],
    );
}

#[test]
fn places_are_those_of_the_source() {
    let text = "# Ümläute\r\n\r\n- The system must größer werden, and\r\n  pay by card\r\n- Zurück gehen\r\n";
    let intents = split(text).expect("within the limits");
    let places: Vec<(&str, usize)> =
        intents.iter().map(|intent| (&text[intent.start..intent.end], intent.line)).collect();
    assert_eq!(places.last(), Some(&("Zurück gehen", 5)));
    assert!(places[0].0.contains("größer werden") && places[0].1 == 3, "{places:?}");
}

#[test]
fn too_much_is_refused() {
    assert_eq!(split(&"a".repeat(MAX_TEXT_BYTES + 1)), Err(PlanError::TextTooLong { bytes: MAX_TEXT_BYTES + 1 }));
    let lines = |count: usize| (0..count).map(|i| format!("- Keep list {i}\n")).collect::<Vec<_>>().concat();
    assert_eq!(split(&lines(MAX_INTENTS)).map(|intents| intents.len()), Ok(MAX_INTENTS));
    assert_eq!(split(&lines(MAX_INTENTS + 1)), Err(PlanError::TooManyIntents { found: MAX_INTENTS + 1 }));
    assert!(matches!(
        split(&(0..5_000).map(|i| format!("- ab{i:05}\n")).collect::<Vec<_>>().concat()),
        Err(PlanError::TooManyIntents { .. })
    ));
}

#[test]
fn hostile_texts_end() {
    for piece in [
        "and ",
        "; ",
        "the system must ",
        "As a user, I want to ",
        "> ",
        "- ",
        "((",
        "**",
        "[a](b)",
        "a, and ",
        "1. ",
        "Then ",
        "a\n\n",
        "é. ",
        "|a",
    ] {
        let text = piece.repeat(MAX_TEXT_BYTES / piece.len());
        let _ = split(&text);
    }
    let _ = split(&format!("As a {}", "so that ".repeat(8_000)));
}

fn choice(component: &str, version: &str, confidence: Option<f64>) -> Choice {
    Choice { component: component.parse().expect("a name"), version: version.parse().expect("a version"), confidence }
}

fn plan() -> Plan {
    let requirement =
        "Sign in\nShow customers in a table\nSort the table\nPredict churn # yes: {b}\nSign in with a smart card";
    let open = |pointer: &str| OpenPointer { pointer: pointer.to_owned(), description: "who\nissues".to_owned() };
    let outcomes = [
        PlannedOutcome::Minimal {
            chosen: choice("auth/sign-in", "2.0.1", Some(0.97)),
            open: vec![open("/issuer"), open("/client")],
        },
        PlannedOutcome::Zero { chosen: choice("ui/data-table", "7.4.0", None) },
        PlannedOutcome::Zero { chosen: choice("ui/data-table", "7.4.0", Some(0.9)) },
        PlannedOutcome::Raw { reason: "nothing scored above the threshold".to_owned() },
        PlannedOutcome::Minimal {
            chosen: choice("cards/sign-in", "1.0.0-rc.1", Some(1.0)),
            open: vec![open("/reader")],
        },
    ];
    let intents = split(requirement).expect("within the limits");
    assert_eq!(intents.len(), outcomes.len());
    let alternatives = vec![choice("auth/other", "1.0.0", Some(0.2))];
    let parts = intents.into_iter().zip(outcomes);
    Plan::new(
        parts.map(|(intent, outcome)| PlannedPart { intent, outcome, alternatives: alternatives.clone() }).collect(),
    )
    .expect("a plan")
}

#[test]
fn a_surface_counts_and_makes_nothing_up() {
    let plan = plan();
    let surface = plan.surface(&Estimates::default());
    assert_eq!((surface.zero, surface.minimal, surface.raw, surface.open_properties), (2, 2, 1, 3));
    assert_eq!(surface.lines, Lines::default());
    let mut estimates = Estimates { raw_lines: Some(400), configuration_lines: Some(2), ..Estimates::default() };
    assert_eq!(plan.surface(&estimates).lines, Lines { review: Some(406), all_generated: None, saved_share: None });
    estimates.generated_lines = Some(300);
    estimates.generated_lines_of = BTreeMap::from([("Sign in".to_owned(), 830)]);
    let lines = plan.surface(&estimates).lines;
    assert_eq!((lines.review, lines.all_generated), (Some(406), Some(2_030)));
    assert!(lines.saved_share.is_some_and(|share| (share - 0.8).abs() < 1e-9));
    estimates.raw_lines = None;
    assert_eq!(plan.surface(&estimates).lines.review, None);
    estimates.raw_lines_of = BTreeMap::from([(plan.parts()[3].intent.text.clone(), 10)]);
    assert_eq!(plan.surface(&estimates).lines.review, Some(16));
    let empty = Plan::default().surface(&estimates).lines;
    assert_eq!((empty.review, empty.all_generated, empty.saved_share), (Some(0), Some(0), None));
}

#[test]
fn plans_are_written_and_read_again() {
    let plan = plan();
    assert_eq!(Plan::parse("plan.yaml", plan.to_yaml().as_bytes(), Format::Auto), Ok(plan.clone()));
    assert_eq!(Plan::parse("plan.json", plan.to_json().as_bytes(), Format::Auto), Ok(plan.clone()));
    let wrong = plan.to_json().replace("0.97", "1.97");
    assert!(matches!(Plan::parse("plan.json", wrong.as_bytes(), Format::Auto), Err(PlanError::Confidence { .. })));
    let wrong = plan.to_json().replace("\"tier\": \"raw\"", "\"tier\": \"none\"");
    assert!(matches!(Plan::parse("plan.json", wrong.as_bytes(), Format::Auto), Err(PlanError::Syntax { .. })));
}

#[test]
fn a_draft_reads_as_an_assembly() {
    let draft = plan().draft(&"customer/portal".parse().expect("a name")).expect("a draft");
    let assembly = Assembly::parse("draft.yaml", draft.as_bytes(), Format::Auto)
        .unwrap_or_else(|error| panic!("{error}\n{draft}"));
    let ids: Vec<&str> = assembly.parts().iter().map(|part| part.id.as_str()).collect();
    assert_eq!(ids, ["sign-in", "data-table", "sign-in-2"]);
    for told in ["# line 1: Sign in", "# open: /issuer who issues", "# line 4: Predict churn # yes: {b}"] {
        assert!(draft.contains(told), "{told}\n{draft}");
    }
    let none = Plan::default().draft(&"customer/portal".parse().expect("a name"));
    assert_eq!(none, Err(PlanError::NothingChosen));
}

/// Texts made of what requirements are made of, and of anything.
fn requirement() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => proptest::sample::select(vec![
            "- ", "  - ", "1. ", "* [ ] ", "# ", "\n", "\n\n", "\r\n", "\t", "; ", ", and ", " and ", ", but ", ". ", ": ", "> ", "| ", "|--|",
            "```", "---", "===", "Given ", "When ", "Then ", "And ", "The system must ", "As a user, I want to ", " so that ", "We need ",
            "must ", "is ", "pay ", "by card", "users ", "e.g. ", "3. ", "Sign in", "(", ")", "\"", "`", "**", "[a](b)", "https://a.example",
            "REQ-1: ", "ü", "Es muss möglich sein, ", ", und ", "kann ", "。", "\u{200b}", "\u{301}", "👩‍💻", "Feature: ",
        ]).prop_map(str::to_owned),
        1 => "\\PC{0,12}",
        1 => "[a-z]{1,8} ",
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn any_text_is_split(text in requirement()) {
        let intents = split(&text).expect("within the limits");
        prop_assert_eq!(&intents, &split(&text).expect("within the limits"));
        let mut last = 0;
        for intent in &intents {
            prop_assert!(intent.start >= last && intent.start < intent.end && intent.end <= text.len(), "{:?}", intent);
            prop_assert!(text.is_char_boundary(intent.start) && text.is_char_boundary(intent.end));
            prop_assert_eq!(intent.line, text[..intent.start].matches('\n').count() + 1);
            last = intent.start;
            let again: Vec<String> = texts(&intent.text);
            prop_assert_eq!(again, vec![intent.text.clone()]);
        }
    }

    #[test]
    fn any_bytes_are_split(text in any::<String>()) {
        for intent in split(&text).expect("within the limits") {
            prop_assert_eq!(texts(&intent.text), vec![intent.text.clone()]);
        }
    }
}
