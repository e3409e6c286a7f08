//! Ours against `tungstenite`: the same bytes, whole and cut anywhere, must mean the same.

use proptest::prelude::*;
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Message, WebSocket};

use super::*;

/// What a stream of bytes says, until it ends or breaks the protocol.
#[derive(Debug, PartialEq)]
enum Said {
    Text(String),
    Binary,
    Ping(Vec<u8>),
    Pong,
    Close,
    Violation,
}

fn ours(bytes: &[u8], cuts: &[usize]) -> Vec<Said> {
    let (mut fragments, mut partial, mut said) = (Fragments::default(), Vec::new(), Vec::new());
    let mut cuts: Vec<usize> =
        cuts.iter().map(|cut| cut % (bytes.len() + 1)).chain([0, bytes.len()]).collect();
    cuts.sort_unstable();
    for window in cuts.windows(2) {
        partial.extend_from_slice(&bytes[window[0]..window[1]]);
        let mut at = 0;
        loop {
            let (len, frame) = match fragments.read(&mut partial[at..]) {
                Ok(Some(read)) => read,
                Ok(None) => break,
                Err(_) => {
                    said.push(Said::Violation);
                    return said;
                }
            };
            match frame {
                Some(Frame::Text(text)) => said.push(Said::Text(text.into_owned())),
                Some(Frame::Binary) => said.push(Said::Binary),
                Some(Frame::Ping(payload)) => said.push(Said::Ping(payload.to_vec())),
                Some(Frame::Pong) => said.push(Said::Pong),
                Some(Frame::Close(_)) => {
                    said.push(Said::Close);
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

struct Bytes<'a>(&'a [u8]);

impl std::io::Read for Bytes<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        std::io::Read::read(&mut self.0, into)
    }
}

impl std::io::Write for Bytes<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn theirs(bytes: &[u8]) -> Vec<Said> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(FRAME_BYTES_MAX))
        .max_frame_size(Some(FRAME_BYTES_MAX));
    let mut socket = WebSocket::from_raw_socket(Bytes(bytes), Role::Server, Some(config));
    let mut said = Vec::new();
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => said.push(Said::Text(text.to_string())),
            Ok(Message::Binary(_)) => said.push(Said::Binary),
            Ok(Message::Ping(payload)) => said.push(Said::Ping(payload.to_vec())),
            Ok(Message::Pong(_)) => said.push(Said::Pong),
            Ok(Message::Close(close)) => {
                // A code that may not be sent comes out of it as a close for that very reason.
                let is_violation = close.is_some_and(|close| close.reason.as_str() == "Protocol violation");
                said.push(if is_violation { Said::Violation } else { Said::Close });
                return said;
            }
            Ok(Message::Frame(_)) => {}
            // The bytes end without a close.
            Err(tungstenite::Error::Io(_) | tungstenite::Error::ConnectionClosed)
            | Err(tungstenite::Error::Protocol(
                tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
            )) => return said,
            Err(_) => {
                said.push(Said::Violation);
                return said;
            }
        }
    }
}

fn client_frame(first: u8, mask: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..=125 => frame.push(MASKED | len as u8),
        len @ 126..=0xFFFF => {
            frame.push(MASKED | 126);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            frame.push(MASKED | 127);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "\\PC{0,40}".prop_map(String::into_bytes),
        2 => prop::collection::vec(any::<u8>(), 0..140),
        1 => (120usize..140, any::<bool>()).prop_map(|(len, _)| vec![b'x'; len]),
        1 => (65_500usize..65_560).prop_map(|len| vec![b'x'; len]),
    ]
}

fn frame() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        8 => prop::sample::select(vec![0x81u8, 0x01, 0x00, 0x80, 0x82, 0x89, 0x8A, 0x88]),
        1 => any::<u8>(),
    ];
    (first, any::<[u8; 4]>(), payload())
        .prop_map(|(first, mask, payload)| client_frame(first, mask, &payload))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn means_what_tungstenite_says(frames in prop::collection::vec(frame(), 0..8), cuts in prop::collection::vec(any::<usize>(), 0..6)) {
        let bytes = frames.concat();
        prop_assert_eq!(ours(&bytes, &cuts), theirs(&bytes));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), cuts in prop::collection::vec(any::<usize>(), 0..6)) {
        prop_assert_eq!(ours(&bytes, &cuts), ours(&bytes, &[]));
    }

    #[test]
    fn what_we_write_is_found_again(lens in prop::collection::vec(prop_oneof![0usize..200, 65_000usize..66_000], 1..6), at in any::<usize>()) {
        let mut bytes = Vec::new();
        let mut starts = vec![0];
        for len in lens {
            write_text(&vec![b'x'; len], &mut bytes);
            starts.push(bytes.len());
        }
        let at = at % (bytes.len() + 1);
        prop_assert_eq!(count(&bytes), starts.len() - 1);
        prop_assert_eq!(boundary_after(&bytes, at), *starts.iter().find(|start| **start >= at).unwrap());
    }
}

fn check(frames: &[Vec<u8>], expected: &[Said]) {
    assert_eq!(ours(&frames.concat(), &[]), expected);
}

#[test]
fn a_message_in_fragments_with_a_ping_between() {
    let mask = [1, 2, 3, 4];
    check(
        &[
            client_frame(0x01, mask, "h\u{e9}".as_bytes().split_at(2).0),
            client_frame(0x89, mask, b"p"),
            client_frame(0x80, mask, &"h\u{e9}".as_bytes()[2..]),
        ],
        &[Said::Ping(b"p".to_vec()), Said::Text("h\u{e9}".into())],
    );
}

#[test]
fn violations_have_their_codes() {
    let read = |mut bytes: Vec<u8>| Fragments::default().read(&mut bytes).map(|_| ()).unwrap_err();
    assert_eq!(read(vec![0x81, 0x01, b'x', 0, 0, 0]), CloseCode::PROTOCOL, "unmasked");
    assert_eq!(
        read(client_frame(0xC1, [0; 4], b"x")),
        CloseCode::PROTOCOL,
        "reserved bit: no extension was agreed"
    );
    assert_eq!(read(client_frame(0x80, [0; 4], b"x")), CloseCode::PROTOCOL, "continues nothing");
    assert_eq!(read(client_frame(0x81, [0; 4], &[0xFF])), CloseCode::NOT_UTF8);
    assert_eq!(read(client_frame(0x81, [0; 4], &vec![b'x'; FRAME_BYTES_MAX + 1])), CloseCode::TOO_BIG);
    assert_eq!(
        read(client_frame(0x88, [0; 4], &1005u16.to_be_bytes())),
        CloseCode::PROTOCOL,
        "never on the wire"
    );
    assert_eq!(read(client_frame(0x89, [0; 4], &[0; 126])), CloseCode::PROTOCOL, "a control frame is short");
}
