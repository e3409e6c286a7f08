//! Waking up later: in memory where that is soon, else by the object's one alarm.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use weeziq_core::time::UnixMs;
use worker::{Delay, State, console_error};

/// The earliest that is armed counts; what is due later asks again when it fires.
#[derive(Default)]
pub(crate) struct Alarms(Rc<Cell<Option<UnixMs>>>);

/// What is due sooner is waited for in memory: an alarm costs a write and a request.
const ALARM_FROM_MS: i64 = 1_000;

impl Alarms {
    /// The alarm has fired, so none is armed.
    pub(crate) fn fired(&self) {
        self.0.set(None);
    }

    /// `soon` is what the alarm handler would do.
    pub(crate) fn wake_at(&self, state: &State, now: UnixMs, at: UnixMs, soon: impl FnOnce() + 'static) {
        let wait = Duration::from_millis(at.since(now).max(0) as u64);
        if at.since(now) < ALARM_FROM_MS {
            state.wait_until(async move {
                Delay::from(wait).await;
                soon();
            });
        } else if self.0.get().is_none_or(|armed| at < armed) {
            self.0.set(Some(at));
            let (armed, storage) = (self.0.clone(), state.storage());
            state.wait_until(async move {
                // An earlier life of the object may have armed for sooner, and setting an alarm replaces that.
                let stored = storage.get_alarm().await.ok().flatten();
                let is_late =
                    stored.is_some_and(|stored| stored <= at.0) || armed.get().is_some_and(|it| it < at);
                if !is_late && let Err(error) = storage.set_alarm(wait).await {
                    console_error!("no alarm could be set: {error}");
                }
            });
        }
    }
}
