//! `fitment certify`: keys, certificates and what they amount to, as files.

mod remote;
mod sign;
mod verify;

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use fitment_catalog::{Format, Manifest};
use fitment_trust::PrivateKey;
use serde_json::json;

use super::laboratory::write_file;
use super::trust::read_file;
use crate::output;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  fitment certify keygen --out alice.pem
  fitment certify sign card-checkout.yaml --key alice.pem --standard pci-dss-4.0=6.4.3,8.3.1 --valid-days 365 \\
      --evidence sarif:scan.sarif --out card-checkout.dsse.json
  fitment certify sign --add-to card-checkout.dsse.json --key bob.pem --out card-checkout.dsse.json
  fitment certify sign --predicate revocation.json --predicate-type revocation --subject sha256:DIGEST --key sam.pem \\
      --out revocation.dsse.json
  fitment certify verify card-checkout.yaml --trust root.yaml --certificate card-checkout.dsse.json
  fitment certify add card-checkout.dsse.json --evidence scan.sarif
  fitment certify list payments/card-checkout
  fitment certify revoke revocation.dsse.json

A certificate is an in-toto statement about a manifest's digest in a DSSE envelope, signed with Ed25519; other tools that
write these will do. Only `add`, `list` and `revoke` ask a daemon. docs/certification.md says what is checked and what is not.")]
pub(super) struct CertifyArguments {
    #[command(subcommand)]
    command: CertifyCommand,
}

#[derive(Debug, clap::Subcommand)]
enum CertifyCommand {
    /// Make a key pair.
    #[command(after_help = "Example:\n  fitment certify keygen --out alice.pem --public alice.pub.pem")]
    Keygen {
        /// File for the private key, PKCS#8 PEM, not encrypted; only its owner may read it. It must not exist.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// File for the public key, PEM.
        #[arg(long, value_name = "FILE")]
        public: Option<PathBuf>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Sign a certificate or a revocation, or add a signature to one.
    Sign(Box<sign::SignArguments>),
    /// Say whether versions are certified. Ends with code 1 when one is not.
    Verify(verify::VerifyArguments),
    /// Hand a certificate to a running daemon.
    Add(remote::AddArguments),
    /// Hand a signed revocation to a running daemon: what stood on it is in no answer from then on.
    Revoke(remote::RevokeArguments),
    /// Show the certificates of one version on a running daemon, and how it stands.
    List(remote::ListArguments),
}

pub(super) fn run(arguments: CertifyArguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        CertifyCommand::Keygen { out, public, json } => keygen(&out, public.as_deref(), json),
        CertifyCommand::Sign(arguments) => sign::run(&arguments),
        CertifyCommand::Verify(arguments) => verify::run(&arguments),
        CertifyCommand::Add(arguments) => super::client_runtime()?.block_on(remote::add(arguments)),
        CertifyCommand::Revoke(arguments) => super::client_runtime()?.block_on(remote::revoke(arguments)),
        CertifyCommand::List(arguments) => super::client_runtime()?.block_on(remote::list(&arguments)),
    }
}

fn keygen(out: &Path, public: Option<&Path>, json: bool) -> anyhow::Result<ExitCode> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).context("the system gives no randomness")?;
    let key = PrivateKey::from_seed(&seed);
    let failed = || format!("{} cannot be written; choose a file that does not exist", out.display());
    // Made with its mode, so that nobody else can open it in between.
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(out).with_context(failed)?;
    file.write_all(key.to_pem().as_bytes()).with_context(failed)?;
    file.sync_all().with_context(failed)?;
    let half = key.public();
    if let Some(path) = public {
        write_file(path, &half.to_pem())?;
    }
    if json {
        output::json(&json!({ "public_key": half.to_base64(), "keyid": half.id() }))?;
    } else {
        output::line(format!("public_key: {}\nkeyid: {}", half.to_base64(), half.id()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn read_manifest(path: &Path) -> anyhow::Result<Manifest> {
    Ok(Manifest::parse(&path.display().to_string(), &read_file(path)?, Format::Auto)?)
}
