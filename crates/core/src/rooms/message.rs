//! A message as it is stored and as it is told, which is the same at every telling.

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::ids::{ClientMessageId, RoomId, Seq, UserId};
use crate::time::UnixMs;

#[cfg_attr(feature = "describe", derive(schemars::JsonSchema))]
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    pub id: Box<str>,
    pub room_id: RoomId,
    pub seq: Seq,
    pub message: Box<str>,
    pub user_id: UserId,
    pub user_name: Arc<str>,
    pub role: Arc<str>,
    pub socket_id: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_message_id: Option<ClientMessageId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", schemars(with = "Option<Vec<serde_json::Value>>"))]
    pub attachments: Option<Box<RawValue>>,
    /// What the AI answered from: a list of passages. Messages of people have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", schemars(with = "Option<Vec<crate::knowledge::Passage>>"))]
    pub sources: Option<Box<RawValue>>,
    pub timestamp: UnixMs,
}

impl Message {
    /// An id needs no storage and no entropy of its own: the log's epoch and the place in it are unique.
    pub fn id_of(epoch: &str, seq: Seq) -> Box<str> {
        format!("{epoch}-{}", seq.0).into()
    }

    /// The log that an id names.
    pub fn epoch_of(id: &str) -> Option<&str> {
        Some(id.rsplit_once('-')?.0)
    }

    /// The place that an id names in this log.
    pub fn seq_of(id: &str, epoch: &str) -> Option<Seq> {
        id.strip_prefix(epoch)?.strip_prefix('-')?.parse().ok().map(Seq)
    }
}
