//! What a POST must be before its body is looked at, and the reading of that body.

use std::{error::Error, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header, request::Parts};
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::{Map, Value};

use crate::problem::Problem;

/// The largest body taken: a command of these routes is a hundred bytes.
const LARGEST_BODY: usize = 16 * 1024;
/// A body that takes longer holds memory for nothing.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads the body of a POST that may have one.
pub(crate) async fn read<B>(head: &Parts, body: B) -> Result<Bytes, Problem>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    check_origin(&head.headers)?;
    if is_declared_empty(&head.headers, &body) {
        return Ok(Bytes::new());
    }
    if !is_json(&head.headers) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            "Unsupported media type",
            "the body must be JSON: send it with content-type: application/json",
        ));
    }
    if declared_length(&head.headers, &body) > LARGEST_BODY as u64 {
        return Err(too_large());
    }
    let body = Limited::new(body, LARGEST_BODY).collect();
    match tokio::time::timeout(BODY_TIMEOUT, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Problem::malformed("the body broke off")),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "request-timeout",
            "Request timeout",
            "the body did not arrive in time",
        )),
    }
}

/// The JSON object that a body holds; an empty body is an empty object.
pub(crate) fn object(body: &[u8]) -> Result<Map<String, Value>, Problem> {
    if body.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(Problem::malformed("the body is JSON, but not an object")),
        Err(error) => Err(Problem::malformed(format!("the body is not JSON: {error}"))),
    }
}

/// A page of another site must not act in its visitor's name. Browsers say where a request comes
/// from in `Sec-Fetch-Site`, but only to servers they trust to be who they are (HTTPS, localhost);
/// to the others in `Origin`. What sends neither is not a browser.
fn check_origin(headers: &HeaderMap) -> Result<(), Problem> {
    let is_own = match (headers.get("sec-fetch-site"), headers.get(header::ORIGIN)) {
        (Some(site), _) => matches!(site.as_bytes(), b"same-origin" | b"none"),
        (None, Some(origin)) => is_same_host(origin.as_bytes(), headers),
        (None, None) => true,
    };
    if is_own {
        return Ok(());
    }
    Err(Problem::forbidden("a page of another site may not do this"))
}

fn is_same_host(origin: &[u8], headers: &HeaderMap) -> bool {
    let authority = origin.windows(3).position(|three| three == b"://").map(|at| &origin[at + 3..]);
    let host = headers.get(header::HOST).map(|host| host.as_bytes());
    authority.is_some_and(|a| host.is_some_and(|host| a.eq_ignore_ascii_case(host)))
}

fn is_declared_empty(headers: &HeaderMap, body: &impl Body) -> bool {
    body.is_end_stream()
        || (!headers.contains_key(header::TRANSFER_ENCODING) && length(headers) == Some(0))
}

fn declared_length(headers: &HeaderMap, body: &impl Body) -> u64 {
    length(headers).unwrap_or(0).max(body.size_hint().lower())
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// `application/json`, or a format made of it such as `application/merge-patch+json`.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(value)) = headers.get(header::CONTENT_TYPE).map(|value| value.to_str()) else {
        return false;
    };
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn too_large() -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "content-too-large",
        "Content too large",
        "a body of at most 16 KiB is taken here",
    )
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut request = Request::post("/");
        for (name, value) in pairs {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0.headers
    }

    #[test]
    fn only_json_is_json() {
        for (value, expected) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/merge-patch+json", true),
            ("text/json", false),
            ("application/jsonx", false),
            ("application/x-www-form-urlencoded", false),
            ("text/plain", false),
            ("", false),
        ] {
            assert_eq!(is_json(&headers(&[("content-type", value)])), expected, "{value}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }

    #[test]
    fn pages_of_other_sites_are_turned_away() {
        for (pairs, expected) in [
            (&[][..], true),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "")], false),
            // The browser's own judgement is better than ours.
            (&[("sec-fetch-site", "same-origin"), ("origin", "https://a"), ("host", "b")], true),
            (&[("origin", "http://a:1"), ("host", "A:1")], true),
            (&[("origin", "http://a"), ("host", "b")], false),
            (&[("origin", "http://a:1"), ("host", "a:2")], false),
            (&[("origin", "null"), ("host", "a")], false),
            (&[("origin", "http://a")], false),
        ] {
            assert_eq!(check_origin(&headers(pairs)).is_ok(), expected, "{pairs:?}");
        }
    }

    #[test]
    fn a_body_is_an_object_or_empty() {
        assert!(object(b"").unwrap().is_empty());
        assert!(object(b" \n").unwrap().is_empty());
        assert_eq!(object(br#"{"a":1}"#).unwrap()["a"], 1);
        let deep = "[".repeat(100_000);
        for bad in ["{", "[]", "null", "\"a\"", "{\"a\":1e999}", "\u{feff}{}", &deep] {
            assert!(object(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(object(b"\xff\xfe").is_err());
    }
}
