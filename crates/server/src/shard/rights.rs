//! Who a connection is: what follows when that is proved, renewed or over.

use std::cmp::Reverse;
use std::net::IpAddr;

use weeziq_core::access::identity::Identity;
use weeziq_core::ids::ConnId;
use weeziq_core::protocol::command::{Refusal, Request};
use weeziq_core::protocol::error::ClientError;
use weeziq_core::time::UnixMs;

use super::conn::{Link, State};
use super::rooms::Timer;
use super::{Environment, Shard};
use crate::socketio;
use crate::websocket::frame::CloseCode;

const EXPIRED: &str = "your token has expired; connect with a new one";

impl Environment {
    /// Takes a question to the AI from the quotas of its address and of its token's subject.
    pub(crate) fn admit_question(
        &self,
        identity: &Identity,
        address: Option<IpAddr>,
        now: UnixMs,
    ) -> Result<(), ClientError> {
        if let Some(address) = address {
            let admitted = self.addresses.admit(address, now);
            admitted.map_err(|ms| ClientError::rate_limited("AI requests from this address", ms))?;
        }
        match identity.subject() {
            Some(subject) => {
                let admitted = self.subjects.admit(subject.clone(), now);
                admitted.map_err(|ms| ClientError::rate_limited("AI requests of this token's subject", ms))
            }
            None => Ok(()),
        }
    }
}

impl Shard {
    /// What a session alone cannot know of a request: whether its sender goes by somebody's name. Takes note of a token
    /// that came with it.
    pub(super) fn checked(&mut self, slot: usize, request: Request) -> Result<Request, Refusal> {
        let Some(conn) = self.conns.get_mut(slot).filter(|conn| !conn.session.identity().is_open()) else {
            return Ok(request);
        };
        let is_renewed = conn.session.take_renewed();
        let claimed = conn.session.identity().claimed(&request.command);
        if let Err(error) = self.environment.proven.refuse(claimed) {
            return Err(Refusal { reply_to: request.reply_to, error });
        }
        if is_renewed {
            self.note_renewed(slot);
        }
        Ok(request)
    }

    /// Who it is has changed.
    pub(super) fn note_renewed(&mut self, slot: usize) {
        let Some(conn) = self.conns.get(slot) else { return };
        self.environment.proven.note(conn.session.identity());
        if conn.session.observes() && conn.engine.as_ref().is_none_or(|engine| engine.is_connected()) {
            self.observers.insert(slot);
        }
        self.watch_expiry(slot);
    }

    pub(super) fn watch_expiry(&mut self, slot: usize) {
        let ends = self.conns.get(slot).and_then(|conn| conn.session.identity().expires_at());
        if let Some((at, conn)) = ends.zip(self.id_of(slot)) {
            self.timers.push(Reverse((at, Timer::Token { conn })));
        }
    }

    pub(super) fn expire_if_due(&mut self, conn: ConnId) {
        let Some(slot) = self.local(conn) else { return };
        let error = self.conns.get(slot).and_then(|conn| conn.session.expired(self.now));
        if let Some(error) = error {
            self.expire(slot, &Refusal { reply_to: None, error });
        }
    }

    /// Said once, behind whatever was said before, then the connection ends.
    pub(super) fn expire(&mut self, slot: usize, refusal: &Refusal) {
        let is_open = self
            .conns
            .get(slot)
            .is_some_and(|conn| matches!(&conn.link, Link::Socket(socket) if socket.state == State::Open));
        if !is_open {
            return;
        }
        tracing::debug!("a token has expired with its connection");
        let Some(to) = self.id_of(slot) else { return };
        let event = weeziq_core::protocol::event::Event::error(&refusal.error, self.now);
        self.reply(to, refusal.reply_to.as_deref(), event);
        if self.engine(slot).is_none() {
            return self.close_and_part(slot, CloseCode::EXPIRED, EXPIRED);
        }
        // Its client hangs up by itself; a transport that were closed at once would swallow what comes before.
        self.push_packet(slot, socketio::DISCONNECT);
        self.disconnect(slot);
        if let Some(conn) = self.conns.get_mut(slot) {
            conn.session.forget_identity();
        }
    }
}
