//! Asking models with the platform's `fetch`: the core's attempts and codecs, with timers and streams of the Worker.

use std::cell::RefCell;
use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{Either, select};
use js_sys::JsString;
use serde_json::json;
use wasm_bindgen::JsValue;
use weeziq_core::ai::asking::{Attempts, DEMO_WORD_MS, ERROR_BYTES_MAX, Piece, Progress};
use weeziq_core::ai::breaker::{Breakers, Change};
use weeziq_core::ai::model::{FinishReason, ModelEvent, ModelFailure, ModelRequest, Provider, ProviderCall};
use weeziq_core::ai::models::{EndpointId, Route};
use weeziq_core::ai::{demo, status};
use weeziq_core::time::UnixMs;
use worker::{
    AbortController, AbortSignal, Delay, Fetch, Headers, Method, Request, RequestInit, RequestRedirect,
    Response, console_log, console_warn,
};

use crate::clock::{Clock, entropy};
use crate::counts;
use crate::settings::Settings;

thread_local! {
    /// Of all objects of the isolate, as far as it lives.
    static BREAKERS: RefCell<Option<Breakers>> = const { RefCell::new(None) };
}

/// Asks one model after the other, until one answers or there is no time or no model left, and tells what it says until
/// it has ended. Dropping the future drops the upstream request.
pub(crate) async fn ask(settings: &Settings, request: &ModelRequest, tell: impl Fn(ModelEvent)) {
    let clock = Clock::default();
    let mut attempts = Attempts::begin(settings.patience, request.routes.len(), clock.now());
    while let Some(route) = request.routes.get(attempts.route()) {
        let Err(failure) = attempt(settings, route, request, &attempts, &clock, &tell).await else {
            return;
        };
        console_warn!("{} {} did not answer: {failure:?}", route.provider.as_str(), route.model);
        match attempts.again_after(&failure, clock.now(), entropy() as u32) {
            Some(0) => {}
            Some(ms) => Delay::from(Duration::from_millis(ms)).await,
            None => return tell(ModelEvent::Failed(failure)),
        }
    }
}

/// One request. An error means that nothing of an answer has been told.
async fn attempt(
    settings: &Settings,
    route: &Route,
    request: &ModelRequest,
    attempts: &Attempts,
    clock: &Clock,
    tell: impl Fn(ModelEvent),
) -> Result<(), ModelFailure> {
    if route.provider == Provider::Demo {
        say_demo(route, request, attempts, tell).await;
        return Ok(());
    }
    let (begun, endpoint) = (clock.now(), route.endpoint);
    breakers(settings, endpoint, |breakers| breakers.admit(endpoint, begun))?;
    let failed = |failure: &ModelFailure| {
        let change = breakers(settings, endpoint, |breakers| breakers.failed(endpoint, failure, clock.now()));
        note_breaker(settings, endpoint, change);
    };
    let tell = |event| {
        if let ModelEvent::Failed(failure) = &event {
            failed(failure);
        }
        tell(event);
    };
    let answered = || {
        let after_ms = clock.now().since(begun);
        let change = breakers(settings, endpoint, |breakers| breakers.answered(endpoint, after_ms));
        note_breaker(settings, endpoint, change);
    };
    exchange(settings, (route, request), attempts, clock, answered, tell).await.inspect_err(failed)
}

/// Sends the request and reads the reply. `answered` is called at its first token.
async fn exchange(
    settings: &Settings,
    (route, request): (&Route, &ModelRequest),
    attempts: &Attempts,
    clock: &Clock,
    answered: impl Fn(),
    tell: impl Fn(ModelEvent),
) -> Result<(), ModelFailure> {
    let upstream = Upstream::default();
    let first_token = attempts.first_token_by(clock.now());
    let (call, reading) = settings.providers.call(route, request);
    let mut reading = if attempts.route() > 0 { reading.instead(route) } else { reading };
    let sent = send(call, upstream.0.signal());
    let mut response = within(first_token, clock, sent).await??;
    let mut body = response.stream().map_err(|_| ModelFailure::Unavailable)?;
    loop {
        let had_begun = reading.has_begun();
        let deadline = if had_begun { attempts.end() } else { first_token };
        let read = within(deadline, clock, body.next()).await;
        let piece = match &read {
            Ok(Some(Ok(bytes))) => Piece::Bytes(bytes),
            Ok(None) => Piece::End,
            Ok(Some(Err(_))) => Piece::Broken(ModelFailure::Unavailable),
            Err(timeout) => Piece::Broken(timeout.clone()),
        };
        let progress = reading.take(piece, &tell)?;
        if reading.has_begun() && !had_begun {
            answered();
        }
        if progress == Progress::Over {
            return Ok(());
        }
    }
}

fn breakers<T>(settings: &Settings, endpoint: EndpointId, then: impl FnOnce(&mut Breakers) -> T) -> T {
    let new = || Breakers::new(settings.providers.count(), settings.caution);
    let figures =
        |breakers: &Breakers| breakers.figures().nth(endpoint.number()).copied().unwrap_or_default();
    BREAKERS.with_borrow_mut(|breakers| {
        let breakers = breakers.get_or_insert_with(new);
        let before = figures(breakers);
        let done = then(breakers);
        counts::model(endpoint, settings.providers.base_url(endpoint), &before, &figures(breakers));
        done
    })
}

/// Each isolate has a breaker of its own, so there is no number for whether one is open: this line tells.
fn note_breaker(settings: &Settings, endpoint: EndpointId, change: Option<Change>) {
    let endpoint = settings.providers.base_url(endpoint);
    match change {
        Some(Change::Opened) => {
            console_warn!(
                "{}",
                json!({ "message": "breaker opened: its models are left alone", "endpoint": endpoint })
            );
        }
        Some(Change::Closed) => {
            console_log!(
                "{}",
                json!({ "message": "breaker closed: its models answer again", "endpoint": endpoint })
            );
        }
        None => {}
    }
}

/// Aborts the request when it is dropped: after its end that does nothing.
#[derive(Default)]
struct Upstream(AbortController);

impl Drop for Upstream {
    fn drop(&mut self) {
        std::mem::take(&mut self.0).abort();
    }
}

async fn send(call: ProviderCall, signal: AbortSignal) -> Result<Response, ModelFailure> {
    let request = request_of(call).map_err(|_| ModelFailure::Unavailable)?;
    let mut response =
        Fetch::Request(request).send_with_signal(&signal).await.map_err(|_| ModelFailure::Unavailable)?;
    let status = response.status_code();
    if (200..300).contains(&status) {
        return Ok(response);
    }
    let retry_after = response.headers().get("retry-after").ok().flatten();
    let mut read = Vec::new();
    if let Ok(mut body) = response.stream() {
        while let Some(Ok(bytes)) = body.next().await {
            read.extend_from_slice(&bytes);
            if read.len() > ERROR_BYTES_MAX {
                break;
            }
        }
    }
    Err(status::failure(status, retry_after.as_deref(), &read))
}

fn request_of(call: ProviderCall) -> worker::Result<Request> {
    let headers = Headers::new();
    for (name, value) in &call.headers {
        headers.set(name, value)?;
    }
    let mut init = RequestInit::new();
    init.with_method(Method::Post)
        .with_headers(headers)
        .with_redirect(RequestRedirect::Manual) // a redirect would carry the key elsewhere
        .with_body(Some(JsValue::from(JsString::from(call.body))));
    Request::new_with_init(&call.url, &init)
}

async fn within<T>(
    deadline: UnixMs,
    clock: &Clock,
    work: impl Future<Output = T>,
) -> Result<T, ModelFailure> {
    let left = Duration::from_millis(deadline.since(clock.now()).max(0) as u64);
    match select(pin!(work), pin!(Delay::from(left))).await {
        Either::Left((done, _)) => Ok(done),
        Either::Right(_) => Err(ModelFailure::Timeout),
    }
}

async fn say_demo(route: &Route, request: &ModelRequest, attempts: &Attempts, tell: impl Fn(ModelEvent)) {
    if attempts.route() > 0 {
        tell(ModelEvent::Answering(route.clone()));
    }
    for piece in demo::pieces(&demo::answer(request)) {
        tell(ModelEvent::Delta(piece.into()));
        Delay::from(Duration::from_millis(DEMO_WORD_MS)).await;
    }
    tell(ModelEvent::Finished(FinishReason::Stop));
}
