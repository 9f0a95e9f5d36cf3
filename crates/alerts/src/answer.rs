//! What a receiver's answer means: delivered, later, or never.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header::RETRY_AFTER};
use plimsoll_core::alerts::SinkError;

/// Reads the head of an answer; the body says nothing that may be repeated.
pub(crate) fn judge(
    status: StatusCode,
    headers: &HeaderMap,
    now: SystemTime,
) -> Result<(), SinkError> {
    if status.is_success() {
        return Ok(());
    }
    let error = SinkError::new(format!("the receiver answered {status}"));
    if !may_pass(status) {
        return Err(error.permanent());
    }
    Err(match headers.get(RETRY_AFTER).and_then(|value| delay(value.to_str().ok()?, now)) {
        Some(delay) => error.with_retry_after(delay),
        None => error,
    })
}

/// Whether the same request may succeed later.
fn may_pass(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
        )
}

/// Seconds or a date (RFC 9110, section 10.2.3); a date that has passed asks for no delay.
fn delay(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(value).ok()?;
    Some(until.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, retry_after: Option<&str>) -> Result<(), (bool, Option<Duration>)> {
        let mut headers = HeaderMap::new();
        if let Some(value) = retry_after {
            headers.insert(RETRY_AFTER, value.parse().unwrap());
        }
        let now = httpdate::parse_http_date("Thu, 08 Jan 2026 10:30:00 GMT").unwrap();
        judge(StatusCode::from_u16(status).unwrap(), &headers, now)
            .map_err(|error| (error.is_permanent(), error.retry_after()))
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for status in [200, 202, 204] {
            assert_eq!(judged(status, None), Ok(()));
        }
        for status in [301, 307, 400, 401, 403, 404, 410, 413] {
            assert_eq!(judged(status, Some("1")), Err((true, None)), "{status}");
        }
        for status in [408, 425, 429, 500, 502, 503] {
            assert_eq!(judged(status, None), Err((false, None)), "{status}");
        }
    }

    #[test]
    fn the_delay_asked_for_is_in_seconds_or_a_date() {
        let seconds = |seconds| Err((false, Some(Duration::from_secs(seconds))));
        assert_eq!(judged(429, Some("7")), seconds(7));
        assert_eq!(judged(503, Some("Thu, 08 Jan 2026 10:30:09 GMT")), seconds(9));
        assert_eq!(judged(503, Some("Thu, 08 Jan 2026 10:29:00 GMT")), seconds(0));
        for bad in ["soon", "-1", "1.5", "99999999999999999999"] {
            assert_eq!(judged(429, Some(bad)), Err((false, None)), "{bad}");
        }
    }
}
