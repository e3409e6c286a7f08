//! Where a client stands in the logs of its rooms, as its client gives it back after a loss: the stock client remembers
//! the last string that an event ended with. So each event of a log says where whoever has heard it stands in all of its
//! rooms: `epoch-seq`, one after the other.
//!
//! Whoever is in one room has the same offset as everybody there, and hears the room's frames as they stand. For those in
//! several, the offset is written anew for each of them.

use std::fmt;
use std::sync::Arc;

use weeziq_core::ids::{RoomId, Seq};
use weeziq_core::limits::ROOMS_PER_CONNECTION_MAX;
use weeziq_core::protocol::event::Event;

use crate::websocket::frame::{packets, write_text};

/// A place in a log, by its epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) epoch: Arc<str>,
    pub(crate) seq: Seq,
}

impl Place {
    pub(crate) fn of(event: &Event) -> Option<Self> {
        event.place().map(|(epoch, seq)| Self { epoch: epoch.into(), seq })
    }

    fn parse(text: &str) -> Option<Self> {
        let (epoch, seq) = text.rsplit_once('-')?;
        Some(Self { epoch: epoch.into(), seq: Seq(seq.parse().ok()?) })
    }

    /// A client's own word. None for what no release of ours can have written.
    pub(crate) fn parse_all(offset: &str) -> Option<Vec<Self>> {
        let places: Option<Vec<Self>> =
            offset.split(',').take(ROOMS_PER_CONNECTION_MAX + 1).map(Self::parse).collect();
        places.filter(|places| places.len() <= ROOMS_PER_CONNECTION_MAX)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.seq.0)
    }
}

/// Where a connection stands in each of its rooms, as of what was queued for it last.
#[derive(Default)]
pub(crate) struct Stands {
    rooms: Vec<(RoomId, Place)>,
    /// A room whose history follows: before that has come, the client has not come into it.
    entering: Option<(RoomId, Place)>,
    /// From where a join that is under way resumes.
    resuming: Vec<(RoomId, Seq)>,
}

impl Stands {
    pub(crate) fn recovered(rooms: Vec<(RoomId, Place)>) -> Self {
        Self { rooms, ..Self::default() }
    }

    /// Whether no two connections have the same.
    pub(crate) fn are_its_own(&self) -> bool {
        self.rooms.len() > 1
    }

    pub(crate) fn resumes(&mut self, room: &RoomId, from: Seq) {
        self.resuming.retain(|(resuming, _)| resuming != room);
        self.resuming.push((room.clone(), from));
    }

    /// Takes note of what the connection alone is told. True if an offset has to go with it.
    pub(crate) fn hear(&mut self, event: &Event) -> bool {
        match event {
            Event::JoinedRoom { room_id, epoch, seq, resumed, .. } => {
                let from = self.resuming.iter().position(|(room, _)| room == room_id);
                let from = from.map(|at| self.resuming.swap_remove(at).1);
                let place = Place { epoch: epoch.clone(), seq: from.filter(|_| *resumed).unwrap_or(*seq) };
                if !resumed && *seq > Seq(0) {
                    self.entering = Some((room_id.clone(), place));
                    return false;
                }
                self.enter(room_id.clone(), place)
            }
            Event::MessageHistory { room_id, .. } => {
                match self.entering.take_if(|(room, _)| room == room_id) {
                    Some((room, place)) => self.enter(room, place),
                    None => false,
                }
            }
            Event::LeftRoom { room_id, .. } => {
                self.rooms.retain(|(room, _)| room != room_id);
                !self.rooms.is_empty()
            }
            event => Place::of(event).is_some_and(|place| self.advance(&place)),
        }
    }

    fn enter(&mut self, room: RoomId, place: Place) -> bool {
        self.rooms.retain(|(known, _)| *known != room);
        self.rooms.push((room, place));
        true
    }

    /// False if the place is in no log of its rooms.
    pub(crate) fn advance(&mut self, place: &Place) -> bool {
        let stand = self.rooms.iter_mut().find(|(_, stand)| stand.epoch == place.epoch);
        if let Some((_, stand)) = stand {
            stand.seq = stand.seq.max(place.seq);
            return true;
        }
        false
    }

    /// Frames that all members of a room share, as this connection has to hear them.
    pub(crate) fn rewrite(&mut self, frames: &[u8], into: &mut Vec<u8>) {
        for packet in packets(frames).flatten() {
            match split_offset(packet) {
                Some((event, place)) if self.advance(&place) => {
                    write_text(format!("{event},\"{self}\"]").as_bytes(), into);
                }
                _ => write_text(packet.as_bytes(), into),
            }
        }
    }
}

impl fmt::Display for Stands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (_, place)) in self.rooms.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            write!(f, "{comma}{place}")?;
        }
        Ok(())
    }
}

/// The last place that these frames tell.
pub(crate) fn last_place(frames: &[u8]) -> Option<Place> {
    packets(frames).flatten().filter_map(split_offset).last().map(|(_, place)| place)
}

/// An event of a log without its offset. Other packets end with a brace or none of this.
fn split_offset(packet: &str) -> Option<(&str, Place)> {
    let (event, offset) = packet.strip_suffix("\"]")?.rsplit_once(",\"")?;
    Some((event, Place::parse(offset)?))
}

#[cfg(test)]
mod tests {
    use weeziq_core::time::UnixMs;

    use super::*;

    fn joined(room: &str, epoch: &str, seq: u64) -> Event {
        Event::JoinedRoom {
            room_id: RoomId::known(room),
            success: true,
            epoch: epoch.into(),
            seq: Seq(seq),
            live_agent: false,
            resumed: false,
            timestamp: UnixMs(0),
        }
    }

    fn history(room: &str) -> Event {
        Event::MessageHistory { room_id: RoomId::known(room), messages: Vec::new(), has_more: false }
    }

    #[test]
    fn a_client_is_in_a_room_once_its_past_has_been_told() {
        let mut stands = Stands::default();
        assert!(stands.hear(&joined("a", "aa", 0)), "there is no past");
        assert_eq!(stands.to_string(), "aa-0");
        assert!(!stands.hear(&joined("b", "bb", 7)));
        assert!(!stands.hear(&history("a")), "which was asked for");
        assert_eq!(stands.to_string(), "aa-0");
        assert!(stands.hear(&history("b")));
        assert_eq!(stands.to_string(), "aa-0,bb-7");
        assert!(!stands.hear(&history("b")));
        assert!(stands.hear(&Event::LeftRoom { room_id: RoomId::known("a"), success: true }));
        assert_eq!(stands.to_string(), "bb-7");
        assert!(!stands.hear(&Event::LeftRoom { room_id: RoomId::known("b"), success: true }));
    }

    #[test]
    fn frames_of_one_room_bear_the_places_in_all() {
        let mut stands = Stands::default();
        let _ = (stands.hear(&joined("a", "aa", 0)), stands.hear(&joined("b", "bb", 0)));
        let mut frames = Vec::new();
        for packet in [
            r#"42["new-message",{"x":"y,\"z-1\"]"},"aa-1"]"#,
            r#"42["user-left",{}]"#,
            r#"42["new-message",{},"cc-1"]"#,
        ] {
            write_text(packet.as_bytes(), &mut frames);
        }
        let mut told = Vec::new();
        stands.rewrite(&frames, &mut told);
        let told: Vec<&str> = packets(&told).flatten().collect();
        let expected = [
            r#"42["new-message",{"x":"y,\"z-1\"]"},"aa-1,bb-0"]"#,
            r#"42["user-left",{}]"#,
            r#"42["new-message",{},"cc-1"]"#,
        ];
        assert_eq!(told, expected);
        assert_eq!(last_place(&frames).map(|place| place.to_string()).as_deref(), Some("cc-1"));
    }

    #[test]
    fn offsets_are_read_as_they_were_written() {
        let places = Place::parse_all("aa-1,bb-22").expect("two places");
        assert_eq!(places.iter().map(Place::to_string).collect::<Vec<_>>(), ["aa-1", "bb-22"]);
        for other in ["", "x", "aa-", "aa-1,", "aa-x", &vec!["aa-1"; ROOMS_PER_CONNECTION_MAX + 1].join(",")]
        {
            assert_eq!(Place::parse_all(other), None, "{other}");
        }
    }
}
