//! How threads reach a shard: an unbounded queue that wakes its loop. What flows in is bounded at its sources, by
//! the HTTP side's limit on requests, by each connection's rate and by one run per conversation.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use weeziq_core::Caller;
use weeziq_core::access::identity::Identity;
use weeziq_core::ids::{ConnId, DomainId, RoomId, SocketId};
use weeziq_core::protocol::command::{Command, Request};
use weeziq_core::protocol::event::{DomainSummary, Event};
use weeziq_core::rooms::RoomInput;
use weeziq_core::session::Session;
use weeziq_core::store::{Sql, SqlError};
use weeziq_core::time::UnixMs;
use weeziq_core::visitors::VisitorsInput;

use super::arrivals::Arrived;
use super::engine::Engine;
use super::measure::Measurement;
use super::polling::PollingRequest;
use super::recovery::{Keep, Recovery};
use crate::domains::Question;

/// Whatever can be said to a shard.
pub(crate) enum Message {
    /// A connection that has just been accepted.
    Arrived(Box<Arrived>),
    /// A connection to own from here on.
    Adopt(Box<Newcomer>),
    Polling(PollingRequest),
    Keep(Box<Keep>),
    Recovery(Box<Recovery>),
    /// One question over HTTP; its events go to `events` until the answer is whole.
    Request {
        command: Command,
        /// Who asks.
        identity: Identity,
        socket: SocketId,
        events: mpsc::Sender<Event>,
    },
    Room {
        room: RoomId,
        input: RoomInput,
        kept: Option<Kept>,
    },
    /// What you keep under that row of your outbox is stored where it was to go.
    Taken {
        row: i64,
    },
    /// A question of a visitor whom you count.
    Locate(Box<Question>),
    Visitors {
        domain: DomainId,
        input: VisitorsInput,
        kept: Option<Kept>,
    },
    /// For a connection of yours, from a room elsewhere.
    Reply {
        to: ConnId,
        reply_to: Option<Box<str>>,
        event: Event,
    },
    /// Encoded frames for connections of yours, from a room elsewhere.
    Frames {
        to: Vec<ConnId>,
        frames: Bytes,
        /// Where in `frames` those lie that may be dropped for slow readers.
        volatile: Box<[Range<usize>]>,
    },
    /// What a room elsewhere is about to tell connections of yours, and what comes from other rooms has to be held against.
    Notice {
        to: Vec<ConnId>,
        event: Event,
    },
    /// A frame for every connection of yours that watches visitors, and may see those of that domain.
    Observed {
        domain: Option<DomainId>,
        frame: Arc<[u8]>,
    },
    Summarise(Arc<Gathering>),
    /// Something with rows that no state machine remembers.
    Rows(Rows),
    /// What was committed before the request for it is on disk now.
    Synced(Result<(), SqlError>),
    /// May what is said to you be stored?
    Ready(oneshot::Sender<bool>),
    Measure(Measurement),
    Stop,
}

/// Works on the rows of a shard. What it returns is called once that is stored, and dropped if it is not.
pub(crate) type Rows =
    Box<dyn FnOnce(&mut dyn Sql, UnixMs) -> Result<Box<dyn FnOnce() + Send>, SqlError> + Send>;

/// The row of a shard's outbox that an input comes from.
#[derive(Clone, Copy)]
pub(crate) struct Kept {
    pub(crate) shard: usize,
    pub(crate) row: i64,
}

/// A WebSocket after its handshake.
pub(crate) struct Newcomer {
    pub(crate) stream: mio::net::TcpStream,
    pub(crate) address: IpAddr,
    pub(crate) session: Session,
    pub(crate) user_agent: Option<Arc<str>>,
    /// What it asked for first, if another shard has read that already.
    pub(crate) first: Option<Request>,
    /// What else has been read of it.
    pub(crate) unread: Vec<u8>,
    /// Whether it sits where it wants to be, so that a first join may move it no more.
    pub(crate) settled: bool,
    /// If it speaks Socket.IO.
    pub(crate) engine: Option<Box<Engine>>,
}

/// The statistics of all domains, put together by all shards.
pub(crate) struct Gathering {
    pub(crate) caller: Caller,
    state: Mutex<(usize, BTreeMap<DomainId, DomainSummary>)>,
}

impl Gathering {
    pub(crate) fn new(caller: Caller, shards: usize) -> Self {
        Self { caller, state: Mutex::new((shards, BTreeMap::new())) }
    }

    /// Adds one shard's part. The last one gets the whole.
    pub(crate) fn add(&self, part: BTreeMap<DomainId, DomainSummary>, now: UnixMs) -> Option<Event> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.1.extend(part);
        state.0 -= 1;
        if state.0 > 0 {
            return None;
        }
        let mut stats = std::mem::take(&mut state.1);
        self.caller.identity.retain_observed(&mut stats);
        Some(Event::AllDomainStats { stats, timestamp: now })
    }
}

/// The way to one shard.
#[derive(Clone)]
pub(crate) struct Mailbox {
    queue: Sender<Message>,
    waker: Arc<mio::Waker>,
    /// Whether a wake-up is under way already: one is enough for many messages.
    ringing: Arc<AtomicBool>,
}

/// The shard's end.
pub(crate) struct Inbox {
    queue: Receiver<Message>,
    ringing: Arc<AtomicBool>,
}

impl Mailbox {
    pub(crate) fn new(waker: mio::Waker) -> (Self, Inbox) {
        let (sender, receiver) = channel();
        let ringing = Arc::new(AtomicBool::new(false));
        let mailbox = Self { queue: sender, waker: Arc::new(waker), ringing: ringing.clone() };
        (mailbox, Inbox { queue: receiver, ringing })
    }

    /// A shard that has stopped takes nothing any more; what was meant for it is lost with its connections.
    pub(crate) fn send(&self, message: Message) {
        let sent = self.queue.send(message).is_ok();
        if sent
            && !self.ringing.swap(true, Ordering::AcqRel)
            && let Err(error) = self.waker.wake()
        {
            tracing::error!(%error, "a shard cannot be woken");
        }
    }
}

impl Inbox {
    /// What has come, at most `limit` of it. True if more may be waiting.
    pub(crate) fn take(&self, limit: usize, into: &mut Vec<Message>) -> bool {
        self.ringing.store(false, Ordering::Release);
        into.extend(self.queue.try_iter().take(limit));
        into.len() >= limit
    }
}

/// All shards, by number.
#[derive(Clone)]
pub(crate) struct Shards {
    mailboxes: Arc<[Mailbox]>,
    /// Those that, when stopping, still have something to release.
    undrained: Arc<AtomicUsize>,
}

impl Shards {
    pub(crate) fn new(mailboxes: Arc<[Mailbox]>) -> Self {
        let undrained = Arc::new(AtomicUsize::new(mailboxes.len()));
        Self { mailboxes, undrained }
    }

    pub(crate) fn count(&self) -> usize {
        self.mailboxes.len()
    }

    pub(crate) fn has_drained(&self) {
        self.undrained.fetch_sub(1, Ordering::AcqRel);
    }

    pub(crate) fn all_drained(&self) -> bool {
        self.undrained.load(Ordering::Acquire) == 0
    }

    /// Where a room or a domain of that name lives.
    pub(crate) fn of(&self, name: &str) -> usize {
        shard_of(name, self.mailboxes.len())
    }

    pub(crate) fn send(&self, shard: usize, message: Message) {
        if let Some(mailbox) = self.mailboxes.get(shard) {
            mailbox.send(message);
        }
    }

    pub(crate) fn to_room(&self, room: RoomId, input: RoomInput) {
        self.send(self.of(room.as_str()), Message::Room { room, input, kept: None });
    }
}

/// Where a room or a domain of that name lives. Fixed for the life of a data folder, so the hash must be too:
/// 64-bit FNV-1a.
pub(crate) fn shard_of(name: &str, shards: usize) -> usize {
    let fnv = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = name.as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, fnv);
    // The low bits of FNV are weak for short names.
    ((hash >> 32) % shards.max(1) as u64) as usize
}
