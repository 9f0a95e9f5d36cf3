//! `/api/monitoring/history`: what was.

use std::time::Duration;

use http::Uri;
use plimsoll_core::{CleanupRecord, Plimsoll, Sample};
use serde::Serialize;

use crate::{
    problem::Problem,
    query,
    reply::{self, Reply},
};

/// As long as samples are kept.
const LONGEST: u64 = 60;

/// Samples of the last minutes, oldest first, and all cleanups that are kept, newest first.
#[derive(Serialize)]
struct History {
    minutes: u64,
    samples: Vec<Sample>,
    cleanups: Vec<CleanupRecord>,
}

pub(crate) fn show(plimsoll: &Plimsoll, uri: &Uri) -> Reply {
    let minutes = minutes(uri)?;
    let samples = plimsoll.samples(Duration::from_secs(minutes * 60));
    reply::data(plimsoll, &History { minutes, samples, cleanups: plimsoll.cleanups(usize::MAX) })
}

/// More than is kept asks for all of it.
fn minutes(uri: &Uri) -> Result<u64, Problem> {
    let Some(text) = query::value(uri, "minutes")? else { return Ok(LONGEST) };
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // Digits that do not fit are a large number.
    match text.parse::<u64>() {
        Ok(minutes @ 1..) => Ok(minutes.min(LONGEST)),
        Err(_) if is_number => Ok(LONGEST),
        _ => Err(Problem::malformed("minutes in the query must be a whole number above 0")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_are_whole_above_zero_and_capped() {
        for (query, expected) in [
            ("", Some(60)),
            ("?minutes=1", Some(1)),
            ("?minutes=60&other", Some(60)),
            ("?minutes=1440", Some(60)),
            ("?minutes=99999999999999999999999", Some(60)),
            ("?minutes=0", None),
            ("?minutes=", None),
            ("?minutes=-1", None),
            ("?minutes=+1x", None),
            ("?minutes=1.5", None),
            ("?minutes=ten", None),
            ("?minutes=1&minutes=2", None),
        ] {
            let uri = format!("/api/monitoring/history{query}").parse().unwrap();
            assert_eq!(minutes(&uri).ok(), expected, "{query}");
        }
    }
}
