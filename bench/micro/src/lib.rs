//! What happens between a frame in and a frame out, in pieces that can be measured alone: with criterion, which times
//! them (`benches/`), and under callgrind, which counts their instructions (`main.rs`).
//!
//! Everything is real but the sockets: the server's framing and store, the core's parsing, rooms and codecs. Nothing
//! depends on the clock, on addresses or on chance, so that the same build counts the same.

mod operation;
mod stage;
pub mod stream;
pub mod wire;

/// The server is a program and not a library, so its files are read from where they stand.
#[path = "../../../crates/server/src"]
#[allow(dead_code, reason = "the server uses all of it")]
mod server {
    pub(crate) mod store;
    pub(crate) mod websocket {
        pub(crate) mod frame;
    }
}

use std::fmt;

use weeziq_core::store::SqlError;

pub use operation::{Operation, Work};
pub use stage::{Client, Stage, encode, hear};

/// As the server: what it takes to allocate is part of what is measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub type Result<T> = std::result::Result<T, Failure>;

/// An operation did not do what it is measured for, or this machine did not let it.
#[derive(Debug)]
pub struct Failure(pub String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

impl From<SqlError> for Failure {
    fn from(error: SqlError) -> Self {
        Self(format!("the store failed: {error}"))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}
