//! Asking models over HTTP: attempts, deadlines and back-off around the core's codecs. What a model says goes to the
//! room that asked, as inputs.

pub(crate) mod limiter;

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until};
use weeziq_core::ai::asking::{Attempts, DEMO_WORD_MS, ERROR_BYTES_MAX, Patience, Piece, Progress};
use weeziq_core::ai::breaker::{Breakers, Caution, Change, Figures};
use weeziq_core::ai::endpoints::Providers;
use weeziq_core::ai::model::{ModelEvent, ModelFailure, ModelRequest, Provider, ProviderCall};
use weeziq_core::ai::models::{EndpointId, Route};
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
    providers: Arc<Providers>,
    breakers: Arc<Mutex<Breakers>>,
    patience: Patience,
    /// What instants are counted from.
    epoch: Instant,
}

impl Asker {
    pub(crate) fn new(runtime: Handle, settings: &Settings, providers: Providers) -> Result<Self, String> {
        let client = reqwest::Client::builder()
            .connect_timeout(Duration::from_millis(settings.ai_first_token_ms))
            .user_agent(concat!("weeziq/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none()) // a redirect would carry the key elsewhere
            .build()
            .map_err(|error| format!("TLS cannot be set up: {error}"))?;
        let caution =
            Caution { failures: settings.ai_breaker_failures, open_ms: settings.ai_breaker_ms as i64 };
        Ok(Self {
            runtime,
            client,
            breakers: Arc::new(Mutex::new(Breakers::new(providers.count(), caution))),
            providers: Arc::new(providers),
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
            asker.ask_models(&request, tell).await;
        });
        task.abort_handle()
    }

    /// One model after the other, until one answers or there is no time or no model left.
    async fn ask_models(&self, request: &ModelRequest, tell: impl Fn(ModelEvent)) {
        let mut attempts = Attempts::begin(self.patience, request.routes.len(), self.now());
        while let Some(route) = request.routes.get(attempts.route()) {
            let Err(failure) = self.attempt(route, request, &attempts, &tell).await else {
                return;
            };
            let (provider, model) = (route.provider.as_str(), &route.model);
            tracing::warn!(provider, %model, ?failure, "a model did not answer");
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
        route: &Route,
        request: &ModelRequest,
        attempts: &Attempts,
        tell: impl Fn(ModelEvent),
    ) -> Result<(), ModelFailure> {
        if route.provider == Provider::Demo {
            say_demo(route, request, attempts, tell).await;
            return Ok(());
        }
        let begun = self.now();
        self.breakers().admit(route.endpoint, begun)?;
        let failed = |failure: &ModelFailure| {
            let change = self.breakers().failed(route.endpoint, failure, self.now());
            self.note_breaker(route.endpoint, change);
        };
        let tell = |event| {
            if let ModelEvent::Failed(failure) = &event {
                failed(failure);
            }
            tell(event);
        };
        let answered = || {
            let change = self.breakers().answered(route.endpoint, self.now().since(begun));
            self.note_breaker(route.endpoint, change);
        };
        let done = self.exchange(route, request, attempts, answered, tell).await;
        done.inspect_err(failed)
    }

    fn note_breaker(&self, endpoint: EndpointId, change: Option<Change>) {
        let endpoint = self.providers.base_url(endpoint);
        match change {
            Some(Change::Opened) => tracing::warn!(endpoint, "breaker opened: its models are left alone"),
            Some(Change::Closed) => tracing::info!(endpoint, "breaker closed: its models answer again"),
            None => {}
        }
    }

    /// Sends the request and reads the reply. `answered` is called at its first token.
    async fn exchange(
        &self,
        route: &Route,
        request: &ModelRequest,
        attempts: &Attempts,
        answered: impl Fn(),
        tell: impl Fn(ModelEvent),
    ) -> Result<(), ModelFailure> {
        let first_token = attempts.first_token_by(self.now());
        let (call, reading) = self.providers.call(route, request);
        let mut reading = if attempts.route() > 0 { reading.instead(route) } else { reading };
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
            let progress = reading.take(piece, &tell)?;
            if reading.has_begun() && !had_begun {
                answered();
                deadline.as_mut().reset(self.instant(attempts.end()));
            }
            if progress == Progress::Over {
                return Ok(());
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

    /// What has come of each endpoint, by its address.
    pub(crate) fn figures(&self) -> Vec<(String, Figures)> {
        let figures: Vec<Figures> = self.breakers().figures().copied().collect();
        self.providers.base_urls().map(|(_, url)| url.into()).zip(figures).collect()
    }

    fn breakers(&self) -> MutexGuard<'_, Breakers> {
        self.breakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> UnixMs {
        UnixMs(self.epoch.elapsed().as_millis() as i64)
    }

    /// The other way round than [`Asker::now`].
    fn instant(&self, at: UnixMs) -> Instant {
        self.epoch + Duration::from_millis(at.0.max(0) as u64)
    }
}

async fn say_demo(route: &Route, request: &ModelRequest, attempts: &Attempts, tell: impl Fn(ModelEvent)) {
    if attempts.route() > 0 {
        tell(ModelEvent::Answering(route.clone()));
    }
    for piece in demo::pieces(&demo::answer(request)) {
        tell(ModelEvent::Delta(piece.into()));
        sleep(Duration::from_millis(DEMO_WORD_MS)).await;
    }
    tell(ModelEvent::Finished(weeziq_core::ai::model::FinishReason::Stop));
}
