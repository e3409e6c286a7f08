//! Asking models over HTTP: attempts, deadlines and back-off around the core's codecs. What a model says goes to the
//! room that asked, as inputs.

pub(crate) mod limiter;

use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout_at};
use weeziq_core::ai::model::{ModelEvent, ModelFailure, ModelRequest, Provider, ProviderCall};
use weeziq_core::ai::{demo, gemini, openai, status};
use weeziq_core::ids::{RoomId, RunId};
use weeziq_core::rooms::RoomInput;

use crate::settings::{Secret, Settings};
use crate::shard::mailbox::Shards;

#[derive(Clone)]
pub(crate) struct Asker {
    runtime: Handle,
    client: reqwest::Client,
    openai: Endpoint,
    google: Endpoint,
    first_token: Duration,
    total: Duration,
}

#[derive(Clone)]
struct Endpoint {
    base_url: String,
    key: Option<Secret>,
}

/// A failure before the first token is tried again; a time-out has cost so much already that it counts for two.
const ATTEMPTS: u32 = 3;
const BACK_OFF: Duration = Duration::from_millis(250);
/// What a provider may ask us to wait; it is the visitor who waits.
const RETRY_AFTER_MS_MAX: u64 = 5_000;
/// An error's body is read that far.
const ERROR_BYTES_MAX: usize = 64 * 1024;
/// The demo's pace: about that of a fast model.
const DEMO_WORD: Duration = Duration::from_millis(30);

impl Asker {
    pub(crate) fn new(runtime: Handle, settings: &Settings) -> Result<Self, String> {
        let client = reqwest::Client::builder()
            .connect_timeout(Duration::from_millis(settings.ai_first_token_ms))
            .user_agent(concat!("weeziq/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none()) // a redirect would carry the key elsewhere
            .build()
            .map_err(|error| format!("TLS cannot be set up: {error}"))?;
        let endpoint = |url: &Option<String>, default: &str, key: &Option<Secret>| Endpoint {
            base_url: url.clone().filter(|url| !url.is_empty()).unwrap_or_else(|| default.into()),
            key: key.clone().filter(|key| !key.reveal().is_empty()),
        };
        Ok(Self {
            runtime,
            client,
            openai: endpoint(
                &settings.openai_base_url,
                "https://api.openai.com/v1",
                &settings.openai_api_key,
            ),
            google: endpoint(
                &settings.google_ai_base_url,
                "https://generativelanguage.googleapis.com",
                &settings.google_ai_api_key,
            ),
            first_token: Duration::from_millis(settings.ai_first_token_ms),
            total: Duration::from_millis(settings.ai_total_ms),
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
        let end = Instant::now() + self.total;
        let mut attempt = 0;
        loop {
            let failure = match self.attempt(request, end, &tell).await {
                Ok(()) => return,
                Err(failure) => failure,
            };
            tracing::warn!(
                provider = request.provider.as_str(),
                model = request.model,
                ?failure,
                attempt,
                "a model did not answer"
            );
            attempt += if failure == ModelFailure::Timeout { 2 } else { 1 };
            let wait = back_off(&failure, attempt);
            if !failure.is_transient() || attempt >= ATTEMPTS || Instant::now() + wait >= end {
                return tell(ModelEvent::Failed(failure));
            }
            sleep(wait).await;
        }
    }

    /// One request. An error means that nothing of an answer has been told.
    async fn attempt(
        &self,
        request: &ModelRequest,
        end: Instant,
        tell: impl Fn(ModelEvent),
    ) -> Result<(), ModelFailure> {
        let first_token = (Instant::now() + self.first_token).min(end);
        let (call, mut decoder) = self.call(request);
        let mut response = within(first_token, self.send(call)).await??;
        let mut deadline = first_token;
        let mut has_begun = false;
        let mut events = Vec::new();
        loop {
            let chunk = within(deadline, response.chunk()).await;
            let broken = match chunk {
                Ok(Ok(Some(bytes))) => {
                    decoder.push(&bytes, &mut events);
                    None
                }
                Ok(Ok(None)) => {
                    decoder.end(&mut events);
                    None
                }
                Ok(Err(_)) if has_begun => Some(ModelFailure::Incomplete),
                Ok(Err(_)) => Some(ModelFailure::Unavailable),
                Err(timeout) => Some(timeout),
            };
            events.extend(broken.map(ModelEvent::Failed));
            for event in events.drain(..) {
                match event {
                    ModelEvent::Failed(failure) if !has_begun => return Err(failure),
                    event => {
                        has_begun |= matches!(event, ModelEvent::Delta(_) | ModelEvent::Finished(_));
                        let is_terminal = event.is_terminal();
                        tell(event);
                        if is_terminal {
                            return Ok(());
                        }
                    }
                }
            }
            if has_begun {
                deadline = end;
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

    fn call(&self, request: &ModelRequest) -> (ProviderCall, Decoder) {
        let key = |endpoint: &Endpoint| endpoint.key.as_ref().map(|key| key.reveal().to_owned());
        if request.provider == Provider::Google {
            let call = gemini::call(&self.google.base_url, key(&self.google).as_deref(), request);
            return (call, Decoder::Google(gemini::Decoder::default()));
        }
        let call = openai::call(&self.openai.base_url, key(&self.openai).as_deref(), request);
        (call, Decoder::OpenAi(openai::Decoder::default()))
    }
}

enum Decoder {
    OpenAi(openai::Decoder),
    Google(gemini::Decoder),
}

impl Decoder {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<ModelEvent>) {
        match self {
            Self::OpenAi(decoder) => decoder.push(bytes, out),
            Self::Google(decoder) => decoder.push(bytes, out),
        }
    }

    fn end(&mut self, out: &mut Vec<ModelEvent>) {
        match self {
            Self::OpenAi(decoder) => decoder.end(out),
            Self::Google(decoder) => decoder.end(out),
        }
    }
}

async fn within<T>(deadline: Instant, work: impl Future<Output = T>) -> Result<T, ModelFailure> {
    timeout_at(deadline, work).await.map_err(|_| ModelFailure::Timeout)
}

/// Twice as long each time, and never the same for all who failed together.
fn back_off(failure: &ModelFailure, attempt: u32) -> Duration {
    if let ModelFailure::Overloaded { retry_after_ms: Some(ms) } = failure {
        return Duration::from_millis((*ms).min(RETRY_AFTER_MS_MAX));
    }
    let jitter = getrandom::u32().unwrap_or_default() % 100;
    BACK_OFF * 2u32.saturating_pow(attempt.saturating_sub(1)) * (50 + jitter) / 100
}

async fn say_demo(request: &ModelRequest, tell: impl Fn(ModelEvent)) {
    for piece in demo::pieces(&demo::answer(request)) {
        tell(ModelEvent::Delta(piece.into()));
        sleep(DEMO_WORD).await;
    }
    tell(ModelEvent::Finished(weeziq_core::ai::model::FinishReason::Stop));
}
