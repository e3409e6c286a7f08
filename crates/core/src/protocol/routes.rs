//! Paths by their pattern, for counting: there are as many patterns as routes, and as many paths as clients care to ask for.

/// As the native host's router writes them, and what only the Worker has.
const PATTERNS: [&str; 40] = [
    "/",
    "/ai/chat",
    "/ai/stream",
    "/ai/stream/{conversation}/stream",
    "/archive/files",
    "/archive/files/{key}",
    "/archive/holders",
    "/archive/users",
    "/archive/{kind}/{name}",
    "/domains/{domain}",
    "/domains/{domain}/knowledge",
    "/domains/{domain}/knowledge/search",
    "/domains/{domain}/knowledge/{name}",
    "/domains/{domain}/widget",
    "/files",
    "/files/{key}",
    "/healthz",
    "/metrics",
    "/readyz",
    "/rooms",
    "/rooms/{room}",
    "/rooms/{room}/assign",
    "/rooms/{room}/close",
    "/rooms/{room}/messages",
    "/rooms/{room}/rate",
    "/rooms/{room}/reopen",
    "/rooms/{room}/transcript",
    "/search",
    "/stats/domain/{domain}",
    "/stats/domain/{domain}/ai",
    "/stats/domain/{domain}/pages",
    "/stats/domain/{domain}/series",
    "/stats/domains",
    "/stats/dropped",
    "/visitors/activity",
    "/visitors/add",
    "/visitors/remove",
    "/visitors/{visitor}",
    "/visitors/{visitor}/export",
    "/ws",
];

/// None: no route of ours, as a page is none.
pub fn pattern_of(path: &str) -> Option<&'static str> {
    PATTERNS.into_iter().find(|pattern| {
        let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
        loop {
            match (wanted.next(), given.next()) {
                (None, None) => return true,
                (Some(wanted), Some(given))
                    if wanted == given || (wanted.starts_with('{') && !given.is_empty()) => {}
                _ => return false,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_the_pattern_that_says_most_of_it() {
        for pattern in PATTERNS {
            let path = pattern.replace('{', "a-").replace('}', "%2F");
            assert_eq!(pattern_of(&path), Some(pattern), "{path}");
        }
        for path in
            ["", "/widget.js", "/rooms/", "/rooms//close", "/rooms/a/b", "/rooms/a/close/", "/files/a/b"]
        {
            assert_eq!(pattern_of(path), None, "{path}");
        }
    }
}
