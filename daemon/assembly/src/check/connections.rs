//! Rules about connections and exposures: both ends exist, and protocol, handshake, scopes, data and versions agree.

use std::collections::BTreeSet;

use fitment_catalog::{Authentication, DataClass, Port};

use super::subject::{Joined, Resolved, Subject, is_proven, named};
use crate::document::{PortAddress, Source};
use crate::finding::{Finding, Place, Rule};

/// Classes of data that nobody may touch who is not certified for them.
pub(crate) const PROTECTED: [DataClass; 5] =
    [DataClass::Personal, DataClass::SensitivePersonal, DataClass::Card, DataClass::Health, DataClass::Secret];

pub(super) fn check(subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    for (i, connection) in subject.assembly.connections().iter().enumerate() {
        let place = |below: &str| Place::connection(i, connection, below);
        end(subject, &connection.from, Side::Requires, place("/from"), findings);
        end(subject, &connection.to, Side::Provides, place("/to"), findings);
    }
    for (i, exposure) in subject.assembly.exposures().iter().enumerate() {
        let place = Place::exposure(i, &exposure.port.part, "/port");
        end(subject, &exposure.port, Side::Provides, place, findings);
    }
    for joined in subject.joined() {
        handshake(&joined, findings);
        version(&joined, findings);
        data(&joined, findings);
        let stated = &joined.connection.data_classes;
        for (part, port) in [joined.from, joined.to] {
            let classes = stated.iter().chain(port.data_classes()).copied().collect();
            certified_for(subject, part, &classes, &joined.place, findings);
        }
    }
    for (i, exposure, part, port) in subject.exposed() {
        let place = Place::exposure(i, &exposure.port.part, "");
        certified_for(subject, part, &port.data_classes().iter().copied().collect(), &place, findings);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Provides,
    Requires,
}

impl Side {
    fn ports<'s>(self, part: &'s Resolved<'_>) -> Option<&'s [Port]> {
        match self {
            Self::Provides => part.provides(),
            Self::Requires => part.requires(),
        }
    }

    const fn verb(self) -> &'static str {
        match self {
            Self::Provides => "provides",
            Self::Requires => "requires",
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::Provides => Self::Requires,
            Self::Requires => Self::Provides,
        }
    }
}

/// That an address leads to a port on its side.
fn end(subject: &Subject<'_>, address: &PortAddress, side: Side, place: Place, findings: &mut Vec<Finding>) {
    let Some(part) = subject.part(&address.part) else {
        let ids: Vec<&str> = subject.parts.iter().take(16).map(|part| part.part.id.as_str()).collect();
        let reason = format!("the assembly has no part `{}`", address.part);
        let way_out = format!("name a part ({}), or add it", ids.join(", "));
        findings.push(Finding::new(Rule::PartMissing, place, reason, way_out));
        return;
    };
    // An unknown part has a finding of its own.
    let Some(ports) = side.ports(part) else { return };
    if named(ports, &address.port).is_some() {
        return;
    }
    let names: Vec<&str> = ports.iter().map(Port::name).collect();
    let reason = format!("{} {} no port `{}`", part.shown(), side.verb(), address.port);
    let elsewhere = side.other().ports(part).is_some_and(|ports| named(ports, &address.port).is_some());
    let way_out = match (elsewhere, names.is_empty()) {
        (true, _) => {
            format!("it {} that port: a connection leads from a required port to an offered one", side.other().verb())
        }
        (false, true) => format!("it {} no ports; remove the entry or take another part", side.verb()),
        (false, false) => format!("it {} {}", side.verb(), names.join(", ")),
    };
    findings.push(Finding::new(Rule::PortMissing, place, reason, way_out));
}

/// Protocol, authentication and scopes.
fn handshake(joined: &Joined<'_>, findings: &mut Vec<Finding>) {
    let Joined { connection, place, from: (_, from), to: (_, to) } = joined;
    let (client, server) = (&connection.from, &connection.to);
    let mut find = |rule, reason: String, way_out: String| {
        findings.push(Finding::new(rule, place.clone(), reason, way_out));
    };
    if from.protocol() != to.protocol() {
        let reason = format!("`{client}` speaks {}, `{server}` speaks {}", from.protocol(), to.protocol());
        let way_out = "connect ports of one protocol, or put a part between them that translates".to_owned();
        find(Rule::ProtocolMismatch, reason, way_out);
    }
    let (proof, asked) = (from.authentication(), to.authentication());
    if proof != asked {
        let (rule, reason) = if proof == Authentication::None {
            (Rule::AuthenticationMissing, format!("`{server}` asks for {asked}, `{client}` does not prove who it is"))
        } else {
            (Rule::AuthenticationMismatch, format!("`{client}` authenticates with {proof}, `{server}` with {asked}"))
        };
        find(rule, reason, format!("connect `{client}` to a port with {proof}, or `{server}` to one with {asked}"));
    }
    let missing: Vec<&str> =
        from.scopes().iter().filter(|scope| !to.scopes().contains(scope)).map(String::as_str).collect();
    if !missing.is_empty() {
        let offered = if to.scopes().is_empty() { "none".to_owned() } else { to.scopes().join(", ") };
        let reason = format!("`{client}` needs the scopes {}, `{server}` offers {offered}", missing.join(", "));
        let way_out = "connect it to a port that offers them".to_owned();
        find(Rule::ScopeMissing, reason, way_out);
    }
}

/// That the answering component's version lies in the range that the connection states.
fn version(joined: &Joined<'_>, findings: &mut Vec<Finding>) {
    let Some(range) = &joined.connection.version else { return };
    let (part, _) = joined.to;
    let way_out = "take a version inside the range, or change the range";
    let reason = match &part.facts {
        Some(facts) if range.contains(facts.manifest.version()) => return,
        Some(facts) => format!("{} is outside the range {range} that the connection states", facts.manifest),
        None => format!("{} has no version, and the connection asks for {range}", part.shown()),
    };
    let place = Place { pointer: format!("{}/version", joined.place.pointer), ..joined.place.clone() };
    findings.push(Finding::new(Rule::VersionOutOfRange, place, reason, way_out));
}

/// That what the connection says about its data agrees with what both ports were certified to carry.
fn data(joined: &Joined<'_>, findings: &mut Vec<Finding>) {
    let Joined { connection, place, from: (_, from), to: (_, to) } = joined;
    let stated = &connection.data_classes;
    let place = Place { pointer: format!("{}/data_classes", place.pointer), ..place.clone() };
    let mut find = |rule, reason: String, way_out: &str| {
        findings.push(Finding::new(rule, place.clone(), reason, way_out));
    };
    for (address, port) in [(&connection.from, from), (&connection.to, to)] {
        let beyond = listed(stated.iter().filter(|class| !port.data_classes().contains(class)));
        if !beyond.is_empty() {
            let reason = format!("`{address}` is not certified to carry {beyond}");
            let way_out = "take a part whose port is, or keep these data out of the connection";
            find(Rule::DataClassNotCarried, reason, way_out);
        }
    }
    let left_out = listed(from.data_classes().iter().filter(|class| !stated.contains(class)));
    if !left_out.is_empty() {
        let reason = format!("`{}` carries {left_out}, which the connection leaves out", connection.from);
        let way_out = "list it; where the other side is not certified for it, take another part";
        find(Rule::DataClassUnderstated, reason, way_out);
    }
    let wider = to.data_classes().iter().filter(|class| PROTECTED.contains(class) && !stated.contains(class));
    let wider = listed(wider);
    if !wider.is_empty() {
        let reason = format!("`{}` also carries {wider}, which `{}` does not", connection.to, connection.from);
        let way_out = "see to it that no such data are handed out over this connection";
        find(Rule::DataClassWider, reason, way_out);
    }
}

/// That a part may touch these classes of data.
fn certified_for(
    subject: &Subject<'_>,
    part: &Resolved<'_>,
    classes: &BTreeSet<DataClass>,
    place: &Place,
    findings: &mut Vec<Finding>,
) {
    let shown = part.shown();
    let mut find = |reason: String, way_out: String| {
        findings.push(Finding::new(Rule::DataClassNotCertified, place.clone(), reason, way_out));
    };
    let protected = listed(classes.iter().filter(|class| PROTECTED.contains(class)));
    match &part.part.source {
        Source::Raw(_) if !protected.is_empty() => find(
            format!("{shown} touches {protected}, and nobody has certified it"),
            "put a certified component in its place, or keep these data away from it".to_owned(),
        ),
        Source::External(external) if !protected.is_empty() && !is_proven(external, subject.now) => find(
            format!("{shown} touches {protected}, and nothing proves that it may"),
            "state `compliance` with `evidence` and `valid_until`, or keep these data away from it".to_owned(),
        ),
        Source::Component(_) | Source::Raw(_) | Source::External(_) => {}
    }
    for (whose, policies) in subject.policies() {
        for class in classes {
            let Some(asked) = policies.data_classes.get(class) else { continue };
            if !asked.iter().any(|claim| part.claims.meet(claim)) {
                let asked: Vec<String> = asked.iter().map(ToString::to_string).collect();
                let asked = asked.join(" or ");
                find(
                    format!("{shown} touches {class}; {whose} asks for {asked}, which it does not have"),
                    format!("take a part that has {asked}, or keep these data away from it"),
                );
            }
        }
    }
}

fn listed<'c>(classes: impl Iterator<Item = &'c DataClass>) -> String {
    classes.map(|class| class.as_str()).collect::<Vec<_>>().join(", ")
}
