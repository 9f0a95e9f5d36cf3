use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use serde_json::Value;

/// The programs under test, fresh from the sources.
#[derive(Debug)]
pub struct Programs {
    /// The example server.
    pub chat: PathBuf,
    /// The command line tool.
    pub plimsoll: PathBuf,
}

/// Builds the programs once for each test executable and tells where they are.
///
/// Cargo names the programs of a package only to that package's own tests, so they are asked
/// for by a call of cargo. While tests run, `cargo test` holds no lock of the target directory,
/// so that this call cannot wait for its caller. It selects what `cargo test --workspace` does,
/// so that after that nothing is left to compile.
///
/// # Panics
/// When they do not build.
pub fn programs() -> &'static Programs {
    static PROGRAMS: OnceLock<Programs> = OnceLock::new();
    PROGRAMS.get_or_init(build)
}

fn build() -> Programs {
    let test = env::current_exe().expect("a running test has a path");
    // <target>/<profile directory>/deps/<test>
    let profile = test.parent().and_then(Path::parent).expect("tests stand below their profile");
    let target = profile.parent().expect("profiles stand below the target directory");
    let profile = match profile.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let output = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--workspace", "--locked", "--profile", profile])
        // A test among the targets brings in the features of dev-dependencies, as in the call
        // that built this test; without it every dependency would be compiled a second time.
        .args(["--bin", "chat", "--bin", "plimsoll", "--test", "report"])
        .args(["--message-format", "json-render-diagnostics"])
        .arg("--target-dir")
        .arg(target)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "the programs under test do not build");
    let messages: Vec<Value> = output
        .stdout
        .split(|&byte| byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    Programs { chat: executable(&messages, "chat"), plimsoll: executable(&messages, "plimsoll") }
}

fn executable(messages: &[Value], name: &str) -> PathBuf {
    messages
        .iter()
        .filter(|message| message["target"]["name"] == name)
        .filter(|message| message["target"]["kind"][0] == "bin")
        .find_map(|message| message["executable"].as_str())
        .unwrap_or_else(|| panic!("cargo built no program named {name}"))
        .into()
}
