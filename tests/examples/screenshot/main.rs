//! Makes the README's pictures of the dashboard: `cargo run -p plimsoll-tests --example screenshot`
//!
//! The chat server runs in a small memory cgroup (without one where none can be made), is talked
//! to by people and flooded for two minutes, and a browser looks at it. Takes a chromedriver.

mod palette;

use std::{error::Error, fs, path::Path, time::Duration};

use plimsoll_tests::{Browser, Chat, HoldLoad, chat_command, hold_until, memory_group};
use tokio::time::{Instant, sleep};

const LIMIT: u64 = 420_000_000;
const WARNING: &str = "200";
const CRITICAL: &str = "280";
/// Clients that hold 4 MB each, and for how many seconds: a usual day, a rush, too much, and less.
const DAY: [(u32, u64); 7] = [(6, 14), (14, 14), (24, 16), (34, 14), (80, 12), (26, 16), (12, 24)];
/// A README shows no picture that is heavier.
const HEAVIEST: usize = 200_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/images");
    fs::create_dir_all(&folder)?;
    let group = memory_group(LIMIT);
    let variables =
        [("MEMORY_WARNING_THRESHOLD", WARNING), ("MEMORY_CRITICAL_THRESHOLD", CRITICAL)];
    let arguments = ["--chaos", "hold,leak-cache"];
    let chat = match &group {
        Some(group) => Chat::start_with_in(group, &arguments, &variables).await,
        None => Chat::start_with(&arguments, &variables).await,
    };
    let Some(browser) = Browser::start(1280, 2200).await else {
        return Err("there is no browser to take pictures with".into());
    };
    browser.open(&format!("{}/monitoring/", chat.url())).await;

    let seconds: u64 = DAY.iter().map(|(_, seconds)| seconds).sum();
    let mut people = chat_command()
        .args(["load", "--url", &chat.url(), "--clients", "24"])
        .args(["--seconds", &seconds.to_string()])
        .stdout(std::process::Stdio::null())
        .spawn()?;
    for (clients, seconds) in DAY {
        let load = HoldLoad { clients, mb: 4, ms: 900, touch: "now" };
        let held = hold_until(&chat, load, Instant::now() + Duration::from_secs(seconds)).await;
        eprintln!("{clients} clients: {} served, {} refused", held.served, held.refused);
    }
    people.wait()?;
    // A last load, so that the picture is of a server at work.
    let load = HoldLoad { clients: 16, mb: 4, ms: 900, touch: "now" };
    let end = Instant::now() + Duration::from_secs(14);
    let (held, taken) = tokio::join!(hold_until(&chat, load, end), take(&browser, &folder));
    eprintln!("{} served while the pictures were taken", held.served);
    taken
}

async fn take(browser: &Browser, folder: &Path) -> Result<(), Box<dyn Error>> {
    sleep(Duration::from_secs(4)).await;
    for (theme, name) in [("light", "dashboard.png"), ("dark", "dashboard-dark.png")] {
        let media = [("prefers-color-scheme", theme), ("prefers-reduced-motion", "reduce")];
        browser.media(&media).await;
        // Drawn once more in the new colours.
        sleep(Duration::from_millis(1_500)).await;
        let picture = palette::reduced(&browser.picture_down_to("#panel-routes").await)?;
        if picture.len() > HEAVIEST {
            return Err(format!("{name} would have {} bytes", picture.len()).into());
        }
        fs::write(folder.join(name), &picture)?;
        eprintln!("{} has {} bytes", folder.join(name).display(), picture.len());
    }
    let faults = browser.faults().await;
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n").into()) }
}
