//! The server's side of RFC 6455, as far as this service speaks it: text messages, control frames, no extensions.
//!
//! Ours, because framing is the hot path: a frame is read where it arrived and written once for a whole room. The
//! tests hold it against `tungstenite` over arbitrary streams, whole and cut anywhere.

pub(crate) mod frame;
pub(crate) mod handshake;
