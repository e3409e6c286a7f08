//! The checker checked: a small server in this process, with one planted fault at a time, measured over real sockets
//! like any other. A checker that has never seen a fault proves nothing by seeing none.

mod relay;

use std::collections::HashMap;
use std::fmt::Debug;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::dialect::Dialect;
use crate::ledger::Errors;
use crate::scenario::{Load, Scenario};
use crate::swarm::Target;
use crate::traffic::{Senders, Talk, TalkPace};
use crate::wire::Fields;
use crate::ws::{self, Opcode};
use weeziq_rig::{Failure, Result};

/// What is done to one message at one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Nothing,
    Drop,
    Duplicate,
    Swap,
    Misroute,
    Mislabel,
    SkipAck,
}

/// One line for each fault, and whether each was seen as what it is, and nothing else with it.
pub(crate) fn run() -> Result<(String, bool)> {
    let none = Errors::default();
    let expected = [
        (Fault::Nothing, none),
        (Fault::Drop, Errors { lost: 1, ..none }),
        (Fault::Duplicate, Errors { duplicate: 1, ..none }),
        (Fault::Swap, Errors { reordered: 1, ..none }),
        (Fault::Misroute, Errors { misrouted: 1, ..none }),
        (Fault::Mislabel, Errors { misrouted: 1, ..none }),
        (Fault::SkipAck, Errors { unacked: 1, ..none }),
    ];
    let (rooms, rooms_passed) = check(&expected, measure, "deliveries")?;
    let (answers, answers_passed) = check(&relay::expected(), relay::measure, "tokens")?;
    Ok((format!("{rooms}\n{answers}"), rooms_passed && answers_passed))
}

fn check<F: Copy + Debug + Send + Sync>(
    expected: &[(F, Errors)],
    measure: impl Fn(F) -> Result<(Errors, u64)> + Copy + Send,
    what: &str,
) -> Result<(String, bool)> {
    let mut lines = Vec::new();
    let mut passed = true;
    // At once, each with a server of its own: what is lost is so only after seconds of silence.
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let runs: Vec<_> = expected.iter().map(|(fault, _)| scope.spawn(move || measure(*fault))).collect();
        runs.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
    });
    for ((fault, expected), outcome) in expected.iter().zip(outcomes) {
        let broke = |_| Err(Failure::Machine(format!("the run with {fault:?} panicked")));
        let (errors, count) = outcome.unwrap_or_else(broke)?;
        let right = errors == *expected && count > 0;
        passed &= right;
        let verdict = if right { "ok" } else { "WRONG" };
        lines.push(format!("{verdict}: planted {fault:?}, saw {errors} in {count} {what}"));
    }
    Ok((lines.join("\n"), passed))
}

fn measure(fault: Fault) -> Result<(Errors, u64)> {
    let scenario = Scenario {
        name: "self-test".into(),
        rooms: 2,
        members: 3,
        join_at_once: 2,
        load: Load::Talk(Talk {
            pace: TalkPace::Open { rate_per_sec: 200 },
            senders: Senders::All,
            warmup: Duration::ZERO,
            time: Duration::from_millis(500),
        }),
    };
    let hall = Hall::open(fault)?;
    let outcome =
        scenario.run(&Target { port: hall.port, path: "/ws".into(), dialect: Dialect::Plain }, None, None)?;
    Ok((outcome.errors, outcome.traffic.map_or(0, |traffic| traffic.deliveries)))
}

/// The server. A thread for each connection, blocking calls, one lock: right rather than fast.
struct Hall {
    port: u16,
    closed: Arc<Mutex<bool>>,
}

#[derive(Default)]
struct Rooms {
    by_name: HashMap<Vec<u8>, Room>,
    planted: bool,
}

#[derive(Default)]
struct Room {
    seq: u64,
    members: Vec<TcpStream>,
    /// A message that the member at `FAULT_MEMBER` gets after the next one.
    held: Option<Vec<u8>>,
}

/// Late enough that all are used to each other, early enough that others follow.
const FAULT_SEQ: u64 = 5;
const FAULT_MEMBER: usize = 1;

impl Hall {
    fn open(fault: Fault) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let closed = Arc::new(Mutex::new(false));
        let rooms = Arc::new(Mutex::new(Rooms::default()));
        let stop = Arc::clone(&closed);
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                if *stop.lock().unwrap_or_else(PoisonError::into_inner) {
                    return;
                }
                let rooms = Arc::clone(&rooms);
                std::thread::spawn(move || serve(socket, &rooms, fault));
            }
        });
        Ok(Self { port, closed })
    }
}

impl Drop for Hall {
    fn drop(&mut self) {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner) = true;
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)); // wakes the listener, which then ends
    }
}

/// Until the client goes; a client that breaks the protocol is cut.
fn serve(mut socket: TcpStream, rooms: &Mutex<Rooms>, fault: Fault) {
    let _ = converse(&mut socket, rooms, fault);
    let _ = socket.shutdown(Shutdown::Both);
}

fn converse(socket: &mut TcpStream, rooms: &Mutex<Rooms>, fault: Fault) -> Result<()> {
    let mut received = shake_hands(socket)?;
    loop {
        while let Some(event) = next_event(&mut received)? {
            answer(socket, &event, &mut rooms.lock().unwrap_or_else(PoisonError::into_inner), fault)?;
        }
        read_more(socket, &mut received)?;
    }
}

/// Answers the upgrade; returns what was read past it.
fn shake_hands(socket: &mut TcpStream) -> Result<Vec<u8>> {
    socket.set_nodelay(true)?;
    let mut received = Vec::new();
    let end = loop {
        read_more(socket, &mut received)?;
        if let Some(end) = memchr::memmem::find(&received, b"\r\n\r\n") {
            break end + 4;
        }
    };
    received.drain(..end);
    let accept = ws::HANDSHAKE_ACCEPT;
    let upgrade = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    socket.write_all(format!("{upgrade}Sec-WebSocket-Accept: {accept}\r\n\r\n").as_bytes())?;
    Ok(received)
}

fn read_more(socket: &mut TcpStream, received: &mut Vec<u8>) -> Result<()> {
    let mut part = [0; 4096];
    match socket.read(&mut part)? {
        0 => Err(Failure::Server("the client is gone".into())),
        count => {
            received.extend_from_slice(part.get(..count).unwrap_or_default());
            Ok(())
        }
    }
}

fn next_event(received: &mut Vec<u8>) -> Result<Option<Vec<u8>>> {
    let Some(header) = ws::parse_header(received).map_err(|why| Failure::Server(why.into()))? else {
        return Ok(None);
    };
    let (start, end) = (header.header_bytes, header.header_bytes + header.payload_bytes as usize);
    let Some(key) = header.mask else {
        return Err(Failure::Server("the client did not mask".into()));
    };
    let Some(mut payload) = received.get(start..end).map(<[u8]>::to_vec) else {
        return Ok(None);
    };
    received.drain(..end);
    ws::apply_mask(&mut payload, key);
    Ok(Some(payload))
}

fn answer(socket: &mut TcpStream, event: &[u8], rooms: &mut Rooms, fault: Fault) -> Result<()> {
    let fields = Fields::new();
    let name = fields.room(event).unwrap_or_default().to_vec();
    let label = String::from_utf8_lossy(&name).into_owned();
    if event.starts_with(br#"{"type":"join-room""#) {
        rooms.by_name.entry(name).or_default().members.push(socket.try_clone()?);
        write(socket, &format!(r#"{{"type":"joined-room","roomId":"{label}","success":true}}"#))?;
        // Presence that the generator has to skip, its type in the middle and then in front, and long.
        write(
            socket,
            &format!(r#"{{"users":[{{"type":"new-message"}}],"type":"room-users","roomId":"{label}"}}"#),
        )?;
        return write(socket, &format!(r#"{{"type":"room-users","pad":"{}"}}"#, "x".repeat(300_000)));
    }
    let text = String::from_utf8_lossy(fields.message(event).unwrap_or_default()).into_owned();
    let Some(room) = rooms.by_name.get_mut(&name) else {
        return Ok(());
    };
    room.seq += 1;
    let seq = room.seq;
    let due = !rooms.planted && seq == FAULT_SEQ && fault != Fault::Nothing;
    let said = if due && fault == Fault::Mislabel { "elsewhere" } else { &label };
    let message = format!(r#"{{"type":"new-message","roomId":"{said}","seq":{seq},"message":"{text}"}}"#);
    for (index, member) in room.members.iter_mut().enumerate() {
        if index != FAULT_MEMBER {
            write(member, &message)?;
            continue;
        }
        match fault {
            Fault::Drop if due => {}
            Fault::Swap if due => room.held = Some(message.clone().into_bytes()),
            Fault::Duplicate if due => {
                write(member, &message)?;
                write(member, &message)?;
            }
            _ => write(member, &message)?,
        }
        if !due && let Some(held) = room.held.take() {
            write(member, &String::from_utf8_lossy(&held))?;
        }
    }
    if !(due && fault == Fault::SkipAck) {
        write(
            socket,
            &format!(r#"{{"type":"message-sent","success":true,"roomId":"{label}","seq":{seq}}}"#),
        )?;
    }
    rooms.planted |= due;
    if due && fault == Fault::Misroute {
        let elsewhere = rooms.by_name.iter_mut().find(|(other, _)| **other != name);
        if let Some(stranger) = elsewhere.and_then(|(_, room)| room.members.first_mut()) {
            write(stranger, &message)?;
        }
    }
    Ok(())
}

fn write(socket: &mut TcpStream, event: &str) -> Result<()> {
    let mut frame = Vec::new();
    ws::encode(&mut frame, Opcode::Text, event.as_bytes(), None);
    socket.write_all(&frame)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_planted_fault_is_seen_as_what_it_is() {
        let (text, passed) = super::run().unwrap();
        assert!(passed, "{text}");
    }
}
