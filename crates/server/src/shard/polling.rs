//! Long polling: requests of a Socket.IO client, each of which the HTTP side waits for.

use std::net::IpAddr;
use std::sync::Arc;

use weeziq_core::rooms::Farewell;
use weeziq_core::session::Session;

use super::Shard;
use super::conn::{Conn, Link, Socket, State};
use super::engine::{Engine, Said};
use super::measure::POLLING;
pub(crate) use super::stream::Answer;
use super::stream::{Polling, Posted, Stream};
use crate::metrics::count;
use crate::socketio::{self, EngineError, Secret, Sid};

pub(crate) enum PollingRequest {
    Open(Box<Opening>),
    /// What is there to hear?
    Ask {
        sid: Sid,
        answer: Answer,
    },
    Post {
        sid: Sid,
        packets: String,
        answer: Answer,
    },
    /// May a WebSocket offer itself to it?
    Look {
        sid: Sid,
        answer: Answer,
    },
    /// A request that waited was given up by its client.
    Left {
        sid: Sid,
    },
}

pub(crate) struct Opening {
    pub(crate) address: IpAddr,
    pub(crate) user_agent: Option<Arc<str>>,
    pub(crate) session: Session,
    pub(crate) secret: Secret,
    pub(crate) answer: Answer,
}

impl Shard {
    pub(super) fn take_polling(&mut self, request: PollingRequest) {
        match request {
            PollingRequest::Open(opening) => self.open_polling(*opening),
            PollingRequest::Ask { sid, answer } => self.poll_for(sid, answer),
            PollingRequest::Post { sid, packets, answer } => self.take_post(sid, packets, answer),
            PollingRequest::Look { sid, answer } => {
                // Who asked and did not wait needs no answer; here and below.
                let _ = answer.send(self.polling(sid).map(|_| String::new()));
            }
            PollingRequest::Left { sid } => {
                let Some(slot) = self.session(sid) else { return };
                let polling = self.socket(slot).and_then(|socket| socket.stream.polling());
                if polling.is_some_and(|polling| polling.is_given_up()) {
                    self.end_polling(slot, Farewell::Died);
                }
            }
        }
    }

    fn open_polling(&mut self, opening: Opening) {
        let Opening { address, user_agent, session, secret, answer } = opening;
        if self.stopping.is_some() {
            return;
        }
        tracing::debug!(socket = session.socket.as_str(), shard = self.index, "connected by polling");
        count(|counters| counters.connected.one(POLLING));
        let stream = Stream::Polling(Box::default());
        // It cannot move with its first join: its name says where it is.
        let socket = Socket::new(stream, true, self.now);
        let slot = self.conns.insert(Conn {
            generation: self.next_generation & 0x00FF_FFFF,
            session,
            address: Some(address),
            user_agent,
            link: Link::Socket(socket),
            seats: Vec::new(),
            is_dirty: false,
            engine: Some(Box::new(Engine::opened(secret, self.now))),
        });
        self.next_generation = self.next_generation.wrapping_add(1);
        let sid = self.sid_of(slot).map(|sid| sid.to_string()).unwrap_or_default();
        let _ = answer.send(Ok(socketio::open(&sid, &["websocket"])));
    }

    /// No sign of life: only what a client posts shows that it has heard the pings.
    fn poll_for(&mut self, sid: Sid, answer: Answer) {
        let slot = match self.polling(sid) {
            Ok(slot) => slot,
            Err(error) => return drop(answer.send(Err(error))),
        };
        let Some(socket) = self.socket(slot) else { return };
        let has_queue = socket.has_queue();
        let Some(polling) = socket.stream.polling() else { return };
        if polling.is_asked() {
            let _ = answer.send(Err(EngineError::BadRequest));
            return self.end_polling(slot, Farewell::Died);
        }
        let asked = polling.ask(answer);
        // While a WebSocket offers itself, a request ends at once if there is nothing to hear.
        let asked =
            if polling.is_probed && !has_queue { asked.and_then(|()| polling.let_go()) } else { asked };
        if asked.is_err() {
            return self.end_polling(slot, Farewell::Died);
        }
        self.mark_dirty(slot);
    }

    fn take_post(&mut self, sid: Sid, packets: String, answer: Answer) {
        let now = self.now;
        let slot = match self.polling(sid) {
            Ok(slot) => slot,
            Err(error) => return drop(answer.send(Err(error))),
        };
        let Some(socket) = self.socket(slot) else { return };
        socket.heard_at = now;
        let Some(polling) = socket.stream.polling() else { return };
        if polling.posted.is_some() {
            let _ = answer.send(Err(EngineError::BadRequest));
            return self.end_polling(slot, Farewell::Died);
        }
        polling.posted = Some(Posted::new(packets, answer));
        self.hear_posted(slot);
    }

    /// Hears what was posted, as far as the connection may speak now; the rest when it may again.
    pub(super) fn hear_posted(&mut self, slot: usize) {
        while let Some(socket) = self.socket(slot).filter(|socket| socket.state == State::Open) {
            if !socket.may_speak() {
                if let Some(polling) = socket.stream.polling() {
                    polling.answer_if_heard();
                }
                return;
            }
            socket.resumes();
            let Some(packet) = socket.stream.polling().and_then(Polling::next_packet) else { return };
            match self.hear_packet(slot, &packet) {
                Said::Nothing => {}
                Said::Event(received) => {
                    if !self.take_received(slot, received, &[]) {
                        return;
                    }
                }
                Said::Goodbye => return self.end_polling(slot, Farewell::Clean),
                Said::Malformed | Said::Upgrade => {
                    self.answer_post(slot, Err(EngineError::BadRequest));
                    return self.end_polling(slot, Farewell::Died);
                }
            }
        }
    }

    fn answer_post(&mut self, slot: usize, answer: Result<String, EngineError>) {
        let polling = self.socket(slot).and_then(|socket| socket.stream.polling());
        if let Some(polling) = polling {
            polling.answer_post(answer);
        }
    }

    /// At once: whoever asks for the session again is told that there is none.
    pub(super) fn end_polling(&mut self, slot: usize, how: Farewell) {
        self.answer_post(slot, Ok("ok".into()));
        if let Some(polling) = self.socket(slot).and_then(|socket| socket.stream.polling()) {
            polling.end(how);
        }
        self.part(slot, how);
        self.drop_conn(slot);
    }

    /// When stopping: no further request comes for those who wait for none now.
    pub(super) fn drop_unasked(&mut self) {
        self.conns.retain(|_, conn| match &mut conn.link {
            Link::Socket(socket) => socket.stream.polling().is_none_or(|polling| polling.is_asked()),
            _ => true,
        });
    }

    /// The session of that name, if it goes over polling.
    fn polling(&self, sid: Sid) -> Result<usize, EngineError> {
        let slot = self.session(sid).ok_or(EngineError::UnknownSession)?;
        match self.conns.get(slot).map(|conn| &conn.link) {
            Some(Link::Socket(socket)) if !socket.stream.is_polling() => Err(EngineError::BadRequest),
            Some(Link::Socket(_)) => Ok(slot),
            _ => Err(EngineError::UnknownSession),
        }
    }
}
