//! Files: what an upload must be, what its bytes say of it, and how it is handed out again. A host brings the bytes, a
//! chunk at a time, and the place where they are kept; nothing here ever holds a whole file.

mod image;
mod kind;
pub mod serving;
pub mod types;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::access::identity::Identity;
use crate::ids::{DomainId, ID_RULE, RoomId, UserId, short_random_name};
use crate::limits::{FILE_HEAD_BYTES_MAX, FILES_ATTACHED_MAX, LABEL_CHARS_MAX};
use crate::protocol::error::{ClientError, ErrorCode};
use crate::protocol::fields::Field;
use types::Types;

/// How a file is called: 128 random bits, so that who knows it was told it. It is also the name of the place where the
/// bytes are kept, and holds nothing but letters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FileKey(Box<str>);

const KEY_CHARS: usize = 26;

impl FileKey {
    /// From 128 bits that nobody can guess.
    pub fn from_entropy(high: u64, low: u64) -> Self {
        Self(format!("{}{}", short_random_name(high), short_random_name(low)).into())
    }

    /// None for what was never given out.
    pub fn parse(text: &str) -> Option<Self> {
        let is_key = text.len() == KEY_CHARS && text.bytes().all(|letter| letter.is_ascii_alphabetic());
        is_key.then(|| Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn not_found(&self) -> ClientError {
        ClientError::new(ErrorCode::NotFound, format!("there is no file {}", self.0))
    }
}

/// What a request says of the file that it brings: the query of `POST /files`.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Upload {
    /// None: the part of a form has one.
    pub name: Option<Box<str>>,
    /// Without one, nothing can be attached to a message: it is a file of the site.
    pub room: Option<RoomId>,
    pub domain: Option<DomainId>,
    pub user: Option<UserId>,
    /// As the request claims.
    pub content_type: Option<Box<str>>,
}

impl Upload {
    pub fn parse(query: impl Iterator<Item = (String, String)>) -> Result<Self, ClientError> {
        let mut upload = Self::default();
        for (field, value) in query.filter(|(_, value)| !value.is_empty()) {
            match field.as_str() {
                "name" => upload.name = Some(named(&value)?),
                "roomId" => upload.room = Some(id("roomId", RoomId::parse(&value))?),
                "domainId" => upload.domain = Some(id("domainId", DomainId::parse(&value))?),
                "userId" => upload.user = Some(id("userId", UserId::parse(&value))?),
                _ => {}
            }
        }
        Ok(upload)
    }

    /// Into a room, whoever its token does not keep out of there, as far as the request says whose that is; to the site, its
    /// staff. A visitor's file is its own.
    pub fn authorise(&mut self, caller: &Identity) -> Result<(), ClientError> {
        match &self.room {
            Some(room) => caller.require_scope(room, self.domain.as_ref())?,
            None => caller.require_staff(self.domain.as_ref())?,
        }
        if let Some(subject) = caller.subject().filter(|_| !caller.is_staff()) {
            self.user = Some(subject.clone());
        }
        Ok(())
    }

    /// Into the room as it is known: it is of one site, whatever the request says. So a file is never kept from the room's
    /// own staff, nor given to others.
    pub fn enter(&mut self, caller: &Identity, domain: Option<DomainId>) -> Result<(), ClientError> {
        self.domain = domain.or(self.domain.take());
        match &self.room {
            Some(room) => caller.require_scope(room, self.domain.as_ref()),
            None => Ok(()),
        }
    }

    /// Its name, which it cannot do without.
    pub fn named(&self) -> Result<&str, ClientError> {
        let required = || {
            ClientError::invalid("name", "is required: in the query, or as the filename of the form's part")
        };
        self.name.as_deref().ok_or_else(required)
    }
}

/// A file's name as people may be shown it. It is never a path of ours; it must not look like one to whoever saves it, and
/// must not read as another name than it is.
pub fn named(name: &str) -> Result<Box<str>, ClientError> {
    let is_misleading = |c: char| {
        c.is_control()
            || matches!(c, '/' | '\\' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let is_name = !name.is_empty() && name.chars().take(LABEL_CHARS_MAX + 1).count() <= LABEL_CHARS_MAX;
    if !is_name || matches!(name, "." | "..") || name.contains(is_misleading) {
        let rule = "must be a file's name: 1 to 256 characters, without slashes, control characters and marks of direction";
        return Err(ClientError::invalid("name", rule));
    }
    Ok(name.into())
}

fn id<T>(field: &str, parsed: Option<T>) -> Result<T, ClientError> {
    parsed.ok_or_else(|| ClientError::invalid(field, ID_RULE))
}

/// What is taken.
#[derive(Clone, Debug)]
pub struct Rules {
    pub bytes_max: u64,
    pub types: Types,
}

/// A file while it comes.
pub struct Receiving<'a> {
    rules: &'a Rules,
    /// What it is said to be.
    claimed: Option<&'a str>,
    size: u64,
    hash: Sha256,
    head: Vec<u8>,
}

/// What a file's bytes have shown, once all of them have been seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    pub size: u64,
    pub sha256: Box<str>,
    #[serde(flatten)]
    pub looks: Looks,
}

/// What its first bytes say it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Looks {
    pub content_type: Cow<'static, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
}

impl<'a> Receiving<'a> {
    pub fn new(rules: &'a Rules, claimed: Option<&'a str>) -> Self {
        Self { rules, claimed, size: 0, hash: Sha256::new(), head: Vec::new() }
    }

    /// Refused as soon as it is too much, whatever the request said of its length.
    pub fn take(&mut self, chunk: &[u8]) -> Result<(), ClientError> {
        self.size += chunk.len() as u64;
        if self.size > self.rules.bytes_max {
            return Err(too_large(self.rules.bytes_max));
        }
        self.hash.update(chunk);
        let missing = FILE_HEAD_BYTES_MAX.saturating_sub(self.head.len());
        self.head.extend(chunk.iter().take(missing));
        if missing > 0 && self.head.len() == FILE_HEAD_BYTES_MAX { self.check() } else { Ok(()) }
    }

    /// Holds it against the types that are taken, by what it is and not by what it is said to be. Once all of it has come,
    /// and before anybody may see it.
    pub fn check(&self) -> Result<(), ClientError> {
        let kind = kind::of(self.claimed, &self.head);
        if self.rules.types.take(&kind) {
            return Ok(());
        }
        let types = &self.rules.types;
        Err(ClientError::invalid("file", &format!("is {kind}; what is taken here is {types}")))
    }

    /// As far as has been seen.
    pub fn looks(&self) -> Looks {
        let content_type = kind::of(self.claimed, &self.head);
        let (width, height) = image::size(&content_type, &self.head).unzip();
        Looks { content_type, width, height }
    }

    pub fn finish(self) -> Seen {
        let looks = self.looks();
        let sha256: String = self.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Seen { size: self.size, sha256: sha256.into(), looks }
    }
}

pub fn too_large(bytes_max: u64) -> ClientError {
    ClientError::new(ErrorCode::TooLarge, format!("a file has {bytes_max} bytes at most"))
}

/// A file as the store knows it and as it is told of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stored {
    pub key: FileKey,
    pub name: Box<str>,
    #[serde(flatten)]
    pub seen: Seen,
}

impl Stored {
    /// What `POST /files` answers; it fits into a message's `attachments`.
    pub fn body(&self) -> serde_json::Value {
        let mut body = serde_json::to_value(self).unwrap_or_default();
        if let Some(body) = body.as_object_mut() {
            body.insert("url".into(), format!("/files/{}", self.key.as_str()).into());
        }
        body
    }
}

/// Whose a file is.
#[derive(Clone, Default)]
pub struct Owners {
    pub room: Option<RoomId>,
    pub domain: Option<DomainId>,
    pub user: Option<UserId>,
}

impl Owners {
    /// Who may have it: who knows its key was told it, and that is the right to it, unless a token says otherwise. To a token
    /// for other rooms or sites it is a file that never was.
    pub fn may_read(&self, caller: &Identity, key: &FileKey) -> Result<(), ClientError> {
        let domain = self.domain.as_ref();
        let allowed = match &self.room {
            Some(room) => caller.require_scope(room, domain),
            None => caller.require_domain(domain),
        };
        allowed.map_err(|_| key.not_found())
    }

    /// Who may delete it: staff, and who put it there.
    pub fn may_delete(&self, caller: &Identity, key: &FileKey) -> Result<(), ClientError> {
        self.may_read(caller, key)?;
        if caller.subject().is_some() && caller.subject() == self.user.as_ref() {
            return Ok(());
        }
        match &self.room {
            Some(_) => caller.require_some_staff(),
            None => caller.require_staff(self.domain.as_ref()),
        }
    }
}

/// A file that a message names, with what the message says of it.
#[derive(Clone)]
pub struct Attached {
    pub key: FileKey,
    pub size: Option<u64>,
    pub content_type: Option<Box<str>>,
}

/// The files of ours among a message's attachments. Those without a `key` are the client's own and pass as they are.
pub fn attached(attachments: Option<&RawValue>) -> Result<Box<[Attached]>, ClientError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    #[derive(Default)]
    struct Item<'a> {
        #[serde(borrow)]
        key: Field<'a>,
        #[serde(borrow)]
        size: Field<'a>,
        #[serde(borrow)]
        content_type: Field<'a>,
    }
    // Most messages have none, and of a list of anything else nothing is ours.
    let Some(items) = attachments.filter(|raw| raw.get().contains("\"key\"")) else {
        return Ok(Box::default());
    };
    let items: Vec<Option<Item<'_>>> = serde_json::from_str::<Vec<&RawValue>>(items.get())
        .unwrap_or_default()
        .into_iter()
        .map(|item| serde_json::from_str(item.get()).ok())
        .collect();
    let mut files = Vec::new();
    for Item { key, size, content_type } in items.into_iter().flatten() {
        let Field::Text(key) = key else { continue };
        let key = FileKey::parse(&key).ok_or_else(|| unknown_attachment(&key))?;
        files.push(Attached {
            key,
            size: size.count("attachments.size")?,
            content_type: content_type.text("attachments.contentType")?.map(Into::into),
        });
    }
    if files.len() > FILES_ATTACHED_MAX {
        return Err(ClientError::invalid(
            "attachments",
            &format!("may name {FILES_ATTACHED_MAX} files at most"),
        ));
    }
    Ok(files.into())
}

pub fn unknown_attachment(key: &str) -> ClientError {
    let rule = format!("names the file {key}, which this room does not have; upload it with ?roomId= first");
    ClientError::invalid("attachments", &rule)
}

#[cfg(test)]
mod tests;
