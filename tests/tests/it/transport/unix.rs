//! The Unix socket.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use anyhow::ensure;
use fitment_tests::{Daemon, fitment, text};

use super::serve;

#[tokio::test]
async fn a_unix_socket_is_served_beside_tcp_and_knows_who_calls() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("fitment.sock");
    let config = format!("unix_socket = \"{}\"\nlog = \"fitment=debug\"\n", socket.display());
    let daemon = serve(folder.path(), &config)?;
    assert_eq!(std::fs::metadata(&socket)?.permissions().mode() & 0o777, 0o600);
    let address = format!("unix:{}", socket.display());
    let mut callers = Vec::new();
    for server in [address.as_str(), daemon.address()] {
        let child = fitment()?
            .args(["catalog", "list", "--json", "--server", server])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        callers.push(child.id());
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "{server}: {}", text(&output.stderr));
    }
    // Somebody answers there, so a second daemon does not take it.
    let second =
        fitment()?.args(["serve", "--listen", &address, "--data-dir"]).arg(folder.path().join("b")).output()?;
    assert!(text(&second.stderr).contains("somebody answers there"), "{}", text(&second.stderr));
    daemon.terminate()?;
    let (status, log) = daemon.wait().await?;
    assert_eq!(status.code(), Some(0), "{log}");
    let uid = rustix::process::geteuid().as_raw();
    assert!(log.contains(&format!("process {} of user {uid}", callers[0])), "{log}");
    assert!(!socket.exists(), "the socket goes with the daemon");
    Ok(())
}

#[test]
fn a_killed_daemons_socket_is_taken_over() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("fitment.sock");
    let config = format!("unix_socket = \"{}\"\n", socket.display());
    serve(folder.path(), &config)?.kill()?;
    assert!(socket.exists());
    let _daemon: Daemon = serve(folder.path(), &config)?;
    let address = format!("unix:{}", socket.display());
    let output = fitment()?.args(["catalog", "list", "--server", &address]).output()?;
    ensure!(output.status.success(), "{}", text(&output.stderr));
    Ok(())
}
