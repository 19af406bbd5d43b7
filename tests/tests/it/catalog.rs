//! The catalogue over gRPC: writes, reads, pages, deletes.

use fitment_proto::v1;
use fitment_tests::{Daemon, manifest};
use tonic::Code;
use tonic_types::StatusExt;

use crate::matching::{create, intent, small_catalog};

#[tokio::test]
async fn versions_are_immutable_and_writes_idempotent() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let daemon = Daemon::serve(folder.path(), &[])?;
    let mut catalog = daemon.catalog().await?;
    let first = create(&mut catalog, manifest("a/b", "1.0.0", "Does one thing.")).await?;
    let again = create(&mut catalog, manifest("a/b", "1.0.0", "Does one thing.")).await?;
    assert_eq!((first.revision, &first.digest), (again.revision, &again.digest));
    let request = |text: &str, id: &str, digest: &str| v1::CreateComponentRequest {
        manifest: manifest("a/b", "1.0.0", text).into_bytes(),
        request_id: id.to_owned(),
        expected_digest: digest.to_owned(),
        ..Default::default()
    };
    let status = catalog.create_component(request("Does another thing.", "", "")).await.expect_err("taken");
    assert_eq!(
        (status.code(), status.get_details_error_info().expect("details").reason.as_str()),
        (Code::AlreadyExists, "VERSION_TAKEN")
    );
    let status = catalog
        .create_component(request("Does one thing.", "", &format!("sha256:{}", "0".repeat(64))))
        .await
        .expect_err("digest");
    assert_eq!(
        (status.code(), status.get_details_error_info().expect("details").reason.as_str()),
        (Code::InvalidArgument, "DIGEST_MISMATCH")
    );
    catalog.create_component(request("Does one thing.", "", &first.digest)).await?;
    let mut other = request("x", "id-1", "");
    other.manifest = manifest("a/c", "1.0.0", "Third thing.").into_bytes();
    let written = catalog.create_component(other.clone()).await?.into_inner();
    assert_eq!(catalog.create_component(other).await?.into_inner().revision, written.revision);
    let status = catalog.create_component(request("Does one thing.", "id-1", "")).await.expect_err("id reused");
    assert_eq!(status.code(), Code::InvalidArgument);
    Ok(())
}

#[tokio::test]
async fn what_is_deleted_is_in_no_answer_and_its_version_stays_taken() -> anyhow::Result<()> {
    let (folder, daemon) = small_catalog().await?;
    let mut catalog = daemon.catalog().await?;
    let mut matcher = daemon.matcher().await?;
    let delete = |etag: &str| v1::DeleteComponentRequest {
        name: "messaging/sms".into(),
        version: "0.9.0".into(),
        etag: etag.to_owned(),
        ..Default::default()
    };
    assert_eq!(catalog.delete_component(delete("stale")).await.expect_err("etag").code(), Code::Aborted);
    let revision = catalog.delete_component(delete("")).await?.into_inner().revision;
    assert_eq!(revision, 6);
    assert_eq!(catalog.delete_component(delete("")).await.expect_err("gone").code(), Code::NotFound);
    let response = matcher.r#match(intent("text message to phones")).await?.into_inner();
    assert!(response.candidates.iter().all(|candidate| candidate.name != "messaging/sms"));
    let status = create(&mut catalog, manifest("messaging/sms", "0.9.0", "Other text.")).await.expect_err("taken");
    assert_eq!(status.downcast_ref::<tonic::Status>().expect("a status").code(), Code::AlreadyExists);
    let same = manifest("messaging/sms", "0.9.0", "Sends short text messages to phones.")
        .replace("[tests]", "[tests, legacy]");
    create(&mut catalog, same).await?;

    // The same after a restart, from what is on disk.
    daemon.terminate()?;
    daemon.wait().await?;
    let daemon = Daemon::serve(folder.path(), &[])?;
    let response = daemon.matcher().await?.r#match(intent("text message to phones")).await?.into_inner();
    assert_eq!(response.candidates[0].name, "messaging/sms");
    assert_eq!(response.provenance.expect("provenance").revision, 7);
    Ok(())
}

#[tokio::test]
async fn pages_cover_everything_once_in_order() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let daemon = Daemon::serve(folder.path(), &[])?;
    let mut catalog = daemon.catalog().await?;
    let versions = ["2.0.0", "10.0.0", "1.0.0-beta", "1.0.0"];
    for version in versions {
        create(&mut catalog, manifest("b/part", version, "A part.")).await?;
    }
    create(&mut catalog, manifest("a/part", "1.0.0", "Another part.")).await?;
    let mut seen = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListComponentsRequest { page_size: 2, page_token, view: 2, ..Default::default() };
        let page = catalog.list_components(request).await?.into_inner();
        assert_eq!(page.total_size, 5);
        assert!(page.components.iter().all(|component| component.manifest_json.starts_with(b"{")));
        seen.extend(page.components.into_iter().map(|component| format!("{}@{}", component.name, component.version)));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, ["a/part@1.0.0", "b/part@1.0.0-beta", "b/part@1.0.0", "b/part@2.0.0", "b/part@10.0.0"]);
    for page_token in ["zz", "00", "e29c93"] {
        let request = v1::ListComponentsRequest { page_token: page_token.into(), ..Default::default() };
        let status = catalog.list_components(request).await.expect_err("no token of ours");
        assert_eq!(status.get_details_bad_request().expect("violations").field_violations[0].field, "page_token");
    }
    let newest = v1::GetComponentRequest { name: "b/part".into(), ..Default::default() };
    let newest = catalog.get_component(newest).await?.into_inner();
    assert_eq!(newest.version, "10.0.0");
    let by_digest = v1::GetComponentRequest { digest: newest.digest.clone(), ..Default::default() };
    assert_eq!(catalog.get_component(by_digest).await?.into_inner(), newest);
    Ok(())
}

#[tokio::test]
async fn an_import_answers_every_item() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let daemon = Daemon::serve(folder.path(), &[])?;
    let mut catalog = daemon.catalog().await?;
    let manifests: Vec<String> = (0..150)
        .map(|n| match n % 50 {
            7 => "name: broken".to_owned(),
            8 => manifest("dup/same", "1.0.0", "The same each time."),
            _ => manifest(&format!("bulk/part-{n}"), "1.0.0", &format!("Part number {n} of a large machine.")),
        })
        .collect();
    let items = manifests.into_iter().enumerate().map(|(n, manifest)| v1::ImportComponentsRequest {
        manifest: manifest.into_bytes(),
        source: format!("part-{n}.yaml"),
        ..Default::default()
    });
    let mut results = catalog.import_components(tokio_stream::iter(items)).await?.into_inner();
    let mut counts = std::collections::BTreeMap::new();
    let mut next = 0;
    while let Some(item) = results.message().await? {
        assert_eq!((item.index, item.source.as_str()), (next, format!("part-{next}.yaml").as_str()));
        next += 1;
        *counts.entry(item.result().as_str_name()).or_insert(0) += 1;
        if item.result() == v1::ImportResult::Failed {
            let status = item.status.expect("a status");
            assert_eq!((status.code, status.reason.as_str()), (3, "MANIFEST_INVALID"));
            assert!(
                status
                    .field_violations
                    .iter()
                    .any(|violation| violation.description.contains("version") || violation.field == "version"),
                "{status:?}"
            );
        }
    }
    assert_eq!(next, 150);
    assert_eq!(
        counts,
        [("IMPORT_RESULT_CREATED", 145), ("IMPORT_RESULT_FAILED", 3), ("IMPORT_RESULT_UNCHANGED", 2)].into()
    );
    Ok(())
}
