//! in-toto Statement v1: which artefacts, and what is said of them.
//!
//! Fields that this reader does not know are ignored, here and in predicates, as in-toto asks: a statement may only say
//! more with them, never less. So a field that restricts what a certificate says needs a new predicate type, and a
//! predicate type that is not known is never counted.

use fitment_catalog::Digest;
use serde_json::{Map, Value, json};

use crate::place::Place;
use crate::predicate::Predicate;
use crate::{TrustError, json};

/// The type of statements that are read.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";

/// Largest statement that is read or signed, in bytes: with base64 and its signatures it fits into an envelope.
const MAX_STATEMENT_BYTES: usize = 704 * 1024;
const MAX_SUBJECTS: usize = 1_024;
const WHAT: &str = "statement";

/// A claim about some artefacts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    subjects: Vec<Subject>,
    predicate: Predicate,
}

/// An artefact that a statement is about. Only the digest decides which one that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// A name for people, such as `payments/card-checkout@1.2.0`. Anybody may write any name: it decides nothing.
    pub name: Option<String>,
    /// Its sha256. Absent when the statement names it by other digests only, which are not looked at.
    pub digest: Option<Digest>,
}

impl Statement {
    /// Reads the bytes that an envelope carries.
    ///
    /// # Errors
    /// [`TrustError::TooLarge`], [`TrustError::Json`] or [`TrustError::Invalid`], the last also for a known predicate type
    /// whose predicate breaks its rules.
    pub fn parse(payload: &[u8]) -> Result<Self, TrustError> {
        if payload.len() > MAX_STATEMENT_BYTES {
            return Err(TrustError::TooLarge {
                what: WHAT,
                bytes: payload.len(),
                limit: MAX_STATEMENT_BYTES,
                way_out: "name large evidence by its digest",
            });
        }
        let value = json::read(WHAT, payload)?;
        let statement = Place::root(WHAT, &value);
        let kind = statement.required("_type")?;
        if kind.text()? != STATEMENT_TYPE {
            return Err(kind.error(format!("is not `{STATEMENT_TYPE}`; write a Statement v1")));
        }
        let subjects = statement.required("subject")?.items(1..=MAX_SUBJECTS)?;
        let subjects: Vec<Subject> = subjects.iter().map(subject).collect::<Result<_, _>>()?;
        let predicate_type = statement.required("predicateType")?.text()?;
        // in-toto takes an absent predicate for an empty one.
        let empty = Value::Object(Map::new());
        let predicate = statement.optional("predicate")?;
        let predicate = match &predicate {
            Some(predicate) => Predicate::read(predicate_type, predicate)?,
            None => Predicate::read(predicate_type, &Place::root("predicate", &empty))?,
        };
        let statement_of_targets = Self { subjects, predicate };
        statement_of_targets.check_targets(&statement)?;
        Ok(statement_of_targets)
    }

    /// What a revocation revokes must be among the subjects, so that tools that know in-toto alone see what it is about.
    fn check_targets(&self, place: &Place<'_>) -> Result<(), TrustError> {
        let Predicate::Revocation(revocation) = &self.predicate else {
            return Ok(());
        };
        match revocation.version.iter().chain(&revocation.certificate).find(|target| !self.is_about(target)) {
            None => Ok(()),
            Some(target) => {
                Err(place.error(format!("{target} is revoked and is no subject; name it in `subject` as well")))
            }
        }
    }

    /// The bytes of a statement to be signed: compact JSON.
    ///
    /// # Errors
    /// As [`Statement::parse`], which reads what was written.
    pub fn compose(subjects: &[Subject], predicate_type: &str, predicate: &Value) -> Result<Vec<u8>, TrustError> {
        let subject = |subject: &Subject| {
            let mut fields = Map::new();
            if let Some(name) = &subject.name {
                fields.insert("name".to_owned(), name.clone().into());
            }
            let digest = subject.digest.map(|digest| digest.to_hex());
            fields.insert("digest".to_owned(), digest.map_or(json!({}), |digest| json!({ "sha256": digest })));
            Value::Object(fields)
        };
        let payload = json::write(&json!({
            "_type": STATEMENT_TYPE,
            "subject": subjects.iter().map(subject).collect::<Vec<_>>(),
            "predicateType": predicate_type,
            "predicate": predicate,
        }));
        Self::parse(&payload)?;
        Ok(payload)
    }

    /// Whether one of the subjects has this digest.
    pub fn is_about(&self, digest: &Digest) -> bool {
        self.subjects.iter().any(|subject| subject.digest.as_ref() == Some(digest))
    }

    /// The artefacts, at least one.
    pub fn subjects(&self) -> &[Subject] {
        &self.subjects
    }

    /// What is said of them.
    pub fn predicate(&self) -> &Predicate {
        &self.predicate
    }
}

fn subject(place: &Place<'_>) -> Result<Subject, TrustError> {
    let name = place.optional("name")?.map(|name| name.text()).transpose()?;
    let sha256 = place.required("digest")?.optional("sha256")?.map(|digest| digest.text()).transpose()?;
    // A digest in another form, such as upper case, equals no version's digest.
    let digest = sha256.and_then(|hex| format!("sha256:{hex}").parse().ok());
    Ok(Subject { name: name.map(str::to_owned), digest })
}
