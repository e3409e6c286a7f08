//! A document as it is uploaded: its name, its kind, and whether it is text at all.

use crate::limits::{DOCUMENT_BYTES_MAX, ID_CHARS_MAX};
use crate::protocol::error::{ClientError, ErrorCode};

use super::HELPDESK;

/// Letters, digits and `._- `, first a letter or a digit: a name is shown below answers and stands in addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentName(Box<str>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Plain = 0,
    Markdown = 1,
}

#[derive(Debug)]
pub struct Document {
    pub name: DocumentName,
    pub kind: Kind,
    pub text: String,
}

/// What stands at addresses of its own.
const TAKEN: [&str; 2] = [HELPDESK, "search"];

impl DocumentName {
    pub fn parse(name: &str) -> Result<Self, ClientError> {
        let is_fine = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | ' ');
        let begins = name.starts_with(char::is_alphanumeric);
        if !begins || !name.chars().all(is_fine) || name.ends_with(' ') || name.chars().count() > ID_CHARS_MAX
        {
            let rule = format!(
                "must be 1 to {ID_CHARS_MAX} letters, digits, '.', '_', '-' or spaces, and begin with a letter or digit"
            );
            return Err(ClientError::invalid("name", &rule));
        }
        if TAKEN.contains(&name) {
            return Err(ClientError::invalid("name", "is taken by the service itself; choose another"));
        }
        Ok(Self(name.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Kind {
    /// As the request says, else as the name ends.
    fn of(content_type: Option<&str>, name: &DocumentName) -> Result<Self, ClientError> {
        let stated = content_type.map(|value| value.split(';').next().unwrap_or_default().trim());
        match stated.map(str::to_ascii_lowercase).as_deref() {
            Some("text/plain") => Ok(Self::Plain),
            Some("text/markdown" | "text/x-markdown") => Ok(Self::Markdown),
            None | Some("" | "application/octet-stream") => {
                let name = name.as_str().to_ascii_lowercase();
                let is_markdown = name.ends_with(".md") || name.ends_with(".markdown");
                Ok(if is_markdown { Self::Markdown } else { Self::Plain })
            }
            Some(_) => Err(ClientError::invalid("Content-Type", "must be text/plain or text/markdown")),
        }
    }

    pub fn of_row(kind: i64) -> Self {
        if kind == Self::Markdown as i64 { Self::Markdown } else { Self::Plain }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Self::Plain => "text/plain; charset=utf-8",
            Self::Markdown => "text/markdown; charset=utf-8",
        }
    }
}

impl Document {
    pub fn parse(name: &str, content_type: Option<&str>, bytes: Vec<u8>) -> Result<Self, ClientError> {
        let name = DocumentName::parse(name)?;
        let kind = Kind::of(content_type, &name)?;
        if bytes.len() > DOCUMENT_BYTES_MAX {
            return Err(Self::too_large());
        }
        let text =
            String::from_utf8(bytes).map_err(|_| ClientError::invalid("body", "must be text in UTF-8"))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text).replace("\r\n", "\n");
        if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{c}')) {
            return Err(ClientError::invalid("body", "must be text, and has control characters"));
        }
        if text.trim().is_empty() {
            return Err(ClientError::invalid("body", "must not be empty"));
        }
        Ok(Self { name, kind, text })
    }

    pub fn too_large() -> ClientError {
        let why = format!("a document must have {DOCUMENT_BYTES_MAX} bytes at most; cut it in two");
        ClientError::new(ErrorCode::TooLarge, why)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod tests {
    use super::*;

    #[test]
    fn names_lead_nowhere() {
        for name in ["returns.md", "FAQ 2025_v2", "Größen", "配送", "7"] {
            assert!(DocumentName::parse(name).is_ok(), "{name}");
        }
        let long = "a".repeat(129);
        for name in [
            "",
            ".",
            "..",
            "../a",
            "a/b",
            "a\\b",
            "a\0b",
            "a\nb",
            ".htaccess",
            " a",
            "a ",
            "search",
            "helpdesk",
            "a%2fb",
            "<b>",
            "a\u{202e}b",
            &long,
        ] {
            let refused = DocumentName::parse(name).map(|_| ()).unwrap_err();
            assert!(refused.message.starts_with("name "), "{name:?}");
        }
    }

    #[test]
    fn only_text_is_taken() {
        let parse = |content_type, bytes: &[u8]| Document::parse("a.md", content_type, bytes.to_vec());
        let document = parse(None, "\u{feff}# Hi\r\n".as_bytes()).unwrap();
        assert_eq!((document.kind, document.text.as_str()), (Kind::Markdown, "# Hi\n"));
        assert_eq!(parse(Some("text/plain; charset=utf-8"), b"x").unwrap().kind, Kind::Plain);
        for (content_type, bytes, word) in [
            (Some("text/html"), &b"<p>"[..], "Content-Type"),
            (Some("application/pdf"), b"%PDF-1.7", "Content-Type"),
            (None, b"\xff\xfe", "UTF-8"),
            (None, b"PK\x03\x04", "control characters"),
            (None, b" \n", "empty"),
            (None, b"", "empty"),
        ] {
            let refused = parse(content_type, bytes).unwrap_err();
            assert!(refused.message.contains(word), "{}", refused.message);
        }
        assert_eq!(parse(None, &vec![b'a'; DOCUMENT_BYTES_MAX + 1]).unwrap_err().code, ErrorCode::TooLarge);
        assert!(parse(None, &vec![b'a'; DOCUMENT_BYTES_MAX]).is_ok());
    }
}
