//! Browser, system and kind of device from a `User-Agent` header, by the tokens that browsers put into it. A table
//! instead of regular expressions: those cost 300 KB in a Worker.

/// Names as statistics show them; `Unknown` and `desktop` where nothing is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Class {
    pub(super) browser: &'static str,
    pub(super) os: &'static str,
    /// `desktop`, `mobile`, `tablet` or `bot`.
    pub(super) device: &'static str,
}

/// The first token that is found wins: most browsers also name those that they descend from.
const BROWSERS: &[(&str, &str)] = &[
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("EdgiOS/", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("FBAN/", "Facebook"),
    ("FBAV/", "Facebook"),
    ("CriOS/", "Chrome"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Version/", "Safari"),
];

const SYSTEMS: &[(&str, &str)] = &[
    ("iPad", "iPadOS"),
    ("iPhone", "iOS"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Macintosh", "macOS"),
    ("Linux", "Linux"),
];

/// What is no person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bot {
    /// Reads sites for somebody's index or model.
    Crawler,
    /// A browser without a person.
    Headless,
    /// A program that fetches.
    Tool,
}

/// Lower case. `bot` counts only where a word ends, for the sake of the phones of a maker named Cubot.
const BOTS: &[(&str, Bot)] = &[
    ("headless", Bot::Headless),
    ("lighthouse", Bot::Headless),
    ("crawl", Bot::Crawler),
    ("spider", Bot::Crawler),
    ("externalagent", Bot::Crawler),
    ("curl/", Bot::Tool),
    ("wget/", Bot::Tool),
    ("python", Bot::Tool),
    ("go-http", Bot::Tool),
    ("axios", Bot::Tool),
    ("http://", Bot::Crawler),
    ("https://", Bot::Crawler),
];

pub(super) fn classify(user_agent: &str) -> Class {
    let find = |table: &[(&str, &'static str)]| {
        table.iter().find(|(token, _)| user_agent.contains(token)).map_or("Unknown", |(_, name)| *name)
    };
    Class { browser: find(BROWSERS), os: find(SYSTEMS), device: device(user_agent) }
}

fn device(user_agent: &str) -> &'static str {
    if bot(user_agent).is_some() {
        "bot"
    } else if user_agent.contains("iPad")
        || (user_agent.contains("Android") && !user_agent.contains("Mobile"))
    {
        "tablet"
    } else if user_agent.contains("iPhone") || user_agent.contains("Android") {
        "mobile"
    } else {
        "desktop"
    }
}

pub(super) fn bot(user_agent: &str) -> Option<Bot> {
    let lower = user_agent.to_ascii_lowercase();
    let ends_a_word = |(at, _): (usize, &str)| {
        let (before, after) = (lower.get(..at).unwrap_or_default(), lower.get(at + 3..).unwrap_or_default());
        !before.ends_with("cu") && !after.starts_with(|c: char| c.is_ascii_lowercase())
    };
    let named = BOTS.iter().find(|(token, _)| lower.contains(token)).map(|(_, bot)| *bot);
    named.or_else(|| lower.match_indices("bot").any(ends_a_word).then_some(Bot::Crawler))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(user_agent: &str, browser: &str, os: &str, device: &str) {
        let class = classify(user_agent);
        assert_eq!((class.browser, class.os, class.device), (browser, os, device), "{user_agent}");
    }

    #[test]
    fn knows_what_people_use() {
        let chrome = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";
        check(chrome, "Chrome", "Windows", "desktop");
        check(&format!("{chrome} Edg/140.0.0.0"), "Edge", "Windows", "desktop");
        check(
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1",
            "Safari",
            "iOS",
            "mobile",
        );
        check(
            "Mozilla/5.0 (Linux; Android 15; SM-X910) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/27.0 Chrome/125.0.0.0 Safari/537.36",
            "Samsung Internet",
            "Android",
            "tablet",
        );
        check(
            "Mozilla/5.0 (Linux; Android 11; CUBOT NOTE 20) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Mobile Safari/537.36",
            "Chrome",
            "Android",
            "mobile",
        );
        check(
            "Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0",
            "Firefox",
            "Linux",
            "desktop",
        );
        check(
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "Unknown",
            "Unknown",
            "bot",
        );
        check("curl/8.5.0", "Unknown", "Unknown", "bot");
        check("", "Unknown", "Unknown", "desktop");
    }
}
