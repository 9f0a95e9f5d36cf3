//! `POST /api/hold`: holds memory for a while, so that anyone with curl can produce pressure.

use std::{fmt, hint::black_box, ops::RangeInclusive, time::Duration};

use axum::{
    Json,
    extract::RawQuery,
    http::{Method, StatusCode, Uri},
};
use clap::ValueEnum;
use serde::Serialize;
use tokio::time::Instant;

use crate::problem::Problem;

/// The route, for the router and for the guard's cost.
pub(crate) const PATH: &str = "/api/hold";
/// Bytes of one MB.
const MB: u64 = 1_000_000;
/// MB held unless the query says otherwise.
pub(crate) const DEFAULT_MB: u64 = 8;
/// Milliseconds held unless the query says otherwise.
pub(crate) const DEFAULT_MS: u64 = 1000;
const MB_RANGE: RangeInclusive<u64> = 1..=512;
const MS_RANGE: RangeInclusive<u64> = 1..=60_000;
/// Bytes touched before other tasks of the thread get a turn.
const STRIDE: usize = 1 << 20;

/// When the held memory is touched, and so begins to count as resident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Touch {
    /// At once.
    Now,
    /// After half the time: a guard that believes only what it measures has admitted it by then.
    Late,
}

impl fmt::Display for Touch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Now => "now",
            Self::Late => "late",
        })
    }
}

/// What a query asks to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Hold {
    mb: u64,
    ms: u64,
    touch: Touch,
}

/// Why a query was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HoldError {
    #[error("{key}={value} is out of range, accepted are {} to {}", range.start(), range.end())]
    OutOfRange { key: &'static str, value: u64, range: RangeInclusive<u64> },
    #[error("{key}={value:?} is not a whole number, accepted are {} to {}", range.start(), range.end())]
    NotANumber { key: &'static str, value: String, range: RangeInclusive<u64> },
    #[error("touch={0:?} is unknown, accepted are now and late")]
    UnknownTouch(String),
    #[error("parameter {0:?} is unknown, accepted are mb, ms and touch")]
    UnknownKey(String),
    #[error("parameter {0:?} is given twice")]
    Twice(String),
}

impl From<HoldError> for Problem {
    fn from(error: HoldError) -> Self {
        match error {
            HoldError::OutOfRange { .. } => Self::invalid(error),
            _ => Self::malformed(error),
        }
    }
}

impl Hold {
    /// Reads `mb=8&ms=1000&touch=now`. The accepted values need no percent encoding, so an
    /// encoded one is simply not among them.
    pub(crate) fn parse(query: &str) -> Result<Self, HoldError> {
        let (mut mb, mut ms, mut touch) = (None, None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let again = match key {
                "mb" => mb.replace(number("mb", value, MB_RANGE)?).is_some(),
                "ms" => ms.replace(number("ms", value, MS_RANGE)?).is_some(),
                "touch" => touch.replace(parse_touch(value)?).is_some(),
                _ => return Err(HoldError::UnknownKey(shorten(key))),
            };
            if again {
                return Err(HoldError::Twice(key.to_owned()));
            }
        }
        Ok(Self {
            mb: mb.unwrap_or(DEFAULT_MB),
            ms: ms.unwrap_or(DEFAULT_MS),
            touch: touch.unwrap_or(Touch::Now),
        })
    }

    /// Bytes that are held.
    pub(crate) fn bytes(self) -> u64 {
        self.mb * MB
    }

    fn duration(self) -> Duration {
        Duration::from_millis(self.ms)
    }
}

/// What a request will cost in bytes, as far as its head tells: the guard reserves that much
/// before the handler runs. `None` when it is not for the handler.
pub(crate) fn cost(method: &Method, uri: &Uri) -> Option<u64> {
    if method != Method::POST || uri.path() != PATH {
        return None;
    }
    // A malformed query will be refused and costs what any other request costs.
    Hold::parse(uri.query().unwrap_or_default()).ok().map(Hold::bytes)
}

/// Holds memory as the query says, then answers what was held.
pub(crate) async fn hold(RawQuery(query): RawQuery) -> Result<Json<Hold>, Problem> {
    let hold = Hold::parse(query.as_deref().unwrap_or_default())?;
    let start = Instant::now();
    let len = usize::try_from(hold.bytes())
        .map_err(|_| Problem::invalid("more than this machine can address"))?;
    let mut held = Vec::new();
    held.try_reserve_exact(len)
        .map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "out of memory"))?;
    if hold.touch == Touch::Late {
        tokio::time::sleep_until(start + hold.duration() / 2).await;
    }
    touch(&mut held, len).await;
    tokio::time::sleep_until(start + hold.duration()).await;
    // Without it the compiler may see that nobody reads the bytes, and not write them either.
    black_box(&held);
    Ok(Json(hold))
}

/// Writes every byte of the reserved memory, piece by piece.
async fn touch(held: &mut Vec<u8>, len: usize) {
    while held.len() < len {
        held.resize((held.len() + STRIDE).min(len), 0xA5);
        tokio::task::yield_now().await;
    }
}

fn number(key: &'static str, value: &str, range: RangeInclusive<u64>) -> Result<u64, HoldError> {
    // `parse` alone would accept a plus sign.
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    match value.parse() {
        Ok(value) if digits && range.contains(&value) => Ok(value),
        Ok(value) if digits => Err(HoldError::OutOfRange { key, value, range }),
        _ => Err(HoldError::NotANumber { key, value: shorten(value), range }),
    }
}

fn parse_touch(value: &str) -> Result<Touch, HoldError> {
    match value {
        "now" => Ok(Touch::Now),
        "late" => Ok(Touch::Late),
        _ => Err(HoldError::UnknownTouch(shorten(value))),
    }
}

/// Enough of a wrong value to recognize it by; the client chose its length.
fn shorten(value: &str) -> String {
    value.chars().take(32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_given_has_a_default() {
        let hold = Hold::parse("").unwrap();
        assert_eq!((hold.mb, hold.ms, hold.touch), (8, 1000, Touch::Now));
        let hold = Hold::parse("touch=late&mb=3&ms=20").unwrap();
        assert_eq!((hold.mb, hold.ms, hold.touch), (3, 20, Touch::Late));
    }

    #[test]
    fn the_ends_of_the_ranges_are_accepted_and_what_is_beyond_is_not() {
        for (query, good) in [
            ("mb=1", true),
            ("mb=512", true),
            ("mb=0", false),
            ("mb=513", false),
            ("ms=1", true),
            ("ms=60000", true),
            ("ms=0", false),
            ("ms=60001", false),
        ] {
            assert_eq!(Hold::parse(query).is_ok(), good, "{query}");
        }
    }

    #[test]
    fn a_refusal_names_the_value_and_what_is_accepted() {
        for (query, text) in [
            ("mb=513", "mb=513 is out of range, accepted are 1 to 512"),
            ("mb=x", "mb=\"x\" is not a whole number, accepted are 1 to 512"),
            ("mb=-1", "mb=\"-1\" is not a whole number, accepted are 1 to 512"),
            ("mb=+1", "mb=\"+1\" is not a whole number, accepted are 1 to 512"),
            ("ms=", "ms=\"\" is not a whole number, accepted are 1 to 60000"),
            ("ms=1e3", "ms=\"1e3\" is not a whole number, accepted are 1 to 60000"),
            ("touch=soon", "touch=\"soon\" is unknown, accepted are now and late"),
            ("mbs=1", "parameter \"mbs\" is unknown, accepted are mb, ms and touch"),
            ("mb=1&mb=2", "parameter \"mb\" is given twice"),
        ] {
            assert_eq!(Hold::parse(query).unwrap_err().to_string(), text);
        }
        let huge = format!("mb={}", "9".repeat(5000));
        assert!(Hold::parse(&huge).unwrap_err().to_string().len() < 120);
    }

    #[test]
    fn the_cost_is_what_will_be_held() {
        for (method, uri, bytes) in [
            (Method::POST, "/api/hold?mb=5&ms=1", Some(5_000_000)),
            (Method::POST, "/api/hold", Some(8_000_000)),
            (Method::POST, "/api/hold?mb=9999", None),
            (Method::GET, "/api/hold?mb=5", None),
            (Method::POST, "/?mb=5", None),
        ] {
            assert_eq!(cost(&method, &uri.parse().unwrap()), bytes, "{method} {uri}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_answer_comes_when_the_time_is_over() {
        for touch in ["now", "late"] {
            let start = Instant::now();
            let answer = hold(RawQuery(Some(format!("mb=2&ms=500&touch={touch}")))).await;
            assert_eq!(answer.unwrap().0.mb, 2);
            assert!(start.elapsed() >= Duration::from_millis(500));
        }
    }

    #[tokio::test]
    async fn touching_writes_every_byte() {
        let mut held = Vec::new();
        touch(&mut held, STRIDE * 2 + 7).await;
        assert_eq!(held.len(), STRIDE * 2 + 7);
        assert!(held.iter().all(|&byte| byte == 0xA5));
    }
}
