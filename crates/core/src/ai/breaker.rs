//! A circuit breaker for each endpoint: one that fails again and again is left alone for a while, so that visitors are
//! sent to another model, or to a person, at once and not after a time-out each. A host holds them, and asks before each
//! attempt.

use super::model::ModelFailure;
use super::models::EndpointId;
use crate::time::UnixMs;

/// When a breaker opens, and for how long.
#[derive(Clone, Copy)]
pub struct Caution {
    /// So many attempts that fail one after the other open it; 0: never.
    pub failures: u32,
    pub open_ms: i64,
}

/// Of all endpoints of a host.
pub struct Breakers {
    caution: Caution,
    endpoints: Vec<Breaker>,
}

#[derive(Clone, Default)]
struct Breaker {
    state: State,
    figures: Figures,
}

#[derive(Clone, Copy, Default)]
enum State {
    #[default]
    Closed,
    /// That many have failed one after the other.
    Failing(u32),
    Open {
        until: UnixMs,
        wait_ms: i64,
    },
    /// One attempt finds out how it is; it counts as failed when nothing has been heard of it by then.
    HalfOpen {
        until: UnixMs,
        wait_ms: i64,
    },
}

/// What has come of an endpoint since the host began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub attempts: u64,
    /// Not asked, because the breaker was open.
    pub refused: u64,
    pub unavailable: u64,
    pub overloaded: u64,
    pub timeouts: u64,
    pub rejected: u64,
    pub filtered: u64,
    /// Broke off after text.
    pub incomplete: u64,
    /// Ended without any.
    pub empty: u64,
    pub opened: u64,
    /// None while it is closed.
    pub open_since: Option<UnixMs>,
    /// Of attempts that answered; divided by their count, the mean.
    pub first_token_ms_sum: u64,
    pub first_tokens: u64,
}

/// For the log of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Opened,
    Closed,
}

/// Each time it fails its trial it is left alone twice as long, up to so many times the first.
const OPEN_TIMES_MAX: i64 = 6;

impl Breakers {
    pub fn new(endpoints: usize, caution: Caution) -> Self {
        Self { caution, endpoints: vec![Breaker::default(); endpoints] }
    }

    /// Before an attempt. An error means that it is not to be made.
    pub fn admit(&mut self, endpoint: EndpointId, now: UnixMs) -> Result<(), ModelFailure> {
        let caution = self.caution;
        let Some(breaker) = self.endpoints.get_mut(endpoint.0) else { return Ok(()) };
        match breaker.state {
            State::Closed | State::Failing(_) => {}
            State::Open { until, wait_ms } | State::HalfOpen { until, wait_ms } if until <= now => {
                breaker.state = State::HalfOpen { until: now.plus(caution.open_ms), wait_ms };
            }
            State::Open { .. } | State::HalfOpen { .. } => {
                breaker.figures.refused += 1;
                return Err(ModelFailure::Resting);
            }
        }
        breaker.figures.attempts += 1;
        Ok(())
    }

    /// An attempt has brought its first token, so many milliseconds after it began.
    pub fn answered(&mut self, endpoint: EndpointId, after_ms: i64) -> Option<Change> {
        let breaker = self.endpoints.get_mut(endpoint.0)?;
        breaker.figures.first_tokens += 1;
        breaker.figures.first_token_ms_sum += after_ms.max(0) as u64;
        breaker.close()
    }

    /// An attempt has failed, before its first token or after.
    pub fn failed(&mut self, endpoint: EndpointId, failure: &ModelFailure, now: UnixMs) -> Option<Change> {
        let caution = self.caution;
        let breaker = self.endpoints.get_mut(endpoint.0)?;
        breaker.figures.count(failure);
        if !failure.is_transient() {
            // It answers, if not as one would like: nothing speaks against asking it again.
            return breaker.close();
        }
        let open_for = |breaker: &mut Breaker, wait_ms: i64| {
            breaker.figures.opened += 1;
            breaker.figures.open_since.get_or_insert(now);
            breaker.state = State::Open { until: now.plus(wait_ms), wait_ms };
        };
        let was_open = breaker.is_open();
        match breaker.state {
            State::HalfOpen { wait_ms, .. } => {
                open_for(breaker, (wait_ms * 2).min(caution.open_ms * OPEN_TIMES_MAX));
            }
            State::Closed | State::Failing(_) => {
                let before = if let State::Failing(failed) = breaker.state { failed } else { 0 };
                breaker.state = State::Failing(before + 1);
                if caution.failures > 0 && before + 1 >= caution.failures {
                    open_for(breaker, caution.open_ms);
                }
            }
            // One that began before it opened.
            State::Open { .. } => {}
        }
        (breaker.is_open() && !was_open).then_some(Change::Opened)
    }

    /// Of each endpoint, in their order.
    pub fn figures(&self) -> impl Iterator<Item = &Figures> {
        self.endpoints.iter().map(|breaker| &breaker.figures)
    }
}

impl Breaker {
    fn close(&mut self) -> Option<Change> {
        self.state = State::Closed;
        self.figures.open_since.take().map(|_| Change::Closed)
    }

    /// Until it answers again, however often it is tried in between.
    fn is_open(&self) -> bool {
        self.figures.open_since.is_some()
    }
}

impl Figures {
    /// By why.
    pub fn failures(&self) -> [(&'static str, u64); 7] {
        [
            ("unavailable", self.unavailable),
            ("overloaded", self.overloaded),
            ("timeout", self.timeouts),
            ("rejected", self.rejected),
            ("filtered", self.filtered),
            ("incomplete", self.incomplete),
            ("empty", self.empty),
        ]
    }

    fn count(&mut self, failure: &ModelFailure) {
        let counted = match failure {
            ModelFailure::Unavailable => &mut self.unavailable,
            ModelFailure::Overloaded { .. } => &mut self.overloaded,
            ModelFailure::Timeout => &mut self.timeouts,
            ModelFailure::ContentFiltered => &mut self.filtered,
            ModelFailure::Rejected { .. } => &mut self.rejected,
            ModelFailure::Incomplete => &mut self.incomplete,
            ModelFailure::Empty => &mut self.empty,
            ModelFailure::Resting => &mut self.refused,
        };
        *counted += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ModelFailure::{ContentFiltered, Rejected, Resting, Timeout, Unavailable};

    const ONE: EndpointId = EndpointId::OPENAI;
    const OTHER: EndpointId = EndpointId::GOOGLE;

    fn breakers(failures: u32) -> Breakers {
        Breakers::new(2, Caution { failures, open_ms: 1_000 })
    }

    fn fail(breakers: &mut Breakers, times: usize, failure: &ModelFailure, at: i64) {
        for _ in 0..times {
            assert_eq!(breakers.admit(ONE, UnixMs(at)), Ok(()), "{failure:?} at {at}");
            breakers.failed(ONE, failure, UnixMs(at));
        }
    }

    #[test]
    fn opens_after_failures_in_a_row_and_tries_once_when_its_time_is_over() {
        let mut breakers = breakers(3);
        fail(&mut breakers, 2, &Unavailable, 0);
        breakers.answered(ONE, 40);
        fail(&mut breakers, 3, &Timeout, 100);
        assert_eq!(breakers.admit(ONE, UnixMs(1_099)), Err(Resting));
        assert_eq!(breakers.admit(OTHER, UnixMs(1_099)), Ok(()));
        assert_eq!(breakers.admit(ONE, UnixMs(1_100)), Ok(()));
        assert_eq!(breakers.admit(ONE, UnixMs(1_100)), Err(Resting), "one finds out for all");
        breakers.answered(ONE, 60);
        assert_eq!(breakers.admit(ONE, UnixMs(1_101)), Ok(()));
        let figures = breakers.figures().next().copied().unwrap_or_default();
        let expected = Figures {
            attempts: 7,
            refused: 2,
            unavailable: 2,
            timeouts: 3,
            opened: 1,
            first_token_ms_sum: 100,
            first_tokens: 2,
            ..Figures::default()
        };
        assert_eq!(figures, expected);
    }

    #[test]
    fn a_trial_that_fails_doubles_the_wait_and_one_that_is_lost_is_made_again() {
        let mut breakers = breakers(1);
        fail(&mut breakers, 1, &Unavailable, 0);
        fail(&mut breakers, 1, &Unavailable, 1_000);
        assert_eq!(breakers.admit(ONE, UnixMs(2_999)), Err(Resting));
        assert_eq!(breakers.figures().next().and_then(|figures| figures.open_since), Some(UnixMs(0)));
        assert_eq!(breakers.admit(ONE, UnixMs(3_000)), Ok(()));
        // Cancelled: nobody says what came of it.
        assert_eq!(breakers.admit(ONE, UnixMs(3_999)), Err(Resting));
        assert_eq!(breakers.admit(ONE, UnixMs(4_000)), Ok(()));
        for round in 0..9 {
            breakers.failed(ONE, &Unavailable, UnixMs(4_000 + round * 6_000));
            assert_eq!(breakers.admit(ONE, UnixMs(10_000 + round * 6_000)), Ok(()), "round {round}");
        }
    }

    #[test]
    fn what_only_the_question_is_to_blame_for_opens_nothing() {
        let mut breakers = breakers(2);
        for failure in [ContentFiltered, Rejected { status: 400 }] {
            fail(&mut breakers, 5, &failure, 0);
        }
        fail(&mut breakers, 1, &Unavailable, 0);
        assert_eq!(breakers.admit(ONE, UnixMs(0)), Ok(()));
    }

    #[test]
    fn none_opens_where_that_is_switched_off() {
        fail(&mut breakers(0), 50, &Unavailable, 0);
    }
}
