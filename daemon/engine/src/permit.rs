//! Who looks at the catalogue, and what of it they may see: the rest is as if it were not there.
//!
//! An [`Engine`](crate::Engine) handle has a viewer. What decides is a [`Permit`] from outside: the engine knows no roles and
//! no policies, it asks about components and keeps the answers as a set that searches are narrowed to.

use std::fmt::Debug;
use std::sync::Arc;

use fitment_catalog::{Kind, Lifecycle, Manifest};

use crate::audit::Author;
use crate::error::EngineError;
use crate::store::Card;

/// What a permit is asked about. Two versions with the same facts get the same answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ComponentFacts {
    /// The part of its name before `/`.
    pub namespace: String,
    /// What sort of thing it is.
    pub kind: Kind,
    /// Its tags, in the order of the manifest.
    pub tags: Vec<String>,
    /// Who answers for it.
    pub owner: String,
    /// Roles that may use it, as its manifest says; empty: all.
    pub access: Vec<String>,
}

/// Says which components somebody may see and touch.
pub trait Permit: Debug + Send + Sync {
    /// Names what decides: permits of the same name say the same of everything.
    fn id(&self) -> &str;

    /// Whether a component with these facts is there for its holder.
    fn permits(&self, component: &ComponentFacts) -> bool;

    /// Whether its holder may put such a component where answers promise it.
    fn certifies(&self, component: &ComponentFacts) -> bool;
}

/// Who looks.
#[derive(Clone, Debug, Default)]
pub struct Viewer {
    /// The principal that was authenticated; `None`: nobody asks who calls.
    pub principal: Option<Arc<str>>,
    /// What they may see; `None`: everything.
    pub permit: Option<Arc<dyn Permit>>,
}

impl ComponentFacts {
    pub(crate) fn of(card: &Card) -> Self {
        Self {
            namespace: card.name.namespace().to_owned(),
            kind: card.kind,
            tags: card.tags.clone(),
            owner: card.owner.as_deref().unwrap_or_default().to_owned(),
            access: card.access.as_deref().unwrap_or_default().to_vec(),
        }
    }

    fn of_manifest(manifest: &Manifest) -> Self {
        Self {
            namespace: manifest.name().namespace().to_owned(),
            kind: manifest.kind(),
            tags: manifest.tags().iter().map(ToString::to_string).collect(),
            owner: manifest.owner().to_owned(),
            access: manifest.access().to_vec(),
        }
    }
}

impl Viewer {
    /// Whether a stored version is there for the viewer.
    pub(crate) fn sees(&self, card: &Card) -> bool {
        self.permit.as_ref().is_none_or(|permit| permit.permits(&ComponentFacts::of(card)))
    }

    /// Refuses to write a component that the viewer would not see afterwards.
    pub(crate) fn may_write(&self, manifest: &Manifest) -> Result<(), EngineError> {
        let Some(permit) = &self.permit else { return Ok(()) };
        let facts = ComponentFacts::of_manifest(manifest);
        if !permit.permits(&facts) {
            return Err(EngineError::Forbidden { what: manifest.to_string() });
        }
        match manifest.lifecycle() {
            Lifecycle::Certified if !permit.certifies(&facts) => {
                Err(EngineError::CertifyingForbidden { what: manifest.to_string() })
            }
            _ => Ok(()),
        }
    }

    /// Refuses to put a stored version where answers promise it.
    pub(crate) fn may_certify(&self, card: &Card) -> Result<(), EngineError> {
        match &self.permit {
            Some(permit) if !permit.certifies(&ComponentFacts::of(card)) => {
                Err(EngineError::CertifyingForbidden { what: format!("{}@{}", card.name, card.version) })
            }
            _ => Ok(()),
        }
    }

    /// Who an act is recorded by: the principal where one is known, with whom it says that it acts for.
    ///
    /// # Errors
    /// Texts that are too long or hold control characters.
    pub fn author(&self, actor: String, reason: String) -> Result<Author, EngineError> {
        let actor = match &self.principal {
            None => actor,
            Some(principal) if actor.is_empty() || *actor == **principal => principal.to_string(),
            Some(principal) => format!("{principal} for {actor}"),
        };
        Author::new(actor, reason)
    }
}

#[cfg(test)]
mod tests {
    use fitment_catalog::Filter;

    use super::*;
    use crate::engine::Engine;
    use crate::pipeline::MatchQuery;
    use crate::store::Revision;
    use crate::testing::{create, engine_in};
    use crate::watch::LogPlace;
    use crate::writes::{Page, VersionSelector};

    /// Lets one namespace through.
    #[derive(Debug)]
    struct Only(&'static str);

    impl Permit for Only {
        fn id(&self) -> &str {
            self.0
        }

        fn permits(&self, component: &ComponentFacts) -> bool {
            component.namespace == self.0 && component.access.is_empty()
        }

        fn certifies(&self, component: &ComponentFacts) -> bool {
            component.tags.is_empty()
        }
    }

    fn manifest(name: &str, version: &str, rest: &str) -> String {
        format!(
            "name: {name}\nversion: {version}\ntitle: Card payments\nsummary: Takes card payments for {name}\nkind: service\n\
             lifecycle: certified\nlicense: MIT\nowner: o\n{rest}"
        )
    }

    fn only(engine: &Engine, namespace: &'static str) -> Engine {
        let permit: Arc<dyn Permit> = Arc::new(Only(namespace));
        engine.seen_by(Viewer { principal: Some("ada".into()), permit: Some(permit) })
    }

    async fn shown(engine: &Engine, filter: Option<Filter>) -> (Vec<String>, Vec<(String, usize, usize)>) {
        let query = MatchQuery { intent: "take card payments".into(), explain: true, filter, ..MatchQuery::default() };
        let answer = engine.match_intent(query).await.expect("an answer");
        let names = answer.candidates.iter().map(|one| one.version.card.name.to_string()).collect();
        let stages = answer.explanation.expect("an explanation").stages.into_iter();
        (names, stages.map(|stage| (stage.name, stage.excluded, stage.remaining)).collect())
    }

    /// What somebody may not see is as absent as what was never written: the same answers, counts, lists and errors.
    #[tokio::test]
    async fn what_is_not_permitted_is_as_if_it_were_not_there() {
        let (folder, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let (engine, without) = (engine_in(folder.path()), engine_in(other.path()));
        for (name, rest) in [("open/cards", ""), ("open/more", "tags: [a]\n")] {
            create(&engine, manifest(name, "1.0.0", rest)).await;
            create(&without, manifest(name, "1.0.0", rest)).await;
        }
        create(&engine, manifest("hidden/cards", "1.0.0", "supersedes: open/cards\n")).await;
        create(&engine, manifest("open/walled", "1.0.0", "access: [treasury]\n")).await;
        let narrowed = only(&engine, "open");
        for filter in [None, Some("kind:service"), Some("tag:a"), Some("namespace:hidden"), Some("not tag:a")] {
            let filter = filter.map(|text| Filter::parse(text).expect("a filter"));
            assert_eq!(shown(&narrowed, filter.clone()).await, shown(&without, filter).await);
        }
        let listed = narrowed.list(Page::default(), 0).await.expect("a list");
        assert_eq!((listed.total, listed.versions.len()), (2, 2));
        let (info, there) = (narrowed.info(), without.info());
        assert_eq!((info.versions, info.matchable), (there.versions, there.matchable));

        for name in ["hidden/cards", "open/walled", "open/never"] {
            let name: fitment_catalog::ComponentName = name.parse().expect("a name");
            let version = semver::Version::new(1, 0, 0);
            for selector in
                [VersionSelector::Newest(name.clone()), VersionSelector::Exact(name.clone(), version.clone())]
            {
                let absent = without.get(selector.clone(), 0).await.expect_err("absent").to_string();
                assert_eq!(narrowed.get(selector, 0).await.expect_err("hidden").to_string(), absent);
            }
            let bound = async |engine: &Engine| {
                let named = format!("{name}@1.0.0");
                let form = crate::SchemaForm::Closed;
                engine.configuration_form(named, form).await.expect_err("no such version").to_string()
            };
            assert_eq!(bound(&narrowed).await, bound(&without).await);
        }
        let query = MatchQuery { intent: "cards".into(), ..MatchQuery::default() };
        let answer = narrowed.match_intent(query).await.expect("an answer");
        assert!(answer.candidates.iter().all(|one| one.superseded_by.is_none()), "what supersedes it is hidden");

        let seen: Vec<Revision> = follow(&narrowed).await;
        assert_eq!(seen, follow(&without).await, "changes of what is hidden are not told");
        assert!(follow(&engine).await.len() > seen.len());
    }

    async fn follow(engine: &Engine) -> Vec<Revision> {
        let changes = engine.changes_after(LogPlace::after(0)).await.expect("changes");
        changes.into_iter().filter(|change| !change.is_hidden).map(|change| change.place.revision).collect()
    }

    #[tokio::test]
    async fn nobody_writes_or_moves_what_they_would_not_see() {
        let folder = tempfile::tempdir().expect("a folder");
        let engine = engine_in(folder.path());
        create(&engine, manifest("hidden/cards", "1.0.0", "")).await;
        let narrowed = only(&engine, "open");
        let import = |name: &str| crate::writes::Import {
            manifest: manifest(name, "2.0.0", "").into_bytes(),
            format: fitment_catalog::Format::Yaml,
            source: String::new(),
            expected_digest: String::new(),
            request_id: String::new(),
            author: Author::default(),
            allow_near_duplicate: true,
            standing: Vec::new(),
        };
        let refused = narrowed.create(import("hidden/cards")).await.expect_err("refused");
        assert_eq!(refused.classify().1, "FORBIDDEN", "{refused}");
        narrowed.create(import("open/cards")).await.expect("written");

        let draft = |lifecycle: &str| crate::writes::Import {
            manifest: manifest("open/tagged", "1.0.0", "tags: [a]\n")
                .replace("lifecycle: certified", &format!("lifecycle: {lifecycle}"))
                .into_bytes(),
            ..import("open/tagged")
        };
        let refused = narrowed.create(draft("certified")).await.expect_err("refused");
        assert_eq!(refused.classify().1, "CERTIFYING_FORBIDDEN", "{refused}");
        narrowed.create(draft("candidate")).await.expect("written");

        let standing = |name: &str| crate::store::Standing {
            name: name.parse().expect("a name"),
            version: semver::Version::new(1, 0, 0),
            etag: String::new(),
            request_id: String::new(),
            author: Author::default(),
        };
        let hidden = narrowed.delete(standing("hidden/cards")).await.expect_err("hidden").to_string();
        let absent = narrowed.delete(standing("hidden/never")).await.expect_err("absent").to_string();
        assert_eq!(hidden.replace("cards", "never"), absent);
        let hidden = narrowed.move_to(standing("hidden/cards"), fitment_catalog::Lifecycle::Revoked).await;
        assert_eq!(hidden.expect_err("hidden").classify().1, "NOT_FOUND");
        let certified = narrowed.move_to(standing("open/tagged"), fitment_catalog::Lifecycle::Certified).await;
        assert_eq!(certified.expect_err("forbidden").classify().1, "CERTIFYING_FORBIDDEN");
        engine.delete(standing("hidden/cards")).await.expect("there for who may see it");
    }

    #[test]
    fn the_principal_is_who_acts() {
        let author = |principal: Option<&str>, actor: &str| {
            let viewer = Viewer { principal: principal.map(Arc::from), permit: None };
            viewer.author(actor.to_owned(), String::new()).expect("an author").actor
        };
        assert_eq!(author(None, "somebody"), "somebody");
        assert_eq!(author(Some("ci"), ""), "ci");
        assert_eq!(author(Some("ci"), "ci"), "ci");
        assert_eq!(author(Some("ci"), "root"), "ci for root", "nobody acts under another name");
    }
}
