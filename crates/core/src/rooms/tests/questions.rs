//! Questions that are asked twice, and those that nobody came to ask.

use super::answers::{answers_said, hears_itself};
use super::*;
use crate::limits::{QUESTIONS_WAITING_MAX, UNANSWERED_MS};

const STREAM: &str = r#"{"type":"ai-stream","message":"why?","userId":"ann"}"#;

/// A request with a name of its own.
fn named(json: &str, id: &str) -> String {
    json.replacen('{', &format!(r#"{{"id":"{id}","#), 1)
}

#[test]
fn a_second_click_hears_the_first_ones_answer_once() {
    let mut world = World::new();
    world.frame(1, STREAM);
    let (run, _) = world.asked().unwrap();
    world.says(run, "Be");
    world.frame(1, STREAM);
    world.pass(CHUNK_EVERY_MS);
    world.says(run, "cause.");
    world.finishes(run);
    assert_eq!(
        world.seen(),
        "to 1: ai-stream-chunk Be index=0\nto 1: ai-stream-chunk cause. index=1\n\
         to 1: ai-stream-complete Because. stop"
    );
    // Once the answer is there, the same words are a new question.
    world.frame(1, STREAM);
    assert!(world.asked().is_some());
}

#[test]
fn who_repeats_a_question_on_another_connection_hears_its_answer_from_the_beginning() {
    let mut world = World::new();
    world.frame(1, &named(STREAM, "a"));
    let (run, _) = world.asked().unwrap();
    world.says(run, "Be");
    world.pass(CHUNK_EVERY_MS);
    world.seen();
    world.frame(1, &named(STREAM, "b"));
    world.frame(2, STREAM);
    world.frame(3, &STREAM.replace("ai-stream", "ai-chat"));
    assert_eq!(world.seen(), "to 1: ai-stream-chunk Be index=0\nto 2: ai-stream-chunk Be index=0");
    assert!(world.room.owes(ConnId(2)) && world.room.owes(ConnId(3)));
    world.finishes(run);
    let ends: Vec<(u64, Option<String>)> = world
        .out
        .drain(..)
        .filter_map(|output| match output {
            Output::Reply { to, reply_to, event: Event::AiStreamComplete(_) | Event::AiResponse(_) } => {
                Some((to.0, reply_to.map(String::from)))
            }
            _ => None,
        })
        .collect();
    assert_eq!(ends, [(1, Some("a".into())), (1, Some("b".into())), (2, None), (3, None)]);
    assert!(world.asked().is_none());
}

#[test]
fn only_the_very_same_question_is_the_same() {
    for other in [
        STREAM.replace("why?", "why"),
        STREAM.replace("ann", "bob"),
        STREAM.replace('}', r#","model":"gemini-2.5-flash"}"#),
        STREAM.replace('}', r#","systemPrompt":"be brief"}"#),
        STREAM.replace('}', r#","roomId":"lobby"}"#),
    ] {
        let mut world = World::new();
        world.frame(1, STREAM);
        let (run, _) = world.asked().unwrap();
        world.frame(2, &other);
        world.finishes(run);
        assert!(world.asked().is_some(), "{other}");
    }
}

#[test]
fn a_question_that_waits_is_joined_too_and_takes_no_place_of_another() {
    let mut world = World::new();
    let ask = |n: usize| STREAM.replace("why?", &format!("why {n}?"));
    for n in 0..=QUESTIONS_WAITING_MAX {
        world.frame(n as u64, &ask(n));
    }
    world.seen();
    world.frame(90, &ask(3));
    world.frame(91, &ask(77));
    let seen = world.seen();
    assert!(
        seen.starts_with("to 91: error") && seen.ends_with("rate_limited") && !seen.contains("to 90"),
        "{seen}"
    );
    world.reopen();
    world.input(RoomInput::Awoken { told: Vec::new() });
    let ended = world.seen();
    assert!(ended.contains("to 90: ai-stream-complete  interrupted"), "{ended}");
    assert_eq!(ended.matches("interrupted").count(), QUESTIONS_WAITING_MAX + 2);
}

#[test]
fn a_repeat_counts_against_the_limit_and_gives_its_reservation_back() {
    let mut world = World::new();
    world.policy.ai_per_user = Quota::per_minute(2);
    world.frame(1, STREAM);
    world.frame(2, STREAM);
    world.seen();
    world.frame(3, STREAM);
    assert!(world.seen().contains("rate_limited"));
    let Ok(Request { command: Command::Ask(_, ask), .. }) = Request::parse(STREAM, None) else { panic!() };
    world.policy.ai_per_user = Quota::per_minute(20);
    world.now = world.now.plus(60_000);
    let allowance = Allowance::Reserved(Reservation(9));
    let briefing = Briefing { allowance, account: DomainId::parse("shop"), ..Briefing::default() };
    let from = Caller {
        conn: ConnId(4),
        socket: SocketId::from_entropy(4),
        reply_to: None,
        identity: Identity::Open,
    };
    world.input(RoomInput::Ask { from, ask, briefing: Box::new(briefing) });
    let spent = world.out.iter().find_map(|output| match output {
        Output::Spend(spent) => Some((spent.outcome, spent.reservation)),
        _ => None,
    });
    assert_eq!(spent, Some((Outcome::Unasked, Some(Reservation(9)))));
}

/// A shop's room with a customer in it, of whom the AI is asked by itself.
fn shop() -> World {
    let mut world = World::new();
    world.frame(2, r#"{"type":"join-room","userId":"bob","role":"customer","domainId":"shop"}"#);
    world
}

fn speak(world: &mut World, text: &str) {
    let json = r#"{"type":"send-message","userId":"bob","role":"customer","message":"?"}"#;
    world.frame(2, &json.replace('?', text));
}

/// The memory goes, and with it whatever was on its way.
fn dies(world: &mut World) {
    world.out.clear();
    world.reopen();
    world.input(RoomInput::Awoken { told: Vec::new() });
}

/// What is to be asked, as the host hears it.
fn to_be_asked(world: &World) -> Vec<(String, u64)> {
    let said = |output: &Output| match output {
        Output::Said { message, .. } => Some((message.message.to_string(), message.seq.0)),
        _ => None,
    };
    world.out.iter().filter_map(said).collect()
}

#[test]
fn what_nobody_came_to_ask_is_asked_when_the_room_wakes_and_once() {
    let mut world = shop();
    speak(&mut world, "when?");
    dies(&mut world);
    assert_eq!(to_be_asked(&world), [("when?".into(), 1)]);
    // Again, as long as it has not been.
    speak(&mut world, "and where?");
    dies(&mut world);
    assert_eq!(to_be_asked(&world), [("when?\nand where?".into(), 2)]);
    // The room wakes while the question is on its way, so it comes twice.
    let Some(Output::Said { domain, message }) =
        world.out.iter().find(|output| matches!(output, Output::Said { .. }))
    else {
        panic!("nothing is asked")
    };
    let (domain, message) = (domain.clone(), message.clone());
    for _ in 0..2 {
        let (from, ask) = (Caller::unasked(&message), Ask::unasked(domain.clone(), &message));
        world.input(RoomInput::Ask { from, ask, briefing: Box::default() });
    }
    assert!(world.asked().is_some() && world.asked().is_none());
    // Cut off before its first word, it has been answered: as interrupted.
    dies(&mut world);
    assert_eq!(to_be_asked(&world), []);
    hears_itself(&mut world);
    assert!(world.seen().contains("ai-stream-complete  interrupted"));
    dies(&mut world);
    assert_eq!(to_be_asked(&world), []);
}

#[test]
fn what_is_answered_old_or_peoples_is_not_asked_when_the_room_wakes() {
    let mut world = shop();
    speak(&mut world, "when?");
    world.now = world.now.plus(UNANSWERED_MS + 1);
    dies(&mut world);
    assert_eq!(to_be_asked(&world), [], "too old");

    let agent = r#"{"type":"send-message","userId":"ann","role":"agent","message":"at nine"}"#;
    speak(&mut world, "and where?");
    world.frame(1, agent);
    dies(&mut world);
    assert_eq!(to_be_asked(&world), [], "answered by somebody of the team");

    world.frame(1, r#"{"type":"join-room","userId":"ann","role":"agent"}"#);
    world.frame(1, r#"{"type":"toggle-live-agent","enabled":true}"#);
    speak(&mut world, "anyone?");
    dies(&mut world);
    assert_eq!(to_be_asked(&world), [], "people are in charge");
    world.frame(1, r#"{"type":"toggle-live-agent","enabled":false}"#);
    dies(&mut world);
    assert_eq!(to_be_asked(&world), [], "it was said to people");
    speak(&mut world, "and you?");
    dies(&mut world);
    assert_eq!(to_be_asked(&world), [("and you?".into(), 7)]);
}

#[test]
fn a_customer_who_was_told_that_no_answer_comes_is_not_answered_later() {
    let mut world = shop();
    world.policy.ai_per_user = Quota::per_minute(1);
    for text in ["one", "two"] {
        speak(&mut world, text);
        answers_said(&mut world);
    }
    assert!(world.seen().contains("rate_limited"));
    dies(&mut world);
    assert_eq!(to_be_asked(&world), []);
}

#[test]
fn a_customer_who_clicks_twice_or_whose_page_tries_again_is_answered_once() {
    let mut world = shop();
    let send =
        r#"{"type":"send-message","userId":"bob","role":"customer","message":"when?","clientMessageId":"c"}"#;
    for json in [send, send, &send.replace(r#""c""#, r#""d""#)] {
        world.frame(2, json);
    }
    assert_eq!(answers_said(&mut world), 2, "two messages are stored");
    let (run, _) = world.asked().unwrap();
    world.finishes(run);
    assert!(world.asked().is_none(), "and one question");
    dies(&mut world);
    assert_eq!(to_be_asked(&world), []);
    world.frame(2, send);
    assert_eq!(answers_said(&mut world), 0, "a retry after the answer is no question");
    speak(&mut world, "when?");
    answers_said(&mut world);
    assert!(world.asked().is_some(), "the same words after the answer are one");
}

#[test]
fn who_ends_an_answer_is_told_once_by_the_name_that_it_gave_if_any() {
    for (cancel, told) in [
        (r#"{"type":"ai-cancel","conversationId":"room"}"#, vec![(1, None)]),
        (r#"{"type":"ai-cancel","conversationId":"room","id":"x"}"#, vec![(1, None), (1, Some("x"))]),
    ] {
        let mut world = World::new();
        world.frame(1, STREAM);
        world.frame(1, cancel);
        assert_eq!(ends(&mut world), told, "the asker with {cancel}");
    }
    let mut world = shop();
    speak(&mut world, "when?");
    answers_said(&mut world);
    world.frame(2, r#"{"type":"ai-cancel","conversationId":"room"}"#);
    assert_eq!(ends(&mut world), [], "a member hears it with the room");
    hears_itself(&mut world);
    assert_eq!(world.seen().matches("ai-stream-complete").count(), 1);
    speak(&mut world, "when?");
    answers_said(&mut world);
    world.frame(9, r#"{"type":"ai-cancel","conversationId":"room"}"#);
    assert_eq!(ends(&mut world), [(9, None)], "somebody else has no other way to hear of it");
}

fn ends(world: &mut World) -> Vec<(u64, Option<&'static str>)> {
    let replies = world
        .out
        .extract_if(.., |output| matches!(output, Output::Reply { event: Event::AiStreamComplete(_), .. }));
    let name = |reply_to: Option<Box<str>>| reply_to.map(|id| if &*id == "x" { "x" } else { "another" });
    let ends = replies.filter_map(|output| match output {
        Output::Reply { to, reply_to, .. } => Some((to.0, name(reply_to))),
        _ => None,
    });
    ends.collect()
}

#[test]
fn what_people_said_is_remembered_once_though_it_is_told_twice() {
    let mut world = World::new();
    let recount = |text: &str| {
        RoomInput::Post(Post {
            conversation: RoomId::parse("lobby").unwrap(),
            run: RunId(1),
            purpose: Purpose::Recount,
            id: ClientMessageId::of_run("answer", RunId(1)),
            user: UserId::ai(),
            user_name: "".into(),
            role: "assistant".into(),
            text: text.into(),
            socket: SocketId::from_entropy(1),
            sources: None,
        })
    };
    for text in ["one", "one", "two"] {
        world.input(recount(text));
    }
    world.frame(1, STREAM);
    let (_, request) = world.asked().unwrap();
    let turns: Vec<&str> = request.turns.iter().map(|turn| turn.text.as_str()).collect();
    assert_eq!(turns, ["one", "two", "why?"]);
}
