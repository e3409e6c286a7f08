//! The behaviour of WeeziQ, written once and run by two hosts.
//!
//! Everything that a visitor, an operator or a model can cause is decided here, as plain functions of an input,
//! the time, some entropy and the rows in storage. A host turns sockets, requests, alarms and model streams into
//! [`rooms::RoomInput`] and [`visitors::VisitorsInput`], and carries out the [`Output`]s once what they speak of
//! is stored. Nothing in this crate knows a socket, a file, a clock, a random source, a thread or either host.

pub mod access;
pub mod ai;
pub mod domains;
pub mod ids;
pub mod limits;
pub mod protocol;
pub mod rooms;
pub mod session;
pub mod store;
pub mod time;
pub mod visitors;

use std::sync::Arc;

use ai::model::ModelRequest;
use ids::{ConnId, DomainId, RoomId, RunId};
use protocol::event::Event;
use rooms::{Member, RoomInput};
use time::UnixMs;

/// What a host tells the core about the instant at which it handles an input.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Never runs backwards within one host process.
    pub now: UnixMs,
    /// Fresh for every call; names epochs and runs. It has to be unique, not secret.
    pub entropy: u64,
    pub policy: &'a Policy,
}

/// The settings that change behaviour, the same on both hosts.
pub struct Policy {
    pub models: ai::models::Models,
    /// Turns that the model sees, the question included.
    pub context_messages: usize,
    pub ai_per_user: access::rate::Quota,
}

/// Who asked, so that the answer finds its way back.
#[derive(Clone)]
pub struct Caller {
    pub conn: ConnId,
    /// How the connection is called on the wire.
    pub socket: ids::SocketId,
    /// The client's own `id` of this event; the direct reply bears it as `replyTo`.
    pub reply_to: Option<Box<str>>,
}

/// Everything that the core may want from a host. A host is a loop that matches these.
pub enum Output {
    /// To one connection only.
    Reply { to: ConnId, reply_to: Option<Box<str>>, event: Event },
    /// To each member of the room that is being handled, save `except`.
    Publish { event: Event, except: Option<ConnId> },
    /// The connection is a member from here on. The host keeps `member` beside the connection, because a room that
    /// is dropped from memory is rebuilt from its connections.
    Admit { conn: ConnId, member: Arc<Member> },
    /// The connection is no member any more.
    Dismiss { conn: ConnId },
    /// To those who watch this domain.
    TellObservers { domain: Option<DomainId>, event: Event },
    /// Handle `Alarm` at this time. A later one replaces nothing: the earliest that is still due counts.
    WakeAt(UnixMs),
    /// Begin asking; what the model says comes back as [`RoomInput::Model`] under the same run.
    AskModel { run: RunId, request: ModelRequest },
    /// Drop the upstream request of that run.
    CancelModel { run: RunId },
    /// An input for another room, which may live elsewhere. What is `kept` as a row of the outbox is handed over until
    /// that room's turn with it is stored; the host removes the row then, and not before.
    Relay { room: RoomId, input: Box<RoomInput>, kept: Option<i64> },
}

impl Caller {
    /// Who is to hear that this is done even if there is nothing else to say.
    fn wants_ack(&self) -> Option<Self> {
        protocol::ack::is_wanted(self.reply_to.as_deref()).then(|| self.clone())
    }
}

/// What was done without a reply is acknowledged to those who want that. `said` is what stood in `out` before.
fn acknowledge(out: &mut Vec<Output>, said: usize, to: Option<Caller>) {
    let Some(to) = to else { return };
    let is_answer = |output: &Output| matches!(output, Output::Reply { to: conn, reply_to, .. } if *conn == to.conn && *reply_to == to.reply_to);
    if !out.iter().skip(said).any(is_answer) {
        let event = Event::Done { success: true };
        out.push(Output::Reply { to: to.conn, reply_to: to.reply_to, event });
    }
}
