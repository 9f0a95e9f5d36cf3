//! Who may look and who may act, as the page lets them feel it.

use plimsoll::prelude::*;
use plimsoll_tests::Browser;

use crate::{
    assert_no_faults, ready,
    site::{Plan, Site},
    visit,
};

const ENTER: &str = "\u{e007}";

fn guarded() -> Site {
    let access = Access::bearer("operators-only").with_read("only-looking");
    Site::with(Plan { access, ..Plan::default() })
}

/// The page without a token: a field for one, and no figure.
async fn at_the_gate(site: &Site) -> Option<Browser> {
    let browser = Browser::start(1280, 900).await?;
    browser.open(&site.page()).await;
    browser.says("#gate", "Not allowed to look").await;
    browser.says("#gate-why", "this server asks for a bearer token").await;
    assert!(!browser.text("body").await.contains("GB"), "no figure is told");
    Some(browser)
}

#[tokio::test]
async fn a_token_opens_the_page_and_a_wrong_one_says_so() {
    let site = guarded();
    let Some(browser) = at_the_gate(&site).await else { return };
    assert_eq!(browser.value("document.activeElement.id").await, "token");
    browser.screenshot("no-permission").await;
    browser.keys("#token", "operators-olny").await;
    browser.keys("#token", ENTER).await;
    browser.says("#gate", "This token does not fit").await;
    browser.says("#gate-why", "the bearer token is not one of this server").await;
    browser.screenshot("wrong-token").await;
    browser.keys("#token", "zwölf geheime Wörter").await;
    browser.keys("#token", ENTER).await;
    browser.says("#gate-why", "only ASCII characters").await;
    browser.run("document.querySelector('#token').value = ''", serde_json::json!([])).await;
    browser.keys("#token", "operators-only").await;
    browser.keys("#token", ENTER).await;
    ready(&browser).await;
    browser.says("#figure", "1.40 GB").await;
    browser.until("document.querySelector('#gate').hidden").await;
    browser.click("#do-release").await;
    browser.says("#result", "Released 120 MB").await;
    // In memory only: nothing is stored, and a new visit asks again.
    let stored = "[...Object.values(localStorage), ...Object.values(sessionStorage), document.cookie].join()";
    assert!(!browser.value(stored).await.as_str().unwrap().contains("operators"));
    browser.open(&site.page()).await;
    browser.says("#gate", "Not allowed to look").await;
    assert_no_faults(&browser).await;
}

#[tokio::test]
async fn a_token_that_may_only_look_gets_no_buttons() {
    let site = guarded();
    let Some(browser) = at_the_gate(&site).await else { return };
    browser.keys("#token", "only-looking").await;
    browser.keys("#token", ENTER).await;
    ready(&browser).await;
    browser.says("#readonly", "Read-only").await;
    browser.says("#cooldown", "This token may look but not act.").await;
    for action in ["moderate", "aggressive", "database"] {
        let shown = format!("document.querySelector('#do-{action}').checkVisibility()");
        assert_eq!(browser.value(&shown).await, false, "{action}");
    }
    assert_eq!(browser.value("document.querySelector('#do-release').disabled").await, true);
    assert_eq!(browser.value("document.querySelector('#warning').readOnly").await, true);
    browser
        .until("document.querySelector('.handle').getAttribute('aria-disabled') === 'true'")
        .await;
    browser.drag(".handle.warning .tab", -40).await;
    assert_eq!(browser.value("document.querySelector('#warning').value").await, "2000");
    // Panels are filled all the same.
    browser.says("#pruners", "socket_events").await;
    browser.screenshot("read-only").await;
    assert_no_faults(&browser).await;
}

#[tokio::test]
async fn on_its_own_machine_it_asks_for_nothing() {
    let site = Site::with(Plan { access: Access::loopback_or_bearer("op"), ..Plan::default() });
    let browser = visit!(site);
    browser.says("#figure", "1.40 GB").await;
    browser.until("document.querySelector('#readonly').hidden").await;
    assert_no_faults(&browser).await;
}
