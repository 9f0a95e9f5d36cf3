//! `/monitoring/`: the dashboard, whose shell and files hold no figure of the process.

use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Uri,
    header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, LOCATION, VARY},
};

use crate::{
    body::Answer,
    dashboard::{File, INDEX},
    paths::Paths,
    reply::{text, words},
};

/// Everything comes from here, nothing is written into the page itself, and nobody may frame it.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);
/// What the page as it was packed says of where the rest is: true unless one of them was moved
/// without the others.
const PACKED_PLACES: &str = r#"data-api="../api/" data-metrics="../metrics""#;

/// To the path with the slash, so that relative links work.
pub(crate) fn redirect(uri: &Uri) -> Response<Answer> {
    let mut response = words(StatusCode::PERMANENT_REDIRECT, "");
    // Relative to what the client asked for, which a proxy may have shortened on the way.
    let name = uri.path().rsplit('/').next().unwrap_or_default();
    if let Ok(location) = HeaderValue::from_str(&format!("{name}/")) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// The page.
pub(crate) fn show(paths: &Paths, headers: &HeaderMap) -> Response<Answer> {
    let places = places(paths);
    if places == PACKED_PLACES {
        return with_policy(packed(&INDEX, headers));
    }
    with_policy(text(INDEX.content_type, INDEX.plain().replace(PACKED_PLACES, &places)))
}

/// One of the page's files.
pub(crate) fn file(file: &'static File, headers: &HeaderMap) -> Response<Answer> {
    let mut response = packed(file, headers);
    if file.is_hashed {
        // A year; a proxy that serves many keeps nothing of what is behind a login.
        let forever = HeaderValue::from_static("private, max-age=31536000, immutable");
        response.headers_mut().insert(CACHE_CONTROL, forever);
    }
    with_policy(response)
}

fn packed(file: &'static File, headers: &HeaderMap) -> Response<Answer> {
    let (bytes, encoding) = file.encoded(headers);
    let mut response = text(file.content_type, bytes);
    if let Some(encoding) = encoding {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept-encoding"));
    response
}

fn with_policy(mut response: Response<Answer>) -> Response<Answer> {
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, POLICY);
    response.headers_mut().insert(
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    );
    response
}

/// Where the API and the metrics are, seen from the page: relative, so that it works behind a
/// proxy that puts all of them somewhere else.
fn places(paths: &Paths) -> String {
    let page = format!("{}/", paths.dashboard());
    let api = relative(&page, &paths.api(""));
    let metrics = relative(&page, paths.metrics());
    format!(r#"data-api="{}" data-metrics="{}""#, escaped(&api), escaped(&metrics))
}

/// The way from one path to another.
fn relative(from: &str, to: &str) -> String {
    let shared = from.bytes().zip(to.bytes()).take_while(|(a, b)| a == b);
    // Up to the last slash that both have.
    let shared = shared.enumerate().filter(|(_, (byte, _))| *byte == b'/').last();
    let begin = shared.map_or(0, |(at, _)| at + 1);
    let up = from[begin..].matches('/').count();
    format!("{}{}", "../".repeat(up), &to[begin..])
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(paths: &Paths) -> String {
        match show(paths, &HeaderMap::new()).into_body() {
            Answer::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
            Answer::Events(_) => panic!("a page"),
        }
    }

    #[test]
    fn the_page_finds_the_rest_from_wherever_it_is() {
        for (from, to, expected) in [
            ("/monitoring/", "/api/", "../api/"),
            ("/a/monitoring/", "/a/api/", "../api/"),
            ("/a/b/", "/api/", "../../api/"),
            ("/api/dash/", "/api/", "../"),
            ("/monitoring/", "/monitor", "../monitor"),
        ] {
            assert_eq!(relative(from, to), expected, "{from} {to}");
        }
        assert!(INDEX.plain().contains(PACKED_PLACES));
        assert_eq!(page(&Paths::default()), INDEX.plain());
        assert_eq!(page(&Paths::below("/internal")), INDEX.plain());
        let mut paths = Paths::below("/a");
        paths.set_api("/other");
        paths.set_metrics(r#"/m"><b>"#);
        let moved = page(&paths);
        assert!(moved.contains(r#"data-api="../../other/""#), "{moved}");
        assert!(moved.contains("m&quot;>&lt;b>"), "{moved}");
    }

    #[test]
    fn the_redirect_is_relative() {
        let response = redirect(&"/behind/monitoring?x=1".parse().unwrap());
        assert_eq!(response.status(), StatusCode::PERMANENT_REDIRECT);
        assert_eq!(response.headers()[LOCATION], "monitoring/");
    }
}
