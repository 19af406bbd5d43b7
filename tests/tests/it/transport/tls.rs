//! TLS: versions, client certificates, and certificates that change while calls run.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::sync::Arc;

use anyhow::{Context, ensure};
use fitment_tests::{Daemon, fitment, manifest, text};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::raw::{connect, is_end};
use super::{serve, until_metrics_say};

/// A certificate authority.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    der: CertificateDer<'static>,
}

impl Authority {
    fn new(name: &str) -> anyhow::Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key)?;
        let (pem, der) = (certificate.pem(), certificate.der().clone());
        Ok(Self { issuer: Issuer::new(params, key), pem, der })
    }

    /// A certificate for `localhost` and its key, PEM, and the certificate alone, DER.
    fn issue(&self) -> anyhow::Result<(String, String, CertificateDer<'static>)> {
        let key = KeyPair::generate()?;
        let params = CertificateParams::new(vec!["localhost".to_owned()])?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok((certificate.pem(), key.serialize_pem(), certificate.der().clone()))
    }
}

/// Files of a daemon and its clients.
struct Files {
    folder: tempfile::TempDir,
    authority: Authority,
}

impl Files {
    fn new() -> anyhow::Result<Self> {
        let files = Self { folder: tempfile::tempdir()?, authority: Authority::new("tests")? };
        fs::write(files.path("ca.pem"), &files.authority.pem)?;
        files.renew()?;
        Ok(files)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn name(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Gives the daemon another certificate.
    fn renew(&self) -> anyhow::Result<CertificateDer<'static>> {
        let (certificate, key, der) = self.authority.issue()?;
        fs::write(self.path("key.pem"), key)?;
        fs::write(self.path("certificate.pem"), certificate)?;
        Ok(der)
    }

    /// Writes a client's certificate and key under this name.
    fn client(&self, name: &str, authority: &Authority) -> anyhow::Result<()> {
        let (certificate, key, _) = authority.issue()?;
        fs::write(self.path(&format!("{name}.pem")), certificate)?;
        fs::write(self.path(&format!("{name}-key.pem")), key)?;
        Ok(())
    }

    fn serve(&self, tls: &str) -> anyhow::Result<Daemon> {
        let (certificate, key) = (self.name("certificate.pem"), self.name("key.pem"));
        serve(
            self.folder.path(),
            &format!(
                "[metrics]\nlisten = \"127.0.0.1:0\"\n[tls]\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n{tls}"
            ),
        )
    }

    /// Arguments of a client command, with this client's certificate.
    fn arguments(&self, daemon: &Daemon, client: Option<&str>) -> anyhow::Result<Vec<String>> {
        let mut arguments = vec!["--server".into(), format!("https://localhost:{}", port(daemon)?)];
        arguments.extend(["--ca".into(), self.name("ca.pem")]);
        if let Some(client) = client {
            arguments.extend(["--client-cert".into(), self.name(&format!("{client}.pem"))]);
            arguments.extend(["--client-key".into(), self.name(&format!("{client}-key.pem"))]);
        }
        Ok(arguments)
    }

    fn list(&self, daemon: &Daemon, client: Option<&str>) -> anyhow::Result<Output> {
        Ok(fitment()?.args(["catalog", "list"]).args(self.arguments(daemon, client)?).output()?)
    }

    /// Writes a component.
    fn import(&self, daemon: &Daemon, name: &str) -> anyhow::Result<()> {
        let file = self.path("component.yaml");
        fs::write(&file, manifest(name, "1.0.0", "Copies databases every night."))?;
        let output = fitment()?.args(["catalog", "import"]).arg(file).args(self.arguments(daemon, None)?).output()?;
        ensure!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
        Ok(())
    }

    /// Makes a connection with one of these versions. Returns the version that was agreed on and the daemon's certificate.
    async fn handshake(
        &self,
        daemon: &Daemon,
        versions: &[&'static SupportedProtocolVersion],
        alpn: &[&[u8]],
    ) -> anyhow::Result<(Option<ProtocolVersion>, CertificateDer<'static>)> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der.clone())?;
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let stream = TcpStream::connect(daemon.address()).await?;
        let name = ServerName::try_from("localhost")?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        let (_, session) = stream.get_ref();
        let leaf = session.peer_certificates().and_then(<[_]>::first).context("a certificate")?;
        Ok((session.protocol_version(), leaf.clone().into_owned()))
    }

    /// The certificate that a new connection sees.
    async fn seen(&self, daemon: &Daemon) -> anyhow::Result<CertificateDer<'static>> {
        Ok(self.handshake(daemon, rustls::ALL_VERSIONS, &[b"h2"]).await?.1)
    }
}

fn port(daemon: &Daemon) -> anyhow::Result<&str> {
    daemon.address().rsplit(':').next().context("a port")
}

/// What a daemon says to bytes that are no TLS of its versions, to the end.
fn answer(daemon: &Daemon, bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut stream = connect(daemon.address())?;
    stream.write_all(bytes)?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if is_end(&error) => {}
        outcome => drop(outcome?),
    }
    Ok(answer)
}

/// A first message of TLS 1.1, whole and well-formed.
fn hello_of_tls_1_1() -> Vec<u8> {
    let body = [&[3, 2][..], &[7; 32], &[0, 0, 4, 0xc0, 0x13, 0x00, 0x2f, 1, 0]].concat();
    let length = u8::try_from(body.len()).expect("a short message");
    [&[0x16, 3, 1, 0, length + 4, 1, 0, 0, length][..], &body].concat()
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_and_nothing_else() -> anyhow::Result<()> {
    let files = Files::new()?;
    let daemon = files.serve("")?;
    for (version, expect) in
        [(&rustls::version::TLS12, ProtocolVersion::TLSv1_2), (&rustls::version::TLS13, ProtocolVersion::TLSv1_3)]
    {
        let (agreed, _) = files.handshake(&daemon, &[version], &[b"h2"]).await?;
        assert_eq!(agreed, Some(expect));
    }
    files.handshake(&daemon, rustls::ALL_VERSIONS, &[b"http/1.1"]).await.expect_err("HTTP/2 must be offered");
    // An alert (0x15) that is fatal (2); which one it is depends on what else such a client cannot do.
    let refusal = answer(&daemon, &hello_of_tls_1_1())?;
    assert_eq!((refusal.first(), refusal.get(5)), (Some(&0x15), Some(&2)), "{refusal:?}");
    let refusal = answer(&daemon, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    assert!(refusal.is_empty() || refusal[0] == 0x15, "{refusal:?}");
    let output = files.list(&daemon, None)?;
    ensure!(output.status.success(), "{}", text(&output.stderr));
    // Without its roots the client believes nobody, and a plain client gets an end.
    let server = format!("https://localhost:{}", port(&daemon)?);
    let output = fitment()?.args(["catalog", "list", "--server", &server]).output()?;
    assert!(text(&output.stderr).contains("--ca FILE"), "{}", text(&output.stderr));
    let output = fitment()?.args(["catalog", "list", "--server", daemon.address()]).output()?;
    assert!(!output.status.success());
    Ok(())
}

#[tokio::test]
async fn tls_1_3_alone_can_be_asked_for() -> anyhow::Result<()> {
    let files = Files::new()?;
    let daemon = files.serve("min_version = \"1.3\"\n")?;
    files.handshake(&daemon, &[&rustls::version::TLS12], &[b"h2"]).await.expect_err("it is too old");
    files.handshake(&daemon, &[&rustls::version::TLS13], &[b"h2"]).await?;
    Ok(())
}

#[test]
fn clients_show_certificates_where_they_must_and_true_ones_where_they_may() -> anyhow::Result<()> {
    let files = Files::new()?;
    files.client("known", &files.authority)?;
    files.client("stranger", &Authority::new("elsewhere")?)?;
    for (client_auth, without) in [("required", false), ("optional", true)] {
        let tls = format!("client_ca = \"{}\"\nclient_auth = \"{client_auth}\"\n", files.name("ca.pem"));
        let daemon = files.serve(&tls)?;
        for (client, expect) in [(Some("known"), true), (Some("stranger"), false), (None, without)] {
            let output = files.list(&daemon, client)?;
            assert_eq!(output.status.success(), expect, "{client_auth}, {client:?}: {}", text(&output.stderr));
        }
    }
    Ok(())
}

/// A command that prints each change of the catalogue.
struct Watch {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Watch {
    fn start(files: &Files, daemon: &Daemon) -> anyhow::Result<Self> {
        let mut child = fitment()?
            .args(["catalog", "watch", "--after", "0:0"])
            .args(files.arguments(daemon, None)?)
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = BufReader::new(child.stdout.take().context("a pipe")?);
        Ok(Self { child, lines })
    }

    fn next(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        Ok(line)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[tokio::test]
async fn certificates_change_under_a_stream_and_bad_ones_change_nothing() -> anyhow::Result<()> {
    let files = Files::new()?;
    // Files are read again when they are told to be, and only then.
    let daemon = files.serve("watch_seconds = 0\n")?;
    let mut watch = Watch::start(&files, &daemon)?;
    files.import(&daemon, "storage/first")?;
    assert!(watch.next()?.contains("storage/first"));

    let first = files.seen(&daemon).await?;
    let second = files.renew()?;
    assert_eq!(files.seen(&daemon).await?, first, "nobody has said that it has changed");
    daemon.hang_up()?;
    until_metrics_say(&daemon, "fitment_tls_reloads_total 1")?;
    assert_eq!(files.seen(&daemon).await?, second);
    files.import(&daemon, "storage/second")?;
    assert!(watch.next()?.contains("storage/second"), "the stream from before lives on");

    fs::write(files.path("certificate.pem"), "half a certif")?;
    daemon.hang_up()?;
    let page = until_metrics_say(&daemon, "fitment_tls_reload_failures_total 1")?;
    assert!(page.contains("fitment_tls_certificate_expiry_timestamp_seconds{file=\"certificate\"}"), "{page}");
    assert_eq!(files.seen(&daemon).await?, second, "the last good one stays");
    files.import(&daemon, "storage/third")?;
    assert!(watch.next()?.contains("storage/third"));
    daemon.terminate()?;
    let (_, log) = daemon.wait().await?;
    assert!(log.contains("the ones from before stay"), "{log}");
    Ok(())
}

#[tokio::test]
async fn changed_files_are_found_without_being_told() -> anyhow::Result<()> {
    let files = Files::new()?;
    let daemon = files.serve("watch_seconds = 1\n")?;
    let renewed = files.renew()?;
    until_metrics_say(&daemon, "fitment_tls_reloads_total 1")?;
    // The key and the certificate are written one after the other: a look in between finds no pair, counts a failure and looks again.
    assert_eq!(files.seen(&daemon).await?, renewed);
    Ok(())
}

#[test]
fn a_daemon_without_a_valid_certificate_does_not_start() -> anyhow::Result<()> {
    let files = Files::new()?;
    let start = |files: &Files| files.serve("").err().map(|error| error.to_string()).context("it must not start");
    fs::write(files.path("key.pem"), KeyPair::generate()?.serialize_pem())?;
    assert!(start(&files)?.contains("is no key for the certificate"));
    fs::remove_file(files.path("key.pem"))?;
    assert!(start(&files)?.contains("cannot be read"));
    assert!(Path::new(&files.name("certificate.pem")).exists());
    Ok(())
}
