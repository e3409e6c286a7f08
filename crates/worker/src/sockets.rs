//! The sockets of an object. Who is at each stands in its attachment, which outlives the object's memory.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use weeziq_core::access::identity::Identity;
use weeziq_core::ids::{ConnId, DomainId, SocketId, VisitorId};
use weeziq_core::metrics::families;
use weeziq_core::rooms::Member;
use weeziq_core::visitors::whence::Whence;
use worker::{
    Response, Result, State, WebSocket, WebSocketPair, WebSocketRequestResponsePair, console_error,
};

use crate::clock::conn_of;
use crate::counts;
use crate::gateway::RESTARTED;
use crate::places::Hello;

/// What outlives the object's memory. At most 16 KiB as JSON: names of 4 KiB at most, 8 visits of 1 KiB, and what a token of
/// 3 KiB says.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Attached {
    pub(crate) socket: SocketId,
    nonce: u64,
    /// The client itself is at the other end, and not the Worker for it.
    pub(crate) is_direct: bool,
    pub(crate) observes: bool,
    pub(crate) user_agent: Option<String>,
    #[serde(default, skip_serializing_if = "Whence::is_unknown")]
    pub(crate) whence: Whence,
    pub(crate) address: Option<String>,
    pub(crate) member: Option<Arc<Member>>,
    /// Of a direct one: it has introduced itself as a visitor.
    pub(crate) is_visitor: bool,
    /// Of a direct one: something elsewhere hangs on it that an eviction cuts.
    pub(crate) is_elsewhere: bool,
    /// Of a direct one: whom it speaks for, which has to be undone at its end.
    pub(crate) visits: Vec<(DomainId, VisitorId)>,
    /// Who is at the other end, as far as that is proved.
    #[serde(default, skip_serializing_if = "Identity::is_open")]
    pub(crate) identity: Identity,
}

pub(crate) struct Seat {
    pub(crate) conn: ConnId,
    pub(crate) socket: WebSocket,
    attached: RefCell<Attached>,
}

/// All of them, by connection. Rebuilt from the attachments whenever the object wakes.
pub(crate) struct Seats(RefCell<HashMap<ConnId, Rc<Seat>>>);

/// The very bytes that the platform answers without waking the object.
const PING: &str = r#"{"type":"ping"}"#;
const PONG: &str = r#"{"type":"pong"}"#;
/// The attachment of a connection that has been parted with.
const GONE: &str = "";

impl Seats {
    pub(crate) fn of(state: &State) -> Self {
        let seats = state.get_websockets().into_iter().filter_map(Seat::of);
        Self(RefCell::new(seats.map(|seat| (seat.conn, Rc::new(seat))).collect()))
    }

    /// Takes a new socket; the platform may put the object to sleep while it is open.
    pub(crate) fn accept(&self, state: &State, hello: Hello) -> Result<(Rc<Seat>, Response)> {
        let pair = WebSocketPair::new()?;
        state.accept_web_socket(&pair.server);
        let attached = Attached {
            socket: hello.socket,
            nonce: hello.nonce,
            is_direct: hello.is_direct,
            observes: hello.observes,
            user_agent: hello.user_agent,
            whence: hello.whence,
            address: hello.address,
            member: None,
            is_visitor: false,
            is_elsewhere: false,
            visits: Vec::new(),
            identity: hello.identity,
        };
        let seat = Rc::new(Seat {
            conn: conn_of(hello.socket),
            socket: pair.server,
            attached: RefCell::new(attached),
        });
        seat.keep();
        self.0.borrow_mut().insert(seat.conn, seat.clone());
        Ok((seat, Response::from_websocket(pair.client)?))
    }

    pub(crate) fn get(&self, conn: ConnId) -> Option<Rc<Seat>> {
        self.0.borrow().get(&conn).cloned()
    }

    /// Whose socket this is. One that closes while the object sleeps is not listed any more when it wakes for that.
    pub(crate) fn at(&self, socket: &WebSocket) -> Option<Rc<Seat>> {
        let found = Seat::of(socket.clone())?;
        let nonce = found.attached.borrow().nonce;
        let seat = self.0.borrow_mut().entry(found.conn).or_insert_with(|| Rc::new(found)).clone();
        (seat.attached.borrow().nonce == nonce).then_some(seat.clone())
    }

    /// False if it had gone before. While it closes the platform still lists a socket, so this is what counts.
    pub(crate) fn remove(&self, conn: ConnId) -> bool {
        let seat = self.0.borrow_mut().remove(&conn);
        seat.inspect(|seat| drop(seat.socket.serialize_attachment(GONE))).is_some()
    }

    pub(crate) fn all(&self) -> Vec<Rc<Seat>> {
        self.0.borrow().values().cloned().collect()
    }

    pub(crate) fn members(&self) -> Vec<(ConnId, Arc<Member>)> {
        let seats = self.0.borrow();
        seats.values().filter_map(|seat| Some((seat.conn, seat.attached().member?))).collect()
    }

    /// To each member save one.
    pub(crate) fn tell_members(&self, text: &str, except: Option<ConnId>) {
        let mut told = 0;
        for seat in self.0.borrow().values().filter(|seat| Some(seat.conn) != except) {
            if seat.attached.borrow().member.is_some() {
                seat.send(text);
                told += 1;
            }
        }
        counts::add(&families::DELIVERIES, &[], told);
    }

    pub(crate) fn are_observed(&self) -> bool {
        self.0.borrow().values().any(|seat| seat.attached.borrow().observes)
    }

    pub(crate) fn tell_observers(&self, text: &str, domain: Option<&DomainId>) {
        for seat in self.0.borrow().values() {
            let attached = seat.attached.borrow();
            if attached.observes && attached.identity.may_observe(domain) {
                seat.send(text);
            }
        }
    }
}

impl Seat {
    fn of(socket: WebSocket) -> Option<Self> {
        let known = socket.deserialize_attachment::<String>().ok()??;
        let attached: Attached = serde_json::from_str(&known).ok()?;
        Some(Self { conn: conn_of(attached.socket), socket, attached: RefCell::new(attached) })
    }

    pub(crate) fn attached(&self) -> Attached {
        self.attached.borrow().clone()
    }

    pub(crate) fn name(&self) -> SocketId {
        self.attached.borrow().socket
    }

    pub(crate) fn identity(&self) -> Identity {
        self.attached.borrow().identity.clone()
    }

    /// Takes the word of the Worker's end that it is somebody else, or has another token, from here on.
    pub(crate) fn take_identity(&self, said: &str) {
        if let Ok(identity) = serde_json::from_str(said) {
            self.amend(|attached| attached.identity = identity);
        }
    }

    pub(crate) fn is_direct(&self) -> bool {
        self.attached.borrow().is_direct
    }

    /// Changes what is known of the connection, for as long as it lives.
    pub(crate) fn amend(&self, change: impl FnOnce(&mut Attached)) {
        change(&mut self.attached.borrow_mut());
        self.keep();
    }

    /// A JSON string, because the platform's own serialiser would make objects of maps that it then cannot read.
    fn keep(&self) {
        let json = serde_json::to_string(&*self.attached.borrow()).unwrap_or_default();
        if let Err(error) = self.socket.serialize_attachment(&json) {
            // What cannot be kept would be forgotten at the next eviction; a new connection begins afresh.
            console_error!("an attachment was not kept: {error}");
            let _ = self.socket.close(Some(RESTARTED), Some("reconnect"));
        }
    }

    /// A peer that is gone shows by its close.
    pub(crate) fn send(&self, text: &str) {
        let _ = self.socket.send_with_str(text);
    }
}

/// From now on the platform answers pings by itself.
pub(crate) fn answer_pings(state: &State) {
    if let Ok(pair) = WebSocketRequestResponsePair::new(PING, PONG) {
        state.set_websocket_auto_response(&pair);
    }
}

/// The other half of the close handshake, which is ours. Codes that stand for a missing one must not be sent.
pub(crate) fn close_back(socket: &WebSocket, code: usize) {
    let code = match code {
        1005 | 1006 | 1015 => 1000,
        code => u16::try_from(code).unwrap_or(1000),
    };
    let _ = socket.close(Some(code), Some("")); // closed on both sides already is fine
}
