//! What the page shows when something is wrong: with memory, with the server, with the way there.

use plimsoll::prelude::*;
use plimsoll_tests::{Browser, EventStream};
use serde_json::json;

use crate::{
    assert_no_faults,
    site::{Plan, Site},
    visit,
};

#[tokio::test]
async fn an_alert_is_raised_silenced_and_resolved() {
    let site = Site::start();
    let browser = visit!(site);
    browser.says("#alerts", "✓ Nothing is wrong.").await;
    site.script.set_rss(3_200 * MB);
    browser.says("#alerts", "MemoryCritical").await;
    browser.says("#alerts .alert[data-severity='critical']", "critical, firing").await;
    browser.says("#urgent", "critical").await;
    browser.click("#alerts [aria-label='Silence MemoryCritical']").await;
    browser.says("#alerts-said", "MemoryCritical is silenced for 60 min").await;
    browser.says("#alerts .alert", "silenced until").await;
    browser.screenshot("alert").await;
    browser.click("#alerts [aria-label='End the silence of MemoryCritical']").await;
    browser.says("#alerts-said", "MemoryCritical is no longer silenced").await;
    site.script.set_rss(1_000 * MB);
    browser.says("#alerts", "✓ Nothing is wrong.").await;
    browser.says("#alerts", "resolved alert").await;
    browser.says("#status", "healthy").await;
    // By hand, as long as the condition lasts.
    site.script.set_rss(3_200 * MB);
    browser.click("#alerts [aria-label='Resolve MemoryCritical']").await;
    browser.says("#alerts-said", "Resolved MemoryCritical-").await;
    browser.click("#alerts-test").await;
    browser.says("#alerts-said", "Delivered to 1 of 1 sinks · log: delivered").await;
    assert_no_faults(&browser).await;
}

#[tokio::test]
async fn a_server_that_goes_away_is_told_and_picked_up_when_it_comes_back() {
    let mut site = Site::start();
    let browser = visit!(site);
    browser.says("#figure", "1.40 GB").await;
    site.kill();
    browser.says("#link", "Disconnected, last data ").await;
    browser.says("#link", "retrying in").await;
    browser.until("document.title.startsWith('✕ disconnected')").await;
    browser.until("document.querySelector('#do-release').disabled").await;
    browser.until("document.body.classList.contains('stale')").await;
    browser.says("#urgent", "Disconnected").await;
    browser.screenshot("disconnected").await;
    let again = Site::with(Plan { port: site.port(), instance: "shop@host-2", ..Plan::default() });
    again.script.set_rss(1_600 * MB);
    browser.says("#link", "Live").await;
    browser.says("#notices", "The server was started anew").await;
    browser.says("#figure", "1.60 GB").await;
    browser.says("#about", "host-2").await;
    browser.until("!document.querySelector('#do-release').disabled").await;
    // What was before is still drawn, so the range holds both.
    browser.says("#chart-summary", "Between 1.40 GB and 1.60 GB").await;
    browser.screenshot("started-anew").await;
    assert_no_faults(&browser).await;
}

#[tokio::test]
async fn what_cannot_be_read_is_not_a_zero() {
    let site = Site::start();
    site.script.set_heap(None);
    let browser = visit!(site);
    browser.says("#where", "n/a: this allocator tells no figures").await;
    site.script.fail(true);
    browser.says("#summary", "Memory cannot be read").await;
    browser.says("#summary", "told to fail").await;
    browser.screenshot("figure-unavailable").await;
    site.script.fail(false);
    browser.says("#summary", "until warning").await;
    assert_no_faults(&browser).await;
}

#[tokio::test]
async fn when_all_streams_are_taken_the_page_polls() {
    let site = Site::start();
    let mut others = Vec::new();
    for _ in 0..8 {
        others.push(EventStream::open(&site.http(), None).await);
    }
    let browser = visit!(site);
    browser.says("#link", "Polling every 5 s").await;
    browser.says("#figure", "1.40 GB").await;
    site.script.set_rss(1_700 * MB);
    browser.says("#figure", "1.70 GB").await;
    browser.screenshot("polling").await;
    drop(others);
    browser.says("#link", "Live").await;
    assert_no_faults(&browser).await;
}

#[tokio::test]
async fn before_the_first_figures_there_are_skeletons() {
    let site = Site::start();
    let Some(browser) = Browser::start(1280, 900).await else { return };
    // The server's answer never comes.
    let waits = json!({ "source": "window.fetch = () => new Promise(() => {});" });
    browser.devtools("Page.addScriptToEvaluateOnNewDocument", waits).await;
    browser.open(&site.page()).await;
    browser.says("#link", "Connecting").await;
    browser.says("#status", "loading").await;
    assert_eq!(
        browser.value("document.querySelector('#panels').getAttribute('aria-busy')").await,
        "true"
    );
    assert_eq!(browser.value("document.querySelector('#do-release').disabled").await, true);
    browser.screenshot("loading").await;
    assert_no_faults(&browser).await;
}

#[tokio::test]
async fn a_long_visit_keeps_what_was_typed_and_opened() {
    let site = Site::start();
    let browser = visit!(site);
    site.plimsoll.cleanup(CleanupLevel::Moderate).await.unwrap();
    browser.click("#cleanups summary").await;
    browser.type_over("#warning", "1900").await;
    browser.keys("#warning", "\u{e004}").await;
    let figures = browser.value("document.querySelector('#about').textContent").await;
    site.script.set_rss(1_500 * MB);
    site.plimsoll.cleanup(CleanupLevel::Aggressive).await.unwrap();
    browser.until("document.querySelectorAll('#cleanups details').length === 2").await;
    browser.says("#figure", "1.50 GB").await;
    assert_eq!(
        browser.value("document.querySelectorAll('#cleanups details[open]').length").await,
        1
    );
    assert_eq!(browser.value("document.querySelector('#warning').value").await, "1900");
    browser.until(&format!("document.querySelector('#about').textContent !== {figures}")).await;
    assert_no_faults(&browser).await;
}
