//! Streams that follow the catalogue: its changes, and its audit trail.

use fitment_engine::{AuditRecord, CatalogChange, ChangeKind, Engine, EngineError, LogPlace};
use fitment_proto::v1;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::convert;
use super::status::status_of;

/// Messages that wait for a slow reader; further ones wait in the store.
const BUFFERED: usize = 64;

/// Changes after the place that was asked for, and those to come.
///
/// A reader that stalls costs one task and a buffer: it holds no transaction while it stalls.
pub(super) async fn changes(
    engine: Engine,
    request: v1::WatchCatalogRequest,
    mut stopping: watch::Receiver<bool>,
) -> Result<ReceiverStream<Result<v1::CatalogChange, Status>>, Status> {
    let v1::WatchCatalogRequest { after, until_now } = request;
    // From here on every change wakes the wait below, also while the log is still being read.
    let mut revisions = engine.revisions();
    let mut place = match after {
        Some(v1::LogPlace { revision, position }) => LogPlace { revision, position },
        None => LogPlace::after(engine.info().revision),
    };
    // A place ahead of the catalogue is refused by the call itself, not by its stream.
    let mut page = engine.changes_after(place).await.map_err(|error| status_of(&error))?;
    let (sender, stream) = mpsc::channel(BUFFERED);
    tokio::spawn(async move {
        loop {
            while !page.is_empty() {
                for change in page {
                    place = change.place;
                    if change.is_hidden {
                        continue;
                    }
                    if sender.send(Ok(change_to(change))).await.is_err() {
                        return;
                    }
                }
                page = match engine.changes_after(place).await {
                    Ok(page) => page,
                    Err(error) => {
                        drop(sender.send(Err(status_of(&error))).await);
                        return;
                    }
                };
            }
            if until_now {
                return;
            }
            tokio::select! {
                changed = revisions.changed() => if changed.is_err() { return },
                () = sender.closed() => return,
                () = async { drop(stopping.wait_for(|&stop| stop).await) } => {
                    drop(sender.send(Err(stopped())).await);
                    return;
                }
            }
            page = match engine.changes_after(place).await {
                Ok(page) => page,
                Err(error) => {
                    drop(sender.send(Err(status_of(&error))).await);
                    return;
                }
            };
        }
    });
    Ok(ReceiverStream::new(stream))
}

fn stopped() -> Status {
    status_of(&EngineError::Stopping)
}

/// Records of the audit trail after a sequence number.
pub(super) fn records(
    engine: Engine,
    request: v1::ListAuditRecordsRequest,
) -> ReceiverStream<Result<v1::AuditRecord, Status>> {
    let v1::ListAuditRecordsRequest { mut after, limit } = request;
    let mut left = if limit == 0 { u64::MAX } else { limit };
    let (sender, stream) = mpsc::channel(BUFFERED);
    tokio::spawn(async move {
        while left > 0 {
            let page = match engine.audit_after(after).await {
                Ok(page) if page.is_empty() => return,
                Ok(page) => page,
                Err(error) => {
                    drop(sender.send(Err(status_of(&error))).await);
                    return;
                }
            };
            for record in page {
                after = record.sequence;
                if left == 0 || sender.send(Ok(record_to(record))).await.is_err() {
                    return;
                }
                left -= 1;
            }
        }
    });
    ReceiverStream::new(stream)
}

fn record_to(record: AuditRecord) -> v1::AuditRecord {
    let AuditRecord { sequence, time, revision, actor, action, subject, reason, detail, previous, digest } = record;
    v1::AuditRecord {
        sequence,
        time: Some(convert::timestamp(time)),
        revision,
        actor,
        action,
        subject,
        reason,
        detail_json: detail.to_string(),
        previous,
        digest,
    }
}

fn change_to(change: CatalogChange) -> v1::CatalogChange {
    let CatalogChange { place, kind, version, is_hidden: _ } = change;
    let kind = match kind {
        ChangeKind::Written => v1::CatalogChangeKind::Written,
        ChangeKind::Deleted => v1::CatalogChangeKind::Deleted,
        ChangeKind::Restored => v1::CatalogChangeKind::Restored,
        ChangeKind::Moved => v1::CatalogChangeKind::Moved,
    };
    let place = v1::LogPlace { revision: place.revision, position: place.position };
    let known = v1::CatalogChange { place: Some(place), kind: kind as i32, ..Default::default() };
    match version {
        None => known,
        Some(version) => v1::CatalogChange {
            name: version.name.to_string(),
            version: version.version.to_string(),
            digest: version.digest.to_string(),
            lifecycle: convert::lifecycle_to(version.lifecycle) as i32,
            deleted: version.deleted,
            ..known
        },
    }
}
