//! Which of the two formats a client wants.

use http::{HeaderMap, header::ACCEPT};

/// Whether OpenMetrics is asked for at least as much as Prometheus' own format. Who asks for
/// anything gets the latter, which every tool reads.
pub(super) fn prefers_openmetrics(headers: &HeaderMap) -> bool {
    let ranges = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let (mut openmetrics, mut text) = (0.0_f32, 0.0_f32);
    for (range, quality) in ranges.flat_map(|value| value.split(',')).filter_map(weighted) {
        match range.as_str() {
            "application/openmetrics-text" => openmetrics = openmetrics.max(quality),
            "text/plain" | "text/*" => text = text.max(quality),
            _ => {}
        }
    }
    openmetrics > 0.0 && openmetrics >= text
}

/// One media range and how much it is wanted, 0.0 to 1.0.
fn weighted(range: &str) -> Option<(String, f32)> {
    let mut parts = range.split(';').map(str::trim);
    let name = parts.next()?.to_ascii_lowercase();
    let quality = parts.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim().parse().ok())
    });
    match quality {
        None => Some((name, 1.0)),
        Some(Some(quality)) if (0.0..=1.0).contains(&quality) => Some((name, quality)),
        // What cannot be read is not wanted.
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openmetrics_is_for_those_who_name_it() {
        for (accept, expected) in [
            ("", false),
            ("*/*", false),
            ("text/plain", false),
            ("application/openmetrics-text", true),
            ("application/openmetrics-text; version=1.0.0; q=0.5, text/plain;q=0.3", true),
            ("text/plain;q=0.9, application/openmetrics-text;q=0.5", false),
            ("application/openmetrics-text;q=0, */*", false),
            ("application/openmetrics-text;q=yes", false),
            ("application/openmetrics-text;q=7", false),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                 application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;q=0.3,\
                 text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
                true,
            ),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            assert_eq!(prefers_openmetrics(&headers), expected, "{accept}");
        }
        assert!(!prefers_openmetrics(&HeaderMap::new()));
    }
}
