//! Clients that mean harm, on a thread of their own: what they do must cost their own connection only. The generator
//! measures the others meanwhile.
//!
//! Whoever is cut comes back, so that the pressure stays.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::swarm::Target;
use crate::ws::{self, Opcode};
use weeziq_rig::{Failure, Result};

/// What one of them does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Right frames, a byte at a time.
    Dribble,
    /// Talks to itself in a room of its own, 640 kB/s, and reads nothing of it.
    Deaf,
    /// 10,000 tiny frames a second.
    Flood,
    /// A message in fragments of 60 KiB that does not end.
    Fragments,
    /// Announces a frame of a terabyte and goes on sending.
    Giant,
}

const KINDS: [Kind; 5] = [Kind::Dribble, Kind::Deaf, Kind::Flood, Kind::Fragments, Kind::Giant];

/// What all of one kind did, and how often they were cut for it.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    pub(crate) kind: Kind,
    pub(crate) clients: u32,
    pub(crate) bytes: u64,
    pub(crate) cuts: u64,
}

/// The clients at work; they end with it.
pub(crate) struct Siege {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<Tally>>>,
}

impl Siege {
    /// So many clients of each kind.
    pub(crate) fn lay(target: &Target, of_each: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (target, ended) = (target.clone(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || besiege(&target, of_each, &ended));
        Self { stop, thread: Some(thread) }
    }

    pub(crate) fn lift(mut self) -> Result<Vec<Tally>> {
        self.stop.store(true, Ordering::Relaxed);
        let tallies = self.thread.take().and_then(|thread| thread.join().ok());
        tallies.ok_or_else(|| Failure::Machine("the hostile clients' thread panicked".into()))
    }
}

impl Drop for Siege {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn besiege(target: &Target, of_each: u32, stop: &AtomicBool) -> Vec<Tally> {
    let mut clients: Vec<Client> = (0..of_each)
        .flat_map(|number| {
            KINDS.map(|kind| Client {
                kind,
                number,
                line: None,
                bytes: 0,
                cuts: 0,
                idle_until: Instant::now(),
            })
        })
        .collect();
    let start = Instant::now();
    let mut ticks = 0u64;
    while !stop.load(Ordering::Relaxed) {
        ticks += 1;
        for client in &mut clients {
            client.act(target, ticks);
        }
        let due = start + TICK * u32::try_from(ticks).unwrap_or(u32::MAX);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    KINDS.map(|kind| tally(kind, &clients)).to_vec()
}

fn tally(kind: Kind, clients: &[Client]) -> Tally {
    let of_kind = || clients.iter().filter(|client| client.kind == kind);
    Tally {
        kind,
        clients: of_kind().count() as u32,
        bytes: of_kind().map(|client| client.bytes).sum(),
        cuts: of_kind().map(|client| client.cuts).sum(),
    }
}

const TICK: Duration = Duration::from_millis(1);
/// Before one that was cut comes back.
const PAUSE: Duration = Duration::from_millis(100);
const HANDSHAKE_MAX: Duration = Duration::from_secs(1);
const RECEIVE_BUFFER_BYTES: usize = 4 * 1024;
const FRAGMENT_BYTES: usize = 60 * 1024;
const DEAF_MESSAGE_BYTES: usize = 16_000;
/// One message in so many ticks is 40 a second, below what a connection may send.
const DEAF_EVERY_TICKS: u64 = 25;
const FLOOD_FRAMES_A_TICK: usize = 10;
const MASK: [u8; 4] = [1, 2, 3, 4];

struct Client {
    kind: Kind,
    number: u32,
    line: Option<Line>,
    bytes: u64,
    cuts: u64,
    idle_until: Instant,
}

struct Line {
    socket: TcpStream,
    /// What the socket did not take.
    unsent: Vec<u8>,
    begun: bool,
}

impl Client {
    fn act(&mut self, target: &Target, ticks: u64) {
        if self.line.is_none() && Instant::now() >= self.idle_until {
            self.line = Line::open(target, self.kind).ok();
            self.idle_until = Instant::now() + PAUSE;
        }
        let Some(line) = &mut self.line else { return };
        if line.unsent.is_empty() {
            line.unsent = self.kind.next(self.number, line.begun, ticks);
            line.begun |= !line.unsent.is_empty();
        }
        let at_once = if self.kind == Kind::Dribble { 1 } else { usize::MAX };
        let alive = line.push(at_once).map(|written| self.bytes += written as u64).is_ok()
            && (self.kind == Kind::Deaf || line.discard().is_ok());
        if !alive {
            self.line = None;
            self.cuts += 1;
            self.idle_until = Instant::now() + PAUSE;
        }
    }
}

impl Kind {
    /// What is to be sent next; `begun` tells that something was sent on this connection before.
    fn next(self, number: u32, begun: bool, ticks: u64) -> Vec<u8> {
        let room = format!("bench-hostile-{self:?}-{number}");
        let mut out = Vec::new();
        match self {
            Self::Dribble => text(&mut out, &message(&room, "a byte at a time")),
            Self::Deaf if !begun => text(&mut out, &join(&room)),
            Self::Deaf if ticks.is_multiple_of(DEAF_EVERY_TICKS) => {
                text(&mut out, &message(&room, &"x".repeat(DEAF_MESSAGE_BYTES)));
            }
            Self::Deaf => {}
            Self::Flood => {
                for _ in 0..FLOOD_FRAMES_A_TICK {
                    text(&mut out, r#"{"type":"ping"}"#);
                }
            }
            Self::Fragments => {
                let opcode = if begun { Opcode::Continuation } else { Opcode::Text };
                ws::encode(&mut out, opcode, &[b' '; FRAGMENT_BYTES], Some(MASK));
                if let Some(first) = out.first_mut() {
                    *first &= 0x7f; // another follows
                }
            }
            Self::Giant if !begun => {
                out.extend_from_slice(&[0x81, 0xff, 0, 0, 1, 0, 0, 0, 0, 0]);
                out.extend_from_slice(&MASK);
            }
            Self::Giant => out.resize(FRAGMENT_BYTES, b' '),
        }
        out
    }
}

fn text(out: &mut Vec<u8>, event: &str) {
    ws::encode(out, Opcode::Text, event.as_bytes(), Some(MASK));
}

fn join(room: &str) -> String {
    format!(r#"{{"type":"join-room","roomId":"{room}","userId":"h","userName":"Hostile"}}"#)
}

fn message(room: &str, text: &str) -> String {
    format!(
        r#"{{"type":"send-message","roomId":"{room}","message":"{text}","userId":"h","userName":"Hostile"}}"#
    )
}

impl Line {
    fn open(target: &Target, kind: Kind) -> io::Result<Self> {
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, target.port));
        let mut socket = TcpStream::connect_timeout(&to, HANDSHAKE_MAX)?;
        socket.set_read_timeout(Some(HANDSHAKE_MAX))?;
        socket.set_nodelay(true)?;
        if kind == Kind::Deaf {
            // Else the kernel would read megabytes for it.
            rustix::net::sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER_BYTES)?;
        }
        socket.write_all(&ws::handshake_request(&target.path, target.port))?;
        let mut answer = [0; 1024];
        let _ = socket.read(&mut answer)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, unsent: Vec::new(), begun: false })
    }

    fn push(&mut self, at_most: usize) -> io::Result<usize> {
        let part = self.unsent.get(..self.unsent.len().min(at_most)).unwrap_or_default();
        if part.is_empty() {
            return Ok(0);
        }
        match self.socket.write(part) {
            Ok(written) => {
                self.unsent.drain(..written);
                Ok(written)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Reads what there is; an error if the server has ended it.
    fn discard(&mut self) -> io::Result<()> {
        let mut part = [0; 16 * 1024];
        match self.socket.read(&mut part) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_what_its_name_says() {
        let fragment = ws::parse_header(&Kind::Fragments.next(0, false, 1)).unwrap().unwrap();
        assert!(!fragment.fin && fragment.opcode == Opcode::Text);
        let next = ws::parse_header(&Kind::Fragments.next(0, true, 1)).unwrap().unwrap();
        assert!(!next.fin && next.opcode == Opcode::Continuation);
        assert!(ws::parse_header(&Kind::Giant.next(0, false, 1)).is_err(), "a terabyte passed");
        assert!(Kind::Deaf.next(0, true, 1).is_empty());
        let flood = Kind::Flood.next(0, true, 1);
        let first = ws::parse_header(&flood).unwrap().unwrap();
        assert_eq!(flood.len(), FLOOD_FRAMES_A_TICK * (first.header_bytes + first.payload_bytes as usize));
    }
}
