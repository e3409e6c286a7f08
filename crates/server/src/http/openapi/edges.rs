//! Each schema of a request, held against the parser that its route uses: at each of its bounds, and one step beyond.

use serde_json::{Map, Value, json};
use weeziq_core::domains::DomainSettings;
use weeziq_core::files::Upload;
use weeziq_core::protocol::command::body;
use weeziq_core::visitors::whence::Whence;

use super::{
    NO_CONTROLS, activity, arrival, assignment, departure, file_name, id, question, rate, said, settings,
    use_chat,
};
use crate::zones::TimeZones;

/// Values that a schema lets pass, the plainest first, and values that it does not.
#[derive(Default)]
struct Edges {
    good: Vec<Value>,
    bad: Vec<Value>,
}

fn is_a(schema: &Value, kind: &str) -> bool {
    match &schema["type"] {
        Value::Array(kinds) => kinds.contains(&json!(kind)),
        named => named == kind,
    }
}

fn bound(schema: &Value, name: &str) -> Option<usize> {
    schema[name].as_u64().map(|bound| bound as usize)
}

fn edges(schema: &Value) -> Edges {
    let mut edges = if let Some(kinds) = schema["anyOf"].as_array().filter(|_| schema["type"].is_null()) {
        Edges {
            good: kinds.iter().flat_map(|kind| self::edges(kind).good).collect(),
            bad: vec![json!("text")],
        }
    } else if schema["if"].is_object() {
        of_choice(schema)
    } else if is_a(schema, "string") {
        of_string(schema)
    } else if is_a(schema, "integer") {
        of_integer(schema)
    } else if is_a(schema, "boolean") {
        Edges { good: vec![json!(true), json!(false)], bad: vec![json!("true"), json!(1), json!({})] }
    } else if is_a(schema, "array") {
        of_array(schema)
    } else if is_a(schema, "object") {
        of_object(schema)
    } else {
        assert!(is_a(schema, "null"), "nobody knows what {schema} allows");
        Edges::default()
    };
    if is_a(schema, "null") {
        edges.good.push(Value::Null);
    }
    if let Some(examples) = schema["examples"].as_array() {
        edges.good.clone_from(examples);
    }
    edges
}

/// Anything at all, but what has a member of a type: that has rules.
fn of_choice(schema: &Value) -> Edges {
    let Edges { mut good, mut bad } = edges(&schema["then"]);
    bad.retain(|value| {
        schema["if"]["properties"].as_object().unwrap().keys().all(|name| value[name].is_string())
    });
    good.extend([json!({}), json!({ "key": 17 }), json!("text"), Value::Null, json!([1.5])]);
    Edges { good, bad }
}

fn of_string(schema: &Value) -> Edges {
    let mut edges =
        Edges { good: vec![json!("a")], bad: vec![json!({}), json!([]), json!(true), json!(1.5)] };
    match (bound(schema, "x-maxBytes"), bound(schema, "maxLength")) {
        (Some(bytes), _) => {
            edges.good.extend(["a".repeat(bytes), "ü".repeat(bytes / 2)].map(Value::from));
            edges.bad.extend(["a".repeat(bytes + 1), "ü".repeat(bytes / 2 + 1)].map(Value::from));
        }
        (None, Some(chars)) => {
            edges.good.extend(["a".repeat(chars), "日".repeat(chars)].map(Value::from));
            edges.bad.push("日".repeat(chars + 1).into());
        }
        (None, None) => {}
    }
    match bound(schema, "minLength") {
        Some(_) => edges.bad.push("".into()),
        None if schema["pattern"].is_null() || schema["pattern"] == NO_CONTROLS => edges.good.push("".into()),
        None => {}
    }
    match schema["pattern"].as_str() {
        Some(NO_CONTROLS) => edges.bad.extend([json!("a\nb"), json!("\u{7f}"), json!("\u{85}")]),
        Some(r"\S") => edges.bad.extend([json!(""), json!(" \n\t")]),
        Some(_) => edges.bad.extend([json!("\n"), json!("a/\\b \u{202e}")]),
        None => {}
    }
    edges.bad.extend(schema["not"]["enum"].as_array().into_iter().flatten().cloned());
    edges
}

fn of_integer(schema: &Value) -> Edges {
    let [least, most] = ["minimum", "maximum"].map(|name| schema[name].as_i64());
    let good = [least, most].into_iter().flatten().map(Value::from).collect();
    let beyond = [least.map(|least| least - 1), most.map(|most| most + 1)].into_iter().flatten();
    let bad = beyond.map(Value::from).chain([json!("1"), json!(1.5), json!([]), json!(true)]).collect();
    Edges { good, bad }
}

fn of_array(schema: &Value) -> Edges {
    let Edges { good, bad } = edges(&schema["items"]);
    let several = |count: usize| {
        let numbered = (0..count).map(|n| {
            let mut item = good[0].clone();
            if let Some(name) = schema["x-unique"].as_str() {
                item[name] = json!(format!("{n}"));
            }
            item
        });
        Value::from_iter(numbered)
    };
    let mut edges = Edges::default();
    edges.good.extend(good.iter().map(|item| json!([item])));
    edges.bad.extend(bad.into_iter().map(|item| json!([item])).chain([
        json!("text"),
        json!({}),
        json!(true),
    ]));
    if schema["x-unique"].is_string() {
        edges.bad.push(json!([good[0], good[0]]));
    }
    match bound(schema, "minItems") {
        Some(least) => edges.bad.extend([json!([]), several(least - 1)]),
        None => edges.good.push(json!([])),
    }
    if let Some(most) = bound(schema, "maxItems") {
        edges.good.push(several(most));
        edges.bad.push(several(most + 1));
    }
    if let Some(most) = bound(schema, "maxContains") {
        edges.good.push(several(most));
        edges.bad.push(several(most + 1));
    }
    if let Some(bytes) = bound(schema, "x-maxBytes") {
        let of_size = |bytes: usize| json!([{ "x": "a".repeat(bytes - r#"[{"x":""}]"#.len()) }]);
        edges.good.push(of_size(bytes));
        edges.bad.push(of_size(bytes + 1));
    }
    edges
}

fn of_object(schema: &Value) -> Edges {
    let nothing = Map::new();
    let properties = schema["properties"].as_object().unwrap_or(&nothing);
    let names = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().map(|name| name.as_str().unwrap().into()).collect()
    };
    let plain = |required: &[String]| -> Map<String, Value> {
        required.iter().map(|name| (name.clone(), edges(&properties[name]).good[0].clone())).collect()
    };
    let required = names(&schema["required"]);
    let either: Vec<Vec<String>> =
        schema["anyOf"].as_array().into_iter().flatten().map(|one| names(&one["required"])).collect();
    let base = plain(&[required.clone(), either.first().cloned().unwrap_or_default()].concat());
    let but = |name: &str, value: Value| {
        let mut other = base.clone();
        // What is only there with something else.
        for needed in names(&schema["dependentRequired"][name]) {
            other.insert(needed.clone(), edges(&properties[&needed]).good[0].clone());
        }
        other.insert(name.into(), value);
        Value::from(other)
    };
    let mut found = Edges { good: vec![base.clone().into()], bad: vec![json!("text"), json!([]), json!(1)] };
    found.good.extend(either.iter().map(|one| plain(&[required.clone(), one.clone()].concat()).into()));
    if !either.is_empty() {
        found.bad.push(plain(&required).into());
    }
    for name in &required {
        let mut less = base.clone();
        less.remove(name);
        found.bad.extend([less.into(), but(name, Value::Null)]);
    }
    let is_either = |name: &String| either.iter().flatten().any(|one| one == name);
    for (name, property) in properties {
        let Edges { good, bad } = edges(property);
        // What is empty is no alternative; but beside the other it may be.
        let said =
            good.into_iter().filter(|value| !is_either(name) || base.get(name).is_none() || !is_empty(value));
        found.good.extend(said.map(|value| but(name, value)));
        found.bad.extend(bad.into_iter().map(|value| but(name, value)));
    }
    match schema["additionalProperties"] == false {
        true => found.bad.push(but("nobody knows", json!([]))),
        false => found.good.push(but("nobody knows", json!([]))),
    }
    if let Some(bytes) = bound(schema, "x-maxBytes") {
        let of_size = |bytes: usize| json!({ "x": "a".repeat(bytes - r#"{"x":""}"#.len()) });
        found.good.push(of_size(bytes));
        found.bad.push(of_size(bytes + 1));
    }
    found
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || *value == json!("") || *value == json!([])
}

fn check(what: &str, schema: &Value, reads: impl Fn(&str) -> bool) {
    let Edges { good, bad } = edges(schema);
    let shown = |value: &Value| value.to_string().chars().take(300).collect::<String>();
    for value in &good {
        assert!(
            reads(&value.to_string()),
            "{what}: the schema allows what the code refuses: {}",
            shown(value)
        );
    }
    for value in &bad {
        assert!(
            !reads(&value.to_string()),
            "{what}: the code takes what the schema refuses: {}",
            shown(value)
        );
    }
    assert!(good.len() + bad.len() > 8, "{what}: {} and {} cases", good.len(), bad.len());
}

#[test]
fn what_a_schema_allows_is_taken_and_what_it_refuses_is_not() {
    check("Question", &question(), |json| body::ask(json, false).is_ok());
    check("UseChat", &use_chat(), |json| body::ask(json, true).is_ok());
    check("Arrival", &arrival(), |json| {
        body::visitors("visitor-joined-domain", json, &Whence::default()).is_ok()
    });
    check("Activity", &activity(), |json| {
        body::visitors("visitor-activity", json, &Whence::default()).is_ok()
    });
    check("Departure", &departure(), |json| {
        body::visitors("visitor-left-domain", json, &Whence::default()).is_ok()
    });
    check("Said", &said(), |json| body::desk("send", "", json).is_ok());
    check("Assignment", &assignment(), |json| body::desk("assign", "", json).is_ok());
    check("Rate", &rate(), |json| body::desk("rate", "", json).is_ok());
    check("Settings", &settings(), |json| DomainSettings::parse(json, &TimeZones).is_ok());
}

#[test]
fn what_an_upload_says_of_itself_is_what_its_address_may_say() {
    let reads = |name: &str, value: &str| Upload::parse([(name.into(), value.into())].into_iter()).is_ok();
    for (name, schema) in [("name", file_name()), ("roomId", id()), ("domainId", id()), ("userId", id())] {
        let Edges { good, bad } = edges(&schema);
        let texts = |values: &[Value]| -> Vec<String> {
            values.iter().filter_map(Value::as_str).map(Into::into).collect()
        };
        assert!(texts(&good).iter().all(|value| reads(name, value)), "{name}");
        // An empty one is one that is left out.
        let refused = texts(&bad);
        assert!(refused.iter().filter(|value| !value.is_empty()).all(|value| !reads(name, value)), "{name}");
    }
}
