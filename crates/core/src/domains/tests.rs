#![allow(clippy::unwrap_used, reason = "a test may stop where it stands")]

use super::*;

struct Utc;

impl Zones for Utc {
    fn offset_s(&self, zone: &str, _: UnixMs) -> Option<i32> {
        (zone == "UTC").then_some(0)
    }
}

const EVERYTHING: &str = r#"{
    "name":"Shop", "welcomeMessage":"Hi", "systemPrompt":"Be brief.", "fallbackMessage":"Later.", "model":"gpt-4o",
    "ai":{"autoReply":true,"sharePage":true},
    "helpdesk":[{"question":"Where is it?","answer":"On its way."}],
    "allowedOrigins":["https://shop.example","https://*.shop.example"],
    "businessHours":{"timeZone":"UTC","week":{"mon":[["09:00","12:30"],["13:00","24:00"]]}},
    "retention":{"messagesDays":30,"statsDays":365},
    "cannedReplies":[{"shortcut":"hi","text":"Hello!"}]
}"#;

#[test]
fn what_is_kept_is_what_was_asked_for() {
    let settings = DomainSettings::parse(EVERYTHING, &Utc).unwrap();
    assert_eq!(DomainSettings::of_stored(&settings.to_stored()), settings);
    let mut asked: Value = serde_json::from_str(EVERYTHING).unwrap();
    asked
        .as_object_mut()
        .unwrap()
        .extend([("domainId".to_owned(), json!("d")), ("schemaVersion".to_owned(), json!(SCHEMA_VERSION))]);
    assert_eq!(settings.body(&DomainId::parse("d").unwrap()), asked);
}

#[test]
fn what_is_not_set_is_left_out() {
    let asked = r#"{"name":"Shop","model":null,"unknown":1,"ai":{},"helpdesk":[],"schemaVersion":9}"#;
    let settings = DomainSettings::parse(asked, &Utc).unwrap();
    assert_eq!(settings.to_stored(), r#"{"name":"Shop","schemaVersion":2}"#);
}

#[test]
fn refusals_name_the_field() {
    for (body, words) in [
        (r#"{"systemPrompt":7}"#, "systemPrompt must be a string"),
        (r#"{"name":"a\nb"}"#, "name must be"),
        ("[]", "JSON object"),
        ("", "JSON object"),
        (r#"{"ai":[]}"#, "ai must be an object"),
        (r#"{"ai":{"autoReply":"yes"}}"#, "ai.autoReply must be true or false"),
        (r#"{"helpdesk":{}}"#, "helpdesk must be a list"),
        (r#"{"helpdesk":[7]}"#, "helpdesk[0] must be an object"),
        (
            r#"{"helpdesk":[{"question":"a","answer":"b"},{"question":"c"}]}"#,
            "helpdesk[1].answer is required",
        ),
        (r#"{"helpdesk":[{"question":"a","answer":" "}]}"#, "helpdesk[0].answer is required"),
        (r#"{"helpdesk":[{"question":["a"],"answer":"b"}]}"#, "helpdesk[0].question must be a string"),
        (r#"{"allowedOrigins":["https://shop.example","shop"]}"#, "allowedOrigins[1]"),
        (r#"{"allowedOrigins":["https://*.com"]}"#, "allowedOrigins[0]"),
        (r#"{"allowedOrigins":["null"]}"#, "allowedOrigins[0]"),
        (r#"{"businessHours":{"week":{}}}"#, "businessHours.timeZone is required"),
        (r#"{"businessHours":{"timeZone":"+02:00"}}"#, "businessHours.timeZone must be"),
        (r#"{"businessHours":{"timeZone":"Mars/Olympus"}}"#, "businessHours.timeZone must be"),
        (r#"{"businessHours":{"timeZone":"UTC","week":{"day":[]}}}"#, "businessHours.week.day is no day"),
        (
            r#"{"businessHours":{"timeZone":"UTC","week":{"mon":[["9","17:00"]]}}}"#,
            "week.mon[0][0] must be a time",
        ),
        (r#"{"businessHours":{"timeZone":"UTC","week":{"mon":[["09:00"]]}}}"#, "week.mon[0] must be a pair"),
        (
            r#"{"businessHours":{"timeZone":"UTC","week":{"mon":[["24:01","24:02"]]}}}"#,
            "week.mon[0][0] must be",
        ),
        (
            r#"{"businessHours":{"timeZone":"UTC","week":{"mon":[["17:00","09:00"]]}}}"#,
            "week.mon[0] must end",
        ),
        (
            r#"{"businessHours":{"timeZone":"UTC","week":{"mon":[["09:00","12:00"],["11:00","13:00"]]}}}"#,
            "week.mon[1] must begin",
        ),
        (r#"{"retention":{"messagesDays":0}}"#, "retention.messagesDays must be a number of days"),
        (r#"{"retention":{"filesDays":1.5}}"#, "retention.filesDays must be a whole number"),
        (
            r#"{"cannedReplies":[{"shortcut":"a","text":"b"},{"shortcut":"a","text":"c"}]}"#,
            "cannedReplies[1].shortcut",
        ),
    ] {
        let refused = DomainSettings::parse(body, &Utc).map_err(|error| error.message);
        assert!(matches!(&refused, Err(why) if why.contains(words)), "{body}: {refused:?}");
    }
}

#[test]
fn what_is_too_large_is_named_as_such() {
    let entries = |count: usize| json!(vec![json!({ "question": "a", "answer": "b" }); count]);
    for body in [
        json!({ "fallbackMessage": "x".repeat(20_000) }),
        json!({ "helpdesk": [{ "question": "a", "answer": "x".repeat(20_000) }] }),
        json!({ "helpdesk": entries(HELPDESK_ENTRIES_MAX + 1) }),
    ] {
        let refused = DomainSettings::parse(&body.to_string(), &Utc).unwrap_err();
        assert_eq!(refused.code, ErrorCode::TooLarge, "{}", refused.message);
    }
    let most = json!({ "helpdesk": entries(HELPDESK_ENTRIES_MAX) });
    assert_eq!(DomainSettings::parse(&most.to_string(), &Utc).unwrap().helpdesk.len(), HELPDESK_ENTRIES_MAX);
}

#[test]
fn of_a_damaged_record_counts_what_can_be_read() {
    for unreadable in ["{", "", "7", r#"{"name":[]}"#, r#"{"ai":7,"retention":"x","businessHours":[]}"#] {
        assert_eq!(DomainSettings::of_stored(unreadable), DomainSettings::default(), "{unreadable}");
    }
    let damaged = r#"{"name":"Shop","model":7,"helpdesk":[{"question":"a"},{"question":"c","answer":"d"}],
        "allowedOrigins":["x","https://shop.example"],"retention":{"messagesDays":"x","filesDays":7},
        "ai":{"autoReply":true,"sharePage":"x"}}"#;
    let settings = DomainSettings::of_stored(damaged);
    assert_eq!(settings.name.as_deref(), Some("Shop"));
    assert_eq!((settings.model.as_deref(), settings.helpdesk.len()), (None, 1));
    assert_eq!(settings.allowed_origins, ["https://shop.example".into()]);
    assert_eq!((settings.retention.messages_days, settings.retention.files_days), (None, Some(7)));
    assert_eq!(settings.ai, AiSettings { auto_reply: true, share_page: false });
}

#[test]
fn what_the_first_release_kept_is_read() {
    let settings =
        DomainSettings::of_stored(r#"{"name":"Shop","systemPrompt":"Be brief.","model":"gpt-4o"}"#);
    assert_eq!(settings.system_prompt.as_deref(), Some("Be brief."));
    assert_eq!(settings.model.as_deref(), Some("gpt-4o"));
}

#[test]
fn a_visitors_page_never_sees_the_prompt() {
    let settings = DomainSettings::parse(EVERYTHING, &Utc).unwrap();
    let domain = DomainId::parse("d").unwrap();
    let closed = settings.widget(&domain, UnixMs(0), &Utc); // a Thursday
    assert_eq!(
        closed,
        json!({ "domainId": "d", "name": "Shop", "welcomeMessage": "Hi", "isOpen": false,
            "opensAt": "1970-01-05T09:00:00.000Z", "autoReply": true })
    );
    let unset = DomainSettings::default().widget(&domain, UnixMs(0), &Utc);
    assert_eq!(unset, json!({ "domainId": "d", "isOpen": true, "autoReply": false }));
}
