//! Clients that take their time, come in numbers, or stay for too long.

use std::io::{self, BufRead, BufReader, Read};
use std::net::TcpStream;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use fitment_tests::{fitment, manifest};

use super::raw::{DATA, END_HEADERS, GOAWAY, INFO, Raw, WATCH, call, connect, frame, head, is_end};
use super::{peak_memory, serve, until_metrics_say, while_others_are_served};
use crate::matching::create;

/// So many answers do not fit into the buffers of a connection, and so many calls may be open.
const DEAF_CALLS: u32 = 25_000;
/// What they may take: some 6 KiB each, for which this test lets a hundred times as many be open as is usual.
const DEAF_MEMORY: u64 = 256 << 20;
/// `SETTINGS_INITIAL_WINDOW_SIZE`.
const FIRST_WINDOW: u16 = 4;

#[tokio::test]
async fn who_does_not_take_answers_or_send_requests_is_cut_off() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let limits = "write_stall_seconds = 1\nanswer_stall_seconds = 1\nmessage_seconds = 1\nhandshake_seconds = 1\n";
    // So many calls that those of the deaf client are not refused for their number.
    let many = "max_concurrent_streams = 65536\nmax_local_reset_streams = 65536\n";
    let daemon = serve(folder.path(), &format!("[http2]\n{limits}{many}[metrics]\nlisten = \"127.0.0.1:0\"\n"))?;
    let before = peak_memory(&daemon)?;
    let address = daemon.address().to_owned();
    let work = move || -> io::Result<Raw> {
        // No window: the answer is there and cannot be sent.
        let mut windowless = Raw::greet(&address, &[(FIRST_WINDOW, 1)])?;
        windowless.send(&call(1, INFO))?;
        windowless.until_end()?;
        // Half a message, and nothing after it: its call ends, and the connection goes on.
        let mut half = Raw::greet(&address, &[])?;
        half.send(&[head(1, INFO, END_HEADERS), frame(DATA, 0, 1, &[0, 0, 0])].concat())?;
        half.until(|frame| frame.ends(1))?;
        half.send(&call(3, INFO))?;
        half.until(|frame| frame.ends(3))?;
        // A greeting that does not come, or stops in the middle.
        for begun in [&b""[..], b"PRI * HTTP/2.0\r\n"] {
            let mut silent = connect(&address)?;
            io::Write::write_all(&mut silent, begun)?;
            ended(&mut silent)?;
        }
        // Answers that nobody reads, until there is no room for them on the way.
        let mut deaf = Raw::greet(&address, &[(FIRST_WINDOW, 1 << 30)])?;
        deaf.send(&frame(super::raw::WINDOW_UPDATE, 0, 0, &(1_u32 << 30).to_be_bytes()))?;
        for number in 0..DEAF_CALLS {
            match deaf.send(&call(2 * number + 1, INFO)) {
                Err(error) if is_end(&error) => break,
                sent => sent?,
            }
        }
        Ok(deaf)
    };
    let (deaf, answers) = while_others_are_served(&daemon, work).await?;
    let _deaf = deaf?;
    for reason in ["answer_stalled", "handshake_timeout", "write_stalled"] {
        until_metrics_say(&daemon, &format!("fitment_connections_ended_total{{reason=\"{reason}\"}}"))?;
    }
    let grown = peak_memory(&daemon)?.saturating_sub(before);
    eprintln!("{answers} answers to others meanwhile; memory grew by {} KiB at most", grown / 1024);
    ensure!(grown < DEAF_MEMORY, "memory grew by {grown} bytes");
    Ok(())
}

/// Waits for the end of a connection.
fn ended(stream: &mut TcpStream) -> io::Result<()> {
    match stream.read_to_end(&mut Vec::new()) {
        Err(error) if is_end(&error) => Ok(()),
        outcome => outcome.map(drop),
    }
}

#[tokio::test]
async fn connections_of_one_peer_are_counted_and_half_open_ones_make_room_again() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let daemon = serve(folder.path(), "[http2]\nmax_connections_per_peer = 8\nhandshake_seconds = 2\n")?;
    let address = daemon.address().to_owned();
    let work = move || -> io::Result<usize> {
        // Far more than there is room for: most are closed at once, the others when they do not greet.
        let mut crowd: Vec<_> = (0..200).map(|_| connect(&address)).collect::<io::Result<_>>()?;
        crowd.iter_mut().try_for_each(ended)?;
        // There is room again.
        let mut raw = Raw::greet(&address, &[])?;
        raw.send(&call(1, INFO))?;
        raw.until(|frame| frame.ends(1))?;
        Ok(crowd.len())
    };
    let (ended, _) = while_others_are_served(&daemon, work).await?;
    assert_eq!(ended?, 200);
    Ok(())
}

#[tokio::test]
async fn an_old_connection_takes_no_more_calls_and_ends_with_those_that_it_has() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let daemon = serve(folder.path(), "[http2]\nmax_age_seconds = 1\nage_grace_seconds = 3600\n")?;
    let address = daemon.address().to_owned();
    let watch = move || -> io::Result<Raw> {
        let mut raw = Raw::greet(&address, &[])?;
        raw.send(&call(1, WATCH))?;
        raw.until(|frame| frame.kind == GOAWAY)?;
        Ok(raw)
    };
    let mut raw = tokio::task::spawn_blocking(watch).await??;
    let written = manifest("storage/backup", "1.0.0", "Copies databases every night.");
    create(&mut daemon.catalog().await?, written).await?;
    tokio::task::spawn_blocking(move || raw.until(|frame| frame.kind == DATA && frame.stream == 1))
        .await?
        .context("the change")?;
    Ok(())
}

#[tokio::test]
async fn a_connection_without_calls_ends_and_one_with_a_silent_call_does_not() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let daemon = serve(folder.path(), "[http2]\nidle_seconds = 1\nmessage_seconds = 1\nanswer_stall_seconds = 1\n")?;
    let address = daemon.address().to_owned();
    let (raw, _) = while_others_are_served(&daemon, move || -> io::Result<Raw> {
        let mut watching = Raw::greet(&address, &[])?;
        watching.send(&call(1, WATCH))?;
        let mut idle = Raw::greet(&address, &[])?;
        idle.send(&call(1, INFO))?;
        idle.until_end()?;
        Ok(watching)
    })
    .await?;
    let mut watching = raw?;
    create(&mut daemon.catalog().await?, manifest("storage/backup", "1.0.0", "Copies databases every night.")).await?;
    tokio::task::spawn_blocking(move || watching.until(|frame| frame.kind == DATA && frame.stream == 1))
        .await?
        .context("the change")?;
    Ok(())
}

#[tokio::test]
async fn a_second_sigterm_ends_what_the_first_one_waits_for() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let daemon = serve(folder.path(), "drain_seconds = 3600\n[http2]\nanswer_stall_seconds = 3600\n")?;
    let address = daemon.address().to_owned();
    // A call whose answer is not taken is in flight for as long as the drain lasts.
    let held = tokio::task::spawn_blocking(move || -> io::Result<Raw> {
        let mut raw = Raw::greet(&address, &[(FIRST_WINDOW, 1)])?;
        raw.send(&call(1, INFO))?;
        raw.until(|frame| frame.stream == 1)?;
        Ok(raw)
    })
    .await??;
    daemon.terminate()?;
    // The first one has been heard when nobody is taken any more.
    while TcpStream::connect(daemon.address()).is_ok() {}
    daemon.terminate()?;
    let (status, log) = daemon.wait().await?;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("a second time"), "{log}");
    drop(held);
    Ok(())
}

#[tokio::test]
async fn the_commands_watch_goes_on_when_its_connection_is_cut() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let daemon = serve(folder.path(), "[http2]\nmax_age_seconds = 1\nage_grace_seconds = 1\n")?;
    let mut watch = fitment()?
        .args(["catalog", "watch", "--after", "0", "--server", daemon.address()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (said, lines) = mpsc::channel();
    let streams: [Box<dyn Read + Send>; 2] = [
        Box::new(watch.stdout.take().context("standard output")?),
        Box::new(watch.stderr.take().context("standard error")?),
    ];
    for stream in streams {
        let said = said.clone();
        thread::spawn(move || {
            BufReader::new(stream).lines().map_while(Result::ok).try_for_each(|line| said.send(line))
        });
    }
    for version in ["1.0.0", "1.0.1", "1.0.2"] {
        // Connections live for a second or two here, and this one may be cut too; what is there already is written once.
        let written = manifest("storage/backup", version, "Copies databases every night.");
        let until = Instant::now() + Duration::from_secs(120);
        while let Err(error) = create(&mut daemon.catalog().await?, written.clone()).await {
            ensure!(Instant::now() < until, "{error:#}");
        }
        let mut told = 0;
        let mut cut = false;
        // Written once, told once, and a cut after it.
        while told == 0 || !cut {
            let line = lines.recv_timeout(Duration::from_secs(120))?;
            told += usize::from(line.contains(&format!("storage/backup@{version}")));
            cut |= line.contains("connecting again");
        }
        ensure!(told == 1, "{version} was told {told} times");
    }
    watch.kill()?;
    watch.wait()?;
    Ok(())
}
