//! Clients whose own socket is here. Most of what they say is for this room; the rest goes on through a gateway.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use futures_channel::oneshot;
use weeziq_core::ids::ConnId;
use weeziq_core::rooms::Farewell;
use weeziq_core::session::Session;

use super::Chat;
use crate::gateway::{Frame, Gateway, Home, Origin};
use crate::outbox::{Delivered, Item, Word};
use crate::places::Place;
use crate::sockets::Seat;
use crate::turn::Turn;

#[derive(Default)]
pub(super) struct Doors(RefCell<HashMap<ConnId, Rc<Door>>>);

struct Door {
    gateway: Rc<Gateway>,
    /// What came while the one before was still on its way to another object: nothing overtakes.
    waiting: RefCell<VecDeque<Arrival>>,
    is_busy: Cell<bool>,
}

pub(super) enum Arrival {
    Frame(Frame),
    Farewell(Farewell),
}

impl Doors {
    /// What hangs on the connection elsewhere ends with it.
    pub(super) fn part(&self, conn: ConnId) {
        if let Some(door) = self.0.borrow().get(&conn) {
            door.gateway.part(Farewell::Died);
        }
    }

    pub(super) fn close(&self, conn: ConnId) {
        self.0.borrow_mut().remove(&conn);
    }
}

impl Chat {
    pub(super) async fn receive(self: &Rc<Self>, seat: &Rc<Seat>, arrival: Arrival) {
        let Some(door) = self.door(seat) else { return };
        door.waiting.borrow_mut().push_back(arrival);
        let Some(_turn) = Turn::take(&door.is_busy) else { return };
        loop {
            let next = door.waiting.borrow_mut().pop_front();
            match next {
                Some(Arrival::Frame(frame)) => self.receive_frame(seat, &door, frame).await,
                Some(Arrival::Farewell(how)) => {
                    door.gateway.part(how);
                    self.part(seat, how);
                }
                None => return,
            }
        }
    }

    async fn receive_frame(self: &Rc<Self>, seat: &Rc<Seat>, door: &Door, frame: Frame) {
        if let Some(request) = door.gateway.take(frame).await {
            self.dispatch(seat, request);
        }
        if door.gateway.is_over() {
            return self.part(seat, Farewell::Died);
        }
        let observes = door.gateway.observes();
        let known = seat.attached();
        let visits = door.gateway.visits();
        let is_visitor = door.gateway.is_visitor();
        if known.is_visitor != is_visitor || known.visits != visits {
            seat.amend(|attached| (attached.is_visitor, attached.visits) = (is_visitor, visits));
        }
        self.watch_expiry(seat);
        if known.observes != observes {
            self.observe(seat, observes).await;
        }
    }

    /// Has the directory say to this room what those hear who watch all domains, while one of them is here. In so many
    /// words and not over a socket, which would keep the room from sleeping; in the outbox's order, so that of two such
    /// words the later one counts. Returns when the directory knows.
    async fn observe(self: &Rc<Self>, seat: &Seat, observes: bool) {
        let was_watched = self.seats.are_observed();
        seat.amend(|attached| attached.observes = observes);
        let is_watched = self.seats.are_observed();
        if was_watched == is_watched {
            return;
        }
        let (told, is_told) = oneshot::channel();
        let word = Word::Watch { room: self.id.as_str().into(), is_watching: is_watched };
        let then = Box::new(move |delivered| {
            let _ = told.send(delivered); // a connection that is gone waits for nothing
        });
        self.outbox.push(Item { word: Some((Place::Directory, word)), then });
        self.send();
        if is_told.await != Ok(Delivered::Yes) {
            seat.amend(|attached| attached.observes = was_watched);
        }
    }

    fn door(self: &Rc<Self>, seat: &Rc<Seat>) -> Option<Rc<Door>> {
        if let Some(door) = self.doors.0.borrow().get(&seat.conn) {
            return Some(door.clone());
        }
        let settings = self.settings.clone().ok()?;
        let known = seat.attached();
        let from = Origin {
            socket: known.socket,
            user_agent: known.user_agent,
            whence: known.whence.clone(),
            address: known.address.unwrap_or_default(),
        };
        let session = Session::revive(
            known.socket,
            self.id.clone(),
            known.member.is_some(),
            known.is_visitor,
            known.visits,
        );
        let session = session.known_as(known.identity, settings.key.clone()).come_from(known.whence);
        let chat = self.clone();
        let in_charge = Box::new(move || chat.has_live_agent());
        let home = Home { room: self.id.clone(), seat: seat.clone(), in_charge };
        let (env, client) = (self.env.clone(), seat.socket.clone());
        let door = Rc::new(Door {
            gateway: Gateway::new(env, settings, client, from, session, Some(home)),
            waiting: RefCell::default(),
            is_busy: Cell::new(false),
        });
        self.doors.0.borrow_mut().insert(seat.conn, door.clone());
        Some(door)
    }
}
