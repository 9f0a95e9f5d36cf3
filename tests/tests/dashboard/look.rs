//! How it looks to everybody: small, dark, still, by keyboard, to a screen reader.

use plimsoll::prelude::*;
use plimsoll_tests::Browser;
use serde_json::{Value, json};

use crate::{
    assert_no_faults,
    panels::everything,
    site::{Plan, Site},
    visit,
};

/// axe-core; see the README beside it for its licence.
const AXE: &str = include_str!("../../assets/axe-4.14.1.min.js");
const TAB: &str = "\u{e004}";
const LIGHT: (&str, &str) = ("prefers-color-scheme", "light");
const DARK: (&str, &str) = ("prefers-color-scheme", "dark");

/// A server with something in every panel, an alert among it.
async fn busy() -> Site {
    let site = Site::with(Plan { extra: everything(), ..Plan::default() });
    for _ in 0..5 {
        site.http().get("/orders/7").await;
    }
    site.plimsoll.cleanup(CleanupLevel::Moderate).await.unwrap();
    site.script.set_rss(3_100 * MB);
    site
}

async fn filled(browser: &Browser) {
    browser.says("#alerts", "MemoryCritical").await;
    browser.says("#sockets", "203.0.113.9").await;
    browser.says("#routes", "/orders/{id}").await;
}

async fn assert_accessible(browser: &Browser, what: &str) {
    browser.run(AXE, json!([])).await;
    let found = browser
        .run_async(
            "const { violations, passes } = await axe.run(document, { resultTypes: ['violations'] });
             return [passes.length, violations.map((one) => [one.id, one.help, one.nodes.slice(0, 5).map((node) => node.html + ' ' + node.failureSummary)])];",
        )
        .await;
    assert!(found[0].as_u64().is_some_and(|passes| passes > 20), "{what}: axe looked: {found:#}");
    assert_eq!(found[1], json!([]), "{what}: {found:#}");
}

#[tokio::test]
async fn axe_finds_nothing_in_either_theme() {
    let site = busy().await;
    let browser = visit!(site);
    filled(&browser).await;
    for (theme, media) in [("light", LIGHT), ("dark", DARK)] {
        // Still, so that no colour is half way to another.
        browser.media(&[media, ("prefers-reduced-motion", "reduce")]).await;
        assert_no_faults(&browser).await;
        assert_accessible(&browser, theme).await;
        browser.screenshot(&format!("busy-{theme}")).await;
        // The dialog, and a draft that was refused.
        browser.type_over("#warning", "9000").await;
        browser.click("#apply").await;
        browser.says("#thresholds-said", "must be lower than critical").await;
        browser.click("#do-moderate").await;
        browser.says("#dialog", "950 entries").await;
        assert_accessible(&browser, &format!("{theme}, dialog")).await;
        browser.click("#dialog-cancel").await;
        browser.click("#cancel").await;
    }
    browser.resize(320, 640).await;
    assert_accessible(&browser, "320 px").await;
}

#[tokio::test]
async fn the_witnesses_see_what_is_wrong() {
    let site = Site::start();
    let browser = visit!(site);
    assert_no_faults(&browser).await;
    let breach = "document.body.insertAdjacentHTML('beforeend', '<input style=\"color: red\">'); \
                  setTimeout(() => { throw new Error('on purpose'); });";
    browser.run(breach, json!([])).await;
    browser.until("__faults.length === 2").await;
    let faults = browser.faults().await.join("\n");
    assert!(faults.contains("policy: style-src-attr") && faults.contains("on purpose"), "{faults}");
    browser.run(AXE, json!([])).await;
    let found = browser
        .run_async("return (await axe.run(document.body)).violations.map((one) => one.id);")
        .await;
    assert!(found.as_array().unwrap().contains(&json!("label")), "{found}");
}

#[tokio::test]
async fn axe_finds_nothing_at_the_gate() {
    let site = Site::with(Plan { access: Access::bearer("op"), ..Plan::default() });
    let Some(browser) = Browser::start(1280, 900).await else { return };
    browser.open(&site.page()).await;
    browser.says("#gate", "Not allowed to look").await;
    for (theme, media) in [("light", LIGHT), ("dark", DARK)] {
        browser.media(&[media]).await;
        assert_accessible(&browser, theme).await;
    }
}

#[tokio::test]
async fn at_320_pixels_nothing_sticks_out() {
    let site = busy().await;
    let browser = visit!(site);
    filled(&browser).await;
    for width in [320, 640, 1_000, 1_920] {
        browser.resize(width, 700).await;
        let outside = format!(
            "[...document.querySelectorAll('body *')].filter((node) => {{
                const box = node.getBoundingClientRect();
                return box.width > 1 && (box.right > {width} + 1 || box.left < -1) && !node.closest('.unseen, .skip, svg, thead');
            }}).map((node) => `${{node.tagName}}#${{node.id}}.${{node.className}}`)"
        );
        browser
            .until("document.querySelector('#chart .uplot').offsetWidth <= document.querySelector('#chart').offsetWidth")
            .await;
        assert_eq!(browser.value(&outside).await, json!([]), "{width}");
        let fits = browser.value("document.documentElement.scrollWidth <= innerWidth").await;
        assert_eq!(fits, true, "{width}");
        browser.screenshot(&format!("width-{width}")).await;
    }
    // Targets for a finger.
    browser.resize(320, 700).await;
    let small = browser
        .value(
            "[...document.querySelectorAll('main button, main input, main select')].filter((node) => node.checkVisibility())
                .filter((node) => node.getBoundingClientRect().height < 44).map((node) => node.outerHTML)",
        )
        .await;
    assert_eq!(small, json!([]));
    assert_no_faults(&browser).await;
}

#[tokio::test]
async fn the_theme_follows_the_system_until_it_is_chosen() {
    let site = Site::start();
    let browser = visit!(site);
    let paper = "getComputedStyle(document.body).backgroundColor";
    browser.media(&[LIGHT]).await;
    let light = browser.value(paper).await;
    browser.media(&[DARK]).await;
    let dark = browser.value(paper).await;
    assert_ne!(light, dark);
    // The chart's own colours follow as well.
    let ink = "(() => {
        const canvas = document.querySelector('#chart canvas');
        const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        let sum = 0;
        for (let at = 0; at < data.length; at += 4) sum += data[at + 3] ? data[at] + data[at + 1] + data[at + 2] : 0;
        return sum;
    })()";
    browser.screenshot("dark").await;
    let in_dark = browser.value(ink).await;
    browser.click("#theme").await;
    browser.says("#theme", "Theme: light").await;
    assert_eq!(browser.value(paper).await, light);
    assert_ne!(browser.value(ink).await, in_dark);
    browser.click("#theme").await;
    browser.says("#theme", "Theme: dark").await;
    browser.media(&[LIGHT]).await;
    assert_eq!(browser.value(paper).await, dark);
    // It is remembered.
    browser.open(&site.page()).await;
    crate::ready(&browser).await;
    browser.says("#theme", "Theme: dark").await;
    assert_no_faults(&browser).await;
}

#[tokio::test]
async fn it_stands_still_where_that_is_asked_for() {
    let site = Site::start();
    let Some(browser) = Browser::start(1280, 900).await else { return };
    browser.media(&[("prefers-reduced-motion", "reduce")]).await;
    browser.open(&site.page()).await;
    crate::ready(&browser).await;
    browser.says("#where", "Live heap").await;
    let moving = browser
        .value("document.getAnimations().length + [...document.querySelectorAll('*')].filter((node) => getComputedStyle(node).transitionDuration !== '0s').length")
        .await;
    assert_eq!(moving, 0);
}

#[tokio::test]
async fn everything_is_reached_by_tab_and_seen_when_it_is() {
    let site = busy().await;
    let browser = visit!(site);
    filled(&browser).await;
    browser.run("document.body.focus()", json!([])).await;
    let mut reached = Vec::new();
    for _ in 0..60 {
        browser.press(&[TAB]).await;
        let focus = browser
            .value(
                "(() => {
                    const node = document.activeElement;
                    const style = getComputedStyle(node.closest('.handle')?.querySelector('.tab') ?? node, node.matches('.handle') ? '::before' : null);
                    return [node.id || node.dataset.side || node.dataset.span || node.dataset.key || node.tagName, style.outlineStyle, parseFloat(style.outlineWidth)];
                })()",
            )
            .await;
        if focus[0] == "BODY" {
            break;
        }
        assert_eq!(focus[1], "solid", "{focus}");
        assert!(focus[2].as_f64().unwrap() >= 2.0, "{focus}");
        reached.push(focus[0].as_str().unwrap().to_owned());
    }
    for id in [
        "theme",
        "900",
        "pause",
        "warning",
        "critical",
        "do-release",
        "do-database",
        "alerts-test",
        "sort-0",
    ] {
        assert!(reached.iter().any(|name| name == id), "{id} in {reached:?}");
    }
    // Each line once as a slider and once as a field.
    assert_eq!(reached.iter().filter(|name| *name == "warning").count(), 2, "{reached:?}");
    let names = browser
        .value("[...document.querySelectorAll('#panels h2')].map((heading) => heading.textContent)")
        .await;
    let panels = [
        "Status",
        "Memory",
        "Where it is",
        "What you can do",
        "Alerts",
        "Cleanups",
        "Routes",
        "Sockets",
        "Pruners",
        "Retention",
    ];
    assert_eq!(names, json!(panels.map(Value::from)));
}

#[tokio::test]
async fn pausing_holds_the_chart_and_nothing_else() {
    let site = Site::start();
    let browser = visit!(site);
    browser.says("#chart-summary", "1.40 GB now").await;
    browser.click("#pause").await;
    browser.until("document.querySelector('#pause').getAttribute('aria-pressed') === 'true'").await;
    let held = browser.text("#chart-summary").await;
    site.script.set_rss(1_900 * MB);
    browser.says("#figure", "1.90 GB").await;
    assert_eq!(browser.text("#chart-summary").await, held);
    browser.click("#pause").await;
    browser.says("#chart-summary", "1.90 GB now").await;
    browser.click("#fit").await;
    browser.until("document.querySelectorAll('.handle.critical.beyond').length === 1").await;
    browser.screenshot("fit-to-usage").await;
    assert_no_faults(&browser).await;
}
