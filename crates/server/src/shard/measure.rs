//! What a shard says of itself: whether it works, and how much there is of everything.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use weeziq_core::limits::FRAME_BYTES_MAX;

use super::Shard;
use super::conn::Link;
use super::engine::Engine;
use crate::disk;
use crate::metrics::counters::{Counters, counted};
use crate::store::log_path;

/// A request for all of it.
pub(crate) struct Measurement {
    asked: Instant,
    answer: oneshot::Sender<Box<Measured>>,
}

pub(crate) struct Measured {
    pub(crate) counters: Counters,
    pub(crate) gauges: Gauges,
    /// How long the request lay in the mailbox: so long does whatever comes in now wait for its turn.
    pub(crate) waited: Duration,
}

/// What there is at this moment.
#[derive(Default)]
pub(crate) struct Gauges {
    pub(crate) websocket: usize,
    pub(crate) socketio_websocket: usize,
    pub(crate) socketio_polling: usize,
    /// Has not said what it wants.
    pub(crate) silent: usize,
    /// HTTP requests that wait for an answer of this shard.
    pub(crate) requests: usize,
    pub(crate) observers: usize,
    pub(crate) rooms: usize,
    pub(crate) members: usize,
    pub(crate) domains: usize,
    pub(crate) visitors: usize,
    pub(crate) answers: usize,
    pub(crate) outputs_held: usize,
    pub(crate) large_replies_waiting: usize,
    pub(crate) timers: usize,
    pub(crate) slow_readers: usize,
    pub(crate) unread_bytes: usize,
    pub(crate) database_bytes: u64,
    pub(crate) log_bytes: u64,
    pub(crate) is_failing: bool,
}

/// A row of one word may fit where no message does.
const WORTH_TRYING_BYTES: u64 = 4 * FRAME_BYTES_MAX as u64;

pub(crate) const WEBSOCKET: &str = "websocket";
pub(crate) const SOCKETIO_WEBSOCKET: &str = "socketio-websocket";
pub(crate) const POLLING: &str = "socketio-polling";

/// Of a connection that begins as a WebSocket.
pub(super) fn transport(engine: Option<&Engine>) -> &'static str {
    match engine {
        None => WEBSOCKET,
        // Of a session that has been polling until now.
        Some(engine) if engine.is_offer() => "socketio-upgrade",
        Some(_) => SOCKETIO_WEBSOCKET,
    }
}

impl Measurement {
    pub(crate) fn new() -> (Self, oneshot::Receiver<Box<Measured>>) {
        let (answer, measured) = oneshot::channel();
        (Self { asked: Instant::now(), answer }, measured)
    }
}

impl Shard {
    /// A store that has failed is tried anew: where nobody is sent to a service that is not ready, nobody else would.
    pub(super) fn tell_ready(&mut self, answer: oneshot::Sender<bool>) {
        let has_room = disk::free_bytes(&self.database).is_none_or(|free| free >= WORTH_TRYING_BYTES);
        if self.is_failing && has_room {
            match weeziq_core::store::probe(&mut self.store) {
                Ok(()) => self.isolate(),
                Err(error) => self.fail(&error),
            }
        }
        // Whoever asked may have given up.
        let _ = answer.send(!self.is_failing);
    }

    pub(super) fn measure(&self, Measurement { asked, answer }: Measurement) {
        let waited = asked.elapsed();
        let measured = Measured { counters: counted(), gauges: self.gauges(), waited };
        let _ = answer.send(Box::new(measured));
    }

    /// Looks at each connection and each room, which takes some ten milliseconds where there are a million.
    fn gauges(&self) -> Gauges {
        let bytes = |file: PathBuf| std::fs::metadata(file).map_or(0, |file| file.len());
        let mut gauges = Gauges {
            observers: self.observers.len(),
            rooms: self.rooms.len(),
            domains: self.domains.len(),
            answers: self.runs.len(),
            outputs_held: self.gate.open.len() + self.gate.pending().len(),
            large_replies_waiting: self.deferred.len() + self.recalled.len(),
            timers: self.timers.len(),
            database_bytes: bytes(self.database.clone()),
            log_bytes: bytes(log_path(&self.database)),
            is_failing: self.is_failing,
            ..Gauges::default()
        };
        for (_, conn) in &self.conns {
            match &conn.link {
                Link::Socket(socket) => {
                    match &conn.engine {
                        None => gauges.websocket += 1,
                        Some(_) if socket.stream.is_polling() => gauges.socketio_polling += 1,
                        Some(_) => gauges.socketio_websocket += 1,
                    }
                    gauges.slow_readers += usize::from(socket.is_behind());
                    gauges.unread_bytes += socket.unread_bytes();
                }
                Link::Request(_) => gauges.requests += 1,
                Link::Arrived(_) => gauges.silent += 1,
                Link::Gone => {}
            }
        }
        for (_, room) in &self.rooms {
            gauges.members += room.audiences().map(|audience| audience.seats.len()).sum::<usize>();
        }
        for visitors in self.domains.iter().filter_map(|(_, domain)| domain.visitors.as_ref()) {
            gauges.visitors += visitors.summary().active_visitors;
        }
        gauges
    }
}
