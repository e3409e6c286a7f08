//! What a client says and makes of what it hears, without sockets: one state machine a protocol. The sockets, the
//! cutting and the waiting are the same for both and live in `client`.

pub(crate) mod socketio;
pub(crate) mod weeziq;

use std::time::{Duration, Instant};

use crate::mark::{Client, Entry, Mark, Post, Room};

/// Something that is worth counting.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Happening {
    /// The wish to be a member (again) has been written.
    Asked,
    /// A message is handed to the application. `mark` is none if it is not of this run. `live`: not part of a replay.
    Delivered {
        mark: Option<Mark>,
        seq: Option<u64>,
        live: bool,
    },
    Acked {
        entry: Entry,
        seq: Option<u64>,
        duplicate: bool,
    },
    Joined(Return),
    /// A member again, and everything that it missed is here, as far as the server has it. Follows each `Joined`.
    CaughtUp,
    Refused(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Return {
    /// There was nothing to come back to.
    First,
    /// The server sends what was missed.
    Resumed { missed: u64 },
    /// The server does not: begin anew.
    Afresh,
}

pub(crate) trait Dialect {
    /// Of the WebSocket's URL.
    fn path(&self) -> &'static str;
    /// A connection stands; nothing has been said on it.
    fn opened(&mut self, io: &mut Io);
    fn heard(&mut self, frame: &str, now: Instant, io: &mut Io);
    fn publish(&mut self, post: Post, now: Instant, io: &mut Io);
    /// The connection is no more.
    fn lost(&mut self);
    /// When `due` wants to be called if nothing else happens.
    fn deadline(&self) -> Option<Instant>;
    fn due(&mut self, now: Instant, io: &mut Io);
    /// How long to wait before the `attempt`th try (from 0) after an ending that names no time.
    fn backoff(&self, attempt: u32, random: &mut fastrand::Rng) -> Duration;
    /// The time that the server's close names.
    fn asked_to_wait(&self, code: u16, reason: &str) -> Option<Duration>;
}

/// What a step has to say, to the server and to the ledger.
#[derive(Debug, Default)]
pub(crate) struct Io {
    pub(crate) out: Vec<String>,
    pub(crate) told: Vec<Happening>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Peer {
    Weeziq,
    Socketio,
}

impl Peer {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Weeziq => "weeziq",
            Self::Socketio => "socket.io",
        }
    }

    pub(crate) fn dialect(self, client: Client, room: Room) -> Box<dyn Dialect> {
        match self {
            Self::Weeziq => Box::new(weeziq::Weeziq::new(client, room)),
            Self::Socketio => Box::new(socketio::SocketIo::new(room)),
        }
    }
}

/// Servers are new in each run, so names need no more than the number.
pub(crate) fn room_id(room: Room) -> String {
    format!("room-{}", room.0)
}
