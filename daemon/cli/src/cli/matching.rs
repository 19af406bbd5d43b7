//! `fitment match`.

use std::process::ExitCode;

use comfy_table::Table;
use fitment_proto::v1;

use super::common::Named;
use crate::client::ServerFlags;
use crate::output;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  fitment match \"let people pay by card\"
  fitment match --top-k 3 --filter 'tag:payments and not kind:ui' \"refund an order\"
  fitment match --bind '{\"currency\": \"EUR\"}' \"let people pay by card\"
  fitment match --pin payments/card-checkout@1.2.3 --pin 'ui/data-table@^1.2' \"show paid orders\"
  fitment match --explain --json \"sign in with the company account\"

An answer that abstains (raw generation) is an answer: exit code 0.")]
pub(super) struct MatchArguments {
    /// What is needed, in plain words.
    intent: String,
    /// Candidates to show, 1 to 100.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    top_k: u32,
    /// Which components may answer, for example `kind:ui and not tag:legacy`.
    #[arg(long, value_name = "EXPRESSION")]
    filter: Option<String>,
    /// Let this component answer with this version only, or with the newest in this range (^1.2, ~1.2.3, 1.*); others are as
    /// they would be.
    #[arg(long = "pin", value_name = "NAMESPACE/NAME@VERSION")]
    pins: Vec<String>,
    /// Configuration that is already settled, as a JSON object.
    #[arg(long, value_name = "JSON")]
    bind: Option<String>,
    /// Answer from this revision of the catalogue or a later one.
    #[arg(long, value_name = "REVISION", default_value_t = 0)]
    min_revision: u64,
    /// Components that the intent may need together, 1 to 10: asks for a set.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=10))]
    set: u32,
    /// The team that asks, for the economics.
    #[arg(long, env = "FITMENT_TEAM", default_value = "")]
    team: String,
    /// Lines of code that would be generated without an answer, for the economics.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=10_000_000))]
    generated_lines: u32,
    /// Say how the answer came about.
    #[arg(long)]
    explain: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerFlags,
}

pub(super) fn run(arguments: MatchArguments) -> anyhow::Result<ExitCode> {
    let MatchArguments {
        intent,
        top_k,
        filter,
        pins,
        bind,
        min_revision,
        set,
        team,
        generated_lines,
        explain,
        json,
        server,
    } = arguments;
    let filter = pinned(filter, &pins)?;
    let bound_configuration = bind.as_deref().map(parse_binding).transpose()?;
    let request = v1::MatchRequest {
        intent,
        top_k,
        filter: filter.map(|text| v1::FilterInput { form: Some(v1::filter_input::Form::Expression(text)) }),
        bound_configuration,
        min_revision,
        vector: Vec::new(),
        set_size: set,
        team,
        generated_lines,
    };
    super::client_runtime()?.block_on(async {
        let mut client = server.matcher().await?;
        if explain {
            let request = server.request(v1::ExplainRequest { request: Some(request) });
            let response = client.explain(request).await?.into_inner();
            if json {
                return output::json(&output::message_json("fitment.v1.ExplainResponse", &response)?);
            }
            let v1::ExplainResponse { response, explanation } = response;
            show(&response.unwrap_or_default())?;
            return show_explanation(&explanation.unwrap_or_default());
        }
        let response = client.r#match(server.request(request)).await?.into_inner();
        if json {
            return output::json(&output::message_json("fitment.v1.MatchResponse", &response)?);
        }
        show(&response)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// A filter within which each pinned component has the versions of its pin.
fn pinned(filter: Option<String>, pins: &[String]) -> anyhow::Result<Option<String>> {
    let mut conditions: Vec<String> = filter.into_iter().map(|filter| format!("({filter})")).collect();
    for pin in pins {
        let fault = |what: String| output::Invalid(format!("--pin `{pin}`: {what}"));
        let Named { name, version: range, .. } = Named::read(pin);
        if range.is_empty() {
            let way_out = "names no version; write NAMESPACE/NAME@VERSION or NAMESPACE/NAME@^1.2";
            return Err(fault(way_out.into()).into());
        }
        let name: fitment_catalog::ComponentName =
            name.parse().map_err(|error: fitment_catalog::CatalogError| fault(error.to_string()))?;
        let range = if semver::Version::parse(&range).is_ok() { format!("={range}") } else { range };
        fitment_catalog::Filter::version_range(&range).map_err(|error| fault(error.to_string()))?;
        conditions.push(format!("(not name:{name} or version:\"{range}\")"));
    }
    Ok((!conditions.is_empty()).then(|| conditions.join(" and ")))
}

fn parse_binding(text: &str) -> anyhow::Result<prost_types::Struct> {
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|error| output::Invalid(format!("--bind is not JSON: {error}")))?;
    let serde_json::Value::Object(map) = value else {
        let fault = "--bind is not a JSON object; write for example '{\"currency\": \"EUR\"}'";
        return Err(output::Invalid(fault.to_owned()).into());
    };
    Ok(structure(map))
}

fn structure(map: serde_json::Map<String, serde_json::Value>) -> prost_types::Struct {
    prost_types::Struct { fields: map.into_iter().map(|(key, value)| (key, wire_value(value))).collect() }
}

fn wire_value(value: serde_json::Value) -> prost_types::Value {
    use prost_types::value::Kind;
    use serde_json::Value;
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(value),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Value::String(value) => Kind::StringValue(value),
        Value::Array(values) => {
            Kind::ListValue(prost_types::ListValue { values: values.into_iter().map(wire_value).collect() })
        }
        Value::Object(map) => Kind::StructValue(structure(map)),
    };
    prost_types::Value { kind: Some(kind) }
}

fn outcome_word(outcome: v1::Outcome) -> &'static str {
    match outcome {
        v1::Outcome::Unspecified => "unspecified",
        v1::Outcome::ZeroGeneration => "zero generation",
        v1::Outcome::MinimalGeneration => "minimal generation",
        v1::Outcome::RawGeneration => "raw generation",
        v1::Outcome::Candidates => "candidates",
    }
}

fn show(response: &v1::MatchResponse) -> anyhow::Result<()> {
    let best = response.candidates.first();
    let verdict = match (response.outcome(), best) {
        (v1::Outcome::ZeroGeneration, Some(best)) => format!("use {}@{} as it is", best.name, best.version),
        (v1::Outcome::MinimalGeneration, Some(best)) => {
            format!("use {}@{} and configure {}", best.name, best.version, best.open_properties.join(", "))
        }
        _ => response.reason.clone(),
    };
    output::line(format!(
        "outcome: {} (confidence {:.3}, in scope {:.3})\n{verdict}",
        outcome_word(response.outcome()),
        response.confidence,
        response.in_scope
    ))?;
    if let Some(set) = &response.set {
        output::line(format!(
            "together: {} ({:.0} % of the intent's words)",
            set.components.join(", "),
            set.completeness * 100.0
        ))?;
    }
    if !response.candidates.is_empty() {
        let promised = response.candidates.iter().any(|candidate| candidate.is_match);
        if !promised {
            output::line("\nnearest components, none of them a promise:")?;
        }
        output::line(candidates_table(&response.candidates))?;
    }
    let provenance = response.provenance.clone().unwrap_or_default();
    let timings = response.timings.unwrap_or_default();
    let second_stage = match provenance.second_stage.as_str() {
        "" | "off" => String::new(),
        said => format!(", second stage {said}, {:.1} ms", millis(timings.second_stage_us)),
    };
    output::line(format!(
        "decision {}, revision {}, model {}, {:.1} ms (encoder {:.1} ms{second_stage})",
        response.decision_id,
        provenance.revision,
        provenance.model,
        millis(timings.total_us),
        millis(timings.encode_us)
    ))
}

fn candidates_table(candidates: &[v1::Candidate]) -> Table {
    let mut table = output::table(&["", "component", "score", "dense", "words", "to generate", "why"]);
    for candidate in candidates {
        let why = candidate
            .matched_facet
            .as_ref()
            .map(|facet| format!("{} “{}” ({:.2})", facet.kind, output::shorten(&facet.text), facet.cosine))
            .unwrap_or_default();
        table.add_row([
            if candidate.is_match { "✔".to_owned() } else { candidate.rank.to_string() },
            match candidate.superseded_by.as_str() {
                "" => format!("{}@{}", candidate.name, candidate.version),
                successor => format!("{}@{}\n(see {successor})", candidate.name, candidate.version),
            },
            format!("{:.3}", candidate.score),
            format!("{:.3}", candidate.dense_score),
            format!("{:.3}", candidate.lexical_score),
            match candidate.generation() {
                v1::Outcome::ZeroGeneration => "nothing".to_owned(),
                _ => candidate.open_properties.join(", "),
            },
            why,
        ]);
    }
    table
}

fn show_explanation(explanation: &v1::Explanation) -> anyhow::Result<()> {
    output::line(format!(
        "\nhow: “{}”, {} tokens{}; dense search: {}, {} vectors",
        output::shorten(&explanation.normalized_intent),
        explanation.tokens,
        if explanation.truncated { " (cut)" } else { "" },
        explanation.dense_plan,
        explanation.dense_rows_visited
    ))?;
    for stage in &explanation.filter_stages {
        output::line(format!("  {}: {} taken out, {} left", stage.name, stage.excluded, stage.remaining))?;
    }
    match explanation.threshold {
        Some(threshold) => output::line(format!("  threshold {threshold:.3}: {}", explanation.calibration))?,
        None => output::line(format!("  {}", explanation.calibration))?,
    }
    for candidate in &explanation.candidates {
        let mut terms: Vec<String> = candidate
            .terms
            .iter()
            .take(6)
            .map(|hit| format!("{} in {} {:.2}", hit.term, hit.field, hit.score))
            .collect();
        if terms.is_empty() {
            terms.push("no word in common".into());
        }
        output::line(format!(
            "  {}: {} - {:.2} [{}]",
            candidate.name,
            shares(&candidate.signals),
            explanation.offset,
            terms.join(", ")
        ))?;
    }
    Ok(())
}

/// What each signal adds, those that add next to nothing left out.
fn shares(signals: &[v1::SignalShare]) -> String {
    let told = signals.iter().filter(|signal| signal.share.abs() >= 0.05);
    told.map(|signal| format!("{} {:+.2}", signal.name, signal.share)).collect::<Vec<_>>().join(" ")
}

#[expect(clippy::cast_precision_loss, reason = "durations for people")]
fn millis(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(filter: Option<&str>, pins: &[&str], expect: Option<&str>) {
        let pins: Vec<String> = pins.iter().map(|&pin| pin.to_owned()).collect();
        let found = pinned(filter.map(str::to_owned), &pins).expect("good pins");
        assert_eq!(found.as_deref(), expect);
        if let Some(found) = found {
            fitment_catalog::Filter::parse(&found).expect("a filter");
        }
    }

    #[test]
    fn pins_narrow_only_their_components() {
        check(None, &[], None);
        check(Some("kind:ui or kind:data"), &[], Some("(kind:ui or kind:data)"));
        check(None, &["a/b@1.2.3"], Some("(not name:a/b or version:\"=1.2.3\")"));
        check(Some("*"), &["a/b@>=1, <2"], Some("(*) and (not name:a/b or version:\">=1, <2\")"));
        for bad in ["a/b", "b@1.0.0", "a/b@1.2", "a/b@one"] {
            assert!(pinned(None, &[bad.to_owned()]).is_err(), "{bad}");
        }
    }
}
