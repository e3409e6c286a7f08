//! How Engine.IO refuses a request: a status, and a number and a sentence that its clients know.

use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EngineError {
    UnknownTransport,
    UnknownSession,
    BadMethod,
    BadRequest,
    Forbidden,
    UnsupportedVersion,
    TooLarge,
    /// As many poll as may; a WebSocket would be welcome.
    TooMany,
}

#[derive(Serialize)]
pub(crate) struct Told {
    code: u8,
    message: &'static str,
}

impl EngineError {
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::Forbidden => 403,
            Self::TooLarge => 413,
            Self::TooMany => 503,
            _ => 400,
        }
    }

    pub(crate) fn told(self) -> Told {
        let (code, message) = match self {
            Self::UnknownTransport => (0, "Transport unknown"),
            Self::UnknownSession => (1, "Session ID unknown"),
            Self::BadMethod => (2, "Bad handshake method"),
            Self::BadRequest | Self::TooLarge | Self::TooMany => (3, "Bad request"),
            Self::Forbidden => (4, "Forbidden"),
            Self::UnsupportedVersion => (5, "Unsupported protocol version"),
        };
        Told { code, message }
    }
}
