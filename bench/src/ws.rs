//! RFC 6455 as far as a load generator needs it: one fixed handshake, masked frames out, unmasked frames in, and the
//! two reversed for the self-test's server. No extension is offered, so a set RSV bit is a violation.

use crate::limits::FRAME_BYTES_MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

/// What stands before a payload. `payload_bytes` is what the peer announces; it is bounded by the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) fin: bool,
    pub(crate) opcode: Opcode,
    pub(crate) mask: Option<[u8; 4]>,
    pub(crate) header_bytes: usize,
    pub(crate) payload_bytes: u64,
}

/// The peer broke the protocol; the sentence says how.
pub(crate) type Violation = &'static str;

/// The header at the start of `bytes`; `None` while it is incomplete.
pub(crate) fn parse_header(bytes: &[u8]) -> Result<Option<Header>, Violation> {
    let [first, second, rest @ ..] = bytes else {
        return Ok(None);
    };
    if first & 0x70 != 0 {
        return Err("a reserved bit is set although no extension was agreed");
    }
    let opcode = opcode(first & 0x0f)?;
    let short = u64::from(second & 0x7f);
    let (payload_bytes, rest, length_bytes) = match short {
        126 => match rest.split_first_chunk::<2>() {
            Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), rest, 2),
            None => return Ok(None),
        },
        127 => match rest.split_first_chunk::<8>() {
            Some((length, rest)) => (u64::from_be_bytes(*length), rest, 8),
            None => return Ok(None),
        },
        short => (short, rest, 0),
    };
    let fin = first & 0x80 != 0;
    if matches!(opcode, Opcode::Close | Opcode::Ping | Opcode::Pong) && (!fin || short > 125) {
        return Err("a control frame is fragmented or longer than 125 bytes");
    }
    if payload_bytes > FRAME_BYTES_MAX as u64 {
        return Err("a frame is longer than 8 MiB");
    }
    let mask = match (second & 0x80 != 0, rest.first_chunk::<4>()) {
        (false, _) => None,
        (true, Some(key)) => Some(*key),
        (true, None) => return Ok(None),
    };
    let header_bytes = 2 + length_bytes + if mask.is_some() { 4 } else { 0 };
    Ok(Some(Header { fin, opcode, mask, header_bytes, payload_bytes }))
}

fn opcode(bits: u8) -> Result<Opcode, Violation> {
    match bits {
        0 => Ok(Opcode::Continuation),
        1 => Ok(Opcode::Text),
        2 => Ok(Opcode::Binary),
        8 => Ok(Opcode::Close),
        9 => Ok(Opcode::Ping),
        10 => Ok(Opcode::Pong),
        _ => Err("an unknown opcode"),
    }
}

/// Appends one final frame; with a key it is a client's, without one a server's.
pub(crate) fn encode(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>) {
    let bits = match opcode {
        Opcode::Continuation => 0,
        Opcode::Text => 1,
        Opcode::Binary => 2,
        Opcode::Close => 8,
        Opcode::Ping => 9,
        Opcode::Pong => 10,
    };
    let masked = if mask.is_some() { 0x80 } else { 0 };
    out.push(0x80 | bits);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short), _) if short < 126 => out.push(masked | short),
        (_, Ok(medium)) => {
            out.push(masked | 126);
            out.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            out.push(masked | 127);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    let Some(key) = mask else {
        return out.extend_from_slice(payload);
    };
    out.extend_from_slice(&key);
    let start = out.len();
    out.extend_from_slice(payload);
    apply_mask(out.get_mut(start..).unwrap_or_default(), key);
}

pub(crate) fn apply_mask(payload: &mut [u8], key: [u8; 4]) {
    for group in payload.chunks_mut(4) {
        for (byte, key) in group.iter_mut().zip(key) {
            *byte ^= key;
        }
    }
}

/// The code of a close frame; `None` if it carries none.
pub(crate) fn close_code(payload: &[u8]) -> Option<u16> {
    payload.first_chunk::<2>().map(|code| u16::from_be_bytes(*code))
}

/// The request of RFC 6455's own example: the key may be the same each time, as nobody caches between us, and a fixed
/// key means that the right answer is known without SHA-1.
pub(crate) fn handshake_request(path: &str, port: u16) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    .into_bytes()
}

pub(crate) const HANDSHAKE_ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// How many bytes the answer to the handshake takes; `None` while it is incomplete.
pub(crate) fn handshake_answer(bytes: &[u8]) -> Result<Option<usize>, String> {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default());
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 101") {
        return Err(format!("the handshake was answered with \"{status}\""));
    }
    let accepted = lines.filter_map(|line| line.split_once(':')).any(|(name, value)| {
        name.eq_ignore_ascii_case("sec-websocket-accept") && value.trim() == HANDSHAKE_ACCEPT
    });
    if accepted { Ok(Some(end + 4)) } else { Err("the handshake's Sec-WebSocket-Accept is wrong".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    #[test]
    fn a_masked_hello_is_that_of_the_rfc() {
        let mut out = Vec::new();
        encode(&mut out, Opcode::Text, b"Hello", Some(KEY));
        assert_eq!(out, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    }

    #[test]
    fn frames_of_every_length_class_round_trip_and_wait_for_their_whole_header() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536, 100_000] {
            for mask in [None, Some(KEY)] {
                let payload: Vec<u8> = (0..length).map(|i| i as u8).collect();
                let mut out = Vec::new();
                encode(&mut out, Opcode::Text, &payload, mask);
                let header = parse_header(&out).unwrap().unwrap();
                assert_eq!((header.payload_bytes, header.mask), (length as u64, mask));
                assert!(header.fin && header.opcode == Opcode::Text);
                for cut in 0..header.header_bytes {
                    assert_eq!(parse_header(&out[..cut]), Ok(None), "length {length}, cut at {cut}");
                }
                let mut body = out[header.header_bytes..].to_vec();
                if let Some(key) = mask {
                    apply_mask(&mut body, key);
                }
                assert_eq!(body, payload);
            }
        }
    }

    #[test]
    fn violations_are_named() {
        for bytes in [&[0xc1u8, 0][..], &[0x83, 0], &[0x09, 0], &[0x89, 126, 0, 200]] {
            assert!(parse_header(bytes).is_err(), "{bytes:x?} passed");
        }
        assert!(parse_header(&[0x82, 127, 0, 0, 0, 1, 0, 0, 0, 0]).is_err(), "4 GiB passed");
    }

    #[test]
    fn a_handshake_is_accepted_only_with_status_and_key_right() {
        let good = format!(
            "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nsec-websocket-accept: {HANDSHAKE_ACCEPT}\r\n\r\nrest"
        );
        assert_eq!(handshake_answer(good.as_bytes()), Ok(Some(good.len() - 4)));
        assert_eq!(handshake_answer(&good.as_bytes()[..20]), Ok(None));
        assert!(handshake_answer(b"HTTP/1.1 403 Forbidden\r\n\r\n").is_err());
        assert!(handshake_answer(b"HTTP/1.1 101 X\r\nSec-WebSocket-Accept: other\r\n\r\n").is_err());
    }

    #[test]
    fn close_codes() {
        assert_eq!((close_code(&[0x03, 0xe8, b'x']), close_code(&[])), (Some(1000), None));
    }
}
