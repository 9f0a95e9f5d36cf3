//! Refusals and failures: RFC 9457 problem details that also say `success: false`.

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::body::Answer;

/// A longer path is not repeated to whoever sent it.
const LONGEST_INSTANCE: usize = 256;

/// What went wrong, for whoever asked. Holds no figure of the process.
#[derive(Debug)]
pub(crate) struct Problem(Box<Parts>);

#[derive(Debug)]
struct Parts {
    status: StatusCode,
    /// The end of the type's address.
    slug: &'static str,
    title: &'static str,
    detail: String,
    /// Members beyond those that every problem has.
    extra: Map<String, Value>,
    headers: Vec<(http::HeaderName, HeaderValue)>,
}

/// On the wire: the members of RFC 9457, after what every answer of these routes has.
#[derive(Serialize)]
struct Document<'a> {
    success: bool,
    error: &'a str,
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    instance: &'a str,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

/// One value at fault, for [`Problem::invalid`].
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Fault {
    /// A JSON pointer into the body.
    pub(crate) pointer: String,
    pub(crate) detail: String,
}

impl Problem {
    pub(crate) fn new(
        status: StatusCode,
        slug: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        let (extra, headers) = (Map::new(), Vec::new());
        Self(Box::new(Parts { status, slug, title, detail: detail.into(), extra, headers }))
    }

    /// The request makes no sense.
    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed-request", "Malformed request", detail)
    }

    /// The request makes sense, but its values cannot be used.
    pub(crate) fn invalid(
        slug: &'static str,
        title: &'static str,
        detail: impl Into<String>,
        faults: &[Fault],
    ) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, slug, title, detail).with("errors", faults)
    }

    pub(crate) fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "token-needed", "Token needed", detail)
    }

    pub(crate) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "not-allowed", "Not allowed", detail)
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
    }

    /// It may work later.
    pub(crate) fn unavailable(
        slug: &'static str,
        title: &'static str,
        detail: impl Into<String>,
        retry_after_seconds: u64,
    ) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, slug, title, detail)
            .header(RETRY_AFTER, HeaderValue::from(retry_after_seconds))
    }

    /// A fault of the server.
    pub(crate) fn internal(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error", detail)
    }

    /// Adds a member.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl Serialize) -> Self {
        // What cannot be written is left out: the rest of the problem matters more.
        if let Ok(value) = serde_json::to_value(value) {
            self.0.extra.insert(name.to_owned(), value);
        }
        self
    }

    /// Names the methods that would do.
    #[must_use]
    pub(crate) fn allow(self, methods: &'static str) -> Self {
        self.header(ALLOW, HeaderValue::from_static(methods))
    }

    /// Asks for credentials.
    #[must_use]
    pub(crate) fn challenge(self, challenge: &'static str) -> Self {
        self.header(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
    }

    fn header(mut self, name: http::HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// The answer to a request for `path`.
    pub(crate) fn into_response(self, path: &str) -> Response<Answer> {
        let Parts { status, slug, title, detail, extra, headers } = *self.0;
        let document = Document {
            success: false,
            error: title,
            kind: format!("https://plimsoll.rs/problems/{slug}"),
            title,
            status: status.as_u16(),
            detail: &detail,
            instance: cut(path),
            extra,
        };
        // Texts and members that are JSON already: nothing here can fail to be written.
        let text = serde_json::to_vec(&document).unwrap_or_default();
        let mut response = Response::new(Answer::text(Bytes::from(text)));
        *response.status_mut() = status;
        let own = (CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response.headers_mut().extend(headers.into_iter().chain([own]));
        response
    }
}

fn cut(path: &str) -> &str {
    let mut end = path.len().min(LONGEST_INSTANCE);
    while !path.is_char_boundary(end) {
        end -= 1;
    }
    &path[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_path_is_cut_and_stays_one_string() {
        assert_eq!(cut(&"ä".repeat(1_000)).len(), LONGEST_INSTANCE);
        let problem = Problem::not_found("no such route").with("allowed", ["a"]);
        let Answer::Text(text) = problem.into_response(r#"/a"b"#).into_body() else {
            panic!("a text");
        };
        let json: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(json["instance"], r#"/a"b"#);
        assert_eq!((&json["success"], &json["status"]), (&Value::from(false), &Value::from(404)));
        assert_eq!(json["allowed"], serde_json::json!(["a"]));
    }
}
