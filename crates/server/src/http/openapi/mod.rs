//! The HTTP interface as OpenAPI 3.1, made of the core's own types: `web/openapi.json`, which both hosts serve. It is written by a
//! test, so no host carries what makes it; `WRITE_OPENAPI=1 cargo test -p weeziq-server openapi` writes it anew.
//!
//! [`routes`] is held against the router below, so that none is forgotten, and against a running service by schemathesis.

mod requests;
mod routes;
mod shapes;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};
use weeziq_core::protocol::routes::pattern_of;

/// What is made while the routes are gone through.
struct Describer {
    schemas: SchemaGenerator,
    paths: BTreeMap<String, Map<String, Value>>,
}

/// One route as it is being described.
struct Operation<'a> {
    of: &'a mut Describer,
    method: &'static str,
    path: &'static str,
    body: Map<String, Value>,
    parameters: Vec<Value>,
    responses: Map<String, Value>,
}

impl Describer {
    fn new() -> Self {
        let settings = SchemaSettings::draft2020_12().for_serialize().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        });
        Self { schemas: settings.into_generator(), paths: BTreeMap::new() }
    }

    /// `id` names it to programs that are made from the description.
    fn route(
        &mut self,
        (method, path): (&'static str, &'static str),
        (tag, id): (&str, &str),
        summary: &str,
    ) -> Operation<'_> {
        let schema = self.schemas.subschema_for::<shapes::Refusal>();
        let refused = |why: &str| json!({ "description": why, "content": { "application/json": { "schema": schema } } });
        let responses = Map::from_iter([
            ("4XX".into(), refused("Refused; the code says why, and the sentence names the field.")),
            ("503".into(), refused("Not just now; nothing was kept, so try again.")),
        ]);
        let body = Map::from_iter([
            ("operationId".into(), id.into()),
            ("summary".into(), summary.into()),
            ("tags".into(), json!([tag])),
        ]);
        let parameters = path.split(['{', '}']).skip(1).step_by(2).map(path_parameter).collect();
        Operation { of: self, method, path, body, parameters, responses }
    }

    fn schema<T: JsonSchema>(&mut self) -> Schema {
        self.schemas.subschema_for::<T>()
    }

    /// A member that no type describes.
    fn amend(&mut self, name: &str, member: &str, schema: Value) {
        if let Some(described) = self.schemas.definitions_mut().get_mut(name) {
            described["properties"][member] = schema;
        }
    }

    fn document(mut self) -> Value {
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": "WeeziQ",
                "version": env!("CARGO_PKG_VERSION"),
                "description": "The HTTP side of the real-time backend of a web site's chat. What goes over sockets is in docs/protocol.md.",
                "license": { "name": "MIT", "identifier": "MIT" },
            },
            "servers": [{ "url": "/", "description": "Wherever this was read from." }],
            "tags": routes::TAGS.map(|(name, description)| json!({ "name": name, "description": description })),
            // With no key configured the service is open, and no token is looked at.
            "security": [{}, { "token": [] }],
            "paths": self.paths,
            "components": {
                "schemas": self.schemas.take_definitions(true),
                "securitySchemes": { "token": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" } },
            },
        })
    }
}

fn path_parameter(name: &str) -> Value {
    json!({ "name": name, "in": "path", "required": true, "schema": requests::id() })
}

impl Operation<'_> {
    fn query(mut self, name: &str, schema: Value, what: &str) -> Self {
        let mut parameter = json!({ "name": name, "in": "query", "description": what });
        parameter["schema"] = schema;
        self.parameters.push(parameter);
        self
    }

    /// As [`Operation::query`], but not to be left out.
    fn needs(mut self, name: &str, schema: Value, what: &str) -> Self {
        self = self.query(name, schema, what);
        if let Some(parameter) = self.parameters.last_mut() {
            parameter["required"] = true.into();
        }
        self
    }

    fn takes(self, named: &[(&str, Value)]) -> Self {
        let refer = |(name, schema): &(&str, Value)| {
            self.of.schemas.definitions_mut().insert((*name).into(), schema.clone());
            json!({ "$ref": format!("#/components/schemas/{name}") })
        };
        let mut schemas: Vec<Value> = named.iter().map(refer).collect();
        let schema = if schemas.len() == 1 { schemas.remove(0) } else { json!({ "anyOf": schemas }) };
        self.takes_text("application/json", schema)
    }

    /// Called more than once, one or the other.
    fn takes_text(mut self, kind: &str, schema: Value) -> Self {
        let body =
            self.body.entry("requestBody").or_insert_with(|| json!({ "required": true, "content": {} }));
        body["content"][kind]["schema"] = schema;
        self
    }

    fn answers<T: JsonSchema>(self, status: u16, what: &str) -> Self {
        let schema = json!(self.of.schema::<T>());
        self.answers_text(status, what, &[("application/json", schema)])
    }

    fn answers_text(mut self, status: u16, what: &str, kinds: &[(&str, Value)]) -> Self {
        let content: Map<String, Value> =
            kinds.iter().map(|(kind, schema)| ((*kind).into(), json!({ "schema": schema }))).collect();
        let mut response = json!({ "description": what });
        if !content.is_empty() {
            response["content"] = content.into();
        }
        self.responses.insert(status.to_string(), response);
        self
    }

    /// Where a host leaves it out, with the reason.
    fn end(mut self) {
        self.body.insert("parameters".into(), self.parameters.into());
        self.body.insert("responses".into(), self.responses.into());
        self.of.paths.entry(self.path.into()).or_default().insert(self.method.into(), self.body.into());
    }
}

/// What the router has and this leaves out: sockets, and the pages.
const UNDESCRIBED: [&str; 3] = ["/ws", "/socket.io", "/socket.io/"];

fn described() -> Value {
    let mut describer = Describer::new();
    routes::describe(&mut describer);
    describer.document()
}

#[test]
fn openapi_is_what_the_code_says() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web/openapi.json");
    let text = serde_json::to_string_pretty(&described()).unwrap() + "\n";
    if std::env::var_os("WRITE_OPENAPI").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    let there = std::fs::read_to_string(&file).unwrap();
    assert!(there == text, "web/openapi.json is old: WRITE_OPENAPI=1 cargo test -p weeziq-server openapi");
}

/// The sources are read because a router does not say what it routes.
#[test]
fn every_route_is_described_with_its_methods() {
    let source = include_str!("../mod.rs");
    let router = source.split("pub(crate) fn router").nth(1).unwrap().split("\n}\n").next().unwrap();
    let mut routed = BTreeSet::new();
    for route in router.split(".route(").skip(1) {
        let Some(path) = route.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next()) else {
            continue;
        };
        let handlers = route.split(".route(").next().unwrap().split(".merge(").next().unwrap();
        for method in ["get", "post", "put", "delete", "any"] {
            let is_routed = [format!(" {method}("), format!(".{method}("), format!("({method}(")];
            if is_routed.iter().any(|call| handlers.contains(call.as_str())) {
                routed.insert((path.to_owned(), method.to_owned()));
            }
        }
    }
    for (path, _) in routed.iter().filter(|(path, _)| path != "/socket.io/") {
        assert_eq!(pattern_of(path), Some(path.as_str()), "the other host counts it under another name");
    }
    routed.retain(|(path, _)| !UNDESCRIBED.contains(&path.as_str()));
    assert!(routed.len() > 10, "{routed:?}");
    let document = described();
    let paths = document["paths"].as_object().unwrap().iter();
    let told: BTreeSet<(String, String)> = paths
        .flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(|method| (path.clone(), method.clone()))
        })
        .collect();
    assert_eq!(
        told.difference(&routed).collect::<Vec<_>>(),
        Vec::<&(String, String)>::new(),
        "described, and not there"
    );
    assert_eq!(
        routed.difference(&told).collect::<Vec<_>>(),
        Vec::<&(String, String)>::new(),
        "describe these in openapi/routes.rs"
    );
}
