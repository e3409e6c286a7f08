//! What an operator sets for one web site. Hosts keep it where reading is cheap: it is read for each question and
//! written now and then.
//!
//! A write is held against every rule and replaces all that was set; what was written by another release, or damaged
//! since, is read as far as it goes.

pub mod hours;
mod reader;

use serde::Serialize;
use serde_json::{Value, json};

use self::hours::{BusinessHours, Zones};
use self::reader::{Mode, Node};
use crate::access::origins::Pattern;
use crate::ids::DomainId;
use crate::limits::{
    CANNED_REPLIES_MAX, DOMAIN_ORIGINS_MAX, HELPDESK_ENTRIES_MAX, HELPDESK_QUESTION_CHARS_MAX,
    RETENTION_DAYS_MAX,
};
use crate::protocol::error::{ClientError, ErrorCode};
use crate::time::UnixMs;

/// Of the stored form. 1 had no such number, and ended with `model`.
pub const SCHEMA_VERSION: u32 = 2;

/// A field that is left out has the service's default.
#[cfg_attr(feature = "describe", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DomainSettings {
    /// As the site calls itself to its visitors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub welcome_message: Option<Box<str>>,
    /// What the AI is told first in every conversation of the site.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_prompt: Option<Box<str>>,
    /// Shown when no model answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback_message: Option<Box<str>>,
    /// Answers where a question names none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<Box<str>>,
    #[serde(skip_serializing_if = "is_unset")]
    pub ai: AiSettings,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub helpdesk: Vec<HelpdeskEntry>,
    /// Pages of the site that may connect, beside those that may anyway.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_origins: Vec<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "describe", schemars(with = "Option<serde_json::Map<String, serde_json::Value>>"))]
    pub business_hours: Option<BusinessHours>,
    #[serde(skip_serializing_if = "is_unset")]
    pub retention: Retention,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub canned_replies: Vec<CannedReply>,
}

/// What the AI does unasked on this site.
#[cfg_attr(feature = "describe", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AiSettings {
    /// Each message of a customer is a question to the AI.
    pub auto_reply: bool,
    /// The AI is told which page the visitor is on.
    pub share_page: bool,
}

/// A question as visitors may ask it, and what to answer.
#[cfg_attr(feature = "describe", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HelpdeskEntry {
    pub question: Box<str>,
    pub answer: Box<str>,
}

/// How long things are kept; None is for good.
#[cfg_attr(feature = "describe", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Retention {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages_days: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files_days: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stats_days: Option<u32>,
}

/// A text that an agent sends by its shortcut.
#[cfg_attr(feature = "describe", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CannedReply {
    pub shortcut: Box<str>,
    pub text: Box<str>,
}

impl DomainSettings {
    /// What a client asks for. It replaces all that was set before.
    pub fn parse(json: &str, zones: &impl Zones) -> Result<Self, ClientError> {
        let not_an_object = || ClientError::new(ErrorCode::InvalidJson, "the body must be a JSON object");
        let value: Value = serde_json::from_str(json).map_err(|_| not_an_object())?;
        if !value.is_object() {
            return Err(not_an_object());
        }
        let settings = Self::read(&Node::root(&value), Mode::Strict)?;
        match &settings.business_hours {
            Some(hours) if zones.offset_s(&hours.time_zone, UnixMs(0)).is_none() => {
                Err(ClientError::invalid(
                    "businessHours.timeZone",
                    "must be a time zone's IANA name such as Europe/Berlin",
                ))
            }
            _ => Ok(settings),
        }
    }

    /// As they were kept. What a newer or a damaged record says that this release cannot read counts as not set; in a
    /// list, only the entry does.
    pub fn of_stored(json: &str) -> Self {
        let value: Value = serde_json::from_str(json).unwrap_or_default();
        Self::read(&Node::root(&value), Mode::Lenient).unwrap_or_default()
    }

    pub fn to_stored(&self) -> String {
        self.versioned().to_string()
    }

    /// What `GET` and `PUT` answer.
    pub fn body(&self, domain: &DomainId) -> Value {
        let mut body = self.versioned();
        if let Some(body) = body.as_object_mut() {
            body.insert("domainId".into(), json!(domain));
        }
        body
    }

    fn versioned(&self) -> Value {
        let mut json = json!(self);
        if let Some(members) = json.as_object_mut() {
            members.insert("schemaVersion".into(), json!(SCHEMA_VERSION));
        }
        json
    }

    /// What any visitor's page may know: `GET /domains/:domainId/widget`.
    pub fn widget(&self, domain: &DomainId, now: UnixMs, zones: &impl Zones) -> Value {
        let opening = self.business_hours.as_ref().map(|hours| hours.opening(now, zones)).unwrap_or_default();
        let mut body = json!({
            "domainId": domain,
            "isOpen": opening.is_open,
            "autoReply": self.ai.auto_reply,
        });
        let optional = [
            ("name", self.name.as_deref().map(Value::from)),
            ("welcomeMessage", self.welcome_message.as_deref().map(Value::from)),
            ("opensAt", opening.opens_at.map(|at| json!(at))),
        ];
        if let Some(body) = body.as_object_mut() {
            let set = optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
            body.extend(set);
        }
        body
    }

    /// Those of [`DomainSettings::allowed_origins`] that can be read.
    pub fn origins(&self) -> impl Iterator<Item = Pattern> + '_ {
        self.allowed_origins.iter().filter_map(|entry| Pattern::of_a_site(entry).ok())
    }

    fn read(top: &Node<'_>, mode: Mode) -> Result<Self, ClientError> {
        let (ai, retention) = (top.at("ai"), top.at("retention"));
        mode.take(ai.check_object())?;
        mode.take(retention.check_object())?;
        let days = |name| mode.take(read_days(&retention.at(name)));
        Ok(Self {
            name: mode.take(top.at("name").label())?,
            welcome_message: mode.take(top.at("welcomeMessage").message())?,
            system_prompt: mode.take(top.at("systemPrompt").message())?,
            fallback_message: mode.take(top.at("fallbackMessage").message())?,
            model: mode.take(top.at("model").label())?,
            ai: AiSettings {
                auto_reply: mode.take(ai.at("autoReply").flag())?.unwrap_or_default(),
                share_page: mode.take(ai.at("sharePage").flag())?.unwrap_or_default(),
            },
            helpdesk: mode.list(&top.at("helpdesk"), HELPDESK_ENTRIES_MAX, HelpdeskEntry::read)?,
            allowed_origins: mode.list(&top.at("allowedOrigins"), DOMAIN_ORIGINS_MAX, read_origin)?,
            business_hours: mode.take(BusinessHours::read(&top.at("businessHours")))?,
            retention: Retention {
                messages_days: days("messagesDays")?,
                files_days: days("filesDays")?,
                stats_days: days("statsDays")?,
            },
            canned_replies: read_canned(&top.at("cannedReplies"), mode)?,
        })
    }
}

impl HelpdeskEntry {
    fn read(node: &Node<'_>) -> Result<Self, ClientError> {
        node.check_object()?;
        let question = node.at("question").line(HELPDESK_QUESTION_CHARS_MAX)?;
        Ok(Self {
            question: question.ok_or_else(|| node.at("question").missing())?,
            answer: node.at("answer").required_message()?,
        })
    }
}

fn read_origin(node: &Node<'_>) -> Result<Box<str>, ClientError> {
    let text = node.label()?.ok_or_else(|| node.missing())?;
    Pattern::of_a_site(&text).map_err(|why| node.invalid(&why))?;
    Ok(text)
}

fn read_days(node: &Node<'_>) -> Result<Option<u32>, ClientError> {
    match node.count()? {
        None => Ok(None),
        Some(days @ 1..=RETENTION_DAYS_MAX) => Ok(Some(days as u32)),
        Some(_) => Err(node.invalid(&format!(
            "must be a number of days from 1 to {RETENTION_DAYS_MAX}; leave it out to keep for good"
        ))),
    }
}

fn read_canned(list: &Node<'_>, mode: Mode) -> Result<Vec<CannedReply>, ClientError> {
    let mut seen = std::collections::HashSet::new();
    mode.list(list, CANNED_REPLIES_MAX, |node| {
        node.check_object()?;
        let shortcut = node.at("shortcut").label()?.ok_or_else(|| node.at("shortcut").missing())?;
        if !seen.insert(shortcut.clone()) {
            return Err(node.at("shortcut").invalid("is another's already"));
        }
        Ok(CannedReply { shortcut, text: node.at("text").required_message()? })
    })
}

fn is_unset<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests;
