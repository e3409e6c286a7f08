//! The contract as a table (docs/protocol.md), and what it says of one frame. Written apart from the parser on
//! purpose: where the two differ, one of them is wrong.

use std::collections::BTreeMap;

use weeziq_core::ids::RoomId;
use weeziq_core::limits::{
    FREE_JSON_DEPTH_MAX, HISTORY_DEFAULT, HISTORY_MAX, ID_CHARS_MAX, LABEL_CHARS_MAX, MADE_NAME_BYTES_MAX,
    MESSAGE_BYTES_MAX, REPLY_TO_CHARS_MAX, URL_CHARS_MAX, VISITOR_DATA_BYTES_MAX,
};
use weeziq_core::protocol::error::ErrorCode::{self, InvalidJson, InvalidRequest, TooLarge, UnknownType};

use crate::fields::{Held, Members};

pub(crate) type Told = BTreeMap<&'static str, String>;

pub(crate) enum Verdict {
    Accept {
        reply_to: Option<String>,
        told: Told,
    },
    /// For any of these: which of several faults is named is the parser's own affair.
    Refuse(Vec<ErrorCode>),
}

/// What a field has to be.
#[derive(Clone, Copy)]
enum Rule {
    Id,
    /// So many characters; empty counts as left out.
    Line(usize),
    Message,
    Count,
    /// The same; what is beyond the highest index there can be means that one.
    Index,
    /// 1 or more.
    Limit,
    Flag,
    /// JSON of the client's own that begins so, and its largest size.
    Raw(char, usize),
}

/// Name, rule, whether it must be there.
type Field = (&'static str, Rule, bool);

const LABEL: Rule = Rule::Line(LABEL_CHARS_MAX);
const DATA: Rule = Rule::Raw('{', VISITOR_DATA_BYTES_MAX);
const DOMAIN: Field = ("domainId", Rule::Id, true);
const SITE: Field = ("domainId", Rule::Id, false);
const VISITOR: Field = ("visitorId", Rule::Id, true);
const USER: Field = ("userId", Rule::Id, true);
const NAME: Field = ("userName", LABEL, true);
const MESSAGE_ID: Field = ("messageId", Rule::Line(ID_CHARS_MAX), true);

/// Every event but `ping` and `get-all-domain-stats`, which carry nothing.
const EVENTS: &[(&str, &[Field])] = &[
    (
        "join-room",
        &[
            USER,
            NAME,
            SITE,
            ("role", LABEL, false),
            ("customerData", DATA, false),
            ("epoch", LABEL, false),
            ("lastSeq", Rule::Count, false),
        ],
    ),
    ("leave-room", &[]),
    (
        "send-message",
        &[
            USER,
            NAME,
            SITE,
            ("role", LABEL, false),
            ("message", Rule::Message, false),
            ("clientMessageId", Rule::Id, false),
            ("attachments", Rule::Raw('[', MESSAGE_BYTES_MAX), false),
        ],
    ),
    ("typing-start", &[USER, ("userName", LABEL, false)]),
    ("typing-stop", &[USER, ("userName", LABEL, false)]),
    ("typing", &[USER, ("userName", LABEL, false), ("isTyping", Rule::Flag, true)]),
    ("user-online", &[USER, NAME, ("status", LABEL, false)]),
    ("customer-joined-room", &[("customerId", Rule::Id, true), ("customerName", LABEL, true), SITE]),
    ("mark-read", &[("seq", Rule::Count, true)]),
    (
        "fetch-history",
        &[("beforeSeq", Rule::Count, false), ("afterSeq", Rule::Count, false), ("limit", Rule::Limit, false)],
    ),
    ("edit-message", &[MESSAGE_ID, ("message", Rule::Message, true)]),
    ("delete-message", &[MESSAGE_ID]),
    ("toggle-live-agent", &[("enabled", Rule::Flag, true)]),
    (
        "request-human",
        &[("userId", Rule::Id, false), ("userName", LABEL, false), SITE, ("reason", Rule::Message, false)],
    ),
    ("ai-resume", &[("conversationId", Rule::Id, true), ("afterIndex", Rule::Index, false)]),
    ("ai-cancel", &[("conversationId", Rule::Id, true)]),
    ("ai-chat", ASK),
    ("ai-stream", ASK),
    ("visitor-joined-domain", &[DOMAIN, VISITOR, ("visitorData", DATA, false)]),
    ("visitor-left-domain", &[DOMAIN, VISITOR]),
    (
        "visitor-activity",
        &[DOMAIN, VISITOR, ("url", Rule::Line(URL_CHARS_MAX), false), ("title", LABEL, false)],
    ),
    ("get-domain-stats", &[DOMAIN]),
];

const ASK: &[Field] = &[
    ("message", Rule::Message, true),
    ("model", LABEL, false),
    SITE,
    ("userId", Rule::Id, false),
    ("userName", LABEL, false),
    ("conversationId", Rule::Id, false),
    ("systemPrompt", Rule::Message, false),
    ("roomId", Rule::Id, false),
];

/// Every name that any event knows: given twice, it is refused.
const NAMES: &[&str] = &[
    "type",
    "id",
    "roomId",
    "userId",
    "userName",
    "role",
    "domainId",
    "message",
    "clientMessageId",
    "epoch",
    "lastSeq",
    "seq",
    "beforeSeq",
    "afterSeq",
    "afterIndex",
    "limit",
    "isTyping",
    "messageId",
    "enabled",
    "status",
    "customerId",
    "customerName",
    "visitorId",
    "url",
    "title",
    "model",
    "conversationId",
    "systemPrompt",
    "reason",
    "messages",
    "attachments",
    "visitorData",
    "customerData",
];

/// Those of them that are kept as they came, and so are never looked into.
const RAW: &[&str] = &["messages", "attachments", "visitorData", "customerData"];

pub(crate) fn judge(json: &str, default_room: Option<&str>) -> Verdict {
    let Some(members) = Members::of(json) else {
        // Or a repeated name before the place where the JSON breaks.
        return Verdict::Refuse(vec![InvalidJson, InvalidRequest]);
    };
    let mut faults = Vec::new();
    faults.extend(NAMES.iter().any(|name| members.times(name) > 1).then_some(InvalidRequest));
    let read = NAMES.iter().filter(|name| !RAW.contains(name));
    faults.extend(read.into_iter().any(|name| members.held(name) == Held::Broken).then_some(InvalidJson));
    if !faults.is_empty() {
        return Verdict::Refuse(faults);
    }
    let mut judged = Judged { members: &members, faults, told: Told::new() };
    let reply_to = judged.text("id", Rule::Line(REPLY_TO_CHARS_MAX));
    judged.event(default_room);
    match judged {
        Judged { faults, told, .. } if faults.is_empty() => Verdict::Accept { reply_to, told },
        Judged { faults, .. } => Verdict::Refuse(faults),
    }
}

struct Judged<'a> {
    members: &'a Members,
    faults: Vec<ErrorCode>,
    told: Told,
}

impl Judged<'_> {
    fn event(&mut self, default_room: Option<&str>) {
        let Held::Text(kind) = self.members.held("type") else { return self.faults.push(InvalidRequest) };
        self.told.insert("type", kind.clone());
        if matches!(kind.as_str(), "ping" | "get-all-domain-stats") {
            return;
        }
        let Some((_, fields)) = EVENTS.iter().find(|(known, _)| *known == kind) else {
            return self.faults.push(UnknownType);
        };
        for (name, rule, is_required) in *fields {
            match self.text(name, *rule) {
                Some(text) => drop(self.told.insert(name, text)),
                None if *is_required => self.faults.push(InvalidRequest),
                None => {}
            }
        }
        let is_of_a_room = !["ai-", "visitor-", "get-"].iter().any(|start| kind.starts_with(start));
        if is_of_a_room {
            match self.text("roomId", Rule::Id).or(default_room.map(str::to_owned)) {
                Some(room) => drop(self.told.insert("roomId", room)),
                None => self.faults.push(InvalidRequest),
            }
        }
        self.across(&kind);
    }

    /// What no single field tells.
    fn across(&mut self, kind: &str) {
        let is_empty = |text: Option<&String>| text.is_none_or(|text| text.is_empty());
        let mut or = |name: &'static str, default: &str| {
            self.told.entry(name).or_insert(default.into());
        };
        match kind {
            "send-message" => {
                or("role", "user");
                or("message", "");
                let is_nothing = is_empty(self.told.get("message")) && !self.told.contains_key("attachments");
                self.faults.extend(is_nothing.then_some(InvalidRequest));
            }
            "user-online" => or("status", "online"),
            "edit-message" => {
                self.faults.extend(is_empty(self.told.get("message")).then_some(InvalidRequest));
            }
            "fetch-history" => {
                let asked = self.told.get("limit").and_then(|limit| limit.parse().ok());
                let limit = asked.map_or(HISTORY_DEFAULT.into(), |limit: u64| limit.min(HISTORY_MAX.into()));
                self.told.insert("limit", limit.to_string());
            }
            "ai-chat" | "ai-stream" => self.conversation(),
            "join-room" => {
                if !(self.told.contains_key("epoch") && self.told.contains_key("lastSeq")) {
                    self.told.remove("epoch");
                    self.told.remove("lastSeq");
                }
                self.told.remove("customerData");
            }
            kind if kind.starts_with("typing") => {
                self.told.retain(|name, _| matches!(*name, "type" | "roomId" | "isTyping"));
                self.told.insert("type", "typing".into());
                self.told.entry("isTyping").or_insert((kind == "typing-start").to_string());
            }
            _ => {}
        }
    }

    fn conversation(&mut self) {
        let is_blank = self.told.get("message").is_none_or(|text| text.trim().is_empty());
        self.faults.extend(is_blank.then_some(InvalidRequest));
        let site = self.told.get("domainId").map_or("default", String::as_str);
        let own = self.told.get("userId").map(|user| match format!("{site}-{user}") {
            own if own.len() <= MADE_NAME_BYTES_MAX => own,
            _ => RoomId::of_visitor(site, user).to_string(),
        });
        if let Some(own) = own {
            self.told.entry("conversationId").or_insert(own);
        }
    }

    /// The field as text, or nothing, or a fault.
    fn text(&mut self, name: &str, rule: Rule) -> Option<String> {
        let held = match rule {
            Rule::Raw(..) => self.members.raw(name).map_or(Held::Nothing, |raw| Held::Text(raw.into())),
            _ => self.members.held(name),
        };
        let fault = match (held, rule) {
            (Held::Nothing, _) => return None,
            (Held::Count(0), Rule::Limit) => InvalidRequest,
            (Held::Count(count), Rule::Count | Rule::Limit) => return Some(count.to_string()),
            (Held::Count(count), Rule::Index) => return Some(count.min(u32::MAX.into()).to_string()),
            (Held::Flag(flag), Rule::Flag) => return Some(flag.to_string()),
            (Held::Text(text), rule) => match rule.check(text) {
                Ok(text) => return text,
                Err(fault) => fault,
            },
            _ => InvalidRequest,
        };
        self.faults.push(fault);
        None
    }
}

/// By any reader: not nested too deep, and each number and character one that there is.
fn is_readable(text: &str) -> bool {
    let (mut depth, mut deepest, mut is_text, mut is_escaped) = (0, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = is_text,
            b'"' => is_text = !is_text,
            b'[' | b'{' if !is_text => depth += 1,
            b']' | b'}' if !is_text => depth -= 1,
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest <= FREE_JSON_DEPTH_MAX && serde_json::from_str::<serde_json::Value>(text).is_ok()
}

impl Rule {
    fn check(self, text: String) -> Result<Option<String>, ErrorCode> {
        let is_line = |chars_max| text.chars().count() <= chars_max && !text.chars().any(char::is_control);
        match self {
            Self::Id if !text.is_empty() && is_line(ID_CHARS_MAX) => Ok(Some(text)),
            Self::Line(_) if text.is_empty() => Ok(None),
            Self::Line(chars_max) if is_line(chars_max) => Ok(Some(text)),
            Self::Message if text.len() <= MESSAGE_BYTES_MAX => Ok(Some(text)),
            Self::Message => Err(TooLarge),
            Self::Raw('[', _) if text == "[]" => Ok(None),
            Self::Raw(first, _) if !text.starts_with(first) => Err(InvalidRequest),
            Self::Raw(_, bytes_max) if text.len() > bytes_max => Err(TooLarge),
            Self::Raw(..) if is_readable(&text) => Ok(Some(text)),
            _ => Err(InvalidRequest),
        }
    }
}
