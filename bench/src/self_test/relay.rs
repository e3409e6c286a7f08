//! The checker of AI answers checked: a server that passes the model's tokens on, with one fault planted in one answer.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use memchr::memmem::find;

use super::{next_event, read_more, shake_hands, write};
use crate::dialect::Dialect;
use crate::ledger::Errors;
use crate::provider::Provider;
use crate::scenario::{Load, Scenario};
use crate::streams::Flow;
use crate::swarm::Target;
use crate::wire::text_at;
use weeziq_rig::{Failure, Result};

/// What is done to one token of one answer, or to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Nothing,
    LoseToken,
    DoubleToken,
    GarbleToken,
    /// The whole text at the end lacks a token that was told before.
    ShortEnd,
    NoEnd,
}

pub(super) fn expected() -> [(Fault, Errors); 6] {
    let none = Errors::default();
    [
        (Fault::Nothing, none),
        (Fault::LoseToken, Errors { lost: 1, ..none }),
        (Fault::DoubleToken, Errors { duplicate: 1, ..none }),
        (Fault::GarbleToken, Errors { garbled: 1, ..none }),
        (Fault::ShortEnd, Errors { garbled: 1, ..none }),
        (Fault::NoEnd, Errors { garbled: 1, ..none }),
    ]
}

/// What was seen, and in how many tokens.
pub(super) fn measure(fault: Fault) -> Result<(Errors, u64)> {
    let flow =
        Flow { tokens_per_sec: 50, warmup: Duration::from_millis(100), time: Duration::from_millis(500) };
    let load = Load::Streams(flow);
    let scenario = Scenario { name: "self-test".into(), rooms: 3, members: 1, join_at_once: 3, load };
    let mut provider = Provider::open(0)?;
    let relay = Relay::open(fault, provider.port())?;
    let target = Target { port: relay.port, path: "/ws".into(), dialect: Dialect::Plain };
    let outcome = scenario.run(&target, None, Some(&mut provider))?;
    Ok((outcome.errors, outcome.streams.map_or(0, |streams| streams.heard.tokens)))
}

struct Relay {
    port: u16,
    closed: Arc<AtomicBool>,
}

impl Relay {
    fn open(fault: Fault, provider_port: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let closed = Arc::new(AtomicBool::new(false));
        let (stop, planted) = (Arc::clone(&closed), Arc::new(AtomicBool::new(fault == Fault::Nothing)));
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let planted = Arc::clone(&planted);
                std::thread::spawn(move || converse(socket, provider_port, fault, &planted));
            }
        });
        Ok(Self { port, closed })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)); // wakes the listener, which then ends
    }
}

fn converse(mut socket: TcpStream, provider_port: u16, fault: Fault, planted: &AtomicBool) -> Result<()> {
    let mut received = shake_hands(&mut socket)?;
    loop {
        while let Some(event) = next_event(&mut received)? {
            if event.starts_with(br#"{"type":"join-room""#) {
                write(&mut socket, r#"{"type":"joined-room","success":true}"#)?;
            } else {
                // The first to ask gets the fault.
                let fault = if planted.swap(true, Ordering::Relaxed) { Fault::Nothing } else { fault };
                pass_on(&mut socket, &event, provider_port, fault)?;
            }
        }
        read_more(&mut socket, &mut received)?;
    }
}

/// Asks the model and tells each token as it comes.
fn pass_on(socket: &mut TcpStream, question: &[u8], provider_port: u16, fault: Fault) -> Result<()> {
    let mut model = TcpStream::connect((Ipv4Addr::LOCALHOST, provider_port))?;
    let head = format!("POST /v1/chat/completions HTTP/1.1\r\nContent-Length: {}\r\n\r\n", question.len());
    model.write_all(&[head.as_bytes(), question].concat())?;
    let (mut told, mut whole, mut body) = (0, String::new(), Vec::new());
    loop {
        // The framing of chunks holds nothing that looks like a record, so it need not be undone.
        while let Some(end) = find(&body, b"\n\n") {
            let record: Vec<u8> = body.drain(..end + 2).collect();
            if let Some(at) = find(&record, b"\"content\":\"") {
                let token =
                    String::from_utf8_lossy(text_at(&record, at + 11).unwrap_or_default()).into_owned();
                tell(socket, &token, if told == FAULT_TOKEN { fault } else { Fault::Nothing })?;
                told += 1;
                whole.push_str(&token);
            }
            if find(&record, b"[DONE]").is_some() {
                return end_answer(socket, &whole, fault);
            }
        }
        let mut part = [0; 4096];
        match model.read(&mut part)? {
            0 => return Err(Failure::Machine("the model ended without an end".into())),
            count => body.extend_from_slice(part.get(..count).unwrap_or_default()),
        }
    }
}

/// After the warm-up, and others follow.
const FAULT_TOKEN: u32 = 10;

fn tell(socket: &mut TcpStream, token: &str, fault: Fault) -> Result<()> {
    let told = match fault {
        Fault::LoseToken => return Ok(()),
        Fault::DoubleToken => token.repeat(2),
        Fault::GarbleToken => token.replace('ü', "ä"),
        Fault::Nothing | Fault::ShortEnd | Fault::NoEnd => token.into(),
    };
    write(socket, &format!(r#"{{"type":"ai-stream-chunk","chunk":"{told}"}}"#))
}

fn end_answer(socket: &mut TcpStream, whole: &str, fault: Fault) -> Result<()> {
    let whole = match fault {
        Fault::NoEnd => return Ok(()),
        Fault::ShortEnd => whole.get(crate::token::TOKEN_BYTES..).unwrap_or_default(),
        _ => whole,
    };
    write(
        socket,
        &format!(r#"{{"type":"ai-stream-complete","fullResponse":"{whole}","finishReason":"stop"}}"#),
    )
}
