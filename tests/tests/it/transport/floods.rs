//! Clients that send as much as they can of what costs them little.

use anyhow::Context;

use super::raw::{
    CONTINUATION, DATA, END_HEADERS, HEADERS, INFO, PING, PRIORITY, RST_STREAM, Raw, SETTINGS, WATCH, WINDOW_UPDATE,
    frame, head,
};
use super::{peak_memory, serve, while_others_are_served};

/// Frames that nobody may send without being cut off.
const MOST: usize = 2_000_000;
/// What a flood may cost for a moment; without limits each of these costs gigabytes, or goes on for ever.
const MEMORY: u64 = 128 << 20;

/// What is sent, by how often something was sent before.
type Bytes = fn(usize) -> Vec<u8>;

/// A stream of a client, by number.
fn stream(number: usize) -> u32 {
    u32::try_from(2 * number + 1).unwrap_or(u32::MAX)
}

#[tokio::test]
async fn floods_of_frames_are_cut_off_and_cost_others_nothing() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let daemon = serve(folder.path(), "")?;
    let address = daemon.address().to_owned();
    let before = peak_memory(&daemon)?;
    let floods: [(&str, Bytes); 9] = [
        ("rapid reset (CVE-2023-44487)", |number| {
            [head(stream(number), INFO, END_HEADERS), frame(RST_STREAM, 0, stream(number), &[0, 0, 0, 8])].concat()
        }),
        ("the server made to reset (CVE-2025-8671)", |number| {
            // A window that grows beyond 2^31-1 is a fault of its stream alone.
            let growth = frame(WINDOW_UPDATE, 0, stream(number), &[0x7f, 0xff, 0xff, 0xff]);
            [head(stream(number), WATCH, END_HEADERS), growth].concat()
        }),
        ("pings (CVE-2019-9512)", |_| frame(PING, 0, 0, &[7; 8])),
        ("settings (CVE-2019-9515)", |_| frame(SETTINGS, 0, 0, &[])),
        ("priorities (CVE-2019-9513)", |_| frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1])),
        ("empty data (CVE-2019-9518)", |number| match number {
            0 => head(1, WATCH, END_HEADERS),
            _ => frame(DATA, 0, 1, &[]),
        }),
        ("window updates", |number| match number {
            0 => head(1, WATCH, END_HEADERS),
            _ => frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]),
        }),
        ("continuations (CVE-2024-27316)", |number| match number {
            0 => frame(HEADERS, 0, 1, &[0x83, 0x86]),
            _ => frame(CONTINUATION, 0, 1, &[0x00, 0x01, b'a', 0x01, b'b']),
        }),
        ("frames of no known type", |_| frame(0xbe, 0, 0, &[0; 16])),
    ];
    for (name, bytes) in floods {
        let address = address.clone();
        let flood = move || Raw::greet(&address, &[])?.flood(MOST, bytes);
        let (sent, answers) = while_others_are_served(&daemon, flood).await?;
        let sent = sent.with_context(|| format!("{name}: not cut off"))?;
        eprintln!("{name}: cut off after {sent} writes; {answers} answers to others meanwhile");
    }
    let grown = peak_memory(&daemon)?.saturating_sub(before);
    eprintln!("memory grew by {} KiB at most", grown / 1024);
    assert!(grown < MEMORY, "{grown} bytes");
    Ok(())
}

#[tokio::test]
async fn streams_beyond_the_limit_are_refused_one_by_one_and_then_the_connection() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let daemon = serve(folder.path(), "[http2]\nmax_concurrent_streams = 4\n")?;
    let address = daemon.address().to_owned();
    let flood = move || Raw::greet(&address, &[])?.flood(MOST, |number| head(stream(number), WATCH, END_HEADERS));
    let (sent, _) = while_others_are_served(&daemon, flood).await?;
    assert!(sent.context("not cut off")? >= 4);
    Ok(())
}
