//! A second reading of a frame: its members in order, each still as it was written.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// The members of one JSON object, repetitions included.
pub(crate) struct Members(Vec<(String, Box<RawValue>)>);

/// A member's value, by what may be asked of it.
#[derive(Debug, PartialEq)]
pub(crate) enum Held {
    Nothing,
    Text(String),
    Count(u64),
    Flag(bool),
    Other,
    /// Not JSON after all: a number that no double holds, half a surrogate pair.
    Broken,
}

impl Members {
    /// None if it is not one JSON object.
    pub(crate) fn of(json: &str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }

    pub(crate) fn raw(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, raw)| raw.get()).filter(|raw| *raw != "null")
    }

    pub(crate) fn times(&self, name: &str) -> usize {
        self.0.iter().filter(|(known, _)| known == name).count()
    }

    /// Of the last that bears the name, which is the only one where it counts.
    pub(crate) fn held(&self, name: &str) -> Held {
        self.raw(name).map_or(Held::Nothing, Held::of)
    }
}

impl Held {
    fn of(raw: &str) -> Self {
        match raw.as_bytes().first() {
            Some(b'"') => serde_json::from_str(raw).map_or(Self::Broken, Self::Text),
            Some(b'{' | b'[') => Self::Other,
            _ => serde_json::from_str(raw).map_or(Self::Broken, |value: Value| Self::of_scalar(&value)),
        }
    }

    fn of_scalar(value: &Value) -> Self {
        match value {
            Value::Bool(flag) => Self::Flag(*flag),
            Value::Number(number) => {
                // JavaScript writes 3.0 as 3, and so may others.
                let whole = || number.as_f64().filter(|n| *n >= 0.0 && n.fract() == 0.0 && *n < 9e15);
                let is_negative = number.as_i64().is_some_and(|n| n < 0);
                let count = number.as_u64().or_else(|| Some(whole()? as u64)).filter(|_| !is_negative);
                count.map_or(Self::Other, Self::Count)
            }
            _ => Self::Nothing,
        }
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}
