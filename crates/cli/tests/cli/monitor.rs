//! `monitor`: lines, lost servers, and every way it can end.
use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use crate::support::{Answer, Ran, Server, dead, fixture, golden, ok, plimsoll, problem, run};

/// The two moments of the contract's sample.
fn moment(number: usize) -> Answer {
    let report = fixture("report");
    ok(if number == 0 {
        report
            .replace(r#""workingSet":1200400000"#, r#""workingSet":1849600000"#)
            .replace(r#""status":"healthy""#, r#""status":"warning""#)
    } else {
        report.replace("2025-01-08T10:30:00Z", "2025-01-08T10:30:30Z")
    })
}

#[test]
fn lines_match_the_contract_to_the_byte() {
    for command in ["monitor", "memory:monitor"] {
        let server = Server::start(|_, number| moment(number));
        let ran = server.run(&[command, "--interval", "100ms", "--count", "2"]);
        assert_eq!((ran.code, ran.stdout, ran.stderr.as_str()), (Some(0), golden("monitor"), ""));
    }
}

#[test]
fn the_first_line_comes_at_once() {
    let server = Server::always(moment(0));
    // An interval far above the patience of any test runner.
    let ran = server.run(&["monitor", "--count", "1", "--interval", "24h"]);
    assert_eq!(ran.stdout, "[2025-01-08 10:30:00] Memory: 1850MB ⚠️ warning\n");
}

#[test]
fn json_is_one_document_a_line() {
    let server = Server::start(|_, number| moment(number));
    let ran = server.run(&["monitor", "--json", "--interval", "100ms", "--count", "2"]);
    assert_eq!(ran.stdout.lines().count(), 2);
    for line in ran.stdout.lines() {
        let document: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(document["data"]["metric"], "workingSet");
    }
}

fn says(ran: &Ran, line: usize, text: &str) {
    let said = ran.stderr.lines().nth(line).unwrap_or_default();
    let stamp = "[2025-01-08 10:30:00] ".len();
    assert_eq!(said.get(stamp..), Some(text), "{}", ran.stderr);
    assert_eq!(&said[stamp - 2..stamp], "] ");
}

#[test]
fn a_lost_server_is_tried_again_and_its_last_absence_ends_in_3() {
    let mut command = plimsoll(&["monitor", "--interval", "100ms", "--count", "2"]);
    let ran = run(command.env("PLIMSOLL_URL", &dead().url));
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(3), ""));
    says(&ran, 0, "unreachable (connection refused), retrying");
    says(&ran, 1, "unreachable (connection refused)");
}

#[test]
fn a_server_that_comes_back_is_monitored_on() {
    let server = Server::start(|_, number| match number {
        1 => problem(503, "starting"),
        2 => Answer::Nothing,
        number => moment(number.min(1)),
    });
    let ran = server.run(&["monitor", "--interval", "100ms", "--count", "4"]);
    assert_eq!((ran.code, ran.stdout.clone()), (Some(0), golden("monitor")));
    says(&ran, 0, "failing (starting), retrying");
    assert!(ran.stderr.lines().nth(1).unwrap().contains("] unreachable (connection"), "{ran:?}");
}

#[test]
fn a_refusal_does_not_pass_by_itself_and_ends_it() {
    let ran = Server::always(problem(403, "not from here")).run(&["monitor"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(4), ""));
    assert!(ran.stderr.starts_with("error: not from here\n"), "{}", ran.stderr);
}

#[test]
fn a_slow_server_is_given_up_after_the_timeout() {
    let server = Server::always(Answer::Silence);
    let ran = server.run(&["monitor", "--count", "1", "--timeout", "50ms"]);
    assert_eq!(ran.code, Some(3));
    says(&ran, 0, "unreachable (no answer within 50ms)");
}

#[test]
fn a_reader_that_leaves_ends_it_quietly() {
    let server = Server::always(moment(0));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = server.command(&["monitor", "--interval", "100ms"]);
    let child = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_it_as_shells_expect() {
    use std::{os::unix::process::ExitStatusExt as _, process::Command};

    let server = Server::always(moment(0));
    let mut child = server.command(&["monitor"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.ends_with("warning\n"), "{line}");
    let interrupt = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupt.success());
    // A shell adds 128 to the signal, which makes the 130 of the exit code table.
    assert_eq!(child.wait().unwrap().signal(), Some(2));
}
