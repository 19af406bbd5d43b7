//! Limits by principal, and what stays answered while a daemon has more work than it can take.

use anyhow::Context;
use fitment_proto::v1;
use fitment_proto::v1::batch_match_item::Result as Item;
use fitment_tests::Daemon;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

use crate::matching::intent;

fn serve(folder: &tempfile::TempDir, config: &str) -> anyhow::Result<Daemon> {
    let file = folder.path().join("fitment.toml");
    std::fs::write(&file, config)?;
    Daemon::serve(&folder.path().join("data"), &["--config", file.to_str().context("a UTF-8 path")?])
}

#[tokio::test]
async fn requests_over_the_limit_are_refused_and_health_never_is() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let daemon = serve(&folder, "[limits]\nrequests_per_second = 1\nburst = 500\n")?;
    let mut matcher = daemon.matcher().await?;
    let mut health = HealthClient::new(daemon.channel().await?);
    let requests =
        |count: usize| v1::BatchMatchRequest { requests: (0..count).map(|_| intent("pay by card")).collect() };
    let mut refused = 0;
    for _ in 0..8 {
        match matcher.batch_match(requests(200)).await {
            Ok(answer) => {
                for item in answer.into_inner().items {
                    if let Some(Item::Error(error)) = item.result {
                        assert_eq!(
                            (error.code, error.reason.as_str()),
                            (Code::ResourceExhausted as i32, "RATE_LIMITED")
                        );
                        refused += 1;
                    }
                }
            }
            Err(status) => {
                assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
                let details = status.get_error_details();
                assert_eq!(details.error_info().context("details")?.reason, "RATE_LIMITED");
                assert!(details.retry_info().context("RetryInfo")?.retry_delay.is_some());
                refused += 200;
            }
        }
        health.check(HealthCheckRequest::default()).await?;
    }
    assert!(refused > 0, "1600 intents are more than 500 and one a second");
    Ok(())
}

#[tokio::test]
async fn streams_count_as_open_calls() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let daemon = serve(&folder, "[limits]\nconcurrent = 1\n")?;
    let mut matcher = daemon.matcher().await?;
    let (send, receive) = tokio::sync::mpsc::channel(1);
    send.send(v1::StreamMatchRequest { id: "1".into(), request: Some(intent("pay by card")) }).await?;
    let mut stream = matcher.stream_match(tokio_stream::wrappers::ReceiverStream::new(receive)).await?.into_inner();
    assert_eq!(stream.message().await?.context("an answer")?.id, "1");
    let refused = matcher.r#match(intent("store a file")).await.expect_err("the stream is open");
    assert_eq!(refused.get_error_details().error_info().context("details")?.reason, "TOO_MANY_CONCURRENT");
    drop(send);
    assert!(stream.message().await?.is_none());
    drop(stream);
    // The daemon has ended the call before it says so.
    matcher.r#match(intent("store a file")).await?;
    Ok(())
}

#[tokio::test]
async fn health_is_answered_while_work_is_refused() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let daemon = serve(&folder, "queue_capacity = 4\n[encoder]\nmax_queue_ms = 1\nmax_batch_queue_ms = 1\n")?;
    let long = "word ".repeat(1500);
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..64 {
        let (mut matcher, request) = (daemon.matcher().await?, intent(&format!("{number} {long}")));
        calls.spawn(async move { matcher.r#match(request).await });
    }
    let mut health = HealthClient::new(daemon.channel().await?);
    let mut refused = 0;
    while let Some(answer) = calls.join_next().await {
        health.check(HealthCheckRequest::default()).await?;
        if let Err(status) = answer? {
            let details = status.get_error_details();
            assert_eq!(details.error_info().context("details")?.reason, "OVERLOADED", "{status}");
            assert!(details.retry_info().context("RetryInfo")?.retry_delay.is_some());
            refused += 1;
        }
    }
    assert!(refused > 0);
    Ok(())
}
