//! A model on this machine: OpenAI's streaming interface as far as a server needs it, in the generator's own process, so
//! that a token's moment and its arrival are read from one clock.
//!
//! A question names its reader in its text (`wzq-ai 0000002a`). All answers have the same pace and begin evenly spread
//! over one interval, so that no two tokens are due at once.

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::answers::Answers;
use crate::clock::Clock;
use crate::histogram::Histogram;
use crate::limits::{HANDSHAKE_BYTES_MAX, PROVIDER_REQUEST_BYTES_MAX};
use crate::wire::Member;
use weeziq_rig::Result;

pub(crate) struct Provider {
    poll: Poll,
    events: Events,
    listener: TcpListener,
    port: u16,
    /// By the token under which they are registered.
    calls: HashMap<usize, Call>,
    next_token: usize,
    pace: Option<Pace>,
    looked_ns: u64,
    /// How late a token was written: the generator's own tardiness, which the latency leaves out.
    pub(crate) lag: Histogram,
}

/// One connection of the server under test; it asks once, or again when an answer is through.
struct Call {
    socket: TcpStream,
    received: Vec<u8>,
    /// What the socket did not take.
    unsent: Vec<u8>,
    answer: Option<Answer>,
}

struct Answer {
    reader: Member,
    spoken: u32,
}

/// When tokens are due.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) start_ns: u64,
    pub(crate) interval_ns: u64,
    pub(crate) streams: u32,
    pub(crate) tokens: u32,
}

impl Pace {
    fn due_ns(self, reader: Member, number: u32) -> u64 {
        let offset = self.interval_ns * u64::from(reader.0) / u64::from(self.streams.max(1));
        self.start_ns + offset + self.interval_ns * u64::from(number)
    }
}

impl Provider {
    pub(crate) fn open(port: u16) -> Result<Self> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let port = listener.local_addr()?.port();
        Ok(Self {
            poll,
            events: Events::with_capacity(1024),
            listener,
            port,
            calls: HashMap::new(),
            next_token: 0,
            pace: None,
            looked_ns: 0,
            lag: Histogram::new(),
        })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What the server under test is told to ask.
    pub(crate) fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.port)
    }

    /// Questions that wait for their answer, or hear it.
    pub(crate) fn asked(&self) -> u32 {
        self.calls.values().filter(|call| call.answer.is_some()).count() as u32
    }

    pub(crate) fn begin(&mut self, pace: Pace) {
        self.pace = Some(pace);
    }

    /// Takes what has come, without waiting for more.
    pub(crate) fn turn(&mut self) -> Result<()> {
        match self.poll.poll(&mut self.events, Some(Duration::ZERO)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        let mut newcomers = false;
        for event in &self.events {
            if event.token() == LISTENER {
                newcomers = true;
            } else if let Some(call) = self.calls.get_mut(&event.token().0)
                && !call.turn()
            {
                self.calls.remove(&event.token().0);
            }
        }
        if newcomers { self.accept() } else { Ok(()) }
    }

    /// For while it speaks: then little else happens, and a look for each token would cost more than the token.
    pub(crate) fn turn_now_and_then(&mut self, clock: Clock) -> Result<()> {
        let now_ns = clock.now_ns();
        if now_ns < self.looked_ns + LOOK_EVERY_NS {
            return Ok(());
        }
        self.looked_ns = now_ns;
        self.turn()
    }

    fn accept(&mut self) -> Result<()> {
        loop {
            let mut socket = match self.listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            socket.set_nodelay(true)?;
            let token = self.next_token;
            self.next_token += 1;
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut socket, Token(token), both)?;
            let mut call = Call { socket, received: Vec::new(), unsent: Vec::new(), answer: None };
            if call.turn() {
                self.calls.insert(token, call);
            }
        }
    }

    /// Writes each token that is due, each answer's in a write of its own, and ends those that are through.
    pub(crate) fn speak(&mut self, clock: Clock, answers: &mut Answers) {
        let Some(pace) = self.pace else { return };
        let now_ns = clock.now_ns();
        for call in self.calls.values_mut() {
            while let Some(answer) = &mut call.answer {
                let due_ns = pace.due_ns(answer.reader, answer.spoken);
                if now_ns < due_ns {
                    break;
                }
                if answer.spoken == pace.tokens {
                    call.answer = None;
                    call.write(&ending());
                    break;
                }
                let now_ns = clock.now_ns();
                self.lag.record(now_ns - due_ns);
                answer.spoken += 1;
                let mut record = br#"data: {"id":"c","choices":[{"index":0,"delta":{"content":""#.to_vec();
                answers.say(answer.reader, now_ns, &mut record);
                record.extend_from_slice(b"\"},\"finish_reason\":null}]}\n\n");
                call.write(&chunked(&record));
            }
        }
    }
}

const LOOK_EVERY_NS: u64 = 5_000_000;
const LISTENER: Token = Token(usize::MAX);
const HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
/// The reason, the end of the stream, and the last chunk of the body.
fn ending() -> Vec<u8> {
    let reason = br#"data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    [&chunked(&[&reason[..], b"\n\n"].concat()), &chunked(b"data: [DONE]\n\n"), &b"0\r\n\r\n"[..]].concat()
}

fn chunked(body: &[u8]) -> Vec<u8> {
    let mut out = format!("{:x}\r\n", body.len()).into_bytes();
    out.extend_from_slice(body);
    out.extend_from_slice(b"\r\n");
    out
}

impl Call {
    /// False if the connection is of no more use.
    fn turn(&mut self) -> bool {
        self.flush();
        let mut part = [0; 4096];
        loop {
            match self.socket.read(&mut part) {
                Ok(0) => return false,
                Ok(count) => self.received.extend_from_slice(part.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
            if self.received.len() > PROVIDER_REQUEST_BYTES_MAX {
                return false;
            }
        }
        if let Some((length, reader)) = question(&self.received) {
            self.received.drain(..length);
            match reader {
                Some(reader) => {
                    self.answer = Some(Answer { reader, spoken: 0 });
                    self.write(HEAD);
                }
                None => self.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
            }
        }
        true
    }

    fn write(&mut self, bytes: &[u8]) {
        self.unsent.extend_from_slice(bytes);
        self.flush();
    }

    fn flush(&mut self) {
        let mut written = 0;
        while let Some(rest) = self.unsent.get(written..).filter(|rest| !rest.is_empty()) {
            match self.socket.write(rest) {
                Ok(count) if count > 0 => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => break, // full, or gone, which the next read tells
            }
        }
        self.unsent.drain(..written);
    }
}

/// How long the first request in `received` is, once it is whole, and who asks in it.
fn question(received: &[u8]) -> Option<(usize, Option<Member>)> {
    let head_end = memchr::memmem::find(received, b"\r\n\r\n")? + 4;
    if head_end > HANDSHAKE_BYTES_MAX {
        return Some((received.len(), None));
    }
    let head = String::from_utf8_lossy(received.get(..head_end).unwrap_or_default());
    let length = head.lines().filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok()).flatten()
    });
    let whole = head_end.saturating_add(length.unwrap_or(0));
    let body = received.get(head_end..whole)?;
    Some((whole, reader(body)))
}

/// The last one named: what was asked before may be repeated to the model.
fn reader(body: &[u8]) -> Option<Member> {
    let at = memchr::memmem::rfind(body, QUESTION.as_bytes())? + QUESTION.len();
    let digits = std::str::from_utf8(body.get(at..at + 8)?).ok()?;
    u32::from_str_radix(digits, 16).ok().map(Member)
}

const QUESTION: &str = "wzq-ai ";

/// The event with which a reader asks; the conversation is his own.
pub(crate) fn ask_event(run: crate::wire::RunId, reader: Member) -> Vec<u8> {
    let (run, reader) = (run.0, reader.0);
    format!(
        r#"{{"type":"ai-stream","message":"{QUESTION}{reader:08x}","userId":"u{reader}","conversationId":"bench-{run:08x}-ai-{reader}"}}"#
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read_when_it_is_whole_and_its_last_name_counts() {
        let body = r#"{"messages":[{"content":"wzq-ai 00000001"},{"content":"wzq-ai 0000002a"}]}"#;
        let text =
            format!("POST /v1/chat/completions HTTP/1.1\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        assert_eq!(question(text.as_bytes()), Some((text.len(), Some(Member(42)))));
        assert_eq!(question(&text.as_bytes()[..text.len() - 1]), None);
        assert_eq!(question(b"POST / HTTP/1.1\r\n\r\n"), Some((19, None)));
        assert_eq!(reader(b"wzq-ai 12"), None);
    }

    #[test]
    fn tokens_are_spread_over_the_interval() {
        let pace = Pace { start_ns: 5, interval_ns: 1_000, streams: 4, tokens: 9 };
        assert_eq!((pace.due_ns(Member(0), 0), pace.due_ns(Member(3), 2)), (5, 2_755));
    }
}
