//! Server-sent events as the HTML specification reads them (section 9.2.6), with the whole body in hand: nothing of how
//! it came in pieces is in here.

use weeziq_core::ai::sse::{EVENT_BYTES_MAX, SseError};

use crate::Events;

/// The event that no blank line closed is given too, which the specification does not do and `SseReader::end` does.
pub(crate) fn events(body: &[u8]) -> Events {
    let (mut seen, mut data, mut event_bytes) = (Vec::new(), String::new(), 0);
    for (at, (line, is_finished)) in lines(body).into_iter().chain([(&b""[..], true)]).enumerate() {
        // The mark is counted while its line is read.
        if event_bytes + line.len() > EVENT_BYTES_MAX {
            return (seen, Err(SseError::TooLarge));
        }
        let line = if at == 0 { line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line) } else { line };
        let Ok(line) = std::str::from_utf8(line) else {
            return (seen, Err(SseError::NotUtf8));
        };
        event_bytes = match line.as_bytes().first() {
            None => 0,
            Some(b':') => event_bytes,
            Some(_) => event_bytes + line.len(),
        };
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        match field {
            "data" => {
                data.push_str(value.strip_prefix(' ').unwrap_or(value));
                data.push('\n');
            }
            "" if line.is_empty() && is_finished => {
                data.pop().is_some().then(|| seen.push(std::mem::take(&mut data)));
            }
            _ => {}
        }
    }
    (seen, Ok(()))
}

/// Each line, and whether its end came. CR, LF and CRLF end one.
fn lines(body: &[u8]) -> Vec<(&[u8], bool)> {
    let (mut lines, mut begun, mut at) = (Vec::new(), 0, 0);
    while let Some(byte) = body.get(at) {
        at += 1;
        if matches!(byte, b'\r' | b'\n') {
            lines.push((&body[begun..at - 1], true));
            at += usize::from(*byte == b'\r' && body.get(at) == Some(&b'\n'));
            begun = at;
        }
    }
    lines.push((&body[begun..], false));
    lines
}
