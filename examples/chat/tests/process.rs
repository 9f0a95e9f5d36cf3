//! The program as its user starts and stops it.

use std::{
    io::{BufRead as _, BufReader},
    net::TcpListener,
    process::{Child, Command, Output, Stdio},
};

fn chat() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chat"));
    command.env("RUST_LOG", "off").stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = chat().args(arguments).output().expect("it starts");
    (status.code(), String::from_utf8(stderr).expect("messages are text"))
}

/// Ends the program even when its test fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_port_in_use_is_one_clear_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, error) = run(&["--listen", &address]);
    assert_eq!(code, Some(1));
    assert!(error.starts_with(&format!("error: cannot listen on {address}: ")), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}

#[test]
fn a_database_that_cannot_be_opened_is_one_clear_line() {
    let (code, error) = run(&["--listen", "127.0.0.1:0", "--database", "/dev/null/chat.db"]);
    assert_eq!(code, Some(1));
    assert!(error.starts_with("error: cannot open the database /dev/null/chat.db: "), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}

#[test]
fn a_bad_option_is_a_usage_error() {
    assert_eq!(run(&["--chaos", "everything"]).0, Some(2));
    let (code, error) = run(&["load", "--url", "http://198.51.100.7:3000"]);
    assert_eq!(code, Some(2));
    assert!(error.contains("198.51.100.7 is not this machine"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_polite_signal_ends_it_with_success() {
    let child = chat().args(["--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut running = Running(child);
    let stdout = running.0.stdout.take().unwrap();
    let lines: Vec<_> = BufReader::new(stdout).lines().take(3).map(Result::unwrap).collect();
    assert!(lines[0].starts_with("chat:      http://127.0.0.1:"), "{lines:?}");
    assert!(lines[1].ends_with("/monitoring/"), "{lines:?}");
    assert!(lines[2].ends_with("/api/monitoring/memory"), "{lines:?}");
    let id = running.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
}
