//! Google Gemini, `streamGenerateContent`.
//!
//! Every record is a whole reply with the newest text in it, and nothing marks the last one: `STOP` comes on
//! every record from some models, and early on an empty one from some proxies. So the end of the body alone
//! is the end.

use serde::Deserialize;
use serde_json::{Value, json};

use super::ending::{Answer, Ending, Reason};
use super::handover;
use super::model::{ModelEvent, ModelRequest, ProviderCall, Speaker, Turn, Usage};
use super::models::Route;
use super::status;

/// The request for a streamed answer. `base_url` has no version: `https://generativelanguage.googleapis.com`.
pub fn call(base_url: &str, key: Option<&str>, route: &Route, request: &ModelRequest) -> ProviderCall {
    let mut headers =
        vec![("content-type", "application/json".to_owned()), ("accept", "text/event-stream".to_owned())];
    headers.extend(key.map(|key| ("x-goog-api-key", key.to_owned())));
    ProviderCall { url: url(base_url, &route.model), headers, body: body(route, request).to_string() }
}

/// Without `alt=sse` the answer would be one JSON array.
fn url(base_url: &str, model: &str) -> String {
    let base = base_url.trim_end_matches('/');
    format!("{base}/v1beta/models/{}:streamGenerateContent?alt=sse", path_segment(model))
}

/// A model's name may come from a visitor and must not reach another path of the provider with our key.
fn path_segment(name: &str) -> String {
    let mut segment = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' => segment.push(char::from(byte)),
            _ => segment.push_str(&format!("%{byte:02X}")),
        }
    }
    segment
}

fn body(route: &Route, request: &ModelRequest) -> Value {
    let mut body = json!({ "contents": contents(&request.turns) });
    let Some(fields) = body.as_object_mut() else { return body };
    // There is no role for what the service says in between, so it stands with what the service says at first.
    let said = request.turns.iter().filter(|turn| turn.speaker == Speaker::Service);
    let system = std::iter::once(&request.system).chain(said.map(|turn| &turn.text));
    let parts: Vec<Value> =
        system.filter(|text| !text.is_empty()).map(|text| json!({ "text": text })).collect();
    if !parts.is_empty() {
        fields.insert("systemInstruction".into(), json!({ "parts": parts }));
    }
    if request.may_hand_over && route.has_tools {
        let tool = json!({ "functionDeclarations": [handover::declaration("OBJECT", "STRING")] });
        fields.insert("tools".into(), json!([tool]));
    }
    body
}

/// The API answers 400 to empty parts, and wants the user first and then the roles in turn.
fn contents(turns: &[Turn]) -> Vec<Value> {
    let said: Vec<&Turn> = turns
        .iter()
        .filter(|turn| !turn.text.is_empty() && turn.speaker != Speaker::Service)
        .skip_while(|turn| turn.speaker == Speaker::Assistant)
        .collect();
    said.chunk_by(|one, next| one.speaker == next.speaker).map(content).collect()
}

fn content(turns: &[&Turn]) -> Value {
    let role = match turns.first().map(|turn| turn.speaker) {
        Some(Speaker::Assistant) => "model",
        Some(Speaker::User | Speaker::Service) | None => "user",
    };
    let parts: Vec<Value> = turns.iter().map(|turn| json!({ "text": turn.text })).collect();
    json!({ "role": role, "parts": parts })
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
#[serde(rename_all = "camelCase")]
struct Record {
    candidates: Option<Vec<Candidate>>,
    prompt_feedback: Option<PromptFeedback>,
    usage_metadata: Option<Counted>,
    error: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate {
    content: Option<Content>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Content {
    parts: Option<Vec<Part>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    text: Option<String>,
    /// The model's thinking, which is no part of what it says.
    thought: Option<bool>,
    function_call: Option<FunctionCall>,
}

#[derive(Deserialize)]
struct FunctionCall {
    #[serde(default)]
    name: String,
    #[serde(default)]
    args: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PromptFeedback {
    block_reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Counted {
    prompt_token_count: Option<u64>,
    candidates_token_count: Option<u64>,
    thoughts_token_count: Option<u64>,
}

fn read_record(data: &str, ending: &mut Ending, out: &mut Vec<ModelEvent>) -> Result<(), serde_json::Error> {
    let record: Record = serde_json::from_str(data)?;
    if let Some(counted) = record.usage_metadata {
        ending.usage(counted.usage(), out);
    }
    if let Some(error) = record.error {
        ending.fail(status::failure_in_stream(&error), out);
    }
    let blocked = record.prompt_feedback.and_then(|feedback| feedback.block_reason).is_some();
    match record.candidates.into_iter().flatten().next() {
        Some(candidate) => read_candidate(candidate, ending, out),
        None if blocked => ending.remember(Reason::Filtered),
        None => {}
    }
    Ok(())
}

fn read_candidate(candidate: Candidate, ending: &mut Ending, out: &mut Vec<ModelEvent>) {
    let parts = candidate.content.and_then(|content| content.parts).unwrap_or_default();
    for part in parts.into_iter().filter(|part| part.thought != Some(true)) {
        ending.text(part.text.unwrap_or_default(), out);
        if let Some(FunctionCall { name, args }) = part.function_call {
            ending.call(ending.calls_seen(), &name, &args.to_string());
        }
    }
    if let Some(reason) = candidate.finish_reason.filter(|reason| !reason.is_empty()) {
        ending.remember(known_reason(&reason));
    }
}

fn known_reason(reason: &str) -> Reason {
    match reason {
        "STOP" => Reason::Stop,
        // Also with no text at all, where thinking used the whole limit up.
        "MAX_TOKENS" => Reason::Length,
        "SAFETY" | "RECITATION" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" | "IMAGE_SAFETY"
        | "LANGUAGE" => Reason::Filtered,
        _ => Reason::Other,
    }
}

impl Counted {
    /// Thinking is billed as output.
    fn usage(&self) -> Usage {
        let candidates = self.candidates_token_count.unwrap_or_default();
        Usage {
            input_tokens: self.prompt_token_count.unwrap_or_default(),
            output_tokens: candidates.saturating_add(self.thoughts_token_count.unwrap_or_default()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "in a test a panic is a result")]
mod tests {
    use proptest::prelude::*;

    use super::super::ending::tests::{ends_once_and_last, text_of};
    use super::super::model::{FinishReason, ModelFailure, Provider};
    use super::super::models::tests::route;
    use super::super::sse::tests::cut;
    use super::*;
    use FinishReason::{ContentFilter, Length, Stop};
    use ModelEvent::{Failed, Finished};
    use ModelFailure::{ContentFiltered, Empty, Incomplete, Overloaded, Unavailable};

    /// One event with this JSON, which may be written in several parts.
    macro_rules! record {
        ($($json:literal),+) => { concat!("data: ", $($json),+, "\n\n") };
    }

    const HELLO: &str = concat!(
        r#"data: {"candidates":[{"content":{"parts":[{"text":"Grüße"}],"role":"model"}}],"#,
        r#""usageMetadata":{"promptTokenCount":5}}"#,
        "\r\n\r\n"
    );
    const WAVE: &str = record!(
        r#"{"candidates":[{"content":{"parts":[{"text":"hm","thought":true},{"text":" 👋"},{"text":"!"}]},"#,
        r#""finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":5}}"#
    );
    const STOP: &str = record!(r#"{"candidates":[{"content":{},"finishReason":"STOP"}]}"#);
    const USAGE: &str = record!(
        r#"{"candidates":[{"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":5,"#,
        r#""candidatesTokenCount":3,"thoughtsTokenCount":40,"totalTokenCount":48}}"#
    );
    const BLOCKED: &str = record!(r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#);
    const RATE: &str = record!(r#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED"}}"#);
    const BROKEN: &str = record!(r#"{"error":{"code":503,"status":"UNAVAILABLE"}}"#);

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

    fn counted(input_tokens: u64, output_tokens: u64) -> ModelEvent {
        ModelEvent::Usage(Usage { input_tokens, output_tokens })
    }

    fn body_of(system: &str, turns: &[(Speaker, &str)]) -> Value {
        let turns = turns.iter().map(|&(speaker, text)| Turn { speaker, text: text.to_owned() }).collect();
        let request = ModelRequest { system: system.to_owned(), turns, ..ModelRequest::default() };
        let route = route(Provider::Google, "m");
        serde_json::from_str(&call("http://host", None, &route, &request).body).unwrap()
    }

    #[test]
    fn a_call_hands_over_and_tools_are_offered_where_there_are_people() {
        let call = record!(
            r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"request_human","args":{"reason":"refund"}}}]},"#,
            r#""finishReason":"STOP"}]}"#
        );
        assert_eq!(decode([call.as_bytes()]), [ModelEvent::HandOver(Some("refund".into())), Finished(Stop)]);
        let offered = |may_hand_over| {
            let request = ModelRequest { may_hand_over, ..ModelRequest::default() };
            super::call("http://h", None, &route(Provider::Google, "m"), &request)
                .body
                .contains("request_human")
        };
        assert!(offered(true) && !offered(false));
    }

    #[test]
    fn the_request_is_what_the_provider_wants() {
        let (route, request) = (route(Provider::Google, "gemini-2.5-flash"), ModelRequest::default());
        let with_key = call("http://host/", Some("k"), &route, &request);
        assert_eq!(with_key.url, "http://host/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse");
        assert!(with_key.headers.contains(&("x-goog-api-key", "k".to_owned())));
        let without = call("http://host", None, &route, &request);
        assert_eq!(without.url, with_key.url);
        assert!(without.headers.iter().all(|(name, _)| *name != "x-goog-api-key"));
    }

    #[test]
    fn a_model_cannot_leave_its_place_in_the_url() {
        assert_eq!(
            url("http://host", "../x?a=b#ü:"),
            "http://host/v1beta/models/..%2Fx%3Fa%3Db%23%C3%BC%3A:streamGenerateContent?alt=sse"
        );
    }

    #[test]
    fn turns_become_contents_that_alternate_from_the_user_on() {
        use Speaker::{Assistant, User};
        let turns = [
            (Assistant, "Welcome"),
            (User, ""),
            (Assistant, "Hello?"),
            (User, "a"),
            (Assistant, ""),
            (User, "b"),
            (Assistant, "c"),
            (User, "d"),
        ];
        assert_eq!(
            body_of("Be kind.", &turns),
            json!({
                "systemInstruction": { "parts": [{ "text": "Be kind." }] },
                "contents": [
                    { "role": "user", "parts": [{ "text": "a" }, { "text": "b" }] },
                    { "role": "model", "parts": [{ "text": "c" }] },
                    { "role": "user", "parts": [{ "text": "d" }] },
                ],
            })
        );
        assert_eq!(
            body_of("", &[(User, "a")]),
            json!({ "contents": [{ "role": "user", "parts": [{ "text": "a" }] }] })
        );
    }

    #[test]
    fn an_answer_ends_with_its_body_and_not_with_the_first_stop() {
        let events = decode([STOP, HELLO, WAVE, USAGE].map(str::as_bytes));
        assert_eq!(
            events,
            [counted(5, 0), delta("Grüße"), delta(" 👋"), delta("!"), counted(5, 43), Finished(Stop)]
        );
    }

    #[test]
    fn a_body_without_a_reason_broke_off() {
        check(&[HELLO], "Grüße", &Failed(Incomplete));
        check(&[record!(r#"{}"#)], "", &Failed(Unavailable));
        check(&[], "", &Failed(Unavailable));
        check(&[HELLO, STOP.trim_end()], "Grüße", &Finished(Stop));
        check(&[HELLO, "data: {\"candidates\":[{\"finishReason\":\"ST"], "Grüße", &Failed(Incomplete));
    }

    #[test]
    fn reasons_are_told_in_our_words() {
        let because = |reason: &str| STOP.replace("STOP", reason);
        check(&[STOP], "", &Failed(Empty));
        check(&[HELLO, &because("MAX_TOKENS")], "Grüße", &Finished(Length));
        check(&[&because("MAX_TOKENS")], "", &Failed(Empty));
        check(&[HELLO, &because("OTHER")], "Grüße", &Finished(Stop));
        check(&[&because("MALFORMED_FUNCTION_CALL")], "", &Failed(Unavailable));
        for filtered in
            ["SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY", "LANGUAGE"]
        {
            check(&[HELLO, &because(filtered)], "Grüße", &Finished(ContentFilter));
            check(&[&because(filtered)], "", &Failed(ContentFiltered));
        }
    }

    #[test]
    fn a_blocked_question_is_filtered() {
        check(&[BLOCKED], "", &Failed(ContentFiltered));
        check(&[&BLOCKED.replace("}}", "},\"candidates\":[]}")], "", &Failed(ContentFiltered));
        check(&[BLOCKED, STOP], "", &Failed(ContentFiltered));
    }

    #[test]
    fn an_error_in_the_stream_ends_it() {
        check(&[RATE, HELLO], "", &Failed(Overloaded { retry_after_ms: None }));
        check(&[BROKEN], "", &Failed(Unavailable));
        check(&[WAVE, BROKEN, HELLO], " 👋!", &Failed(Incomplete));
        check(&[WAVE, RATE], " 👋!", &Failed(Incomplete));
    }

    #[test]
    fn odd_records_are_harmless() {
        let odd = [
            record!(r#"{"candidates":null,"usageMetadata":null,"new":[{}]}"#),
            record!(r#"{"candidates":[{"content":{"parts":null}}]}"#),
            record!(r#"{"candidates":[{"content":{"parts":[{"functionCall":{}}]}}],"promptFeedback":{}}"#),
            ": ping\n\n",
            "data: \n\n",
        ];
        for record in odd {
            check(&[record, HELLO, record, STOP], "Grüße", &Finished(Stop));
        }
    }

    #[test]
    fn an_answer_that_is_not_streamed_is_read_whole() {
        let said = r#"{"candidates":[{"content":{"parts":[{"text":"Hi"}]},"finishReason":"STOP"}],"#;
        let one = format!("{said}\"usageMetadata\":{{\"promptTokenCount\":5}}}}");
        let counted = ModelEvent::Usage(Usage { input_tokens: 5, output_tokens: 0 });
        let expected = [counted.clone(), ModelEvent::Delta("Hi".into()), Finished(Stop)];
        assert_eq!(decode([one.as_bytes()]), expected);
        // As it comes without `alt=sse`.
        let first = r#"[{"candidates":[{"content":{"parts":[{"text":"Hi"}]}}]}"#;
        let last = r#"{"candidates":[{"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":5}}]"#;
        let events = decode([first, "\n,\n", last].map(str::as_bytes));
        assert_eq!(events, [ModelEvent::Delta("Hi".into()), counted, Finished(Stop)]);
        check(
            &[r#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED"}}"#],
            "",
            &Failed(Overloaded { retry_after_ms: None }),
        );
        check(&[r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#], "", &Failed(ContentFiltered));
    }

    #[test]
    fn garbage_is_a_failure() {
        check(&["<html>"], "", &Failed(Unavailable));
        check(&["[{\"candidates\""], "", &Failed(Unavailable));
        check(&["[7]"], "", &Failed(Unavailable));
        check(&["data: not json\n\n", HELLO, STOP], "", &Failed(Unavailable));
        check(&[WAVE, "data: [1]\n\n", STOP], " 👋!", &Failed(Incomplete));
        assert_eq!(decode([b"data: \xFF\n\n".as_slice()]), [Failed(Unavailable)]);
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_events(sizes in prop::collection::vec(1usize..40, 1..60)) {
            let body = [HELLO, ": ping\n\n", WAVE, STOP, USAGE].concat();
            prop_assert_eq!(decode(cut(&body, &sizes)), decode([body.as_bytes()]));
            prop_assert_eq!(text_of(&decode([body.as_bytes()])), "Grüße 👋!");
        }

        #[test]
        fn whatever_comes_ends_once_and_last(pieces in prop::collection::vec(piece(), 0..8)) {
            let events = decode(pieces.iter().map(Vec::as_slice));
            prop_assert!(ends_once_and_last(&events), "{events:?}");
        }
    }

    fn piece() -> impl Strategy<Value = Vec<u8>> {
        let known = [HELLO, WAVE, STOP, USAGE, BLOCKED, RATE, BROKEN, "{", "\n", "data: {", "\u{FEFF}"];
        prop_oneof![
            3 => prop::sample::select(known.to_vec()).prop_map(|record| record.as_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..40),
        ]
    }
}
