//! Intents over gRPC with the Rust client.

use fitment_proto::v1;
use fitment_tests::{Daemon, manifest};
use tempfile::TempDir;
use tokio_stream::StreamExt;

/// A daemon with five small components.
pub(crate) async fn small_catalog() -> anyhow::Result<(TempDir, Daemon)> {
    let folder = tempfile::tempdir()?;
    let daemon = Daemon::serve(folder.path(), &[])?;
    let mut catalog = daemon.catalog().await?;
    let components = [
        manifest("payments/card-checkout", "1.0.0", "Takes a card payment from a buyer in the checkout."),
        manifest("storage/backup", "2.1.0", "Copies databases every night and restores them on request."),
        manifest("ui/data-table", "1.4.0", "Shows rows and columns that people sort and filter.")
            .replace("kind: service", "kind: ui"),
        manifest("messaging/sms", "0.9.0", "Sends short text messages to phones.")
            .replace("[tests]", "[tests, legacy]"),
        manifest("messaging/draft", "0.1.0", "Sends short text messages to phones, soon.")
            .replace("certified", "draft"),
    ];
    for component in components {
        create(&mut catalog, component).await?;
    }
    Ok((folder, daemon))
}

pub(crate) async fn create(
    catalog: &mut v1::catalog_service_client::CatalogServiceClient<tonic::transport::Channel>,
    manifest: String,
) -> anyhow::Result<v1::Component> {
    let request = v1::CreateComponentRequest { manifest: manifest.into_bytes(), ..Default::default() };
    Ok(catalog.create_component(request).await?.into_inner())
}

pub(crate) fn intent(text: &str) -> v1::MatchRequest {
    v1::MatchRequest { intent: text.to_owned(), ..Default::default() }
}

fn names(response: &v1::MatchResponse) -> Vec<&str> {
    response.candidates.iter().map(|candidate| candidate.name.as_str()).collect()
}

fn expression(text: &str) -> v1::FilterInput {
    v1::FilterInput { form: Some(v1::filter_input::Form::Expression(text.to_owned())) }
}

#[tokio::test]
async fn an_alias_finds_what_its_other_texts_do_not_speak_of() -> anyhow::Result<()> {
    let (_folder, daemon) = small_catalog().await?;
    let named = manifest("identity/second-factor", "1.0.0", "Asks for a six-digit code besides the password.")
        .replace("kind: service", "kind: service\naliases: [zarquon, TOTP prompt]");
    create(&mut daemon.catalog().await?, named).await?;
    let mut matcher = daemon.matcher().await?;
    let response = matcher.r#match(intent("put in zarquon")).await?.into_inner();
    assert_eq!(names(&response)[0], "identity/second-factor");
    Ok(())
}

#[tokio::test]
async fn an_intent_finds_its_component_and_promises_nothing_uncalibrated() -> anyhow::Result<()> {
    let (_folder, daemon) = small_catalog().await?;
    let mut matcher = daemon.matcher().await?;
    for (text, expect) in [
        ("let the buyer pay with a credit card", "payments/card-checkout"),
        ("restore yesterday's database", "storage/backup"),
        ("sortable grid", "ui/data-table"),
        ("text the customer's mobile", "messaging/sms"),
    ] {
        let response = matcher.r#match(intent(text)).await?.into_inner();
        assert_eq!(names(&response)[0], expect, "{text}");
        assert_eq!(response.outcome(), v1::Outcome::Candidates);
        assert!(response.reason.contains("no calibration"), "{}", response.reason);
        assert!(!names(&response).contains(&"messaging/draft"), "a draft is not certified");
        assert!(response.candidates.iter().all(|candidate| !candidate.is_match));
        let provenance = response.provenance.expect("provenance");
        assert_eq!((provenance.revision, provenance.model.as_str()), (5, fitment_tests::MODEL));
        assert!(response.timings.expect("timings").encode_us > 0);
    }
    Ok(())
}

#[tokio::test]
async fn filters_apply_inside_the_search() -> anyhow::Result<()> {
    let (_folder, daemon) = small_catalog().await?;
    let mut matcher = daemon.matcher().await?;
    for (filter, expect) in [
        ("kind:ui", vec!["ui/data-table"]),
        ("namespace:messaging", vec!["messaging/sms"]),
        ("tag:legacy or name:storage/backup", vec!["messaging/sms", "storage/backup"]),
        ("tag:tests and not tag:legacy and not kind:ui and version>=2.0.0", vec!["storage/backup"]),
        ("lifecycle:draft", vec![]),
        ("license:MIT", vec![]),
    ] {
        let request = v1::MatchRequest { filter: Some(expression(filter)), ..intent("text the customer's mobile") };
        let response = matcher.r#match(request).await?.into_inner();
        let mut found = names(&response);
        found.sort_unstable();
        assert_eq!(found, expect, "{filter}");
        if expect.is_empty() {
            assert_eq!(response.outcome(), v1::Outcome::RawGeneration, "{filter}");
        }
    }
    let tree = v1::Filter {
        condition: Some(v1::filter::Condition::Not(Box::new(v1::Filter {
            condition: Some(v1::filter::Condition::Namespace("messaging".into())),
        }))),
    };
    let filter = Some(v1::FilterInput { form: Some(v1::filter_input::Form::Tree(tree)) });
    let response =
        matcher.r#match(v1::MatchRequest { filter, ..intent("text the customer's mobile") }).await?.into_inner();
    assert_eq!(response.candidates.len(), 3);
    Ok(())
}

#[tokio::test]
async fn explain_shows_every_part() -> anyhow::Result<()> {
    let (_folder, daemon) = small_catalog().await?;
    let mut matcher = daemon.matcher().await?;
    let request = v1::MatchRequest { filter: Some(expression("not kind:ui")), ..intent("send a text message") };
    let explained = matcher.explain(v1::ExplainRequest { request: Some(request) }).await?.into_inner();
    let response = explained.response.expect("an answer");
    let explanation = explained.explanation.expect("an explanation");
    assert_eq!(explanation.normalized_intent, "send a text message");
    assert_eq!(explanation.tokens, 6);
    let stages: Vec<(&str, u64)> =
        explanation.filter_stages.iter().map(|stage| (stage.name.as_str(), stage.excluded)).collect();
    assert_eq!(stages, [("catalogue", 0), ("certified", 1), ("not kind:ui", 1), ("newest version", 0)]);
    for (candidate, parts) in response.candidates.iter().zip(&explanation.candidates) {
        assert_eq!(candidate.name, parts.name);
        let sum: f64 = parts.signals.iter().map(|signal| signal.share).sum();
        let score = 1.0 / (1.0 + (explanation.offset - sum).exp());
        assert!((candidate.score - score).abs() < 1e-6, "{}: {} is not {score}", candidate.name, candidate.score);
    }
    assert!(explanation.candidates[0].terms.iter().any(|hit| hit.term == "messag" && hit.field == "summary"));
    Ok(())
}

#[tokio::test]
async fn batch_and_stream_answer_each_intent_by_itself() -> anyhow::Result<()> {
    let (_folder, daemon) = small_catalog().await?;
    let mut matcher = daemon.matcher().await?;
    let texts = ["pay by card", " ", "nightly copies of the database"];
    let requests = texts.iter().map(|text| intent(text)).collect();
    let items = matcher.batch_match(v1::BatchMatchRequest { requests }).await?.into_inner().items;
    let outcome = |item: &v1::BatchMatchItem| match item.result.as_ref().expect("a result") {
        v1::batch_match_item::Result::Response(response) => response.candidates[0].name.clone(),
        v1::batch_match_item::Result::Error(error) => format!("{} {}", error.code, error.field_violations[0].field),
    };
    assert_eq!(items.iter().map(outcome).collect::<Vec<_>>(), ["payments/card-checkout", "3 intent", "storage/backup"]);

    let sent: Vec<v1::StreamMatchRequest> = (0..40)
        .map(|n| v1::StreamMatchRequest { id: n.to_string(), request: Some(intent(texts[n % texts.len()])) })
        .collect();
    let mut answers = matcher.stream_match(tokio_stream::iter(sent)).await?.into_inner();
    let mut seen = std::collections::BTreeMap::new();
    while let Some(answer) = answers.next().await {
        let answer = answer?;
        let ok = matches!(answer.result, Some(v1::stream_match_response::Result::Response(_)));
        seen.insert(answer.id.parse::<usize>()?, ok);
    }
    assert_eq!(seen.len(), 40);
    assert!(seen.iter().all(|(n, ok)| *ok == (n % 3 != 1)), "{seen:?}");
    Ok(())
}

#[tokio::test]
async fn a_vector_from_embed_spares_the_encoding_and_gives_the_same_answer() -> anyhow::Result<()> {
    let (_folder, daemon) = small_catalog().await?;
    let mut matcher = daemon.matcher().await?;
    let text = "let people pay by card";
    let embedded =
        matcher.embed(v1::EmbedRequest { texts: vec![text.into(), String::new()], role: 1 }).await?.into_inner();
    assert_eq!((embedded.dimension, embedded.embeddings.len()), (384, 2));
    assert_eq!(embedded.embeddings[1].tokens, 2, "an empty text has its special tokens");
    let vector = embedded.embeddings[0].vector.clone();
    let plain = matcher.r#match(intent(text)).await?.into_inner();
    let given = matcher.r#match(v1::MatchRequest { vector, ..intent(text) }).await?.into_inner();
    assert_eq!(names(&plain), names(&given));
    assert!((plain.confidence - given.confidence).abs() < 1e-5);
    assert_eq!(given.timings.expect("timings").encode_us, 0);
    Ok(())
}

#[tokio::test]
async fn the_newest_matchable_version_answers() -> anyhow::Result<()> {
    let (_folder, daemon) = small_catalog().await?;
    let mut catalog = daemon.catalog().await?;
    let mut matcher = daemon.matcher().await?;
    let newer = manifest("messaging/sms", "0.10.0", "Sends short text messages to phones.");
    let draft =
        manifest("messaging/sms", "1.0.0", "Sends short text messages to phones.").replace("certified", "draft");
    create(&mut catalog, newer).await?;
    let written = create(&mut catalog, draft).await?;
    let request = v1::MatchRequest { min_revision: written.revision, ..intent("text message") };
    let response = matcher.r#match(request).await?.into_inner();
    let versions: Vec<(&str, &str)> =
        response.candidates.iter().map(|candidate| (candidate.name.as_str(), candidate.version.as_str())).collect();
    assert_eq!(versions[0], ("messaging/sms", "0.10.0"));
    assert_eq!(versions.iter().filter(|(name, _)| *name == "messaging/sms").count(), 1);
    // Only the old version carries the tag, so with this filter it is the newest one.
    let request = v1::MatchRequest { filter: Some(expression("tag:legacy")), ..intent("text message") };
    let response = matcher.r#match(request).await?.into_inner();
    assert_eq!(response.candidates[0].version, "0.9.0");
    Ok(())
}

#[tokio::test]
async fn bound_configuration_tells_zero_from_minimal() -> anyhow::Result<()> {
    let (_folder, daemon) = small_catalog().await?;
    let mut catalog = daemon.catalog().await?;
    let schema = "config_schema: {type: object, additionalProperties: false, required: [currency], \
                  properties: {currency: {type: string, enum: [EUR, USD], description: what buyers pay in}}}\n";
    create(&mut catalog, manifest("payments/link", "1.0.0", "A link by mail that a buyer opens to pay.") + schema)
        .await?;
    let mut matcher = daemon.matcher().await?;
    let bind = |value: &str| {
        let kind = Some(prost_types::value::Kind::StringValue(value.to_owned()));
        let fields = [("currency".to_owned(), prost_types::Value { kind })];
        Some(prost_types::Struct { fields: fields.into_iter().collect() })
    };
    for (bound_configuration, generation, open) in [
        (None, v1::Outcome::MinimalGeneration, vec!["/currency"]),
        (bind("EUR"), v1::Outcome::ZeroGeneration, vec![]),
        (bind("chickens"), v1::Outcome::MinimalGeneration, vec!["/currency"]),
    ] {
        let request = v1::MatchRequest { bound_configuration, ..intent("payment link by mail") };
        let best = matcher.r#match(request).await?.into_inner().candidates.remove(0);
        assert_eq!(best.name, "payments/link");
        assert_eq!(
            (best.generation(), best.open_properties.iter().map(String::as_str).collect::<Vec<_>>()),
            (generation, open)
        );
        assert!(best.config_schema_json.contains("currency"));
    }
    Ok(())
}

#[tokio::test]
async fn several_components_together_and_languages_that_the_model_does_not_speak() -> anyhow::Result<()> {
    let (_folder, daemon) = small_catalog().await?;
    let mut matcher = daemon.matcher().await?;
    let wanted = "send a text message and take a card payment";
    let answer = matcher.r#match(v1::MatchRequest { set_size: 3, ..intent(wanted) }).await?.into_inner();
    let set = answer.set.expect("a set was asked for");
    assert!((1..=3).contains(&set.components.len()), "{set:?}");
    assert_eq!(set.components[0], answer.candidates[0].name);
    assert!((0.0..=1.0).contains(&set.completeness) && set.completeness > 0.0, "{set:?}");
    assert_eq!(matcher.r#match(intent(wanted)).await?.into_inner().set, None);
    let error = matcher.r#match(v1::MatchRequest { set_size: 11, ..intent(wanted) }).await.expect_err("too many");
    assert!(error.message().contains("11"), "{error}");
    for (text, foreign) in [
        ("Ich brauche ein Formular, mit dem Kunden mit Karte bezahlen können", true),
        ("Necesito un formulario para que los clientes paguen con tarjeta", true),
        ("お客様がカードで支払えるフォームが必要です", true),
        ("a form with which customers can pay by card", false),
    ] {
        let answer = matcher.r#match(intent(text)).await?.into_inner();
        assert_eq!(!answer.foreign_language.is_empty(), foreign, "{text}: {}", answer.foreign_language);
        assert_eq!(answer.outcome(), v1::Outcome::Candidates, "{text}");
    }
    Ok(())
}
