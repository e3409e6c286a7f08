//! The two ways to say the same: plain frames over `/ws`, and Socket.IO's packets. A room says what it says once in
//! each dialect that somebody in it understands, and in the same order in both.

use std::time::Instant;

use weeziq_core::ids::ConnId;
use weeziq_core::limits::{PING_EVERY_MS, PONG_WITHIN_MS, SILENCE_MS_MAX};

use super::audience::{Audience, CROWD};
use super::conn::Conn;
use super::rooms::RoomSlot;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Plain,
    SocketIo,
}

/// Of a connection's id, so that a room knows it of members on other shards too.
const SOCKET_IO: u64 = 1 << 63;

impl Dialect {
    pub(super) fn of(ConnId(id): ConnId) -> Self {
        if id & SOCKET_IO == 0 { Self::Plain } else { Self::SocketIo }
    }

    /// A peer from which nothing came for so long is gone.
    pub(super) fn silence_ms_max(self) -> i64 {
        match self {
            Self::Plain => SILENCE_MS_MAX,
            Self::SocketIo => PING_EVERY_MS + PONG_WITHIN_MS,
        }
    }

    pub(super) fn mark(self, ConnId(id): ConnId) -> ConnId {
        ConnId(if self == Self::SocketIo { id | SOCKET_IO } else { id })
    }
}

impl Conn {
    pub(super) fn dialect(&self) -> Dialect {
        if self.engine.is_some() { Dialect::SocketIo } else { Dialect::Plain }
    }
}

impl RoomSlot {
    /// Those whom a connection hears the room with.
    pub(super) fn audience_of(&self, conn: ConnId) -> Option<&Audience> {
        match Dialect::of(conn) {
            Dialect::Plain => Some(&self.audience),
            Dialect::SocketIo => self.socket_io.as_deref(),
        }
    }

    pub(super) fn audience_of_mut(&mut self, conn: ConnId) -> &mut Audience {
        self.audience_in(Dialect::of(conn))
    }

    pub(super) fn audience_in(&mut self, dialect: Dialect) -> &mut Audience {
        match dialect {
            Dialect::Plain => &mut self.audience,
            Dialect::SocketIo => self.socket_io.get_or_insert_default(),
        }
    }

    /// If anything was said in that dialect since it was last delivered.
    pub(super) fn dirty_audience(&mut self, dialect: Dialect) -> Option<&mut Audience> {
        let audience = match dialect {
            Dialect::Plain => Some(&mut self.audience),
            Dialect::SocketIo => self.socket_io.as_deref_mut(),
        };
        audience.filter(|audience| audience.is_dirty)
    }

    pub(super) fn audiences(&self) -> impl Iterator<Item = &Audience> {
        std::iter::once(&self.audience).chain(self.socket_io.as_deref())
    }

    pub(super) fn is_crowd(&self) -> bool {
        self.audiences().map(|audience| audience.seats.len()).sum::<usize>() >= CROWD
    }

    /// Whether what has been said still waits for company, in every dialect.
    pub(super) fn gathers(&self, now: Instant) -> bool {
        self.audiences().filter(|audience| audience.is_dirty).all(|audience| audience.gathers(now))
    }

    /// Everybody has been told; that began then and is over now.
    pub(super) fn has_told(&mut self, began: Instant, now: Instant) {
        self.audiences_mut().for_each(|(_, audience)| audience.has_told(began, now));
    }

    pub(super) fn audiences_mut(&mut self) -> impl Iterator<Item = (Dialect, &mut Audience)> {
        let others = self.socket_io.as_deref_mut().map(|audience| (Dialect::SocketIo, audience));
        std::iter::once((Dialect::Plain, &mut self.audience)).chain(others)
    }
}
