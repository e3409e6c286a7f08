//! What a file is, by its first bytes. What the client claims counts only where the bytes do not contradict it: a type decides
//! what a browser does with a file, and who uploads it must not.

use std::borrow::Cow;

/// Of whatever nobody can say more about.
pub(super) const UNKNOWN: &str = "application/octet-stream";

/// Types that begin with certain bytes. Whoever claims one of them without those bytes is not believed.
const SIGNATURES: &[(&str, usize, &[u8])] = &[
    ("image/png", 0, b"\x89PNG\r\n\x1a\n"),
    ("image/jpeg", 0, b"\xff\xd8\xff"),
    ("image/gif", 0, b"GIF87a"),
    ("image/gif", 0, b"GIF89a"),
    ("image/webp", 8, b"WEBPVP"),
    ("image/avif", 4, b"ftypavif"),
    ("image/avif", 4, b"ftypavis"),
    ("application/pdf", 0, b"%PDF-"),
    ("video/webm", 0, b"\x1a\x45\xdf\xa3"),
    ("video/mp4", 4, b"ftypisom"),
    ("video/mp4", 4, b"ftypmp4"),
    ("video/mp4", 4, b"ftypM4V"),
    ("video/mp4", 4, b"ftypavc1"),
    ("video/quicktime", 4, b"ftypqt"),
    ("audio/mp4", 4, b"ftypM4A"),
    ("audio/mpeg", 0, b"ID3"),
    ("audio/ogg", 0, b"OggS"),
    ("audio/wav", 8, b"WAVEfmt"),
    ("application/zip", 0, b"PK\x03\x04"),
    ("application/zip", 0, b"PK\x05\x06"),
    ("application/gzip", 0, b"\x1f\x8b"),
];

/// Documents that are archives of others' making, as the application that wrote them calls them.
const ZIPPED: &[&str] = &[
    "application/vnd.openxmlformats-officedocument.",
    "application/vnd.oasis.opendocument.",
    "application/epub+zip",
];

/// How a page begins that a browser would run: the list of the WHATWG's sniffing standard, and what runs in XML.
const MARKUP: &[&str] = &[
    "<!doctype html",
    "<html",
    "<head",
    "<script",
    "<iframe",
    "<h1",
    "<div",
    "<font",
    "<table",
    "<a",
    "<style",
    "<title",
    "<b",
    "<body",
    "<br",
    "<p",
    "<!--",
];
const MARKUP_BYTES_MAX: usize = 1024;

pub(super) fn of(claimed: Option<&str>, head: &[u8]) -> Cow<'static, str> {
    let claimed = claimed.and_then(essence);
    let claimed = claimed.as_deref();
    if let Some(markup) = markup(head) {
        return markup.into();
    }
    let found =
        SIGNATURES.iter().find(|(_, at, bytes)| head.get(*at..).is_some_and(|rest| rest.starts_with(bytes)));
    match (found.map(|(kind, ..)| *kind), claimed) {
        (Some("application/zip"), Some(claimed))
            if ZIPPED.iter().any(|zipped| claimed.starts_with(zipped)) =>
        {
            claimed.to_owned().into()
        }
        (Some(kind), _) => kind.into(),
        (None, Some(claimed)) if is_believed(claimed, head) => claimed.to_owned().into(),
        (None, _) => UNKNOWN.into(),
    }
}

/// `type/subtype` in lower case, without parameters.
fn essence(claimed: &str) -> Option<String> {
    let essence = claimed.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_token = |text: &str| {
        !text.is_empty()
            && text.len() <= 127
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    let (kind, subtype) = essence.split_once('/')?;
    (is_token(kind) && is_token(subtype)).then_some(essence)
}

fn is_believed(claimed: &str, head: &[u8]) -> bool {
    let has_signature = SIGNATURES.iter().any(|(kind, ..)| *kind == claimed)
        || ZIPPED.iter().any(|it| claimed.starts_with(it));
    let is_text = claimed.starts_with("text/") || claimed == "application/json";
    // A form is how something was sent and not what it is.
    let is_form = claimed == "application/x-www-form-urlencoded" || claimed.starts_with("multipart/");
    !has_signature && !is_form && (!is_text || !head.contains(&0))
}

/// HTML, SVG or other XML, however it is called.
fn markup(head: &[u8]) -> Option<&'static str> {
    let head = head.get(..MARKUP_BYTES_MAX.min(head.len())).unwrap_or_default();
    let text =
        String::from_utf8_lossy(head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head)).to_ascii_lowercase();
    let text = text.trim_start();
    if !text.starts_with('<') {
        return None;
    }
    if text.contains("<svg") {
        return Some("image/svg+xml");
    }
    let is_tag = |tag: &str| {
        text.strip_prefix(tag)
            .is_some_and(|rest| tag == "<!--" || rest.starts_with(|c: char| c == '>' || c.is_whitespace()))
    };
    if MARKUP.iter().any(|tag| is_tag(tag)) {
        return Some("text/html");
    }
    text.starts_with("<?xml").then_some("text/xml")
}
