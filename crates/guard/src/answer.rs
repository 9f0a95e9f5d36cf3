//! What a refused client is told: enough to act on, and no byte count.

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use plimsoll_core::{PressureLevel, Refusal};

use crate::{config::RequestHead, state::Refused};

/// A longer path is not repeated to whoever sent it.
const LONGEST_INSTANCE: usize = 256;
const GRPC: &str = "application/grpc";
/// gRPC's status `UNAVAILABLE`: the client may try again.
const GRPC_UNAVAILABLE: &str = "14";
/// gRPC's status `RESOURCE_EXHAUSTED`, for what can never fit.
const GRPC_RESOURCE_EXHAUSTED: &str = "8";

/// Builds the answer to a request whose body stays unread; takes its headers.
#[cold]
pub(crate) fn refuse<B>(refused: &Refused, request: &mut Request<B>) -> Response<Bytes> {
    // A gRPC request is a POST, and nothing need be looked for in any other.
    let grpc = if request.method() == Method::POST {
        request.headers().get(CONTENT_TYPE).filter(|it| is_grpc(it)).cloned()
    } else {
        None
    };
    let mut response = match &grpc {
        Some(_) => Response::new(Bytes::new()),
        None => {
            Response::new(text(Some(RequestHead::of(request).path()), refused, SHORT_OF_MEMORY))
        }
    };
    // The request's map is reused: a new one would cost more than all the rest of a refusal. It is
    // exchanged for the empty one that the response came with, so that none is dropped here.
    let headers = request.headers_mut();
    headers.clear();
    std::mem::swap(response.headers_mut(), headers);
    tell(&mut response, grpc, refused);
    response
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
        build(self.grpc.clone(), Some(self.uri.path()), refused)
    }
}

/// The answer to a request that was let in before.
fn build(grpc: Option<HeaderValue>, path: Option<&str>, refused: &Refused) -> Response<Bytes> {
    let body = if grpc.is_some() { Bytes::new() } else { text(path, refused, ENDED) };
    let mut response = Response::new(body);
    tell(&mut response, grpc, refused);
    response
}

/// Sets status and headers.
#[inline]
fn tell(response: &mut Response<Bytes>, grpc: Option<HeaderValue>, refused: &Refused) {
    match grpc {
        Some(content_type) => trailers_only(response.headers_mut(), content_type, refused),
        None => problem(response, refused),
    }
}

/// The answer to a request that was let in and is ended: what it was is gone with it.
#[cold]
pub(crate) fn end(refusal: Refusal, grpc: bool) -> Response<Bytes> {
    let refused = Refused { refusal, body_too_large: false };
    let grpc = grpc.then(|| HeaderValue::from_static(GRPC));
    build(grpc, None, &refused)
}

/// `application/grpc`, `application/grpc+proto`, `application/grpc-web`, with parameters or not.
pub(crate) fn is_grpc(content_type: &HeaderValue) -> bool {
    let Some((start, rest)) = content_type.as_bytes().split_at_checked(GRPC.len()) else {
        return false;
    };
    start.eq_ignore_ascii_case(GRPC.as_bytes())
        && matches!(rest.first(), None | Some(b'+' | b'-' | b';' | b' '))
}

/// What problem details say up to the path and its first quote, the same for everyone who is refused for that.
macro_rules! opening {
    ($slug:literal, $title:literal, $status:literal, $detail:literal) => {
        concat!(
            r#"{"success":false,"error":""#,
            $title,
            r#"","type":"https://plimsoll.rs/problems/"#,
            $slug,
            r#"","title":""#,
            $title,
            r#"","status":"#,
            $status,
            r#","detail":""#,
            $detail,
            r#"","instance":""#
        )
    };
}

const SHORT_OF_MEMORY: &str = opening!(
    "memory-pressure",
    "Memory pressure",
    "503",
    "the server is short of memory and did not take this request"
);
/// Of a request that was let in: what it has begun may have happened, so trying again is for its
/// sender to decide.
const ENDED: &str = opening!(
    "memory-pressure",
    "Memory pressure",
    "503",
    "the server ran short of memory and ended this request before it was done"
);
const TOO_LARGE: &str = opening!(
    "content-too-large",
    "Content too large",
    "413",
    "the body is larger than this server can ever take"
);

/// RFC 9457 problem details. A body that is too large is its sender's to shrink;
/// anything else is the server's state.
#[inline]
fn problem(response: &mut Response<Bytes>, refused: &Refused) {
    let headers = response.headers_mut();
    // Checked by the compiler: else each refusal would look at each letter.
    headers.insert(CONTENT_TYPE, const { HeaderValue::from_static("application/problem+json") });
    if refused.body_too_large {
        *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
    } else {
        headers.insert(RETRY_AFTER, seconds_value(whole_seconds(refused.refusal.retry_after)));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
}

/// The problem details of [`problem`].
#[inline]
fn text(path: Option<&str>, refused: &Refused, opening: &'static str) -> Bytes {
    let Refusal { level, retry_after, .. } = refused.refusal;
    let (opening, wait) = if refused.body_too_large {
        (TOO_LARGE, LastNumber::null())
    } else {
        (opening, LastNumber::of(millis(retry_after)))
    };
    match path.map(shortened) {
        Some(path) if is_plain(path) => document(opening, path, level, &wait),
        Some(path) => document(opening, &without_specials(path), level, &wait),
        None => document(opening, "", level, &wait),
    }
}

/// Puts the pieces into a buffer of exactly their size: one with room to spare would be allocated
/// anew to be shared.
#[inline]
fn document(opening: &str, path: &str, level: PressureLevel, wait: &LastNumber) -> Bytes {
    let (after, wait) = (after_path(level), wait.as_bytes());
    // No path is told as null, not as a string: without the quotes around it.
    let (opening, path, after) = match path {
        "" => (&opening[..opening.len() - 1], "null", &after[1..]),
        path => (opening, path, after),
    };
    let mut text = Vec::with_capacity(opening.len() + path.len() + after.len() + wait.len());
    text.extend_from_slice(opening.as_bytes());
    text.extend_from_slice(path.as_bytes());
    text.extend_from_slice(after.as_bytes());
    text.extend_from_slice(wait);
    Bytes::from(text)
}

/// What comes after the path, from its last quote on, and before the time to wait.
fn after_path(level: PressureLevel) -> &'static str {
    match level {
        PressureLevel::Healthy => r#"","level":"healthy","retryAfterMs":"#,
        PressureLevel::Warning => r#"","level":"warning","retryAfterMs":"#,
        PressureLevel::Critical => r#"","level":"critical","retryAfterMs":"#,
    }
}

/// Trailers-only: the status is in the headers of a 200 without a body, so that a client sees
/// `UNAVAILABLE` and not a broken stream.
#[cold]
fn trailers_only(headers: &mut HeaderMap, content_type: HeaderValue, refused: &Refused) {
    let (status, message, pushback) = if refused.body_too_large {
        // Negative: do not try again.
        (GRPC_RESOURCE_EXHAUSTED, "message%20can%20never%20fit", -1)
    } else {
        let millis = millis(refused.refusal.retry_after);
        (GRPC_UNAVAILABLE, "memory%20pressure", i32::try_from(millis).unwrap_or(i32::MAX))
    };
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert("grpc-status", HeaderValue::from_static(status));
    headers.insert("grpc-message", HeaderValue::from_static(message));
    headers.insert("grpc-retry-pushback-ms", HeaderValue::from(pushback));
}

fn millis(wait: Duration) -> u64 {
    // Not `as_millis`, which divides by way of 128 bits.
    wait.as_secs().saturating_mul(1_000).saturating_add(u64::from(wait.subsec_millis()))
}

/// Rounded up, at least 1: trying again before the time is up would be in vain.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1)
}

/// Without an allocation for the times that are told nearly always.
fn seconds_value(seconds: u64) -> HeaderValue {
    const TOLD: [&str; 61] = [
        "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16",
        "17", "18", "19", "20", "21", "22", "23", "24", "25", "26", "27", "28", "29", "30", "31",
        "32", "33", "34", "35", "36", "37", "38", "39", "40", "41", "42", "43", "44", "45", "46",
        "47", "48", "49", "50", "51", "52", "53", "54", "55", "56", "57", "58", "59", "60",
    ];
    match usize::try_from(seconds).ok().and_then(|seconds| TOLD.get(seconds)) {
        Some(told) => HeaderValue::from_static(told),
        None => HeaderValue::from(seconds),
    }
}

/// The last member of a document and the brace behind it, made without a formatter.
struct LastNumber {
    text: [u8; Self::MOST],
    first: usize,
}

impl LastNumber {
    /// The digits of the largest number, and the brace.
    const MOST: usize = 21;

    fn null() -> Self {
        let mut last = Self { text: [b'}'; Self::MOST], first: Self::MOST - 5 };
        last.text[Self::MOST - 5..Self::MOST - 1].copy_from_slice(b"null");
        last
    }

    #[inline]
    fn of(mut number: u64) -> Self {
        let mut last = Self { text: [b'}'; Self::MOST], first: Self::MOST - 1 };
        for digit in last.text[..Self::MOST - 1].iter_mut().rev() {
            let ones = (number % 10) as u8;
            *digit = b'0' + ones;
            number /= 10;
            last.first -= 1;
            if number == 0 {
                break;
            }
        }
        last
    }

    fn as_bytes(&self) -> &[u8] {
        &self.text[self.first..]
    }
}

/// Cut to [`LONGEST_INSTANCE`] bytes.
fn shortened(path: &str) -> &str {
    let mut end = path.len().min(LONGEST_INSTANCE);
    while !path.is_char_boundary(end) {
        end -= 1;
    }
    &path[..end]
}

/// Whether a path can stand in a JSON string as it is; nearly all can.
fn is_plain(path: &str) -> bool {
    path.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\')
}

/// The inside of a JSON string: `http` lets quotes through.
#[cold]
fn without_specials(path: &str) -> String {
    let mut inside = String::with_capacity(path.len());
    for c in path.chars() {
        match c {
            '"' | '\\' => inside.extend(['\\', c]),
            c if c.is_control() => inside.push('\u{fffd}'),
            c => inside.push(c),
        }
    }
    inside
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_path_stays_one_json_string() {
        for (path, plain) in [("/a/b%20c?", true), (r#"/a"b"#, false), (r"/a\b", false)] {
            assert_eq!(is_plain(path), plain, "{path}");
        }
        assert!(!is_plain("/\u{7f}") && !is_plain("/\n") && !is_plain("/ä"));
        assert_eq!(without_specials(r#"/a"b\c"#), r#"/a\"b\\c"#);
        assert_eq!(without_specials("/\n\u{85}"), "/\u{fffd}\u{fffd}");
        assert_eq!(shortened(&"ä".repeat(200)).chars().count(), 128);
    }

    #[test]
    fn a_number_is_written_as_it_is() {
        for number in [0, 7, 10, 1_234, 99_999, u64::MAX] {
            assert_eq!(LastNumber::of(number).as_bytes(), format!("{number}}}").as_bytes());
        }
        assert_eq!(LastNumber::null().as_bytes(), b"null}");
        for seconds in [1, 9, 60, 61, 3_600] {
            assert_eq!(seconds_value(seconds), seconds.to_string());
        }
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
