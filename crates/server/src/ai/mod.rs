//! Asking models over HTTP: attempts, deadlines and back-off around the core's codecs. What a model says goes to the
//! room that asked, as inputs.

pub(crate) mod limiter;

use std::pin::pin;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until};
use weeziq_core::access::secret::Secret;
use weeziq_core::ai::asking::{
    Attempts, DEMO_WORD_MS, ERROR_BYTES_MAX, Endpoint, Patience, Piece, Progress, Providers,
};
use weeziq_core::ai::model::{ModelEvent, ModelFailure, ModelRequest, Provider, ProviderCall};
use weeziq_core::ai::{demo, status};
use weeziq_core::ids::{RoomId, RunId};
use weeziq_core::rooms::RoomInput;
use weeziq_core::time::UnixMs;

use crate::settings::Settings;
use crate::shard::mailbox::Shards;

#[derive(Clone)]
pub(crate) struct Asker {
    runtime: Handle,
    client: reqwest::Client,
    providers: Providers,
    patience: Patience,
    /// What instants are counted from.
    epoch: Instant,
}

impl Asker {
    pub(crate) fn new(runtime: Handle, settings: &Settings) -> Result<Self, String> {
        let client = reqwest::Client::builder()
            .connect_timeout(Duration::from_millis(settings.ai_first_token_ms))
            .user_agent(concat!("weeziq/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none()) // a redirect would carry the key elsewhere
            .build()
            .map_err(|error| format!("TLS cannot be set up: {error}"))?;
        let endpoint = |url: &Option<String>, default, key: &Option<Secret>| {
            Endpoint::new(url.as_deref(), default, key.clone())
        };
        Ok(Self {
            runtime,
            client,
            providers: Providers {
                openai: endpoint(&settings.openai_base_url, Providers::OPENAI_URL, &settings.openai_api_key),
                google: endpoint(
                    &settings.google_ai_base_url,
                    Providers::GOOGLE_URL,
                    &settings.google_ai_api_key,
                ),
            },
            patience: Patience {
                first_token_ms: settings.ai_first_token_ms as i64,
                total_ms: settings.ai_total_ms as i64,
            },
            epoch: Instant::now(),
        })
    }

    /// Asks beside the loop. Aborting the task drops the upstream request.
    pub(crate) fn ask(&self, shards: Shards, room: RoomId, run: RunId, request: ModelRequest) -> AbortHandle {
        let asker = self.clone();
        let task = self.runtime.spawn(async move {
            let tell = |event| shards.to_room(room.clone(), RoomInput::Model { run, event });
            match request.provider {
                Provider::Demo => say_demo(&request, tell).await,
                Provider::OpenAi | Provider::Google => asker.ask_provider(&request, tell).await,
            }
        });
        task.abort_handle()
    }

    async fn ask_provider(&self, request: &ModelRequest, tell: impl Fn(ModelEvent)) {
        let mut attempts = Attempts::begin(self.patience, self.now());
        loop {
            let Err(failure) = self.attempt(request, &attempts, &tell).await else {
                return;
            };
            let (provider, model) = (request.provider.as_str(), &request.model);
            tracing::warn!(provider, model, ?failure, "a model did not answer");
            let jitter = getrandom::u32().unwrap_or_default();
            match attempts.again_after(&failure, self.now(), jitter) {
                Some(ms) => sleep(Duration::from_millis(ms)).await,
                None => return tell(ModelEvent::Failed(failure)),
            }
        }
    }

    /// One request. An error means that nothing of an answer has been told.
    async fn attempt(
        &self,
        request: &ModelRequest,
        attempts: &Attempts,
        tell: impl Fn(ModelEvent),
    ) -> Result<(), ModelFailure> {
        let first_token = attempts.first_token_by(self.now());
        let (call, mut reading) = self.providers.call(request);
        // One timer for the whole of it: one a piece would cost as much as the piece.
        let mut deadline = pin!(sleep_until(self.instant(first_token)));
        let mut response = tokio::select! {
            biased;
            () = deadline.as_mut() => return Err(ModelFailure::Timeout),
            sent = self.send(call) => sent?,
        };
        loop {
            let had_begun = reading.has_begun();
            let read = tokio::select! {
                biased;
                () = deadline.as_mut() => None,
                read = response.chunk() => Some(read),
            };
            let piece = match &read {
                Some(Ok(Some(bytes))) => Piece::Bytes(bytes),
                Some(Ok(None)) => Piece::End,
                Some(Err(_)) => Piece::Broken(ModelFailure::Unavailable),
                None => Piece::Broken(ModelFailure::Timeout),
            };
            if reading.take(piece, &tell)? == Progress::Over {
                return Ok(());
            }
            if reading.has_begun() && !had_begun {
                deadline.as_mut().reset(self.instant(attempts.end()));
            }
        }
    }

    async fn send(&self, call: ProviderCall) -> Result<reqwest::Response, ModelFailure> {
        let mut post = self.client.post(call.url).body(call.body);
        for (name, value) in call.headers {
            post = post.header(name, value);
        }
        let mut response = post.send().await.map_err(|_| ModelFailure::Unavailable)?;
        if response.status().is_success() {
            return Ok(response);
        }
        let retry_after =
            response.headers().get("retry-after").and_then(|value| value.to_str().ok()).map(String::from);
        let mut body = Vec::new();
        while let Ok(Some(bytes)) = response.chunk().await {
            body.extend_from_slice(&bytes);
            if body.len() > ERROR_BYTES_MAX {
                break;
            }
        }
        Err(status::failure(response.status().as_u16(), retry_after.as_deref(), &body))
    }

    fn now(&self) -> UnixMs {
        UnixMs(self.epoch.elapsed().as_millis() as i64)
    }

    /// The other way round than [`Asker::now`].
    fn instant(&self, at: UnixMs) -> Instant {
        self.epoch + Duration::from_millis(at.0.max(0) as u64)
    }
}

async fn say_demo(request: &ModelRequest, tell: impl Fn(ModelEvent)) {
    for piece in demo::pieces(&demo::answer(request)) {
        tell(ModelEvent::Delta(piece.into()));
        sleep(Duration::from_millis(DEMO_WORD_MS)).await;
    }
    tell(ModelEvent::Finished(weeziq_core::ai::model::FinishReason::Stop));
}
