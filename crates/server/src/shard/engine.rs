//! A connection that speaks Socket.IO: what its packets mean to the shard (`polling.rs`: how they come over HTTP).

use std::sync::Arc;

use weeziq_core::limits::CONNECT_WITHIN_MS;
use weeziq_core::rooms::Farewell;
use weeziq_core::session::Received;
use weeziq_core::time::UnixMs;

use super::Shard;
use super::audience::Frames;
use super::conn::{Link, Socket};
use super::recovery::Wanted;
use super::stream::Stream;
use crate::http::socket_id;
use crate::socketio::{self, Args, Body, EnginePacket, Malformed, Packet, Place, Secret, Sid, Stands};
use crate::websocket::frame::CloseCode;

/// What a connection that speaks Socket.IO keeps beside the rest.
pub(crate) struct Engine {
    pub(super) secret: Secret,
    pub(super) phase: Phase,
    /// Binary messages to come that belong to an event which was refused already.
    attachments: u32,
    /// Under which its session may be taken up again; None while nobody is connected to the namespace.
    pub(super) pid: Option<Arc<str>>,
    /// Whether it is stored.
    pub(super) is_kept: bool,
    pub(super) stands: Stands,
    /// What it wants to go on as.
    pub(super) wanted: Option<Box<Wanted>>,
}

#[derive(Clone, Copy)]
pub(super) enum Phase {
    /// A WebSocket that was not greeted yet.
    New,
    /// A WebSocket that offers itself to a polling session.
    Offered {
        to: Sid,
        is_answered: bool,
    },
    /// Nobody has connected to the namespace yet.
    Opened {
        at: UnixMs,
    },
    /// Its client wants to go on as who it was; nothing it says is heard before that is decided.
    Recalling {
        at: UnixMs,
    },
    Connected,
}

/// What a packet came to.
pub(super) enum Said {
    Nothing,
    Event(Received),
    /// The offer of this WebSocket is taken up.
    Upgrade,
    Goodbye,
    Malformed,
}

impl Engine {
    /// Of a WebSocket: on its own, or offered to the session of that name.
    pub(crate) fn new(secret: Secret, offered_to: Option<Sid>) -> Self {
        let phase = offered_to.map_or(Phase::New, |to| Phase::Offered { to, is_answered: false });
        Self { phase, ..Self::opened(secret, UnixMs(0)) }
    }

    pub(super) fn opened(secret: Secret, now: UnixMs) -> Self {
        Self {
            secret,
            phase: Phase::Opened { at: now },
            attachments: 0,
            pid: None,
            is_kept: false,
            stands: Stands::default(),
            wanted: None,
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Connected)
    }

    /// Whether its client has had time enough to connect to the namespace.
    pub(super) fn is_overdue(&self, now: UnixMs) -> bool {
        matches!(self.phase, Phase::Opened { at } | Phase::Recalling { at } if now.since(at) > CONNECT_WITHIN_MS)
    }

    pub(super) fn opened_at(&self) -> UnixMs {
        match self.phase {
            Phase::Opened { at } | Phase::Recalling { at } => at,
            Phase::New | Phase::Offered { .. } | Phase::Connected => UnixMs(0),
        }
    }

    /// Queues what a room has said, as this connection has to hear it. True as with [`Socket::push`].
    pub(super) fn push_parts(
        &mut self,
        socket: &mut Socket,
        frames: Frames<'_>,
        place: Option<&Place>,
        now: UnixMs,
    ) -> bool {
        if !self.stands.are_its_own() {
            place.map(|place| self.stands.advance(place));
            return socket.push_parts(frames, now);
        }
        frames.parts().any(|(part, weight)| {
            let mut own = Vec::new();
            self.stands.rewrite(frames.bytes.get(part).unwrap_or_default(), &mut own);
            !own.is_empty() && socket.push(&own, weight, now)
        })
    }

    /// The same, past the queue if that is empty and others hear the very same.
    pub(super) fn push_shared(
        &mut self,
        socket: &mut Socket,
        frames: Frames<'_>,
        place: Option<&Place>,
        now: UnixMs,
    ) -> Result<bool, Farewell> {
        if self.stands.are_its_own() {
            return Ok(self.push_parts(socket, frames, place, now));
        }
        place.map(|place| self.stands.advance(place));
        socket.push_shared(frames, now)
    }

    pub(super) fn is_offer(&self) -> bool {
        matches!(self.phase, Phase::Offered { .. })
    }
}

impl Shard {
    /// A WebSocket has come: it is told its session, or looked at whether the session that it wants is there.
    pub(super) fn greet(&mut self, slot: usize) {
        let now = self.now;
        let Some((engine, sid)) = self.engine(slot).map(|engine| engine.phase).zip(self.sid_of(slot)) else {
            return;
        };
        match engine {
            Phase::New => {
                self.push_packet(slot, &socketio::open(&sid.to_string(), &[]));
                if let Some(engine) = self.engine(slot) {
                    engine.phase = Phase::Opened { at: now };
                }
            }
            Phase::Offered { to, .. } if self.polling_session(to).is_none() => {
                self.refuse_frames(slot, CloseCode::POLICY);
            }
            Phase::Offered { .. } | Phase::Opened { .. } | Phase::Recalling { .. } | Phase::Connected => {}
        }
    }

    pub(super) fn hear_packet(&mut self, slot: usize, text: &str) -> Said {
        let Some(engine) = self.engine(slot) else { return Said::Malformed };
        let is_offer = engine.is_offer();
        match EnginePacket::parse(text) {
            Ok(EnginePacket::Probe) if is_offer => self.answer_probe(slot),
            Ok(EnginePacket::Upgrade) if is_offer => Said::Upgrade,
            Ok(EnginePacket::Message(message)) if !is_offer => {
                self.hear_message(slot, message).unwrap_or(Said::Malformed)
            }
            Ok(EnginePacket::Binary) if !is_offer => self.hear_attachment(slot),
            Ok(EnginePacket::Close) => Said::Goodbye,
            Ok(EnginePacket::Pong | EnginePacket::Noop) => Said::Nothing,
            _ => Said::Malformed,
        }
    }

    fn hear_message(&mut self, slot: usize, message: &str) -> Result<Said, Malformed> {
        let (now, quota) = (self.now, self.environment.events);
        let Packet { namespace, body } = Packet::parse(message)?;
        let Some(conn) = self.conns.get_mut(slot) else { return Ok(Said::Goodbye) };
        let Some(engine) = conn.engine.as_mut() else { return Err(Malformed) };
        let is_ours = namespace == "/";
        if matches!(body, Body::Connect(_) | Body::Disconnect) && !conn.session.spends(now, quota) {
            return Err(Malformed);
        }
        match body {
            Body::Connect(_) if !is_ours => {
                self.push_packet(slot, &socketio::connect_error(namespace, "Invalid namespace"));
                Ok(Said::Nothing)
            }
            // Nobody can be in a namespace that there is none of.
            Body::Disconnect if !is_ours => Ok(Said::Nothing),
            Body::Connect(auth) if matches!(engine.phase, Phase::Opened { .. }) => {
                self.connect(slot, auth);
                Ok(Said::Nothing)
            }
            _ if !is_ours || !engine.is_connected() => Err(Malformed),
            Body::Event { ack, args } => {
                let args = Args::parse(args)?;
                let named = (&*args.name, args.payload());
                Ok(Said::Event(conn.session.receive_named(now, named, ack, quota)))
            }
            Body::BinaryEvent { ack, attachments } => {
                engine.attachments = engine.attachments.saturating_add(attachments);
                Ok(Said::Event(conn.session.receive_attachments(now, ack, quota)))
            }
            Body::Disconnect => {
                self.disconnect(slot);
                Ok(Said::Nothing)
            }
            Body::Ack => Ok(Said::Nothing),
            Body::Connect(_) => Err(Malformed),
        }
    }

    /// A binary message: of an event that was refused with all of its arguments, or an error of its own.
    pub(super) fn hear_attachment(&mut self, slot: usize) -> Said {
        let (now, quota) = (self.now, self.environment.events);
        let Some(conn) = self.conns.get_mut(slot) else { return Said::Goodbye };
        match conn.engine.as_mut().filter(|engine| engine.is_connected()) {
            Some(engine) if engine.attachments > 0 => {
                engine.attachments -= 1;
                Said::Nothing
            }
            Some(_) => Said::Event(conn.session.receive_binary(now, quota)),
            None => Said::Malformed,
        }
    }

    /// The client leaves the namespace, and may connect to it again over the same session, as somebody new.
    pub(super) fn disconnect(&mut self, slot: usize) {
        self.part_engine(slot, true);
        self.part(slot, Farewell::Clean);
        let socket = socket_id();
        let (now, generation) = (self.now, self.next_generation);
        self.next_generation = self.next_generation.wrapping_add(1);
        let Some(conn) = self.conns.get_mut(slot) else { return };
        // What its rooms and requests still have to say to it is for nobody.
        conn.generation = generation & 0x00FF_FFFF;
        conn.seats.clear();
        conn.session = conn.session.renew(socket);
        if let Some(engine) = conn.engine.as_mut() {
            engine.phase = Phase::Opened { at: now };
            engine.stands = Stands::default();
        }
        if let Some(socket) = self.socket(slot) {
            socket.has_reply();
        }
    }

    fn answer_probe(&mut self, slot: usize) -> Said {
        let Some(Phase::Offered { to, is_answered }) = self.engine(slot).map(|engine| &mut engine.phase)
        else {
            return Said::Malformed;
        };
        *is_answered = true;
        let to = *to;
        let session = self.polling_session(to);
        self.push_packet(slot, socketio::PROBED);
        if let Some(polling) = session.and_then(|slot| self.socket(slot)?.stream.polling()) {
            polling.is_probed = true;
            // A failure shows when there is something to say.
            let _ = polling.let_go();
        }
        // Who was not listened to may have to be now.
        session.into_iter().for_each(|slot| self.mark_dirty(slot));
        Said::Nothing
    }

    /// The session goes on over the WebSocket that was offered, with its queue as it stands. `unread` came behind the
    /// last packet of the offer.
    pub(super) fn upgrade(&mut self, slot: usize, unread: &[u8]) {
        let session = match self.engine(slot).map(|engine| engine.phase) {
            Some(Phase::Offered { to, is_answered: true }) => self.polling_session(to),
            _ => None,
        };
        let session = session.filter(|session| self.may_upgrade(*session));
        let Some(session) = session else {
            return self.refuse_frames(slot, CloseCode::POLICY);
        };
        let Some(Link::Socket(mut offered)) = self.conns.try_remove(slot).map(|conn| conn.link) else {
            return;
        };
        let watched = match &mut offered.stream {
            Stream::Tcp(stream) => self.watch_as(stream, session),
            Stream::Polling(_) => return,
        };
        if let Err(error) = watched {
            return tracing::warn!(%error, "a socket cannot be watched");
        }
        let now = self.now;
        if let Some(socket) = self.socket(session) {
            socket.upgrade(offered, unread, now);
        }
        self.mark_dirty(session);
        self.ready.push(session);
    }

    /// What was posted before comes before what the WebSocket brings; a client that does not wait for it is not one.
    fn may_upgrade(&mut self, session: usize) -> bool {
        let polling = self.socket(session).and_then(|socket| socket.stream.polling());
        polling.is_some_and(|polling| polling.posted.is_none())
    }

    /// A WebSocket that was offered is gone: the session goes on as before.
    pub(super) fn withdraw_offer(&mut self, slot: usize) {
        let Some(Phase::Offered { to, .. }) = self.engine(slot).map(|engine| engine.phase) else { return };
        let session = self.polling_session(to);
        if let Some(polling) = session.and_then(|slot| self.socket(slot)?.stream.polling()) {
            polling.is_probed = false;
        }
    }

    pub(super) fn push_packet(&mut self, slot: usize, packet: &str) {
        let mut frame = Vec::with_capacity(packet.len() + 4);
        socketio::write_packet(packet, &mut frame);
        self.push(slot, &frame, super::conn::Weight::Durable);
    }

    pub(super) fn engine(&mut self, slot: usize) -> Option<&mut Engine> {
        self.conns.get_mut(slot)?.engine.as_deref_mut()
    }

    pub(super) fn sid_of(&self, slot: usize) -> Option<Sid> {
        let secret = self.conns.get(slot)?.engine.as_ref()?.secret;
        Some(Sid { shard: self.index as u8, slot: slot as u32, secret })
    }

    /// The session of that name, whatever it goes over.
    pub(super) fn session(&self, sid: Sid) -> Option<usize> {
        let slot = sid.slot as usize;
        let engine = self.conns.get(slot)?.engine.as_ref()?;
        (usize::from(sid.shard) == self.index && engine.secret == sid.secret && !engine.is_offer())
            .then_some(slot)
    }

    fn polling_session(&self, sid: Sid) -> Option<usize> {
        let slot = self.session(sid)?;
        match &self.conns.get(slot)?.link {
            Link::Socket(socket) if socket.stream.is_polling() => Some(slot),
            _ => None,
        }
    }
}
