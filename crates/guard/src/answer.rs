//! What a refused client is told: enough to act on, and no byte count.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use plimsoll_core::{Refusal, RefusalReason};

use crate::state::GuardState;

/// A longer path is not repeated to whoever sent it.
const LONGEST_INSTANCE: usize = 256;
const GRPC: &str = "application/grpc";
/// gRPC's status `UNAVAILABLE`: the client may try again.
const GRPC_UNAVAILABLE: &str = "14";
/// gRPC's status `RESOURCE_EXHAUSTED`, for what can never fit.
const GRPC_RESOURCE_EXHAUSTED: &str = "8";

/// Builds the answer; drops the request with its body unread.
pub(crate) fn refuse<B>(
    request: Request<B>,
    refusal: Refusal,
    declared_body: u64,
) -> Response<Bytes> {
    let (parts, body) = request.into_parts();
    drop(body);
    // Reused: the map's allocation is most of what a refusal costs.
    let mut headers = parts.headers;
    let grpc = headers.remove(CONTENT_TYPE).filter(is_grpc);
    headers.clear();
    match grpc {
        Some(content_type) => grpc_answer(headers, content_type, refusal),
        None => problem(headers, parts.uri.path(), refusal, declared_body),
    }
}

fn is_grpc(content_type: &HeaderValue) -> bool {
    content_type.as_bytes().starts_with(GRPC.as_bytes())
}

/// RFC 9457 problem details. A body that was declared too large is its sender's to shrink;
/// anything else is the server's state.
fn problem(
    mut headers: HeaderMap,
    path: &str,
    refusal: Refusal,
    declared_body: u64,
) -> Response<Bytes> {
    let too_large = refusal.reason == RefusalReason::NeverFits && declared_body > 0;
    let (status, slug, title, detail) = if too_large {
        (
            StatusCode::PAYLOAD_TOO_LARGE,
            "content-too-large",
            "Content too large",
            "the declared body is larger than this server can ever take",
        )
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "memory-pressure",
            "Memory pressure",
            "the server is short of memory and did not take this request",
        )
    };
    let (retry_after_ms, retry) = if too_large {
        ("null".to_owned(), None)
    } else {
        (refusal.retry_after.as_millis().to_string(), Some(retry_seconds(refusal)))
    };
    let body = format!(
        r#"{{"success":false,"error":"{title}","type":"https://plimsoll.rs/problems/{slug}","title":"{title}","status":{},"detail":"{detail}","instance":{},"level":"{}","retryAfterMs":{retry_after_ms}}}"#,
        status.as_u16(),
        json_string(path),
        refusal.level,
    );
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if let Some(seconds) = retry {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer(status, headers, Bytes::from(body))
}

/// Trailers-only: the status is in the headers of a 200 without a body, so that a client sees
/// `UNAVAILABLE` and not a broken stream.
fn grpc_answer(
    mut headers: HeaderMap,
    content_type: HeaderValue,
    refusal: Refusal,
) -> Response<Bytes> {
    let (status, message, pushback) = match refusal.reason {
        // Negative: do not try again.
        RefusalReason::NeverFits => (GRPC_RESOURCE_EXHAUSTED, "request%20can%20never%20fit", -1),
        _ => {
            let millis = i32::try_from(refusal.retry_after.as_millis()).unwrap_or(i32::MAX);
            (GRPC_UNAVAILABLE, "memory%20pressure", millis)
        }
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

/// Whole seconds, rounded up: trying again before the time is up would be in vain.
fn retry_seconds(refusal: Refusal) -> u64 {
    u64::try_from(refusal.retry_after.as_millis().div_ceil(1_000)).unwrap_or(u64::MAX).max(1)
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

/// The answer when the inner service was not ready, so that not even a request that fits could
/// be passed on.
pub(crate) fn busy<B>(request: Request<B>, state: &GuardState) -> Response<Bytes> {
    refuse(request, state.admission().busy_refusal(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_path_stays_one_json_string() {
        assert_eq!(json_string(r#"/a"b\c"#), r#""/a\"b\\c""#);
        assert_eq!(json_string(&"ä".repeat(200)).chars().count(), 128 + 2);
    }
}
