//! One client connection: connect, upgrade, join, then frames until the end. It owns no buffer while nothing is partial.

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::clock::Clock;
use crate::inbox::Inbox;
use crate::limits::{
    FRAME_BYTES_MAX, HANDSHAKE_BYTES_MAX, KIND_PREFIX_BYTES, OUTGOING_BYTES_MAX, READ_BYTES,
};
use crate::swarm::{ROOM, Target};
use crate::wire::{Kind, Member};
use crate::ws::{self, Header, Opcode};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connecting,
    Upgrading,
    Joining,
    Joined,
    Closed,
}

/// What a connection needs of the swarm that it is part of.
pub(crate) struct Context<'a> {
    pub(crate) inbox: &'a mut Inbox,
    pub(crate) buffer: &'a mut Vec<u8>,
    pub(crate) masks: &'a mut Masks,
    pub(crate) target: &'a Target,
    pub(crate) clock: Clock,
}

pub(crate) struct Connection {
    member: Member,
    socket: TcpStream,
    stage: Stage,
    opened_ns: u64,
    join_event: Vec<u8>,
    /// The start of a frame whose rest has not come.
    kept: Vec<u8>,
    /// Bytes left of a long frame that nobody wants.
    skip_bytes: usize,
    /// Fragments of a message whose last has not come.
    fragments: Vec<u8>,
    outgoing: Vec<u8>,
}

impl Connection {
    /// Registers for both directions at once: with edge triggering an unused one costs nothing.
    pub(crate) fn open(
        to: SocketAddr,
        registry: &Registry,
        member: Member,
        join_event: Vec<u8>,
        now_ns: u64,
    ) -> io::Result<Self> {
        let mut socket = TcpStream::connect(to)?;
        registry.register(&mut socket, Token(member.0 as usize), Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self {
            member,
            socket,
            stage: Stage::Connecting,
            opened_ns: now_ns,
            join_event,
            kept: Vec::new(),
            skip_bytes: 0,
            fragments: Vec::new(),
            outgoing: Vec::new(),
        })
    }

    pub(crate) fn writable(&mut self, cx: &mut Context<'_>) {
        let result = match self.stage {
            Stage::Connecting => self.connected(cx),
            Stage::Closed => Ok(()),
            _ => self.flush(),
        };
        self.settle(result, cx);
    }

    fn connected(&mut self, cx: &Context<'_>) -> Result<(), String> {
        match self.socket.take_error() {
            Ok(None) => {}
            Ok(Some(error)) | Err(error) => return Err(format!("no connection: {error}")),
        }
        match self.socket.peer_addr() {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(()), // not yet
            result => result.map_err(|error| format!("no connection: {error}"))?,
        };
        self.socket.set_nodelay(true).map_err(|error| error.to_string())?;
        self.stage = Stage::Upgrading;
        let path = cx.target.path.replace(ROOM, &cx.inbox.room_name_of(self.member));
        self.write(&ws::handshake_request(&path, cx.target.port))
    }

    /// Reads until the socket is dry. A read that does not fill the buffer says so without another system call, unless
    /// the peer has `closed`: then the end of file is still to be read.
    pub(crate) fn readable(&mut self, closed: bool, cx: &mut Context<'_>) {
        while !matches!(self.stage, Stage::Closed | Stage::Connecting) {
            match self.read_once(cx) {
                Ok(Some(dry)) if dry && !closed => return,
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(why) => return self.settle(Err(why), cx),
            }
        }
    }

    /// True if the socket was dry; `None` if there was nothing at all.
    fn read_once(&mut self, cx: &mut Context<'_>) -> Result<Option<bool>, String> {
        let mut buffer = std::mem::take(cx.buffer);
        let result = self.read_into(&mut buffer, cx);
        *cx.buffer = buffer;
        result
    }

    fn read_into(&mut self, buffer: &mut Vec<u8>, cx: &mut Context<'_>) -> Result<Option<bool>, String> {
        let kept = self.kept.len();
        if buffer.len() < kept + READ_BYTES / 2 {
            buffer.resize(kept + READ_BYTES, 0);
        }
        let Some((front, space)) = buffer.split_at_mut_checked(kept) else {
            return Ok(None);
        };
        let read = match self.socket.read(space) {
            Ok(0) => return Err("the server ended the connection without a close frame".into()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Some(false)),
            Err(error) => return Err(format!("read: {error}")),
        };
        let dry = read < space.len();
        cx.inbox.bytes += read as u64;
        front.copy_from_slice(&self.kept);
        self.kept.clear();
        let filled = buffer.get(..kept + read).unwrap_or_default();
        let rest = self.consume(filled, cx.clock.now_ns(), cx)?;
        if rest.len() > FRAME_BYTES_MAX {
            return Err("a frame is too long".into());
        }
        self.kept.extend_from_slice(rest);
        if self.kept.is_empty() && self.kept.capacity() > READ_BYTES {
            self.kept = Vec::new();
        }
        Ok(Some(dry))
    }

    /// Takes what is complete off the front and returns the rest.
    fn consume<'a>(
        &mut self,
        bytes: &'a [u8],
        now_ns: u64,
        cx: &mut Context<'_>,
    ) -> Result<&'a [u8], String> {
        let mut rest = bytes;
        if self.stage == Stage::Upgrading {
            match ws::handshake_answer(rest)? {
                Some(length) => rest = rest.get(length..).unwrap_or_default(),
                None if rest.len() > HANDSHAKE_BYTES_MAX => {
                    return Err("the handshake's answer is too long".into());
                }
                None => return Ok(rest),
            }
            self.stage = Stage::Joining;
            if cx.target.dialect.client_speaks_first() {
                self.ask_to_join(cx)?;
            }
        }
        let skipped = self.skip_bytes.min(rest.len());
        self.skip_bytes -= skipped;
        rest = rest.get(skipped..).unwrap_or_default();
        while let Some(header) = ws::parse_header(rest)? {
            let body = rest.get(header.header_bytes..).unwrap_or_default();
            let length = header.payload_bytes as usize;
            let Some((payload, after)) = body.split_at_checked(length) else {
                if is_unwanted(header, body) {
                    self.skip_bytes = length - body.len();
                    rest = &[];
                }
                break;
            };
            rest = after;
            self.frame(header, payload, now_ns, cx)?;
            if self.stage == Stage::Closed {
                return Ok(&[]);
            }
        }
        Ok(rest)
    }

    fn frame(
        &mut self,
        header: Header,
        payload: &[u8],
        now_ns: u64,
        cx: &mut Context<'_>,
    ) -> Result<(), String> {
        if header.mask.is_some() {
            return Err("the server masked a frame".into());
        }
        match (header.opcode, header.fin) {
            (Opcode::Text, true) => self.event(payload, now_ns, cx)?,
            (Opcode::Text, false) => self.fragments = payload.to_vec(),
            (Opcode::Continuation, fin) => {
                self.fragments.extend_from_slice(payload);
                if self.fragments.len() > FRAME_BYTES_MAX {
                    return Err("a fragmented message is too long".into());
                }
                if fin {
                    let whole = std::mem::take(&mut self.fragments);
                    self.event(&whole, now_ns, cx)?;
                }
            }
            (Opcode::Ping, _) => self.send(Opcode::Pong, payload, cx)?,
            (Opcode::Pong, _) => {}
            (Opcode::Binary, _) => return Err("the server sent a binary frame".into()),
            (Opcode::Close, _) => {
                return Err(match ws::close_code(payload) {
                    Some(code) => format!("the server closed with {code}"),
                    None => "the server closed".into(),
                });
            }
        }
        Ok(())
    }

    fn event(&mut self, payload: &[u8], now_ns: u64, cx: &mut Context<'_>) -> Result<(), String> {
        let kind = cx.target.dialect.kind(payload);
        if let Some(reply) = cx.target.dialect.reply_to(kind) {
            return self.send(Opcode::Text, reply, cx);
        }
        if kind == Some(Kind::Connected) {
            return self.ask_to_join(cx);
        }
        cx.inbox.event(self.member, kind, payload, now_ns);
        if kind == Some(Kind::JoinedRoom) && self.stage == Stage::Joining {
            self.stage = Stage::Joined;
            cx.inbox.join_time.record(now_ns.saturating_sub(self.opened_ns));
        }
        Ok(())
    }

    fn ask_to_join(&mut self, cx: &mut Context<'_>) -> Result<(), String> {
        let event = std::mem::take(&mut self.join_event);
        self.send(Opcode::Text, &event, cx)
    }

    pub(crate) fn send_text(&mut self, payload: &[u8], cx: &mut Context<'_>) {
        let result = self.send(Opcode::Text, payload, cx);
        self.settle(result, cx);
    }

    fn send(&mut self, opcode: Opcode, payload: &[u8], cx: &mut Context<'_>) -> Result<(), String> {
        let mut frame = std::mem::take(&mut cx.masks.frame);
        frame.clear();
        ws::encode(&mut frame, opcode, payload, Some(cx.masks.next()));
        let result = self.write(&frame);
        cx.masks.frame = frame;
        result
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        if self.stage == Stage::Closed {
            return Ok(());
        }
        let written = if self.outgoing.is_empty() { write_some(&mut self.socket, bytes)? } else { 0 };
        self.outgoing.extend_from_slice(bytes.get(written..).unwrap_or_default());
        if self.outgoing.len() > OUTGOING_BYTES_MAX {
            return Err("the server does not read: 4 MiB are waiting to be sent".into());
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), String> {
        if self.outgoing.is_empty() {
            return Ok(());
        }
        let written = write_some(&mut self.socket, &self.outgoing)?;
        self.outgoing.drain(..written);
        Ok(())
    }

    fn settle(&mut self, result: Result<(), String>, cx: &mut Context<'_>) {
        if let Err(why) = result
            && self.stage != Stage::Closed
        {
            self.stage = Stage::Closed;
            let _ = self.socket.shutdown(std::net::Shutdown::Both); // it may be gone already
            cx.inbox.broken(self.member, &why);
        }
    }
}

/// A long presence or history frame is known by its beginning, and its rest need not be held.
fn is_unwanted(header: Header, body: &[u8]) -> bool {
    let prefix = body.get(..body.len().min(KIND_PREFIX_BYTES)).unwrap_or_default();
    header.opcode == Opcode::Text
        && header.fin
        && header.mask.is_none()
        && Kind::of_prefix(prefix) == Some(Kind::Other)
}

/// Writes until the socket is full or all is out; returns how much.
fn write_some(socket: &mut TcpStream, bytes: &[u8]) -> Result<usize, String> {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match socket.write(rest) {
            Ok(0) => return Err("write: nothing was taken".into()),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(format!("write: {error}")),
        }
    }
    Ok(written)
}

/// Masking keys, and the one buffer in which every outgoing frame is built.
pub(crate) struct Masks {
    state: u64,
    frame: Vec<u8>,
}

impl Masks {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed | 1, frame: Vec::new() }
    }

    /// xorshift64: the keys guard against confused proxies (RFC 6455, 10.3), of which there are none on loopback.
    fn next(&mut self) -> [u8; 4] {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let [a, b, c, d, ..] = self.state.to_le_bytes();
        [a, b, c, d]
    }
}
