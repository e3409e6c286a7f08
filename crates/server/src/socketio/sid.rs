//! Names of Engine.IO sessions. Whoever knows one may speak for the session over HTTP, so it is a secret, unlike
//! `socket.id`, which everybody in a room hears.

use std::fmt;

use weeziq_core::ids::SocketId;

/// 100 random bits.
pub(crate) type Secret = SocketId;

/// Where a session is, and the proof that its owner asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sid {
    pub(crate) shard: u8,
    pub(crate) slot: u32,
    pub(crate) secret: Secret,
}

const SHARD_DIGITS: usize = 2;
const SLOT_DIGITS: usize = 8;

impl Sid {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (shard, rest) = text.split_at_checked(SHARD_DIGITS)?;
        let (slot, secret) = rest.split_at_checked(SLOT_DIGITS)?;
        let shard = u8::try_from(number(shard)?).ok()?;
        Some(Self { shard, slot: number(slot)?, secret: SocketId::parse(secret)? })
    }
}

/// from_str_radix takes a sign and capitals; a name of ours has neither.
fn number(digits: &str) -> Option<u32> {
    let are_ours = digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    u32::from_str_radix(digits, 16).ok().filter(|_| are_ours)
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}{:08x}{}", self.shard, self.slot, self.secret.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_was_given() {
        let sid = Sid { shard: 63, slot: u32::MAX, secret: SocketId::from_entropy(7) };
        assert_eq!(Sid::parse(&sid.to_string()), Some(sid));
        for other in ["", "x", "+0+0000001aaaaaaaaaaaaaaaaaaaa", "é0000000000000000000000000000000000"] {
            assert_eq!(Sid::parse(other), None, "{other:?}");
        }
    }
}
