//! What all commands share: addresses, tokens, refusals, exit codes, closed outputs.
use std::{fs, process::Stdio};

use crate::support::{Answer, Server, dead, fixture, ok, plimsoll, problem, run};
use serde_json::Value;

#[test]
fn an_unreachable_server_is_told_with_the_fix() {
    let dead = dead();
    let url = dead.url.clone();
    for arguments in
        [&["report"] as &[&str], &["cleanup"], &["thresholds"], &["aggressive", "--yes"]]
    {
        let ran = run(plimsoll(arguments).env("PLIMSOLL_URL", &url));
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(3), ""), "{arguments:?}");
        assert_eq!(
            ran.stderr,
            format!(
                "error: cannot reach {url}: connection refused\n  \
                 help: start the server or set PLIMSOLL_URL; `plimsoll doctor` checks the rest\n"
            )
        );
    }
}

#[test]
fn the_flag_wins_over_the_variable() {
    let server = Server::always(ok(fixture("report")));
    let mut command = plimsoll(&["report", "--url", &format!("{}/", server.url)]);
    assert_eq!(run(command.env("PLIMSOLL_URL", &dead().url)).code, Some(0));
    assert_eq!(server.requests()[0].target, "/api/monitoring/memory");
}

#[test]
fn each_refusal_has_its_exit_code_and_keeps_the_servers_words() {
    for (status, code) in [
        (400, 5),
        (401, 4),
        (403, 4),
        (404, 5),
        (405, 5),
        (409, 5),
        (413, 5),
        (415, 5),
        (422, 5),
        (500, 1),
        (503, 1),
    ] {
        let server = Server::always(problem(status, "the reason"));
        for arguments in
            [&["report"] as &[&str], &["cleanup"], &["thresholds", "1,2"], &["aggressive", "--yes"]]
        {
            let ran = server.run(arguments);
            assert_eq!((ran.code, ran.stdout.as_str()), (Some(code), ""), "{status} {arguments:?}");
            assert!(ran.stderr.starts_with("error: the reason\n"), "{}", ran.stderr);
        }
    }
}

#[test]
fn a_refusal_that_is_no_problem_document_is_told_by_its_status() {
    for (answer, told) in [
        (
            Answer::Json(502, "<html>bad gateway</html>".to_owned()),
            "the server answered 502 Bad Gateway",
        ),
        (Answer::Json(599, String::new()), "the server answered 599"),
        (Answer::Json(500, r#"{"error":"\u001b[31mred"}"#.to_owned()), r"\u{1b}[31mred"),
        (Answer::Json(500, r#"{"detail":7,"title":"Fault"}"#.to_owned()), "Fault"),
    ] {
        let ran = Server::always(answer).run(&["report"]);
        assert_eq!((ran.code, ran.stderr), (Some(1), format!("error: {told}\n")));
    }
}

#[test]
fn a_redirect_is_not_followed_with_the_token() {
    let other = Server::always(ok(fixture("report")));
    let location = other.url.clone();
    let server = Server::start(move |_, _| {
        Answer::Raw(
            format!(
                "HTTP/1.1 308 Permanent Redirect\r\nlocation: {location}\r\n\
                 content-length: 0\r\nconnection: close\r\n\r\n"
            )
            .into_bytes(),
        )
    });
    let ran = run(server.command(&["report"]).env("PLIMSOLL_TOKEN", "secret"));
    assert_eq!(ran.code, Some(5), "{}", ran.stderr);
    assert!(ran.stderr.starts_with("error: the server answered 308 Permanent Redirect\n"));
    assert!(other.requests().is_empty());
}

#[test]
fn no_proxy_of_the_environment_is_used() {
    let proxy = Server::always(ok(fixture("report")));
    let mut command = plimsoll(&["report"]);
    command
        .env("http_proxy", &proxy.url)
        .env("HTTP_PROXY", &proxy.url)
        .env("ALL_PROXY", &proxy.url);
    assert_eq!(run(command.env("PLIMSOLL_URL", &dead().url)).code, Some(3));
    assert!(proxy.requests().is_empty());
}

#[test]
fn json_prints_a_document_also_when_it_fails() {
    let ran = run(plimsoll(&["report", "--json"]).env("PLIMSOLL_URL", &dead().url));
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        (&document["success"], &document["exitCode"]),
        (&Value::Bool(false), &Value::from(3))
    );
    assert!(document["error"].as_str().unwrap().contains("connection refused"));

    let ran = Server::always(problem(422, "no")).run(&["thresholds", "1,2", "--json"]);
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, &document["detail"]), (Some(5), &Value::from("no")));
    assert_eq!(ran.stdout.lines().count(), 1);
}

#[test]
fn the_token_comes_from_file_or_variable() {
    let server = Server::always(ok(fixture("report")));
    let file = std::env::temp_dir().join(format!("plimsoll-cli-token-{}", std::process::id()));
    fs::write(&file, "from-file\n").unwrap();
    let path = file.to_str().unwrap();
    run(&mut server.command(&["report"]));
    run(server.command(&["report"]).env("PLIMSOLL_TOKEN", "from-variable"));
    run(server.command(&["report", "--token-file", path]).env("PLIMSOLL_TOKEN", "from-variable"));
    run(server.command(&["report"]).env("PLIMSOLL_TOKEN", ""));
    fs::remove_file(&file).unwrap();
    let sent: Vec<_> =
        server.requests().iter().map(|r| r.header("authorization").map(str::to_owned)).collect();
    let bearer = |token: &str| Some(format!("Bearer {token}"));
    assert_eq!(sent, [None, bearer("from-variable"), bearer("from-file"), None]);
}

#[test]
fn a_token_that_cannot_be_sent_is_a_usage_error_that_hides_it() {
    for token in ["sec\nret", "sec ret", "secr€t"] {
        let ran = run(plimsoll(&["report"]).env("PLIMSOLL_TOKEN", token));
        assert_eq!(ran.code, Some(2));
        assert!(ran.stderr.starts_with("error: PLIMSOLL_TOKEN "), "{}", ran.stderr);
        assert!(!ran.stderr.contains("sec"), "{}", ran.stderr);
    }
    let ran = run(&mut plimsoll(&["report", "--token-file", "/nowhere/token"]));
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("/nowhere/token cannot be read"), "{}", ran.stderr);
    // A directory opens, and fails only when it is read.
    assert_eq!(run(&mut plimsoll(&["report", "--token-file", "/"])).code, Some(2));
}

#[cfg(unix)]
#[test]
fn what_is_not_unicode_is_a_usage_error() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

    let odd = OsStr::from_bytes(b"a\xff");
    assert_eq!(run(plimsoll(&["report"]).env("PLIMSOLL_TOKEN", odd)).code, Some(2));
    assert_eq!(run(plimsoll(&["report"]).env("PLIMSOLL_URL", odd)).code, Some(2));
    assert_eq!(run(plimsoll(&["report"]).arg(odd)).code, Some(2));
}

#[test]
fn a_bad_command_line_is_a_usage_error() {
    for arguments in [
        &[] as &[&str],
        &["unknown"],
        &["report", "--history", "0"],
        &["report", "--history", "-1"],
        &["report", "extra"],
        &["cleanup", "--level", "gentle"],
        &["monitor", "--interval", "30"],
        &["monitor", "--interval", "0s"],
        &["monitor", "--count", "0"],
        &["report", "--timeout", "10"],
        &["report", "--timeout", "0s"],
        &["report", "--color", "sometimes"],
        &["report", "--url", "127.0.0.1:3000"],
        &["report", "--url", "https://example.com"],
        &["report", "--token", "secret"],
        &["completions", "tcsh"],
        &["watch", "extra"],
        &["alerts", "--silence", "MemoryWarning"],
        &["alerts", "--for", "1h"],
        &["alerts", "--silence", "MemoryWarning", "--for", "25h"],
        &["alerts", "--silence", "MemoryWarning", "--for", "soon"],
        &["alerts", "--test", "--resolve", "a-1"],
        &["alerts", "--test", "--silence", "MemoryWarning", "--for", "1h"],
        &["alerts", "--resolve", "../memory"],
        &["alerts", "--resolve", ""],
    ] {
        let ran = run(plimsoll(arguments).env("PLIMSOLL_URL", &dead().url));
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(!ran.stderr.is_empty() && !ran.stderr.contains('\x1b'), "{}", ran.stderr);
    }
}

#[test]
fn help_and_version_are_data() {
    let ran = run(&mut plimsoll(&["--version"]));
    assert_eq!(ran.stdout, concat!("plimsoll ", env!("CARGO_PKG_VERSION"), "\n"));
    let ran = run(&mut plimsoll(&["--help"]));
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    for command in
        ["report", "cleanup", "monitor", "thresholds", "aggressive", "doctor", "completions"]
    {
        assert!(ran.stdout.contains(&format!("\n  {command} ")), "{}", ran.stdout);
    }
    assert!(!ran.stdout.contains("memory:"));
}

#[test]
fn completions_are_written_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let ran = run(&mut plimsoll(&["completions", shell]));
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{shell}");
        assert!(
            ran.stdout.contains("thresholds") && !ran.stdout.contains("memory:report"),
            "{shell}"
        );
    }
}

#[test]
fn a_closed_pipe_ends_every_command_quietly() {
    let server = Server::always(ok(fixture("report")));
    for arguments in [
        &["report"] as &[&str],
        &["report", "--json"],
        &["completions", "zsh"],
        &["--help"],
        &["doctor"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = server.command(arguments);
        let child = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.is_empty(), "{arguments:?}: {stderr}");
        assert!(output.status.code().is_some_and(|code| code != 101), "{arguments:?}");
    }
    // Also with nobody left to complain to.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = plimsoll(&["report"]);
    let dead = dead();
    command.env("PLIMSOLL_URL", &dead.url).stderr(writer);
    assert_eq!(command.status().unwrap().code(), Some(3));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    let server = Server::always(ok(fixture("report")));
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = server.command(&["report"]);
    let output =
        command.stdout(full).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("error: cannot write to standard output: "), "{stderr}");
}
