//! Frames: reading a client's, writing ours.

use std::borrow::Cow;

use weeziq_core::limits::FRAME_BYTES_MAX;

/// What a client sent, masks and fragments undone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    Text(Cow<'a, str>),
    /// A whole binary message; this service has no use for its content.
    Binary,
    Ping(&'a [u8]),
    Pong,
    /// With the code to answer with.
    Close(CloseCode),
}

/// RFC 6455, section 7.4, and our own from 4000 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CloseCode(pub(crate) u16);

impl CloseCode {
    pub(crate) const NORMAL: Self = Self(1000);
    /// The service stops; come back in a moment.
    pub(crate) const GOING_AWAY: Self = Self(1001);
    pub(crate) const PROTOCOL: Self = Self(1002);
    pub(crate) const NOT_UTF8: Self = Self(1007);
    pub(crate) const POLICY: Self = Self(1008);
    pub(crate) const TOO_BIG: Self = Self(1009);
    /// Its token has expired.
    pub(crate) const EXPIRED: Self = Self(4401);
    /// The peer did not read what it asked for.
    pub(crate) const TOO_SLOW: Self = Self(4008);

    /// For whoever counts.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NORMAL => "normal",
            Self::GOING_AWAY => "going-away",
            Self::PROTOCOL => "protocol",
            Self::NOT_UTF8 => "not-utf8",
            Self::POLICY => "policy",
            Self::TOO_BIG => "too-big",
            Self::TOO_SLOW => "too-slow",
            Self::EXPIRED => "expired",
            _ => "other",
        }
    }

    /// Whether a peer may send it.
    fn is_valid(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;
const CONTROL_BYTES_MAX: usize = 125;

/// A message of which some fragments have come.
#[derive(Default)]
pub(crate) struct Fragments(Option<Box<Started>>);

struct Started {
    is_text: bool,
    bytes: Vec<u8>,
    /// Up to there the text is known to be UTF-8.
    checked: usize,
}

impl Started {
    /// Fails at the first fragment that can become no text, as section 8.1 of the RFC wishes. Each byte is looked at
    /// once, however many fragments a hostile peer cuts them into.
    fn check(&mut self) -> Result<(), CloseCode> {
        let unchecked = self.bytes.get(self.checked..).filter(|_| self.is_text).unwrap_or_default();
        match std::str::from_utf8(unchecked) {
            Ok(text) => self.checked += text.len(),
            Err(error) if error.error_len().is_none() => self.checked += error.valid_up_to(),
            Err(_) => return Err(CloseCode::NOT_UTF8),
        }
        Ok(())
    }
}

impl Fragments {
    /// Reads the first whole frame of `bytes` and says how many of them it took. None: more must come first. A
    /// fragment that ends no message takes its bytes and gives no frame. The error is the code to close with.
    pub(crate) fn read<'a>(
        &mut self,
        bytes: &'a mut [u8],
    ) -> Result<Option<(usize, Option<Frame<'a>>)>, CloseCode> {
        let Some(header) = Header::read(bytes)? else {
            return Ok(None);
        };
        let end = header.payload_at + header.payload_len;
        let Some(payload) = bytes.get_mut(header.payload_at..end) else {
            return Ok(None);
        };
        unmask(payload, header.mask);
        Ok(Some((end, self.frame(&header, payload)?)))
    }

    fn frame<'a>(&mut self, header: &Header, payload: &'a [u8]) -> Result<Option<Frame<'a>>, CloseCode> {
        match header.opcode {
            PING => Ok(Some(Frame::Ping(payload))),
            PONG => Ok(Some(Frame::Pong)),
            CLOSE => close(payload).map(Some),
            CONTINUATION => self.proceed(header.is_final, payload),
            opcode if self.0.is_some() || !matches!(opcode, TEXT | BINARY) => Err(CloseCode::PROTOCOL),
            opcode if header.is_final => whole(opcode == TEXT, Cow::Borrowed(payload)).map(Some),
            opcode => {
                let mut started = Started { is_text: opcode == TEXT, bytes: payload.to_vec(), checked: 0 };
                started.check()?;
                self.0 = Some(Box::new(started));
                Ok(None)
            }
        }
    }

    fn proceed<'a>(&mut self, is_final: bool, payload: &[u8]) -> Result<Option<Frame<'a>>, CloseCode> {
        let mut started = self.0.take().ok_or(CloseCode::PROTOCOL)?;
        if started.bytes.len() + payload.len() > FRAME_BYTES_MAX {
            return Err(CloseCode::TOO_BIG);
        }
        started.bytes.extend_from_slice(payload);
        started.check()?;
        if is_final {
            return whole(started.is_text, Cow::Owned(started.bytes)).map(Some);
        }
        self.0 = Some(started);
        Ok(None)
    }
}

fn whole(is_text: bool, payload: Cow<'_, [u8]>) -> Result<Frame<'_>, CloseCode> {
    if !is_text {
        return Ok(Frame::Binary);
    }
    let text = match payload {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
        Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
    };
    text.map(Frame::Text).ok_or(CloseCode::NOT_UTF8)
}

fn close<'a>(payload: &[u8]) -> Result<Frame<'a>, CloseCode> {
    match payload {
        [] => Ok(Frame::Close(CloseCode::NORMAL)),
        [high, low, reason @ ..] => {
            let code = CloseCode(u16::from_be_bytes([*high, *low]));
            if !code.is_valid() {
                return Err(CloseCode::PROTOCOL);
            }
            std::str::from_utf8(reason).map_err(|_| CloseCode::NOT_UTF8)?;
            Ok(Frame::Close(code))
        }
        [_] => Err(CloseCode::PROTOCOL),
    }
}

struct Header {
    is_final: bool,
    opcode: u8,
    mask: [u8; 4],
    payload_at: usize,
    payload_len: usize,
}

impl Header {
    fn read(bytes: &[u8]) -> Result<Option<Self>, CloseCode> {
        let [first, second, rest @ ..] = bytes else {
            return Ok(None);
        };
        let (opcode, is_final) = (first & 0x0F, first & FIN != 0);
        if first & RESERVED != 0 || second & MASKED == 0 || !matches!(opcode, 0x0..=0x2 | 0x8..=0xA) {
            return Err(CloseCode::PROTOCOL);
        }
        let (payload_len, len_bytes) = match (second & !MASKED, rest) {
            (126, [a, b, ..]) => (u64::from(u16::from_be_bytes([*a, *b])), 2),
            (127, [a, b, c, d, e, f, g, h, ..]) => (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), 8),
            (126 | 127, _) => return Ok(None),
            (len, _) => (u64::from(len), 0),
        };
        if opcode >= CLOSE && (!is_final || payload_len > CONTROL_BYTES_MAX as u64) {
            return Err(CloseCode::PROTOCOL);
        }
        if payload_len > FRAME_BYTES_MAX as u64 {
            return Err(CloseCode::TOO_BIG);
        }
        let mask = rest.get(len_bytes..len_bytes + 4).and_then(|mask| <[u8; 4]>::try_from(mask).ok());
        let Some(mask) = mask else { return Ok(None) };
        Ok(Some(Self {
            is_final,
            opcode,
            mask,
            payload_at: 2 + len_bytes + 4,
            payload_len: payload_len as usize,
        }))
    }
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let mask8 = u64::from_ne_bytes([mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3]]);
    let mut eights = payload.chunks_exact_mut(8);
    for eight in &mut eights {
        if let Ok(word) = <[u8; 8]>::try_from(&*eight) {
            eight.copy_from_slice(&(u64::from_ne_bytes(word) ^ mask8).to_ne_bytes());
        }
    }
    for (byte, mask) in eights.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

/// Appends a text frame.
pub(crate) fn write_text(payload: &[u8], into: &mut Vec<u8>) {
    write(TEXT, payload, into);
}

pub(crate) fn write_ping(into: &mut Vec<u8>) {
    write(PING, &[], into);
}

pub(crate) fn write_pong(payload: &[u8], into: &mut Vec<u8>) {
    write(PONG, payload, into);
}

/// The reason is cut to what a control frame holds.
pub(crate) fn write_close(code: CloseCode, reason: &str, into: &mut Vec<u8>) {
    let cut = reason.floor_char_boundary(CONTROL_BYTES_MAX - 2);
    let reason = reason.get(..cut).unwrap_or_default().as_bytes();
    write(CLOSE, &[&code.0.to_be_bytes(), reason].concat(), into);
}

fn write(opcode: u8, payload: &[u8], into: &mut Vec<u8>) {
    into.push(FIN | opcode);
    match payload.len() {
        len @ 0..=125 => into.push(len as u8),
        len @ 126..=0xFFFF => {
            into.push(126);
            into.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            into.push(127);
            into.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    into.extend_from_slice(payload);
}

/// How many frames of ours these bytes are.
pub(crate) fn count(frames: &[u8]) -> usize {
    boundaries(frames).skip(1).count()
}

/// The text of each of our frames; None for one that is no text.
pub(crate) fn packets(frames: &[u8]) -> impl Iterator<Item = Option<&str>> {
    let starts = boundaries(frames).zip(boundaries(frames).skip(1));
    starts.map(|(start, end)| {
        let frame = frames.get(start..end)?;
        let [first, len, ..] = frame else { return None };
        let header = match len {
            127 => 10,
            126 => 4,
            _ => 2,
        };
        (first & 0x0F == TEXT).then(|| std::str::from_utf8(frame.get(header..)?).ok()).flatten()
    })
}

/// Where the first of our frames that begins at or after `at` begins: where something else may be put in between.
pub(crate) fn boundary_after(frames: &[u8], at: usize) -> usize {
    boundaries(frames).find(|start| *start >= at).unwrap_or(frames.len())
}

/// Where each frame begins, and where the last one ends.
fn boundaries(frames: &[u8]) -> impl Iterator<Item = usize> {
    let mut next = Some(0);
    std::iter::from_fn(move || {
        let start = next?;
        next = frames.get(start..).and_then(own_frame_len).map(|len| start + len);
        Some(start)
    })
}

fn own_frame_len(frame: &[u8]) -> Option<usize> {
    match frame {
        [_, 127, a, b, c, d, e, f, g, h, ..] => {
            Some(10 + u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]) as usize)
        }
        [_, 126, a, b, ..] => Some(4 + usize::from(u16::from_be_bytes([*a, *b]))),
        [_, len, ..] => Some(2 + usize::from(*len)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
