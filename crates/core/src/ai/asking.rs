//! Asking a provider: which request to send, how long to wait, when to try again. A host brings the HTTP client and
//! the timers.

use super::model::{ModelEvent, ModelFailure, ModelRequest, Provider, ProviderCall};
use super::{gemini, openai};
use crate::access::secret::Secret;
use crate::time::UnixMs;

/// Where the providers are, and what opens them.
#[derive(Clone)]
pub struct Providers {
    pub openai: Endpoint,
    pub google: Endpoint,
}

#[derive(Clone)]
pub struct Endpoint {
    pub base_url: String,
    pub key: Option<Secret>,
}

/// How long an answer may take.
#[derive(Clone, Copy)]
pub struct Patience {
    /// To the first token of each attempt.
    pub first_token_ms: i64,
    /// For all attempts together.
    pub total_ms: i64,
}

/// The attempts at one answer.
pub struct Attempts {
    patience: Patience,
    end: UnixMs,
    failed: u32,
}

/// One attempt's reply, as it is read.
pub struct Reading {
    decoder: Decoder,
    has_begun: bool,
}

enum Decoder {
    OpenAi(openai::Decoder),
    Google(gemini::Decoder),
}

/// What came of the reply's body.
pub enum Piece<'a> {
    Bytes(&'a [u8]),
    End,
    /// It cannot be read any further, or not in time.
    Broken(ModelFailure),
}

/// Whether more of the reply is of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    More,
    Over,
}

/// A failure before the first token is tried again; a time-out has cost so much already that it counts for two.
const ATTEMPTS_MAX: u32 = 3;
const BACK_OFF_MS: u64 = 250;
/// What a provider may ask us to wait; it is the visitor who waits.
const RETRY_AFTER_MS_MAX: u64 = 5_000;
/// An error's body is worth reading that far.
pub const ERROR_BYTES_MAX: usize = 64 * 1024;
/// The demo's pace, a word: about that of a fast model.
pub const DEMO_WORD_MS: u64 = 30;

impl Providers {
    pub const OPENAI_URL: &str = "https://api.openai.com/v1";
    pub const GOOGLE_URL: &str = "https://generativelanguage.googleapis.com";

    /// The request to send, and the reader of its reply.
    pub fn call(&self, request: &ModelRequest) -> (ProviderCall, Reading) {
        let key = |endpoint: &Endpoint| endpoint.key.as_ref().map(|key| key.reveal().to_owned());
        let (call, decoder) = if request.provider == Provider::Google {
            let call = gemini::call(&self.google.base_url, key(&self.google).as_deref(), request);
            (call, Decoder::Google(gemini::Decoder::default()))
        } else {
            let call = openai::call(&self.openai.base_url, key(&self.openai).as_deref(), request);
            (call, Decoder::OpenAi(openai::Decoder::default()))
        };
        (call, Reading { decoder, has_begun: false })
    }
}

impl Endpoint {
    /// An empty setting counts as none.
    pub fn new(base_url: Option<&str>, default: &str, key: Option<Secret>) -> Self {
        Self {
            base_url: base_url.filter(|url| !url.is_empty()).unwrap_or(default).into(),
            key: key.filter(|key| !key.reveal().is_empty()),
        }
    }
}

impl Attempts {
    pub fn begin(patience: Patience, now: UnixMs) -> Self {
        Self { patience, end: now.plus(patience.total_ms), failed: 0 }
    }

    /// By when the reply that is asked for now has to bring its first token.
    pub fn first_token_by(&self, now: UnixMs) -> UnixMs {
        now.plus(self.patience.first_token_ms).min(self.end)
    }

    /// By when everything has to be over.
    pub fn end(&self) -> UnixMs {
        self.end
    }

    /// After an attempt that brought nothing: in how many milliseconds to try again, if at all. `jitter` is any number.
    pub fn again_after(&mut self, failure: &ModelFailure, now: UnixMs, jitter: u32) -> Option<u64> {
        self.failed += if *failure == ModelFailure::Timeout { 2 } else { 1 };
        let wait = back_off_ms(failure, self.failed, jitter);
        let is_worth_it = failure.is_transient() && self.failed < ATTEMPTS_MAX;
        (is_worth_it && now.plus(wait as i64) < self.end).then_some(wait)
    }
}

impl Reading {
    /// Whether a first token has come; from then on only the end's deadline counts.
    pub fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Tells what a piece of the body says. An error means that nothing of an answer has been told.
    pub fn take(
        &mut self,
        piece: Piece<'_>,
        mut tell: impl FnMut(ModelEvent),
    ) -> Result<Progress, ModelFailure> {
        let mut events = Vec::new();
        match piece {
            Piece::Bytes(bytes) => self.decoder.push(bytes, &mut events),
            Piece::End => self.decoder.end(&mut events),
            Piece::Broken(ModelFailure::Unavailable) if self.has_begun => {
                events.push(ModelEvent::Failed(ModelFailure::Incomplete));
            }
            Piece::Broken(failure) => events.push(ModelEvent::Failed(failure)),
        }
        for event in events {
            match event {
                ModelEvent::Failed(failure) if !self.has_begun => return Err(failure),
                event => {
                    self.has_begun |= matches!(event, ModelEvent::Delta(_) | ModelEvent::Finished(_));
                    let is_terminal = event.is_terminal();
                    tell(event);
                    if is_terminal {
                        return Ok(Progress::Over);
                    }
                }
            }
        }
        Ok(Progress::More)
    }
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

/// Twice as long each time, and never the same for all who failed together.
fn back_off_ms(failure: &ModelFailure, failed: u32, jitter: u32) -> u64 {
    if let ModelFailure::Overloaded { retry_after_ms: Some(ms) } = failure {
        return (*ms).min(RETRY_AFTER_MS_MAX);
    }
    BACK_OFF_MS * 2u64.saturating_pow(failed.saturating_sub(1)) * u64::from(50 + jitter % 100) / 100
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod tests {
    use super::*;

    fn check(failures: &[ModelFailure], expected: &[Option<u64>]) {
        let patience = Patience { first_token_ms: 10_000, total_ms: 60_000 };
        let mut attempts = Attempts::begin(patience, UnixMs(0));
        let waits: Vec<_> = failures.iter().map(|f| attempts.again_after(f, UnixMs(0), 50)).collect();
        assert_eq!(waits, expected, "{failures:?}");
    }

    #[test]
    fn what_may_pass_is_tried_again_twice_and_later_each_time() {
        use ModelFailure::{Overloaded, Rejected, Timeout, Unavailable};
        check(&[Unavailable, Unavailable, Unavailable], &[Some(250), Some(500), None]);
        check(&[Overloaded { retry_after_ms: Some(2_000) }], &[Some(2_000)]);
        check(&[Overloaded { retry_after_ms: Some(99_000) }], &[Some(RETRY_AFTER_MS_MAX)]);
        check(&[Timeout, Unavailable], &[Some(500), None]);
        check(&[Rejected { status: 401 }], &[None]);
    }

    #[test]
    fn nothing_is_tried_past_the_end() {
        let mut attempts = Attempts::begin(Patience { first_token_ms: 50, total_ms: 100 }, UnixMs(0));
        assert_eq!(attempts.first_token_by(UnixMs(80)), UnixMs(100));
        assert_eq!(attempts.again_after(&ModelFailure::Unavailable, UnixMs(90), 50), None);
    }

    #[test]
    fn a_failure_is_an_error_only_while_nothing_was_told() {
        let endpoint = Endpoint::new(None, Providers::OPENAI_URL, None);
        let providers = Providers { openai: endpoint.clone(), google: endpoint };
        let request = ModelRequest {
            provider: Provider::OpenAi,
            model: "gpt-x".into(),
            system: String::new(),
            turns: Vec::new(),
        };
        let broken = || Piece::Broken(ModelFailure::Unavailable);
        let (_, mut reading) = providers.call(&request);
        assert_eq!(reading.take(broken(), |_| {}), Err(ModelFailure::Unavailable));

        let (_, mut reading) = providers.call(&request);
        let text = b"data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n";
        let mut told = Vec::new();
        assert_eq!(reading.take(Piece::Bytes(text), |event| told.push(event)), Ok(Progress::More));
        assert_eq!(reading.take(broken(), |event| told.push(event)), Ok(Progress::Over));
        let failed = ModelEvent::Failed(ModelFailure::Incomplete);
        assert_eq!(told, [ModelEvent::Delta("Hi".into()), failed]);
    }
}
