//! The way in: the first shard accepts, a shard answers a plain WebSocket handshake from what the socket shows, and the
//! connection stays in the slot where it arrived. No other thread has to wake for it. Whatever wants something else is
//! left unread for the HTTP stack.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Token};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use weeziq_core::ids::ConnId;
use weeziq_core::session::Session;
use weeziq_core::time::UnixMs;

use super::conn::{Conn, Link, Socket};
use super::mailbox::{Message, Newcomer};
use super::measure::transport;
use super::stream::Stream;
use super::{LISTENER, Shard};
use crate::http::doorway::Handshake;
use crate::http::{Peer, socket_id};
use crate::metrics::count;

/// A connection that has not said what it wants, or that wants something else than a WebSocket.
pub(crate) struct Arrived {
    pub(crate) stream: TcpStream,
    pub(crate) peer: Peer,
    /// Given back when it has become a WebSocket, or is gone.
    pub(crate) permit: OwnedSemaphorePermit,
}

/// Where connections come from, and where those go that a shard has no use for.
pub(crate) struct Entrance {
    /// Of the shard that accepts.
    pub(crate) listener: Option<TcpListener>,
    pub(crate) permits: std::sync::Arc<Semaphore>,
    pub(crate) to_http: UnboundedSender<Arrived>,
}

/// Those who have not said anything, oldest first, and what the listener has to be looked at again for.
#[derive(Default)]
pub(super) struct Silent {
    until: VecDeque<(UnixMs, ConnId)>,
    accept_at: Option<UnixMs>,
    dealt: usize,
}

/// A peer that has not said what it wants by then is let go.
const SPEAK_WITHIN_MS: i64 = 10_000;
/// So many newcomers, among others, have their turn before those who are here have theirs again.
const ACCEPTED_PER_TURN: usize = 256;
/// Out of descriptors or permits: waiting lets some be closed, spinning would not.
const ACCEPT_AGAIN_MS: i64 = 50;
/// Longer heads, and those that come in pieces, go the long way.
const HEAD_BYTES_MAX: usize = 2_048;

impl Shard {
    /// When the listener wants to be looked at though nothing new has come.
    pub(super) fn accepts_again_at(&self) -> Option<UnixMs> {
        self.silent.accept_at
    }

    pub(super) fn accept_if_due(&mut self) {
        if self.silent.accept_at.is_none_or(|at| at > self.now) {
            return;
        }
        self.silent.accept_at = None;
        for _ in 0..ACCEPTED_PER_TURN {
            let Some(listener) = &self.entrance.listener else { return };
            let Ok(permit) = self.entrance.permits.clone().try_acquire_owned() else {
                self.silent.accept_at = Some(self.now.plus(ACCEPT_AGAIN_MS));
                return;
            };
            match listener.accept() {
                Ok((stream, peer)) => {
                    let peer = Peer(peer.ip().to_canonical());
                    self.deal(Arrived { stream, peer, permit });
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // The peer has given up; the next one need not wait for it.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::warn!(%error, "a connection cannot be accepted");
                    self.silent.accept_at = Some(self.now.plus(ACCEPT_AGAIN_MS));
                    return;
                }
            }
        }
        self.silent.accept_at = Some(self.now);
    }

    /// To each shard in turn, so that handshakes cost them all the same.
    fn deal(&mut self, arrived: Arrived) {
        let shard = self.silent.dealt % self.shards.count();
        self.silent.dealt = self.silent.dealt.wrapping_add(1);
        match shard == self.index {
            true => self.arrive(arrived),
            false => self.shards.send(shard, Message::Arrived(Box::new(arrived))),
        }
    }

    pub(super) fn arrive(&mut self, mut arrived: Arrived) {
        if self.stopping.is_some() {
            return;
        }
        let entry = self.conns.vacant_entry();
        let slot = entry.key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(&mut arrived.stream, Token(slot), interest) {
            tracing::warn!(%error, "a socket cannot be watched");
            return;
        }
        entry.insert(Conn {
            generation: self.next_generation & 0x00FF_FFFF,
            session: Session::new(socket_id(), None),
            address: None,
            user_agent: None,
            link: Link::Arrived(Box::new(arrived)),
            seats: Vec::new(),
            is_dirty: false,
            engine: None,
        });
        self.next_generation = self.next_generation.wrapping_add(1);
        let until = self.now.plus(SPEAK_WITHIN_MS);
        self.silent.until.extend(self.id_of(slot).map(|id| (until, id)));
        self.receive(slot);
    }

    /// Looks at what somebody who has arrived says first.
    pub(super) fn receive(&mut self, slot: usize) {
        let Some(Link::Arrived(arrived)) = self.conns.get(slot).map(|conn| &conn.link) else {
            return;
        };
        let Some(head) = self.read_buffer.get_mut(..HEAD_BYTES_MAX) else { return };
        match arrived.stream.peek(head) {
            Ok(0) => self.drop_conn(slot),
            Ok(seen) => match self.app.recognise(head.get(..seen).unwrap_or_default(), arrived.peer) {
                Some(handshake) => self.welcome(slot, handshake, seen),
                None => self.show_to_http(slot),
            },
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.drop_conn(slot),
        }
    }

    /// Answers a handshake. Its connection is a WebSocket from here on.
    fn welcome(&mut self, slot: usize, handshake: Handshake, seen: usize) {
        let Some(conn) = self.conns.get_mut(slot) else { return };
        let Link::Arrived(arrived) = &mut conn.link else { return };
        let Handshake { len, answer, arrival } = handshake;
        let head = self.read_buffer.get_mut(..len).unwrap_or_default();
        let has_taken = arrived.stream.read(head).is_ok_and(|read| read == len);
        // Nothing has been written to this socket yet, so it takes this much at once.
        if !has_taken || !arrived.stream.write(&answer).is_ok_and(|written| written == answer.len()) {
            return self.drop_conn(slot);
        }
        let shard = arrival.room.as_ref().map_or(self.index, |room| self.shards.of(room.as_str()));
        let key = self.environment.key.clone();
        conn.session = Session::new(conn.session.socket, arrival.room.clone())
            .known_as(arrival.identity.clone(), key)
            .come_from(arrival.whence.clone());
        conn.address = Some(arrival.address);
        conn.engine = arrival.engine();
        conn.user_agent = arrival.user_agent;
        if shard != self.index {
            return self.move_elsewhere(slot, shard);
        }
        tracing::debug!(socket = conn.session.socket.as_str(), shard, "connected");
        // Whoever speaks Socket.IO observes from its CONNECT on.
        let observes = conn.session.observes() && conn.engine.is_none();
        count(|counters| counters.connected.one(transport(conn.engine.as_deref())));
        let arrived = std::mem::replace(&mut conn.link, Link::Gone);
        if let Link::Arrived(arrived) = arrived {
            conn.link = Link::Socket(Socket::new(Stream::Tcp(arrived.stream), false, self.now));
        }
        if observes {
            self.observers.insert(slot);
        }
        self.watch_expiry(slot);
        self.greet(slot);
        // What was seen behind the head has passed as an edge.
        if seen > len {
            self.read(slot);
        }
    }

    fn move_elsewhere(&mut self, slot: usize, shard: usize) {
        let Some(conn) = self.conns.try_remove(slot) else { return };
        let (Link::Arrived(arrived), Some(address)) = (conn.link, conn.address) else {
            return;
        };
        let Some(stream) = self.release(arrived.stream) else { return };
        let newcomer = Newcomer {
            stream,
            address,
            session: conn.session,
            user_agent: conn.user_agent,
            first: None,
            unread: Vec::new(),
            settled: false,
            engine: conn.engine,
        };
        self.shards.send(shard, Message::Adopt(Box::new(newcomer)));
    }

    fn show_to_http(&mut self, slot: usize) {
        let Some(Link::Arrived(arrived)) = self.conns.try_remove(slot).map(|conn| conn.link) else {
            return;
        };
        let Arrived { stream, peer, permit } = *arrived;
        if let Some(stream) = self.release(stream) {
            // When nobody listens there any more, the service is stopping.
            let _ = self.entrance.to_http.send(Arrived { stream, peer, permit });
        }
    }

    /// No longer watched here, so that somebody else may.
    pub(super) fn release(&self, mut stream: TcpStream) -> Option<TcpStream> {
        match self.poll.registry().deregister(&mut stream) {
            Ok(()) => Some(stream),
            Err(error) => {
                tracing::warn!(%error, "a socket cannot be handed over");
                None
            }
        }
    }

    pub(super) fn drop_silent(&mut self) {
        while let Some((until, id)) = self.silent.until.front().copied() {
            if until > self.now {
                return;
            }
            self.silent.until.pop_front();
            let silent = self.local(id).filter(|slot| {
                matches!(self.conns.get(*slot).map(|conn| &conn.link), Some(Link::Arrived(_)))
            });
            if let Some(slot) = silent {
                self.drop_conn(slot);
            }
        }
    }

    /// No more of them.
    pub(super) fn close_entrance(&mut self) {
        self.entrance.listener = None;
        self.silent.accept_at = None;
        let arrived = self.conns.iter().filter(|(_, conn)| matches!(conn.link, Link::Arrived(_)));
        let arrived: Vec<usize> = arrived.map(|(slot, _)| slot).collect();
        arrived.into_iter().for_each(|slot| self.drop_conn(slot));
    }
}

impl Silent {
    /// Somebody is at the door.
    pub(super) fn is_due(&mut self) {
        self.accept_at = Some(UnixMs(0));
    }
}

impl Entrance {
    /// Has the poll look at the listener, if there is one.
    pub(super) fn watch(&mut self, poll: &mio::Poll) -> std::io::Result<()> {
        match &mut self.listener {
            Some(listener) => poll.registry().register(listener, LISTENER, Interest::READABLE),
            None => Ok(()),
        }
    }
}
