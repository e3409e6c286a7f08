//! All clients of a run, and what is asked of them together.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, sleep_until};

use crate::client::{Life, Order};
use crate::dialect::Peer;
use crate::mark::{Client, Mark, Post, Room};
use crate::socket::Options;
use crate::world::World;
use weeziq_rig::{Failure, Result};

pub(crate) struct Fleet {
    pub(crate) world: Rc<World>,
    peer: Peer,
    room_of: Vec<Room>,
    orders: RefCell<Vec<Option<mpsc::UnboundedSender<Order>>>>,
    gate: Arc<Semaphore>,
    /// Of publishing so far; each has random numbers of its own.
    stretches: Cell<u64>,
}

/// First joins under way at a time. A crowd that returns is not held back.
const JOINING_MAX: usize = 64;
const JOIN_MAX: Duration = Duration::from_secs(120);
/// After the last send: as long as anything still arrives, up to the second; then what is missing is lost. Generous, so
/// that a server that is merely slow is not called one that loses.
const SILENCE_MAX: Duration = Duration::from_secs(20);
const DRAIN_MAX: Duration = Duration::from_secs(90);
/// Listened to after the last expected delivery: late duplicates count.
const SETTLE: Duration = Duration::from_millis(500);

impl Fleet {
    pub(crate) fn new(peer: Peer, port: u16, seed: u64, room_of: Vec<Room>) -> Self {
        let world = World::new(port, seed, &room_of);
        let orders = room_of.iter().map(|_| None).collect();
        Self {
            world,
            peer,
            room_of,
            orders: RefCell::new(orders),
            gate: Arc::new(Semaphore::new(JOINING_MAX)),
            stretches: Cell::new(0),
        }
    }

    pub(crate) fn everyone(&self) -> Range<u32> {
        0..self.room_of.len() as u32
    }

    /// Starts these clients and waits until each is a member. Nothing may be under way in their rooms.
    pub(crate) async fn join(&self, clients: Range<u32>, options: Options) -> Result<()> {
        for client in clients.clone().map(Client) {
            let Some(room) = self.room_of.get(client.0 as usize) else { continue };
            let (sender, orders) = mpsc::unbounded_channel();
            if let Some(slot) = self.orders.borrow_mut().get_mut(client.0 as usize) {
                *slot = Some(sender);
            }
            let life = Life {
                client,
                world: self.world.clone(),
                dialect: self.peer.dialect(client, *room),
                orders,
                options,
                random: fastrand::Rng::with_seed(self.world.seed ^ (u64::from(client.0) << 20)),
                gate: self.gate.clone(),
                timed: !options.narrow,
                stalled: false,
                cut_at: None,
            };
            tokio::task::spawn_local(life.live());
        }
        if self.all_here(clients.clone(), JOIN_MAX).await {
            return Ok(());
        }
        let (online, all) = (self.world.online(clients.clone()), clients.len());
        let tally = self.world.tally.borrow();
        let (endings, refused) = (&tally.endings, &tally.refused);
        Err(Failure::Server(format!(
            "{online} of {all} clients joined; ended: {endings:?}, refused: {refused:?}"
        )))
    }

    /// Whether each of these is a member with nothing missing, at the latest in so long.
    pub(crate) async fn all_here(&self, clients: Range<u32>, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        while self.world.online(clients.clone()) < clients.len() {
            if Instant::now() > deadline {
                return false;
            }
            sleep(Duration::from_millis(20)).await;
        }
        true
    }

    pub(crate) fn order(&self, clients: Range<u32>, order: impl Fn() -> Order) {
        let orders = self.orders.borrow();
        for sender in orders.get(clients.start as usize..clients.end as usize).into_iter().flatten().flatten()
        {
            let _ = sender.send(order()); // a client that has ended hears nothing
        }
    }

    pub(crate) async fn publish(&self, load: &Load, time: Duration) {
        self.publish_during(load, sleep(time)).await;
    }

    /// As long as `work` takes.
    pub(crate) async fn publish_during<T>(&self, load: &Load, work: impl Future<Output = T>) -> T {
        tokio::select! {
            done = work => done,
            never = self.publish_for_ever(load) => match never {},
        }
    }

    /// Open loop: messages are due at fixed times, whatever became of those before, each from one of `speakers`.
    async fn publish_for_ever(&self, load: &Load) -> Infallible {
        let stretch = self.stretches.get();
        self.stretches.set(stretch + 1);
        let mut random = fastrand::Rng::with_seed(self.world.seed.wrapping_mul(1_000).wrapping_add(stretch));
        let gap = Duration::from_secs(1).div_f64(f64::from(load.rate_per_sec));
        let mut due = Instant::now();
        loop {
            due += gap;
            sleep_until(due.into()).await;
            self.say(Client(random.u32(load.speakers.clone())), due, load.text_bytes);
        }
    }

    /// One message into each room, so that each client has heard something.
    pub(crate) fn greet(&self, clients: Range<u32>, text_bytes: usize) {
        let mut last = None;
        for (client, room) in self.room_of.iter().enumerate().take(clients.end as usize) {
            if last != Some(*room) {
                self.say(Client(client as u32), Instant::now(), text_bytes);
            }
            last = Some(*room);
        }
    }

    fn say(&self, publisher: Client, due: Instant, text_bytes: usize) {
        let Some(entry) = self.world.ledger.borrow_mut().sent(publisher) else { return };
        self.world.tally.borrow_mut().published += 1;
        let due_us = due.duration_since(self.world.began).as_micros() as u64;
        let post = Post { entry, text: Mark { entry, due_us }.text(text_bytes) };
        if let Some(Some(sender)) = self.orders.borrow().get(publisher.0 as usize) {
            let _ = sender.send(Order::Publish(post));
        }
    }

    /// Waits until none of these lacks anything, or nothing has come for a while.
    pub(crate) async fn drain(&self, clients: Range<u32>) {
        let deadline = Instant::now() + DRAIN_MAX;
        let progress = || {
            let tally = self.world.tally.borrow();
            (tally.handed_over, tally.acks)
        };
        let (mut last, mut since) = (progress(), Instant::now());
        while Instant::now() < deadline && since.elapsed() < SILENCE_MAX {
            let settled = self.world.ledger.borrow().settled(clients.clone());
            if settled && self.world.online(clients.clone()) == clients.len() {
                break;
            }
            sleep(Duration::from_millis(50)).await;
            if progress() != last {
                (last, since) = (progress(), Instant::now());
            }
        }
        sleep(SETTLE).await;
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) rate_per_sec: u32,
    pub(crate) speakers: Range<u32>,
    pub(crate) text_bytes: usize,
}

/// Clients dealt out to rooms so that neighbours share one, as evenly as it goes.
pub(crate) fn dealt(clients: u32, rooms: u32) -> Vec<Room> {
    (0..clients)
        .map(|client| Room((u64::from(client) * u64::from(rooms) / u64::from(clients.max(1))) as u32))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_dealt_out_evenly() {
        assert_eq!(dealt(4, 2), [Room(0), Room(0), Room(1), Room(1)]);
        let rooms = dealt(2_003, 100);
        for room in (0..100).map(Room) {
            let members = rooms.iter().filter(|of| **of == room).count();
            assert!((20..=21).contains(&members), "{members}");
        }
    }
}
