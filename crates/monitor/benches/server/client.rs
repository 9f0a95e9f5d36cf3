//! Starts a server, counted or not, and asks it.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::{Command, Stdio},
};

use crate::serve::Variant;

/// First argument of the programs that serve.
pub(crate) const CHILD: &str = "serve";
/// Two lengths: what starting costs is in both, so their difference is requests only.
const SHORT: u64 = 1_000;
const LONG: u64 = 3_000;

const REQUEST: &[u8] =
    b"GET / HTTP/1.1\r\nhost: 127.0.0.1:3000\r\naccept: */*\r\nuser-agent: curl/8\r\n\r\n";

/// Instructions per request, rounded; `None` without valgrind.
pub(crate) fn instructions(variant: Variant) -> Option<u64> {
    let requests = LONG - SHORT;
    let more = callgrind(variant, LONG)?.checked_sub(callgrind(variant, SHORT)?)?;
    Some((more + requests / 2) / requests)
}

fn callgrind(variant: Variant, requests: u64) -> Option<u64> {
    let log = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("{}.callgrind", std::process::id()));
    let mut valgrind = Command::new("valgrind");
    // Only the thread that serves: the sampler has one of its own, and wakes by the clock.
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    valgrind.arg("--toggle-collect=*serve_until_told*");
    valgrind.arg(format!("--log-file={}", log.display()));
    if Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().is_err() {
        return None;
    }
    ask(variant, Some(valgrind), requests);
    let told = fs::read_to_string(&log).ok()?;
    fs::remove_file(&log).ok()?;
    let collected = told.lines().find_map(|line| line.split_once("Collected :"))?.1;
    collected.split_whitespace().next()?.parse().ok()
}

/// Starts a server under the tool and asks it so many times, one after the other.
pub(crate) fn ask(variant: Variant, tool: Option<Command>, requests: u64) {
    let program = std::env::current_exe().expect("a running program has a path");
    let mut command = match tool {
        Some(mut tool) => {
            tool.arg(program);
            tool
        }
        None => Command::new(program),
    };
    command.arg(CHILD).arg(variant.name()).stdin(Stdio::piped()).stdout(Stdio::piped());
    // As in the guard's own bench: what a request frees stays in the thread's cache.
    command.env("GLIBC_TUNABLES", "glibc.malloc.tcache_count=127");
    let mut server = command.spawn().expect("a program that runs can run again");
    let mut address = String::new();
    let mut told = BufReader::new(server.stdout.take().expect("piped"));
    told.read_line(&mut address).expect("the server tells its address");
    let mut stream = TcpStream::connect(address.trim()).expect("it listens there");
    stream.set_nodelay(true).expect("a socket that is connected");
    for _ in 0..requests {
        stream.write_all(REQUEST).expect("it reads");
        read_answer(&mut stream, variant);
    }
    drop(stream);
    // The end of its input is what it waits for.
    drop(server.stdin.take());
    assert!(server.wait().expect("it was started here").success(), "{}", variant.name());
}

/// One answer, by the length that it declares.
fn read_answer(stream: &mut TcpStream, variant: Variant) {
    let mut answer = Vec::new();
    let mut buffer = [0; 4_096];
    loop {
        let read = stream.read(&mut buffer).expect("it answers");
        assert!(read > 0, "{}: the server has hung up", variant.name());
        answer.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let mut lines = head.lines();
        let status = lines.next().expect("a first line");
        let expected = format!("HTTP/1.1 {}", variant.status());
        assert!(status.starts_with(&expected), "{}: {status}", variant.name());
        let length = lines.find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.map_or(0, |length| length.parse().expect("a number")) {
            return;
        }
    }
}
