//! Socket.IO v4 as far as this service speaks it: the default namespace, text packets, acknowledgements, over WebSocket
//! and long polling. Socket.IO is the inner protocol (revision 5), Engine.IO the outer one (revision 4).
//!
//! It is a dialect, not a second chat server: an event means what it means over `/ws`, meets the same limits, and is
//! told in the same order. What a shard keeps for each connection of this kind stands in `shard/engine.rs`.

mod encode;
mod error;
mod offset;
mod packet;
mod sid;

pub(crate) use encode::{
    CLOSE, DISCONNECT, NOOP, PING, PROBED, connect_error, connect_refused, connected, open, translate,
    write_packet, write_reply,
};
pub(crate) use error::EngineError;
pub(crate) use offset::{Place, Stands, last_place};
pub(crate) use packet::{Args, Body, EnginePacket, Malformed, Packet};
pub(crate) use sid::{Secret, Sid};

/// Between packets of one polling payload.
pub(crate) const SEPARATOR: char = '\u{1e}';
