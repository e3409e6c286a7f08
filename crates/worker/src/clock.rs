//! Time and randomness, which the core takes as inputs.

use std::cell::Cell;

use weeziq_core::ids::{ConnId, SocketId, fnv1a};
use weeziq_core::time::UnixMs;

/// A clock that never goes back. On Cloudflare time stands still between two inputs or outputs, which is as the core
/// wants it.
#[derive(Default)]
pub(crate) struct Clock(Cell<i64>);

impl Clock {
    pub(crate) fn now(&self) -> UnixMs {
        self.0.set(self.0.get().max(worker::Date::now().as_millis() as i64));
        UnixMs(self.0.get())
    }
}

pub(crate) fn entropy() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}

pub(crate) fn socket_id() -> SocketId {
    let mut bytes = [0; 16];
    fill(&mut bytes);
    SocketId::from_entropy(u128::from_ne_bytes(bytes))
}

pub(crate) fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    fill(&mut bytes);
    bytes
}

fn fill(bytes: &mut [u8]) {
    // The platform's generator cannot fail for so few bytes.
    let filled = getrandom::fill(bytes);
    debug_assert!(filled.is_ok(), "the platform has randomness");
}

/// The same in every object that a connection reaches, and after each of them was evicted.
pub(crate) fn conn_of(socket: SocketId) -> ConnId {
    ConnId(fnv1a(socket.as_str()))
}
