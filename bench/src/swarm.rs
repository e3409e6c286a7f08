//! All connections of one run on one thread and one epoll.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use crate::clock::{Clock, Pacer};
use crate::connection::{Connection, Context, Masks};
use crate::dialect::Dialect;
use crate::inbox::Inbox;
use crate::limits::{DRAIN_MAX, JOIN_MAX, QUIET, QUIET_MAX, SILENCE_MAX};
use crate::wire::{self, Mark, Member, RunId};
use weeziq_rig::{Failure, Result};

/// A WebSocket on this machine; there is no way to name another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) port: u16,
    /// [`ROOM`] in it stands for the name of each member's own.
    pub(crate) path: String,
    pub(crate) dialect: Dialect,
}

pub(crate) const ROOM: &str = "{room}";

pub(crate) struct Swarm {
    poll: Poll,
    events: Events,
    pacer: Pacer,
    clock: Clock,
    target: Target,
    run: RunId,
    rooms: u32,
    members_per_room: u32,
    connections: Vec<Connection>,
    inbox: Inbox,
    buffer: Vec<u8>,
    masks: Masks,
    event: Vec<u8>,
}

impl Swarm {
    pub(crate) fn new(target: &Target, run: RunId, rooms: u32, members_per_room: u32) -> Result<Self> {
        let poll = Poll::new()?;
        let pacer = Pacer::register(poll.registry(), PACER)?;
        Ok(Self {
            poll,
            events: Events::with_capacity(1024),
            pacer,
            clock: Clock::start(),
            run,
            rooms,
            members_per_room,
            connections: Vec::new(),
            inbox: Inbox::new(run, rooms, members_per_room),
            buffer: Vec::new(),
            masks: Masks::new(u64::from(run.0) << 32 | 0x9e37_79b9),
            target: target.clone(),
            event: Vec::new(),
        })
    }

    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    pub(crate) fn run(&self) -> RunId {
        self.run
    }

    pub(crate) fn pacer(&self) -> &Pacer {
        &self.pacer
    }

    pub(crate) fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    pub(crate) fn inbox_mut(&mut self) -> &mut Inbox {
        &mut self.inbox
    }

    /// Connects and joins everyone, room by room, with at most `at_once` on their way. One failure ends it.
    pub(crate) fn join_all(&mut self, at_once: u32) -> Result<()> {
        let deadline = Instant::now() + JOIN_MAX;
        let members = self.rooms * self.members_per_room;
        while self.inbox.joined < members {
            let opened = self.connections.len() as u32;
            let until = members.min(self.inbox.joined + at_once);
            let now = until.min(opened + OPENED_A_TURN_MAX);
            for member in (opened..now).map(Member) {
                self.open(member)?;
            }
            self.turn(if now < until { Duration::ZERO } else { TURN_MAX })?;
            let joined = self.inbox.joined;
            if let Some(trouble) = self.inbox.first_trouble() {
                return Err(Failure::Server(format!("{joined} of {members} had joined when {trouble}")));
            }
            if Instant::now() > deadline {
                let seconds = JOIN_MAX.as_secs();
                return Err(Failure::Server(format!(
                    "only {joined} of {members} had joined after {seconds} s"
                )));
            }
        }
        Ok(())
    }

    fn open(&mut self, member: Member) -> Result<()> {
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, self.target.port));
        let join = wire::join_event(self.target.dialect, self.run, self.inbox.room_of(member), member);
        let now_ns = self.clock.now_ns();
        self.connections.push(Connection::open(to, self.poll.registry(), member, join, now_ns)?);
        Ok(())
    }

    /// Handles what is ready, waiting up to `timeout` for it.
    pub(crate) fn turn(&mut self, timeout: Duration) -> Result<()> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        let Self { events, connections, inbox, buffer, masks, clock, pacer, target, .. } = self;
        let mut cx = Context { inbox, buffer, masks, target, clock: *clock };
        for event in events.iter() {
            if event.token() == PACER {
                pacer.acknowledge();
                continue;
            }
            let Some(connection) = connections.get_mut(event.token().0) else {
                continue;
            };
            if event.is_writable() || event.is_error() {
                connection.writable(&mut cx);
            }
            if event.is_readable() || event.is_read_closed() {
                connection.readable(event.is_read_closed(), &mut cx);
            }
        }
        Ok(())
    }

    /// Sends the member's next message to his room, marked with the time at which it was due.
    pub(crate) fn send(&mut self, sender: Member, intended_ns: u64) {
        let mut event = std::mem::take(&mut self.event);
        let room = self.inbox.room_of(sender);
        let number = self.inbox.sent(sender, intended_ns).number;
        let mark = Mark { run: self.run, sender, number, intended_ns };
        wire::message_event(&mut event, self.target.dialect, room, mark);
        self.say(sender, &event);
        self.event = event;
    }

    /// Sends any event as it stands.
    pub(crate) fn say(&mut self, member: Member, event: &[u8]) {
        let Self { connections, inbox, buffer, masks, clock, target, .. } = self;
        let mut cx = Context { inbox, buffer, masks, target, clock: *clock };
        if let Some(connection) = connections.get_mut(member.0 as usize) {
            connection.send_text(event, &mut cx);
        }
    }

    /// Reads on until nothing has come for a while: the presence frames of the joins are through.
    pub(crate) fn wait_quiet(&mut self) -> Result<()> {
        let deadline = Instant::now() + QUIET_MAX;
        if self.listen_until(QUIET, deadline, |_| false)? {
            return Ok(());
        }
        let seconds = QUIET_MAX.as_secs();
        Err(Failure::Server(format!("it was still sending {seconds} s after the last join")))
    }

    /// Reads on until everything owed is here, or nothing more comes: that is then lost.
    pub(crate) fn drain(&mut self) -> Result<()> {
        let deadline = Instant::now() + DRAIN_MAX;
        self.listen_until(SILENCE_MAX, deadline, |inbox| inbox.outstanding() == 0)?;
        Ok(())
    }

    pub(crate) fn listen_for(&mut self, time: Duration) -> Result<()> {
        self.listen_until(time, Instant::now() + time, |_| false)?;
        Ok(())
    }

    /// Ends when `done`, after `silence`, or at the deadline; true unless it was the deadline.
    fn listen_until(
        &mut self,
        silence: Duration,
        deadline: Instant,
        done: impl Fn(&Inbox) -> bool,
    ) -> Result<bool> {
        let mut bytes = self.inbox.bytes;
        let mut heard = Instant::now();
        while !done(&self.inbox) {
            let now = Instant::now();
            if now >= deadline {
                return Ok(false);
            }
            if now.duration_since(heard) >= silence {
                break;
            }
            self.turn(silence.min(TURN_MAX))?;
            if self.inbox.bytes != bytes {
                bytes = self.inbox.bytes;
                heard = Instant::now();
            }
        }
        Ok(true)
    }
}

/// Who opens thousands must speak with the first of them meanwhile, or it would time its own deafness.
const OPENED_A_TURN_MAX: u32 = 64;

const PACER: Token = Token(usize::MAX);

/// No wait is longer, so that deadlines are looked at.
pub(crate) const TURN_MAX: Duration = Duration::from_millis(50);
