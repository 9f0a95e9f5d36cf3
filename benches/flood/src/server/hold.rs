//! `POST /alloc`: a request that takes memory for a second.

use std::{hint::black_box, time::Duration};

use axum::{
    extract::Query,
    http::{Method, StatusCode, Uri},
};
use serde::Deserialize;
use tokio::time::{Instant, sleep_until};

use crate::MB;

const PATH: &str = "/alloc";
const HOLD: Duration = Duration::from_secs(1);
/// Late memory comes in this many pieces, within half of the time.
const PIECES: u32 = 8;
const LARGEST_MB: u64 = 512;

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Alloc {
    mb: u64,
    #[serde(default)]
    style: Style,
}

/// When the memory is taken.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Style {
    /// At once.
    #[default]
    Now,
    /// Piece by piece, like a body that is being read: after the request was admitted.
    Late,
}

pub(super) async fn alloc(Query(alloc): Query<Alloc>) -> Result<String, StatusCode> {
    let start = Instant::now();
    if !(1..=LARGEST_MB).contains(&alloc.mb) {
        return Err(StatusCode::UNPROCESSABLE_ENTITY);
    }
    let bytes = usize::try_from(alloc.mb * MB).map_err(|_| StatusCode::UNPROCESSABLE_ENTITY)?;
    let mut held = Vec::new();
    match alloc.style {
        Style::Now => held.push(vec![0xA5_u8; bytes]),
        Style::Late => {
            for piece in 0..PIECES {
                sleep_until(start + HOLD / 2 / PIECES * piece).await;
                held.push(vec![0xA5; bytes / 8]);
            }
        }
    }
    sleep_until(start + HOLD).await;
    // Without it the compiler may see that nobody reads the bytes, and not write them either.
    black_box(&held);
    drop(held);
    Ok(format!("held {} MB\n", alloc.mb))
}

/// What a request will take in bytes, as far as its head tells.
pub(super) fn cost(method: &Method, uri: &Uri) -> Option<u64> {
    let declared = || {
        let pairs = uri.query().unwrap_or_default().split('&');
        let mb: u64 = pairs.filter_map(|pair| pair.strip_prefix("mb=")).next()?.parse().ok()?;
        (1..=LARGEST_MB).contains(&mb).then_some(mb * MB)
    };
    match (method, uri.path()) {
        (&Method::POST, PATH) => declared(),
        (&Method::GET, super::bodies::DOWNLOAD_PATH) if super::bodies::is_buffered(uri) => {
            declared()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_is_what_will_be_held() {
        for (method, uri, bytes) in [
            (Method::POST, "/alloc?mb=4&style=now", Some(4 * MB)),
            (Method::POST, "/alloc?style=late&mb=16", Some(16 * MB)),
            (Method::POST, "/alloc?mb=0", None),
            (Method::POST, "/alloc?mb=x", None),
            (Method::POST, "/alloc", None),
            (Method::GET, "/alloc?mb=4", None),
            (Method::GET, "/download?mb=20&way=buffer", Some(20 * MB)),
            (Method::GET, "/download?mb=20&way=stream", None),
        ] {
            assert_eq!(cost(&method, &uri.parse().unwrap()), bytes, "{method} {uri}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn both_styles_hold_for_a_second() {
        for style in [Style::Now, Style::Late] {
            let start = Instant::now();
            let answer = alloc(Query(Alloc { mb: 1, style })).await;
            assert_eq!(answer.unwrap(), "held 1 MB\n");
            assert_eq!(start.elapsed(), HOLD);
        }
    }
}
