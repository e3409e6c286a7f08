//! What requests bring: bodies as the core reads them, which it does field by field, so no type says all of their limits. A test
//! below takes each schema at its word: every bound, and one step beyond it, is put to the parser that the route uses.
//!
//! What JSON Schema has no word for stands beside it: `x-maxBytes`, since texts are counted in bytes of UTF-8, and `x-unique`, the
//! member in which no two items of a list may agree.

use serde_json::{Value, json};
use weeziq_core::limits::{
    CANNED_REPLIES_MAX, DOMAIN_ORIGINS_MAX, FILES_ATTACHED_MAX, HELPDESK_ENTRIES_MAX,
    HELPDESK_QUESTION_CHARS_MAX, ID_CHARS_MAX, LABEL_CHARS_MAX, MESSAGE_BYTES_MAX, OPENINGS_A_DAY_MAX,
    RATING_COMMENT_CHARS_MAX, RATING_MAX, RETENTION_DAYS_MAX, URL_CHARS_MAX, VISITOR_DATA_BYTES_MAX,
};

const NO_CONTROLS: &str = r"^[^\x00-\x1f\x7f-\x9f]*$";
const FILE_NAME: &str = r"^[^\x00-\x1f\x7f-\x9f/\\\u200e\u200f\u202a-\u202e\u2066-\u2069]+$";

pub(super) fn id() -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": ID_CHARS_MAX, "pattern": NO_CONTROLS })
}

pub(super) fn line(chars_max: usize) -> Value {
    json!({ "type": "string", "maxLength": chars_max, "pattern": NO_CONTROLS })
}

pub(super) fn label() -> Value {
    line(LABEL_CHARS_MAX)
}

/// One of a stream of them.
pub(super) fn server_sent() -> Value {
    json!({
        "type": "object",
        "required": ["data"],
        "properties": { "event": { "type": "string" }, "data": { "type": "string" } },
    })
}

/// Of a file, as `POST /files` takes it.
pub(super) fn file_name() -> Value {
    json!({
        "type": "string",
        "minLength": 1,
        "maxLength": LABEL_CHARS_MAX,
        "pattern": FILE_NAME,
        "not": { "enum": [".", ".."] },
    })
}

fn text() -> Value {
    json!({ "type": "string", "maxLength": MESSAGE_BYTES_MAX, "x-maxBytes": MESSAGE_BYTES_MAX })
}

/// A text that says something.
fn words() -> Value {
    with(text(), &json!({ "pattern": r"\S" }))
}

fn required_label() -> Value {
    with(label(), &json!({ "minLength": 1 }))
}

/// Left out, or null.
fn optional(mut schema: Value) -> Value {
    let kind = schema["type"].take();
    schema["type"] = json!([kind, "null"]);
    schema
}

fn with(mut schema: Value, more: &Value) -> Value {
    for (name, value) in more.as_object().into_iter().flatten() {
        schema[name] = value.clone();
    }
    schema
}

fn object(what: &str, required: &[&str], properties: Value) -> Value {
    let mut schema = json!({ "description": what, "type": "object", "required": required });
    schema["properties"] = properties;
    schema
}

/// What a question may say beside its words.
fn beside_a_question() -> Value {
    json!({
        "model": optional(label()),
        "domainId": optional(id()),
        "userId": optional(id()),
        "userName": optional(label()),
        "conversationId": optional(id()),
        "roomId": optional(id()),
        "systemPrompt": optional(text()),
        "url": optional(line(URL_CHARS_MAX)),
        "title": optional(label()),
    })
}

pub(super) fn question() -> Value {
    let properties = with(beside_a_question(), &json!({ "message": words() }));
    object("A question to the AI.", &["message"], properties)
}

/// What the AI SDK posts. Only the last message that is the user's is read: memory is ours.
pub(super) fn use_chat() -> Value {
    let parts = json!({
        "type": "array",
        "items": {
            "type": "object",
            "required": ["type"],
            "properties": { "type": { "type": "string" }, "text": optional(json!({ "type": "string" })) },
        },
    });
    let message = json!({
        "type": "object",
        "required": ["role"],
        "properties": { "role": { "type": "string" }, "parts": parts },
    });
    let messages = json!({
        "description": "The whole conversation, as the page has it.",
        "type": "array",
        "minItems": 1,
        "items": message,
        "contains": { "type": "object", "properties": { "role": { "const": "user" } } },
        "examples": [[{ "role": "user", "parts": [{ "type": "text", "text": "Do you deliver to Lisbon?" }] }]],
    });
    let ours = with(beside_a_question(), &json!({ "messages": messages, "id": optional(id()) }));
    object("A question as the AI SDK's useChat asks it; `id` is the conversation.", &["messages"], ours)
}

pub(super) fn arrival() -> Value {
    let data = json!({
        "description": "What the page knows of its visitor: url, title, referrer, userAgent, and what else the site wishes.",
        "type": ["object", "null"],
        "x-maxBytes": VISITOR_DATA_BYTES_MAX,
    });
    let properties = json!({ "domainId": id(), "visitorId": id(), "visitorData": data });
    object("Somebody who has come.", &["domainId", "visitorId"], properties)
}

pub(super) fn activity() -> Value {
    let properties = json!({
        "domainId": id(),
        "visitorId": id(),
        "url": optional(line(URL_CHARS_MAX)),
        "title": optional(label()),
    });
    object("What somebody does.", &["domainId", "visitorId"], properties)
}

pub(super) fn departure() -> Value {
    object(
        "Somebody who has gone.",
        &["domainId", "visitorId"],
        json!({ "domainId": id(), "visitorId": id() }),
    )
}

pub(super) fn said() -> Value {
    let is_ours =
        json!({ "type": "object", "required": ["key"], "properties": { "key": { "type": "string" } } });
    let file = json!({
        "type": "object",
        "required": ["key"],
        "properties": {
            "key": { "type": "string", "pattern": "^[A-Za-z]{26}$", "examples": ["a".repeat(26)] },
            "size": optional(json!({ "type": "integer", "minimum": 0 })),
            "contentType": optional(json!({ "type": "string" })),
        },
    });
    let attachments = json!({
        "description": "An item with a `key` is a file of this room, as `POST /files` answered; others are the client's own and passed on as they are.",
        "type": ["array", "null"],
        "items": { "if": is_ours, "then": file },
        "contains": is_ours,
        "minContains": 0,
        "maxContains": FILES_ATTACHED_MAX,
        "x-maxBytes": MESSAGE_BYTES_MAX,
    });
    let properties = json!({
        "message": optional(text()),
        "attachments": attachments,
        "userId": id(),
        "userName": required_label(),
        "role": optional(label()),
        "clientMessageId": with(
            optional(id()),
            &json!({ "description": "Said twice under one of these, it is stored once." }),
        ),
        "domainId": optional(id()),
    });
    let said =
        object("What somebody says in a room: words, files, or both.", &["userId", "userName"], properties);
    let either = json!({
        "anyOf": [
            { "required": ["message"], "properties": { "message": { "type": "string", "minLength": 1 } } },
            { "required": ["attachments"], "properties": { "attachments": { "type": "array", "minItems": 1 } } },
        ],
    });
    with(said, &either)
}

pub(super) fn assignment() -> Value {
    let somebody = object(
        "Who has the room from now on.",
        &["userId", "userName"],
        json!({ "userId": id(), "userName": required_label() }),
    );
    let nobody = object("Nobody has it.", &[], json!({ "userId": { "type": "null" } }));
    json!({ "description": "Whose a room is.", "anyOf": [somebody, nobody] })
}

pub(super) fn rate() -> Value {
    let comment = optional(json!({ "type": "string", "maxLength": RATING_COMMENT_CHARS_MAX }));
    let score = json!({ "type": "integer", "minimum": 1, "maximum": RATING_MAX });
    object("How the customer found it.", &["score"], json!({ "score": score, "comment": comment }))
}

/// Of a site, all of it: what is left out is not set any more.
pub(super) fn settings() -> Value {
    let days = || optional(json!({ "type": "integer", "minimum": 1, "maximum": RETENTION_DAYS_MAX }));
    let maybe = |required: &[&str], properties| optional(object("", required, properties));
    let flag = || optional(json!({ "type": "boolean" }));
    let list =
        |items: Value, most: usize| json!({ "type": ["array", "null"], "maxItems": most, "items": items });
    let helpdesk = object(
        "A question as visitors may ask it, and what to answer.",
        &["question", "answer"],
        json!({
            "question": with(line(HELPDESK_QUESTION_CHARS_MAX), &json!({ "minLength": 1 })),
            "answer": words(),
        }),
    );
    let canned = object(
        "A text that an agent sends by its shortcut.",
        &["shortcut", "text"],
        json!({ "shortcut": required_label(), "text": words() }),
    );
    let origin = with(
        required_label(),
        &json!({ "pattern": "^[a-zA-Z][a-zA-Z0-9+.-]*://[^/]+/*$", "examples": ["https://*.shop.example"] }),
    );
    let properties = json!({
        "name": optional(label()),
        "welcomeMessage": optional(text()),
        "systemPrompt": optional(text()),
        "fallbackMessage": optional(text()),
        "model": optional(label()),
        "ai": maybe(&[], json!({ "autoReply": flag(), "sharePage": flag() })),
        "helpdesk": list(helpdesk, HELPDESK_ENTRIES_MAX),
        "allowedOrigins": list(origin, DOMAIN_ORIGINS_MAX),
        "businessHours": optional(business_hours()),
        "retention": maybe(&[], json!({ "messagesDays": days(), "filesDays": days(), "statsDays": days() })),
        "cannedReplies": with(list(canned, CANNED_REPLIES_MAX), &json!({ "x-unique": "shortcut" })),
    });
    object("What is set for a site. What is left out is not set.", &[], properties)
}

/// As it is asked for and as it is told.
pub(super) fn business_hours() -> Value {
    let time = json!({
        "type": "string",
        "pattern": "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$",
        "examples": ["09:00"],
    });
    let pair = json!({
        "description": "From, and to; what goes past midnight is two days'.",
        "type": "array",
        "items": time,
        "minItems": 2,
        "maxItems": 2,
        "examples": [["09:00", "17:30"]],
    });
    let day = json!({
        "description": "In order, none over another.",
        "type": ["array", "null"],
        "items": pair,
        "maxItems": OPENINGS_A_DAY_MAX,
        "examples": [[["09:00", "12:00"], ["13:00", "24:00"]], [], null],
    });
    let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"].map(|name| (name.to_owned(), day.clone()));
    let week = json!({
        "type": ["object", "null"],
        "properties": serde_json::Map::from_iter(days),
        "additionalProperties": false,
    });
    let zone = json!({
        "description": "An IANA name.",
        "type": "string",
        "pattern": "^[A-Za-z][A-Za-z0-9/_+-]*$",
        "maxLength": LABEL_CHARS_MAX,
        "examples": ["Europe/Berlin"],
    });
    object("When somebody is there.", &["timeZone"], json!({ "timeZone": zone, "week": week }))
}

#[cfg(test)]
#[path = "edges.rs"]
mod edges;
