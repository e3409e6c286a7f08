//! OpenAI Chat Completions, and the many servers that speak it more or less.
//!
//! Those servers are the reason for the leniency: they send `choices: null`, leave out `[DONE]`, put an error
//! into the stream of a 200, or ignore `stream` and answer with one JSON object.

use serde::Deserialize;
use serde_json::{Value, json};

use super::ending::{Answer, Ending, Reason};
use super::handover;
use super::model::{ModelEvent, ModelRequest, ProviderCall, Speaker, Turn, Usage};
use super::models::Route;
use super::status;

/// The request for a streamed answer. `base_url` includes the version, as in `https://api.openai.com/v1`.
pub fn call(base_url: &str, key: Option<&str>, route: &Route, request: &ModelRequest) -> ProviderCall {
    let mut headers =
        vec![("content-type", "application/json".to_owned()), ("accept", "text/event-stream".to_owned())];
    headers.extend(key.map(|key| ("authorization", format!("Bearer {key}"))));
    let mut body = json!({
        "model": route.model,
        "messages": messages(request),
        "stream": true,
        "stream_options": { "include_usage": true },
    });
    if let Some(body) = body.as_object_mut().filter(|_| request.may_hand_over && route.has_tools) {
        let tool = json!({ "type": "function", "function": handover::declaration("object", "string") });
        body.insert("tools".into(), json!([tool]));
    }
    ProviderCall {
        url: format!("{}/chat/completions", base_url.trim_end_matches('/')),
        headers,
        body: body.to_string(),
    }
}

fn messages(request: &ModelRequest) -> Vec<Value> {
    let system = Some(&request.system).filter(|system| !system.is_empty());
    let system = system.map(|system| json!({ "role": "system", "content": system }));
    system.into_iter().chain(request.turns.iter().map(message)).collect()
}

fn message(turn: &Turn) -> Value {
    let role = match turn.speaker {
        Speaker::User => "user",
        Speaker::Assistant => "assistant",
        Speaker::Service => "system",
    };
    json!({ "role": role, "content": turn.text })
}

/// Reads the body of a 2xx reply, cut into pieces anywhere.
#[derive(Default)]
pub struct Decoder(Answer);

impl Decoder {
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<ModelEvent>) {
        self.0.push(bytes, read_record, out);
    }

    /// The body ended. Not for a connection that broke: a reason that came before would pass for the end.
    pub fn end(&mut self, out: &mut Vec<ModelEvent>) {
        self.0.end(read_record, out);
    }
}

#[derive(Deserialize)]
struct Chunk {
    choices: Option<Vec<Choice>>,
    usage: Option<Counted>,
    /// An object, or in some servers a bare sentence.
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    delta: Option<Said>,
    /// In place of `delta` where the answer is not streamed.
    message: Option<Said>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Said {
    content: Option<String>,
    /// What the model says in place of an answer; to the visitor it is one.
    refusal: Option<String>,
    tool_calls: Option<Vec<ToolCall>>,
}

#[derive(Deserialize)]
struct ToolCall {
    /// Left out where the answer is not streamed.
    index: Option<usize>,
    function: Option<Function>,
}

#[derive(Deserialize)]
struct Function {
    name: Option<String>,
    arguments: Option<String>,
}

#[derive(Deserialize)]
struct Counted {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
}

fn read_record(data: &str, ending: &mut Ending, out: &mut Vec<ModelEvent>) -> Result<(), serde_json::Error> {
    if data == "[DONE]" {
        ending.complete(out);
    } else {
        read_chunk(serde_json::from_str(data)?, ending, out);
    }
    Ok(())
}

fn read_chunk(chunk: Chunk, ending: &mut Ending, out: &mut Vec<ModelEvent>) {
    if let Some(counted) = chunk.usage {
        ending.usage(counted.usage(), out);
    }
    if let Some(error) = chunk.error {
        ending.fail(status::failure_in_stream(&error), out);
    }
    for choice in chunk.choices.into_iter().flatten().take(1) {
        read_choice(choice, ending, out);
    }
}

fn read_choice(choice: Choice, ending: &mut Ending, out: &mut Vec<ModelEvent>) {
    if let Some(said) = choice.delta.or(choice.message) {
        ending.text(said.content.unwrap_or_default(), out);
        ending.text(said.refusal.unwrap_or_default(), out);
        for (place, call) in said.tool_calls.into_iter().flatten().enumerate() {
            let Some(Function { name, arguments }) = call.function else { continue };
            let (name, arguments) = (name.unwrap_or_default(), arguments.unwrap_or_default());
            ending.call(call.index.unwrap_or(place), &name, &arguments);
        }
    }
    match choice.finish_reason.as_deref() {
        None | Some("") => {}
        Some("stop") => ending.remember(Reason::Stop),
        Some("length") => ending.remember(Reason::Length),
        Some("content_filter") => ending.remember(Reason::Filtered),
        // Routers in front of several providers end so when theirs broke.
        Some("error") => ending.break_off(out),
        Some(_) => ending.remember(Reason::Other),
    }
}

impl Counted {
    fn usage(&self) -> Usage {
        Usage {
            input_tokens: self.prompt_tokens.unwrap_or_default(),
            output_tokens: self.completion_tokens.unwrap_or_default(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "in a test a panic is a result")]
mod tests {
    use proptest::prelude::*;

    use super::super::ending::tests::{ends_once_and_last, text_of};
    use super::super::model::{FinishReason, ModelFailure, Provider};
    use super::super::models::tests::route;
    use super::super::sse::EVENT_BYTES_MAX;
    use super::super::sse::tests::cut;
    use super::*;
    use FinishReason::{ContentFilter, Length, Stop};
    use ModelEvent::{Failed, Finished};
    use ModelFailure::{ContentFiltered, Empty, Incomplete, Overloaded, Rejected, Unavailable};

    /// One event with this JSON, which may be written in several parts.
    macro_rules! record {
        ($($json:literal),+) => { concat!("data: ", $($json),+, "\n\n") };
    }

    const ROLE: &str = record!(r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#);
    const HELLO: &str =
        record!(r#"{"choices":[{"delta":{"content":"Grüße"},"finish_reason":null}],"usage":null}"#);
    const WAVE: &str = concat!("data: ", r#"{"choices":[{"delta":{"content":" 👋\n"}}]}"#, "\r\n\r\n");
    const STOP: &str = record!(r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#);
    const USAGE: &str =
        record!(r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13}}"#);
    const DONE: &str = "data: [DONE]\n\n";
    const FILTERED: &str = record!(r#"{"choices":[{"delta":{},"finish_reason":"content_filter"}]}"#);
    const RATE: &str = record!(r#"{"error":{"code":"rate_limit_exceeded","message":"slow"}}"#);
    const BROKEN: &str =
        record!(r#"{"error":{"code":502,"message":"no host"},"choices":[{"finish_reason":"error"}]}"#);

    fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<ModelEvent> {
        let mut decoder = Decoder::default();
        let mut out = Vec::new();
        for piece in pieces {
            decoder.push(piece, &mut out);
        }
        decoder.end(&mut out);
        decoder.push(STOP.as_bytes(), &mut out);
        decoder.end(&mut out);
        out
    }

    fn check(body: &[&str], text: &str, end: &ModelEvent) {
        let events = decode(body.iter().map(|piece| piece.as_bytes()));
        assert_eq!((text_of(&events).as_str(), events.last()), (text, Some(end)), "{body:?}");
    }

    fn delta(text: &str) -> ModelEvent {
        ModelEvent::Delta(text.to_owned())
    }

    fn counted() -> ModelEvent {
        ModelEvent::Usage(Usage { input_tokens: 9, output_tokens: 4 })
    }

    #[test]
    fn a_call_hands_over_and_tools_are_offered_where_there_are_people() {
        let named = record!(
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"request_human","arguments":""}}]}}]}"#
        );
        let args = |part: &str| {
            record!(r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"@"}}]}}]}"#)
                .replace('@', part)
        };
        let (one, two) = (args(r#"{\"reason\":\"wants"#), args(r#" a person\"}"#));
        let end = record!(r#"{"choices":[{"delta":{},"finish_reason":"tool_calls"}]}"#);
        let events = decode([HELLO, named, &one, &two, end, DONE].map(str::as_bytes));
        let reason = Some("wants a person".into());
        assert_eq!(events, [delta("Grüße"), ModelEvent::HandOver(reason), Finished(Stop)]);
        assert_eq!(decode([named, end].map(str::as_bytes)), [ModelEvent::HandOver(None), Finished(Stop)]);
        let other = named.replace("request_human", "run_shell");
        assert_eq!(decode([other.as_str(), end, DONE].map(str::as_bytes)), [Failed(Unavailable)]);
        let offered = |may_hand_over, has_tools| {
            let route = Route { has_tools, ..route(Provider::OpenAi, "m") };
            let request = ModelRequest { may_hand_over, ..ModelRequest::default() };
            super::call("http://h", None, &route, &request).body.contains("request_human")
        };
        assert!(offered(true, true) && !offered(true, false) && !offered(false, true));
    }

    #[test]
    fn the_request_is_what_the_provider_wants() {
        let request = ModelRequest {
            system: "Be kind.".to_owned(),
            turns: vec![
                Turn { speaker: Speaker::User, text: "Hi \"there\"".to_owned() },
                Turn { speaker: Speaker::Assistant, text: "Hello".to_owned() },
            ],
            ..ModelRequest::default()
        };
        let route = route(Provider::OpenAi, "gpt-3.5-turbo");
        let call = call("http://host/v1/", Some("k"), &route, &request);
        assert_eq!(call.url, "http://host/v1/chat/completions");
        assert!(call.headers.contains(&("authorization", "Bearer k".to_owned())));
        assert!(call.headers.contains(&("content-type", "application/json".to_owned())));
        let body: Value = serde_json::from_str(&call.body).unwrap();
        assert_eq!(
            body,
            json!({
                "model": "gpt-3.5-turbo",
                "messages": [
                    { "role": "system", "content": "Be kind." },
                    { "role": "user", "content": "Hi \"there\"" },
                    { "role": "assistant", "content": "Hello" },
                ],
                "stream": true,
                "stream_options": { "include_usage": true },
            })
        );
    }

    #[test]
    fn no_key_and_no_system_prompt_are_left_out() {
        let turn = Turn { speaker: Speaker::User, text: "Hi".to_owned() };
        let request = ModelRequest { turns: vec![turn], ..ModelRequest::default() };
        let call = call("http://host/v1", None, &route(Provider::OpenAi, "m"), &request);
        assert_eq!(call.url, "http://host/v1/chat/completions");
        assert!(call.headers.iter().all(|(name, _)| *name != "authorization"));
        let body: Value = serde_json::from_str(&call.body).unwrap();
        assert_eq!(body["messages"], json!([{ "role": "user", "content": "Hi" }]));
    }

    #[test]
    fn an_answer_is_text_then_usage_then_the_end() {
        let events = decode([ROLE, HELLO, ": ping\n\n", WAVE, STOP, USAGE, DONE, HELLO].map(str::as_bytes));
        assert_eq!(events, [delta("Grüße"), delta(" 👋\n"), counted(), Finished(Stop)]);
    }

    #[test]
    fn the_end_needs_no_sentinel_but_a_reason_or_the_sentinel() {
        check(&[HELLO, STOP], "Grüße", &Finished(Stop));
        check(&[HELLO, STOP, USAGE], "Grüße", &Finished(Stop));
        check(&[HELLO, DONE], "Grüße", &Finished(Stop));
        check(&[HELLO, STOP, "data: [DONE]"], "Grüße", &Finished(Stop));
        check(&[HELLO, STOP.trim_end()], "Grüße", &Finished(Stop));
        check(&[ROLE, STOP, DONE], "", &Failed(Empty));
        check(&[ROLE, DONE], "", &Failed(Unavailable));
        check(&[HELLO], "Grüße", &Failed(Incomplete));
        check(&[ROLE], "", &Failed(Unavailable));
        check(&[], "", &Failed(Unavailable));
    }

    #[test]
    fn a_cut_tail_changes_nothing_that_was_known() {
        check(&[HELLO, STOP, "data: {\"choices\":[],\"usa"], "Grüße", &Finished(Stop));
        check(&[HELLO, "data: {\"choices\":[{\"delta\":{\"content\":\"lo"], "Grüße", &Failed(Incomplete));
    }

    #[test]
    fn reasons_are_told_in_our_words() {
        let because = |reason: &str| STOP.replace("stop", reason);
        check(&[HELLO, &because("length"), DONE], "Grüße", &Finished(Length));
        check(&[&because("length"), DONE], "", &Failed(Empty));
        check(&[HELLO, FILTERED, DONE], "Grüße", &Finished(ContentFilter));
        check(&[ROLE, FILTERED, DONE], "", &Failed(ContentFiltered));
        check(&[HELLO, &because("tool_calls"), DONE], "Grüße", &Finished(Stop));
        check(&[&because("tool_calls"), DONE], "", &Failed(Unavailable));
        check(&[HELLO, &because("error"), DONE], "Grüße", &Failed(Incomplete));
        check(&[HELLO, &because(""), STOP, DONE], "Grüße", &Finished(Stop));
    }

    #[test]
    fn a_refusal_is_text() {
        let refusal = record!(r#"{"choices":[{"delta":{"content":null,"refusal":"I can't."}}]}"#);
        check(&[refusal, STOP, DONE], "I can't.", &Finished(Stop));
    }

    #[test]
    fn an_error_in_the_stream_ends_it() {
        check(&[RATE, DONE], "", &Failed(Overloaded { retry_after_ms: None }));
        check(&[HELLO, RATE, WAVE, DONE], "Grüße", &Failed(Incomplete));
        check(&[ROLE, BROKEN], "", &Failed(Unavailable));
        check(&[HELLO, BROKEN], "Grüße", &Failed(Incomplete));
        check(&[record!(r#"{"error":"no memory"}"#)], "", &Failed(Unavailable));
        check(
            &[record!(r#"{"error":{"type":"insufficient_quota"}}"#)],
            "",
            &Failed(Rejected { status: 429 }),
        );
    }

    #[test]
    fn odd_records_of_compatible_servers_are_harmless() {
        let odd = [
            record!(r#"{"choices":null}"#),
            record!(r#"{"choices":[],"prompt_filter_results":[{}]}"#),
            record!(r#"{"choices":[{"delta":null}],"error":null,"new":{"a":[1]}}"#),
            "data:\n\n",
            "event: ping\nid: 1\n\n",
        ];
        for record in odd {
            check(&[record, HELLO, record, STOP, DONE], "Grüße", &Finished(Stop));
        }
    }

    #[test]
    fn garbage_is_a_failure() {
        check(&["<html>Bad gateway</html>"], "", &Failed(Unavailable));
        check(&["data: not json\n\n", HELLO, DONE], "", &Failed(Unavailable));
        check(&[HELLO, record!(r#"{"choices":7}"#), STOP, DONE], "Grüße", &Failed(Incomplete));
        assert_eq!(decode([b"data: \xFF\n\n".as_slice()]), [Failed(Unavailable)]);
        let endless = "x".repeat(EVENT_BYTES_MAX + 1);
        check(&[HELLO, &endless], "Grüße", &Failed(Incomplete));
        check(&["{", &endless], "", &Failed(Unavailable));
    }

    #[test]
    fn an_answer_that_is_not_streamed_is_understood() {
        let body = concat!(
            "\n",
            r#"{ "object": "chat.completion", "choices": [{ "message": "#,
            "\n\n",
            r#"{ "content": "Grüße" }, "finish_reason": "stop" }],"#,
            r#""usage": { "prompt_tokens": 9, "completion_tokens": 4 } }"#
        );
        for at in 0..=body.len() {
            let (head, tail) = body.as_bytes().split_at(at);
            assert_eq!(decode([head, tail]), [counted(), delta("Grüße"), Finished(Stop)], "split at {at}");
        }
        check(&["{\"choices\":[{\"message\":{\"content\":\"Hi\"}}]}"], "Hi", &Finished(Stop));
        check(&["{\"error\":{\"code\":429}}"], "", &Failed(Overloaded { retry_after_ms: None }));
        check(&["{\"choices\":[{\"mess"], "", &Failed(Unavailable));
        check(&["{}"], "", &Failed(Unavailable));
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_events(sizes in prop::collection::vec(1usize..40, 1..60)) {
            let body = [ROLE, HELLO, ": ping\r\n\r\n", WAVE, STOP, USAGE, DONE].concat();
            let expected = [delta("Grüße"), delta(" 👋\n"), counted(), Finished(Stop)];
            prop_assert_eq!(decode(cut(&body, &sizes)), expected);
        }

        #[test]
        fn whatever_comes_ends_once_and_last(pieces in prop::collection::vec(piece(), 0..8)) {
            let events = decode(pieces.iter().map(Vec::as_slice));
            prop_assert!(ends_once_and_last(&events), "{events:?}");
        }
    }

    fn piece() -> impl Strategy<Value = Vec<u8>> {
        let known = [
            ROLE, HELLO, WAVE, STOP, USAGE, DONE, FILTERED, RATE, BROKEN, "{", "}", "\n", "data: {",
            "\u{FEFF}",
        ];
        prop_oneof![
            3 => prop::sample::select(known.to_vec()).prop_map(|record| record.as_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..40),
        ]
    }
}
