//! Outputs as text, for the twins to be held against each other.

use weeziq_core::Output;
use weeziq_core::ids::RoomId;
use weeziq_core::protocol::event::Event;
use weeziq_core::rooms::RoomInput;

/// None for what a room that has just been built may do otherwise: it does not know when it last told who is here or how
/// it stands, nor what it asked to be woken for, and says again what nobody has come to ask.
pub(crate) fn of(room: &RoomId, output: &Output) -> Option<String> {
    Some(match output {
        Output::Publish { event: Event::RoomUsers { .. }, .. }
        | Output::Reply { event: Event::RoomUsers { .. }, .. }
        | Output::List(_)
        | Output::Said { .. }
        | Output::WakeAt(_) => return None,
        Output::Reply { to, reply_to, event } => {
            format!("{room}: to {} {}", to.0, json(event, reply_to.as_deref()))
        }
        Output::Publish { event, except } => {
            format!("{room}: to all but {:?} {}", except.map(|conn| conn.0), json(event, None))
        }
        Output::Admit { conn, member } => {
            format!("{room}: admit {} {}", conn.0, serde_json::to_string(&**member).unwrap_or_default())
        }
        Output::Dismiss { conn } => format!("{room}: dismiss {}", conn.0),
        Output::TellObservers { event, .. } => format!("{room}: observers {}", json(event, None)),
        Output::AskModel { run, request } => format!("{room}: ask {} {:?}", run.0, request.turns),
        Output::CancelModel { run } => format!("{room}: cancel {}", run.0),
        Output::Spend(spent) => format!("{room}: spend {:?} {:?}", spent.outcome, spent.usage),
        Output::Relay { room: to, input, .. } => format!("{room}: to {to} {}", spoken(input)),
    })
}

/// As it is on the wire.
pub(crate) fn json(event: &Event, reply_to: Option<&str>) -> String {
    let mut bytes = Vec::new();
    event.encode(reply_to, &mut bytes);
    String::from_utf8(bytes).expect("events are UTF-8")
}

fn spoken(input: &RoomInput) -> String {
    match input {
        RoomInput::Post(post) => serde_json::to_string(post).unwrap_or_default(),
        RoomInput::Overheard { event, except } => format!("{except:?} {}", json(event, None)),
        RoomInput::Silence { run } => format!("silence {}", run.0),
        _ => "something that no room says".into(),
    }
}
