//! When a version is certified: every policy for its component is satisfied at an instant, by certificates that count.
//!
//! A certificate counts for a requirement when all of this holds:
//!
//! - the version's digest is among its subjects, its type is known, and it covers the requirement;
//! - a key that signed it is in the trust root as it is now, was inside its window when the certificate was issued, and
//!   has a role for the component and the requirement;
//! - the instant is inside the certificate's validity, cut off by the policy's age;
//! - no accepted revocation names it.
//!
//! Only the third depends on the instant. So what remains of each certificate is an interval, and the next instant at
//! which the answer changes is one of their ends: callers can let a version expire by the clock, without a write.

mod standing;

use std::collections::BTreeSet;

use fitment_catalog::{ComponentName, Digest};
use jiff::{SignedDuration, Timestamp};

pub use standing::{Coverage, Finding, Reason, Standing, Support};

use crate::key::PublicKey;
use crate::predicate::{Predicate, StandardClaim};
use crate::root::{Policy, Requirement, TrustRoot};
use crate::verify::{Revocation, VerifiedCertificate};

/// Judges a version of a component at an instant. Certificates about other versions are named in the findings and not
/// counted. `revocations` are those that are recorded: each is in force, whatever its signer said about time.
///
/// A component that no policy is about is not certified.
pub fn assess(
    version: &Digest,
    component: &ComponentName,
    certificates: &[VerifiedCertificate],
    revocations: &[Revocation],
    root: &TrustRoot,
    now: Timestamp,
) -> Standing {
    let mut judge = Judge { version, component, revocations, root, findings: BTreeSet::new() };
    let revoked_by: Vec<Digest> =
        judge.in_force(|revocation| revocation.claim().version.as_ref() == Some(version)).collect();
    let demands: Vec<(&Policy, &Requirement)> = root
        .policies_for(component)
        .flat_map(|policy| policy.require.iter().map(move |requirement| (policy, requirement)))
        .collect();
    let mut backings: Vec<Vec<Backing<'_>>> = vec![Vec::new(); demands.len()];
    for certificate in certificates {
        judge.collect(certificate, &demands, now, &mut backings);
    }
    judge.note_powerless_revocations(certificates);

    let ends: BTreeSet<Timestamp> =
        backings.iter().flatten().flat_map(|backing| [backing.from, backing.until]).filter(|end| *end > now).collect();
    let covered = |demand: usize, time| keys_at(&backings[demand], time) >= demands[demand].0.threshold;
    let certified =
        |time| revoked_by.is_empty() && !demands.is_empty() && (0..demands.len()).all(|demand| covered(demand, time));
    let is_certified = certified(now);
    let requirements = demands.iter().enumerate().map(|(i, (policy, requirement))| Coverage {
        policy: policy.id.clone(),
        requirement: requirement.to_string(),
        threshold: policy.threshold,
        covered: covered(i, now),
        until: if covered(i, now) { ends.iter().copied().find(|end| !covered(i, *end)) } else { None },
        support: support(&backings[i], now),
    });
    Standing {
        certified: is_certified,
        changes_at: ends.iter().copied().find(|end| certified(*end) != is_certified),
        requirements: requirements.collect(),
        conditions: conditions(&backings, now),
        revoked_by,
        findings: judge.findings.into_iter().collect(),
        root_version: root.version(),
        root_digest: root.digest(),
    }
}

/// Something that certificates cover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Covered {
    /// A standard, one of its requirements, or a property, without regard to levels.
    pub what: Requirement,
    /// First instant at which it no longer is.
    pub until: Timestamp,
    /// Who stands behind it, at least one.
    pub support: Vec<Support>,
}

/// Everything that certificates which count at an instant cover, asked for by a policy or not; ordered. A version that was
/// revoked has nothing. Policies' thresholds and ages do not matter here.
pub fn coverage(
    version: &Digest,
    component: &ComponentName,
    certificates: &[VerifiedCertificate],
    revocations: &[Revocation],
    root: &TrustRoot,
    now: Timestamp,
) -> Vec<Covered> {
    let mut judge = Judge { version, component, revocations, root, findings: BTreeSet::new() };
    if judge.in_force(|revocation| revocation.claim().version.as_ref() == Some(version)).next().is_some() {
        return Vec::new();
    }
    let claims = certificates.iter().flat_map(|certificate| claims(certificate.statement().predicate()));
    let claims: Vec<Requirement> = claims.collect::<BTreeSet<_>>().into_iter().collect();
    let policy =
        Policy { id: String::new(), components: Vec::new(), require: Vec::new(), threshold: 1, max_age_days: None };
    let demands: Vec<(&Policy, &Requirement)> = claims.iter().map(|claim| (&policy, claim)).collect();
    let mut backings: Vec<Vec<Backing<'_>>> = vec![Vec::new(); demands.len()];
    for certificate in certificates {
        judge.collect(certificate, &demands, now, &mut backings);
    }
    let covered = claims.iter().zip(&backings).filter_map(|(what, backings)| {
        let holding = backings.iter().filter(|backing| backing.holds_at(now));
        let until = holding.map(|backing| backing.until).max()?;
        Some(Covered { what: what.clone(), until, support: support(backings, now) })
    });
    covered.collect()
}

/// What a predicate says is met, as requirements.
fn claims(predicate: &Predicate) -> Vec<Requirement> {
    let standard = |standard: &str, requirement: Option<String>| Requirement::Standard {
        standard: standard.to_owned(),
        requirement,
        levels: BTreeSet::new(),
    };
    match predicate {
        Predicate::Certification(certification) => certification
            .standards
            .iter()
            .flat_map(|claim| match claim.requirements.as_slice() {
                [] => vec![standard(&claim.standard, None)],
                ids => ids.iter().map(|id| standard(&claim.standard, Some(id.clone()))).collect(),
            })
            .collect(),
        Predicate::VerificationResult(result) => result.properties.iter().cloned().map(Requirement::Property).collect(),
        Predicate::Revocation(_) | Predicate::Other(_) => Vec::new(),
    }
}

/// One key that stands behind one requirement by one certificate, from an instant until another.
#[derive(Clone)]
struct Backing<'c> {
    certificate: &'c VerifiedCertificate,
    key: PublicKey,
    key_id: String,
    from: Timestamp,
    until: Timestamp,
}

impl Backing<'_> {
    fn holds_at(&self, time: Timestamp) -> bool {
        self.from <= time && time < self.until
    }
}

struct Judge<'a> {
    version: &'a Digest,
    component: &'a ComponentName,
    revocations: &'a [Revocation],
    root: &'a TrustRoot,
    findings: BTreeSet<Finding>,
}

impl Judge<'_> {
    fn note(&mut self, certificate: &VerifiedCertificate, reason: Reason) {
        self.findings.insert(Finding { certificate: certificate.digest(), reason });
    }

    /// The recorded revocations that `names` agrees with and whose signers could revoke for the component.
    fn in_force(&self, names: impl Fn(&Revocation) -> bool) -> impl Iterator<Item = Digest> {
        self.revocations
            .iter()
            .filter(move |revocation| names(revocation) && revocation.is_for(self.component))
            .map(Revocation::digest)
    }

    /// Adds what a certificate contributes to each demand, and notes why it does not contribute.
    fn collect<'c>(
        &mut self,
        certificate: &'c VerifiedCertificate,
        demands: &[(&Policy, &Requirement)],
        now: Timestamp,
        backings: &mut [Vec<Backing<'c>>],
    ) {
        let Some(issued) = certificate.statement().predicate().issued() else {
            let type_uri = crate::error::shorten(certificate.statement().predicate().type_uri());
            return self.note(certificate, Reason::UncountedType { type_uri });
        };
        if !certificate.statement().is_about(self.version) {
            return self.note(certificate, Reason::OtherVersion);
        }
        let digest = certificate.digest();
        let revoked = self.in_force(|revocation| revocation.claim().certificate == Some(digest)).next();
        if let Some(by) = revoked {
            return self.note(certificate, Reason::Revoked { by });
        }
        let mut asked_for = false;
        for ((policy, requirement), backings) in demands.iter().zip(backings) {
            if !covers(certificate.statement().predicate(), requirement) {
                continue;
            }
            asked_for = true;
            let until = self.lifetime(certificate, issued, policy, now);
            for key in certificate.signers() {
                match self.key_for(key, certificate, issued, requirement) {
                    Ok(key_id) => backings.push(Backing { certificate, key: *key, key_id, from: issued, until }),
                    Err(reason) => self.note(certificate, reason),
                }
            }
        }
        if !asked_for {
            self.note(certificate, Reason::NotAskedFor);
        }
    }

    /// Until when a certificate counts under a policy. Notes when it does not count at `now`.
    fn lifetime(
        &mut self,
        certificate: &VerifiedCertificate,
        issued: Timestamp,
        policy: &Policy,
        now: Timestamp,
    ) -> Timestamp {
        let valid_until = match certificate.statement().predicate() {
            Predicate::Certification(certification) => certification.valid_until,
            Predicate::VerificationResult(_) | Predicate::Revocation(_) | Predicate::Other(_) => Timestamp::MAX,
        };
        let too_old = policy.max_age_days.map_or(Timestamp::MAX, |days| {
            issued.checked_add(SignedDuration::from_hours(24 * i64::from(days))).unwrap_or(Timestamp::MAX)
        });
        if now < issued {
            self.note(certificate, Reason::NotYetValid { from: issued });
        } else if now >= valid_until {
            self.note(certificate, Reason::Expired { at: valid_until });
        } else if now >= too_old {
            self.note(certificate, Reason::TooOld { at: too_old, policy: policy.id.clone() });
        }
        valid_until.min(too_old)
    }

    /// The id under which a key may certify a requirement of the component at the time of issue, or why it may not.
    fn key_for(
        &self,
        key: &PublicKey,
        certificate: &VerifiedCertificate,
        issued: Timestamp,
        requirement: &Requirement,
    ) -> Result<String, Reason> {
        let entries: Vec<_> = self.root.keys().iter().filter(|entry| entry.public == *key).collect();
        let Some(first) = entries.first() else {
            return Err(Reason::KeyNotInRoot { key: key.id() });
        };
        let mut valid = entries.iter().filter(|entry| entry.is_valid_at(issued)).peekable();
        if valid.peek().is_none() {
            return Err(Reason::KeyOutsideWindow { key: first.id.clone(), issued });
        }
        let may = |id: &String| {
            self.root.roles().iter().any(|role| {
                let verifier_fits = match certificate.statement().predicate() {
                    Predicate::VerificationResult(result) => {
                        role.verifiers.is_empty() || role.verifiers.contains(&result.verifier)
                    }
                    Predicate::Certification(_) | Predicate::Revocation(_) | Predicate::Other(_) => true,
                };
                verifier_fits && role.keys.contains(id) && role.is_for(self.component) && role.may_certify(requirement)
            })
        };
        match valid.find(|entry| may(&entry.id)) {
            Some(entry) => Ok(entry.id.clone()),
            None => Err(Reason::OutsideRole { key: first.id.clone(), requirement: requirement.to_string() }),
        }
    }

    /// Revocations that name the version or one of its certificates, and have no force over this component.
    fn note_powerless_revocations(&mut self, certificates: &[VerifiedCertificate]) {
        let own: BTreeSet<Digest> = certificates.iter().map(VerifiedCertificate::digest).collect();
        for revocation in self.revocations.iter().filter(|revocation| !revocation.is_for(self.component)) {
            let claim = revocation.claim();
            if claim.version.as_ref() == Some(self.version)
                || claim.certificate.is_some_and(|digest| own.contains(&digest))
            {
                self.findings.insert(Finding {
                    certificate: revocation.digest(),
                    reason: Reason::RevokerOutsideRole { key: revocation.keys().join(", ") },
                });
            }
        }
    }
}

/// Whether a predicate says that a requirement is met. A standard as a whole covers each of its requirements; all the
/// requirements that somebody listed are not the standard as a whole.
fn covers(predicate: &Predicate, requirement: &Requirement) -> bool {
    match (predicate, requirement) {
        (Predicate::Certification(certification), Requirement::Standard { standard, requirement, levels }) => {
            certification.standards.iter().any(|claim: &StandardClaim| {
                claim.standard == *standard
                    && (claim.requirements.is_empty()
                        || requirement.as_ref().is_some_and(|requirement| claim.requirements.contains(requirement)))
                    && (levels.is_empty() || claim.level.as_ref().is_some_and(|level| levels.contains(level)))
            })
        }
        (Predicate::VerificationResult(result), Requirement::Property(property)) => {
            result.properties.contains(property)
        }
        _ => false,
    }
}

/// How many different keys stand behind a requirement at an instant.
fn keys_at(backings: &[Backing<'_>], time: Timestamp) -> usize {
    backings.iter().filter(|backing| backing.holds_at(time)).map(|backing| backing.key).collect::<BTreeSet<_>>().len()
}

fn support(backings: &[Backing<'_>], now: Timestamp) -> Vec<Support> {
    let support: BTreeSet<Support> = backings
        .iter()
        .filter(|backing| backing.holds_at(now))
        .map(|backing| Support {
            certificate: backing.certificate.digest(),
            key: backing.key_id.clone(),
            until: backing.until,
        })
        .collect();
    support.into_iter().collect()
}

/// The conditions of the certificates that count.
fn conditions(backings: &[Vec<Backing<'_>>], now: Timestamp) -> Vec<String> {
    let conditions: BTreeSet<&String> = backings
        .iter()
        .flatten()
        .filter(|backing| backing.holds_at(now))
        .filter_map(|backing| match backing.certificate.statement().predicate() {
            Predicate::Certification(certification) => Some(&certification.conditions),
            Predicate::VerificationResult(_) | Predicate::Revocation(_) | Predicate::Other(_) => None,
        })
        .flatten()
        .collect();
    conditions.into_iter().cloned().collect()
}
