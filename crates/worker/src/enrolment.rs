//! Having an object in the registry from its first row to its last, through evictions and crashes, with one request.

use std::cell::Cell;
use std::rc::Rc;

use worker::State;

use crate::archive::Holder;
use crate::outbox::{Delivered, Item, Outbox, Word};
use crate::places::Place;

#[derive(Default)]
pub(crate) struct Enrolment {
    /// Whether this life of the object has looked.
    is_known: Cell<bool>,
    /// How often the object was erased in this life: what was under way before counts no more.
    erasures: Cell<u32>,
}

/// Where it is kept that the registry knows: beside the tables, as an erasure has to find it whatever they are.
const ENROLLED: &str = "enrolled";

impl Enrolment {
    /// True for the first who asks in a life of the object, and after each erasure.
    pub(crate) fn is_due(&self) -> bool {
        !self.is_known.replace(true)
    }

    /// Whether the registry is still to be told.
    pub(crate) async fn is_missing(&self, state: &State) -> bool {
        let erasures = self.erasures.get();
        let is_enrolled = state.storage().get::<bool>(ENROLLED).await.ok().flatten().unwrap_or(false);
        !is_enrolled && self.erasures.get() == erasures
    }

    /// In its turn among what the object has to say. The next life says it again if it was not taken.
    pub(crate) fn enrol(self: &Rc<Self>, state: &Rc<State>, outbox: &Outbox, holder: Holder) {
        let (enrolment, storing, erasures) = (self.clone(), state.clone(), self.erasures.get());
        let then = Box::new(move |delivered| {
            if delivered != Delivered::Yes {
                enrolment.is_known.set(false);
            } else if enrolment.erasures.get() == erasures {
                let storage = storing.storage();
                storing.wait_until(async move {
                    let _ = storage.put(ENROLLED, true).await; // else it is said again
                });
            }
        });
        let word = Word::Enrolled { holder, is_there: true };
        outbox.push(Item { word: Some((Place::Registry, word)), then });
    }

    /// Nothing is left of it; its name goes, too.
    pub(crate) fn strike(&self, state: &State, outbox: &Outbox, holder: Holder) {
        self.erasures.set(self.erasures.get() + 1);
        self.is_known.set(false);
        let storage = state.storage();
        state.wait_until(async move {
            let _ = storage.delete(ENROLLED).await; // at worst a room of that name is not found by an export
        });
        let word = Word::Enrolled { holder, is_there: false };
        outbox.push(Item { word: Some((Place::Registry, word)), then: Box::new(|_| ()) });
    }
}
