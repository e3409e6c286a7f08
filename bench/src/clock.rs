//! The generator's clock, and the timer that wakes it when a message is due.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use weeziq_rig::Result;

/// Nanoseconds since the run began; messages carry them.
#[derive(Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    pub(crate) fn now_ns(self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }
}

/// A periodic timer in the epoll set. A poll's own timeout is rounded up to whole milliseconds, which is four messages
/// late at 4,000 a second.
pub(crate) struct Pacer {
    timer: OwnedFd,
}

impl Pacer {
    pub(crate) fn register(registry: &Registry, token: Token) -> Result<Self> {
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self { timer })
    }

    pub(crate) fn every(&self, interval: Duration, first_in: Duration) -> Result<()> {
        // All zero would disarm it.
        self.set(interval.max(INTERVAL_MIN), first_in.max(Duration::from_nanos(1)))
    }

    /// To be called at each expiry: Linux starts the next period only when the last is read (`timerfd_read`), so an unread
    /// timer fires once and then never again.
    pub(crate) fn acknowledge(&self) {
        let mut expirations = [0; 8];
        let _ = rustix::io::read(&self.timer, &mut expirations); // nothing to read: it has been re-armed meanwhile
    }

    pub(crate) fn stop(&self) -> Result<()> {
        self.set(Duration::ZERO, Duration::ZERO)
    }

    fn set(&self, interval: Duration, first_in: Duration) -> Result<()> {
        let times = Itimerspec { it_interval: timespec(interval), it_value: timespec(first_in) };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &times)?;
        Ok(())
    }
}

/// Above 20,000 messages a second several are sent at one wake-up.
const INTERVAL_MIN: Duration = Duration::from_micros(50);

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: duration.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll};

    #[test]
    fn the_pacer_fires_again_and_again() {
        let mut poll = Poll::new().unwrap();
        let pacer = Pacer::register(poll.registry(), Token(7)).unwrap();
        pacer.every(Duration::from_millis(2), Duration::from_millis(1)).unwrap();
        let mut events = Events::with_capacity(4);
        for _ in 0..5 {
            // Far longer than the period: an empty return means that the timer has stopped.
            poll.poll(&mut events, Some(Duration::from_secs(20))).unwrap();
            assert_eq!(events.iter().count(), 1);
            pacer.acknowledge();
        }
        pacer.stop().unwrap();
    }
}
