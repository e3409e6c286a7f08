//! How long the parts of a path take. Times are this machine's: compare them within one run; what gates is the count
//! of instructions (`src/main.rs`).

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot be set up has nothing to say")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Bencher, Criterion, Throughput, criterion_group, criterion_main};
use weeziq_core::ai::model::ModelEvent;
use weeziq_core::ai::{gemini, openai};
use weeziq_core::ids::{ClientMessageId, RoomId, Seq, SocketId, UserId};
use weeziq_core::protocol::event::{Event, RoomUser};
use weeziq_core::rooms::message::Message;
use weeziq_core::time::UnixMs;
use weeziq_micro::{Client, Operation, encode, stream, wire};

const NOW: UnixMs = UnixMs(1_780_000_000_000);

/// A masked frame, into the command that it asks for.
fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    let message = wire::send_message(1);
    for (name, json) in [
        ("send-message", message.as_str()),
        ("ping", wire::PING),
        ("typing", wire::TYPING),
        ("ai-chat", wire::AI_CHAT),
    ] {
        let frame = wire::masked(json, 0x37fa_213d);
        group.throughput(Throughput::Bytes(frame.len() as u64));
        group.bench_function(name, |bencher| {
            let fresh = || (Client::new(1), frame.clone());
            let receive = |(client, frame): &mut (Client, Vec<u8>)| client.receive(NOW, frame).unwrap();
            bencher.iter_batched_ref(fresh, receive, BatchSize::SmallInput);
        });
    }
}

/// The whole path with a store on disk: frame in, turn, commit, frames out.
fn paths(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("path");
    for operation in Operation::ALL {
        group.throughput(Throughput::Elements(operation.units().into()));
        group.bench_function(operation.name(), |bencher| perform(bencher, operation));
    }
}

fn perform(bencher: &mut Bencher<'_>, operation: Operation) {
    let mut work = operation.set_up().unwrap();
    bencher.iter_custom(|rounds| {
        let mut total = Duration::ZERO;
        for _ in 0..rounds {
            work.prepare().unwrap();
            let begun = std::time::Instant::now();
            work.perform().unwrap();
            total += begun.elapsed();
        }
        work.check().unwrap();
        total
    });
}

/// An event, into the bytes of its frame.
fn frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    for (name, event) in [
        ("new-message", message()),
        ("message-sent", sent()),
        ("user-joined", joined()),
        ("room-users", users()),
    ] {
        let (mut json, mut framed) = (Vec::new(), Vec::new());
        encode(&event, None, &mut json, &mut framed);
        group.throughput(Throughput::Bytes(framed.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                framed.clear();
                encode(black_box(&event), None, &mut json, &mut framed);
                framed.len()
            });
        });
    }
}

/// A provider's answer of 64 tokens, in one piece and as a network may cut it.
fn streams(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sse");
    group.throughput(Throughput::Elements(64));
    let (openai, gemini) = (stream::openai(64), stream::gemini(64));
    let decode_openai = |pieces: &[&[u8]]| {
        let (mut decoder, mut out) = (openai::Decoder::default(), Vec::new());
        pieces.iter().for_each(|piece| decoder.push(piece, &mut out));
        decoder.end(&mut out);
        ended(out)
    };
    let decode_gemini = |pieces: &[&[u8]]| {
        let (mut decoder, mut out) = (gemini::Decoder::default(), Vec::new());
        pieces.iter().for_each(|piece| decoder.push(piece, &mut out));
        decoder.end(&mut out);
        ended(out)
    };
    group.bench_function("openai/whole", |bencher| bencher.iter(|| decode_openai(&[openai.as_bytes()])));
    let pieces: Vec<&[u8]> = stream::odd_pieces(openai.as_bytes()).collect();
    group.bench_function("openai/odd", |bencher| bencher.iter(|| decode_openai(&pieces)));
    group.bench_function("gemini/whole", |bencher| bencher.iter(|| decode_gemini(&[gemini.as_bytes()])));
    let pieces: Vec<&[u8]> = stream::odd_pieces(gemini.as_bytes()).collect();
    group.bench_function("gemini/odd", |bencher| bencher.iter(|| decode_gemini(&pieces)));
}

fn ended(events: Vec<ModelEvent>) -> Vec<ModelEvent> {
    assert!(matches!(events.last(), Some(ModelEvent::Finished(_))), "{:?}", events.last());
    events
}

fn message() -> Event {
    Event::NewMessage(Arc::new(Message {
        id: "cAyxwKfzCEpFj-4711".into(),
        room_id: room(),
        seq: Seq(4_711),
        message: "Hello, my order has not arrived yet. Could you have a look at it, please?".into(),
        user_id: user(1),
        user_name: "Grace Hopper".into(),
        role: "customer".into(),
        socket_id: socket().as_str().into(),
        client_message_id: ClientMessageId::parse("c0ffee00-0000-4000-8000-000000004711"),
        attachments: None,
        sources: None,
        timestamp: NOW,
    }))
}

fn sent() -> Event {
    Event::MessageSent {
        success: true,
        id: "cAyxwKfzCEpFj-4711".into(),
        room_id: room(),
        seq: Seq(4_711),
        client_message_id: ClientMessageId::parse("c0ffee00-0000-4000-8000-000000004711"),
        duplicate: false,
        timestamp: NOW,
    }
}

fn joined() -> Event {
    Event::UserJoined {
        room_id: room(),
        user_id: user(1),
        user_name: "Grace Hopper".into(),
        role: "customer".into(),
        socket_id: socket(),
        timestamp: NOW,
    }
}

/// As many as are listed at most.
fn users() -> Event {
    let listed = |number| RoomUser {
        user_id: user(number),
        user_name: "Grace Hopper".into(),
        role: "customer".into(),
        status: "online".into(),
    };
    let count = weeziq_core::limits::ROOM_USERS_LISTED_MAX;
    Event::RoomUsers { room_id: room(), users: (0..count).map(listed).collect(), count }
}

fn room() -> RoomId {
    RoomId::parse("conversation-4711").unwrap()
}

fn user(number: usize) -> UserId {
    UserId::parse(&format!("visitor-{number}")).unwrap()
}

fn socket() -> SocketId {
    SocketId::from_entropy(0x1234_5678_9abc_def0_1234_5678_9abc_def0)
}

criterion_group!(benches, parse, paths, frames, streams);
criterion_main!(benches);
