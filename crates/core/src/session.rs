//! One connection: what it is, what it may still do, and where each of its events belongs.

use std::sync::Arc;

use crate::access::identity::Identity;
use crate::access::rate::{Quota, Usage};
use crate::access::token::{self, Key};
use crate::fence::Fence;
use crate::ids::{DomainId, RoomId, SocketId, VisitorId};
use crate::limits::{
    REFUSALS_MAX, ROOMS_PER_CONNECTION_MAX, VISITS_PER_CONNECTION_MAX, VISITS_PER_DIRECT_CONNECTION_MAX,
};
use crate::protocol::ack;
use crate::protocol::command::{Command, Join, Refusal, Request, RoomCommand, VisitorsCommand, reply_to_of};
use crate::protocol::error::{ClientError, ErrorCode};
use crate::time::UnixMs;
use crate::visitors::whence::Whence;

/// A connection's own memory. It has to stay small: there is one for each idle visitor.
pub struct Session {
    pub socket: SocketId,
    /// The room of events that name none.
    default_room: Option<RoomId>,
    rooms: Vec<RoomId>,
    /// Conversations whose answers it reads.
    read: Vec<RoomId>,
    visits: Vec<(DomainId, VisitorId)>,
    visits_max: usize,
    /// Said of itself that it is a visitor or a customer; such a connection never watches others.
    is_visitor: bool,
    events: Usage,
    refused_since_calm: u32,
    identity: Identity,
    /// What its tokens are held against; None in open mode.
    key: Option<Arc<Key>>,
    whence: Whence,
    /// A token that came with a join has changed who it is, and its host does not know it yet.
    is_renewed: bool,
    /// What it is not to hear any more.
    pub fence: Fence,
}

/// What became of a frame.
pub enum Received {
    Request(Request),
    Refused(Refusal),
    /// Its token does not hold any more: say so, and close with 4401.
    Expired(Refusal),
    /// It has been refused too often: close with 1008.
    Abusive,
}

impl Session {
    pub fn new(socket: SocketId, default_room: Option<RoomId>) -> Self {
        Self {
            socket,
            default_room,
            rooms: Vec::new(),
            read: Vec::new(),
            visits: Vec::new(),
            visits_max: VISITS_PER_CONNECTION_MAX,
            is_visitor: false,
            events: Usage::default(),
            refused_since_calm: 0,
            identity: Identity::Open,
            key: None,
            whence: Whence::default(),
            is_renewed: false,
            fence: Fence::default(),
        }
    }

    /// The same where the host knows something of where it comes from.
    #[must_use]
    pub fn come_from(self, whence: Whence) -> Self {
        Self { whence, ..self }
    }

    /// The same where there is a key: what it may do depends on who it is.
    #[must_use]
    pub fn known_as(self, identity: Identity, key: Option<Arc<Key>>) -> Self {
        // What was kept of a time without a key opens nothing.
        let identity = if key.is_some() && identity.is_open() { Identity::Anonymous } else { identity };
        Self { identity, key, ..self }
    }

    /// Of a connection that outlives the process that knew it: what its host kept beside it. Its rate begins anew.
    pub fn revive(
        socket: SocketId,
        default_room: RoomId,
        is_member: bool,
        is_visitor: bool,
        visits: Vec<(DomainId, VisitorId)>,
    ) -> Self {
        let rooms = if is_member { vec![default_room.clone()] } else { Vec::new() };
        let visits_max = VISITS_PER_DIRECT_CONNECTION_MAX;
        Self { rooms, visits, visits_max, is_visitor, ..Self::new(socket, Some(default_room)) }
    }

    /// Another connection of the same peer over the same transport: all is new but its rate.
    #[must_use]
    pub fn renew(&self, socket: SocketId) -> Self {
        let (events, refused_since_calm) = (self.events, self.refused_since_calm);
        let fresh = Self { events, refused_since_calm, ..Self::new(socket, self.default_room.clone()) };
        let fresh = fresh.come_from(self.whence.clone());
        fresh.known_as(self.identity.clone(), self.key.clone())
    }

    /// Parses one text frame and holds it against the limits of the connection.
    pub fn receive(&mut self, now: UnixMs, frame: &str, quota: Quota) -> Received {
        if let Some(refused) = self.spend(now, quota, || reply_to_of(frame)) {
            return refused;
        }
        self.received(now, Request::parse_from(frame, self.default_room.as_ref(), &self.whence))
    }

    fn received(&mut self, now: UnixMs, parsed: Result<Request, Refusal>) -> Received {
        let mut request = match parsed {
            Err(refusal) => return Received::Refused(refusal),
            Ok(request) => request,
        };
        let authorised = self.authorise(now, &mut request.command);
        match authorised.and_then(|()| self.admit(&request.command)) {
            Ok(()) => Received::Request(request),
            Err(error) => {
                let refusal = Refusal { reply_to: request.reply_to, error };
                if self.identity.has_expired(now) {
                    Received::Expired(refusal)
                } else {
                    Received::Refused(refusal)
                }
            }
        }
    }

    /// Holds a command against who sends it, and puts that name on it. A join may bring a token, new or renewed.
    fn authorise(&mut self, now: UnixMs, command: &mut Command) -> Result<(), ClientError> {
        let Some(key) = &self.key else { return Ok(()) };
        if let Command::Room(_, RoomCommand::Join(Join { token: Some(token), .. })) = command {
            let renewed = Identity::of(Some(key), Some(token.reveal()), now)?;
            self.become_known(renewed)?;
        }
        self.identity.require_current(now)?;
        self.identity.authorise(command, |room| self.rooms.contains(room))
    }

    /// Nobody becomes somebody else: rooms and conversations go by who it was.
    fn become_known(&mut self, identity: Identity) -> Result<(), ClientError> {
        let is_another = self.identity.subject().is_some_and(|known| Some(known) != identity.subject());
        if is_another {
            let why = "the token is another subject's than this connection's; open another connection for it";
            return Err(ClientError::new(ErrorCode::Forbidden, why));
        }
        self.is_renewed |= self.identity != identity;
        self.identity = identity;
        Ok(())
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Has proved who it is, over a transport that says so behind the handshake.
    pub fn prove(&mut self, token: &str, now: UnixMs) -> Result<(), ClientError> {
        match &self.key {
            Some(key) => self.become_known(Identity::of(Some(key), Some(token), now)?),
            None => Ok(()),
        }
    }

    /// Whoever comes next over the same transport has to prove anew who it is.
    pub fn forget_identity(&mut self) {
        if self.key.is_some() {
            self.identity = Identity::Anonymous;
        }
    }

    /// True once after who it is has changed: its host has to look again at what hangs on that.
    pub fn take_renewed(&mut self) -> bool {
        std::mem::take(&mut self.is_renewed)
    }

    /// What it hears when its token ends while it is connected, if that is so.
    pub fn expired(&self, now: UnixMs) -> Option<ClientError> {
        self.identity.has_expired(now).then(token::expired)
    }

    /// The same for an event whose name stands beside its payload. `ack` is the number to acknowledge it under.
    pub fn receive_named(
        &mut self,
        now: UnixMs,
        (name, payload): (&str, &str),
        ack: Option<u64>,
        quota: Quota,
    ) -> Received {
        if let Some(refused) = self.spend(now, quota, || ack::mark(ack, reply_to_of(payload))) {
            return refused;
        }
        self.received(now, Request::parse_named(name, payload, ack, self.default_room.as_ref(), &self.whence))
    }

    /// Takes one event from the quota, of something that has no reply and no refusal. False if there is none left.
    pub fn spends(&mut self, now: UnixMs, quota: Quota) -> bool {
        self.spend(now, quota, || None).is_none()
    }

    /// A binary frame is an error, and an event like any other.
    pub fn receive_binary(&mut self, now: UnixMs, quota: Quota) -> Received {
        self.receive_attachments(now, None, quota)
    }

    /// The same for an event that brings binary arguments.
    pub fn receive_attachments(&mut self, now: UnixMs, ack: Option<u64>, quota: Quota) -> Received {
        let refused = self.spend(now, quota, || ack::mark(ack, None));
        let error = ClientError::invalid("frame", "must be text; binary frames are not used here");
        refused.unwrap_or(Received::Refused(Refusal { reply_to: ack::mark(ack, None), error }))
    }

    /// Takes one event from the quota, or refuses it.
    fn spend(
        &mut self,
        now: UnixMs,
        quota: Quota,
        reply_to: impl FnOnce() -> Option<Box<str>>,
    ) -> Option<Received> {
        // At a steady flood one event in so many still passes, so only a full bucket counts as calm.
        if self.events.is_fresh(now) {
            self.refused_since_calm = 0;
        }
        let retry_after_ms = self.events.admit(now, quota).err()?;
        self.refused_since_calm += 1;
        if self.refused_since_calm > REFUSALS_MAX {
            return Some(Received::Abusive);
        }
        let error = ClientError::rate_limited("events on this connection", retry_after_ms);
        Some(Received::Refused(Refusal { reply_to: reply_to(), error }))
    }

    /// Remembers what the end of the connection will have to undo.
    fn admit(&mut self, command: &Command) -> Result<(), ClientError> {
        match command {
            Command::Room(room, RoomCommand::Join(join)) => {
                if !self.rooms.contains(room) {
                    if self.rooms.len() >= ROOMS_PER_CONNECTION_MAX {
                        let rule = format!(
                            "is one too many: a connection can be in {ROOMS_PER_CONNECTION_MAX} rooms; leave one first"
                        );
                        return Err(ClientError::invalid("roomId", &rule));
                    }
                    self.rooms.push(room.clone());
                }
                self.is_visitor |= states_visitor(join);
            }
            Command::Room(room, RoomCommand::Leave) => self.rooms.retain(|joined| joined != room),
            Command::Room(_, RoomCommand::CustomerJoined(_)) => self.is_visitor = true,
            Command::Visitors(
                domain,
                VisitorsCommand::Join { visitor, .. } | VisitorsCommand::Activity { visitor, .. },
            ) => {
                self.is_visitor |= true;
                let visit = (domain.clone(), visitor.clone());
                if !self.visits.contains(&visit) {
                    if self.visits.len() >= self.visits_max {
                        let rule = "is one too many for one connection; let one leave first";
                        return Err(ClientError::invalid("visitorId", rule));
                    }
                    self.visits.push(visit);
                }
            }
            Command::Visitors(domain, VisitorsCommand::Leave { visitor }) => {
                self.visits.retain(|visit| (&visit.0, &visit.1) != (domain, visitor));
            }
            Command::Ask(Some(conversation), _)
            | Command::Room(conversation, RoomCommand::ResumeAnswer { .. }) => {
                if !self.read.contains(conversation) {
                    // Of more than so many it is enough to know the newest.
                    if self.read.len() >= ROOMS_PER_CONNECTION_MAX {
                        self.read.remove(0);
                    }
                    self.read.push(conversation.clone());
                }
            }
            Command::Ping
            | Command::Room(..)
            | Command::Desk(..)
            | Command::Search(_)
            | Command::Visitors(..)
            | Command::AllDomainStats
            | Command::Ask(None, _) => {}
        }
        Ok(())
    }

    /// Is in that room as an earlier connection of the same client was.
    pub fn recover(&mut self, room: &RoomId, join: &Join) {
        if !self.rooms.contains(room) {
            self.rooms.push(room.clone());
        }
        self.is_visitor |= states_visitor(join);
    }

    /// In open mode whoever has not come as a visitor watches: dashboards written for the original ask for nothing. With
    /// tokens whoever has come as an agent or an admin does, the domains of its token.
    pub fn observes(&self) -> bool {
        if self.identity.is_open() { !self.is_visitor } else { self.identity.is_staff() }
    }

    /// Whether it has introduced itself as a visitor or a customer.
    pub fn is_visitor(&self) -> bool {
        self.is_visitor
    }

    /// Whether its end concerns this room.
    pub fn is_in(&self, room: &RoomId) -> bool {
        self.rooms.contains(room)
    }

    pub fn visits(&self) -> &[(DomainId, VisitorId)] {
        &self.visits
    }

    /// Whether its end concerns this domain.
    pub fn is_on(&self, domain: &DomainId) -> bool {
        self.visits.iter().any(|(visited, _)| visited == domain)
    }

    /// The rooms that its end concerns, as a member or as a reader; they are asked for once.
    pub fn take_rooms(&mut self) -> Vec<RoomId> {
        let mut rooms = std::mem::take(&mut self.rooms);
        for read in std::mem::take(&mut self.read) {
            if !rooms.contains(&read) {
                rooms.push(read);
            }
        }
        rooms
    }

    /// The visits that its end concerns.
    pub fn take_visits(&mut self) -> Vec<(DomainId, VisitorId)> {
        std::mem::take(&mut self.visits)
    }
}

fn states_visitor(join: &Join) -> bool {
    matches!(join.role.as_deref(), Some("user" | "customer"))
}
