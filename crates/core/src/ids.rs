//! Names of things. Each is a type of its own, made only by a parse, so that one that breaks a limit cannot exist
//! and no two can be swapped.

use std::fmt;
use std::sync::Arc;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use crate::limits::{ID_CHARS_MAX, MADE_NAME_BYTES_MAX};

/// Why a name was refused, as the end of a sentence that begins with the field's name.
pub const ID_RULE: &str = "must be 1 to 128 characters without control characters";

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        #[cfg_attr(feature = "describe", derive(schemars::JsonSchema))]
        pub struct $name(Arc<str>);

        impl $name {
            /// 1 to [`ID_CHARS_MAX`] characters, none of them a control character.
            pub fn parse(text: &str) -> Option<Self> {
                is_name(text).then(|| Self(text.into()))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Box::<str>::deserialize(deserializer)?;
                Self::parse(&text).ok_or_else(|| D::Error::custom(ID_RULE))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

names! {
    /// A chat room, and the AI conversation that bears the same id.
    RoomId,
    UserId,
    /// A web site.
    DomainId,
    VisitorId,
    /// A client's own id of a message, unique per room and user.
    ClientMessageId,
}

impl RoomId {
    /// A name that was a room's before: what a host calls the place where it keeps the room.
    pub fn known(name: &str) -> Self {
        Self(name.into())
    }

    /// The conversation of a request that names none: one per visitor of a site. It is made of two valid names, so
    /// it may be longer than a client could ask for, which keeps it apart from nobody's but its own.
    pub fn of_visitor(domain: &str, user: &str) -> Self {
        let name = format!("{domain}-{user}");
        match name.len() <= MADE_NAME_BYTES_MAX {
            true => Self(name.into()),
            false => {
                let kept = name.get(..name.floor_char_boundary(MADE_NAME_BYTES_MAX / 2)).unwrap_or_default();
                Self(format!("{kept}-{:016x}", fnv1a(&name)).into())
            }
        }
    }
}

impl RoomId {
    /// The same of a user, on a site or on none.
    pub fn of_user(domain: Option<&DomainId>, user: &UserId) -> Self {
        Self::of_visitor(domain.map_or("default", DomainId::as_str), user.as_str())
    }
}

impl ClientMessageId {
    /// Of what a run says in a room. The letters after `kind` are the run's.
    pub fn of_run(kind: &str, run: RunId) -> Self {
        Self(format!("{kind}-{}", short_random_name(run.0)).into())
    }

    /// A client that names its own like that is taken at its word.
    pub fn is_of_run(&self, kind: &str) -> bool {
        self.as_str().strip_prefix(kind).is_some_and(|rest| rest.starts_with('-'))
    }
}

impl UserId {
    /// As whom the AI speaks in a room.
    pub fn ai() -> Self {
        Self("assistant".into())
    }

    /// As whom the service acts by itself.
    pub fn service() -> Self {
        Self("service".into())
    }

    /// As whom someone speaks who did not say.
    pub fn anonymous() -> Self {
        Self("visitor".into())
    }
}

fn is_name(text: &str) -> bool {
    // Most names are ASCII: their length in bytes answers for their length in characters.
    let fits = text.len() <= ID_CHARS_MAX || text.chars().take(ID_CHARS_MAX + 1).count() <= ID_CHARS_MAX;
    !text.is_empty() && fits && !text.chars().any(char::is_control)
}

/// A connection, as its host numbers it. Opaque to the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u64);

impl ConnId {
    /// Of what no connection waits for.
    pub const NOBODY: Self = Self(u64::MAX);
}

/// One answer of a model. What a model says under a run that is over is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub u64);

/// How a connection is called on the wire: 20 characters, random, as Socket.IO clients expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketId([u8; SOCKET_ID_LEN]);

const SOCKET_ID_LEN: usize = 20;
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyzACDEFHJK";

impl SocketId {
    /// From 100 random bits or more.
    pub fn from_entropy(mut bits: u128) -> Self {
        Self(std::array::from_fn(|_| {
            let letter = ALPHABET.get((bits % 32) as usize).copied().unwrap_or(b'a');
            bits /= 32;
            letter
        }))
    }

    /// A name that was given out before.
    pub fn parse(text: &str) -> Option<Self> {
        let letters: [u8; SOCKET_ID_LEN] = text.as_bytes().try_into().ok()?;
        letters.iter().all(|letter| ALPHABET.contains(letter)).then_some(Self(letters))
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for SocketId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("is no socket id"))
    }
}

impl Serialize for SocketId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A place in a room's log: 1, 2, 3 … with no gap. 0 stands before the first.
#[cfg_attr(feature = "describe", derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// 64-bit FNV-1a.
pub fn fnv1a(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// 64 random bits as 13 letters: how epochs look.
pub fn short_random_name(entropy: u64) -> String {
    (0..13)
        .scan(entropy, |rest, _| {
            let letter = ALPHABET.get((*rest % 32) as usize).copied().unwrap_or(b'a');
            *rest /= 32;
            Some(char::from(letter))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_their_rule() {
        let long = "é".repeat(ID_CHARS_MAX);
        assert!(RoomId::parse(&long).is_some());
        assert!(RoomId::parse(&format!("{long}é")).is_none());
        for refused in ["", "a\nb", "a\u{7f}", "\u{0}"] {
            assert!(RoomId::parse(refused).is_none(), "{refused:?}");
        }
    }

    #[test]
    fn made_names_are_told_apart_and_never_too_long() {
        let long = "𝄞".repeat(ID_CHARS_MAX);
        let of = |user: &str| RoomId::of_visitor(&long, user);
        assert_eq!(RoomId::of_visitor("shop", "ann").as_str(), "shop-ann");
        assert!(of(&long).as_str().len() <= MADE_NAME_BYTES_MAX);
        assert!(of(&long) != of(&long.replacen('𝄞', "𝄢", 1)));
    }

    #[test]
    fn socket_ids_differ_and_have_twenty_characters() {
        let one = SocketId::from_entropy(1);
        assert_eq!(one.as_str().len(), 20);
        assert_ne!(one.as_str(), SocketId::from_entropy(u128::MAX).as_str());
        assert_eq!(SocketId::parse(one.as_str()), Some(one));
        assert_eq!(SocketId::parse("short"), None);
    }
}
