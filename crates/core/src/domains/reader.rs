//! A JSON value by its name, so that a refusal can say `helpdesk[3].answer`.

use serde_json::Value;

use crate::limits::LABEL_CHARS_MAX;
use crate::protocol::error::{ClientError, ErrorCode};
use crate::protocol::fields::Field;

/// One value of a document, and where it stands. What is not there reads as null, which is unset.
pub(super) struct Node<'a> {
    value: &'a Value,
    path: String,
}

/// Whether what breaks a rule is refused or counts as not set.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Strict,
    Lenient,
}

static NULL: Value = Value::Null;

impl<'a> Node<'a> {
    pub(super) fn root(value: &'a Value) -> Self {
        Self { value, path: String::new() }
    }

    pub(super) fn at(&self, name: &str) -> Node<'a> {
        let path = match self.path.is_empty() {
            true => name.to_owned(),
            false => format!("{}.{name}", self.path),
        };
        Node { value: self.value.get(name).unwrap_or(&NULL), path }
    }

    pub(super) fn is_unset(&self) -> bool {
        self.value.is_null()
    }

    /// The entries of a list; none of what is unset.
    pub(super) fn entries(&self) -> Result<impl Iterator<Item = Node<'a>>, ClientError> {
        let entries = match self.value {
            Value::Array(entries) => entries.as_slice(),
            Value::Null => &[],
            _ => return Err(self.invalid("must be a list")),
        };
        let path = self.path.clone();
        let entry = move |(at, value)| Node { value, path: format!("{path}[{at}]") };
        Ok(entries.iter().enumerate().map(entry))
    }

    pub(super) fn len(&self) -> usize {
        self.value.as_array().map_or(0, Vec::len)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.value.as_object().into_iter().flat_map(|members| members.keys().map(String::as_str))
    }

    pub(super) fn check_object(&self) -> Result<(), ClientError> {
        match self.value {
            Value::Object(_) | Value::Null => Ok(()),
            _ => Err(self.invalid("must be an object")),
        }
    }

    pub(super) fn label(&self) -> Result<Option<Box<str>>, ClientError> {
        self.line(LABEL_CHARS_MAX)
    }

    pub(super) fn line(&self, chars_max: usize) -> Result<Option<Box<str>>, ClientError> {
        self.field().line(&self.path, chars_max)
    }

    /// Text of several lines, as long as a message.
    pub(super) fn message(&self) -> Result<Option<Box<str>>, ClientError> {
        self.field().message(&self.path)
    }

    pub(super) fn required_message(&self) -> Result<Box<str>, ClientError> {
        self.message()?.filter(|text| !text.trim().is_empty()).ok_or_else(|| self.missing())
    }

    pub(super) fn flag(&self) -> Result<Option<bool>, ClientError> {
        self.field().flag(&self.path)
    }

    pub(super) fn count(&self) -> Result<Option<u64>, ClientError> {
        self.field().count(&self.path)
    }

    pub(super) fn missing(&self) -> ClientError {
        self.invalid("is required")
    }

    pub(super) fn invalid(&self, rule: &str) -> ClientError {
        ClientError::invalid(&self.path, rule)
    }

    fn field(&self) -> Field<'a> {
        match self.value {
            Value::Null => Field::Missing,
            Value::String(text) => Field::Text(text.as_str().into()),
            Value::Bool(flag) => Field::Flag(*flag),
            Value::Number(number) => Field::of_number(number),
            Value::Array(_) | Value::Object(_) => Field::Other,
        }
    }
}

impl Mode {
    pub(super) fn take<T: Default>(self, read: Result<T, ClientError>) -> Result<T, ClientError> {
        match self {
            Self::Strict => read,
            Self::Lenient => Ok(read.unwrap_or_default()),
        }
    }

    pub(super) fn list<T>(
        self,
        list: &Node<'_>,
        entries_max: usize,
        mut read: impl FnMut(&Node<'_>) -> Result<T, ClientError>,
    ) -> Result<Vec<T>, ClientError> {
        if list.len() > entries_max && self == Self::Strict {
            let why = format!("{} has {} entries; at most {entries_max} are allowed", list.path, list.len());
            return Err(ClientError::new(ErrorCode::TooLarge, why));
        }
        let entries = match (list.entries(), self) {
            (Ok(entries), _) => entries.take(entries_max),
            (Err(_), Self::Lenient) => return Ok(Vec::new()),
            (Err(error), Self::Strict) => return Err(error),
        };
        let read = entries.map(|node| read(&node));
        match self {
            Self::Strict => read.collect(),
            Self::Lenient => Ok(read.filter_map(Result::ok).collect()),
        }
    }
}
