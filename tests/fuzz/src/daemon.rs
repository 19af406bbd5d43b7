//! The daemon's services in process, calls made from bytes, and what must hold of every answer.
//!
//! Messages are made by the protocol's own descriptors: a method or a field that is added is fuzzed without a word here.

mod messages;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use fitment_catalog::{Format, sample};
use fitment_engine::{Author, Engine, Import};
use fitment_server::testing::{self, Services};
use http_body::Body as _;
use prost_reflect::prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, Value};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Response, header};
use tonic::codegen::{Bytes, Service as _};

pub use messages::message;

/// Calls after which a new catalogue is begun, so that one input never has much of a history.
const CALLS: usize = 2000;
/// Answers of one stream that are read.
const ANSWERS: usize = 16;
/// Texts of earlier answers that later messages may hold.
const REMEMBERED: usize = 48;
/// How long a stream may be silent before it is left: those that wait for what never happens have no end.
const SILENCE: Duration = Duration::from_millis(20);

/// Every method of the protocol, in order.
pub fn methods() -> Vec<MethodDescriptor> {
    let pool = DescriptorPool::decode(fitment_proto::FILE_DESCRIPTOR_SET).expect("the protocol's own descriptors");
    let services: Vec<_> = pool.services().collect();
    services.iter().flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
}

/// Services over a catalogue that is thrown away now and then.
pub struct Daemon {
    runtime: Runtime,
    opened: Option<Opened>,
    calls: usize,
    /// Names, tokens, etags and digests of what was answered, newest last.
    pub remembered: VecDeque<String>,
}

struct Opened {
    services: Services,
    /// Dropped after what lies in it.
    _folder: TempDir,
}

impl Default for Daemon {
    fn default() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { runtime, opened: None, calls: 0, remembered: VecDeque::new() }
    }
}

impl Daemon {
    fn open(&mut self) {
        if self.opened.is_some() {
            self.verify_trail();
        }
        // The one before lets its files go first.
        self.opened = None;
        self.remembered.clear();
        let folder = crate::scratch();
        let config = testing::config(folder.path()).expect("a configuration");
        let now = Arc::new(AtomicI64::new(crate::now().as_second()));
        let engine = testing::open(&config, &now).expect("an engine");
        self.runtime.block_on(fill(&engine));
        // The sender is dropped: streams that follow the catalogue end when they have nothing more to say.
        let services = self.runtime.block_on(async { testing::services(&config, engine) });
        let (services, _stop) = services.expect("the services");
        self.opened = Some(Opened { services, _folder: folder });
        self.calls = 0;
    }

    /// Whatever was asked for, the audit trail is whole.
    fn verify_trail(&mut self) {
        let verify = methods().into_iter().find(|method| method.name() == "VerifyAudit").expect("a method");
        assert_eq!(self.ask(&verify, &[Vec::new()]).len(), 1, "the audit trail was not verified");
    }

    /// Makes one call with messages as they are, and looks at all that is answered.
    ///
    /// # Panics
    /// When an answer is none that a client may see: an internal error, one without details, bytes that are no message.
    pub fn call(&mut self, method: &MethodDescriptor, messages: &[Vec<u8>]) {
        if self.opened.is_none() || self.calls >= CALLS {
            self.open();
        }
        self.calls += 1;
        for message in self.ask(method, messages) {
            self.remember(&message);
        }
    }

    fn ask(&self, method: &MethodDescriptor, messages: &[Vec<u8>]) -> Vec<DynamicMessage> {
        let mut sent = Vec::new();
        for message in messages {
            sent.push(0);
            sent.extend(u32::try_from(message.len()).expect("a small message").to_be_bytes());
            sent.extend_from_slice(message);
        }
        let request = Request::builder()
            .method("POST")
            .uri(format!("/{}/{}", method.parent_service().full_name(), method.name()))
            .header(header::CONTENT_TYPE, "application/grpc")
            .header("te", "trailers")
            .body(Body::new(http_body_util::Full::new(Bytes::from(sent))))
            .expect("a request");
        let mut services = self.opened.as_ref().expect("opened above").services.clone();
        self.runtime.block_on(async {
            poll_fn(|context| services.poll_ready(context)).await.expect("infallible");
            read(method, services.call(request).await.expect("infallible")).await
        })
    }

    fn remember(&mut self, message: &DynamicMessage) {
        for (_, value) in message.fields() {
            self.remember_value(value);
        }
    }

    fn remember_value(&mut self, value: &Value) {
        match value {
            Value::String(text) if !text.is_empty() && text.len() <= 256 && !self.remembered.contains(text) => {
                if self.remembered.len() >= REMEMBERED {
                    self.remembered.pop_front();
                }
                self.remembered.push_back(text.clone());
            }
            Value::Message(message) => self.remember(message),
            Value::List(items) => items.iter().take(8).for_each(|item| self.remember_value(item)),
            _ => {}
        }
    }
}

/// A few components of the sample, so that there is something to ask about.
async fn fill(engine: &Engine) {
    let imports = sample().step_by(9).map(|file| Import {
        manifest: file.bytes.to_vec(),
        format: Format::Yaml,
        source: file.path.to_owned(),
        expected_digest: String::new(),
        request_id: String::new(),
        author: Author::default(),
        allow_near_duplicate: true,
        standing: Vec::new(),
    });
    for written in engine.import(imports.collect()).await.expect("an import") {
        written.expect("a sample manifest");
    }
}

async fn read(method: &MethodDescriptor, response: Response<Body>) -> Vec<DynamicMessage> {
    let name = method.full_name();
    assert_eq!(response.status(), 200, "{name}");
    if response.headers().contains_key("grpc-status") {
        judge(name, response.headers());
        return Vec::new();
    }
    let mut body = response.into_body();
    let (mut bytes, mut frames) = (Vec::new(), 0);
    loop {
        let frame = poll_fn(|context| Pin::new(&mut body).poll_frame(context));
        let Ok(Some(frame)) = tokio::time::timeout(SILENCE, frame).await else { break };
        match frame.expect("a frame").into_data() {
            Ok(data) => bytes.extend_from_slice(&data),
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    judge(name, &trailers);
                }
                break;
            }
        }
        frames += 1;
        if frames >= ANSWERS {
            break;
        }
    }
    let mut messages = Vec::new();
    let mut rest = bytes.as_slice();
    while let Some((prefix, after)) = rest.split_at_checked(5) {
        let length = u32::from_be_bytes(prefix[1..].try_into().expect("four bytes")) as usize;
        let Some((message, after)) = after.split_at_checked(length) else { break };
        let read = DynamicMessage::decode(method.output(), message);
        let read = read.unwrap_or_else(|error| panic!("{name} answers with bytes that are no message: {error}"));
        // What is sent is no more than what its descriptor says.
        assert_eq!(read.encoded_len(), message.len(), "{name} answers with something that the protocol does not know");
        messages.push(read);
        rest = after;
    }
    messages
}

/// What a refusal must be: a documented code, words, an `ErrorInfo` among its details, all of it small.
fn judge(method: &str, headers: &HeaderMap) {
    use tonic_types::StatusExt as _;
    let Some(status) = tonic::Status::from_header_map(headers) else { return };
    match status.code() {
        tonic::Code::Ok => return,
        // Who says that another record was there is told that the chain is broken; `verify_trail` says nothing of the sort.
        tonic::Code::DataLoss if method.ends_with(".VerifyAudit") => {}
        tonic::Code::Unknown | tonic::Code::Internal | tonic::Code::DataLoss => {
            panic!("{method} fails by itself: {status:?}")
        }
        _ => {}
    }
    assert!(!status.message().is_empty(), "{method} refuses without words");
    // As much as the transport takes: 16 KiB of headers are allowed to a client's answer.
    assert!(status.message().len() <= 16 * 1024, "{method} refuses with {} bytes", status.message().len());
    assert!(status.get_details_error_info().is_some(), "{method} refuses without details: {status:?}");
}
