//! Which web pages may talk to the service. Requests without `Origin` do not come from a page and pass.

/// The rule a host was configured with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Development: any page.
    Any,
    /// Production without a list: pages that this service serves.
    SameOrigin,
    /// These pages, and those that this service serves.
    Listed(Vec<Pattern>),
}

/// An origin, or one with a single `*` in its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    before: String,
    /// What follows the `*`, if there is one.
    after: Option<String>,
}

impl Origins {
    /// A comma-separated list. The error is a sentence about the first entry that is none.
    pub fn parse(list: &str) -> Result<Self, String> {
        let entries = list.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let patterns = entries.map(Pattern::parse).collect::<Result<Vec<_>, _>>()?;
        if patterns.is_empty() {
            return Err("is empty; give origins such as https://shop.example, or leave it unset".into());
        }
        Ok(Self::Listed(patterns))
    }

    /// Whether a request may be served. `host` is the request's own `Host`.
    pub fn allow(&self, origin: Option<&str>, host: Option<&str>) -> bool {
        let Some(origin) = origin else { return true };
        match self {
            Self::Any => origin != "null",
            Self::SameOrigin => is_same(origin, host),
            Self::Listed(patterns) => is_same(origin, host) || patterns.iter().any(|p| p.matches(origin)),
        }
    }
}

/// The scheme is left out of the comparison: behind a proxy that ends TLS the service cannot know its own.
fn is_same(origin: &str, host: Option<&str>) -> bool {
    let authority = origin.split_once("://").map(|(_, rest)| rest);
    matches!((authority, host), (Some(a), Some(b)) if a.eq_ignore_ascii_case(b))
}

impl Pattern {
    /// One that a site may list for itself. The service as a whole answers to its operator; a site answers for hosts of
    /// its own alone, so a star has to stand below a name that somebody holds.
    pub fn of_a_site(entry: &str) -> Result<Self, String> {
        let pattern = Self::parse(entry).map_err(|why| format!("must be an origin: {why}"))?;
        let is_held =
            |after: &str| after.split(':').next().is_some_and(|host| host.matches('.').count() >= 2);
        match &pattern.after {
            Some(after) if !after.starts_with('.') || !is_held(after) => {
                Err("may have a * only before a host's name, as in https://*.shop.example".into())
            }
            None if pattern.before == "null" => Err("must be an origin such as https://shop.example".into()),
            _ => Ok(pattern),
        }
    }

    fn parse(entry: &str) -> Result<Self, String> {
        let entry = entry.trim_end_matches('/').to_ascii_lowercase();
        if entry == "null" {
            return Ok(Self { before: entry, after: None });
        }
        let (_, host) = entry
            .split_once("://")
            .ok_or_else(|| format!("entry {entry:?} has no scheme; write https://{entry}"))?;
        if host.is_empty() || host.contains('/') || host.matches('*').count() > 1 || !has_scheme(&entry) {
            return Err(format!(
                "entry {entry:?} is no origin; write scheme://host[:port], with one * at most"
            ));
        }
        Ok(match entry.split_once('*') {
            None => Self { before: entry, after: None },
            Some((before, after)) => Self { before: before.into(), after: Some(after.into()) },
        })
    }

    pub fn matches(&self, origin: &str) -> bool {
        let origin = origin.to_ascii_lowercase();
        let Some(after) = &self.after else {
            return origin == self.before;
        };
        let Some(middle) = origin.strip_prefix(&*self.before).and_then(|rest| rest.strip_suffix(&**after))
        else {
            return false;
        };
        // A star stands for names of a host, so nothing that could end the host may hide in it.
        !middle.is_empty() && middle.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
    }
}

fn has_scheme(entry: &str) -> bool {
    let scheme = entry.split("://").next().unwrap_or_default();
    !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod tests {
    use super::*;

    #[test]
    fn listed_origins() {
        let origins =
            Origins::parse("https://shop.example, https://*.vercel.app,http://localhost:3000/").unwrap();
        let host = Some("chat.example");
        for allowed in [
            "https://shop.example",
            "https://x.vercel.app",
            "https://a.b.vercel.app",
            "http://localhost:3000",
            "https://chat.example",
        ] {
            assert!(origins.allow(Some(allowed), host), "{allowed}");
        }
        for refused in [
            "http://shop.example",
            "https://shop.example.evil",
            "https://vercel.app",
            "https://.vercel.app.evil",
            "https://evil/.vercel.app",
            "https://evil:1@x.vercel.app",
            "null",
        ] {
            assert!(!origins.allow(Some(refused), host), "{refused}");
        }
        assert!(origins.allow(None, host));
    }

    #[test]
    fn unlisted_rules() {
        assert!(Origins::Any.allow(Some("https://anyone.example"), None));
        assert!(!Origins::Any.allow(Some("null"), None));
        assert!(Origins::SameOrigin.allow(Some("https://me.example"), Some("me.example")));
        assert!(!Origins::SameOrigin.allow(Some("https://me.example:1"), Some("me.example")));
    }

    #[test]
    fn bad_lists_are_named() {
        for bad in ["shop.example", "https://", "https://*.*.x", "https://a/b", ", ,", "*"] {
            assert!(Origins::parse(bad).is_err(), "{bad}");
        }
    }
}
