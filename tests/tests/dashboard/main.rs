//! The dashboard in a real browser, before servers whose memory is scripted.
//!
//! Pictures of each state are written to `<target>/dashboard`. Where there is no Chromium the
//! tests say so and pass, unless the environment has `CI`.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail it by panicking")]

mod access;
mod actions;
mod figures;
mod load;
mod look;
mod panels;
mod site;
mod states;
mod thresholds;

use plimsoll_tests::Browser;

/// A browser at the page of a site, its first figures drawn; leaves the test where there is none.
macro_rules! visit {
    ($site:expr) => {{
        let Some(browser) = plimsoll_tests::Browser::start(1280, 900).await else { return };
        browser.open(&$site.page()).await;
        crate::ready(&browser).await;
        browser
    }};
}
pub(crate) use visit;

/// Waits until the page can be used.
async fn ready(browser: &Browser) {
    browser.until("performance.getEntriesByName('interactive').length === 1").await;
}

/// Fails on anything that the page's policy forbade and on any error in its script.
async fn assert_no_faults(browser: &Browser) {
    assert_eq!(browser.faults().await, Vec::<String>::new());
}
