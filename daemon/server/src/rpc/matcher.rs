//! `MatcherService`: intents in, answers out.

use std::pin::Pin;

use fitment_engine::{CallContext, Engine, EngineError, MAX_INTENT_BYTES, MatchAnswer, MatchQuery};
use fitment_models::TextRole;
use fitment_proto::v1;
use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::context::Asker;
use super::edge::explain_transport;
use super::status::{item_status_of, status_of};
use super::{EngineSlot, MAX_BATCH, MAX_EMBED_TEXTS, convert, count};
use crate::metrics::MatchMeters;
use crate::traces::CallNotes;

/// Intents of one stream that are worked on at once.
const STREAM_CONCURRENCY: usize = 16;
/// Longest id of a streamed intent, in bytes.
const MAX_ID_BYTES: usize = 256;

/// The service.
pub(crate) struct MatcherService {
    pub(crate) engine: EngineSlot,
    pub(crate) meters: MatchMeters,
}

#[tonic::async_trait]
impl v1::matcher_service_server::MatcherService for MatcherService {
    async fn r#match(&self, request: Request<v1::MatchRequest>) -> Result<Response<v1::MatchResponse>, Status> {
        let asking = self.asking(&request)?;
        let context = asking.asker.single();
        asking.answer(request.into_inner(), context).await.map(Response::new).map_err(|error| status_of(&error))
    }

    async fn batch_match(
        &self,
        request: Request<v1::BatchMatchRequest>,
    ) -> Result<Response<v1::BatchMatchResponse>, Status> {
        let asking = self.asking(&request)?;
        let v1::BatchMatchRequest { requests } = request.into_inner();
        if !(1..=MAX_BATCH).contains(&requests.len()) {
            let fault = format!("holds {} intents; send 1 to {MAX_BATCH}", requests.len());
            return Err(status_of(&EngineError::field("requests", fault)));
        }
        let mut items = Vec::with_capacity(requests.len());
        let mut requests = requests.into_iter().enumerate().peekable();
        // In rounds, so that one batch does not fill the encoder's queue for everybody else.
        while requests.peek().is_some() {
            let round = requests.by_ref().take(STREAM_CONCURRENCY).map(|(at, request)| {
                // The first one was counted with the call.
                let context = if at == 0 { Ok(asking.asker.several()) } else { asking.asker.counted() };
                asking.item(request, context)
            });
            for result in join_all(round).await {
                items.push(v1::BatchMatchItem {
                    result: Some(match result {
                        Ok(response) => v1::batch_match_item::Result::Response(response),
                        Err(status) => v1::batch_match_item::Result::Error(status),
                    }),
                });
            }
        }
        Ok(Response::new(v1::BatchMatchResponse { items }))
    }

    type StreamMatchStream = Pin<Box<dyn Stream<Item = Result<v1::StreamMatchResponse, Status>> + Send>>;

    async fn stream_match(
        &self,
        request: Request<Streaming<v1::StreamMatchRequest>>,
    ) -> Result<Response<Self::StreamMatchStream>, Status> {
        let asking = self.asking(&request)?;
        let (answers, stream) = mpsc::channel(STREAM_CONCURRENCY);
        tokio::spawn(pump(asking, request.into_inner(), answers));
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn explain(&self, request: Request<v1::ExplainRequest>) -> Result<Response<v1::ExplainResponse>, Status> {
        let asking = self.asking(&request)?;
        let context = asking.asker.single();
        let request = request.into_inner().request.unwrap_or_default();
        let explained = async {
            let query = MatchQuery { explain: true, context, ..convert::match_query(request)? };
            let mut answer = asking.ask(query).await?;
            let explanation = answer.explanation.take();
            let explanation = explanation.map(|explanation| convert::explanation(explanation, &answer));
            Ok(v1::ExplainResponse { response: Some(convert::match_response(answer, &asking.engine)), explanation })
        };
        explained.await.map(Response::new).map_err(|error: EngineError| status_of(&error))
    }

    async fn embed(&self, request: Request<v1::EmbedRequest>) -> Result<Response<v1::EmbedResponse>, Status> {
        let engine = self.engine.of(&request)?;
        let context = Asker::of(&request).several();
        embed(&engine, request.into_inner(), &context).await.map(Response::new).map_err(|error| status_of(&error))
    }
}

/// Whom a call asks, and who is told of its answers.
#[derive(Clone)]
struct Asking {
    engine: Engine,
    meters: MatchMeters,
    asker: Asker,
    /// `None`: the call is not traced.
    notes: Option<CallNotes>,
}

impl MatcherService {
    fn asking<T>(&self, request: &Request<T>) -> Result<Asking, Status> {
        let engine = self.engine.of(request)?;
        let asker = Asker::of(request);
        Ok(Asking { engine, meters: self.meters.clone(), asker, notes: request.extensions().get().cloned() })
    }
}

impl Asking {
    async fn answer(&self, request: v1::MatchRequest, context: CallContext) -> Result<v1::MatchResponse, EngineError> {
        let query = MatchQuery { remember: true, context, ..convert::match_query(request)? };
        let answer = self.ask(query).await?;
        Ok(convert::match_response(answer, &self.engine))
    }

    /// One item of a batch or a stream, unless it was one too many.
    async fn item(
        &self,
        request: v1::MatchRequest,
        context: Result<CallContext, v1::ItemStatus>,
    ) -> Result<v1::MatchResponse, v1::ItemStatus> {
        self.answer(request, context?).await.map_err(|error| item_status_of(&error))
    }

    async fn ask(&self, query: MatchQuery) -> Result<MatchAnswer, EngineError> {
        let noted = self.notes.as_ref().map(|notes| (notes, query.intent.clone()));
        let answer = self.engine.match_intent(query).await?;
        self.meters.answered(&answer);
        if let Some((notes, intent)) = noted {
            notes.answered(&intent, &answer);
        }
        Ok(answer)
    }
}

/// Answers a stream until either side ends it. Its work is dropped when the caller leaves.
async fn pump(
    asking: Asking,
    mut requests: Streaming<v1::StreamMatchRequest>,
    answers: mpsc::Sender<Result<v1::StreamMatchResponse, Status>>,
) {
    let mut running = JoinSet::new();
    loop {
        let request = tokio::select! {
            () = answers.closed() => return,
            Some(_) = running.join_next(), if running.len() >= STREAM_CONCURRENCY => continue,
            request = requests.next(), if running.len() < STREAM_CONCURRENCY => request,
        };
        match request {
            None => break,
            Some(Err(status)) => {
                // A receiver that left needs no answer.
                drop(answers.send(Err(explain_transport(&status))).await);
                return;
            }
            Some(Ok(v1::StreamMatchRequest { id, request })) => {
                let (asking, answers) = (asking.clone(), answers.clone());
                let context = asking.asker.counted();
                running.spawn(async move {
                    let result = if id.len() > MAX_ID_BYTES {
                        let fault = format!("is {} bytes long, at most {MAX_ID_BYTES} are taken", id.len());
                        Err(item_status_of(&EngineError::field("id", fault)))
                    } else {
                        asking.item(request.unwrap_or_default(), context).await
                    };
                    let result = match result {
                        Ok(response) => v1::stream_match_response::Result::Response(response),
                        Err(status) => v1::stream_match_response::Result::Error(status),
                    };
                    drop(answers.send(Ok(v1::StreamMatchResponse { id, result: Some(result) })).await);
                });
            }
        }
    }
    while running.join_next().await.is_some() {}
}

async fn embed(
    engine: &Engine,
    request: v1::EmbedRequest,
    context: &CallContext,
) -> Result<v1::EmbedResponse, EngineError> {
    let v1::EmbedRequest { texts, role } = request;
    let role = match v1::TextRole::try_from(role) {
        Ok(v1::TextRole::Unspecified | v1::TextRole::Query) => TextRole::Query,
        Ok(v1::TextRole::Document) => TextRole::Document,
        Err(_) => return Err(convert::unknown("role", role)),
    };
    if !(1..=MAX_EMBED_TEXTS).contains(&texts.len()) {
        return Err(EngineError::field("texts", format!("holds {} texts; send 1 to {MAX_EMBED_TEXTS}", texts.len())));
    }
    if let Some((position, text)) = texts.iter().enumerate().find(|(_, text)| text.len() > MAX_INTENT_BYTES) {
        let fault = format!("is {} bytes long, at most {MAX_INTENT_BYTES} are taken", text.len());
        return Err(EngineError::field(format!("texts[{position}]"), fault));
    }
    let (encoded, tokens) = engine.embed(texts, role, context).await?;
    Ok(v1::EmbedResponse {
        embeddings: encoded
            .vectors
            .into_iter()
            .zip(tokens)
            .map(|(vector, tokens)| v1::Embedding { vector: vector.into_inner().into_vec(), tokens: count(tokens) })
            .collect(),
        model_digest: engine.model().digest.to_string(),
        dimension: count(engine.model().dimension),
    })
}
