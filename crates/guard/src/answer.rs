//! What a refused client is told: enough to act on, and no byte count.

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode, Uri,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use plimsoll_core::Refusal;

use crate::{config::RequestHead, state::Refused};

/// A longer path is not repeated to whoever sent it.
const LONGEST_INSTANCE: usize = 256;
const GRPC: &str = "application/grpc";
/// gRPC's status `UNAVAILABLE`: the client may try again.
const GRPC_UNAVAILABLE: &str = "14";
/// gRPC's status `RESOURCE_EXHAUSTED`, for what can never fit.
const GRPC_RESOURCE_EXHAUSTED: &str = "8";

/// Builds the answer; drops the request with its body unread.
#[cold]
pub(crate) fn refuse<B>(refused: &Refused, request: Request<B>) -> Response<Bytes> {
    let path = json_string(RequestHead::of(&request).path());
    // Reused: the map's allocation is most of what a refusal costs.
    let mut headers = request.into_parts().0.headers;
    let grpc = headers.remove(CONTENT_TYPE).filter(is_grpc);
    headers.clear();
    build(headers, grpc, &path, refused)
}

/// What of a request decides how its refusal looks; kept of one that may be refused once its
/// headers are gone.
#[derive(Debug)]
pub(crate) struct Manners {
    uri: Uri,
    /// Its content type, if that is gRPC's.
    grpc: Option<HeaderValue>,
}

impl Manners {
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        let head = RequestHead::of(request);
        let content_type = head.headers.get(CONTENT_TYPE);
        Self { uri: head.sent_uri().clone(), grpc: content_type.filter(|it| is_grpc(it)).cloned() }
    }

    /// Builds the answer to a request whose body has outgrown its room.
    #[cold]
    pub(crate) fn refuse(&self, refused: &Refused) -> Response<Bytes> {
        let path = json_string(self.uri.path());
        build(HeaderMap::new(), self.grpc.clone(), &path, refused)
    }
}

fn build(
    headers: HeaderMap,
    grpc: Option<HeaderValue>,
    instance: &str,
    refused: &Refused,
) -> Response<Bytes> {
    match grpc {
        Some(content_type) => trailers_only(headers, content_type, refused),
        None => problem(headers, instance, refused),
    }
}

/// The answer to a request that was let in and is ended: what it was is gone with it.
#[cold]
pub(crate) fn end(refusal: Refusal, grpc: bool) -> Response<Bytes> {
    let refused = Refused { refusal, body_too_large: false };
    let grpc = grpc.then(|| HeaderValue::from_static(GRPC));
    build(HeaderMap::new(), grpc, "null", &refused)
}

/// `application/grpc`, `application/grpc+proto`, `application/grpc-web`, with parameters or not.
pub(crate) fn is_grpc(content_type: &HeaderValue) -> bool {
    let Some((start, rest)) = content_type.as_bytes().split_at_checked(GRPC.len()) else {
        return false;
    };
    start.eq_ignore_ascii_case(GRPC.as_bytes())
        && matches!(rest.first(), None | Some(b'+' | b'-' | b';' | b' '))
}

/// RFC 9457 problem details. A body that is too large is its sender's to shrink;
/// anything else is the server's state.
fn problem(mut headers: HeaderMap, instance: &str, refused: &Refused) -> Response<Bytes> {
    let Refusal { level, retry_after, .. } = refused.refusal;
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    let (status, slug, title, detail, retry_after_ms) = if refused.body_too_large {
        (
            StatusCode::PAYLOAD_TOO_LARGE,
            "content-too-large",
            "Content too large",
            "the body is larger than this server can ever take",
            "null".to_owned(),
        )
    } else {
        headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(retry_after)));
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "memory-pressure",
            "Memory pressure",
            "the server is short of memory and did not take this request",
            retry_after.as_millis().to_string(),
        )
    };
    let text = format!(
        r#"{{"success":false,"error":"{title}","type":"https://plimsoll.rs/problems/{slug}","title":"{title}","status":{},"detail":"{detail}","instance":{instance},"level":"{level}","retryAfterMs":{retry_after_ms}}}"#,
        status.as_u16(),
    );
    answer(status, headers, Bytes::from(text))
}

/// Trailers-only: the status is in the headers of a 200 without a body, so that a client sees
/// `UNAVAILABLE` and not a broken stream.
fn trailers_only(
    mut headers: HeaderMap,
    content_type: HeaderValue,
    refused: &Refused,
) -> Response<Bytes> {
    let (status, message, pushback) = if refused.body_too_large {
        // Negative: do not try again.
        (GRPC_RESOURCE_EXHAUSTED, "message%20can%20never%20fit", -1)
    } else {
        let millis = refused.refusal.retry_after.as_millis();
        (GRPC_UNAVAILABLE, "memory%20pressure", i32::try_from(millis).unwrap_or(i32::MAX))
    };
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert("grpc-status", HeaderValue::from_static(status));
    headers.insert("grpc-message", HeaderValue::from_static(message));
    headers.insert("grpc-retry-pushback-ms", HeaderValue::from(pushback));
    answer(StatusCode::OK, headers, Bytes::new())
}

fn answer(status: StatusCode, headers: HeaderMap, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Rounded up, at least 1: trying again before the time is up would be in vain.
fn whole_seconds(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(u64::MAX).max(1)
}

/// A path as a JSON string, cut to [`LONGEST_INSTANCE`] bytes: `http` lets quotes through.
fn json_string(path: &str) -> String {
    let mut end = path.len().min(LONGEST_INSTANCE);
    while !path.is_char_boundary(end) {
        end -= 1;
    }
    let mut quoted = String::with_capacity(end + 2);
    quoted.push('"');
    for c in path[..end].chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push('\u{fffd}'),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_path_stays_one_json_string() {
        assert_eq!(json_string(r#"/a"b\c"#), r#""/a\"b\\c""#);
        assert_eq!(json_string(&"ä".repeat(200)).chars().count(), 128 + 2);
    }

    #[test]
    fn only_grpc_is_answered_as_grpc() {
        for (content_type, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("Application/GRPC-Web; charset=utf-8", true),
            ("application/grpc;x=y", true),
            ("application/grpcx", false),
            ("application/json", false),
            ("", false),
        ] {
            assert_eq!(
                is_grpc(&HeaderValue::from_static(content_type)),
                expected,
                "{content_type}"
            );
        }
    }

    #[test]
    fn a_wait_is_told_in_whole_seconds_and_never_as_none() {
        for (millis, expected) in [(0, 1), (1, 1), (1_000, 1), (1_001, 2), (10_000, 10)] {
            assert_eq!(whole_seconds(Duration::from_millis(millis)), expected, "{millis}");
        }
    }
}
