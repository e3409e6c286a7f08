//! Who a connection is in a room.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{SocketId, UserId};
use crate::time::{UnixMs, millis};

/// Kept by the host beside the connection (in memory, or as JSON in what outlives it), so that the room can be
/// rebuilt.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    pub user: UserId,
    pub user_name: Arc<str>,
    pub role: Arc<str>,
    pub status: Arc<str>,
    pub socket: SocketId,
    #[serde(with = "millis")]
    pub since: UnixMs,
    /// Typing, and when that ends by itself.
    #[serde(default, with = "millis::option", skip_serializing_if = "Option::is_none")]
    pub typing_until: Option<UnixMs>,
}
