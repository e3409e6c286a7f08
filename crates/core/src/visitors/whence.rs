//! What a host knows of where a visitor comes from, whatever the visitor says: the country, and a name for those who bring
//! none of their own.
//!
//! No address is kept. Somebody without an id is called by a hash of the day's salt, their address, their browser and the
//! domain, so that they count once on that day and on each site; the salt goes with the day, and then the hash could be
//! anybody's.

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::traffic::{DAY_MS, begin_of};
use crate::access::address::subscriber;
use crate::ids::{DomainId, VisitorId};
use crate::time::UnixMs;

/// ISO 3166-1 alpha-2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Country([u8; 2]);

/// Of one connection or request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Whence {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<Country>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nameless: Option<Nameless>,
}

/// What stands for somebody for a day, for as long as the salt is known that it was made with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nameless(u64);

/// Of one day, in UTC.
#[derive(Clone)]
pub struct Salt {
    day: UnixMs,
    bytes: [u8; 32],
}

/// How visitors are called who bring no id.
const NAMELESS: &str = "anonymous-";

impl Country {
    /// Two letters; what stands for *unknown* is none.
    pub fn parse(code: &str) -> Option<Self> {
        let bytes: [u8; 2] = code.trim().as_bytes().try_into().ok()?;
        let code = bytes.map(|byte| byte.to_ascii_uppercase());
        (code.iter().all(u8::is_ascii_uppercase) && !matches!(&code, b"XX" | b"ZZ")).then_some(Self(code))
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Serialize for Country {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Country {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = String::deserialize(deserializer)?;
        Self::parse(&code).ok_or_else(|| serde::de::Error::custom("no country"))
    }
}

impl Whence {
    pub fn is_unknown(&self) -> bool {
        *self == Self::default()
    }

    /// As whom a visitor counts there who brings no id.
    pub(crate) fn visitor(&self, domain: &DomainId) -> Option<VisitorId> {
        let Nameless(key) = self.nameless.as_ref()?;
        let hash = hash(&key.to_le_bytes(), &[domain.as_str()]);
        VisitorId::parse(&format!("{NAMELESS}{hash:016x}"))
    }
}

/// Whether the service gave this name. Somebody who says it by themselves is counted as if it had.
pub fn is_nameless(visitor: &VisitorId) -> bool {
    visitor.as_str().starts_with(NAMELESS)
}

impl Salt {
    pub fn new(now: UnixMs, bytes: [u8; 32]) -> Self {
        Self { day: begin_of(now, DAY_MS), bytes }
    }

    pub fn is_of(&self, now: UnixMs) -> bool {
        begin_of(now, DAY_MS) == self.day
    }

    pub fn ends_at(&self) -> UnixMs {
        self.day.plus(DAY_MS)
    }

    /// `address` as the host sees it. Of IPv6 a household is one.
    pub fn nameless(&self, address: &str, user_agent: Option<&str>) -> Nameless {
        let known = address.parse().map_or_else(|_| address.to_owned(), |ip| subscriber(ip).to_string());
        Nameless(hash(&self.bytes, &[&known, user_agent.unwrap_or_default()]))
    }

    pub fn to_stored(&self) -> String {
        let hex: String = self.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{} {hex}", self.day.0)
    }

    pub fn of_stored(text: &str) -> Option<Self> {
        let (day, hex) = text.trim().split_once(' ')?;
        let mut bytes = [0; 32];
        if hex.len() != 2 * bytes.len() {
            return None;
        }
        for (n, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(hex.get(2 * n..2 * n + 2)?, 16).ok()?;
        }
        Some(Self { day: UnixMs(day.parse().ok()?), bytes })
    }
}

/// 52 bits, which any JSON carries whole. Of a million visitors on one day two meet once in some nine thousand days.
fn hash(key: &[u8], parts: &[&str]) -> u64 {
    // A key of any length is one for HMAC.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return 0 };
    for part in parts {
        mac.update(part.as_bytes());
        mac.update(&[0]);
    }
    let bytes = mac.finalize().into_bytes();
    let mut first = [0; 8];
    first.iter_mut().zip(bytes.iter()).for_each(|(to, from)| *to = *from);
    u64::from_le_bytes(first) >> 12
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod tests {
    use super::*;

    fn shop() -> DomainId {
        DomainId::parse("shop.example").unwrap()
    }

    #[test]
    fn a_country_is_two_letters() {
        for (code, known) in [("de", Some("DE")), ("US", Some("US")), (" fr", Some("FR"))] {
            assert_eq!(Country::parse(code).as_ref().map(Country::as_str), known);
        }
        for code in ["", "D", "DEU", "XX", "T1", "d\u{e9}", "ß"] {
            assert_eq!(Country::parse(code), None, "{code:?}");
        }
    }

    #[test]
    fn who_brings_no_id_is_one_for_a_day_a_site_and_a_browser() {
        let name = |salt: &Salt, address: &str, agent: &str, domain: &DomainId| {
            let nameless = Some(salt.nameless(address, Some(agent)));
            Whence { nameless, ..Whence::default() }.visitor(domain).unwrap()
        };
        let now = UnixMs(20_000 * DAY_MS + 7);
        let salt = Salt::new(now, [7; 32]);
        let ann = name(&salt, "2001:db8::1", "Firefox", &shop());
        assert!(is_nameless(&ann) && !ann.as_str().contains("2001"));
        assert_eq!(name(&salt, "2001:db8::2", "Firefox", &shop()), ann, "a household");
        let other = DomainId::parse("other.example").unwrap();
        let tomorrow = Salt::new(now.plus(DAY_MS), [8; 32]);
        for another in [
            name(&salt, "2001:db8:0:1::1", "Firefox", &shop()),
            name(&salt, "2001:db8::1", "Chrome", &shop()),
            name(&salt, "2001:db8::1", "Firefox", &other),
            name(&tomorrow, "2001:db8::1", "Firefox", &shop()),
        ] {
            assert_ne!(another, ann);
        }
        assert_eq!(Whence::default().visitor(&shop()), None);
    }

    #[test]
    fn a_salt_is_of_its_day_and_comes_back_as_it_was_kept() {
        let now = UnixMs(20_000 * DAY_MS + 7);
        let salt = Salt::new(now, std::array::from_fn(|n| n as u8));
        let again = Salt::of_stored(&salt.to_stored()).unwrap();
        assert_eq!(again.nameless("192.0.2.1", None), salt.nameless("192.0.2.1", None));
        assert!(again.is_of(now.plus(DAY_MS - 8)) && !again.is_of(salt.ends_at()));
        for damaged in ["", "1", "1 00", "x 00", &salt.to_stored().replace('9', "g")] {
            assert!(Salt::of_stored(damaged).is_none(), "{damaged}");
        }
    }

    #[test]
    fn what_is_known_of_a_connection_is_kept_beside_it() {
        let nameless = Some(Salt::new(UnixMs(0), [1; 32]).nameless("192.0.2.1", Some("x")));
        let whence = Whence { country: Country::parse("DE"), nameless };
        let kept = serde_json::to_string(&whence).unwrap();
        assert_eq!(serde_json::from_str::<Whence>(&kept).unwrap(), whence);
        assert_eq!(serde_json::to_string(&Whence::default()).unwrap(), "{}");
    }
}
