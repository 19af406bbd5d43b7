//! What was acknowledged survives SIGKILL; what is damaged is refused or rebuilt.

use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use fitment_proto::v1;
use fitment_tests::{Daemon, MODEL, copy_folder, fitment, manifest, run, text};

use crate::matching::{create, intent};

#[tokio::test]
async fn sigkill_during_an_import_loses_nothing_acknowledged() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut acknowledged = Vec::new();
    // Killed at three places of the same import, each time on top of what the last life left.
    for stop_after in [1, 70, 200] {
        let daemon = Daemon::serve(folder.path(), &[])?;
        let mut catalog = daemon.catalog().await?;
        let items = (0..400).map(|n| v1::ImportComponentsRequest {
            manifest: manifest(&format!("bulk/part-{n}"), "1.0.0", &format!("Part number {n}.")).into_bytes(),
            ..Default::default()
        });
        let mut results = catalog.import_components(tokio_stream::iter(items)).await?.into_inner();
        let mut seen = 0;
        while let Ok(Some(item)) = results.message().await {
            acknowledged.push((item.name, item.digest));
            seen += 1;
            if seen == stop_after {
                break;
            }
        }
        daemon.kill()?;
        let daemon = Daemon::serve(folder.path(), &[])?;
        let mut catalog = daemon.catalog().await?;
        for (name, digest) in &acknowledged {
            let request = v1::GetComponentRequest { name: name.clone(), ..Default::default() };
            assert_eq!(&catalog.get_component(request).await?.into_inner().digest, digest, "{name}");
        }
        // What is stored is also found: store and indexes agree after the crash.
        let info = daemon.info().await?.get_server_info(v1::GetServerInfoRequest {}).await?.into_inner();
        let stored = info.catalog.expect("a catalogue");
        assert_eq!(stored.versions, stored.vectors);
        let (last, _) = acknowledged.last().expect("something was acknowledged");
        let filter = v1::filter_input::Form::Expression(format!("name:{last}"));
        let request =
            v1::MatchRequest { filter: Some(v1::FilterInput { form: Some(filter) }), ..intent("part number") };
        let response = daemon.matcher().await?.r#match(request).await?.into_inner();
        assert_eq!(&response.candidates[0].name, last);
        assert!(response.candidates[0].lexical_score > 0.0, "the words are indexed too");
        daemon.kill()?;
    }
    Ok(())
}

/// A data folder with one component.
async fn one_component() -> anyhow::Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    let daemon = Daemon::serve(folder.path(), &[])?;
    create(&mut daemon.catalog().await?, manifest("storage/backup", "1.0.0", "Copies databases every night.")).await?;
    daemon.terminate()?;
    daemon.wait().await?;
    Ok(folder)
}

#[tokio::test]
async fn half_a_store_is_refused_with_the_way_out() -> anyhow::Result<()> {
    let folder = one_component().await?;
    let store = folder.path().join("catalog.redb");
    let whole = std::fs::read(&store)?;
    for length in [whole.len() / 2, 100, 4096, 0] {
        std::fs::write(&store, &whole[..length])?;
        let output = fitment()?.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(folder.path()).output()?;
        assert_eq!(output.status.code(), Some(7), "{length} bytes: {}", text(&output.stderr));
        let message = text(&output.stderr);
        assert!(message.contains("is damaged") && message.contains("restore it"), "{message}");
    }
    std::fs::write(&store, b"this is not a store at all")?;
    let output = fitment()?.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(folder.path()).output()?;
    assert_eq!(output.status.code(), Some(7), "{}", text(&output.stderr));
    // The daemon that refused changed nothing: the whole file serves again.
    std::fs::write(&store, &whole)?;
    let daemon = Daemon::serve(folder.path(), &[])?;
    let response = daemon.matcher().await?.r#match(intent("nightly copy")).await?.into_inner();
    assert_eq!(response.candidates[0].name, "storage/backup");
    Ok(())
}

#[tokio::test]
async fn damaged_indexes_are_rebuilt_from_the_store() -> anyhow::Result<()> {
    let folder = one_component().await?;
    let lexical = folder.path().join("index/lexical");
    for entry in std::fs::read_dir(&lexical)? {
        let path = entry?.path();
        if path.is_file() && path.metadata()?.len() > 0 {
            flip_a_byte(&path)?;
        }
    }
    std::fs::write(folder.path().join("index/dense.segment"), b"FITMENT? no")?;
    let daemon = Daemon::serve(folder.path(), &[])?;
    let response = daemon.matcher().await?.r#match(intent("databases copied at night")).await?.into_inner();
    assert_eq!(response.candidates[0].name, "storage/backup");
    assert!(response.candidates[0].lexical_score > 0.0);
    Ok(())
}

fn flip_a_byte(path: &Path) -> anyhow::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let middle = path.metadata()?.len() / 2;
    let mut byte = [0];
    file.seek(SeekFrom::Start(middle))?;
    file.read_exact(&mut byte)?;
    file.seek(SeekFrom::Start(middle))?;
    file.write_all(&[byte[0] ^ 0x55])?;
    Ok(())
}

#[test]
fn one_store_has_one_daemon() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let _daemon = Daemon::serve(folder.path(), &[])?;
    let output = fitment()?.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(folder.path()).output()?;
    assert_eq!(output.status.code(), Some(6), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("in use by another process"));
    Ok(())
}

/// A copy of the default model's folder, under a models folder of its own.
fn copied_model() -> anyhow::Result<tempfile::TempDir> {
    fitment_tests::pull_model()?;
    let listed: serde_json::Value = serde_json::from_slice(&run(&["model", "list", "--json"])?.stdout)?;
    let model =
        listed.as_array().into_iter().flatten().find(|model| model["name"] == MODEL).expect("the default model");
    let from = Path::new(model["folder"].as_str().expect("a folder"));
    let models = tempfile::tempdir()?;
    let to = models.path().join(MODEL);
    copy_folder(from, &to)?;
    Ok(models)
}

#[test]
fn a_damaged_or_absent_model_stops_the_start() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let models = copied_model()?;
    let weights = models.path().join(MODEL).join("model.safetensors");
    let serve = || -> anyhow::Result<std::process::Output> {
        let mut command = fitment()?;
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(folder.path());
        Ok(command.arg("--models-dir").arg(models.path()).output()?)
    };
    flip_a_byte(&weights)?;
    let output = serve()?;
    assert_eq!(output.status.code(), Some(7), "flipped: {}", text(&output.stderr));
    let length = weights.metadata()?.len();
    OpenOptions::new().write(true).open(&weights)?.set_len(length / 2)?;
    let output = serve()?;
    assert_eq!(output.status.code(), Some(7), "truncated: {}", text(&output.stderr));
    assert!(text(&output.stderr).contains("model.safetensors"));
    std::fs::remove_dir_all(models.path().join(MODEL))?;
    let output = serve()?;
    assert_eq!(output.status.code(), Some(4), "absent: {}", text(&output.stderr));
    assert!(text(&output.stderr).contains(&format!("fitment model pull {MODEL}")));
    Ok(())
}

#[tokio::test]
async fn a_catalogue_of_another_model_is_refused() -> anyhow::Result<()> {
    let folder = one_component().await?;
    // The same weights under other prefixes are another model.
    let models = copied_model()?;
    let renamed = models.path().join("renamed");
    copy_folder(&models.path().join(MODEL), &renamed)?;
    std::fs::write(
        renamed.join("config_sentence_transformers.json"),
        r#"{"prompts": {"query": "query: ", "document": "passage: "}}"#,
    )?;
    let other = tempfile::tempdir()?;
    let imported = fitment()?
        .args(["model", "import"])
        .arg(&renamed)
        .args(["--name", "prefixed", "--models-dir"])
        .arg(other.path())
        .output()?;
    assert!(imported.status.success(), "{}", text(&imported.stderr));
    let mut command = fitment()?;
    command.args(["serve", "--listen", "127.0.0.1:0", "--model", "prefixed", "--data-dir"]).arg(folder.path());
    let output = command.arg("--models-dir").arg(other.path()).output()?;
    assert_eq!(output.status.code(), Some(6), "{}", text(&output.stderr));
    let message = text(&output.stderr);
    assert!(message.contains("embedded by") && message.contains("fitment model migrate"), "{message}");
    Ok(())
}
