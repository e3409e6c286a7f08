//! Prometheus' text exposition format, version 0.0.4: https://prometheus.io/docs/instrumenting/exposition_formats/

use std::fmt::{Display, Write};

use super::families;
use super::histogram::Histogram;

pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

#[derive(Default)]
pub struct Page {
    text: String,
}

/// Samples of one name, which stand together.
pub struct Family<'a> {
    name: &'static str,
    text: &'a mut String,
}

pub type Labels<'a> = &'a [(&'static str, &'a str)];

impl Page {
    pub fn of(&mut self, family: &families::Family) -> Family<'_> {
        self.family(family.name, family.kind, family.help)
    }

    /// What only grows while the process lives. Its name ends in `_total`.
    pub fn counter(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "counter", help)
    }

    pub fn gauge(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "gauge", help)
    }

    pub fn histogram(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "histogram", help)
    }

    fn family(&mut self, name: &'static str, kind: &str, help: &str) -> Family<'_> {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family { name, text: &mut self.text }
    }

    pub fn into_text(self) -> String {
        self.text
    }
}

impl Family<'_> {
    pub fn is(&mut self, value: impl Display) -> &mut Self {
        self.with(&[], value)
    }

    pub fn with(&mut self, labels: Labels<'_>, value: impl Display) -> &mut Self {
        self.sample("", labels, value)
    }

    pub fn summed(&mut self, labels: Labels<'_>, seconds: f64, count: u64) {
        self.sample("_sum", labels, seconds);
        self.sample("_count", labels, count);
    }

    pub fn observed(&mut self, labels: Labels<'_>, histogram: &Histogram) {
        let bucket = |le: &str, count: u64, family: &mut Self| {
            let mut labels: Vec<(&'static str, &str)> = labels.to_vec();
            labels.push(("le", le));
            family.sample("_bucket", &labels, count);
        };
        for (us, count) in histogram.cumulative() {
            bucket(&(us as f64 / 1e6).to_string(), count, self);
        }
        bucket("+Inf", histogram.count(), self);
        self.sample("_sum", labels, histogram.sum_seconds());
        self.sample("_count", labels, histogram.count());
    }

    /// What has its name and its labels already, as [`sample`] writes them.
    pub fn known(&mut self, sample: &str, value: impl Display) -> &mut Self {
        let _ = writeln!(self.text, "{sample} {value}");
        self
    }

    fn sample(&mut self, suffix: &str, labels: Labels<'_>, value: impl Display) -> &mut Self {
        let _ = write!(self.text, "{}{suffix}", self.name);
        write_labels(self.text, labels);
        let _ = writeln!(self.text, " {value}");
        self
    }
}

/// A sample's name with its labels: what tells it from all others.
pub fn sample(name: &str, labels: Labels<'_>) -> String {
    let mut text = name.to_owned();
    write_labels(&mut text, labels);
    text
}

fn write_labels(text: &mut String, labels: Labels<'_>) {
    for (n, (name, value)) in labels.iter().enumerate() {
        let opening = if n == 0 { '{' } else { ',' };
        let _ = write!(text, "{opening}{name}=\"{}\"", escaped(value));
    }
    if !labels.is_empty() {
        text.push('}');
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_page_reads_as_the_format_says() {
        let mut page = Page::default();
        let labels = [("kind", "x\"y\\\n"), ("of", "z")];
        page.counter("a_total", "Things.")
            .with(&labels, 3)
            .is(4)
            .known(&sample("a_total", &[("of", "y")]), 5);
        let mut took = Histogram::default();
        took.observe(Duration::from_micros(400));
        page.histogram("b_seconds", "How long.").observed(&[("shard", "0")], &took);
        let text = page.into_text();
        assert!(text.starts_with(
            "# HELP a_total Things.\n# TYPE a_total counter\na_total{kind=\"x\\\"y\\\\\\n\",of=\"z\"} 3\na_total 4\na_total{of=\"y\"} 5\n"
        ));
        for line in [
            "b_seconds_bucket{shard=\"0\",le=\"0.00025\"} 0\n",
            "b_seconds_bucket{shard=\"0\",le=\"0.0005\"} 1\n",
            "b_seconds_bucket{shard=\"0\",le=\"2.5\"} 1\n",
            "b_seconds_bucket{shard=\"0\",le=\"+Inf\"} 1\n",
            "b_seconds_sum{shard=\"0\"} 0.0004\n",
            "b_seconds_count{shard=\"0\"} 1\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
