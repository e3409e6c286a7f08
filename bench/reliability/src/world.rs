//! What all clients of one run share. One thread runs them all, so cells are enough; the other core is the server's.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::dialect::Happening;
use crate::dialect::Return;
use crate::ledger::Ledger;
use crate::mark::{Client, Room};

pub(crate) struct World {
    pub(crate) port: u16,
    pub(crate) seed: u64,
    pub(crate) began: Instant,
    pub(crate) ledger: RefCell<Ledger>,
    pub(crate) tally: RefCell<Tally>,
    /// While set, each client's connection is cut from time to time.
    pub(crate) cutting: Cell<Option<Cutting>>,
    /// Who is a member now and has all that it missed.
    here: RefCell<Vec<bool>>,
    /// When each was so for the first time since `forget_returns`.
    returned: RefCell<Vec<Option<Instant>>>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Cutting {
    /// On average; each time between half of it and one and a half.
    pub(crate) every: Duration,
    pub(crate) away: Duration,
}

/// Everything that is counted besides the pairs themselves.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) published: u64,
    pub(crate) handed_over: u64,
    pub(crate) acks: u64,
    /// Acknowledgements that say the message had been stored before.
    pub(crate) duplicate_acks: u64,
    pub(crate) cuts: u64,
    /// Joins after the first.
    pub(crate) returns: u64,
    pub(crate) resumed: u64,
    pub(crate) afresh: u64,
    /// Of those resumed, the ones that had missed something.
    pub(crate) replays: u64,
    pub(crate) replayed_messages: u64,
    pub(crate) failed_opens: u64,
    /// Closes that named a time to wait.
    pub(crate) hints: u64,
    pub(crate) endings: BTreeMap<String, u64>,
    pub(crate) refused: BTreeMap<String, u64>,
    pub(crate) replay_us: Times,
    pub(crate) latency_us: Times,
}

/// µs, at three digits.
pub(crate) struct Times(Histogram<u64>);

impl Default for Times {
    #[expect(clippy::expect_used, reason = "the constant is in the range that the histogram takes, 0 to 5")]
    fn default() -> Self {
        Self(Histogram::new(3).expect("three digits"))
    }
}

impl Times {
    pub(crate) fn record(&mut self, time: Duration) {
        // It grows as it must, so nothing is refused; `saturating_record` would not grow.
        let _ = self.0.record((time.as_micros() as u64).max(1));
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    pub(crate) fn us(&self, quantile: f64) -> u64 {
        self.0.value_at_quantile(quantile)
    }

    pub(crate) fn ms(&self, quantile: f64) -> f64 {
        self.us(quantile) as f64 / 1000.0
    }

    pub(crate) fn max_ms(&self) -> f64 {
        self.0.max() as f64 / 1000.0
    }
}

impl World {
    pub(crate) fn new(port: u16, seed: u64, room_of: &[Room]) -> Rc<Self> {
        Rc::new(Self {
            port,
            seed,
            began: Instant::now(),
            ledger: RefCell::new(Ledger::new(room_of)),
            tally: RefCell::default(),
            cutting: Cell::new(None),
            here: RefCell::new(vec![false; room_of.len()]),
            returned: RefCell::new(vec![None; room_of.len()]),
        })
    }

    pub(crate) fn online(&self, clients: Range<u32>) -> usize {
        let here = self.here.borrow();
        let of = here.get(clients.start as usize..clients.end as usize).unwrap_or_default();
        of.iter().filter(|here| **here).count()
    }

    pub(crate) fn forget_returns(&self) {
        self.returned.borrow_mut().fill(None);
    }

    pub(crate) fn returns(&self) -> Vec<Option<Instant>> {
        self.returned.borrow().clone()
    }

    /// Latency from now on, apart from what was before, which is given back.
    pub(crate) fn new_latency(&self) -> Times {
        std::mem::take(&mut self.tally.borrow_mut().latency_us)
    }

    pub(crate) fn gone(&self, client: Client) {
        if let Some(here) = self.here.borrow_mut().get_mut(client.0 as usize) {
            *here = false;
        }
    }

    /// `asked_at`: when this connection's join was written. `timed`: this client's latency counts.
    pub(crate) fn tell(
        &self,
        client: Client,
        happening: Happening,
        now: Instant,
        visit: &mut Visit,
        timed: bool,
    ) {
        let mut tally = self.tally.borrow_mut();
        let mut ledger = self.ledger.borrow_mut();
        match happening {
            Happening::Asked => visit.asked_at = Some(now),
            Happening::Delivered { mark: None, .. } => ledger.foreign(client),
            Happening::Delivered { mark: Some(mark), seq, live } => {
                tally.handed_over += 1;
                ledger.delivered(client, mark.entry, seq);
                if live && timed {
                    let now_us = now.duration_since(self.began).as_micros() as u64;
                    tally.latency_us.record(Duration::from_micros(now_us.saturating_sub(mark.due_us)));
                }
            }
            Happening::Acked { entry, seq, duplicate } => {
                tally.acks += 1;
                tally.duplicate_acks += u64::from(duplicate);
                ledger.acked(entry, seq);
            }
            Happening::Joined(kind) => {
                visit.kind = Some(kind);
                match kind {
                    Return::First => ledger.joined(client),
                    Return::Resumed { missed } => {
                        tally.resumed += 1;
                        tally.replays += u64::from(missed > 0);
                        tally.replayed_messages += missed;
                    }
                    Return::Afresh => tally.afresh += 1,
                }
                tally.returns += u64::from(kind != Return::First);
            }
            Happening::CaughtUp => {
                if let (Some(Return::Resumed { missed: 1.. }), Some(asked_at)) = (visit.kind, visit.asked_at)
                {
                    tally.replay_us.record(now.duration_since(asked_at));
                }
                self.arrived(client, now);
            }
            Happening::Refused(code) => *tally.refused.entry(code).or_default() += 1,
        }
    }

    fn arrived(&self, client: Client, now: Instant) {
        let place = client.0 as usize;
        if let Some(here) = self.here.borrow_mut().get_mut(place) {
            *here = true;
        }
        if let Some(returned) = self.returned.borrow_mut().get_mut(place) {
            returned.get_or_insert(now);
        }
    }
}

/// One connection's joining.
#[derive(Default)]
pub(crate) struct Visit {
    asked_at: Option<Instant>,
    pub(crate) kind: Option<Return>,
}
