//! One flat struct for whatever a client sends, read in one pass over the bytes. A field of a wrong type is kept as
//! such, so that the refusal can name it; fields nobody knows are skipped.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Number, Value};

use super::error::{ClientError, ErrorCode};
use crate::ids::{ID_RULE, RoomId};
use crate::limits::{FREE_JSON_DEPTH_MAX, LABEL_CHARS_MAX, MESSAGE_BYTES_MAX, VISITOR_DATA_BYTES_MAX};

/// Every field of every event and request body, as it came.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct Fields<'a> {
    #[serde(borrow, rename = "type")]
    pub kind: Field<'a>,
    #[serde(borrow)]
    pub id: Field<'a>,
    #[serde(borrow)]
    pub room_id: Field<'a>,
    #[serde(borrow)]
    pub user_id: Field<'a>,
    #[serde(borrow)]
    pub user_name: Field<'a>,
    #[serde(borrow)]
    pub role: Field<'a>,
    #[serde(borrow)]
    pub domain_id: Field<'a>,
    #[serde(borrow)]
    pub message: Field<'a>,
    #[serde(borrow)]
    pub client_message_id: Field<'a>,
    #[serde(borrow)]
    pub epoch: Field<'a>,
    #[serde(borrow)]
    pub last_seq: Field<'a>,
    #[serde(borrow)]
    pub seq: Field<'a>,
    #[serde(borrow)]
    pub before_seq: Field<'a>,
    #[serde(borrow)]
    pub after_seq: Field<'a>,
    #[serde(borrow)]
    pub after_index: Field<'a>,
    #[serde(borrow)]
    pub limit: Field<'a>,
    #[serde(borrow)]
    pub is_typing: Field<'a>,
    #[serde(borrow)]
    pub message_id: Field<'a>,
    #[serde(borrow)]
    pub enabled: Field<'a>,
    #[serde(borrow)]
    pub reason: Field<'a>,
    #[serde(borrow)]
    pub status: Field<'a>,
    #[serde(borrow)]
    pub token: Field<'a>,
    #[serde(borrow)]
    pub customer_id: Field<'a>,
    #[serde(borrow)]
    pub customer_name: Field<'a>,
    #[serde(borrow)]
    pub visitor_id: Field<'a>,
    /// Instead of it: true for somebody who has none.
    #[serde(borrow)]
    pub anonymous: Field<'a>,
    #[serde(borrow)]
    pub url: Field<'a>,
    #[serde(borrow)]
    pub title: Field<'a>,
    #[serde(borrow)]
    pub model: Field<'a>,
    #[serde(borrow)]
    pub conversation_id: Field<'a>,
    #[serde(borrow)]
    pub system_prompt: Field<'a>,
    #[serde(borrow)]
    pub messages: Option<&'a RawValue>,
    #[serde(borrow)]
    pub attachments: Option<&'a RawValue>,
    #[serde(borrow)]
    pub visitor_data: Option<&'a RawValue>,
    #[serde(borrow)]
    pub customer_data: Option<&'a RawValue>,
}

/// A value that should be a string, a count or a flag.
#[derive(Default)]
pub enum Field<'a> {
    /// Left out, or null.
    #[default]
    Missing,
    Text(Cow<'a, str>),
    Count(u64),
    Flag(bool),
    /// An object, a list, a fraction or a negative number.
    Other,
}

impl<'a> Fields<'a> {
    /// Reads one JSON object.
    pub fn parse(json: &'a str) -> Result<Self, ClientError> {
        let refuse = |why: String| ClientError::new(ErrorCode::InvalidJson, why);
        if !json.trim_start().starts_with('{') {
            return Err(refuse("expected one JSON object".into()));
        }
        serde_json::from_str(json).map_err(|error| match error.classify() {
            // The only thing left that a flat, lenient struct can object to is a field given twice.
            serde_json::error::Category::Data => {
                ClientError::new(ErrorCode::InvalidRequest, error.to_string())
            }
            _ => refuse(format!("not valid JSON: {error}")),
        })
    }
}

impl<'a> Field<'a> {
    pub fn of_number(number: &Number) -> Self {
        number.as_u64().map_or_else(|| Self::of_float(number.as_f64().unwrap_or(-1.0)), Self::Count)
    }

    fn of_float(number: f64) -> Self {
        // JavaScript has one number type: 3.0 is the 3 that it meant.
        let whole = number >= 0.0 && number.fract() == 0.0 && number < 9e15;
        if whole { Self::Count(number as u64) } else { Self::Other }
    }

    /// A string, or nothing.
    pub fn text(self, name: &str) -> Result<Option<Cow<'a, str>>, ClientError> {
        match self {
            Self::Missing => Ok(None),
            Self::Text(text) => Ok(Some(text)),
            _ => Err(ClientError::invalid(name, "must be a string")),
        }
    }

    /// A short human-readable string: 1 to [`LABEL_CHARS_MAX`] characters, none of them a control character.
    pub fn label(self, name: &str) -> Result<Option<Box<str>>, ClientError> {
        self.line(name, LABEL_CHARS_MAX)
    }

    pub fn required_label(self, name: &str) -> Result<Box<str>, ClientError> {
        self.label(name)?.ok_or_else(|| ClientError::invalid(name, "is required"))
    }

    /// As [`Field::label`], with a limit of its own.
    pub fn line(self, name: &str, chars_max: usize) -> Result<Option<Box<str>>, ClientError> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        if text.is_empty() {
            return Ok(None);
        }
        let too_long = text.len() > chars_max && text.chars().count() > chars_max;
        if too_long || text.chars().any(char::is_control) {
            let rule = format!("must be at most {chars_max} characters without control characters");
            return Err(ClientError::invalid(name, &rule));
        }
        Ok(Some(text.into()))
    }

    /// An id, parsed by its own type.
    pub fn id<T>(self, name: &str, parse: fn(&str) -> Option<T>) -> Result<Option<T>, ClientError> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        parse(&text).map(Some).ok_or_else(|| ClientError::invalid(name, ID_RULE))
    }

    pub fn required_id<T>(self, name: &str, parse: fn(&str) -> Option<T>) -> Result<T, ClientError> {
        self.id(name, parse)?.ok_or_else(|| ClientError::invalid(name, "is required"))
    }

    /// The room that is named, else the connection's default room.
    pub fn room(self, default: Option<&RoomId>) -> Result<RoomId, ClientError> {
        let named = self.id("roomId", RoomId::parse)?;
        named.or_else(|| default.cloned()).ok_or_else(|| ClientError::invalid("roomId", "is required"))
    }

    /// Text of at most [`MESSAGE_BYTES_MAX`]; may be empty.
    pub fn message(self, name: &str) -> Result<Option<Box<str>>, ClientError> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        if text.len() > MESSAGE_BYTES_MAX {
            let why = format!("{name} has {} bytes; at most {MESSAGE_BYTES_MAX} are allowed", text.len());
            return Err(ClientError::new(ErrorCode::TooLarge, why));
        }
        Ok(Some(text.into()))
    }

    pub fn count(self, name: &str) -> Result<Option<u64>, ClientError> {
        match self {
            Self::Missing => Ok(None),
            Self::Count(count) => Ok(Some(count)),
            _ => Err(ClientError::invalid(name, "must be a whole number, 0 or more")),
        }
    }

    pub fn flag(self, name: &str) -> Result<Option<bool>, ClientError> {
        match self {
            Self::Missing => Ok(None),
            Self::Flag(flag) => Ok(Some(flag)),
            _ => Err(ClientError::invalid(name, "must be true or false")),
        }
    }
}

/// Free JSON of the client's own, kept as it came.
pub fn object(name: &str, raw: Option<&RawValue>) -> Result<Option<Box<RawValue>>, ClientError> {
    let Some(raw) = raw.filter(|raw| raw.get() != "null") else {
        return Ok(None);
    };
    if !raw.get().starts_with('{') {
        return Err(ClientError::invalid(name, "must be an object"));
    }
    if raw.get().len() > VISITOR_DATA_BYTES_MAX {
        let why =
            format!("{name} has {} bytes; at most {VISITOR_DATA_BYTES_MAX} are allowed", raw.get().len());
        return Err(ClientError::new(ErrorCode::TooLarge, why));
    }
    check_readable(name, raw)?;
    Ok(Some(raw.to_owned()))
}

/// A list of the client's own, kept as it came.
pub fn list(name: &str, raw: Option<&RawValue>) -> Result<Option<Box<RawValue>>, ClientError> {
    let Some(raw) = raw.filter(|raw| !matches!(raw.get(), "null" | "[]")) else {
        return Ok(None);
    };
    if !raw.get().starts_with('[') {
        return Err(ClientError::invalid(name, "must be a list"));
    }
    if raw.get().len() > MESSAGE_BYTES_MAX {
        let why = format!("{name} has {} bytes; at most {MESSAGE_BYTES_MAX} are allowed", raw.get().len());
        return Err(ClientError::new(ErrorCode::TooLarge, why));
    }
    check_readable(name, raw)?;
    Ok(Some(raw.to_owned()))
}

/// What is carried as it came is read by everybody in the room, in any language: one value that a strict reader refuses
/// would make a whole history unreadable to it.
fn check_readable(name: &str, raw: &RawValue) -> Result<(), ClientError> {
    let is_readable =
        serde_json::from_str::<Value>(raw.get()).is_ok_and(|value| is_flat(&value, FREE_JSON_DEPTH_MAX));
    if is_readable {
        return Ok(());
    }
    let why = format!(
        "must be JSON of at most {FREE_JSON_DEPTH_MAX} levels, with numbers and characters that any reader takes"
    );
    Err(ClientError::invalid(name, &why))
}

fn is_flat(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels > 0 && items.iter().all(|item| is_flat(item, levels - 1)),
        Value::Object(members) => levels > 0 && members.values().all(|item| is_flat(item, levels - 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Field<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor)
    }
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Field<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Field::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Field::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E>(self, count: u64) -> Result<Self::Value, E> {
        Ok(Field::Count(count))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Field::Other)
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Field::of_float(number))
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Self::Value, E> {
        Ok(Field::Flag(flag))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Field::Missing)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Field::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Field::Other)
    }
}
