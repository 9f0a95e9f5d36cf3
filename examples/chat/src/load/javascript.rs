//! People who chat through the JavaScript client of Socket.IO: the one that browsers and Node
//! programs have, so that what is measured is not only our own idea of the protocol.
//!
//! The client is a program of Node, `socket-io/load.mjs`, that is told whom to play and says at
//! its end what they got. Its library is installed once, below the target folder.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use super::{
    Target,
    chat::{PATIENCE, Person, THINK},
    summary::{Counts, Kind, Outcome},
};

const PACKAGE: &str = include_str!("../../socket-io/package.json");
const SCRIPT: &str = include_str!("../../socket-io/load.mjs");
const LIBRARY: &str = "socket.io-client";
/// How long Node's package manager may take to install it.
const INSTALL: Duration = Duration::from_secs(180);
/// How long the program may take to end: what it waits for then is given up after 5 s.
const END: Duration = Duration::from_secs(20);

/// The client, ready to run.
#[derive(Clone, Debug)]
pub(crate) struct JavaScript {
    script: PathBuf,
    /// Such as `socket.io-client 4.8.4 on Node v20.20.2`.
    pub(super) name: String,
}

impl JavaScript {
    /// Installs the client where that is not done yet; the error says why it cannot be had.
    pub(crate) async fn install() -> Result<Self, String> {
        let node = output(Command::new("node").arg("--version"), END).await?;
        let node = String::from_utf8_lossy(&node.stdout).trim().to_owned();
        let exe = env::current_exe().map_err(|error| error.to_string())?;
        let folder = target_folder(&exe)
            .ok_or_else(|| format!("{} stands below no target folder of cargo", exe.display()))?
            .join("chat-socket-io");
        let package: Value = serde_json::from_str(PACKAGE).map_err(|error| error.to_string())?;
        let wanted = &package["dependencies"][LIBRARY];
        let files = [("package.json", PACKAGE), ("load.mjs", SCRIPT)];
        fs::create_dir_all(&folder)
            .and_then(|()| {
                files.iter().try_for_each(|(name, text)| fs::write(folder.join(name), text))
            })
            .map_err(|error| format!("{}: {error}", folder.display()))?;
        if installed(&folder).as_ref() != Some(wanted) {
            let mut npm = Command::new("npm");
            npm.current_dir(&folder)
                .args(["install", "--no-audit", "--no-fund", "--ignore-scripts"])
                .args(["--loglevel", "error"]);
            output(&mut npm, INSTALL).await?;
        }
        let version = wanted.as_str().unwrap_or_default();
        Ok(Self {
            script: folder.join("load.mjs"),
            name: format!("{LIBRARY} {version} on Node {node}"),
        })
    }

    /// Starts all of these people.
    pub(super) fn start(
        &self,
        target: &Target,
        chatters: &[Person],
        churners: &[Person],
    ) -> Result<Crowd, String> {
        let people = |people: &[Person]| people.iter().map(Person::to_json).collect::<Vec<_>>();
        let plan = json!({
            "url": target.to_string(),
            "thinkMs": THINK.as_millis(),
            "patienceMs": PATIENCE.as_millis(),
            "chatters": people(chatters),
            "churners": people(churners),
        });
        let child = Command::new("node")
            .arg(&self.script)
            .arg(plan.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("node does not start: {error}"))?;
        Ok(Crowd { child })
    }
}

/// The people at work; dropped they are gone.
#[derive(Debug)]
pub(super) struct Crowd {
    child: Child,
}

impl Crowd {
    /// Has them end and tells what they got.
    pub(super) async fn finish(mut self) -> Result<Counts, String> {
        // The end of its input is the sign.
        drop(self.child.stdin.take());
        let output = timeout(END, self.child.wait_with_output());
        let output = output.await.map_err(|_| format!("node did not end in {END:?}"))?;
        let output = output.map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(format!("node failed: {}", output.status));
        }
        let got: BTreeMap<String, Got> = serde_json::from_slice(&output.stdout)
            .map_err(|error| format!("node told no counts: {error}"))?;
        let mut counts = Counts::default();
        for (kind, got) in got {
            let kind = Kind::named(&kind).ok_or_else(|| format!("node counted {kind:?}"))?;
            got.add_to(&mut counts, kind);
        }
        Ok(counts)
    }
}

/// What they got of one kind.
#[derive(Debug, Deserialize)]
struct Got {
    ms: Vec<f64>,
    shed: u64,
    other: u64,
    errors: u64,
}

impl Got {
    fn add_to(self, counts: &mut Counts, kind: Kind) {
        for ms in self.ms {
            counts.count(kind, Outcome::Accepted(Duration::from_secs_f64(ms.max(0.0) / 1e3)));
        }
        for (outcome, times) in [
            (Outcome::Shed, self.shed),
            (Outcome::Other, self.other),
            (Outcome::Error, self.errors),
        ] {
            (0..times).for_each(|_| counts.count(kind, outcome));
        }
    }
}

/// The folder that cargo builds into: where it keeps what it knows about the compiler.
fn target_folder(exe: &Path) -> Option<&Path> {
    exe.ancestors().find(|folder| folder.join(".rustc_info.json").is_file())
}

/// The version of the library that is there.
fn installed(folder: &Path) -> Option<Value> {
    let text = fs::read(folder.join("node_modules").join(LIBRARY).join("package.json")).ok()?;
    let mut package: Value = serde_json::from_slice(&text).ok()?;
    package.get_mut("version").map(Value::take)
}

/// What a tool has to say, if it is there and succeeds.
async fn output(command: &mut Command, limit: Duration) -> Result<Output, String> {
    let tool = command.as_std().get_program().to_string_lossy().into_owned();
    let running = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = match timeout(limit, running).await {
        Ok(Ok(output)) => output,
        Ok(Err(_)) => return Err(format!("{tool} is not installed")),
        Err(_) => return Err(format!("{tool} did not end in {limit:?}")),
    };
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{tool} failed: {}", said.lines().next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_the_script_are_taken_over() {
        let got: Got =
            serde_json::from_value(json!({ "ms": [1.5, 2.0], "shed": 1, "other": 0, "errors": 3 }))
                .unwrap();
        let mut counts = Counts::default();
        got.add_to(&mut counts, Kind::Churn);
        let mut expected = Counts::default();
        for outcome in [
            Outcome::Accepted(Duration::from_micros(1500)),
            Outcome::Accepted(Duration::from_millis(2)),
            Outcome::Shed,
            Outcome::Error,
            Outcome::Error,
            Outcome::Error,
        ] {
            expected.count(Kind::Churn, outcome);
        }
        assert_eq!(counts, expected);
    }

    #[test]
    fn the_library_is_kept_below_the_target_folder() {
        let exe = env::current_exe().unwrap();
        let folder = target_folder(&exe).expect("tests are built by cargo");
        assert!(exe.starts_with(folder));
        assert_eq!(target_folder(Path::new("/no/such/folder/chat")), None);
    }

    #[tokio::test]
    async fn a_tool_that_is_not_there_or_fails_is_named() {
        let missing = output(&mut Command::new("no-such-tool"), END).await;
        assert_eq!(missing.unwrap_err(), "no-such-tool is not installed");
        let mut failing = Command::new("sh");
        let failed = output(failing.args(["-c", "echo broken >&2; exit 3"]), END).await;
        assert_eq!(failed.unwrap_err(), "sh failed: broken");
    }
}
