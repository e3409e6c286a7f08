//! Clients whose own socket is here. Most of what they say is for this room; the rest goes on through a gateway.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use weeziq_core::ids::ConnId;
use weeziq_core::rooms::Farewell;
use weeziq_core::session::Session;

use super::Chat;
use crate::gateway::{Frame, Gateway, Origin};
use crate::sockets::Seat;

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
    pub(super) fn close(&self, conn: ConnId) {
        self.0.borrow_mut().remove(&conn);
    }
}

impl Chat {
    pub(super) async fn receive(self: &Rc<Self>, seat: &Rc<Seat>, arrival: Arrival) {
        let Some(door) = self.door(seat) else { return };
        door.waiting.borrow_mut().push_back(arrival);
        if door.is_busy.replace(true) {
            return;
        }
        loop {
            let next = door.waiting.borrow_mut().pop_front();
            match next {
                Some(Arrival::Frame(frame)) => self.receive_frame(seat, &door, frame).await,
                Some(Arrival::Farewell(how)) => {
                    door.gateway.part(how);
                    self.part(seat, how);
                }
                None => break,
            }
        }
        door.is_busy.set(false);
    }

    async fn receive_frame(self: &Rc<Self>, seat: &Rc<Seat>, door: &Door, frame: Frame) {
        if let Some(request) = door.gateway.take(frame).await {
            self.dispatch(seat, request);
        }
        if door.gateway.is_over() {
            return self.part(seat, Farewell::Died);
        }
        door.gateway.observe().await;
        let (is_visitor, is_elsewhere) = (!door.gateway.observes(), door.gateway.has_links());
        let known = seat.attached();
        if (known.is_visitor, known.is_elsewhere) != (is_visitor, is_elsewhere) {
            seat.amend(|attached| (attached.is_visitor, attached.is_elsewhere) = (is_visitor, is_elsewhere));
        }
    }

    fn door(&self, seat: &Rc<Seat>) -> Option<Rc<Door>> {
        if let Some(door) = self.doors.0.borrow().get(&seat.conn) {
            return Some(door.clone());
        }
        let settings = self.settings.clone().ok()?;
        let known = seat.attached();
        let from = Origin {
            socket: known.socket,
            user_agent: known.user_agent,
            address: known.address.unwrap_or_default(),
        };
        let session =
            Session::revive(known.socket, self.id.clone(), known.member.is_some(), known.is_visitor);
        let (env, client, home) = (self.env.clone(), seat.socket.clone(), Some(self.id.clone()));
        let door = Rc::new(Door {
            gateway: Gateway::new(env, settings, client, from, session, home),
            waiting: RefCell::default(),
            is_busy: Cell::new(false),
        });
        self.doors.0.borrow_mut().insert(seat.conn, door.clone());
        Some(door)
    }
}
