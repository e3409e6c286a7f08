//! Answers that are put together field by field, and so have no type of their own in the core.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use weeziq_core::domains::DomainSettings;
use weeziq_core::ids::{ClientMessageId, DomainId, RoomId, Seq};
use weeziq_core::inbox::RoomSummary;
use weeziq_core::protocol::error::ErrorCode;
use weeziq_core::protocol::event::{AiResponse, DomainSummary};
use weeziq_core::rooms::message::Message;
use weeziq_core::time::UnixMs;
use weeziq_core::visitors::VisitorRow;

/// Why a request was refused.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "described, never made")]
pub(super) struct Refusal {
    /// One sentence that names the field and the mend.
    error: String,
    code: ErrorCode,
    #[schemars(required)]
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

/// What `GET /` tells machines.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "described, never made")]
pub(super) struct Status {
    status: String,
    message: String,
    timestamp: UnixMs,
    version: String,
}

/// Whether the service is there, or ready.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "described, never made")]
pub(super) struct State {
    status: String,
}

/// An answer; `error` and `code` are there when `message` is the fallback sentence.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "described, never made")]
pub(super) struct Answered {
    /// The same as `message`.
    response: String,
    #[serde(flatten)]
    answer: AiResponse,
}

#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "described, never made")]
pub(super) struct Counts {
    active_visitors: u64,
    total_visitors: u64,
}

#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "described, never made")]
pub(super) struct Arrived {
    success: bool,
    visitor: VisitorRow,
    domain_stats: Counts,
}

#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "described, never made")]
pub(super) struct Active {
    success: bool,
    last_activity: UnixMs,
}

#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "described, never made")]
pub(super) struct Departed {
    success: bool,
    domain_stats: Counts,
}

/// Who is on a site, and how many ever were.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "described, never made")]
pub(super) struct DomainStats {
    active_visitors: u64,
    total_visitors: u64,
    visitors: Vec<VisitorRow>,
}

/// By site.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "described, never made")]
pub(super) struct AllStats {
    #[schemars(with = "std::collections::BTreeMap<String, DomainSummary>")]
    stats: std::collections::BTreeMap<DomainId, DomainSummary>,
    timestamp: UnixMs,
}

/// Settings of a site as they are told.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "described, never made")]
pub(super) struct SettingsTold {
    domain_id: DomainId,
    schema_version: u32,
    #[serde(flatten)]
    settings: DomainSettings,
}

/// What any visitor's page may know of a site.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "described, never made")]
pub(super) struct Widget {
    domain_id: DomainId,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    welcome_message: Option<String>,
    is_open: bool,
    /// When somebody is there again.
    #[serde(skip_serializing_if = "Option::is_none")]
    opens_at: Option<UnixMs>,
    auto_reply: bool,
}

/// One page of a site's rooms.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "described, never made")]
pub(super) struct Rooms {
    rooms: Vec<RoomSummary>,
    /// For the next page, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

/// One page of a room's log.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "described, never made")]
pub(super) struct History {
    messages: Vec<Message>,
    has_more: bool,
}

#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "described, never made")]
pub(super) struct Sent {
    success: bool,
    id: String,
    room_id: RoomId,
    seq: Seq,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_message_id: Option<ClientMessageId>,
    /// It was said before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    duplicate: bool,
    timestamp: UnixMs,
}

/// A file as it was stored, and as a message's `attachments` take it.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "described, never made")]
pub(super) struct File {
    key: String,
    url: String,
    name: String,
    size: u64,
    content_type: String,
    sha256: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    width: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    height: Option<u32>,
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "described, never made")]
pub(super) struct Deleted {
    success: bool,
    key: String,
}

/// The receipt of an erasure: how many of each are gone.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "described, never made")]
pub(super) struct RoomErased {
    room_id: RoomId,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain_id: Option<DomainId>,
    removed: BTreeMap<String, u64>,
    timestamp: UnixMs,
}

/// The receipts of all places as one.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "described, never made")]
pub(super) struct VisitorErased {
    visitor_id: String,
    domain_id: DomainId,
    rooms: Vec<RoomId>,
    /// With the AI, begun by the visitor.
    conversations: Vec<RoomId>,
    removed: BTreeMap<String, u64>,
    /// What may hold more of the visitor, and could not be looked into.
    unsearched: Vec<String>,
}

#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "described, never made")]
pub(super) struct VisitorExport {
    visitor_id: String,
    domain_id: DomainId,
    /// Null: never seen, or forgotten.
    visitor: Option<KnownVisitor>,
    rooms: Vec<RoomExport>,
    /// What the visitor wrote in rooms of others.
    elsewhere: Vec<WrittenElsewhere>,
    conversations: Vec<ConversationExport>,
    /// What may hold more of the visitor, and could not be looked into.
    unsearched: Vec<String>,
    exported_at: UnixMs,
}

#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "described, never made")]
struct KnownVisitor {
    visitor_id: String,
    visitor_data: BTreeMap<String, serde_json::Value>,
    /// ISO 3166-1 alpha-2, as the host knew it.
    country: Option<String>,
    first_seen: UnixMs,
    last_joined: UnixMs,
    last_activity: UnixMs,
}

#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "described, never made")]
struct RoomExport {
    room: RoomSummary,
    messages: Vec<Message>,
    ai_turns: Vec<Remembered>,
}

#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "described, never made")]
struct WrittenElsewhere {
    room_id: RoomId,
    messages: Vec<Message>,
}

#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "described, never made")]
struct ConversationExport {
    conversation_id: RoomId,
    ai_turns: Vec<Remembered>,
}

/// What the AI remembers that somebody said.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "described, never made")]
struct Remembered {
    /// user, assistant or system
    role: String,
    text: String,
    timestamp: UnixMs,
}

/// One page of what was found.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "described, never made")]
pub(super) struct Found {
    results: Vec<Hit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    /// The newest may be missing for a moment.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_partial: bool,
}

#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "described, never made")]
pub(super) struct Hit {
    room_id: RoomId,
    message: Message,
    snippet: String,
}
