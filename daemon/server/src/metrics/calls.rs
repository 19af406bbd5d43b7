//! Calls: how many, of which rpc and code, how long, and how many are open.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Instant;

use metrics::{Counter, Gauge, Histogram};
use prost_reflect::DescriptorPool;
use tonic::Code;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tower::{Layer, Service};

use super::code_name;
use super::names::{REQUEST_SECONDS, REQUESTS, REQUESTS_IN_FLIGHT};
use crate::ending::{Answer, OpenCall, follow};

/// Label of calls to what is not served; their paths are the callers' words.
const UNKNOWN: &str = "unknown";
/// Codes of gRPC.
const CODES: usize = 17;

/// Adds [`CallMeter`] to a service.
#[derive(Clone)]
pub(crate) struct CallMeterLayer(Option<Arc<CallMeters>>);

/// What is recorded of every rpc.
struct CallMeters {
    rpcs: HashMap<String, Arc<RpcMeters>>,
    unknown: Arc<RpcMeters>,
    in_flight: Gauge,
}

/// What is recorded of one rpc. Series come up with the first call of their kind: most rpcs of a daemon are never called.
struct RpcMeters {
    rpc: String,
    seconds: OnceLock<Histogram>,
    codes: [OnceLock<Counter>; CODES],
}

impl CallMeterLayer {
    /// Records nothing.
    pub(crate) fn off() -> Self {
        Self(None)
    }

    /// Records calls of the rpcs in `descriptors`, encoded sets of files, by the recorder of this moment.
    pub(crate) fn on(descriptors: &[&[u8]]) -> anyhow::Result<Self> {
        let mut rpcs = HashMap::new();
        for &set in descriptors {
            for service in DescriptorPool::decode(set)?.services() {
                for method in service.methods() {
                    let rpc = format!("{}/{}", service.full_name(), method.name());
                    rpcs.insert(format!("/{rpc}"), Arc::new(RpcMeters::new(rpc)));
                }
            }
        }
        let unknown = Arc::new(RpcMeters::new(UNKNOWN.to_owned()));
        Ok(Self(Some(Arc::new(CallMeters { rpcs, unknown, in_flight: metrics::gauge!(REQUESTS_IN_FLIGHT) }))))
    }
}

impl CallMeters {
    fn begin(&self, path: &str) -> MeteredCall {
        self.in_flight.increment(1.0);
        MeteredCall {
            rpc: Arc::clone(self.rpcs.get(path).unwrap_or(&self.unknown)),
            in_flight: self.in_flight.clone(),
            started: Instant::now(),
            code: None,
        }
    }
}

impl RpcMeters {
    fn new(rpc: String) -> Self {
        Self { rpc, seconds: OnceLock::new(), codes: [const { OnceLock::new() }; CODES] }
    }

    fn seconds(&self) -> &Histogram {
        self.seconds.get_or_init(|| metrics::histogram!(REQUEST_SECONDS, "rpc" => self.rpc.clone()))
    }

    fn count(&self, code: Code) {
        let register = || metrics::counter!(REQUESTS, "rpc" => self.rpc.clone(), "code" => code_name(code));
        if let Some(counter) = self.codes.get(code as usize) {
            counter.get_or_init(register).increment(1);
        }
    }
}

/// A call that has begun; it ends when this is dropped.
struct MeteredCall {
    rpc: Arc<RpcMeters>,
    in_flight: Gauge,
    started: Instant,
    code: Option<Code>,
}

impl OpenCall for MeteredCall {
    fn ended(&mut self, code: Code) {
        self.code = Some(code);
    }
}

impl Drop for MeteredCall {
    fn drop(&mut self) {
        self.in_flight.decrement(1.0);
        self.rpc.seconds().record(self.started.elapsed());
        // Nothing has said how it ended: the caller left before it did.
        self.rpc.count(self.code.unwrap_or(Code::Cancelled));
    }
}

impl<S> Layer<S> for CallMeterLayer {
    type Service = CallMeter<S>;

    fn layer(&self, inner: S) -> CallMeter<S> {
        CallMeter { inner, meters: self.0.clone() }
    }
}

/// A service whose calls are recorded.
#[derive(Clone)]
pub(crate) struct CallMeter<S> {
    inner: S,
    meters: Option<Arc<CallMeters>>,
}

impl<S> Service<Request<Body>> for CallMeter<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Answer<S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Answer<S::Error> {
        let open = self.meters.as_ref().map(|meters| meters.begin(request.uri().path()));
        let answer = self.inner.call(request);
        let Some(open) = open else { return Box::pin(answer) };
        Box::pin(follow(answer, open))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::BodyExt;
    use hyper::body::Bytes;
    use metrics_exporter_prometheus::PrometheusBuilder;
    use tonic::Status;
    use tonic::codegen::http::HeaderMap;

    use super::*;

    /// Answers by the path: with a message and trailers, with an error alone, or never.
    #[derive(Clone)]
    struct ByPath;

    impl Service<Request<Body>> for ByPath {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = Answer<Infallible>;

        fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<Body>) -> Answer<Infallible> {
            let path = request.uri().path().to_owned();
            Box::pin(async move {
                match path.rsplit('/').next() {
                    Some("Match") => {
                        let trailers = HeaderMap::from_iter([("grpc-status".parse().expect("a name"), 0.into())]);
                        let body = http_body_util::Full::new(Bytes::from_static(b"message"));
                        let body = body.with_trailers(async { Some(Ok(trailers)) });
                        Ok(Response::new(Body::new(body)))
                    }
                    Some("Embed") => std::future::pending().await,
                    _ => Ok(Status::not_found("nothing").into_http()),
                }
            })
        }
    }

    #[tokio::test]
    async fn calls_are_counted_when_they_end_and_by_how_they_end() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let page = recorder.handle();
        let _recording = metrics::set_default_local_recorder(&recorder);
        let layer = CallMeterLayer::on(&[fitment_proto::FILE_DESCRIPTOR_SET]).expect("descriptors");
        let mut service = layer.layer(ByPath);
        let mut call = |path: &str| service.call(Request::builder().uri(path).body(Body::empty()).expect("a request"));
        let series = |labels: &str| format!("fitment_requests_total{{{labels}}}");
        let matched = series(r#"rpc="fitment.v1.MatcherService/Match",code="OK""#);

        let answer = call("/fitment.v1.MatcherService/Match").await.expect("an answer");
        assert!(!page.render().contains(&matched), "its body has not been sent yet");
        assert!(page.render().contains("fitment_requests_in_flight 1"));
        answer.into_body().collect().await.expect("a body");
        assert!(page.render().contains(&format!("{matched} 1")), "{}", page.render());

        call("/fitment.v1.InfoService/GetServerInfo").await.expect("an answer");
        call("/what/callers/like").await.expect("an answer");
        drop(call("/fitment.v1.MatcherService/Embed"));
        let page = page.render();
        for labels in [
            r#"rpc="fitment.v1.InfoService/GetServerInfo",code="NOT_FOUND""#,
            r#"rpc="unknown",code="NOT_FOUND""#,
            r#"rpc="fitment.v1.MatcherService/Embed",code="CANCELLED""#,
        ] {
            assert!(page.contains(&format!("{} 1", series(labels))), "{labels} is missing in:\n{page}");
        }
        assert!(page.contains("fitment_requests_in_flight 0"), "{page}");
        assert!(!page.contains("callers"), "a path is no label");
    }
}
