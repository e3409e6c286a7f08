//! How a file is handed out: headers, conditions and ranges (RFC 9110).

use std::fmt::Write;

use super::kind::UNKNOWN;

/// What a browser may show in its place. Anything else is only handed out to be saved: it could run as a page of ours.
const SHOWN: &[&str] = &[
    "image/png",
    "image/jpeg",
    "image/gif",
    "image/webp",
    "image/avif",
    "video/mp4",
    "video/webm",
    "audio/mp4",
    "audio/mpeg",
    "audio/ogg",
    "audio/wav",
];

/// Should a browser make a page of a file all the same, that page may do nothing and is of no origin.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; sandbox";

/// The part of a file that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub from: u64,
    /// Of it, at least 1 unless the file is empty.
    pub len: u64,
}

/// What a request for a file comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    Whole,
    Part(Span),
    NotModified,
    /// 416.
    Unsatisfiable,
}

/// The headers of a request that decide.
#[derive(Default)]
pub struct Conditions<'a> {
    pub if_none_match: Option<&'a str>,
    pub range: Option<&'a str>,
    pub if_range: Option<&'a str>,
}

impl Conditions<'_> {
    pub fn decide(&self, etag: &str, size: u64) -> Served {
        let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
        let is_known =
            |tags: &str| tags.trim() == "*" || tags.split(',').any(|tag| opaque(tag) == opaque(etag));
        if self.if_none_match.is_some_and(is_known) {
            return Served::NotModified;
        }
        // A part of another file is of no use; the comparison is a strong one (RFC 9110, 13.1.5).
        let is_same = self.if_range.is_none_or(|tag| tag.trim() == etag && !etag.starts_with("W/"));
        match self.range.filter(|_| is_same) {
            Some(range) => served(range, size),
            None => Served::Whole,
        }
    }
}

/// One range. Several, or what is none, count as not said: a server may answer with the whole.
fn served(range: &str, size: u64) -> Served {
    let span = range.trim().strip_prefix("bytes=").and_then(|span| span.split_once('-'));
    let Some((first, last)) = span.map(|(first, last)| (first.trim(), last.trim())) else {
        return Served::Whole;
    };
    let number =
        |text: &str| if text.bytes().all(|b| b.is_ascii_digit()) { text.parse::<u64>().ok() } else { None };
    let (from, to) = match (first.is_empty(), last.is_empty()) {
        (true, false) => match number(last) {
            Some(suffix) => (size.saturating_sub(suffix), size.min(suffix).checked_sub(1).map(|_| size - 1)),
            None => return Served::Whole,
        },
        (false, _) => match (number(first), last.is_empty(), number(last)) {
            (Some(from), true, _) => (from, size.checked_sub(1)),
            (Some(from), false, Some(to)) if to >= from => (from, size.checked_sub(1).map(|end| end.min(to))),
            _ => return Served::Whole,
        },
        (true, true) => return Served::Whole,
    };
    match to {
        Some(to) if from <= to => Served::Part(Span { from, len: to - from + 1 }),
        _ => Served::Unsatisfiable,
    }
}

/// The headers that go with a file's bytes, or with the word that they are known already.
pub fn headers(name: &str, content_type: &str, etag: &str) -> Vec<(&'static str, String)> {
    let is_shown = SHOWN.contains(&content_type);
    let disposition = if is_shown { "inline" } else { "attachment" };
    vec![
        ("content-type", if is_shown { content_type } else { UNKNOWN }.to_owned()),
        ("content-disposition", format!("{disposition}; {}", file_name(name))),
        ("content-security-policy", POLICY.to_owned()),
        ("x-content-type-options", "nosniff".to_owned()),
        // Pages of other origins show it; that is what a widget is for.
        ("cross-origin-resource-policy", "cross-origin".to_owned()),
        // Kept by the one who asked, and asked for again each time: it may have been erased, or the right to it be gone.
        ("cache-control", "private, no-cache".to_owned()),
        ("accept-ranges", "bytes".to_owned()),
        ("etag", etag.to_owned()),
    ]
}

/// The header of a part, or of a refused one.
pub fn content_range(part: Option<Span>, size: u64) -> String {
    match part {
        Some(Span { from, len }) => format!("bytes {from}-{}/{size}", from + len.saturating_sub(1)),
        None => format!("bytes */{size}"),
    }
}

/// For programs that know no more than ASCII, and for all others (RFC 6266, 4.3; RFC 8187, 3.2.1).
fn file_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || " ._-()".contains(c) { c } else { '_' };
    let mut said = format!("filename=\"{}\"; filename*=UTF-8''", name.chars().map(plain).collect::<String>());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            said.push(char::from(byte));
        } else {
            let _ = write!(said, "%{byte:02X}");
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_what_the_standard_says() {
        let part = |from, len| Served::Part(Span { from, len });
        for (range, size, expected) in [
            ("bytes=0-0", 10, part(0, 1)),
            ("bytes=2-4", 10, part(2, 3)),
            ("bytes=8-", 10, part(8, 2)),
            ("bytes=8-99", 10, part(8, 2)),
            ("bytes=-3", 10, part(7, 3)),
            ("bytes=-99", 10, part(0, 10)),
            ("bytes=10-", 10, Served::Unsatisfiable),
            ("bytes=-0", 10, Served::Unsatisfiable),
            ("bytes=0-", 0, Served::Unsatisfiable),
            ("bytes=-5", 0, Served::Unsatisfiable),
            ("bytes=4-2", 10, Served::Whole),
            ("bytes=0-1,4-5", 10, Served::Whole),
            ("bytes=a-b", 10, Served::Whole),
            ("bytes=-", 10, Served::Whole),
            ("lines=0-1", 10, Served::Whole),
            ("bytes=99999999999999999999-", 10, Served::Whole),
        ] {
            let decided = Conditions { range: Some(range), ..Default::default() }.decide("\"a\"", size);
            assert_eq!(decided, expected, "{range} of {size}");
        }
    }

    #[test]
    fn conditions_hold_against_the_tag() {
        let known = |tags| {
            Conditions { if_none_match: Some(tags), range: Some("bytes=0-1"), if_range: None }
                .decide("\"a\"", 9)
        };
        for tags in ["\"a\"", "W/\"a\"", "\"b\", \"a\"", "*"] {
            assert_eq!(known(tags), Served::NotModified, "{tags}");
        }
        assert_eq!(known("\"b\""), Served::Part(Span { from: 0, len: 2 }));
        let of = |tag| {
            Conditions { if_none_match: None, range: Some("bytes=0-1"), if_range: Some(tag) }
                .decide("\"a\"", 9)
        };
        assert_eq!(of("\"a\""), Served::Part(Span { from: 0, len: 2 }));
        for tag in ["\"b\"", "W/\"a\"", "Mon, 23 Nov 2026 00:00:00 GMT"] {
            assert_eq!(of(tag), Served::Whole, "{tag}");
        }
    }

    #[test]
    fn no_name_leaves_its_quotes() {
        let said = file_name("a\"; x=\"b\r\nSet-Cookie: c=1; ü%.png");
        assert!(said.bytes().all(|b| b.is_ascii_graphic() || b == b' '), "{said}");
        assert_eq!(said.matches('"').count(), 2, "{said}");
        assert!(said.ends_with("%C3%BC%25.png"), "{said}");
    }

    #[test]
    fn what_could_run_is_never_shown() {
        for kind in [
            "text/html",
            "image/svg+xml",
            "text/xml",
            "application/javascript",
            "application/pdf",
            "text/plain",
        ] {
            let headers = headers("a", kind, "\"e\"");
            assert_eq!(headers.first(), Some(&("content-type", UNKNOWN.to_owned())), "{kind}");
            assert!(
                headers
                    .iter()
                    .any(|(name, value)| *name == "content-disposition" && value.starts_with("attachment;"))
            );
        }
    }
}
