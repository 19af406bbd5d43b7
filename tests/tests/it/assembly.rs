//! Assemblies through real processes: the worked example from a requirement to a signed report, those that are kept, and what is
//! refused.

mod certificates;
mod documents;
mod economics;
mod kept;
mod policies;
mod refused;
mod violations;

use std::path::Path;

use fitment_proto::v1::assembly_service_client::AssemblyServiceClient;
use fitment_tests::Daemon;
use tonic::transport::Channel;

/// The worked example.
const PORTAL: &str = include_str!("../../../daemon/assembly/tests/fixtures/portal.yaml");

/// The worked example as it is written before its raw code is: that is measured in the tree. Its proofs hold for long.
fn portal() -> String {
    let measured = |line: &&str| {
        let line = line.trim_start();
        line.starts_with("digest: ") || line.starts_with("lines: ")
    };
    let lines: Vec<&str> = PORTAL.lines().filter(|line| !measured(line)).collect();
    lines.join("\n").replace("valid_until: 2027-", "valid_until: 2099-") + "\n"
}

/// A document with one thing after the other replaced, each of which must be there.
#[track_caller]
fn edited(document: &str, edits: &[(&str, &str)]) -> String {
    edits.iter().fold(document.to_owned(), |document, (from, to)| {
        assert!(document.contains(from), "`{from}` is not in the document");
        document.replacen(from, to, 1)
    })
}

/// The application's folder: the document and its raw code.
fn application(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder.join("app/src/journal"))?;
    std::fs::write(folder.join("app/assembly.yaml"), portal())?;
    std::fs::write(folder.join("app/src/journal/lib.rs"), "//! Writes the journal.\nmod trail;\n")?;
    std::fs::write(folder.join("app/src/journal/trail.rs"), "pub fn write() {}\n")?;
    Ok(())
}

async fn client(daemon: &Daemon) -> anyhow::Result<AssemblyServiceClient<Channel>> {
    Ok(AssemblyServiceClient::new(daemon.channel().await?)
        .max_encoding_message_size(64 << 20)
        .max_decoding_message_size(64 << 20))
}
