//! The behaviour of WeeziQ, written once and run by two hosts.
//!
//! Everything that a visitor, an operator or a model can cause is decided here, as plain functions of an input,
//! the time, some entropy and the rows in storage. A host turns sockets, requests, alarms and model streams into
//! [`rooms::RoomInput`] and [`visitors::VisitorsInput`], and carries out the [`Output`]s once what they speak of
//! is stored. Nothing in this crate knows a socket, a file, a clock, a random source, a thread or either host.

pub mod access;
pub mod ai;
pub mod domains;
pub mod fence;
pub mod files;
pub mod ids;
pub mod inbox;
pub mod knowledge;
pub mod limits;
pub mod metrics;
pub mod privacy;
pub mod protocol;
pub mod rooms;
pub mod session;
pub mod spending;
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
    /// Who asks, as far as that is proved.
    pub identity: access::identity::Identity,
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
    /// A customer has said this in a room of that domain: if the domain has its AI answer by itself, the host asks
    /// [`protocol::command::Ask::unasked`] of the room. Said again when the room wakes and was not asked, so it need not
    /// survive a crash; the room takes one question for a message, however often it is asked.
    Said { domain: DomainId, message: Arc<rooms::message::Message> },
    /// Begin asking; what the model says comes back as [`RoomInput::Model`] under the same run.
    AskModel { run: RunId, request: ModelRequest },
    /// Drop the upstream request of that run.
    CancelModel { run: RunId },
    /// How the room stands now, for the list of its domain's rooms, which may live elsewhere. It has to get there whatever
    /// dies: a host keeps it until it has, or says [`RoomInput::List`] to the room again. The newest counts.
    List(Box<inbox::Listing>),
    /// An answer has ended, or was not begun: for the account of its domain.
    Spend(Box<spending::Spent>),
    /// An input for another room, which may live elsewhere. What is `kept` as a row of the outbox is handed over until
    /// that room's turn with it is stored; the host removes the row then, and not before.
    Relay { room: RoomId, input: Box<RoomInput>, kept: Option<i64> },
}

/// How the name of an owner begins that a token has proved.
const OF_SUBJECT: &str = "subject ";

impl Caller {
    /// The host itself, for the sender of a message that nobody waits for an answer to.
    pub fn unasked(message: &rooms::message::Message) -> Self {
        let socket = ids::SocketId::parse(&message.socket_id);
        let socket = socket.unwrap_or_else(|| ids::SocketId::from_entropy(0));
        Self { conn: ConnId::NOBODY, socket, reply_to: None, identity: access::identity::Identity::Open }
    }

    /// Under which names a conversation may be its own: the token's subject, and the connection.
    fn owners(&self) -> impl Iterator<Item = String> {
        let subject = self.identity.subject().map(|subject| format!("{OF_SUBJECT}{subject}"));
        subject.into_iter().chain([format!("connection {}", self.socket.as_str())])
    }

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
