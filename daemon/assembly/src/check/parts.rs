//! Rules about one part: it exists, is certified, lies in its ranges, is configured, licensed and connected.

use std::collections::{BTreeMap, HashSet};

use fitment_catalog::{BindingFault, Configuration, Lifecycle, Port, bind};
use jiff::SignedDuration;

use super::subject::{Resolved, Subject};
use crate::document::{ComponentPart, ExternalPart, PortAddress, Reference, Source};
use crate::facts::{Certification, VersionFacts};
use crate::finding::{Finding, Rule, Severity};

pub(super) fn check(subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    let offered = subject.all_offered();
    let connected: HashSet<&PortAddress> =
        subject.assembly.connections().iter().map(|connection| &connection.from).collect();
    for part in &subject.parts {
        match &part.part.source {
            Source::Component(component) => match &part.facts {
                Some(known) => {
                    identity(part, component, known, findings);
                    lifecycle(part, known, findings);
                    certification(subject, part, known, findings);
                    versions(subject, part, component, known, findings);
                    configuration(part, component, known, &offered, findings);
                }
                None => unknown(part, component, findings),
            },
            Source::External(external) => evidence(subject, part, external, findings),
            Source::Raw(_) => {}
        }
        licences(subject, part, findings);
        ports(part, &connected, findings);
    }
}

fn unknown(part: &Resolved<'_>, component: &ComponentPart, findings: &mut Vec<Finding>) {
    let reason = format!(
        "the catalogue has no {} that may be used here; nothing else about the part and its connections could be checked",
        component.reference
    );
    let way_out = "name a version that `fitment catalog list` shows, or ask for access";
    findings.push(Finding::new(Rule::PartUnknown, part.place(""), reason, way_out));
}

/// That the version is the one that the document names.
fn identity(part: &Resolved<'_>, component: &ComponentPart, known: &VersionFacts, findings: &mut Vec<Finding>) {
    let manifest = &known.manifest;
    let differs = match &component.reference {
        Reference::Named { name, version, digest } => {
            name != manifest.name()
                || version != manifest.version()
                || digest.is_some_and(|digest| digest != known.digest)
        }
        Reference::Digest(digest) => *digest != known.digest,
    };
    if differs {
        let reason =
            format!("the document names {}, the catalogue has {manifest} with {}", full(component), known.digest);
        let way_out = "take the digest from the catalogue, or the version that the digest belongs to";
        findings.push(Finding::new(Rule::PartMismatch, part.place(""), reason, way_out));
    }
}

fn full(component: &ComponentPart) -> String {
    match &component.reference {
        Reference::Named { digest: Some(digest), .. } => format!("{} with {digest}", component.reference),
        Reference::Named { .. } | Reference::Digest(_) => component.reference.to_string(),
    }
}

fn lifecycle(part: &Resolved<'_>, known: &VersionFacts, findings: &mut Vec<Finding>) {
    let manifest = &known.manifest;
    let (rule, way_out) = match known.lifecycle {
        Lifecycle::Certified => return,
        Lifecycle::Deprecated => (Rule::PartDeprecated, "plan for the version or component that takes its place"),
        Lifecycle::Draft | Lifecycle::Candidate => {
            (Rule::PartNotCertified, "take a certified version, or have this one reviewed")
        }
        Lifecycle::Revoked => (Rule::PartNotCertified, "take another version; revoked is final"),
    };
    let reason = format!("{manifest} is {}", known.lifecycle);
    findings.push(Finding::new(rule, part.place(""), reason, way_out));
}

fn certification(subject: &Subject<'_>, part: &Resolved<'_>, known: &VersionFacts, findings: &mut Vec<Finding>) {
    let manifest = &known.manifest;
    let mut find = |rule, reason: String, way_out: &str| {
        findings.push(Finding::new(rule, part.place(""), reason, way_out));
    };
    let until = match &known.certification {
        Certification::Certified { until } => *until,
        Certification::NotCertified { reason } => {
            let reason = format!("{manifest} is not certified: {reason}");
            return find(Rule::PartNotCertified, reason, "have it certified, or take a version that is");
        }
        Certification::Unknown { reason } => {
            let reason = format!("whether {manifest} is certified is not known: {reason}");
            return find(Rule::CertificationUnknown, reason, "check where its certificates and the trust root are");
        }
    };
    let Some(until) = until else { return };
    if until <= subject.now {
        let reason = format!("the certification of {manifest} ended at {until}");
        return find(Rule::PartNotCertified, reason, "have it certified anew, or take a version that is");
    }
    for (whose, policies) in subject.policies() {
        let Some(days) = policies.certified_for_days else { continue };
        if until.duration_since(subject.now) < SignedDuration::from_hours(24 * i64::from(days)) {
            let reason = format!("the certification of {manifest} ends at {until}; {whose} asks for {days} days more");
            find(Rule::CertificationEndsSoon, reason, "have it certified anew, or take a version that lasts longer");
        }
    }
}

fn versions(
    subject: &Subject<'_>,
    part: &Resolved<'_>,
    component: &ComponentPart,
    known: &VersionFacts,
    findings: &mut Vec<Finding>,
) {
    let manifest = &known.manifest;
    let asked = subject
        .policies()
        .into_iter()
        .filter_map(|(whose, policies)| policies.versions.get(manifest.name()).map(|range| (whose, range)));
    for (whose, range) in component.range.iter().map(|range| ("the part", range)).chain(asked) {
        if !range.contains(manifest.version()) {
            let reason = format!("{manifest} is outside the range {range} that {whose} states");
            let way_out = "take a version inside the range, or change the range";
            findings.push(Finding::new(Rule::VersionOutOfRange, part.place(""), reason, way_out));
        }
    }
}

/// That the version's closed schema accepts what is bound.
fn configuration(
    part: &Resolved<'_>,
    component: &ComponentPart,
    known: &VersionFacts,
    offered: &BTreeMap<String, &[Port]>,
    findings: &mut Vec<Finding>,
) {
    let mut refuse = |rule: &str, pointer: &str, reason: String, way_out: String| {
        let place = part.place(&format!("/configuration{pointer}"));
        let rule = format!("configuration/{rule}");
        findings.push(Finding { rule, severity: Severity::Error, place, reason, way_out });
    };
    let configuration = match Configuration::from_value(&part.part.id, &component.configuration) {
        Ok(configuration) => configuration,
        Err(error) => return refuse("size", "", error.to_string(), "bind less".to_owned()),
    };
    if let Err(faults) = bind(&known.manifest, &configuration, offered) {
        for BindingFault { pointer, rule, reason, way_out } in faults {
            refuse(&rule.to_string(), &pointer, format!("{}: {reason}", known.manifest), way_out);
        }
    }
}

/// That what an external part claims is proven, now.
fn evidence(subject: &Subject<'_>, part: &Resolved<'_>, external: &ExternalPart, findings: &mut Vec<Finding>) {
    if external.compliance.is_empty() {
        return;
    }
    let shown = part.shown();
    let place = || part.place("/external");
    if external.evidence.is_none() {
        let reason = format!("{shown} claims standards and names no document that proves it");
        let way_out = "add `evidence`, the sha256 of that document, or remove the claims";
        findings.push(Finding::new(Rule::EvidenceMissing, place(), reason, way_out));
    }
    match external.valid_until {
        None => {
            let reason = format!("nothing says until when the claims of {shown} hold");
            let way_out = "add `valid_until` from the document that proves them, or remove the claims";
            findings.push(Finding::new(Rule::EvidenceMissing, place(), reason, way_out));
        }
        Some(until) if until <= subject.now => {
            let reason = format!("the proof of what {shown} claims ended at {until}");
            let way_out = "ask for the current document and state its digest and end";
            findings.push(Finding::new(Rule::EvidenceExpired, place(), reason, way_out));
        }
        Some(_) => {}
    }
}

fn licences(subject: &Subject<'_>, part: &Resolved<'_>, findings: &mut Vec<Finding>) {
    // What runs elsewhere is not distributed with the application.
    if matches!(part.part.source, Source::External(_)) || !part.is_known() {
        return;
    }
    for (whose, policies) in subject.policies() {
        let Some(policy) = &policies.licenses else { continue };
        let Some(license) = part.license() else {
            let reason = format!("{} states no licence, and {whose} has a policy on licences", part.shown());
            let way_out = "state `license`, for own code LicenseRef-NAME";
            findings.push(Finding::new(Rule::LicenseUnknown, part.place(""), reason, way_out));
            continue;
        };
        if let Err(refused) = policy.permits(license) {
            let reason =
                format!("{} is under {license}, and {whose} does not allow {}", part.shown(), refused.join(" and "));
            let way_out = "take a part under an allowed licence, or have the policy changed";
            findings.push(Finding::new(Rule::LicenseNotAllowed, part.place(""), reason, way_out));
        }
    }
}

/// That each required port is connected.
fn ports(part: &Resolved<'_>, connected: &HashSet<&PortAddress>, findings: &mut Vec<Finding>) {
    for port in part.requires().unwrap_or_default() {
        let address = PortAddress { part: part.part.id.clone(), port: port.name().to_owned() };
        if !port.optional() && !connected.contains(&address) {
            let authentication = port.authentication();
            let reason = format!("{} requires `{address}`, and nothing is connected to it", part.shown());
            let way_out = format!("connect it to a port that offers {} with {authentication}", port.protocol());
            findings.push(Finding::new(Rule::PortUnconnected, part.place(""), reason, way_out));
        }
    }
}
