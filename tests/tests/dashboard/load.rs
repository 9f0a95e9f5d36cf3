//! Loading: what it costs, what is there at first, what comes then.

use std::time::{SystemTime, UNIX_EPOCH};

use plimsoll::prelude::*;
use serde_json::{Value, json};

use crate::{
    assert_no_faults,
    site::{Extra, Plan, Site, an_hour},
    visit,
};

/// The page and its files, compressed, in bytes.
const MOST_BYTES: u64 = 60_000;
const MOST_REQUESTS: usize = 5;

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    u64::try_from(now).unwrap()
}

#[tokio::test]
async fn it_is_small_asks_seldom_and_asks_nobody_else() {
    let site = Site::start();
    let browser = visit!(site);
    let loaded = browser
        .value(
            "(() => {
                const ready = performance.getEntriesByName('interactive')[0].startTime;
                return [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
                    .filter((entry) => entry.startTime <= ready)
                    .map((entry) => [entry.name, entry.encodedBodySize, entry.decodedBodySize]);
            })()",
        )
        .await;
    let loaded = loaded.as_array().unwrap();
    // The stream has not ended and is no entry yet.
    assert!((3..MOST_REQUESTS).contains(&loaded.len()), "{loaded:?}");
    assert!(loaded.iter().all(|entry| entry[0].as_str().unwrap().starts_with(&site.page())));
    let sent: u64 = loaded.iter().map(|entry| entry[1].as_u64().unwrap()).sum();
    let unpacked: u64 = loaded.iter().map(|entry| entry[2].as_u64().unwrap()).sum();
    assert!(sent > 0 && sent <= MOST_BYTES, "{loaded:?}");
    assert!(unpacked > 2 * sent, "not compressed: {loaded:?}");
    assert_no_faults(&browser).await;
}

#[tokio::test]
async fn an_hour_of_history_is_drawn_at_first() {
    let snapshot = json!({ "samples": an_hour(now()) });
    let site =
        Site::with(Plan { extra: Extra { snapshot, ..Extra::default() }, ..Plan::default() });
    let browser = visit!(site);
    browser.click("[data-span='3600']").await;
    browser.says("#chart-summary", "Between 1.00 GB and 1.80 GB in the last 1 h").await;
    // The line is there from left to right, not only in words.
    let covered = browser
        .value(
            "(() => {
                const canvas = document.querySelector('#chart canvas');
                const { width, height } = canvas;
                const data = canvas.getContext('2d').getImageData(0, 0, width, height).data;
                const blue = (x) => {
                    for (let y = 0; y < height; y++) {
                        const at = (y * width + x) * 4;
                        if (data[at] < 40 && data[at + 1] > 90 && data[at + 2] > 150 && data[at + 3] > 200) return true;
                    }
                    return false;
                };
                const columns = [...Array(width).keys()].filter(blue);
                return [columns.length / width, columns[0] / width, columns.at(-1) / width];
            })()",
        )
        .await;
    let part = |index: usize| covered[index].as_f64().unwrap();
    assert!(part(0) > 0.8 && part(1) < 0.15 && part(2) > 0.9, "{covered}");
    browser.click("#as-table summary").await;
    browser.until("document.querySelectorAll('#samples tbody tr').length === 12").await;
    browser.screenshot("an-hour").await;
    assert_no_faults(&browser).await;
}

#[tokio::test]
async fn figures_level_and_title_follow_as_they_change() {
    let site = Site::start();
    let browser = visit!(site);
    browser.says("#figure", "1.40 GB").await;
    browser.says("#status", "healthy").await;
    browser.until("document.title.startsWith('✓ healthy 1.40 GB · shop@host-1')").await;
    browser.screenshot("healthy").await;
    site.script.set_rss(2_250 * MB);
    browser.says("#status", "warning").await;
    browser.says("#summary", "above warning (2.00 GB), 750 MB until critical").await;
    browser.until("document.title.startsWith('▲ warning 2.25 GB')").await;
    // Said politely; what is critical is said at once.
    browser.says("#polite", "warning").await;
    browser.screenshot("warning").await;
    site.script.set_rss(3_200 * MB);
    browser.says("#status", "critical").await;
    browser.says("#urgent", "critical").await;
    browser.until("document.querySelector('#hero').dataset.level === 'critical'").await;
    browser.screenshot("critical").await;
    assert_no_faults(&browser).await;
}

#[tokio::test]
async fn it_works_below_any_prefix() {
    let site = Site::with(Plan { prefix: "/internal/ops", ..Plan::default() });
    let browser = visit!(site);
    browser.says("#pruners", "socket_events").await;
    let links =
        browser.value("[...document.querySelectorAll('footer a')].map((a) => a.href)").await;
    let base = site.page().replace("/monitoring/", "");
    for end in ["/api/monitoring/memory", "/metrics", "/monitoring/licenses.txt"] {
        assert!(
            links.as_array().unwrap().contains(&Value::from(format!("{base}{end}"))),
            "{links}"
        );
    }
    let without_slash = site.page().trim_end_matches('/').to_owned();
    browser.open(&without_slash).await;
    browser.until(&format!("location.href === {}", Value::from(site.page()))).await;
    let licences = site.http().get("/internal/ops/monitoring/licenses.txt").await;
    assert!(licences.text().contains("uPlot") && licences.text().contains("MIT License"));
    assert_no_faults(&browser).await;
}
