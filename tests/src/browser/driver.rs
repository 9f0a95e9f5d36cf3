//! The processes: chromedriver, and the browser that it starts.

use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use crate::chat::signal;

/// Ends what it started, by its id, when it is dropped.
#[derive(Debug)]
pub(super) struct Driver {
    child: Child,
    address: SocketAddr,
    folder: PathBuf,
    browser: Option<u64>,
}

impl Driver {
    pub(super) fn start() -> Result<Self, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // Free a moment ago; the driver takes no port 0 and tells nobody what it took.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .map_err(|error| format!("no free port: {error}"))?;
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("plimsoll-browser-{}-{count}", std::process::id());
        let folder = env::temp_dir().join(name);
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let child = Command::new("chromedriver")
            .arg(format!("--port={}", address.port()))
            // The browser inherits it: no proxy stands between two processes of one machine.
            .env_remove("http_proxy")
            .env_remove("HTTP_PROXY")
            .env("NO_PROXY", "127.0.0.1,localhost")
            .env("TZ", "UTC")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("chromedriver (apt: chromium-driver): {error}"))?;
        Ok(Self { child, address, folder, browser: None })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Notes the browser's process, which outlives a driver that is killed.
    pub(super) fn owns(&mut self, process: Option<u64>) {
        self.browser = process;
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(browser) = self.browser {
            signal("KILL", &browser.to_string());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Helpers of the browser may write a moment longer; what is left is in a temporary folder.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A folder for the browser's profile, removed with the driver.
pub(super) fn profile(driver: &Driver) -> PathBuf {
    driver.folder.join("profile")
}

/// Where cargo builds, as seen from the running test.
pub(super) fn target() -> PathBuf {
    let program = env::current_exe().expect("a running program has a path");
    // <target>/<profile>/deps/<test>, or <target>/<profile>/<program>
    let up = program.ancestors().skip(1).find(|path| path.join(".fingerprint").is_dir());
    up.and_then(Path::parent).expect("programs stand below their profile").to_owned()
}

/// Base64, as pictures come.
pub(super) fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for sign in text.bytes() {
        let value = match sign {
            b'A'..=b'Z' => sign - b'A',
            b'a'..=b'z' => sign - b'a' + 26,
            b'0'..=b'9' => sign - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => continue,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(((bits >> count) & 0xff) as u8);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::decoded;

    #[test]
    fn base64_is_read() {
        for (text, bytes) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9vYmFy", "foobar")] {
            assert_eq!(decoded(text), bytes.as_bytes());
        }
    }
}
