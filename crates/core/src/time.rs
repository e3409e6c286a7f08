//! Instants as both hosts tell them.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error};
use serde::{Serialize, Serializer};

/// Milliseconds since 1970 UTC. On the wire RFC 3339 with exactly three decimals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixMs(pub i64);

impl UnixMs {
    #[must_use]
    pub fn plus(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// RFC 3339, in any offset.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok().map(|at: jiff::Timestamp| Self(at.as_millisecond()))
    }

    /// Milliseconds from `earlier` to this; negative if it is the earlier one.
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for UnixMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A millisecond count out of jiff's range (year 9999) can come from no clock.
        let at = jiff::Timestamp::from_millisecond(self.0).unwrap_or_default();
        write!(f, "{at:.3}")
    }
}

impl Serialize for UnixMs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "describe")]
impl schemars::JsonSchema for UnixMs {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}

impl<'de> Deserialize<'de> for UnixMs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let at: jiff::Timestamp = text.parse().map_err(D::Error::custom)?;
        Ok(Self(at.as_millisecond()))
    }
}

/// For what a host keeps and nobody reads: the bare number.
pub mod millis {
    use super::UnixMs;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(at: &UnixMs, serializer: S) -> Result<S::Ok, S::Error> {
        at.0.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<UnixMs, D::Error> {
        i64::deserialize(deserializer).map(UnixMs)
    }

    pub mod option {
        use super::UnixMs;
        use serde::{Deserialize, Deserializer, Serialize, Serializer};

        pub fn serialize<S: Serializer>(at: &Option<UnixMs>, serializer: S) -> Result<S::Ok, S::Error> {
            at.map(|at| at.0).serialize(serializer)
        }

        pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<UnixMs>, D::Error> {
            Option::<i64>::deserialize(deserializer).map(|at| at.map(UnixMs))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_three_decimals_always() {
        assert_eq!(UnixMs(1_700_000_000_000).to_string(), "2023-11-14T22:13:20.000Z");
        assert_eq!(UnixMs(1).to_string(), "1970-01-01T00:00:00.001Z");
        let told = "\"2023-11-14T22:13:20.007Z\"";
        assert_eq!(serde_json::from_str(told).ok(), Some(UnixMs(1_700_000_000_007)));
    }
}
