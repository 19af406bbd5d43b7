//! The assembly as Cedar sees it, and what the policies say of it.

use cedar_policy::{Context, Entities, EntityId, EntityTypeName, EntityUid, Request};
use fitment_catalog::Port;
use serde_json::{Map, Value, json};

use super::subject::{Joined, Resolved, Subject};
use crate::document::{Exposure, Source};
use crate::error::one_line;
use crate::facts::Certification;
use crate::finding::{Finding, Place, Rule};
use crate::invariant::{self, InvariantSet};

/// What there is to ask about: an action, a resource and where that stands in the document.
struct Question {
    action: &'static str,
    resource: Value,
    place: Place,
}

pub(super) fn check(subject: &Subject<'_>, invariants: &InvariantSet, findings: &mut Vec<Finding>) {
    if invariants.ids().next().is_none() {
        return;
    }
    let mut entities = vec![assembly(subject)];
    let mut questions =
        vec![Question { action: "assemble", resource: of_assembly(subject), place: Place::document("") }];
    for part in subject.parts.iter().filter(|part| part.is_known()) {
        let uid = of_part(part);
        entities.push(entity(subject, &uid, self::part(subject, part)));
        questions.push(Question { action: "include", resource: uid, place: part.place("") });
    }
    for joined in subject.joined() {
        let uid = uid("Connection", &joined.connection.to_string());
        entities.push(entity(subject, &uid, connection(&joined)));
        questions.push(Question { action: "connect", resource: uid, place: joined.place });
    }
    for (i, exposure, part, port) in subject.exposed() {
        let uid = uid("Exposure", &exposure.port.to_string());
        entities.push(entity(subject, &uid, exposed(exposure, part, port)));
        let place = Place::exposure(i, &exposure.port.part, "");
        questions.push(Question { action: "expose", resource: uid, place });
    }
    let failed = |place: Place, what: &str, why: &str| {
        let way_out = "until it can be evaluated the assembly does not pass: correct the policy";
        Finding::new(Rule::InvariantFailed, place, format!("{what} could not be evaluated: {why}"), way_out)
    };
    let entities = match Entities::from_json_value(Value::Array(entities), Some(invariant::schema())) {
        Ok(entities) => entities,
        Err(error) => return findings.push(failed(Place::document(""), "the Cedar policies", &one_line(&error))),
    };
    for question in questions {
        let request = match request(subject, &question) {
            Ok(request) => request,
            Err(why) => {
                findings.push(failed(question.place, "the Cedar policies", &why));
                continue;
            }
        };
        let verdict = invariants.ask(&request, &entities);
        for (id, said) in verdict.forbidden {
            findings.push(Finding {
                rule: format!("policy/{id}"),
                severity: said.severity,
                place: question.place.clone(),
                reason: said.reason.clone(),
                way_out: said.way_out.clone(),
            });
        }
        for (id, why) in verdict.failed {
            findings.push(failed(question.place.clone(), &format!("policy `{id}`"), &why));
        }
    }
}

fn request(subject: &Subject<'_>, question: &Question) -> Result<Request, String> {
    let uid = |value: &Value| -> Result<EntityUid, String> {
        let field = |key: &str| value[key].as_str().unwrap_or_default();
        let name: EntityTypeName = field("type").parse().map_err(|error| one_line(&error))?;
        Ok(EntityUid::from_type_name_and_id(name, EntityId::new(field("id"))))
    };
    let action = json!({ "type": "Fitment::Action", "id": question.action });
    let action = uid(&action)?;
    let circumstances = json!({ "now": subject.now.as_second() });
    let context = Context::from_json_value(circumstances, Some((invariant::schema(), &action)))
        .map_err(|error| one_line(&error))?;
    Request::new(uid(&of_assembly(subject))?, action, uid(&question.resource)?, context, Some(invariant::schema()))
        .map_err(|error| one_line(&error))
}

fn uid(of_type: &str, id: &str) -> Value {
    json!({ "type": format!("Fitment::{of_type}"), "id": id })
}

fn of_assembly(subject: &Subject<'_>) -> Value {
    uid("Assembly", &subject.assembly.name().to_string())
}

fn of_part(part: &Resolved<'_>) -> Value {
    uid("Part", &part.part.id)
}

fn entity(subject: &Subject<'_>, uid: &Value, attributes: Map<String, Value>) -> Value {
    json!({ "uid": uid, "attrs": Value::Object(attributes), "parents": [of_assembly(subject)] })
}

fn assembly(subject: &Subject<'_>) -> Value {
    let assembly = subject.assembly;
    let known = || subject.parts.iter().filter(|part| part.is_known());
    let standards: Vec<String> = assembly
        .standards()
        .iter()
        .flat_map(|(standard, ids)| {
            std::iter::once(standard.clone()).chain(ids.iter().map(move |id| format!("{standard}/{id}")))
        })
        .collect();
    let tags: Vec<&str> = known().flat_map(Resolved::tags).collect();
    let mut attributes = Map::new();
    attributes.insert("name".into(), assembly.name().to_string().into());
    insert(&mut attributes, "owner", assembly.owner());
    attributes.insert("standards".into(), json!(standards));
    attributes.insert("parts".into(), json!(assembly.parts().len()));
    if let Some(lines) = known().map(lines).sum::<Option<u64>>() {
        attributes.insert("raw_lines".into(), lines.into());
    }
    attributes.insert("tags".into(), json!(tags));
    json!({ "uid": of_assembly(subject), "attrs": attributes, "parents": [] })
}

/// Lines of raw code; `None` where the document does not state them.
fn lines(part: &Resolved<'_>) -> Option<u64> {
    match &part.part.source {
        Source::Raw(raw) => raw.lines.map(u64::from),
        Source::Component(_) | Source::External(_) => Some(0),
    }
}

fn part(subject: &Subject<'_>, part: &Resolved<'_>) -> Map<String, Value> {
    let ports = part.provides().unwrap_or_default().iter().chain(part.requires().unwrap_or_default());
    let classes: Vec<&str> = ports.flat_map(Port::data_classes).map(|class| class.as_str()).collect();
    let claims: Vec<String> = part.claims.texts().collect();
    let mut attributes = Map::new();
    attributes.insert("id".into(), part.part.id.as_str().into());
    attributes.insert("source".into(), part.part.source.as_str().into());
    let mut certified = false;
    if let Some(facts) = &part.facts {
        let manifest = &facts.manifest;
        attributes.insert("component".into(), manifest.name().to_string().into());
        attributes.insert("namespace".into(), manifest.name().namespace().into());
        attributes.insert("version".into(), manifest.version().to_string().into());
        attributes.insert("kind".into(), manifest.kind().as_str().into());
        attributes.insert("lifecycle".into(), facts.lifecycle.as_str().into());
        if let Certification::Certified { until } = &facts.certification {
            certified = until.is_none_or(|until| subject.now < until);
            if let Some(until) = until {
                attributes.insert("certified_until".into(), until.as_second().into());
            }
        }
    }
    attributes.insert("certified".into(), certified.into());
    insert(&mut attributes, "license", part.license().map(fitment_catalog::License::as_str));
    insert(&mut attributes, "owner", part.owner());
    if let Source::Raw(raw) = &part.part.source {
        insert(&mut attributes, "reviewer", raw.reviewer.as_deref());
    }
    if let Some(lines) = lines(part) {
        attributes.insert("lines".into(), lines.into());
    }
    attributes.insert("tags".into(), json!(part.tags()));
    attributes.insert("claims".into(), json!(claims));
    attributes.insert("data_classes".into(), json!(classes));
    attributes.insert("secret_references".into(), json!(part.secret_references()));
    attributes
}

fn connection(joined: &Joined<'_>) -> Map<String, Value> {
    let Joined { connection, from: (from_part, from), to: (to_part, to), .. } = joined;
    let classes: Vec<&str> = connection.data_classes.iter().map(|class| class.as_str()).collect();
    let mut attributes = Map::new();
    attributes.insert("from".into(), json!({ "__entity": of_part(from_part) }));
    attributes.insert("from_port".into(), from.name().into());
    attributes.insert("to".into(), json!({ "__entity": of_part(to_part) }));
    attributes.insert("to_port".into(), to.name().into());
    attributes.insert("protocol".into(), to.protocol().into());
    attributes.insert("authentication".into(), to.authentication().as_str().into());
    attributes.insert("scopes".into(), json!(from.scopes()));
    attributes.insert("data_classes".into(), json!(classes));
    attributes
}

fn exposed(exposure: &Exposure, part: &Resolved<'_>, port: &Port) -> Map<String, Value> {
    let classes: Vec<&str> = port.data_classes().iter().map(|class| class.as_str()).collect();
    let mut attributes = Map::new();
    attributes.insert("part".into(), json!({ "__entity": of_part(part) }));
    attributes.insert("port".into(), port.name().into());
    attributes.insert("audience".into(), exposure.audience.as_str().into());
    attributes.insert("protocol".into(), port.protocol().into());
    attributes.insert("authentication".into(), port.authentication().as_str().into());
    attributes.insert("scopes".into(), json!(port.scopes()));
    attributes.insert("data_classes".into(), json!(classes));
    attributes
}

fn insert(attributes: &mut Map<String, Value>, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        attributes.insert(key.to_owned(), value.into());
    }
}
