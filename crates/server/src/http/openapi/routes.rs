//! Every route of the router in `http/mod.rs` but sockets and pages, in its order.

use serde_json::json;

use super::Describer;
use super::requests::{self, id};
use super::shapes::{
    Active, AllStats, Answered, Arrived, Deleted, Departed, DomainStats, File, Found, History, RoomErased,
    Rooms, Sent, SettingsTold, State, Status, VisitorErased, VisitorExport, Widget,
};
use weeziq_core::inbox::RoomSummary;
use weeziq_core::limits::{DOCUMENT_BYTES_MAX, HISTORY_MAX, ROOMS_LISTED_MAX, SEARCH_CHARS_MAX};

pub(super) const TAGS: [(&str, &str); 6] = [
    ("ai", "Questions and answers."),
    ("visitors", "Who is on the sites."),
    ("rooms", "The inbox: rooms of a site, and what operators do with them."),
    ("domains", "Settings of a site."),
    ("files", "Files that messages name."),
    ("service", "The service itself."),
];

pub(super) fn describe(api: &mut Describer) {
    service(api);
    ai(api);
    visitors(api);
    rooms(api);
    domains(api);
    knowledge(api);
    files(api);
    privacy(api);
}

fn service(api: &mut Describer) {
    let html = ("text/html", json!({ "type": "string" }));
    let status = json!(api.schema::<Status>());
    api.route(("get", "/"), ("service", "status"), "That it is there; the start page for a browser")
        .answers_text(200, "It is.", &[("application/json", status), html])
        .end();
    api.route(("get", "/healthz"), ("service", "health"), "That the process answers")
        .answers::<State>(200, "It does.")
        .end();
    api.route(("get", "/readyz"), ("service", "readiness"), "That it can store and tell what it is told")
        .answers::<State>(200, "Everything works.")
        .end();
    api.route(("get", "/metrics"), ("service", "metrics"), "Numbers for Prometheus, to staff of all sites")
        .answers_text(200, "Text form 0.0.4.", &[("text/plain", json!({ "type": "string" }))])
        .end();
}

fn ai(api: &mut Describer) {
    let text = json!({ "type": "string" });
    api.route(("post", "/ai/chat"), ("ai", "ask"), "A question, answered as a whole")
        .takes(&[("Question", requests::question())])
        .answers::<Answered>(200, "The answer, or the fallback sentence where no model gave one.")
        .end();
    api.route(("post", "/ai/stream"), ("ai", "stream"), "A question, answered as the words come")
        .takes(&[("Question", requests::question()), ("UseChat", requests::use_chat())])
        .answers_text(
            200,
            "The text; with `Accept: text/event-stream` the events `chunk` and `complete`; to the AI SDK's useChat its own stream.",
            &[("text/plain", text), ("text/event-stream", requests::server_sent())],
        )
        .end();
    api.route(
        ("get", "/ai/stream/{conversation}/stream"),
        ("ai", "resumeStream"),
        "The answer that is being written, for whoever comes back to it",
    )
    .query(
        "afterIndex",
        json!({ "type": "integer", "minimum": 0 }),
        "Behind this chunk; else from the beginning. `Last-Event-ID` says the same, and goes before it.",
    )
    .answers_text(
        200,
        "The AI SDK's UI message stream, version 1; with `Accept: text/event-stream` the events `chunk` and `complete`, \
         whose ids are what `Last-Event-ID` takes.",
        &[("text/event-stream", requests::server_sent())],
    )
    .answers_text(204, "Nothing is being written; to server-sent events: nothing has ended in the last ten minutes, either, or its end was read.", &[])
    .end();
    api.route(
        ("delete", "/ai/stream/{conversation}/stream"),
        ("ai", "cancelStream"),
        "Ends the answer that is being written, for a useChat that stops",
    )
    .answers_text(204, "It is written no more, or none was.", &[])
    .end();
}

fn visitors(api: &mut Describer) {
    api.route(("post", "/visitors/add"), ("visitors", "addVisitor"), "Somebody has come")
        .takes(&[("Arrival", requests::arrival())])
        .answers::<Arrived>(200, "They count until they are removed or idle for too long.")
        .end();
    api.route(("post", "/visitors/activity"), ("visitors", "visitorActivity"), "They do something")
        .takes(&[("Activity", requests::activity())])
        .answers::<Active>(200, "Noted.")
        .end();
    api.route(("post", "/visitors/remove"), ("visitors", "removeVisitor"), "They have gone")
        .takes(&[("Departure", requests::departure())])
        .answers::<Departed>(200, "They do not count any more.")
        .end();
    api.route(("get", "/stats/domain/{domain}"), ("visitors", "domainStats"), "Who is on a site")
        .answers::<DomainStats>(200, "All who are there now.")
        .end();
    api.route(("get", "/stats/domains"), ("visitors", "allStats"), "How many are on each site")
        .answers::<AllStats>(200, "Sites that ever had a visitor.")
        .end();
    traffic(api);
}

fn traffic(api: &mut Describer) {
    let id = id();
    let (time, told) = (
        json!({ "type": "string", "format": "date-time" }),
        [("application/json", json!({ "type": "object" }))],
    );
    let (from, to) = ("The bucket that it lies in is the first.", "The bucket that it lies in is the last.");
    api.route(
        ("get", "/stats/domain/{domain}/series"),
        ("visitors", "series"),
        "A site hour by hour, or by day",
    )
    .query("bucket", json!({ "type": "string", "enum": ["hour", "day"] }), "hour if left out.")
    .query("from", time.clone(), from)
    .query("to", time.clone(), to)
    .answers_text(200, "A bucket for each hour or day of the span.", &told)
    .end();
    api.route(
        ("get", "/stats/domain/{domain}/pages"),
        ("visitors", "pages"),
        "What was looked at, and whence",
    )
    .query("from", time.clone(), from)
    .query("to", time.clone(), to)
    .answers_text(200, "The most frequent first.", &told)
    .end();
    api.route(("get", "/stats/dropped"), ("visitors", "dropped"), "Visits that are not counted, by why")
        .needs("domainId", id, "Of which site.")
        .query("from", time.clone(), from)
        .query("to", time, to)
        .answers_text(200, "Counts by reason.", &told)
        .end();
}

fn domains(api: &mut Describer) {
    api.route(("get", "/domains/{domain}"), ("domains", "readSettings"), "What is set for a site")
        .answers::<SettingsTold>(200, "What is not set is left out.")
        .end();
    api.route(
        ("put", "/domains/{domain}"),
        ("domains", "writeSettings"),
        "Replaces all that is set for a site",
    )
    .takes(&[("Settings", requests::settings())])
    .answers::<SettingsTold>(200, "In force from the next message on.")
    .end();
    // Which the core writes by hand.
    api.amend("SettingsTold", "businessHours", requests::business_hours());
    api.route(("get", "/domains/{domain}/widget"), ("domains", "widget"), "What any visitor's page may know")
        .answers::<Widget>(200, "Never the prompt.")
        .end();
}

fn knowledge(api: &mut Describer) {
    let told = [("application/json", json!({ "type": "object" }))];
    let text = json!({ "type": "string", "maxLength": 1_048_576 });
    let path = "/domains/{domain}/knowledge/{name}";
    api.route(("get", "/domains/{domain}/knowledge"), ("domains", "documents"), "A site's documents")
        .answers_text(200, "Each with its title, size and passages.", &told)
        .end();
    api.route(
        ("get", "/domains/{domain}/knowledge/search"),
        ("domains", "searchDocuments"),
        "What a question would find",
    )
    .query("q", json!({ "type": "string" }), "The question.")
    .query("limit", json!({ "type": "integer", "minimum": 1, "maximum": 20 }), "At most so many.")
    .answers_text(200, "The best first.", &told)
    .end();
    api.route(("get", path), ("domains", "readDocument"), "A document as it was put")
        .answers_text(200, "Its text.", &[("text/plain", text.clone()), ("text/markdown", text)])
        .end();
    api.route(("put", path), ("domains", "writeDocument"), "Puts a document, or another in its place")
        .takes_text(
            "text/markdown",
            json!({ "type": "string", "maxLength": DOCUMENT_BYTES_MAX, "pattern": r"\S" }),
        )
        .answers_text(200, "In place of what was there.", &told)
        .answers_text(201, "New.", &told)
        .end();
    api.route(("delete", path), ("domains", "removeDocument"), "Removes a document")
        .answers_text(200, "Gone, from answers too.", &told)
        .end();
    let date = json!({ "type": "string", "format": "date" });
    api.route(("get", "/stats/domain/{domain}/ai"), ("visitors", "aiAccount"), "What a site's answers cost")
        .query("from", date.clone(), "The first day; a month ago if left out.")
        .query("to", date, "The last day; today if left out.")
        .answers_text(200, "By day, model and provider.", &told)
        .end();
}

fn rooms(api: &mut Describer) {
    let id = id();
    let count = json!({ "type": "integer", "minimum": 0, "maximum": 9_007_199_254_740_991_u64 });
    let limit = |most: u64| json!({ "type": "integer", "minimum": 1, "maximum": most });
    api.route(("get", "/search"), ("rooms", "search"), "What was said in the rooms of a site")
        .needs("domainId", id.clone(), "Whose rooms.")
        .needs(
            "q",
            json!({ "type": "string", "minLength": 1, "maxLength": SEARCH_CHARS_MAX }),
            "Words, of which the last may be a beginning.",
        )
        .query("limit", limit(100), "20 if left out.")
        .query("cursor", json!({ "type": "string" }), "As the page before gave it.")
        .answers::<Found>(200, "Newest first.")
        .end();
    let text = json!({ "type": "string" });
    api.route(
        ("get", "/rooms/{room}/transcript"),
        ("rooms", "transcript"),
        "All that was said, to be downloaded",
    )
    .query("format", json!({ "type": "string", "enum": ["json", "text"] }), "json if left out.")
    .answers_text(
        200,
        "As it reads now.",
        &[("application/json", json!({ "type": "object" })), ("text/plain", text)],
    )
    .end();
    api.route(("get", "/rooms"), ("rooms", "listRooms"), "The rooms of a site, what changed last first")
        .needs("domainId", id.clone(), "Whose rooms.")
        .query(
            "state",
            json!({ "type": "string", "enum": ["open", "waiting", "live", "closed"] }),
            "Only those.",
        )
        .query(
            "assignee",
            json!({ "type": "string", "maxLength": 128, "pattern": r"^[^\x00-\x1f\x7f-\x9f]*$" }),
            "Only theirs; empty is nobody's.",
        )
        .query("userId", id.clone(), "Whose unread messages are counted.")
        .query("limit", limit(ROOMS_LISTED_MAX as u64), "50 if left out.")
        .query(
            "cursor",
            json!({ "type": "string", "pattern": r"^[du][0-9]{1,15}\.[0-9]{1,15}$" }),
            "As the page before gave it.",
        )
        .answers::<Rooms>(200, "One page of them.")
        .end();
    api.route(("get", "/rooms/{room}"), ("rooms", "showRoom"), "One room")
        .query("userId", id, "Whose unread messages are counted.")
        .answers::<RoomSummary>(200, "As a list shows it.")
        .end();
    api.route(("get", "/rooms/{room}/messages"), ("rooms", "history"), "What was said in a room")
        .query("beforeSeq", count.clone(), "Only earlier ones.")
        .query("afterSeq", count, "Only later ones.")
        .query("limit", limit(HISTORY_MAX.into()), "50 if left out.")
        .answers::<History>(200, "Oldest first.")
        .end();
    api.route(("post", "/rooms/{room}/messages"), ("rooms", "say"), "Says something in a room")
        .takes(&[("Said", requests::said())])
        .answers::<Sent>(201, "Stored.")
        .answers::<Sent>(200, "It was said before, under the same clientMessageId.")
        .end();
    api.route(("post", "/rooms/{room}/assign"), ("rooms", "assign"), "Gives a room to somebody")
        .takes(&[("Assignment", requests::assignment())])
        .answers::<RoomSummary>(200, "As it stands now.")
        .end();
    for (path, name, what) in [
        ("/rooms/{room}/close", "close", "It is done, until the customer says something again"),
        ("/rooms/{room}/reopen", "reopen", "It is not done after all"),
    ] {
        api.route(("post", path), ("rooms", name), what)
            .answers::<RoomSummary>(200, "As it stands now.")
            .end();
    }
    api.route(("post", "/rooms/{room}/rate"), ("rooms", "rate"), "How the customer found it")
        .takes(&[("Rate", requests::rate())])
        .answers::<RoomSummary>(200, "As it stands now.")
        .end();
}

fn files(api: &mut Describer) {
    let bytes = json!({ "type": "string", "format": "binary" });
    let id = id();
    let form = json!({ "type": "object", "required": ["file"], "properties": { "file": bytes } });
    api.route(
        ("post", "/files"),
        ("files", "upload"),
        "Takes a file: as the body, or as the part `file` of a form",
    )
    .query("name", requests::file_name(), "As it is called; required, unless a form says it.")
    .query("roomId", id.clone(), "The room whose messages may name it.")
    .query("domainId", id.clone(), "The site it belongs to.")
    .query("userId", id, "Who brings it.")
    .takes_text("application/octet-stream", bytes.clone())
    .takes_text("multipart/form-data", form)
    .answers::<File>(201, "Stored.")
    .end();
    api.route(("get", "/files/{key}"), ("files", "download"), "A file, or a part of it")
        .answers_text(200, "All of it.", &[("*/*", bytes.clone())])
        .answers_text(206, "The range that was asked for.", &[("*/*", bytes)])
        .answers_text(304, "It is what you have.", &[])
        .end();
    api.route(("delete", "/files/{key}"), ("files", "deleteFile"), "Deletes a file")
        .answers::<Deleted>(200, "Gone.")
        .end();
}

fn privacy(api: &mut Describer) {
    let id = id();
    api.route(("delete", "/rooms/{room}"), ("rooms", "eraseRoom"), "Erases a room with all that it holds")
        .answers::<RoomErased>(200, "What is gone.")
        .end();
    api.route(("delete", "/visitors/{visitor}"), ("visitors", "eraseVisitor"), "Erases a visitor of a site")
        .needs("domainId", id.clone(), "The site.")
        .answers::<VisitorErased>(200, "What is gone, and which rooms went with it.")
        .end();
    api.route(
        ("get", "/visitors/{visitor}/export"),
        ("visitors", "exportVisitor"),
        "What is known of a visitor",
    )
    .needs("domainId", id, "The site.")
    .answers::<VisitorExport>(200, "All of it.")
    .end();
}
