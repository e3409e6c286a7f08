//! The plot: for each scenario the server's CPU for one unit of work, a bar a server, with the range of the rounds.
//!
//! Plain SVG by hand. Its colours follow the reader's light or dark setting, and it brings its own ground, so that it is
//! readable on a page that has the other one.

use std::fmt::Write as _;

use super::figures::{Figure, Figures, rounded};

struct Panel {
    title: &'static str,
    scenario: &'static str,
    pointer: &'static str,
}

const PANELS: [Panel; 7] = [
    panel("1,000 rooms of two, 4,000 messages/s – CPU µs per delivery", "rooms", "/traffic/cpuUsPerDelivery"),
    panel(
        "one room of 500, 100 messages/s – CPU µs per delivery",
        "fanout-paced",
        "/traffic/cpuUsPerDelivery",
    ),
    panel(
        "one room of 500, saturated – CPU µs per delivery",
        "fanout-saturated",
        "/traffic/cpuUsPerDelivery",
    ),
    panel(
        "one room of 10,000, a message a second – CPU µs per delivery",
        "big-room",
        "/traffic/cpuUsPerDelivery",
    ),
    panel("10,000 joins into 5,000 rooms – CPU µs per join", "idle", "/joins/cpuUsEach"),
    panel("storm of 5,000 joins at once – CPU µs per join", "storm", "/joins/cpuUsEach"),
    panel(
        "200 AI streams at 50 tokens/s – CPU µs per token and reader",
        "ai-streams",
        "/streams/cpuUsPerToken",
    ),
];

const fn panel(title: &'static str, scenario: &'static str, pointer: &'static str) -> Panel {
    Panel { title, scenario, pointer }
}

const WIDTH: f64 = 760.0;
const MARGIN: f64 = 20.0;
const BARS_FROM: f64 = 150.0;
/// The longest bar ends there; its figure stands behind it.
const BARS_TO: f64 = 570.0;
const BAR: f64 = 16.0;
const BAR_STEP: f64 = 23.0;
const TITLE_STEP: f64 = 26.0;
const PANEL_GAP: f64 = 18.0;

const STYLE: &str = "\
text{font:13px system-ui,sans-serif;fill:#1f2328}.title{font-weight:600}.ground{fill:#fff}\
.ours{fill:#0969da}.peer{fill:#9a8262}.range{stroke:#1f2328;stroke-width:1.5;fill:none}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.ground{fill:#0d1117}.ours{fill:#4493f8}.peer{fill:#a89272}\
.range{stroke:#e6edf3}}";

pub(super) fn svg(figures: &Figures<'_>) -> String {
    let mut body = String::new();
    let mut top = MARGIN;
    for panel in &PANELS {
        let bars: Vec<(&str, Figure)> = figures
            .rows(panel.scenario)
            .filter_map(|row| Some((row.target, row.figure(panel.pointer)?)))
            .collect();
        if !bars.is_empty() {
            top = panel.draw(&mut body, top, &bars) + PANEL_GAP;
        }
    }
    let height = top - PANEL_GAP + MARGIN;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" \
         height=\"{height:.0}\" role=\"img\" aria-label=\"Server CPU per unit of work, by scenario and server; \
         shorter is cheaper\">\n<style>{STYLE}</style>\n\
         <rect class=\"ground\" width=\"{WIDTH}\" height=\"{height:.0}\" rx=\"8\"/>\n{body}</svg>\n"
    )
}

impl Panel {
    /// Returns where it ends.
    fn draw(&self, out: &mut String, top: f64, bars: &[(&str, Figure)]) -> f64 {
        let longest = bars.iter().map(|(_, figure)| figure.high).fold(f64::MIN_POSITIVE, f64::max);
        let x = |value: f64| BARS_FROM + (BARS_TO - BARS_FROM) * value / longest;
        let _ = writeln!(
            out,
            "<text class=\"title\" x=\"{MARGIN}\" y=\"{:.1}\">{}</text>",
            top + 13.0,
            escaped(self.title)
        );
        let mut y = top + TITLE_STEP;
        for (server, figure) in bars {
            let class = if server.starts_with("weeziq") { "ours" } else { "peer" };
            let (middle, baseline) = (y + BAR / 2.0, y + BAR - 3.5);
            let (end, low, high) = (x(figure.median), x(figure.low), x(figure.high));
            let name = escaped(server);
            let _ = writeln!(
                out,
                "<text x=\"{:.0}\" y=\"{baseline:.1}\" text-anchor=\"end\">{name}</text>\
                 <rect class=\"{class}\" x=\"{BARS_FROM}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"2\"/>\
                 <path class=\"range\" d=\"M{low:.1} {:.1}v8M{low:.1} {middle:.1}H{high:.1}M{high:.1} {:.1}v8\"/>\
                 <text x=\"{:.1}\" y=\"{baseline:.1}\">{}</text>",
                BARS_FROM - 8.0,
                end - BARS_FROM,
                middle - 4.0,
                middle - 4.0,
                end.max(high) + 8.0,
                rounded(figure.median)
            );
            y += BAR_STEP;
        }
        y
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figures::tests::recorded;

    #[test]
    fn each_server_has_a_bar_and_every_element_is_closed() {
        let all = recorded();
        let svg = svg(&Figures::of(&all));
        assert_eq!(svg.matches("class=\"ours\"").count(), 1);
        assert_eq!(svg.matches("class=\"peer\"").count(), 1);
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
        assert!(svg.contains("44.0") && svg.contains("prefers-color-scheme"), "{svg}");
        assert_eq!(escaped("a<b>&c"), "a&lt;b&gt;&amp;c");
    }
}
