//! A headless Chromium, driven over WebDriver.
//!
//! WebDriver is a few JSON calls over HTTP, and a client of HTTP is here already: a crate for it
//! would bring dozens more.

mod driver;

use std::{path::PathBuf, time::Duration};

use serde_json::{Value, json};

use self::driver::{Driver, profile};
use crate::{Http, eventually};

/// What WebDriver names an element in its answers.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// A page on a busy machine comes to rest within this time.
const SOON: Duration = Duration::from_secs(20);
/// Runs before anything of a page: notes what its policy forbids, and what fails in its script.
const WITNESS: &str = "
    window.__faults = [];
    document.addEventListener('securitypolicyviolation', (event) =>
        __faults.push(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`));
    addEventListener('error', (event) => __faults.push(`error: ${event.message} ${event.filename}:${event.lineno}`));
    addEventListener('unhandledrejection', (event) => __faults.push(`rejection: ${event.reason?.stack ?? event.reason}`));";

/// A browser with one tab; it and its driver end when this is dropped.
#[derive(Debug)]
pub struct Browser {
    http: Http,
    session: String,
    driver: Driver,
}

impl Browser {
    /// Starts one with a fresh profile and a window of this size; says on standard error why it
    /// cannot, so that a skipped test is seen.
    ///
    /// # Panics
    /// When there is no Chromium and the environment has `CI`: there it is to be tested.
    pub async fn start(width: u32, height: u32) -> Option<Self> {
        let driver = match Driver::start() {
            Ok(driver) => driver,
            Err(why) if std::env::var_os("CI").is_some_and(|ci| !ci.is_empty()) => {
                panic!("no browser to test with, and this is CI: {why}")
            }
            Err(why) => {
                eprintln!("SKIPPED: no browser can be started here: {why}");
                return None;
            }
        };
        let http = Http::new(driver.address());
        let ready = async || {
            let status = http.request(hyper::Method::GET, "/status");
            http.try_send(status, "", Duration::from_secs(1)).await.ok().map(|_| ())
        };
        eventually(SOON, "the driver of the browser", ready).await;
        let profile = profile(&driver);
        let options = json!({ "args": [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--enable-precise-memory-info", "--force-color-profile=srgb", "--hide-scrollbars",
            format!("--user-data-dir={}", profile.display()),
            format!("--window-size={width},{height}"),
        ] });
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let mut answer = http.post("/session", &wanted).await.json();
        let session = answer["value"]["sessionId"].as_str();
        let session = session.unwrap_or_else(|| panic!("no session: {answer:#}")).to_owned();
        let process = answer["value"]["capabilities"]["goog:processID"].take();
        let mut browser = Self { http, session: format!("/session/{session}"), driver };
        browser.driver.owns(process.as_u64());
        // Not the window's size alone, part of which may be the browser's own.
        browser.resize(width, height).await;
        browser.devtools("Page.enable", json!({})).await;
        let witness = json!({ "source": WITNESS });
        browser.devtools("Page.addScriptToEvaluateOnNewDocument", witness).await;
        Some(browser)
    }

    /// Opens an address and waits until it is loaded.
    pub async fn open(&self, url: &str) {
        self.call("url", json!({ "url": url })).await;
    }

    /// Runs the body of a function in the page and returns what it returns.
    pub async fn run(&self, script: &str, arguments: Value) -> Value {
        self.call("execute/sync", json!({ "script": script, "args": arguments })).await
    }

    /// The value of an expression in the page.
    pub async fn value(&self, expression: &str) -> Value {
        self.run(&format!("return ({expression});"), json!([])).await
    }

    /// Runs the body of an async function in the page and waits for what it returns.
    pub async fn run_async(&self, script: &str) -> Value {
        let script = format!(
            "const done = arguments[arguments.length - 1];
             (async () => {{ {script} }})().then(done, (error) => done({{ failed: String(error) }}));"
        );
        self.call("execute/async", json!({ "script": script, "args": [] })).await
    }

    /// Waits until an expression in the page is true.
    ///
    /// # Panics
    /// When it is not within 20 s, with what the page shows.
    pub async fn until(&self, expression: &str) {
        let seen = async { while self.value(expression).await != true {} };
        if tokio::time::timeout(SOON, seen).await.is_err() {
            let text = self.text("body").await;
            let faults = self.faults().await;
            self.screenshot("failed").await;
            panic!("never: {expression}\nfaults: {faults:?}\nthe page says:\n{text}");
        }
    }

    /// Waits until the element's text holds this.
    ///
    /// # Panics
    /// As [`Browser::until`].
    pub async fn says(&self, css: &str, text: &str) {
        let text = Value::from(text);
        let css = Value::from(css);
        self.until(&format!("(document.querySelector({css})?.innerText ?? '').includes({text})"))
            .await;
    }

    /// The text of an element as it is shown, empty without one.
    pub async fn text(&self, css: &str) -> String {
        let script = "return document.querySelector(arguments[0])?.innerText ?? ''";
        self.run(script, json!([css])).await.as_str().unwrap_or_default().to_owned()
    }

    /// Clicks an element once it can be clicked, as a hand does: what covers it gets the click.
    ///
    /// # Panics
    /// When it is not there within 20 s, or cannot be clicked.
    pub async fn click(&self, css: &str) {
        let enabled = format!("document.querySelector({})?.disabled === false", Value::from(css));
        let script = format!("document.querySelector({})", Value::from(css));
        self.until(&format!("({script} !== null) && ({enabled} || !('disabled' in {script}))"))
            .await;
        let element = self.element(css).await;
        self.call(&format!("element/{element}/click"), json!({})).await;
    }

    /// Types into an element after what is there; `\u{e00d}` and the like are the keys that
    /// WebDriver numbers.
    ///
    /// # Panics
    /// Without such an element.
    pub async fn keys(&self, css: &str, keys: &str) {
        let element = self.element(css).await;
        self.call(&format!("element/{element}/value"), json!({ "text": keys })).await;
    }

    /// Empties a field and types into it.
    ///
    /// # Panics
    /// Without such an element.
    pub async fn type_over(&self, css: &str, text: &str) {
        let select =
            "const field = document.querySelector(arguments[0]); field.focus(); field.select();";
        self.run(select, json!([css])).await;
        let keys: Vec<_> = text.chars().map(String::from).collect();
        self.press(&keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }

    /// Presses keys wherever the focus is.
    pub async fn press(&self, keys: &[&str]) {
        let strokes: Vec<_> = keys
            .iter()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key })))
            .collect();
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": strokes });
        self.call("actions", json!({ "actions": [keyboard] })).await;
    }

    /// Drags from the middle of an element by so many pixels down.
    ///
    /// # Panics
    /// Without such an element.
    pub async fn drag(&self, css: &str, down: i64) {
        let origin = json!({ ELEMENT: self.element(css).await });
        let pause = json!({ "type": "pause", "duration": 50 });
        let step = |y: i64| json!({ "type": "pointerMove", "duration": 100, "x": 0, "y": y, "origin": "pointer" });
        let moves = json!([
            { "type": "pointerMove", "duration": 0, "x": 0, "y": 0, "origin": origin },
            { "type": "pointerDown", "button": 0 },
            step(down / 2), pause, step(down - down / 2), pause,
            { "type": "pointerUp", "button": 0 },
        ]);
        let mouse = json!({ "type": "pointer", "id": "mouse", "parameters": { "pointerType": "mouse" }, "actions": moves });
        self.call("actions", json!({ "actions": [mouse] })).await;
    }

    /// Gives the page this much room.
    pub async fn resize(&self, width: u32, height: u32) {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Pretends that the system asks for this, such as `prefers-color-scheme: dark`.
    pub async fn media(&self, features: &[(&str, &str)]) {
        let features: Vec<_> =
            features.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// Says something to the browser's developer tools.
    pub async fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.call("goog/cdp/execute", json!({ "cmd": command, "params": parameters })).await
    }

    /// What the page's policy forbade and what failed in its script, since it was opened.
    pub async fn faults(&self) -> Vec<String> {
        let noted = self.value("window.__faults ?? []").await;
        let noted = noted.as_array().into_iter().flatten();
        let mut faults: Vec<_> = noted.map(|fault| fault.to_string()).collect();
        let log = self.call("se/log", json!({ "type": "browser" })).await;
        // What a policy blocks is logged here too. So are requests that were refused, which is no
        // fault, and advice on how to read a canvas, which only tests do.
        let logged = log.as_array().into_iter().flatten();
        let logged =
            logged.filter(|entry| entry["source"] != "network" && entry["source"] != "rendering");
        faults.extend(logged.map(|entry| entry["message"].to_string()));
        faults
    }

    /// Writes a picture of the whole page below the target folder and says where.
    ///
    /// # Panics
    /// When it cannot be written.
    pub async fn screenshot(&self, name: &str) -> PathBuf {
        let folder = driver::target().join("dashboard");
        std::fs::create_dir_all(&folder).expect("the target folder can be written");
        let path = folder.join(format!("{name}.png"));
        std::fs::write(&path, self.picture().await).expect("the target folder can be written");
        path
    }

    /// A picture of the whole page, as PNG.
    ///
    /// # Panics
    /// When the browser takes none.
    pub async fn picture(&self) -> Vec<u8> {
        self.picture_down_to("html").await
    }

    /// A picture of the page from its top to the end of an element and a little more, as PNG.
    ///
    /// # Panics
    /// Without such an element, or when the browser takes none.
    pub async fn picture_down_to(&self, css: &str) -> Vec<u8> {
        let script = "const all = document.documentElement;
            const end = document.querySelector(arguments[0]).getBoundingClientRect().bottom + scrollY;
            return [all.scrollWidth, Math.min(all.scrollHeight, Math.ceil(end) + 8)];";
        let size = self.run(script, json!([css])).await;
        let clip = json!({ "x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1 });
        let whole = json!({ "captureBeyondViewport": true, "clip": clip });
        let shot = self.devtools("Page.captureScreenshot", whole).await;
        driver::decoded(shot["data"].as_str().expect("a picture"))
    }

    async fn element(&self, css: &str) -> String {
        let found = self.call("element", json!({ "using": "css selector", "value": css })).await;
        found[ELEMENT].as_str().unwrap_or_else(|| panic!("no element {css}")).to_owned()
    }

    async fn call(&self, command: &str, body: Value) -> Value {
        let mut answer = self.http.post(&format!("{}/{command}", self.session), &body).await.json();
        assert!(
            answer["value"]["error"].is_null() || !answer["value"]["stacktrace"].is_string(),
            "{command}: {}",
            answer["value"]["message"]
        );
        answer["value"].take()
    }
}
