//! The server's reading and writing of WebSocket frames: arbitrary bytes, cut anywhere, against themselves and against
//! `tungstenite`.
//!
//! Input: a byte of flags (low half: how many cuts; 0x80: frames are built from a recipe), two bytes a cut, then the
//! stream or the recipe. Only a recipe reaches frames of 64 KiB.

#![no_main]

mod recipe;
mod theirs;

/// The server is a program and not a library, so its file is read from where it stands.
#[path = "../../../crates/server/src/websocket"]
#[allow(dead_code, reason = "the server uses all of it")]
mod websocket {
    pub(crate) mod frame;
}

use libfuzzer_sys::fuzz_target;
use tungstenite::protocol::Role;
use weeziq_core::limits::FRAME_BYTES_MAX;
use weeziq_fuzz::{Input, pieces};

use websocket::frame::{self, CloseCode, Fragments, Frame};

/// What a stream of bytes says, until it ends or breaks the protocol.
#[derive(Debug, PartialEq)]
enum Said {
    Text(String),
    Binary,
    Ping(Vec<u8>),
    Pong,
    Close(u16),
    /// With the code that we close with; the other side has none that can be compared.
    Violation(Option<CloseCode>),
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let flags = input.byte();
    let cuts: Vec<u16> = (0..flags & 0x0F).map(|_| input.u16()).collect();
    let is_recipe = flags & 0x80 != 0;
    let stream = if is_recipe { recipe::client_frames(&mut input) } else { input.rest().to_vec() };

    let whole = ours([stream.as_slice()]);
    assert_eq!(ours(pieces(&stream, &cuts)), whole, "cut at {cuts:?}");
    if stream.len() <= 1_024 {
        assert_eq!(ours(stream.chunks(1)), whole, "byte by byte");
    }
    agrees_with_theirs(&stream, whole);
    if is_recipe {
        what_we_write_is_read(&stream, &cuts);
    }
});

fn ours<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Said> {
    let (mut fragments, mut partial, mut said) = (Fragments::default(), Vec::new(), Vec::new());
    for piece in pieces {
        partial.extend_from_slice(piece);
        let mut at = 0;
        loop {
            let (len, frame) = match fragments.read(&mut partial[at..]) {
                Ok(Some(read)) => read,
                Ok(None) => break,
                Err(code) => {
                    said.push(Said::Violation(Some(code)));
                    return said;
                }
            };
            assert!(len > 0, "a frame takes bytes");
            match frame {
                Some(Frame::Text(text)) => {
                    assert!(text.len() <= FRAME_BYTES_MAX, "a message is no larger than may be");
                    said.push(Said::Text(text.into_owned()));
                }
                Some(Frame::Binary) => said.push(Said::Binary),
                Some(Frame::Ping(payload)) => said.push(Said::Ping(payload.to_vec())),
                Some(Frame::Pong) => said.push(Said::Pong),
                Some(Frame::Close(code)) => {
                    said.push(Said::Close(code.0));
                    return said;
                }
                None => {}
            }
            at += len;
        }
        partial.drain(..at);
    }
    said
}

/// Ours refuses a frame by its first two bytes, theirs once it is whole. So where only ours has refused, theirs must
/// once the bytes that are missing are there.
fn agrees_with_theirs(stream: &[u8], mut whole: Vec<Said>) {
    if let Some(Said::Violation(code)) = whole.last_mut() {
        *code = None;
    }
    let mut theirs = theirs::read(stream, Role::Server);
    if theirs.len() + 1 == whole.len() && whole.last() == Some(&Said::Violation(None)) {
        let missing = vec![0; FRAME_BYTES_MAX + 14];
        theirs = theirs::read(&[stream, &missing].concat(), Role::Server);
    }
    // A 1002 of the peer's own, in the very words in which theirs tells of a violation, cannot be told from one; and 1014,
    // which IANA lists, is none that theirs knows.
    if let (Some(Said::Close(code @ (1002 | 1014))), Some(theirs @ Said::Violation(None))) =
        (whole.last(), theirs.last_mut())
    {
        *theirs = Said::Close(*code);
    }
    assert_eq!(whole, theirs, "ours, theirs");
}

/// Takes the stream's bytes for what the service says.
fn what_we_write_is_read(stream: &[u8], cuts: &[u16]) {
    let (mut written, mut expected, mut starts) = (Vec::new(), Vec::new(), vec![0]);
    for payload in pieces(stream, cuts) {
        let text = String::from_utf8_lossy(payload);
        match text.len() % 8 {
            0 if payload.len() <= 125 => {
                frame::write_pong(payload, &mut written);
                expected.push(Said::Pong);
            }
            1 => {
                frame::write_ping(&mut written);
                expected.push(Said::Ping(Vec::new()));
            }
            _ => {
                frame::write_text(text.as_bytes(), &mut written);
                expected.push(Said::Text(text.into_owned()));
            }
        }
        starts.push(written.len());
    }
    assert_eq!(frame::count(&written), starts.len() - 1, "as many frames as were written");
    for cut in cuts {
        let at = (usize::from(*cut) * (written.len() + 1)) >> 16;
        let after = starts.iter().find(|start| **start >= at);
        assert_eq!(Some(&frame::boundary_after(&written, at)), after, "the frame after {at}");
    }
    frame::write_close(CloseCode::TOO_SLOW, &String::from_utf8_lossy(stream), &mut written);
    expected.push(Said::Close(CloseCode::TOO_SLOW.0));
    assert_eq!(theirs::read(&written, Role::Client), expected, "as a client reads it");
}
