//! Between assemblies on the wire and the engine's. Every conversion names every field, so that a new one stops the build.

use fitment_assembly::{
    Claim, Counters, Economics, Estimates, Figures, Finding, Lines, Lock, Outcome as Moved, PartUpgrade, Period, Place,
    Remedy, Severity, Step, Surface, TreeEntry, TreeFile,
};
use fitment_catalog::{BindingFault, Bound, Digest, LeftOut, PortBinding, Uncovered};
use fitment_engine::{
    AskedImpact, AssemblyChange, AssemblyPlan, AssemblyPolicies, CedarText, CheckedAssembly, ConfigurationForm,
    EngineError, KeptAssembly, LockedAssembly, PackedContext, PartNeed, PlanQuery, PlannedIntent, ProposedUpgrade,
    SchemaForm,
};
use fitment_proto::v1;
use similar::TextDiff;

use crate::rpc::{convert, count};

/// Longest id of a key.
const MAX_KEY_BYTES: usize = 256;
/// Lines around a difference.
const CONTEXT_LINES: usize = 3;

pub(super) fn plan_query(request: v1::PlanAssemblyRequest) -> Result<PlanQuery, EngineError> {
    let v1::PlanAssemblyRequest { requirement, intents, filter, alternatives, estimates, team, name } = request;
    let v1::PlanEstimates { raw_lines, raw_lines_of, configuration_lines, generated_lines, generated_lines_of } =
        estimates.unwrap_or_default();
    Ok(PlanQuery {
        requirement,
        intents,
        filter: convert::filter_input(filter)?,
        alternatives: alternatives as usize,
        estimates: Estimates {
            raw_lines,
            raw_lines_of: raw_lines_of.into_iter().collect(),
            configuration_lines,
            generated_lines,
            generated_lines_of: generated_lines_of.into_iter().collect(),
        },
        team,
        name: if name.is_empty() { None } else { Some(convert::component_name(&name)?) },
    })
}

pub(super) fn plan(plan: AssemblyPlan) -> v1::PlanAssemblyResponse {
    let AssemblyPlan { parts, surface, draft, revision } = plan;
    let Surface { zero, minimal, raw, open_properties, lines } = surface;
    let Lines { review, all_generated, saved_share } = lines;
    v1::PlanAssemblyResponse {
        parts: parts.into_iter().map(planned_part).collect(),
        surface: Some(v1::GenerationSurface {
            zero: count(zero),
            minimal: count(minimal),
            raw: count(raw),
            open_properties: count(open_properties),
            review_lines: review,
            all_generated_lines: all_generated,
            saved_share,
        }),
        draft_yaml: draft,
        revision,
    }
}

fn planned_part(planned: PlannedIntent) -> v1::PlannedPart {
    let PlannedIntent { intent, answer, part } = planned;
    let mut components = answer.candidates.iter().map(|candidate| v1::PlannedComponent {
        name: candidate.version.card.name.to_string(),
        version: candidate.version.card.version.to_string(),
        digest: candidate.version.card.digest.to_string(),
        title: candidate.version.card.title.clone(),
        summary: candidate.version.summary.clone(),
        generation: convert::outcome_to(candidate.generation) as i32,
        open_properties: candidate.open_properties.clone(),
        score: candidate.scored.score,
    });
    let is_match = answer.candidates.first().is_some_and(|first| first.is_match);
    let choice = if is_match { components.next() } else { None };
    v1::PlannedPart {
        intent: intent.text,
        start: count(intent.start),
        end: count(intent.end),
        outcome: convert::outcome_to(answer.outcome) as i32,
        confidence: answer.confidence,
        part,
        choice,
        alternatives: components.collect(),
        reason: answer.reason,
        decision_id: answer.decision_id.to_string(),
    }
}

pub(super) fn context_pack(packed: PackedContext) -> v1::ContextPack {
    let PackedContext { pack, tokenizer } = packed;
    let fitment_catalog::ContextPack { text, tokens, included, left_out } = pack;
    let piece = |(component, piece): (String, fitment_catalog::PackPiece)| v1::ContextPiece {
        component,
        piece: piece.to_string(),
        tokens: 0,
    };
    let left = |LeftOut { part, piece, tokens }: LeftOut| v1::ContextPiece {
        component: part,
        piece: piece.to_string(),
        tokens: count(tokens),
    };
    v1::ContextPack {
        text,
        tokens: count(tokens),
        included: included.into_iter().map(piece).collect(),
        left_out: left_out.into_iter().map(left).collect(),
        tokenizer: tokenizer.to_string(),
    }
}

pub(super) fn schema_form(field: &str, value: i32) -> Result<SchemaForm, EngineError> {
    match v1::SchemaForm::try_from(value) {
        Ok(v1::SchemaForm::Unspecified) => Ok(SchemaForm::Closed),
        Ok(v1::SchemaForm::StructuredOutput) => Ok(SchemaForm::StructuredOutput),
        Ok(v1::SchemaForm::Gbnf) => Ok(SchemaForm::Gbnf),
        Err(_) => Err(convert::unknown(field, value)),
    }
}

pub(super) fn configuration_form(form: ConfigurationForm) -> v1::ConfigurationForm {
    let ConfigurationForm { component, text, uncovered } = form;
    let keyword = |Uncovered { pointer, keyword }| v1::UncoveredKeyword { pointer, keyword };
    v1::ConfigurationForm {
        text,
        uncovered: uncovered.into_iter().map(keyword).collect(),
        component_digest: component.to_string(),
    }
}

pub(super) fn bound(component: Digest, bound: Result<Bound, Vec<BindingFault>>) -> v1::BindConfigurationResponse {
    let component_digest = component.to_string();
    match bound {
        Ok(Bound { configuration: _, canonical, digest, ports, secrets }) => {
            let port = |PortBinding { pointer, from, data_classes }: PortBinding| v1::PortBinding {
                pointer,
                from: from.to_string(),
                data_classes: data_classes.iter().map(ToString::to_string).collect(),
            };
            v1::BindConfigurationResponse {
                faults: Vec::new(),
                configuration_json: String::from_utf8_lossy(&canonical).into_owned(),
                digest: digest.to_string(),
                port_bindings: ports.into_iter().map(port).collect(),
                secret_references: secrets,
                component_digest,
            }
        }
        Err(faults) => {
            let fault = |BindingFault { pointer, rule, reason, way_out }: BindingFault| v1::BindingFault {
                pointer,
                rule: rule.to_string(),
                reason,
                way_out,
            };
            let faults = faults.into_iter().map(fault).collect();
            v1::BindConfigurationResponse { faults, component_digest, ..Default::default() }
        }
    }
}

pub(super) fn checked(checked: &CheckedAssembly) -> v1::CheckAssemblyResponse {
    let CheckedAssembly { assembly, report, revision } = checked;
    let fitment_assembly::Report { assembly: digest, policies, invariants, at, findings } = report;
    v1::CheckAssemblyResponse {
        passes: report.passes(),
        findings: findings.iter().map(finding).collect(),
        judgement: Some(v1::AssemblyJudgement {
            name: assembly.name().to_string(),
            digest: digest.to_string(),
            revision: *revision,
            policies_digest: policies.to_string(),
            invariants_digest: invariants.to_string(),
            time: Some(convert::timestamp(*at)),
        }),
    }
}

fn finding(found: &Finding) -> v1::AssemblyFinding {
    let Finding { rule, severity, place, reason, way_out } = found;
    let Place { pointer, part, connection, .. } = place;
    let severity = match severity {
        Severity::Error => v1::Severity::Error,
        Severity::Warning => v1::Severity::Warning,
        Severity::Note => v1::Severity::Note,
    };
    v1::AssemblyFinding {
        rule: rule.clone(),
        severity: severity as i32,
        pointer: pointer.clone(),
        place: connection.as_ref().or(part.as_ref()).cloned().unwrap_or_default(),
        reason: reason.clone(),
        way_out: way_out.clone(),
    }
}

pub(super) fn locked(locked: &LockedAssembly) -> v1::LockAssemblyResponse {
    let LockedAssembly { checked: judged, lock } = locked;
    let mut check = checked(judged);
    if let Err(findings) = lock {
        // Those of the check, and what only locking finds.
        let known: std::collections::BTreeSet<(String, String)> =
            check.findings.iter().map(|known| (known.rule.clone(), known.pointer.clone())).collect();
        let new = findings.iter().map(finding).filter(|new| !known.contains(&(new.rule.clone(), new.pointer.clone())));
        check.findings.extend(new.collect::<Vec<_>>());
        check.passes = false;
    }
    v1::LockAssemblyResponse { lock_yaml: lock.as_ref().map(Lock::to_yaml).unwrap_or_default(), check: Some(check) }
}

pub(super) fn kept(kept: KeptAssembly) -> v1::AssemblyRecord {
    let KeptAssembly { name, digest, owner, time, actor, etag, parts, checked: judged } = kept;
    let (document, check) = match judged {
        Some((document, judged)) => (document, Some(checked(&judged))),
        None => (Vec::new(), None),
    };
    v1::AssemblyRecord {
        name: name.to_string(),
        digest: digest.to_string(),
        document,
        time: Some(convert::timestamp(time)),
        actor,
        etag,
        check,
        parts,
        owner: owner.unwrap_or_default(),
    }
}

pub(super) fn target(target: Option<v1::ImpactTarget>) -> Result<AskedImpact, EngineError> {
    use v1::impact_target::Target;
    let absent =
        || EngineError::field("target", "is absent; name a component, a version, a certificate, a key or a standard");
    Ok(match target.and_then(|target| target.target).ok_or_else(absent)? {
        Target::Component(name) => AskedImpact::Component(convert::component_name(&name)?),
        Target::Version(text) => AskedImpact::Version(text),
        Target::Certificate(text) => AskedImpact::Certificate(
            text.parse().map_err(|error| EngineError::field("target.certificate", format!("{error}")))?,
        ),
        Target::Key(id) => {
            if id.is_empty() || id.len() > MAX_KEY_BYTES || !id.chars().all(|c| c.is_ascii_graphic()) {
                let fault = format!("is no key's id; write 1 to {MAX_KEY_BYTES} letters, digits and signs");
                return Err(EngineError::field("target.key", fault));
            }
            AskedImpact::Key(id)
        }
        Target::Standard(standard) => {
            let claim = standard.parse::<Claim>().map_err(|error| EngineError::field("target.standard", error))?;
            AskedImpact::Standard(claim.to_string())
        }
    })
}

/// A part whose need is not worked out.
pub(super) fn part_in_use(part: String, component: &str) -> v1::PartImpact {
    v1::PartImpact { part, component: component.to_owned(), ..Default::default() }
}

pub(super) fn part_impact(part: String, need: PartNeed) -> v1::PartImpact {
    let PartNeed { component, remedy } = need;
    let known = part_in_use(part, &component);
    let Some(remedy) = remedy else { return known };
    let word = match &remedy {
        Remedy::Compatible(_) => v1::Remedy::Compatible,
        Remedy::Rebind(_) => v1::Remedy::Rebind,
        Remedy::Supersede(_) => v1::Remedy::Supersede,
        Remedy::Nothing => v1::Remedy::Nothing,
    };
    v1::PartImpact {
        remedy: word as i32,
        replacement: remedy.step().map(ToString::to_string).unwrap_or_default(),
        changes: remedy.step().map(changes).unwrap_or_default(),
        ..known
    }
}

/// What would have to change with a step, a line each.
fn changes(step: &Step) -> Vec<String> {
    let rebind = step
        .bindings
        .iter()
        .map(|binding| format!("bind {} anew ({}): {}", shown_pointer(&binding.pointer), binding.rule, binding.reason));
    rebind.chain(step.misfits.iter().cloned()).collect()
}

fn shown_pointer(pointer: &str) -> &str {
    if pointer.is_empty() { "the configuration" } else { pointer }
}

pub(super) fn event(change: AssemblyChange) -> v1::AssemblyEvent {
    let AssemblyChange { assembly, cause, parts, passes, errors, revision } = change;
    v1::AssemblyEvent {
        assembly: assembly.to_string(),
        cause,
        parts,
        passes,
        findings: errors.iter().map(finding).collect(),
        revision,
    }
}

pub(super) fn upgrade(proposed: &ProposedUpgrade) -> v1::UpgradeAssemblyResponse {
    let ProposedUpgrade { before, upgrade, lock } = proposed;
    let (old, new) = (before.assembly.to_yaml(), upgrade.assembly.to_yaml());
    let name = before.assembly.name();
    let diff = TextDiff::from_lines(&old, &new)
        .unified_diff()
        .context_radius(CONTEXT_LINES)
        .header(&format!("a/{name}"), &format!("b/{name}"))
        .to_string();
    let part = |part: &PartUpgrade| {
        let PartUpgrade { part, from, outcome } = part;
        let (to, notes) = match outcome {
            Moved::Moved(step) => (step.to_string(), changes(step)),
            Moved::Kept => (from.clone(), Vec::new()),
            Moved::Nothing => (String::new(), vec!["nothing certified is left".to_owned()]),
        };
        v1::PartChange { part: part.clone(), from: from.clone(), to, notes }
    };
    let check = CheckedAssembly {
        assembly: upgrade.assembly.clone(),
        report: upgrade.report.clone(),
        revision: before.revision,
    };
    v1::UpgradeAssemblyResponse {
        document_yaml: new.clone(),
        lock_yaml: lock.as_ref().map(Lock::to_yaml).unwrap_or_default(),
        changes: upgrade.parts.iter().map(part).filter(|change| change.from != change.to).collect(),
        check: Some(checked(&check)),
        diff,
    }
}

pub(super) fn policies(policies: AssemblyPolicies) -> v1::AssemblyPolicies {
    let AssemblyPolicies { policies_json, policies_digest, cedar, invariants_digest, starter, time, actor, etag } =
        policies;
    v1::AssemblyPolicies {
        policies_json,
        policies_digest: policies_digest.to_string(),
        cedar: cedar.into_iter().map(|CedarText { name, text }| v1::CedarFile { name, text }).collect(),
        invariants_digest: invariants_digest.to_string(),
        starter,
        time: time.map(convert::timestamp),
        actor,
        etag,
    }
}

pub(super) fn period(value: i32) -> Result<Period, EngineError> {
    match v1::EconomicsPeriod::try_from(value) {
        Ok(v1::EconomicsPeriod::Unspecified | v1::EconomicsPeriod::Day) => Ok(Period::Day),
        Ok(v1::EconomicsPeriod::Week) => Ok(Period::Week),
        Ok(v1::EconomicsPeriod::Month) => Ok(Period::Month),
        Err(_) => Err(convert::unknown("period", value)),
    }
}

pub(super) fn economics(rows: &[Counters], period: Period) -> v1::GetEconomicsResponse {
    let economics = Economics::of(rows, period);
    let row = |from: String, team: String, figures: &Figures| {
        let Figures { zero, minimal, raw, lines_saved, gaps_closed, context_tokens } = *figures;
        v1::EconomicsRow {
            from,
            team,
            zero,
            minimal,
            raw,
            lines_not_generated: lines_saved,
            gaps_closed,
            context_tokens,
            ..Default::default()
        }
    };
    let rows = economics.groups.iter().map(|group| v1::EconomicsRow {
        to: period.end(group.start).to_string(),
        ..row(group.start.to_string(), group.team.clone(), &group.figures)
    });
    v1::GetEconomicsResponse { rows: rows.collect(), total: Some(row(String::new(), String::new(), &economics.total)) }
}

/// What lies in a tree.
pub(super) fn tree_entry(at: usize, file: v1::TreeFile) -> Result<(String, TreeEntry), EngineError> {
    let v1::TreeFile { path, sha256, lines, link_target, other } = file;
    if !link_target.is_empty() {
        return Ok((path, TreeEntry::Link { target: link_target }));
    }
    if !other.is_empty() {
        return Ok((path, TreeEntry::Other { what: other }));
    }
    let digest: [u8; 32] = sha256.try_into().map_err(|given: Vec<u8>| {
        EngineError::field(format!("tree[{at}].sha256"), format!("has {} bytes; send the 32 of a sha256", given.len()))
    })?;
    Ok((path, TreeEntry::File(TreeFile { digest: Digest::from_bytes(digest), lines })))
}

/// An instant that a caller names.
pub(super) fn instant(field: &str, time: prost_types::Timestamp) -> Result<jiff::Timestamp, EngineError> {
    jiff::Timestamp::new(time.seconds, time.nanos)
        .map_err(|error| EngineError::field(field, format!("is no instant: {error}")))
}
