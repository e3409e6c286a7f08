//! Sources without comments. Only those go that have lines of their own, which takes no knowledge of the language, and
//! types, which begin as nothing else does: `/** @`. What begins with `/*!` is a licence and stays.

/// The same lines, those of comments empty.
pub(crate) fn blanked(source: &str) -> String {
    let mut is_inside = false;
    let mut kept = String::with_capacity(source.len());
    for line in source.lines() {
        let code = match is_inside {
            true => line.split_once("*/").map(|(_, code)| code),
            false => after_comment(line),
        };
        is_inside = code.is_none() && !line.trim_start().starts_with("//");
        kept.push_str(untyped(code.unwrap_or_default()).trim_end());
        kept.push('\n');
    }
    kept
}

/// What there is to keep of a line that begins outside a comment; nothing if its comment goes on, or is all of it.
fn after_comment(line: &str) -> Option<&str> {
    let text = line.trim_start();
    if text.starts_with("//") {
        return None;
    }
    if !text.starts_with("/*") || text.starts_with("/*!") {
        return Some(line);
    }
    text.split_once("*/").map(|(_, code)| code)
}

/// Of a line of code, all but the types in it.
fn untyped(code: &str) -> String {
    let mut kept = String::with_capacity(code.len());
    let mut rest = code;
    while let Some((before, (_, after))) =
        rest.split_once("/** @").and_then(|(before, typed)| Some((before, typed.split_once("*/")?)))
    {
        kept.push_str(before);
        rest = after.trim_start();
    }
    kept + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_on_lines_of_their_own_go() {
        let source = "/** What\n * it is. */\nlet a = /** @type {A} */ (1); // one\n  // why\n  /* x */ b();\n/*! MIT */\n/** c */\nd()\n";
        assert_eq!(blanked(source), "\n\nlet a = (1); // one\n\n b();\n/*! MIT */\n\nd()\n");
    }
}
