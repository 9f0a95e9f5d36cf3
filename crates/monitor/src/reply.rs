//! Answers that succeed, and what all answers have in common.

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
};
use http_body::Body as _;
use plimsoll_core::{Plimsoll, rfc3339};
use serde::Serialize;

use crate::{body::Answer, problem::Problem};

pub(crate) type Reply = Result<Response<Answer>, Problem>;

/// The envelope of every JSON answer.
#[derive(Serialize)]
struct Success<'a, T> {
    success: bool,
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    data: &'a T,
}

/// Answers a question.
pub(crate) fn data(plimsoll: &Plimsoll, data: &impl Serialize) -> Reply {
    envelope(plimsoll, None, data)
}

/// Tells what was done.
pub(crate) fn done(plimsoll: &Plimsoll, message: &str, data: &impl Serialize) -> Reply {
    envelope(plimsoll, Some(message), data)
}

fn envelope(plimsoll: &Plimsoll, message: Option<&str>, data: &impl Serialize) -> Reply {
    let timestamp = rfc3339(plimsoll.clock().wall());
    match serde_json::to_vec(&Success { success: true, timestamp, message, data }) {
        Ok(json) => Ok(text("application/json", json)),
        Err(error) => {
            tracing::error!(%error, "an answer of the monitor could not be written as JSON");
            Err(Problem::internal("the answer could not be written as JSON"))
        }
    }
}

pub(crate) fn text(content_type: &'static str, text: impl Into<Bytes>) -> Response<Answer> {
    let mut response = Response::new(Answer::text(text.into()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A few plain words.
pub(crate) fn words(status: StatusCode, words: impl Into<Bytes>) -> Response<Answer> {
    let mut response = text("text/plain; charset=utf-8", words);
    *response.status_mut() = status;
    response
}

/// Adds what every answer has, and takes the body away from an answer to HEAD.
pub(crate) fn finish(mut response: Response<Answer>, method: &Method) -> Response<Answer> {
    let headers = response.headers_mut();
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // The page shows figures of this machine; nobody need know whence somebody came.
    headers.insert(
        HeaderName::from_static("referrer-policy"),
        HeaderValue::from_static("no-referrer"),
    );
    if *method == Method::HEAD {
        if let Some(length) = response.body().size_hint().exact() {
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        *response.body_mut() = Answer::default();
    }
    response
}
