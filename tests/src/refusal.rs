use serde_json::Value;

use crate::Answer;

/// Digits in a row that can be a byte count. Statuses, retry times and sizes that the contract
/// names have fewer; a path or a number that the client sent itself is taken out before.
const FIGURE: usize = 4;

/// Fails unless an answer is the refusal that the contract describes: problem details with the
/// status, and the two members of old clients.
///
/// # Panics
/// With the whole answer.
pub fn assert_refusal(answer: &Answer, status: u16) {
    let told = || format!("{} {:?} {}", answer.status, answer.headers, answer.text());
    assert_eq!(answer.status, status, "{}", told());
    assert_eq!(answer.header("content-type"), "application/problem+json", "{}", told());
    let body = answer.json();
    assert_eq!(body["success"], false, "{}", told());
    assert_eq!(body["status"], status, "{}", told());
    for member in ["error", "type", "title", "detail"] {
        assert!(body[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {}", told());
    }
}

/// Fails when an answer holds what can be a byte count, in a header or in its body.
///
/// # Panics
/// With the place.
pub fn assert_no_figures(answer: &Answer) {
    for (name, value) in &answer.headers {
        // The date has a year, and the length is of this answer.
        if !matches!(name.as_str(), "date" | "content-length") {
            assert_plain(name.as_str(), value.to_str().expect("headers are text"));
        }
    }
    let Value::Object(members) = answer.json() else { panic!("{}", answer.text()) };
    for (name, value) in &members {
        match (name.as_str(), value) {
            // A time, and the path that the client asked for.
            ("retryAfterMs", Value::Number(_) | Value::Null) | ("instance", Value::String(_)) => {}
            (name, value) => assert_plain(name, &value.to_string()),
        }
    }
}

fn assert_plain(name: &str, value: &str) {
    let digits = value.split(|letter: char| !letter.is_ascii_digit()).map(str::len).max();
    assert!(digits < Some(FIGURE), "{name}: {value} holds a figure");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shed(detail: &str) -> Answer {
        let text = format!(
            r#"{{"success":false,"error":"e","type":"t","title":"t","status":503,"detail":"{detail}","instance":"/a/12345","retryAfterMs":1500}}"#
        );
        let headers = [("content-type", "application/problem+json"), ("content-length", "12345")];
        let headers = headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        Answer { status: 503, headers: headers.into_iter().collect(), body: text.into() }
    }

    #[test]
    fn times_paths_and_small_numbers_are_no_figures() {
        assert_refusal(&shed("at most 16 KiB"), 503);
        assert_no_figures(&shed("at most 16 KiB"));
    }

    #[test]
    #[should_panic(expected = "detail")]
    fn a_byte_count_is_found() {
        assert_no_figures(&shed("the server holds 1400000000 bytes"));
    }

    #[test]
    #[should_panic(expected = "success")]
    fn an_answer_without_its_members_is_no_refusal() {
        let mut answer = shed("a");
        answer.body = r#"{"success":true,"status":503}"#.into();
        assert_refusal(&answer, 503);
    }
}
