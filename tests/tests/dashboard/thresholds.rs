//! Thresholds: dragged, moved by keys, typed, refused, and changed by somebody else.

use plimsoll::prelude::*;
use serde_json::{Value, json};

use crate::{assert_no_faults, site::Site, visit};

const MEMORY: &str = "/api/monitoring/memory";
const UP: &str = "\u{e013}";
const DOWN: &str = "\u{e015}";
const PAGE_UP: &str = "\u{e00e}";
const HOME: &str = "\u{e011}";
const ENTER: &str = "\u{e007}";
const ESCAPE: &str = "\u{e00c}";

async fn in_force(site: &Site) -> (u64, u64) {
    let thresholds = site.http().report().await["thresholds"].take();
    (thresholds["warning"].as_u64().unwrap(), thresholds["critical"].as_u64().unwrap())
}

#[tokio::test]
async fn a_line_is_dragged_to_a_draft_and_applied() {
    let site = Site::start();
    let browser = visit!(site);
    browser.drag(".handle.warning .tab", -40).await;
    browser.says(".handle.warning", "(draft)").await;
    let dragged = browser.value("Number(document.querySelector('#warning').value)").await;
    let dragged = dragged.as_u64().expect("whole MB");
    assert!((2_050..2_990).contains(&dragged) && dragged % 10 == 0, "{dragged}");
    // A draft changes nothing until it is applied.
    assert_eq!(in_force(&site).await, (2_000, 3_000));
    browser.screenshot("threshold-draft").await;
    browser.click("#apply").await;
    browser.says("#thresholds-said", "Thresholds set to").await;
    assert_eq!(in_force(&site).await, (dragged, 3_000));
    browser.until("document.querySelector('#apply').disabled").await;
    // One's own change is not news.
    assert_eq!(browser.value("document.querySelector('#notices').children.length").await, 0);
    // Warning does not pass critical, however far it is dragged.
    browser.drag(".handle.warning .tab", -400).await;
    browser.until("document.querySelector('#warning').value === '2990'").await;
    browser.click("#cancel").await;
    let value = browser.value("document.querySelector('#warning').value").await;
    assert_eq!(value, dragged.to_string());
    assert_no_faults(&browser).await;
}

#[tokio::test]
async fn a_line_is_a_slider_for_the_keyboard() {
    let site = Site::start();
    let browser = visit!(site);
    let focus = |side: &str| format!("document.querySelector('.handle.{side}').focus()");
    let now = |side: &str, mb: u64| {
        format!("document.querySelector('.handle.{side}').getAttribute('aria-valuenow') === '{mb}'")
    };
    browser.run(&focus("warning"), json!([])).await;
    browser.press(&[UP, UP]).await;
    browser.until(&now("warning", 2_020)).await;
    browser.press(&[DOWN, PAGE_UP]).await;
    browser.until(&now("warning", 2_110)).await;
    browser.press(&[HOME]).await;
    browser.until(&now("warning", 1)).await;
    browser.press(&[ESCAPE]).await;
    browser.until(&now("warning", 2_000)).await;
    browser.run(&focus("critical"), json!([])).await;
    browser.press(&[HOME]).await;
    // Critical stays above warning.
    browser.until(&now("critical", 2_010)).await;
    browser.press(&[PAGE_UP, ENTER]).await;
    browser.says("#thresholds-said", "Thresholds set to 2000MB and 2110MB").await;
    assert_eq!(in_force(&site).await, (2_000, 2_110));
    let role = browser.value("document.activeElement.getAttribute('role')").await;
    assert_eq!(role, "slider");
    assert_no_faults(&browser).await;
}

#[tokio::test]
async fn what_the_server_refuses_is_shown_in_its_own_words() {
    let site = Site::start();
    let browser = visit!(site);
    for (warning, critical) in [("3000", "2000"), ("much", "3000"), ("0", "3000")] {
        browser.type_over("#warning", warning).await;
        browser.type_over("#critical", critical).await;
        browser.click("#apply").await;
        let typed = |text: &str| text.parse::<u64>().map_or(json!(text), |mb| json!(mb));
        let mut change = json!({ "action": "updateThresholds", "thresholds": {} });
        for (side, text, old) in [("warning", warning, "2000"), ("critical", critical, "3000")] {
            if text != old {
                change["thresholds"][side] = typed(text);
            }
        }
        let refusal = site.http().post(MEMORY, &change).await;
        assert_eq!(refusal.status, 422);
        let detail = refusal.json()["detail"].as_str().unwrap().to_owned();
        browser
            .until(&format!(
                "document.querySelector('#thresholds-said').textContent === {}",
                Value::from(detail)
            ))
            .await;
        assert_eq!(in_force(&site).await, (2_000, 3_000));
        browser
            .until("document.querySelector('#warning').getAttribute('aria-invalid') === 'true'")
            .await;
    }
    browser.screenshot("threshold-refused").await;
    // What only the server can read is sent as it was typed.
    browser.type_over("#warning", "50%").await;
    browser.type_over("#critical", "3.5GB").await;
    browser.keys("#critical", ENTER).await;
    browser.says("#thresholds-said", "Thresholds set to 2000MB and 3500MB").await;
    assert_no_faults(&browser).await;
}

#[tokio::test]
async fn two_operators_see_each_others_change() {
    let site = Site::start();
    let browser = visit!(site);
    let Some(other) = plimsoll_tests::Browser::start(1024, 800).await else { return };
    other.open(&site.page()).await;
    crate::ready(&other).await;
    // One has begun a draft while the other applies a change.
    browser.type_over("#critical", "3300").await;
    other.type_over("#warning", "1800").await;
    other.click("#apply").await;
    other.says("#thresholds-said", "Thresholds set to 1800MB and 3000MB").await;
    browser.says("#notices", "Thresholds were changed elsewhere: warning 2,000 → 1,800 MB").await;
    browser.says("#notices", "Your draft is kept").await;
    browser.until("document.querySelector('#warning').value === '1800'").await;
    browser.until("document.querySelector('#critical').value === '3300'").await;
    browser.screenshot("changed-elsewhere").await;
    browser.click("#apply").await;
    other.says("#notices", "critical 3,000 → 3,300 MB").await;
    other.until("document.querySelector('#critical').value === '3300'").await;
    assert_eq!(in_force(&site).await, (1_800, 3_300));
    // What changes the program itself is seen as well.
    site.plimsoll.set_thresholds(Thresholds::new(1_500 * MB, 2_500 * MB).unwrap()).unwrap();
    browser.says(".handle.critical", "2.50 GB").await;
    assert_no_faults(&browser).await;
    assert_no_faults(&other).await;
}
