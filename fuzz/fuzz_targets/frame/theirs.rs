//! The same bytes as `tungstenite` reads them.

use tungstenite::error::ProtocolError;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};
use weeziq_core::limits::FRAME_BYTES_MAX;

use crate::Said;

/// Bytes that have come, and a peer that takes whatever is answered.
struct Bytes<'a>(&'a [u8]);

pub(crate) fn read(bytes: &[u8], role: Role) -> Vec<Said> {
    let bytes_max = match role {
        Role::Server => Some(FRAME_BYTES_MAX),
        Role::Client => None,
    };
    let config = WebSocketConfig::default().max_message_size(bytes_max).max_frame_size(bytes_max);
    let mut socket = WebSocket::from_raw_socket(Bytes(bytes), role, Some(config));
    let mut said = Vec::new();
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => said.push(Said::Text(text.to_string())),
            Ok(Message::Binary(_)) => said.push(Said::Binary),
            Ok(Message::Ping(payload)) => said.push(Said::Ping(payload.to_vec())),
            Ok(Message::Pong(_)) => said.push(Said::Pong),
            Ok(Message::Close(close)) => {
                said.push(closed(close));
                return said;
            }
            Ok(Message::Frame(_)) => {}
            // The bytes end without a close.
            Err(Error::Io(_) | Error::ConnectionClosed)
            | Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => return said,
            Err(_) => {
                said.push(Said::Violation(None));
                return said;
            }
        }
    }
}

/// A code that may not be sent comes out of it as a close for that very reason.
fn closed(close: Option<CloseFrame>) -> Said {
    match close {
        None => Said::Close(1000),
        Some(close) if close.reason.as_str() == "Protocol violation" => Said::Violation(None),
        Some(close) => Said::Close(close.code.into()),
    }
}

impl std::io::Read for Bytes<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        std::io::Read::read(&mut self.0, into)
    }
}

impl std::io::Write for Bytes<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
