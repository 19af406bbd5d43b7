use std::path::PathBuf;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};

use super::*;

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("fitment-tls-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    /// Writes a certificate that expires then. Returns its DER.
    fn write(&self, year: i32) -> Vec<u8> {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let certificate = params.self_signed(&key).expect("a certificate");
        fs::write(self.0.join("certificate.pem"), certificate.pem()).expect("a file");
        fs::write(self.0.join("key.pem"), key.serialize_pem()).expect("a file");
        certificate.der().to_vec()
    }

    fn files(&self) -> TlsFiles {
        TlsFiles {
            certificate: self.0.join("certificate.pem"),
            key: self.0.join("key.pem"),
            client_ca: None,
            client_auth: ClientAuth::Off,
            min_version: TlsVersion::Tls12,
            watch: Duration::ZERO,
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().expect("a time")
}

#[track_caller]
fn refused(files: TlsFiles, expect: &str) {
    let error = TlsStore::open(files, now()).err().expect("a refusal");
    assert!(format!("{error:#}").contains(expect), "{error:#}");
}

#[test]
fn files_that_do_not_do_are_named() {
    let folder = Folder::new("named");
    refused(folder.files(), "certificate.pem cannot be read");
    folder.write(2025);
    refused(folder.files(), "expired at 2025-01-01");
    folder.write(2030);
    TlsStore::open(folder.files(), now()).expect("a pair");
    let of_another = fs::read(folder.0.join("key.pem")).expect("a key");
    folder.write(2030);
    fs::write(folder.0.join("key.pem"), of_another).expect("a file");
    refused(folder.files(), "is no key for the certificate");
    fs::write(folder.0.join("key.pem"), "nothing").expect("a file");
    refused(folder.files(), "holds no private key");
    fs::write(folder.0.join("certificate.pem"), "nothing").expect("a file");
    refused(folder.files(), "holds no certificate");
    fs::write(folder.0.join("certificate.pem"), vec![b'\n'; (1 << 20) + 1]).expect("a file");
    refused(folder.files(), "larger than");
}

#[test]
fn what_was_read_stays_until_something_better_is_there() {
    let folder = Folder::new("stays");
    folder.write(2030);
    let store = TlsStore::open(folder.files(), now()).expect("a pair");
    let first = store.current();
    assert!(!store.has_changed());
    fs::write(folder.0.join("certificate.pem"), "half of").expect("a file");
    assert!(store.has_changed());
    store.reload(now()).expect_err("no certificate");
    assert!(!store.has_changed(), "a bad file is read once");
    assert!(Arc::ptr_eq(&first, &store.current()));
    folder.write(2020);
    store.reload(now()).expect_err("it has expired");
    assert!(Arc::ptr_eq(&first, &store.current()));
    folder.write(2031);
    assert!(store.has_changed());
    store.reload(now()).expect("a pair");
    assert!(!Arc::ptr_eq(&first, &store.current()));
}
