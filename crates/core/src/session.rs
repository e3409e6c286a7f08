//! One connection: what it is, what it may still do, and where each of its events belongs.

use crate::access::rate::{Quota, Usage};
use crate::ids::{DomainId, RoomId, SocketId, VisitorId};
use crate::limits::{
    REFUSALS_MAX, ROOMS_PER_CONNECTION_MAX, VISITS_PER_CONNECTION_MAX, VISITS_PER_DIRECT_CONNECTION_MAX,
};
use crate::protocol::ack;
use crate::protocol::command::{Command, Join, Refusal, Request, RoomCommand, VisitorsCommand, reply_to_of};
use crate::protocol::error::ClientError;
use crate::time::UnixMs;

/// A connection's own memory. It has to stay small: there is one for each idle visitor.
pub struct Session {
    pub socket: SocketId,
    /// The room of events that name none.
    default_room: Option<RoomId>,
    rooms: Vec<RoomId>,
    visits: Vec<(DomainId, VisitorId)>,
    visits_max: usize,
    /// Said of itself that it is a visitor or a customer; such a connection never watches others.
    is_visitor: bool,
    events: Usage,
    refused_since_calm: u32,
}

/// What became of a frame.
pub enum Received {
    Request(Request),
    Refused(Refusal),
    /// It has been refused too often: close with 1008.
    Abusive,
}

impl Session {
    pub fn new(socket: SocketId, default_room: Option<RoomId>) -> Self {
        Self {
            socket,
            default_room,
            rooms: Vec::new(),
            visits: Vec::new(),
            visits_max: VISITS_PER_CONNECTION_MAX,
            is_visitor: false,
            events: Usage::default(),
            refused_since_calm: 0,
        }
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
        Self { events, refused_since_calm, ..Self::new(socket, self.default_room.clone()) }
    }

    /// Parses one text frame and holds it against the limits of the connection.
    pub fn receive(&mut self, now: UnixMs, frame: &str, quota: Quota) -> Received {
        if let Some(refused) = self.spend(now, quota, || reply_to_of(frame)) {
            return refused;
        }
        self.received(Request::parse(frame, self.default_room.as_ref()))
    }

    fn received(&mut self, parsed: Result<Request, Refusal>) -> Received {
        match parsed {
            Err(refusal) => Received::Refused(refusal),
            Ok(request) => match self.admit(&request.command) {
                Ok(()) => Received::Request(request),
                Err(error) => Received::Refused(Refusal { reply_to: request.reply_to, error }),
            },
        }
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
        self.received(Request::parse_named(name, payload, ack, self.default_room.as_ref()))
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
            Command::Ping
            | Command::Room(..)
            | Command::Visitors(..)
            | Command::AllDomainStats
            | Command::Ask(..) => {}
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

    /// In open mode: whoever has not come as a visitor watches. Dashboards written for the original ask for nothing.
    pub fn observes(&self) -> bool {
        !self.is_visitor
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

    /// The rooms that its end concerns; they are asked for once.
    pub fn take_rooms(&mut self) -> Vec<RoomId> {
        std::mem::take(&mut self.rooms)
    }

    /// The visits that its end concerns.
    pub fn take_visits(&mut self) -> Vec<(DomainId, VisitorId)> {
        std::mem::take(&mut self.visits)
    }
}

fn states_visitor(join: &Join) -> bool {
    matches!(join.role.as_deref(), Some("user" | "customer"))
}
