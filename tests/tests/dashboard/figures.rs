//! What the dashboard costs: the browser's memory, and on request the times and the server's share.
//!
//! `cargo test --release -p plimsoll-tests --test dashboard -- --ignored --nocapture --test-threads 1`

use std::{fs, io::Write as _, net::TcpStream, time::Duration};

use plimsoll_tests::{Browser, Chat, EventStream, Http};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{
    assert_no_faults, ready,
    site::{Extra, Plan, Site},
};

const SAMPLES: u64 = 10_000;
/// By then every ring of the page is full.
const FULL: u64 = 2_000;
const PANELS: [&str; 5] = ["memory", "alerts", "routes", "pruners", "sockets"];

/// Bytes of the page's objects, and its nodes, once what is unreachable is gone.
async fn held(browser: &Browser) -> (f64, f64) {
    for _ in 0..3 {
        browser.devtools("HeapProfiler.collectGarbage", json!({})).await;
    }
    let metrics = browser.devtools("Performance.getMetrics", json!({})).await;
    let metric = |name: &str| {
        let all = metrics["metrics"].as_array().unwrap().iter();
        all.filter(|metric| metric["name"] == name).find_map(|m| m["value"].as_f64()).unwrap()
    };
    (metric("JSHeapUsedSize"), metric("Nodes"))
}

#[tokio::test]
async fn ten_thousand_samples_leave_no_more_behind_than_two_thousand() {
    let mut figures = Vec::new();
    for samples in [FULL, SAMPLES] {
        let extra = Extra { flood: samples, ..Extra::default() };
        let site = Site::with(Plan { extra, ..Plan::default() });
        let Some(browser) = Browser::start(1280, 900).await else { return };
        browser.devtools("Performance.enable", json!({})).await;
        browser.open(&site.page()).await;
        ready(&browser).await;
        // The last sample of the flood holds a figure of its own.
        browser.says("#figure", "1.99 GB").await;
        browser.says("#routes", "No request").await;
        figures.push(held(&browser).await);
        assert_no_faults(&browser).await;
    }
    eprintln!("after {FULL} and {SAMPLES} samples: bytes and nodes {figures:?}");
    let [(bytes, nodes), (later_bytes, later_nodes)] = figures[..] else { unreachable!() };
    // Compiled code comes and goes; a sample that is kept takes a hundred bytes.
    let most = bytes + 40.0 * (SAMPLES - FULL) as f64;
    assert!(later_bytes < most, "{bytes} -> {later_bytes} bytes");
    assert!(later_nodes < nodes * 1.1, "{nodes} -> {later_nodes} nodes");
}

#[tokio::test]
#[ignore = "prints times, which a busy machine makes meaningless"]
async fn time_until_it_can_be_used() {
    let chat = Chat::start(&[]).await;
    let mut times = Vec::new();
    for _ in 0..11 {
        // A fresh profile each time: nothing is cached.
        let Some(browser) = Browser::start(1280, 900).await else { return };
        browser.open(&format!("{}/monitoring/", chat.url())).await;
        ready(&browser).await;
        let time = "performance.getEntriesByName('interactive')[0].startTime";
        times.push(browser.value(time).await.as_f64().unwrap());
    }
    times.sort_by(f64::total_cmp);
    eprintln!(
        "interactive after {:.0} ms at best, {:.0} ms in the median, {:.0} ms at worst of 11",
        times[0], times[5], times[10]
    );
}

/// Does what an open page does, every panel in sight: the stream, and each list in its time.
async fn look(http: Http) {
    let mut stream = EventStream::open(&http, None).await;
    for second in 0_u64.. {
        stream.find(Duration::from_secs(5), "a sample", |event| event.kind == "sample").await;
        for panel in PANELS {
            let every = if panel == "alerts" { 10 } else { 5 };
            if second.is_multiple_of(every) {
                http.get(&format!("/api/monitoring/{panel}")).await;
            }
        }
    }
}

/// Processor time of a process's threads so far, in microseconds.
fn processor(id: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{id}/task")).unwrap();
    let times = threads.map(|thread| {
        let told = fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap();
        told.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    });
    times.sum::<u64>() / 1_000
}

#[tokio::test]
#[ignore = "prints shares, which a busy machine makes meaningless"]
async fn cost_of_eight_open_dashboards() {
    const TIME: Duration = Duration::from_secs(60);
    let chat = Chat::start(&[]).await;
    let mut shares = Vec::new();
    for dashboards in [0, 8] {
        let tasks: Vec<_> =
            (0..dashboards).map(|_| tokio::spawn(look(Http::new(chat.address())))).collect();
        sleep(Duration::from_secs(3)).await;
        let (before, began) = (processor(chat.id()), Instant::now());
        sleep(TIME).await;
        let share = (processor(chat.id()) - before) as f64 / began.elapsed().as_micros() as f64;
        shares.push(share);
        eprintln!("{dashboards} dashboards: {:.2} % of a core", share * 100.0);
        for task in tasks {
            task.abort();
        }
    }
    eprintln!("eight cost {:.2} % of a core", (shares[1] - shares[0]) * 100.0);
}

#[tokio::test]
#[ignore = "prints bytes of a server that does other things as well"]
async fn cost_of_stalled_tabs() {
    const EVENTS: u64 = 5_000;
    let chat = Chat::start(&[]).await;
    let change = |mb: u64| json!({ "action": "updateThresholds", "thresholds": { "warning": mb } });
    let held = async || {
        let report = chat.report().await;
        [&report["bytes"]["rss"], &report["monitor"]["bytes"]].map(|bytes| bytes.as_u64().unwrap())
    };
    let mut rows = Vec::new();
    for stalled in [0, 7] {
        // They ask for the stream and never read a byte of it.
        let tabs: Vec<_> = (0..stalled)
            .map(|_| {
                let mut tab = TcpStream::connect(chat.address()).unwrap();
                let host = chat.address();
                write!(tab, "GET /api/monitoring/stream HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
                tab
            })
            .collect();
        let mut before = [0; 2];
        for event in 0..EVENTS {
            if event == EVENTS / 10 {
                before = held().await;
            }
            chat.post("/api/monitoring/memory", &change(1_000 + event % 500)).await;
        }
        let after = held().await;
        rows.push((stalled, before, after));
        drop(tabs);
    }
    for (stalled, before, after) in rows {
        eprintln!(
            "{stalled} stalled tabs, {EVENTS} events: resident and monitor's own bytes {before:?} -> {after:?}"
        );
    }
}
