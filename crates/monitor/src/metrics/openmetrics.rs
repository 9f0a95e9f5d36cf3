//! Prometheus text, rewritten as [OpenMetrics 1.0].
//!
//! [OpenMetrics 1.0]: https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md

use std::fmt::Write as _;

/// The family that the samples below belong to.
struct Family<'t> {
    /// As the text names it.
    name: &'t str,
    is_counter: bool,
}

/// Rewrites a text in which each family has its type line above its samples, as exporters write
/// it; `None` for any other, which is better served as it is than wrong.
pub(super) fn from_prometheus(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len() + 64);
    let mut help = None;
    let mut family = None;
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = Some(rest.split_once(' ').unwrap_or((rest, "")));
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            family = Some(write_family(&mut out, rest, help.take())?);
        } else if !line.starts_with('#') {
            write_sample(&mut out, line, family.as_ref()?)?;
        }
    }
    out.push_str("# EOF\n");
    Some(out)
}

/// A counter's family is named without the `_total` that its samples have.
fn write_family<'t>(
    out: &mut String,
    type_line: &'t str,
    help: Option<(&str, &str)>,
) -> Option<Family<'t>> {
    let (name, kind) = type_line.split_once(' ')?;
    let is_counter = kind == "counter";
    let shown = if is_counter { name.strip_suffix("_total").unwrap_or(name) } else { name };
    let kind = if kind == "untyped" { "unknown" } else { kind };
    // Writing to a string cannot fail.
    let _ = writeln!(out, "# TYPE {shown} {kind}");
    if let Some((_, text)) = help.filter(|(of, _)| *of == name) {
        let _ = writeln!(out, "# HELP {shown} {}", text.replace('"', "\\\""));
    }
    Some(Family { name, is_counter })
}

fn write_sample(out: &mut String, line: &str, family: &Family<'_>) -> Option<()> {
    // What follows the last brace is the value: a value holds none.
    let (series, value) = match line.rsplit_once('}') {
        Some((series, value)) => (series, value),
        None => line.split_once(' ')?,
    };
    let value = value.trim();
    // A second word is a time, in milliseconds here and in seconds there.
    if value.is_empty() || value.contains(' ') {
        return None;
    }
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, Some(labels)),
        None => (series, None),
    };
    if !name.starts_with(family.name) {
        return None;
    }
    out.push_str(name);
    if family.is_counter && !name.ends_with("_total") {
        out.push_str("_total");
    }
    if let Some(labels) = labels {
        out.push('{');
        write_labels(out, labels);
        out.push('}');
    }
    let value = match value {
        "inf" => "+Inf",
        "-inf" => "-Inf",
        value => value,
    };
    let _ = writeln!(out, " {value}");
    Some(())
}

/// The bounds of buckets and quantiles are numbers with a point: `5` becomes `5.0`.
fn write_labels(out: &mut String, labels: &str) {
    for name in ["le", "quantile"] {
        // Exporters write it last. A quote inside a value is escaped, so this is no such value.
        let Some((before, bound)) = labels.rsplit_once(&format!("{name}=\"")) else { continue };
        let bound = bound.trim_end_matches(',').strip_suffix('"');
        if let Some(Ok(bound)) = bound.map(str::parse::<f64>)
            && (before.is_empty() || before.ends_with(','))
            && bound.is_finite()
        {
            let _ = write!(out, "{before}{name}=\"{bound:?}\"");
            return;
        }
    }
    out.push_str(labels);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_is_rewritten_line_by_line() {
        let prometheus = "\
# HELP a_total Things \"done\".
# TYPE a_total counter
a_total{route=\"/x{id}\",reason=\"a b\"} 3
a_total 4

# TYPE b counter
b 1

# HELP c_bytes Bytes.
# TYPE c_bytes gauge
c_bytes 1.5
c_bytes{kind=\"rss\"} inf

# TYPE d_seconds histogram
d_seconds_bucket{le=\"0.005\"} 0
d_seconds_bucket{x=\"le=\\\"5\\\"\",le=\"5\"} 1
d_seconds_bucket{le=\"+Inf\"} 1
d_seconds_sum 0.2
d_seconds_count 1

# TYPE e summary
e{quantile=\"0.5\"} 1
e{quantile=\"1\"} 1
e_sum 1
# TYPE f untyped
f NaN
";
        let expected = "\
# TYPE a counter
# HELP a Things \\\"done\\\".
a_total{route=\"/x{id}\",reason=\"a b\"} 3
a_total 4
# TYPE b counter
b_total 1
# TYPE c_bytes gauge
# HELP c_bytes Bytes.
c_bytes 1.5
c_bytes{kind=\"rss\"} +Inf
# TYPE d_seconds histogram
d_seconds_bucket{le=\"0.005\"} 0
d_seconds_bucket{x=\"le=\\\"5\\\"\",le=\"5.0\"} 1
d_seconds_bucket{le=\"+Inf\"} 1
d_seconds_sum 0.2
d_seconds_count 1
# TYPE e summary
e{quantile=\"0.5\"} 1
e{quantile=\"1.0\"} 1
e_sum 1
# TYPE f unknown
f NaN
# EOF
";
        assert_eq!(from_prometheus(prometheus).as_deref(), Some(expected));
        assert_eq!(from_prometheus("").as_deref(), Some("# EOF\n"));
    }

    #[test]
    fn what_cannot_be_rewritten_is_left_alone() {
        for text in [
            "a 1\n",                               // no type
            "# TYPE a gauge\na 1 1700000000000\n", // a time
            "# TYPE a gauge\nb 1\n",               // another family's sample
            "# TYPE a gauge\na\n",
            "# TYPE a\n",
            "nonsense",
        ] {
            assert_eq!(from_prometheus(text), None, "{text:?}");
        }
    }
}
