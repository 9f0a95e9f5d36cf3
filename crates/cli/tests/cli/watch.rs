//! `watch`: lines where there is no terminal, and the whole of it in a real pseudo-terminal.

use std::{
    io::{BufRead as _, BufReader, pipe},
    process::Stdio,
};

use crate::support::{Server, fixture, ok, problem};

#[test]
fn without_a_terminal_it_prints_the_lines_of_monitor_and_says_why() {
    // A refusal ends it, as it ends `monitor`.
    let server = Server::always(problem(403, "not from here"));
    let ran = server.run(&["watch"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(4), ""));
    let mut lines = ran.stderr.lines();
    let note = lines.next().unwrap();
    assert!(
        note.starts_with("note: ") && note.ends_with("these are the lines of `monitor`"),
        "{note}"
    );
    assert_eq!(lines.next(), Some("error: not from here"));
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn under_json_it_prints_documents() {
    let server = Server::always(ok(fixture("report")));
    let (reader, writer) = pipe().unwrap();
    let mut child =
        server.command(&["watch", "--json"]).stdout(writer).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(reader).read_line(&mut line).unwrap();
    let document: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(document["data"]["metric"], "workingSet");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[cfg(all(target_os = "linux", feature = "tui"))]
mod in_a_terminal {
    use std::{
        process::Command,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use super::{Server, fixture, ok, problem};
    use crate::{
        support::{Answer, Request, dead, golden, plimsoll},
        terminal::Terminal,
    };

    const SMALL: (u16, u16) = (80, 24);
    const LARGE: (u16, u16) = (200, 60);
    const MEMORY: &str = "POST /api/monitoring/memory";

    /// The head of a stream and its first event.
    fn stream() -> Vec<u8> {
        let snapshot = fixture("watch_snapshot");
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n\
             retry: 3000\nid: demo-1\nevent: snapshot\ndata: {snapshot}\n\n"
        )
        .into_bytes()
    }

    /// A server as the fixtures tell it.
    fn answer(request: &Request) -> Answer {
        match request.line().as_str() {
            "GET /api/monitoring/memory" => ok(fixture("watch_report")),
            "GET /api/monitoring/routes" => ok(fixture("watch_routes")),
            "GET /api/monitoring/stream" => Answer::Held(stream()),
            "POST /api/cleanup/aggressive?dryRun=true" => ok(fixture("aggressive_dry_run")),
            "POST /api/cleanup/aggressive" => ok(fixture("aggressive")),
            MEMORY if request.body.contains(r#""action":"cleanup""#) => ok(fixture("cleanup")),
            MEMORY if request.body.contains("updateThresholds") => {
                problem(422, "critical 99% needs a memory limit, and there is none")
            }
            _ => problem(400, "unknown action"),
        }
    }

    fn server() -> Server {
        Server::start(|request, _| answer(request))
    }

    /// The command on a terminal that shows colour.
    fn watch(url: &str, arguments: &[&str]) -> Command {
        let mut command = plimsoll(&["watch"]);
        command.args(arguments).env("PLIMSOLL_URL", url).env("TERM", "xterm-256color");
        command
    }

    /// Waits until the screen is the golden one. Rates are not known at the first poll and 0 from
    /// the second one on.
    fn wait_for_golden(terminal: &mut Terminal, name: &str) {
        let wanted = golden(&format!("watch/{name}"));
        let first = wanted.clone();
        let later = wanted.replace("    n/a     n/a", "      0       0");
        terminal.wait_until(name, |screen| screen == first || screen == later);
    }

    #[test]
    fn the_screen_is_the_golden_one_at_both_sizes() {
        for (size, name) in [(SMALL, "live"), (LARGE, "live_large")] {
            let server = server();
            let mut terminal = Terminal::start(&watch(&server.url, &[]), size);
            wait_for_golden(&mut terminal, name);
            terminal.press("q");
            assert_eq!(terminal.end(), Some(0));
            terminal.assert_restored();
        }
    }

    #[test]
    fn ascii_writes_ascii_only_and_no_color_no_colour() {
        let server = server();
        let mut command = watch(&server.url, &["--ascii"]);
        command.env("NO_COLOR", "1");
        let mut terminal = Terminal::start(&command, SMALL);
        wait_for_golden(&mut terminal, "live_ascii");
        terminal.press("q");
        assert_eq!(terminal.end(), Some(0));
        assert!(terminal.written.is_ascii());
        let written = String::from_utf8(terminal.written.clone()).unwrap();
        for colour in ["\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[38;", "\x1b[48;"] {
            assert!(!written.contains(colour), "{colour:?}");
        }
    }

    #[test]
    fn a_redraw_is_one_piece_and_writes_only_what_changed() {
        let server = server();
        let mut terminal = Terminal::start(&watch(&server.url, &[]), LARGE);
        wait_for_golden(&mut terminal, "live_large");
        let before = terminal.written.len();
        terminal.press("\t");
        // The focus went from one title to the next, and a poll may have told rates.
        terminal.press("?");
        terminal.wait_for("any key goes back");
        terminal.press("q");
        wait_for_golden(&mut terminal, "live_large");
        let written = String::from_utf8_lossy(&terminal.written[before..]).into_owned();
        assert!(!written.contains("\x1b[2J") && !written.contains("\x1b[J"), "it was cleared");
        // A dialog of 74 by 13 came and went; the whole screen would be 12,000 cells each time.
        assert!(written.len() < 12_000, "{} bytes", written.len());
        let opened = written.matches("\x1b[?2026h").count();
        let closed = written.matches("\x1b[?2026l").count();
        assert!(opened >= 2 && closed >= opened - 1 && closed <= opened + 1, "{opened} {closed}");
        terminal.press("q");
        assert_eq!(terminal.end(), Some(0));
    }

    #[test]
    fn keys_act_and_the_answers_are_shown() {
        let server = server();
        let mut terminal = Terminal::start(&watch(&server.url, &[]), SMALL);
        wait_for_golden(&mut terminal, "live");
        terminal.press("c");
        terminal.wait_for("Freed 800MB (6 actions) in 0.4s");
        terminal.press("a");
        terminal.wait_for("empty_threads        118 selected");
        terminal.press("n");
        terminal.wait_for("nothing was changed");
        terminal.press("a");
        terminal.wait_for("Do it? y / n");
        terminal.press("y");
        terminal.wait_for("1 of 4 actions failed: ");
        terminal.press("t");
        terminal.wait_for("In force: warning 1500MB, critical 2500MB");
        terminal.press(&"\x7f".repeat("1500,2500".len()));
        terminal.press("1600,99%\r");
        terminal.wait_for("critical 99% needs a memory limit, and there is none");
        terminal.press("\x1b");
        terminal.wait_until("closed dialog", |screen| !screen.contains("In force"));
        terminal.press("p");
        terminal.wait_for("PAUSED");
        terminal.press("q");
        assert_eq!(terminal.end(), Some(0));
        terminal.assert_restored();
        let asked = |line: &str, body: &str| {
            let requests = server.requests();
            requests.iter().filter(|r| r.line() == line && r.body.contains(body)).count()
        };
        assert_eq!(asked(MEMORY, r#"{"action":"cleanup"}"#), 1);
        assert_eq!(asked("POST /api/cleanup/aggressive?dryRun=true", ""), 2);
        assert_eq!(asked("POST /api/cleanup/aggressive", ""), 1);
        assert_eq!(asked(MEMORY, r#""thresholds":{"critical":"99%","warning":1600}"#), 1);
        assert_eq!(asked("GET /api/monitoring/stream", ""), 1);
    }

    #[test]
    fn it_can_be_left_from_everywhere_and_the_terminal_is_as_before() {
        for (leave, code) in [("q", 0), ("\x03", 130), ("?\x03", 130), ("t\x03", 130)] {
            let server = server();
            let mut terminal = Terminal::start(&watch(&server.url, &[]), SMALL);
            wait_for_golden(&mut terminal, "live");
            terminal.press(leave);
            assert_eq!(terminal.end(), Some(code), "{leave:?}");
            terminal.assert_restored();
        }
        for signal in ["TERM", "INT", "HUP"] {
            let server = server();
            let mut terminal = Terminal::start(&watch(&server.url, &[]), SMALL);
            wait_for_golden(&mut terminal, "live");
            terminal.signal(signal);
            assert_eq!(terminal.end(), Some(130), "{signal}");
            terminal.assert_restored();
        }
    }

    #[test]
    fn a_server_that_goes_and_comes_back_is_picked_up_and_a_new_one_is_told_apart() {
        let phase = Arc::new(AtomicUsize::new(0));
        let server = Server::start({
            let phase = Arc::clone(&phase);
            move |request, _| match phase.load(Ordering::Acquire) {
                // A stream that ends at once, so that polls are all that speaks.
                0 if request.target.ends_with("/stream") => Answer::Raw(stream()),
                0 => answer(request),
                1 => Answer::Nothing,
                _ => match answer(request) {
                    Answer::Json(status, body) => {
                        Answer::Json(status, body.replace("demo-chat", "demo-chat-2"))
                    }
                    Answer::Held(bytes) => {
                        let text = String::from_utf8(bytes).unwrap();
                        Answer::Held(text.replace("demo-chat", "demo-chat-2").into_bytes())
                    }
                    answer => answer,
                },
            }
        });
        let mut terminal = Terminal::start(&watch(&server.url, &[]), SMALL);
        terminal.wait_for("polling");
        phase.store(1, Ordering::Release);
        terminal.wait_for("DISCONNECTED");
        // Its last figures stay.
        assert!(terminal.screen().contains("live 1100MB"), "{}", terminal.screen());
        phase.store(2, Ordering::Release);
        terminal.wait_for("the server was restarted: now demo-chat-2");
        terminal.wait_for(" live\n");
        terminal.press("q");
        assert_eq!(terminal.end(), Some(0));
    }

    #[test]
    fn no_server_and_no_permission_are_told_with_the_fix() {
        let dead = dead();
        let mut terminal = Terminal::start(&watch(&dead.url, &[]), SMALL);
        terminal.wait_for("unreachable (connection refused)");
        terminal.wait_for("help: start the server or set PLIMSOLL_URL");
        terminal.press("q");
        assert_eq!(terminal.end(), Some(0));

        let server = Server::always(problem(401, "a token is needed"));
        let mut terminal = Terminal::start(&watch(&server.url, &[]), SMALL);
        terminal.wait_for("a token is needed");
        terminal.wait_for("NOT ALLOWED");
        terminal.press("\x03");
        assert_eq!(terminal.end(), Some(130));
        terminal.assert_restored();
    }

    #[test]
    fn a_token_that_may_only_read_is_sent_and_shown_as_read_only() {
        let server = Server::start(|request, _| match request.method.as_str() {
            _ if request.header("authorization") != Some("Bearer secret") => problem(401, "who?"),
            "POST" => problem(403, "the scope operate is needed"),
            _ => answer(request),
        });
        let mut command = watch(&server.url, &[]);
        command.env("PLIMSOLL_TOKEN", "secret");
        let mut terminal = Terminal::start(&command, SMALL);
        terminal.wait_for("read-only live");
        terminal.press("c");
        terminal.wait_for("read-only: this needs a token with the scope operate");
        terminal.press("q");
        assert_eq!(terminal.end(), Some(0));
        assert!(!terminal.written.windows(6).any(|window| window == b"secret"));
    }

    #[test]
    fn another_size_is_another_screen() {
        let server = server();
        let mut terminal = Terminal::start(&watch(&server.url, &[]), SMALL);
        wait_for_golden(&mut terminal, "live");
        terminal.resize((40, 5));
        terminal.wait_for("40x5 is too small: 60x16 is needed. q");
        terminal.resize(LARGE);
        wait_for_golden(&mut terminal, "live_large");
        terminal.press("q");
        assert_eq!(terminal.end(), Some(0));
    }

    #[test]
    fn a_dumb_terminal_gets_lines() {
        let server = Server::always(problem(403, "not from here"));
        let mut command = watch(&server.url, &[]);
        command.env("TERM", "dumb");
        let mut terminal = Terminal::start(&command, SMALL);
        terminal.wait_for("error: not from here");
        assert_eq!(terminal.end(), Some(4));
        assert!(!terminal.written.contains(&0x1b));
    }
}
