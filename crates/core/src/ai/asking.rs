//! Asking: how long to wait for a model, when to try again, and when to ask another. A host brings the HTTP client and the
//! timers.

use super::model::{ModelEvent, ModelFailure};
use super::models::Route;
use super::{gemini, openai};
use crate::time::UnixMs;

/// How long an answer may take.
#[derive(Clone, Copy)]
pub struct Patience {
    /// To the first token of each attempt.
    pub first_token_ms: i64,
    /// For all attempts together.
    pub total_ms: i64,
}

/// The attempts at one answer: of one model, then of those that stand in for it, inside one deadline.
pub struct Attempts {
    patience: Patience,
    end: UnixMs,
    routes: usize,
    route: usize,
    /// Of this route.
    failed: u32,
}

/// One attempt's reply, as it is read.
pub struct Reading {
    decoder: Decoder,
    has_begun: bool,
    /// To be told before all else.
    answering: Option<Route>,
}

pub(super) enum Decoder {
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
/// What a provider may ask us to wait, since it is the visitor who waits. One that asks for more is not asked again: sooner
/// would be against its word.
const RETRY_AFTER_MS_MAX: u64 = 5_000;
/// Sooner than wait longer, another model is asked, if there is one.
const RATHER_ANOTHER_MS: u64 = 1_000;
/// An error's body is worth reading that far.
pub const ERROR_BYTES_MAX: usize = 64 * 1024;
/// The demo's pace, a word: about that of a fast model.
pub const DEMO_WORD_MS: u64 = 30;

impl Attempts {
    pub fn begin(patience: Patience, routes: usize, now: UnixMs) -> Self {
        Self { patience, end: now.plus(patience.total_ms), routes, route: 0, failed: 0 }
    }

    /// Which of the routes is to be asked now.
    pub fn route(&self) -> usize {
        self.route
    }

    /// By when the reply that is asked for now has to bring its first token.
    pub fn first_token_by(&self, now: UnixMs) -> UnixMs {
        now.plus(self.patience.first_token_ms).min(self.end)
    }

    /// By when everything has to be over.
    pub fn end(&self) -> UnixMs {
        self.end
    }

    /// After an attempt that brought nothing: in how many milliseconds to ask [`Attempts::route`], if at all. `jitter`
    /// is any number.
    pub fn again_after(&mut self, failure: &ModelFailure, now: UnixMs, jitter: u32) -> Option<u64> {
        self.failed += if *failure == ModelFailure::Timeout { 2 } else { 1 };
        let wait = back_off_ms(failure, self.failed, jitter);
        let in_time = |wait: u64| now.plus(wait as i64) < self.end;
        let has_other = self.route + 1 < self.routes;
        let rather_other = has_other && (*failure == ModelFailure::Timeout || wait > RATHER_ANOTHER_MS);
        let may_wait = wait <= RETRY_AFTER_MS_MAX && in_time(wait) && !rather_other;
        if failure.is_transient() && self.failed < ATTEMPTS_MAX && may_wait {
            return Some(wait);
        }
        if has_other && failure.is_for_others() && in_time(0) {
            (self.route, self.failed) = (self.route + 1, 0);
            return Some(0);
        }
        None
    }
}

impl Reading {
    pub(super) fn of(decoder: impl Into<Decoder>) -> Self {
        Self { decoder: decoder.into(), has_begun: false, answering: None }
    }

    /// Of a model that stands in for the one that was asked first, which is told before it says anything.
    #[must_use]
    pub fn instead(self, route: &Route) -> Self {
        Self { answering: Some(route.clone()), ..self }
    }

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
                    self.answering.take().into_iter().for_each(|route| tell(ModelEvent::Answering(route)));
                    self.has_begun |= matches!(
                        event,
                        ModelEvent::Delta(_) | ModelEvent::HandOver(_) | ModelEvent::Finished(_)
                    );
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

impl From<openai::Decoder> for Decoder {
    fn from(decoder: openai::Decoder) -> Self {
        Self::OpenAi(decoder)
    }
}

impl From<gemini::Decoder> for Decoder {
    fn from(decoder: gemini::Decoder) -> Self {
        Self::Google(decoder)
    }
}

/// Twice as long each time, and never the same for all who failed together.
fn back_off_ms(failure: &ModelFailure, failed: u32, jitter: u32) -> u64 {
    if let ModelFailure::Overloaded { retry_after_ms: Some(ms) } = failure {
        return *ms;
    }
    BACK_OFF_MS * 2u64.saturating_pow(failed.saturating_sub(1)) * u64::from(50 + jitter % 100) / 100
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod tests {
    use super::super::models::Models;
    use super::*;
    use ModelFailure::{ContentFiltered, Empty, Overloaded, Rejected, Resting, Timeout, Unavailable};

    /// After each failure: how long to wait, and which route is asked then.
    fn check(routes: usize, failures: &[ModelFailure], expected: &[Option<(u64, usize)>]) {
        let patience = Patience { first_token_ms: 10_000, total_ms: 60_000 };
        let mut attempts = Attempts::begin(patience, routes, UnixMs(0));
        let mut next = |failure| Some((attempts.again_after(failure, UnixMs(0), 50)?, attempts.route()));
        let asked: Vec<_> = failures.iter().map(&mut next).collect();
        assert_eq!(asked, expected, "{failures:?}");
    }

    #[test]
    fn what_may_pass_is_tried_again_twice_and_later_each_time() {
        check(1, &[Unavailable, Unavailable, Unavailable], &[Some((250, 0)), Some((500, 0)), None]);
        check(1, &[Overloaded { retry_after_ms: Some(2_000) }], &[Some((2_000, 0))]);
        check(1, &[Overloaded { retry_after_ms: Some(RETRY_AFTER_MS_MAX + 1) }], &[None]);
        check(1, &[Timeout, Unavailable], &[Some((500, 0)), None]);
        check(1, &[Rejected { status: 401 }], &[None]);
        check(1, &[Resting], &[None]);
        check(2, &[Empty, Empty], &[Some((0, 1)), None]);
    }

    #[test]
    fn what_does_not_pass_is_for_the_next_model() {
        let twice = [Some((250, 0)), Some((500, 0)), Some((0, 1)), Some((250, 1)), Some((500, 1)), None];
        check(2, &[const { Unavailable }; 6], &twice);
        check(
            3,
            &[Rejected { status: 401 }, Resting, Timeout],
            &[Some((0, 1)), Some((0, 2)), Some((500, 2))],
        );
        check(2, &[Timeout], &[Some((0, 1))]);
        check(2, &[Overloaded { retry_after_ms: Some(900) }], &[Some((900, 0))]);
        check(2, &[Overloaded { retry_after_ms: Some(2_000) }], &[Some((0, 1))]);
        check(2, &[ContentFiltered], &[None]);
    }

    #[test]
    fn nothing_is_tried_past_the_end() {
        let patience = Patience { first_token_ms: 50, total_ms: 100 };
        let mut attempts = Attempts::begin(patience, 2, UnixMs(0));
        assert_eq!(attempts.first_token_by(UnixMs(80)), UnixMs(100));
        assert_eq!(attempts.again_after(&Unavailable, UnixMs(90), 50), Some(0), "the next is still in time");
        assert_eq!(attempts.again_after(&Unavailable, UnixMs(100), 50), None);
    }

    #[test]
    fn a_failure_is_an_error_only_while_nothing_was_told() {
        let broken = || Piece::Broken(Unavailable);
        let mut reading = Reading::of(openai::Decoder::default());
        assert_eq!(reading.take(broken(), |_| {}), Err(Unavailable));

        let route = Models::new(None, true, true).routes(None).unwrap().pop().unwrap();
        let mut reading = Reading::of(openai::Decoder::default()).instead(&route);
        let text = b"data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n";
        let mut told = Vec::new();
        assert_eq!(reading.take(Piece::Bytes(text), |event| told.push(event)), Ok(Progress::More));
        assert_eq!(reading.take(broken(), |event| told.push(event)), Ok(Progress::Over));
        let failed = ModelEvent::Failed(ModelFailure::Incomplete);
        assert_eq!(told, [ModelEvent::Answering(route), ModelEvent::Delta("Hi".into()), failed]);
    }
}
