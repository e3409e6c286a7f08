//! What the AI says in a room and in its conversations, and when it is silent.

use super::*;

#[test]
fn an_answer_streams_is_remembered_and_ends_once() {
    let mut world = World::new();
    world.frame(1, r#"{"type":"ai-stream","message":"one?","systemPrompt":"Be kind."}"#);
    let (run, request) = world.asked().unwrap();
    assert_eq!((request.system.as_str(), request.turns.len()), ("Be kind.", 1));
    world.says(run, "Hel");
    world.says(run, "lo");
    world.pass(CHUNK_EVERY_MS);
    world.says(run, "!");
    world.finishes(run);
    world.finishes(run);
    world.says(run, "late");
    assert_eq!(
        world.seen(),
        "to 1: ai-stream-chunk Hel index=0\nto 1: ai-stream-chunk lo index=1\nto 1: ai-stream-chunk ! index=2\n\
         to 1: ai-stream-complete Hello! stop"
    );
    world.reopen();
    world.frame(1, r#"{"type":"ai-chat","message":"two?"}"#);
    let (_, request) = world.asked().unwrap();
    let turns: Vec<_> = request.turns.iter().map(|turn| (turn.speaker, turn.text.as_str())).collect();
    assert_eq!(turns, [(Speaker::User, "one?"), (Speaker::Assistant, "Hello!"), (Speaker::User, "two?")]);
}

#[test]
fn a_second_question_waits_for_the_first() {
    let mut world = World::new();
    world.frame(1, r#"{"type":"ai-chat","message":"one?"}"#);
    world.frame(2, r#"{"type":"ai-chat","message":"two?"}"#);
    let (first, _) = world.asked().unwrap();
    assert!(world.asked().is_none());
    world.says(first, "1");
    world.finishes(first);
    let (_, request) = world.asked().unwrap();
    assert_eq!(
        request.turns.iter().map(|turn| turn.text.as_str()).collect::<Vec<_>>(),
        ["one?", "1", "two?"]
    );
    assert_eq!(world.seen(), "to 1: ai-response 1 stop");
}

#[test]
fn failures_have_a_sentence_and_a_code() {
    for (event, expected) in [
        (ModelEvent::Failed(ModelFailure::Timeout), "ai_timeout"),
        (ModelEvent::Failed(ModelFailure::Rejected { status: 401 }), "ai_unavailable"),
        (ModelEvent::Failed(ModelFailure::ContentFiltered), "ai_content_filtered"),
    ] {
        let mut world = World::new();
        world.frame(1, r#"{"type":"ai-chat","message":"?"}"#);
        let (run, _) = world.asked().unwrap();
        world.input(RoomInput::Model { run, event });
        let seen = world.seen();
        assert!(seen.contains("I'm sorry") && seen.contains(expected), "{seen}");
    }
}

#[test]
fn an_answer_in_a_room_is_published_there() {
    let mut world = World::new();
    world.frame(1, r#"{"type":"ai-chat","message":"?","roomId":"lobby","userId":"ann"}"#);
    let (run, _) = world.asked().unwrap();
    world.says(run, "yes");
    world.finishes(run);
    assert_eq!(
        world.seen(),
        "relay to lobby\nrelay to lobby\nrelay to lobby\nrelay to lobby\nto 1: ai-response yes stop\nrelay to lobby\nrelay to lobby",
        "the question, that it thinks; that it does no more, a chunk; the end, the answer"
    );
}

#[test]
fn answers_that_an_eviction_cut_end_once() {
    let mut world = World::new();
    world.frame(1, r#"{"type":"ai-stream","id":"a","userId":"u1","message":"one"}"#);
    world.frame(1, r#"{"type":"ai-chat","id":"b","userId":"u1","message":"two"}"#);
    let (run, _) = world.asked().unwrap();
    world.says(run, "Hel");
    world.seen();

    world.reopen();
    world.input(RoomInput::Awoken { told: Vec::new() });
    let ends = world.seen();
    assert_eq!(ends.matches("interrupted").count(), 2, "{ends}");
    world.says(run, "lo");
    world.finishes(run);
    world.reopen();
    world.input(RoomInput::Awoken { told: Vec::new() });
    assert_eq!(world.seen(), "");
}

#[test]
fn what_is_cut_off_while_it_thinks_does_not_type_for_ever() {
    let mut world = World::new();
    world.frame(1, r#"{"type":"ai-chat","message":"when?","userId":"u1","roomId":"elsewhere"}"#);
    world.reopen();
    world.out.clear();
    world.input(RoomInput::Awoken { told: Vec::new() });
    let stops = |output: &Output| {
        matches!(output, Output::Relay { input, .. }
            if matches!(&**input, RoomInput::Overheard { event, .. } if event.ends_typing()))
    };
    assert_eq!(world.out.iter().filter(|output| stops(output)).count(), 1);
}

#[test]
fn an_eviction_forgets_no_question_of_the_quota() {
    let mut world = World::new();
    let ask = |world: &mut World| {
        world.frame(1, r#"{"type":"ai-chat","userId":"u1","message":"again"}"#);
        if let Some((run, _)) = world.asked() {
            world.finishes(run);
        }
        world.reopen();
        world.seen()
    };
    (0..20).for_each(|_| assert!(!ask(&mut world).contains("rate_limited")));
    assert!(ask(&mut world).contains("rate_limited"));
}

#[test]
fn no_ai_is_heard_after_people_took_over() {
    let mut world = World::new();
    world.frame(1, r#"{"type":"join-room","userId":"ann","role":"agent"}"#);
    world.frame(2, r#"{"type":"join-room","userId":"bob","role":"user"}"#);
    world.seen();
    let post = |run: u64, is_answer| {
        RoomInput::Post(Post {
            conversation: RoomId::parse("talk").unwrap(),
            run: RunId(run),
            purpose: if is_answer { Purpose::Answer } else { Purpose::Question },
            id: ClientMessageId::of_run(if is_answer { "answer" } else { "question" }, RunId(run)),
            user: UserId::ai(),
            user_name: "AI".into(),
            role: "assistant".into(),
            text: "words".into(),
            socket: SocketId::from_entropy(1),
            sources: None,
        })
    };
    let chunk = || RoomInput::Overheard { event: Event::Pong, except: None };
    world.input(post(7, false));
    world.input(chunk());
    assert_eq!(world.seen(), "all: new-message seq=1 assistant words\nall: pong");

    world.frame(2, r#"{"type":"toggle-live-agent","enabled":true}"#);
    assert!(world.seen().ends_with("forbidden"));
    world.frame(1, r#"{"type":"toggle-live-agent","enabled":true}"#);
    assert_eq!(world.seen(), "all: live-agent-toggled seq=2 ann\nrelay to talk");
    world.input(chunk());
    world.input(post(7, true));
    world.reopen();
    world.input(chunk());
    assert_eq!(world.seen(), "", "not a word, whatever was on its way");
    world.frame(1, r#"{"type":"toggle-live-agent","enabled":true}"#);
    assert_eq!(world.seen(), "to 1: live-agent-toggled seq=2 ann", "once is enough");
    world.input(post(8, false));
    assert_eq!(world.seen(), "relay to talk\nall: new-message seq=3 assistant words", "asked, and silenced");

    world.frame(1, r#"{"type":"toggle-live-agent","enabled":false}"#);
    world.input(chunk());
    let seen = world.seen();
    assert_eq!(
        seen, "all: live-agent-toggled seq=4 ann\nrelay to talk\nall: pong",
        "and what was said meanwhile"
    );
}

#[test]
fn a_silenced_run_ends_once_and_drops_its_model() {
    let mut world = World::new();
    world.frame(1, r#"{"type":"ai-stream","userId":"u1","message":"one","roomId":"shown"}"#);
    world.frame(1, r#"{"type":"ai-stream","userId":"u1","message":"two","roomId":"shown"}"#);
    let (run, _) = world.asked().unwrap();
    world.says(run, "Hel");
    world.seen();
    world.input(RoomInput::Silence { run });
    let (second, _) = world.asked().unwrap();
    let seen = world.seen();
    assert!(seen.starts_with("cancel\n") && seen.contains("Hel cancelled"), "{seen}");
    world.says(run, "lo");
    world.finishes(run);
    assert_eq!(world.seen(), "", "what a dropped model still says is nobody's");
    world.input(RoomInput::Silence { run: second });
    assert!(world.seen().contains("cancelled"));
    world.input(RoomInput::Silence { run: second });
    assert_eq!(world.seen(), "");
}

#[test]
fn a_message_that_is_handed_over_twice_is_one() {
    let mut world = World::new();
    world.join(1, "u1");
    world.seen();
    let post = || Post {
        conversation: RoomId::parse("talk").unwrap(),
        run: RunId(7),
        purpose: Purpose::Answer,
        id: ClientMessageId::of_run("answer", RunId(7)),
        user: UserId::ai(),
        user_name: "AI".into(),
        role: "assistant".into(),
        text: "Hello".into(),
        socket: SocketId::from_entropy(1),
        sources: None,
    };
    world.input(RoomInput::Post(Post {
        purpose: Purpose::Question,
        id: ClientMessageId::of_run("question", RunId(7)),
        ..post()
    }));
    world.seen();
    world.input(RoomInput::Post(post()));
    world.input(RoomInput::Post(post()));
    assert_eq!(world.seen().matches("new-message").count(), 1);
}

#[test]
fn an_answer_names_what_it_was_given_from_wherever_it_is_told() {
    let mut world = World::new();
    world.join(1, "u1");
    let json = r#"{"type":"ai-chat","id":"q","message":"when?","userId":"u1","roomId":"elsewhere"}"#;
    let Ok(Request { command: Command::Ask(_, ask), .. }) = Request::parse(json, None) else {
        panic!("{json} is refused")
    };
    let passage = Passage { name: "hours.md".into(), title: "Hours".into(), text: "x".repeat(1_000).into() };
    let briefing = Box::new(Briefing { passages: [passage].into(), ..Briefing::default() });
    let from = Caller {
        conn: ConnId(1),
        socket: SocketId::from_entropy(1),
        reply_to: None,
        identity: Identity::Open,
    };
    world.input(RoomInput::Ask { from, ask, briefing });
    let (run, request) = world.asked().unwrap();
    assert!(request.system.contains("hours.md"));
    world.hand_over();
    world.says(run, "At nine.");
    world.out.clear();
    world.finishes(run);
    let told = world.out.iter().find_map(|output| match output {
        Output::Reply { event: Event::AiResponse(response), .. } => Some(response.answer.sources.clone()),
        _ => None,
    });
    let [source] = &told.unwrap()[..] else { panic!("one source") };
    assert_eq!((&*source.name, source.text.chars().count()), ("hours.md", 281));
    // Where it is published it is stored with the message, and read with it again.
    world.hand_over();
    let live = world.out.drain(..).find_map(|output| match output {
        Output::Publish { event: Event::NewMessage(message), .. } => Some(message),
        _ => None,
    });
    let live = live.unwrap().sources.as_ref().unwrap().get().to_owned();
    assert!(live.starts_with(r#"[{"name":"hours.md","title":"Hours","text":"xxx"#), "{live}");
    world.frame(1, r#"{"type":"fetch-history"}"#);
    let history = world.out.drain(..).find_map(|output| match output {
        Output::Reply { event: Event::MessageHistory { messages, .. }, .. } => Some(messages),
        _ => None,
    });
    let read = history.unwrap().pop().unwrap();
    assert_eq!((read.sources.unwrap().get(), read.attachments.is_none()), (live.as_str(), true));
}

#[test]
fn every_answer_is_accounted_for_once() {
    let mut world = World::new();
    let ask = |world: &mut World, allowance| {
        let json = r#"{"type":"ai-chat","message":"when?","userId":"u1","domainId":"shop"}"#;
        let Ok(Request { command: Command::Ask(_, ask), .. }) = Request::parse(json, None) else {
            panic!("{json} is refused")
        };
        let account = DomainId::parse("shop");
        let briefing = Box::new(Briefing { allowance, account, ..Briefing::default() });
        let from = Caller {
            conn: ConnId(1),
            socket: SocketId::from_entropy(1),
            reply_to: None,
            identity: Identity::Open,
        };
        world.input(RoomInput::Ask { from, ask, briefing });
        world.asked()
    };
    let spent = |world: &mut World| -> Vec<Spent> {
        let spent = world.out.drain(..).filter_map(|output| match output {
            Output::Spend(spent) => Some(*spent),
            _ => None,
        });
        spent.collect()
    };
    let reserved = |row| Allowance::Reserved(Reservation(row));

    // What the provider does not count is estimated.
    let (run, _) = ask(&mut world, reserved(7)).unwrap();
    world.says(run, "At nine o'clock.");
    world.finishes(run);
    let [whole] = &spent(&mut world)[..] else { panic!("one account") };
    assert_eq!((whole.outcome, whole.reservation), (Outcome::Answered, Some(Reservation(7))));
    assert!(whole.usage.input_tokens > 10 && whole.usage.output_tokens > 2);
    assert_eq!(whole.domain.as_ref().map(DomainId::as_str), Some("shop"));

    let (run, _) = ask(&mut world, reserved(8)).unwrap();
    let usage = Usage { input_tokens: 100, output_tokens: 5 };
    world.input(RoomInput::Model { run, event: ModelEvent::Usage(usage) });
    world.input(RoomInput::Model { run, event: ModelEvent::Failed(ModelFailure::Unavailable) });
    let [failed] = &spent(&mut world)[..] else { panic!("one account") };
    assert_eq!((failed.outcome, failed.usage), (Outcome::Failed, usage));

    // One that is interrupted is accounted for by the next memory of the room: what was said, and what is known of the question.
    let (run, _) = ask(&mut world, reserved(9)).unwrap();
    world.says(run, "At nine o'clock.");
    world.out.clear();
    world.reopen();
    world.input(RoomInput::Awoken { told: Vec::new() });
    let [interrupted] = &spent(&mut world)[..] else { panic!("one account") };
    assert_eq!(interrupted.reservation, Some(Reservation(9)));
    assert_eq!(interrupted.outcome, Outcome::Interrupted);
    assert!(interrupted.usage.input_tokens > 5 && interrupted.usage.output_tokens > 2);
    world.reopen();
    world.input(RoomInput::Awoken { told: Vec::new() });
    assert!(spent(&mut world).is_empty(), "once");

    // A question that is refused gives back what was set aside for it.
    world.policy.ai_per_user = Quota::per_minute(1);
    assert!(ask(&mut world, reserved(10)).is_none());
    let [refused] = &spent(&mut world)[..] else { panic!("one account") };
    assert_eq!((refused.outcome, refused.reservation), (Outcome::Unasked, Some(Reservation(10))));
}

#[test]
fn over_budget_the_documents_answer_and_say_why() {
    let mut world = World::new();
    let json = r#"{"type":"ai-chat","message":"when?","userId":"u1","model":"gpt-4o"}"#;
    let Ok(Request { command: Command::Ask(_, ask), .. }) = Request::parse(json, None) else {
        panic!("{json} is refused")
    };
    let briefing = Box::new(Briefing { allowance: Allowance::Exhausted, ..Briefing::default() });
    let from = Caller {
        conn: ConnId(1),
        socket: SocketId::from_entropy(1),
        reply_to: None,
        identity: Identity::Open,
    };
    world.input(RoomInput::Ask { from, ask, briefing });
    let (run, request) = world.asked().unwrap();
    assert!(request.provider() == Provider::Demo && request.is_over_budget);
    world.says(run, "At nine.");
    world.finishes(run);
    let told = world.out.iter().find_map(|output| match output {
        Output::Reply { event: Event::AiResponse(response), .. } => Some(&response.answer),
        _ => None,
    });
    let told = told.unwrap();
    assert_eq!((told.code, told.error, told.provider), (Some(ErrorCode::RateLimited), false, Provider::Demo));
}

/// The host's part: a domain whose AI answers by itself.
pub(super) fn answers_said(world: &mut World) -> usize {
    let said: Vec<_> = world.out.extract_if(.., |output| matches!(output, Output::Said { .. })).collect();
    for output in &said {
        let Output::Said { domain, message } = output else { continue };
        let (from, ask) = (Caller::unasked(message), Ask::unasked(domain.clone(), message));
        world.input(RoomInput::Ask { from, ask, briefing: Box::default() });
    }
    said.len()
}

/// What a room says to itself is heard at once, as every host does it.
pub(super) fn hears_itself(world: &mut World) {
    while let Some(at) =
        world.out.iter().position(|output| matches!(output, Output::Relay { room, .. } if *room == room_id()))
    {
        if let Output::Relay { input, .. } = world.out.remove(at) {
            world.input(*input);
        }
    }
}

#[test]
fn a_customer_is_answered_by_itself_until_people_take_over_and_again_when_they_hand_back() {
    let mut world = World::new();
    world.frame(1, r#"{"type":"join-room","userId":"ann","role":"agent","domainId":"shop"}"#);
    world.frame(2, r#"{"type":"join-room","userId":"bob","role":"customer","domainId":"shop"}"#);
    world.frame(2, r#"{"type":"send-message","userId":"bob","role":"customer","message":"when?"}"#);
    assert_eq!(answers_said(&mut world), 1);
    hears_itself(&mut world);
    let (run, request) = world.asked().unwrap();
    assert!(request.may_hand_over);
    let seen = world.seen();
    assert_eq!(seen.matches("new-message").count(), 1, "what was said stands there once: {seen}");
    assert!(seen.contains("user-typing"), "{seen}");
    world.says(run, "At nine.");
    hears_itself(&mut world);
    world.frame(1, r#"{"type":"toggle-live-agent","enabled":true}"#);
    hears_itself(&mut world);
    let seen = world.seen();
    let (before, after) = seen.split_once("live-agent-toggled").unwrap();
    assert!(before.contains("At nine."), "{seen}");
    assert!(after.contains("cancel") && !after.contains("nine"), "{seen}");
    world.says(run, " Not heard.");
    world.finishes(run);
    hears_itself(&mut world);
    assert_eq!(world.seen(), "", "nothing of it after people took over");

    world.frame(2, r#"{"type":"send-message","userId":"bob","role":"customer","message":"a \"human\"?"}"#);
    assert_eq!(answers_said(&mut world), 0, "people are in charge");
    world.frame(1, r#"{"type":"send-message","userId":"ann","role":"agent","message":"Yes, at ten."}"#);
    assert_eq!(answers_said(&mut world), 0, "an agent is not answered");
    world.frame(1, r#"{"type":"toggle-live-agent","enabled":false}"#);
    world.frame(2, r#"{"type":"send-message","userId":"bob","role":"customer","message":"thanks"}"#);
    assert_eq!(answers_said(&mut world), 1);
    let (_, request) = world.asked().unwrap();
    let [.., told, last] = request.turns.as_slice() else { panic!("{:?}", request.turns) };
    assert_eq!((told.speaker, last.text.as_str()), (Speaker::Service, "thanks"));
    for part in [
        r#""from":"name","role":"agent","said":"Yes, at ten.""#,
        r#""said":"a \"human\"?""#,
        "in charge again",
    ] {
        assert!(told.text.contains(part), "{part} in {}", told.text);
    }
}

#[test]
fn a_person_is_asked_for_once_by_whoever_asks() {
    let mut world = World::new();
    world.frame(2, r#"{"type":"join-room","userId":"bob","role":"customer","domainId":"shop"}"#);
    world.seen();
    world.frame(2, r#"{"type":"request-human","reason":"a refund","id":"r"}"#);
    let told: Vec<String> = world
        .out
        .iter()
        .filter_map(|output| match output {
            Output::TellObservers { event, .. } => Some(serde_json::to_string(event).unwrap()),
            _ => None,
        })
        .collect();
    assert!(
        told.iter().any(|it| it.contains(r#""type":"human-requested""#)
            && it.contains(r#""userName":"name","reason":"a refund""#)),
        "{told:?}"
    );
    assert_eq!(world.seen().matches("human-requested").count(), 3, "who asked, the members, those who watch");
    world.frame(2, r#"{"type":"request-human"}"#);
    assert_eq!(world.seen().matches("human-requested").count(), 1, "who asks again is told so, nobody else");
}
