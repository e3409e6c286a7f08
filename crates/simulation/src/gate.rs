//! What the host holds back until the turn that it comes from is stored, and what to undo if that fails.

use weeziq_core::ids::{ConnId, DomainId, RoomId, VisitorId};
use weeziq_core::protocol::command::{RoomCommand, VisitorsCommand};
use weeziq_core::rooms::{Farewell, RoomInput, Spoken};
use weeziq_core::visitors::VisitorsInput;
use weeziq_core::{Caller, Output};

/// Where an output came from.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Room(RoomId),
    Domain(DomainId),
    /// The host itself: true whatever becomes of the transaction.
    Host,
}

pub(crate) struct Held {
    pub(crate) source: Source,
    pub(crate) output: Output,
}

#[derive(Default)]
pub(crate) struct Gate {
    /// Of the open transaction.
    pub(crate) open: Vec<Held>,
    /// Committed, waiting for the disk.
    pub(crate) syncing: Option<Vec<Held>>,
}

/// What the open transaction holds.
#[derive(Default)]
pub(crate) struct Pending {
    pub(crate) callers: Vec<Caller>,
    pub(crate) rooms: Vec<RoomId>,
    pub(crate) domains: Vec<DomainId>,
    /// What rooms were opened with the knowledge of.
    pub(crate) told: Vec<(RoomId, Spoken)>,
    pub(crate) partings: Vec<Parting>,
    /// Of transactions that failed, until storage works again.
    pub(crate) retried: Vec<Parting>,
    /// Something that another room was to hear may have been in a transaction that failed.
    pub(crate) is_outbox_due: bool,
}

/// What must not be forgotten if the transaction fails, because nobody will say it again.
pub(crate) enum Parting {
    Room { room: RoomId, conn: ConnId, how: Farewell },
    Domain { domain: DomainId, conn: ConnId, visitor: VisitorId },
}

impl Pending {
    pub(crate) fn clear(&mut self) {
        self.callers.clear();
        self.rooms.clear();
        self.domains.clear();
        self.told.clear();
        self.partings.clear();
    }

    pub(crate) fn note_room(&mut self, room: &RoomId, input: &RoomInput) {
        self.rooms.push(room.clone());
        let parting = |conn: &ConnId, how| Parting::Room { room: room.clone(), conn: *conn, how };
        match input {
            RoomInput::Disconnected { conn, how } => self.partings.push(parting(conn, *how)),
            RoomInput::Command { from, command } => {
                self.callers.push(from.clone());
                if matches!(command, RoomCommand::Leave) {
                    self.partings.push(parting(&from.conn, Farewell::Clean));
                }
            }
            RoomInput::Ask { from, .. } => self.callers.push(from.clone()),
            _ => {}
        }
    }

    pub(crate) fn note_domain(&mut self, domain: &DomainId, input: &VisitorsInput) {
        self.domains.push(domain.clone());
        let mut parting = |conn: &ConnId, visitor: &VisitorId| {
            let (domain, visitor) = (domain.clone(), visitor.clone());
            self.partings.push(Parting::Domain { domain, conn: *conn, visitor });
        };
        match input {
            VisitorsInput::Disconnected { conn, visitor } => parting(conn, visitor),
            VisitorsInput::Command { from, command, .. } => {
                if let VisitorsCommand::Leave { visitor } = command {
                    parting(&from.conn, visitor);
                }
                self.callers.push(from.clone());
            }
            VisitorsInput::Listed(_) | VisitorsInput::Unlisted { .. } | VisitorsInput::Alarm => {}
        }
    }
}
