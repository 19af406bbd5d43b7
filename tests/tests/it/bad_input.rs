//! Bad input of every kind gets its documented code and details, and the daemon goes on.

use bytes::{Buf, BufMut};
use fitment_proto::v1;
use fitment_tests::{Daemon, manifest};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use crate::matching::{create, intent, small_catalog};

#[track_caller]
fn check(status: &Status, code: Code, reason: &str, field: &str) {
    assert_eq!(status.code(), code, "{status}");
    let details = status.get_error_details();
    let info = details.error_info().expect("an ErrorInfo on every error");
    assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason, "fitment"), "{status}");
    if !field.is_empty() {
        let violations = &details.bad_request().expect("a BadRequest").field_violations;
        assert!(violations.iter().any(|violation| violation.field.contains(field)), "{violations:?}");
    }
}

#[tokio::test]
async fn requests_that_break_their_limits() -> anyhow::Result<()> {
    let (_folder, daemon) = small_catalog().await?;
    let mut matcher = daemon.matcher().await?;
    let mut nan = vec![0.05; 384];
    nan[7] = f32::NAN;
    let filter = |text: &str| Some(v1::FilterInput { form: Some(v1::filter_input::Form::Expression(text.to_owned())) });
    let mut deep = v1::Filter { condition: Some(v1::filter::Condition::Tag("a".into())) };
    for _ in 0..80 {
        deep = v1::Filter { condition: Some(v1::filter::Condition::Not(Box::new(deep))) };
    }
    let deep = Some(v1::FilterInput { form: Some(v1::filter_input::Form::Tree(deep)) });
    let leaf = |condition| {
        let tree = v1::Filter { condition: Some(condition) };
        Some(v1::FilterInput { form: Some(v1::filter_input::Form::Tree(tree)) })
    };
    let tag = leaf(v1::filter::Condition::Tag("A tag".into()));
    let version = leaf(v1::filter::Condition::MinVersion("new".into()));
    let cases = [
        (v1::MatchRequest { filter: tag, ..intent("pay") }, "INVALID_FIELD", "filter.tag"),
        (v1::MatchRequest { filter: version, ..intent("pay") }, "INVALID_FIELD", "filter.min_version"),
        (intent("\u{200b}\u{feff}"), "INVALID_FIELD", "intent"),
        (intent(""), "INVALID_FIELD", "intent"),
        (intent(" \n\t "), "INVALID_FIELD", "intent"),
        (intent(&"pay ".repeat(1 << 18)), "INVALID_FIELD", "intent"),
        (v1::MatchRequest { top_k: 101, ..intent("pay") }, "INVALID_FIELD", "top_k"),
        (v1::MatchRequest { vector: vec![1.0; 3], ..intent("pay") }, "INVALID_FIELD", "vector"),
        (v1::MatchRequest { vector: nan, ..intent("pay") }, "INVALID_FIELD", "vector"),
        (v1::MatchRequest { vector: vec![0.0; 384], ..intent("pay") }, "INVALID_FIELD", "vector"),
        (v1::MatchRequest { vector: vec![1.0; 384], ..intent("pay") }, "INVALID_FIELD", "vector"),
        (v1::MatchRequest { filter: filter("tag:"), ..intent("pay") }, "FILTER_INVALID", "filter"),
        (v1::MatchRequest { filter: filter(&"(".repeat(5000)), ..intent("pay") }, "FILTER_INVALID", "filter"),
        (v1::MatchRequest { filter: deep, ..intent("pay") }, "INVALID_FIELD", "filter"),
    ];
    for (request, reason, field) in cases {
        let status = matcher.r#match(request).await.expect_err(field);
        check(&status, Code::InvalidArgument, reason, field);
    }
    let status = matcher.r#match(v1::MatchRequest { min_revision: 99, ..intent("pay") }).await.expect_err("revision");
    check(&status, Code::FailedPrecondition, "REVISION_NOT_REACHED", "");
    let status = matcher.batch_match(v1::BatchMatchRequest { requests: vec![] }).await.expect_err("empty batch");
    check(&status, Code::InvalidArgument, "INVALID_FIELD", "requests");
    let status = matcher.embed(v1::EmbedRequest { texts: vec!["a".into()], role: 9 }).await.expect_err("no such role");
    check(&status, Code::InvalidArgument, "INVALID_FIELD", "role");
    let texts = vec!["a".to_owned(); 129];
    let status = matcher.embed(v1::EmbedRequest { texts, role: 0 }).await.expect_err("too many texts");
    check(&status, Code::InvalidArgument, "INVALID_FIELD", "texts");
    let status = matcher.r#match(intent(&"x".repeat(5 << 20))).await.expect_err("over the message limit");
    check(&status, Code::ResourceExhausted, "MESSAGE_TOO_LARGE", "");
    // After all of this it still answers.
    assert_eq!(matcher.r#match(intent("pay by card")).await?.into_inner().candidates[0].name, "payments/card-checkout");
    Ok(())
}

/// Sends bytes as they are, where a message is expected.
#[derive(Clone, Copy, Debug, Default)]
struct RawBytes;

impl Codec for RawBytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for RawBytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for RawBytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining()).to_vec()))
    }
}

#[tokio::test]
async fn bytes_that_are_no_message() -> anyhow::Result<()> {
    let (_folder, daemon) = small_catalog().await?;
    let mut raw = tonic::client::Grpc::new(daemon.channel().await?);
    // Field 1 (intent) with invalid UTF-8; a field that promises more than comes; a broken tag.
    for bytes in [vec![0x0a, 0x02, 0xff, 0xfe], vec![0x0a, 0x7f, b'a'], vec![0xff; 12]] {
        raw.ready().await?;
        let path = "/fitment.v1.MatcherService/Match".parse()?;
        let status = raw.unary(Request::new(bytes.clone()), path, RawBytes).await.expect_err("no message");
        check(&status, Code::InvalidArgument, "MALFORMED_MESSAGE", "");
        raw.ready().await?;
        let path = "/fitment.v1.MatcherService/StreamMatch".parse()?;
        let stream = tokio_stream::iter([bytes]);
        let mut answers = raw.streaming(Request::new(stream), path, RawBytes).await?.into_inner();
        let status = answers.message().await.expect_err("no message");
        check(&status, Code::InvalidArgument, "MALFORMED_MESSAGE", "");
    }
    raw.ready().await?;
    let path = "/fitment.v1.MatcherService/Guess".parse()?;
    let status = raw.unary(Request::new(vec![]), path, RawBytes).await.expect_err("no such method");
    check(&status, Code::Unimplemented, "METHOD_UNKNOWN", "");
    Ok(())
}

#[tokio::test]
async fn manifests_that_are_refused() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let daemon = Daemon::serve(folder.path(), &[])?;
    let mut catalog = daemon.catalog().await?;
    let good = manifest("a/b", "1.0.0", "Does one thing.");
    let open_schema = "config_schema: {type: object, properties: {a: {type: string}}}\n";
    let remote =
        "config_schema: {type: object, additionalProperties: false, properties: {a: {$ref: 'http://127.0.0.1/x'}}}\n";
    let bomb = "&a [x,x,x,x,x,x,x,x,x,x]\n".to_owned() + &["- [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"; 12].concat();
    let cases: [(Vec<u8>, &str); 13] = [
        (good.clone().into_bytes().into_iter().chain(*b"colour: red\n").collect(), "colour"),
        (good.replace("1.0.0", "one").into_bytes(), "version"),
        (good.replace("a/b", "A B").into_bytes(), "name"),
        (good.replace("lifecycle: certified\n", "").into_bytes(), "lifecycle"),
        (good.replace("Apache-2.0", "Free for all").into_bytes(), "license"),
        ((good.clone() + open_schema).into_bytes(), "config_schema"),
        ((good.clone() + remote).into_bytes(), "config_schema"),
        ((good.clone() + "title: twice\n").into_bytes(), ""),
        (bomb.into_bytes(), ""),
        (good.replace("Does one thing", "\u{202e}gniht eno seoD").into_bytes(), "summary"),
        (vec![0xff, 0xfe, 0x00], ""),
        (vec![b'a'; 300 * 1024], ""),
        (Vec::new(), ""),
    ];
    for (bytes, field) in cases {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        let request = v1::CreateComponentRequest { manifest: bytes, source: "part.yaml".into(), ..Default::default() };
        let status = catalog.create_component(request).await.expect_err(&shown);
        check(&status, Code::InvalidArgument, "MANIFEST_INVALID", field);
        assert!(status.message().contains("part.yaml"), "the message names the source: {status}");
    }
    let request = v1::CreateComponentRequest { manifest: good.into_bytes(), validate_only: true, ..Default::default() };
    assert_eq!(catalog.create_component(request).await?.into_inner().revision, 0);
    let listed = catalog.list_components(v1::ListComponentsRequest::default()).await?.into_inner();
    assert_eq!(listed.total_size, 0, "nothing that was refused or only checked is stored");
    for (digest, reason) in [("sha256:12", "INVALID_FIELD"), ("md5:0", "INVALID_FIELD")] {
        let request = v1::GetComponentRequest { digest: digest.into(), ..Default::default() };
        check(&catalog.get_component(request).await.expect_err(digest), Code::InvalidArgument, reason, "digest");
    }
    let request = v1::GetComponentRequest { digest: format!("sha256:{}", "0".repeat(64)), ..Default::default() };
    check(&catalog.get_component(request).await.expect_err("absent"), Code::NotFound, "NOT_FOUND", "");
    create(&mut catalog, manifest("a/b", "1.0.0", "Still takes what is good.")).await?;
    Ok(())
}
