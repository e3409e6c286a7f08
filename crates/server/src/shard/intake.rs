//! What comes in: sockets, requests, frames.

use mio::Interest;
use tokio::sync::mpsc;
use weeziq_core::Caller;
use weeziq_core::access::identity::Identity;
use weeziq_core::ids::SocketId;
use weeziq_core::protocol::command::{Command, Refusal, Request, RoomCommand};
use weeziq_core::protocol::event::Event;
use weeziq_core::rooms::{Farewell, RoomInput};
use weeziq_core::session::{Received, Session};
use weeziq_core::visitors::VisitorsInput;

use super::Shard;
use super::conn::{Conn, Heard, Link, Socket, State};
use super::engine::Said;
use super::mailbox::{Message, Newcomer};
use super::measure::transport;
use super::stream::Stream;
use crate::metrics::count;
use crate::websocket::frame::{CloseCode, Frame};

/// What became of the bytes at the head of a stream.
enum Step {
    /// A frame of that length.
    Next { len: usize, received: Option<Received> },
    /// The rest of the frame has to come first.
    Partial,
    /// Nothing more is to be read.
    Ended,
}

impl Shard {
    /// From here on what happens to a socket happens to that slot.
    pub(super) fn watch_as(&mut self, stream: &mut mio::net::TcpStream, slot: usize) -> std::io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().reregister(stream, mio::Token(slot), interest)
    }

    pub(super) fn adopt(&mut self, newcomer: Newcomer) {
        let Newcomer { mut stream, address, session, user_agent, unread, first, settled, engine } = newcomer;
        if self.stopping.is_some() {
            return;
        }
        let entry = self.conns.vacant_entry();
        let slot = entry.key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(&mut stream, mio::Token(slot), interest) {
            tracing::warn!(%error, "a socket cannot be watched");
            return;
        }
        // One that brings its first wish was counted where it came from.
        if first.is_none() {
            count(|counters| counters.connected.one(transport(engine.as_deref())));
        }
        tracing::debug!(socket = session.socket.as_str(), shard = self.index, "connected");
        if session.observes() && engine.as_ref().is_none_or(|engine| engine.is_connected()) {
            self.observers.insert(slot);
        }
        entry.insert(Conn {
            generation: self.next_generation & 0x00FF_FFFF,
            session,
            address: Some(address),
            user_agent,
            link: Link::Socket(Socket::new(Stream::Tcp(stream), settled, self.now)),
            seats: Vec::new(),
            is_dirty: false,
            engine,
        });
        self.next_generation = self.next_generation.wrapping_add(1);
        self.watch_expiry(slot);
        self.greet(slot);
        if let Some(request) = first {
            self.dispatch(slot, request);
        }
        if let Some(socket) = self.socket(slot) {
            socket.partial = unread;
        }
        // The socket was readable before it was watched; an edge that has passed does not come again.
        self.read(slot);
    }

    pub(super) fn take_request(
        &mut self,
        command: Command,
        (identity, socket): (Identity, SocketId),
        events: mpsc::Sender<Event>,
    ) {
        if self.stopping.is_some() {
            return;
        }
        let slot = self.conns.insert(Conn {
            generation: self.next_generation & 0x00FF_FFFF,
            session: Session::new(socket, None).known_as(identity, None),
            address: None,
            user_agent: None,
            link: Link::Request(events),
            seats: Vec::new(),
            is_dirty: false,
            engine: None,
        });
        self.next_generation = self.next_generation.wrapping_add(1);
        self.dispatch(slot, Request { reply_to: None, command });
    }

    /// Reads what a socket has, one buffer at most; the rest has its turn after the others'.
    pub(super) fn read(&mut self, slot: usize) {
        let Some(socket) = self.socket(slot) else { return self.receive(slot) };
        if socket.stream.is_polling() {
            return self.hear_posted(slot);
        }
        if !socket.may_speak() {
            return;
        }
        socket.resumes();
        if !socket.partial.is_empty() {
            // Whole frames may be left from when it was not listened to.
            self.hear(slot, &mut []);
        }
        let mut buffer = std::mem::take(&mut self.read_buffer);
        let heard = self.socket(slot).filter(|s| !s.is_paused()).map(|socket| socket.read(&mut buffer));
        match heard {
            Some(Heard::Bytes(len)) => {
                // A short read says that the socket is empty: with an edge-triggered poll the next byte is a new edge.
                if len == buffer.len() {
                    self.ready.push(slot);
                }
                if let Some(bytes) = buffer.get_mut(..len) {
                    self.hear(slot, bytes);
                }
            }
            Some(Heard::Gone) => {
                self.part(slot, Farewell::Died);
                self.drop_conn(slot);
            }
            Some(Heard::Nothing) | None => {}
        }
        self.read_buffer = buffer;
    }

    fn hear(&mut self, slot: usize, bytes: &mut [u8]) {
        let now = self.now;
        let Some(socket) = self.socket(slot) else { return };
        socket.heard_at = now;
        if socket.state != State::Open {
            return;
        }
        let mut partial = std::mem::take(&mut socket.partial);
        if partial.is_empty() {
            let used = self.hear_frames(slot, bytes);
            partial.extend_from_slice(bytes.get(used..).unwrap_or_default());
        } else {
            // Whoever sends a frame byte by byte must not have it copied byte by byte.
            partial.extend_from_slice(bytes);
            let used = self.hear_frames(slot, &mut partial);
            partial.drain(..used);
        }
        if let Some(socket) = self.socket(slot).filter(|_| !partial.is_empty()) {
            socket.partial = partial;
        }
    }

    /// Handles the whole frames in `bytes` and says how many of them are of no use any more.
    fn hear_frames(&mut self, slot: usize, bytes: &mut [u8]) -> usize {
        let mut used = 0;
        while let Some(unread) = bytes.get_mut(used..) {
            match self.hear_frame(slot, unread) {
                Step::Next { len, received: None } => {
                    used += len;
                    if self.socket(slot).is_some_and(|socket| socket.is_paused()) {
                        return used;
                    }
                }
                Step::Next { len, received: Some(received) } => {
                    used += len;
                    let unread = bytes.get(used..).unwrap_or_default();
                    if !self.take_received(slot, received, unread) {
                        break;
                    }
                    if self.socket(slot).is_some_and(|socket| socket.is_paused()) {
                        return used;
                    }
                }
                Step::Partial => return used,
                Step::Ended => break,
            }
        }
        bytes.len()
    }

    fn hear_frame(&mut self, slot: usize, bytes: &mut [u8]) -> Step {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(slot) else { return Step::Ended };
        let Link::Socket(socket) = &mut conn.link else { return Step::Ended };
        if socket.state != State::Open {
            return Step::Ended;
        }
        let (len, frame) = match socket.fragments.read(bytes) {
            Ok(Some(read)) => read,
            Ok(None) => return Step::Partial,
            Err(code) => {
                self.refuse_frames(slot, code);
                return Step::Ended;
            }
        };
        let received = match frame {
            Some(Frame::Text(text)) if conn.engine.is_some() => match self.hear_packet(slot, &text) {
                Said::Nothing => None,
                Said::Event(received) => Some(received),
                said => return self.end_engine(slot, &said, bytes.get(len..).unwrap_or_default()),
            },
            Some(Frame::Binary) if conn.engine.is_some() => match self.hear_attachment(slot) {
                Said::Event(received) => Some(received),
                Said::Nothing => None,
                said => return self.end_engine(slot, &said, &[]),
            },
            Some(Frame::Text(text)) => Some(conn.session.receive(now, &text, self.environment.events)),
            Some(Frame::Binary) => Some(conn.session.receive_binary(now, self.environment.events)),
            Some(Frame::Ping(payload)) => {
                socket.push_pong(payload, now);
                self.dirty_conns.push(slot);
                None
            }
            Some(Frame::Close(code)) => {
                self.say_goodbye(slot, code);
                return Step::Ended;
            }
            Some(Frame::Pong) | None => None,
        };
        Step::Next { len, received }
    }

    /// No more is to be read from this slot.
    fn end_engine(&mut self, slot: usize, said: &Said, unread: &[u8]) -> Step {
        match said {
            Said::Upgrade => self.upgrade(slot, unread),
            Said::Goodbye => self.say_goodbye(slot, CloseCode::NORMAL),
            Said::Malformed | Said::Nothing | Said::Event(_) => self.refuse_frames(slot, CloseCode::PROTOCOL),
        }
        Step::Ended
    }

    /// False if the connection is not to be read on here.
    pub(super) fn take_received(&mut self, slot: usize, received: Received, unread: &[u8]) -> bool {
        match received {
            Received::Request(request) => {
                let request = match self.checked(slot, request) {
                    Ok(request) => request,
                    Err(refusal) => {
                        self.refuse(slot, refusal);
                        return true;
                    }
                };
                if let Some(shard) = self.elsewhere(slot, &request) {
                    self.hand_over(slot, shard, request, unread);
                    return false;
                }
                self.dispatch(slot, request);
            }
            Received::Refused(refusal) => self.refuse(slot, refusal),
            Received::Expired(refusal) => {
                self.expire(slot, &refusal);
                return false;
            }
            Received::Abusive => {
                self.close_and_part(slot, CloseCode::POLICY, "too many events for too long");
                return false;
            }
        }
        true
    }

    /// A connection whose first wish is to join a room belongs where that room is.
    fn elsewhere(&mut self, slot: usize, request: &Request) -> Option<usize> {
        let socket = self.socket(slot)?;
        if std::mem::replace(&mut socket.settled, true) || socket.has_queue() {
            return None;
        }
        let Command::Room(room, RoomCommand::Join(_)) = &request.command else {
            return None;
        };
        Some(self.shards.of(room.as_str())).filter(|shard| *shard != self.index)
    }

    fn hand_over(&mut self, slot: usize, shard: usize, first: Request, unread: &[u8]) {
        self.observers.remove(&slot);
        let Some(conn) = self.conns.try_remove(slot) else {
            return;
        };
        let (Link::Socket(socket), Some(address)) = (conn.link, conn.address) else {
            return;
        };
        let Stream::Tcp(stream) = socket.stream else { return };
        let Some(stream) = self.release(stream) else { return };
        let newcomer = Newcomer {
            stream,
            address,
            session: conn.session,
            user_agent: conn.user_agent,
            unread: unread.to_vec(),
            first: Some(first),
            settled: true,
            engine: conn.engine,
        };
        self.shards.send(shard, Message::Adopt(Box::new(newcomer)));
    }

    pub(super) fn refuse(&mut self, slot: usize, refusal: Refusal) {
        let Some((id, conn)) = self.id_of(slot).zip(self.conns.get(slot)) else {
            return;
        };
        tracing::debug!(socket = conn.session.socket.as_str(), code = ?refusal.error.code, "refused");
        let identity = conn.session.identity().clone();
        count(|counters| counters.refused.one(refusal.error.code.as_str()));
        let caller = Caller { conn: id, socket: conn.session.socket, reply_to: refusal.reply_to, identity };
        if let Some(socket) = self.socket(slot) {
            // With an answer on its way here, the connection stays here.
            socket.settled = true;
        }
        self.answer(caller, Event::error(&refusal.error, self.now));
    }

    pub(super) fn refuse_frames(&mut self, slot: usize, code: CloseCode) {
        let reason = match code {
            CloseCode::TOO_BIG => "a message is at most 64 KiB",
            CloseCode::NOT_UTF8 => "text must be UTF-8",
            CloseCode::POLICY => "no session waits for this socket",
            _ => "not RFC 6455, or no packet of Engine.IO",
        };
        self.close_and_part(slot, code, reason);
    }

    pub(super) fn close_and_part(&mut self, slot: usize, code: CloseCode, reason: &str) {
        self.close_socket(slot, code, reason);
        self.part(slot, Farewell::Died);
    }

    fn say_goodbye(&mut self, slot: usize, code: CloseCode) {
        self.close_socket(slot, code, "");
        self.part(slot, Farewell::Clean);
    }

    /// Tells all that it joined that a connection is gone.
    pub(super) fn part(&mut self, slot: usize, how: Farewell) {
        self.withdraw_offer(slot);
        self.part_engine(slot, false);
        let Some((id, conn)) = self.id_of(slot).zip(self.conns.get_mut(slot)) else {
            return;
        };
        tracing::debug!(socket = conn.session.socket.as_str(), clean = how == Farewell::Clean, "gone");
        let rooms = conn.session.take_rooms();
        let visits = conn.session.take_visits();
        self.observers.remove(&slot);
        for room in rooms {
            self.tell_room(room, RoomInput::Disconnected { conn: id, how });
        }
        for (domain, visitor) in visits {
            self.tell_visitors(domain, VisitorsInput::Disconnected { conn: id, visitor });
        }
    }

    pub(super) fn drop_conn(&mut self, slot: usize) {
        self.observers.remove(&slot);
        // Dropping the stream closes it, which takes it out of the poll.
        self.conns.try_remove(slot);
    }
}
