//! Tokens: JSON Web Tokens (RFC 7519) signed with HS256 or EdDSA (RFC 8037, Ed25519).
//!
//! Which of the two is the operator's choice, made with the key; what a token's header says of it only has to agree
//! (RFC 8725, section 3.1). So no token can choose how it is checked.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ed25519_dalek::{Signature, VerifyingKey};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Deserializer, Serialize};
use sha2::Sha256;

use crate::ids::{DomainId, RoomId, UserId};
use crate::limits::{
    AUTH_SECRET_BYTES_MIN, LABEL_CHARS_MAX, TOKEN_BYTES_MAX, TOKEN_NOT_BEFORE_SKEW_MS, TOKEN_SCOPES_MAX,
};
use crate::protocol::error::{ClientError, ErrorCode};
use crate::time::{UnixMs, millis};

/// What tokens are held against.
pub enum Key {
    /// HS256: whoever can check a token can also make one.
    Shared(Box<Hmac<Sha256>>),
    /// EdDSA: tokens are made elsewhere.
    Public(Box<VerifyingKey>),
}

/// What a token that holds says of its bearer.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    pub subject: UserId,
    pub name: Arc<str>,
    pub role: Role,
    pub domains: Domains,
    /// None: any room of its domains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rooms: Option<Arc<[RoomId]>>,
    #[serde(with = "millis")]
    pub expires_at: UnixMs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Visitor,
    Agent,
    Admin,
}

/// The web sites that a token is for.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Domains {
    All,
    Only(Arc<[DomainId]>),
}

/// How a claim says that it is for all domains.
pub const ALL_DOMAINS: &str = "*";

/// The claims as a token carries them. Those that we do not know are ignored, as RFC 7519 wants it.
#[derive(Serialize, Deserialize)]
struct Carried<'a> {
    #[serde(borrow)]
    sub: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    name: Option<std::borrow::Cow<'a, str>>,
    role: Option<Role>,
    #[serde(deserialize_with = "texts")]
    #[serde(default)]
    domains: Option<Vec<String>>,
    #[serde(deserialize_with = "texts")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rooms: Option<Vec<String>>,
    exp: Option<Date>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<Date>,
}

/// Seconds since 1970; some issuers write fractions.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(transparent)]
struct Date(f64);

#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    alg: std::borrow::Cow<'a, str>,
    /// What a checker has to understand, and we understand none of it (RFC 7515, section 4.1.11).
    crit: Option<serde::de::IgnoredAny>,
}

/// DER of an Ed25519 public key up to the key itself (RFC 8410, section 4).
const ED25519_DER: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

impl Key {
    /// The error is the end of a sentence that begins with the setting's name.
    pub fn shared(secret: &str) -> Result<Self, String> {
        if secret.len() < AUTH_SECRET_BYTES_MIN {
            return Err(format!(
                "has {} bytes and must have {AUTH_SECRET_BYTES_MIN} or more, or tokens could be guessed; make one with: openssl rand -base64 48",
                secret.len()
            ));
        }
        let mac =
            Hmac::new_from_slice(secret.as_bytes()).map_err(|_| "cannot be used as a key".to_owned())?;
        Ok(Self::Shared(Box::new(mac)))
    }

    /// PEM of an Ed25519 public key, as `openssl pkey -pubout` writes it. Line ends may have become `\n` in words, as
    /// they do in environment variables.
    pub fn public(pem: &str) -> Result<Self, String> {
        let bad = || {
            "must be the PEM of an Ed25519 public key (-----BEGIN PUBLIC KEY-----); make a pair with: openssl genpkey -algorithm ed25519 -out key.pem && openssl pkey -in key.pem -pubout"
                .to_owned()
        };
        if pem.contains("PRIVATE KEY") {
            return Err("holds a private key, which has no business here; give the public one (openssl pkey -in key.pem -pubout)".into());
        }
        let pem = pem.replace("\\n", "\n");
        let body = pem
            .split_once("-----BEGIN PUBLIC KEY-----")
            .and_then(|(_, rest)| rest.split_once("-----END PUBLIC KEY-----"));
        let (body, _) = body.ok_or_else(bad)?;
        let body: String = body.split_whitespace().collect();
        let der = BASE64_STANDARD.decode(body).map_err(|_| bad())?;
        let key = der.strip_prefix(&ED25519_DER[..]).and_then(|key| key.try_into().ok()).ok_or_else(bad)?;
        VerifyingKey::from_bytes(key).map(|key| Self::Public(Box::new(key))).map_err(|_| bad())
    }

    /// What a token says, if it holds.
    pub fn verify(&self, token: &str, now: UnixMs) -> Result<Claims, ClientError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(refused(&format!("has {} bytes; at most {TOKEN_BYTES_MAX} are taken", token.len())));
        }
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(refused("is no JWT: it must be three parts with dots between them"));
        };
        self.check_header(&decoded(header)?)?;
        let signed = token.get(..header.len() + 1 + payload.len()).unwrap_or_default();
        if !self.has_signed(signed.as_bytes(), &decoded(signature)?) {
            return Err(refused("was not signed with this service's key"));
        }
        // Only what is signed is read.
        let payload = decoded(payload)?;
        let carried: Carried<'_> = serde_json::from_slice(&payload)
            .map_err(|error| refused(&format!("has claims that cannot be read: {error}")))?;
        carried.checked(now)
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Shared(_) => "HS256",
            Self::Public(_) => "EdDSA",
        }
    }

    fn check_header(&self, header: &[u8]) -> Result<(), ClientError> {
        let header: Header<'_> = serde_json::from_slice(header)
            .map_err(|_| refused("is no JWT: its header must be an object with alg"))?;
        if header.alg != self.algorithm() {
            return Err(refused(&format!(
                "must be signed with {}, as this service is set up",
                self.algorithm()
            )));
        }
        match header.crit {
            Some(_) => Err(refused("has a crit header, which this service does not know")),
            None => Ok(()),
        }
    }

    /// Both comparisons take the same time wherever the difference is.
    fn has_signed(&self, signed: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Shared(mac) => mac.as_ref().clone().chain_update(signed).verify_slice(signature).is_ok(),
            Self::Public(key) => Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(signed, &signature).is_ok()),
        }
    }

    /// A token that says so. None with a public key, which cannot make any.
    pub fn mint(&self, claims: &Claims) -> Option<String> {
        let Self::Shared(mac) = self else { return None };
        let domains = match &claims.domains {
            Domains::All => vec![ALL_DOMAINS.to_owned()],
            Domains::Only(domains) => domains.iter().map(DomainId::to_string).collect(),
        };
        let carried = Carried {
            sub: Some(claims.subject.as_str().into()),
            name: Some(claims.name.as_ref().into()),
            role: Some(claims.role),
            domains: Some(domains),
            rooms: claims.rooms.as_ref().map(|rooms| rooms.iter().map(RoomId::to_string).collect()),
            exp: Some(Date((claims.expires_at.0 / 1_000) as f64)),
            nbf: None,
        };
        let carried = serde_json::to_vec(&carried).ok()?;
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let signed = format!("{}.{}", encode(br#"{"alg":"HS256","typ":"JWT"}"#), encode(&carried));
        let signature = mac.as_ref().clone().chain_update(signed.as_bytes()).finalize().into_bytes();
        Some(format!("{signed}.{}", encode(&signature)))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.algorithm())
    }
}

impl fmt::Debug for Claims {
    /// A log may say what somebody may do, and not who it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.role)
    }
}

impl Carried<'_> {
    fn checked(self, now: UnixMs) -> Result<Claims, ClientError> {
        let expires_at = self.exp.ok_or_else(|| refused("has no exp claim: say when it ends"))?.at();
        if expires_at <= now {
            return Err(expired());
        }
        if self.nbf.is_some_and(|from| from.at() > now.plus(TOKEN_NOT_BEFORE_SKEW_MS)) {
            return Err(refused("does not hold yet (nbf)"));
        }
        let subject = self.sub.as_deref().and_then(UserId::parse);
        let subject = subject.ok_or_else(|| refused("needs a sub claim of 1 to 128 characters"))?;
        let name: Arc<str> =
            self.name.as_deref().filter(|name| !name.is_empty()).unwrap_or(subject.as_str()).into();
        if name.chars().any(char::is_control) || name.chars().count() > LABEL_CHARS_MAX {
            return Err(refused(&format!(
                "has a name claim that is no name of at most {LABEL_CHARS_MAX} characters"
            )));
        }
        let domains = self.domains.ok_or_else(|| {
            refused("needs a domains claim: the list of domains that it is for, or [\"*\"] for all")
        })?;
        let domains = match domains.iter().any(|domain| domain == ALL_DOMAINS) {
            true => Domains::All,
            false => Domains::Only(names("domains", &domains, DomainId::parse)?),
        };
        Ok(Claims {
            role: self.role.ok_or_else(|| refused("needs a role claim: visitor, agent or admin"))?,
            rooms: self.rooms.map(|rooms| names("rooms", &rooms, RoomId::parse)).transpose()?,
            subject,
            name,
            domains,
            expires_at,
        })
    }
}

impl Date {
    /// What is out of range saturates.
    fn at(self) -> UnixMs {
        UnixMs((self.0 * 1_000.0) as i64)
    }
}

/// Said once more by the connection that it ends.
pub fn expired() -> ClientError {
    refused("has expired; get a new one and join or connect again")
}

fn refused(why: &str) -> ClientError {
    ClientError::new(ErrorCode::Unauthorized, format!("the token {why}"))
}

fn decoded(part: &str) -> Result<Vec<u8>, ClientError> {
    let not_base64 = |_| refused("is no JWT: its parts must be base64url without padding");
    BASE64_URL_SAFE_NO_PAD.decode(part).map_err(not_base64)
}

fn names<T>(claim: &str, all: &[String], parse: fn(&str) -> Option<T>) -> Result<Arc<[T]>, ClientError> {
    if all.len() > TOKEN_SCOPES_MAX {
        return Err(refused(&format!("names more than {TOKEN_SCOPES_MAX} {claim}")));
    }
    let parsed: Option<Vec<T>> = all.iter().map(|name| parse(name)).collect();
    parsed.map(Arc::from).ok_or_else(|| refused(&format!("has a {claim} claim with what is no name in it")))
}

/// One text, or a list of them.
fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(Option::<OneOrMany>::deserialize(deserializer)?.map(|texts| match texts {
        OneOrMany::One(text) => vec![text],
        OneOrMany::Many(texts) => texts,
    }))
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
