//! `serve` opens no outbound socket: it starts and answers in a network namespace without a route.

use std::process::Command;

use fitment_tests::{binary, pull_model, text, workspace};

#[test]
fn serving_needs_no_network_and_opens_no_outbound_socket() -> anyhow::Result<()> {
    pull_model()?;
    let folder = tempfile::tempdir()?;
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "python3"])
        .arg(workspace().join("tests/clients/without_route.py"))
        .arg(binary()?)
        .arg(folder.path())
        .output()?;
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    assert!(text(&output.stdout).contains("no outbound socket"), "{}", text(&output.stdout));
    Ok(())
}

/// Crates that fetch or look names up. The serving part must be built of none of them.
const CLIENTS: [&str; 11] = [
    "attohttpc",
    "awc",
    "curl",
    "fitment",
    "hf-hub",
    "hickory-resolver",
    "isahc",
    "native-tls",
    "reqwest",
    "surf",
    "ureq",
];

#[test]
fn the_serving_part_is_built_without_an_http_client() -> anyhow::Result<()> {
    let crates = |package: &str| -> anyhow::Result<Vec<String>> {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args([
            "tree",
            "--package",
            package,
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{lib}",
            "--locked",
        ]);
        let output = cargo.current_dir(workspace()).output()?;
        assert!(output.status.success(), "{}", text(&output.stderr));
        Ok(text(&output.stdout).lines().map(|name| name.trim().replace('_', "-")).collect())
    };
    let serving = crates("fitment-server")?;
    assert!(serving.len() > 100 && serving.iter().any(|name| name == "fitment-engine"), "{serving:?}");
    let clients: Vec<&String> = serving.iter().filter(|name| CLIENTS.contains(&name.as_str())).collect();
    assert!(clients.is_empty(), "{clients:?}");
    // The command line has one, for `model pull`: what is looked for is found where it is.
    assert!(crates("fitment")?.iter().any(|name| name == "ureq"));
    Ok(())
}
