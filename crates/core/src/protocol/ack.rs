//! Acknowledgements, as Socket.IO has them: a number that the client gives an event, beside or without an `id` of its
//! own. It travels where the `id` does, in front of it, behind a character that no `id` may hold.

const MARK: char = '\u{1f}';

/// What a request bears that is to be acknowledged under that number.
pub fn mark(ack: Option<u64>, id: Option<Box<str>>) -> Option<Box<str>> {
    match ack {
        None => id,
        Some(ack) => Some(format!("{MARK}{ack}{MARK}{}", id.unwrap_or_default()).into()),
    }
}

/// The number to acknowledge, and the client's own `id`.
pub fn split(reply_to: Option<&str>) -> (Option<u64>, Option<&str>) {
    let marked = reply_to.and_then(|text| text.strip_prefix(MARK)?.split_once(MARK));
    match marked {
        None => (None, reply_to),
        Some((ack, id)) => (ack.parse().ok(), Some(id).filter(|id| !id.is_empty())),
    }
}

pub fn is_wanted(reply_to: Option<&str>) -> bool {
    split(reply_to).0.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_come_back() {
        for ack in [None, Some(0), Some(u64::MAX)] {
            for id in [None, Some("a"), Some("\"é ")] {
                let marked = mark(ack, id.map(Into::into));
                assert_eq!(split(marked.as_deref()), (ack, id));
                assert_eq!(is_wanted(marked.as_deref()), ack.is_some());
            }
        }
    }
}
