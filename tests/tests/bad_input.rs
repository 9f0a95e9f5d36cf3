//! Malformed variables, bodies, queries, headers and pruner results: each gets its refusal, and
//! nothing changes.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail it by panicking")]

use std::time::Duration;

use plimsoll_tests::{
    Answer, Chat, EventStream, Ran, assert_refusal, chat_command, plimsoll_command, within,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::Command,
};

const MEMORY: &str = "/api/monitoring/memory";
const JSON: (&str, &str) = ("content-type", "application/json");

/// Starts the server with one variable and returns what it said when it gave up.
async fn refused_start(variables: &[(&str, &str)]) -> String {
    let mut command = Command::from(chat_command());
    command.args(["--listen", "127.0.0.1:0"]).envs(variables.iter().copied());
    // Should it start after all, it is ended with the test.
    command.kill_on_drop(true);
    let ran = Ran::of(command).await;
    assert_eq!(ran.code, 1, "{variables:?}: {}", ran.stderr);
    assert_eq!(ran.stdout, "", "{variables:?}: no address is announced");
    ran.stderr
}

#[tokio::test]
async fn a_malformed_variable_stops_the_start_with_its_name_value_and_the_accepted_forms() {
    let megabytes = "a number of MB such as 2000";
    let duration = "a number of milliseconds such as 10000";
    let range = "accepted is";
    for (name, value, accepted) in [
        ("MEMORY_WARNING_THRESHOLD", "lots", megabytes),
        ("MEMORY_WARNING_THRESHOLD", "0", megabytes),
        ("MEMORY_WARNING_THRESHOLD", "-5", megabytes),
        ("MEMORY_WARNING_THRESHOLD", "NaN", megabytes),
        ("MEMORY_WARNING_THRESHOLD", "", megabytes),
        ("MEMORY_CRITICAL_THRESHOLD", "3000000000", megabytes),
        ("MEMORY_CRITICAL_THRESHOLD", "101%", megabytes),
        ("MEMORY_CRITICAL_THRESHOLD", "12 parsecs", megabytes),
        ("MEMORY_CHECK_INTERVAL", "soon", duration),
        ("MEMORY_CHECK_INTERVAL", "9", range),
        ("MEMORY_CHECK_INTERVAL", "600001", range),
        ("CLEANUP_COOLDOWN", "-1", duration),
        ("MEMORY_METRIC", "vsz", "workingSet, rss and heapUsed"),
        ("MEMORY_RELEASE_INTERVAL", "99", "0 for off"),
        ("SOCKET_CLEANUP_TIMEOUT", "0", range),
        ("ALERT_COOLDOWN", "fast", duration),
        ("ALERT_REPEAT_INTERVAL", "999", range),
        ("RETENTION_INTERVAL", "1.5", duration),
        ("MONITOR_ACCESS", "everyone", "loopback, bearer and public"),
    ] {
        let text = refused_start(&[(name, value)]).await;
        assert!(text.contains(name), "{name}={value}: {text}");
        assert!(text.contains(&format!("{value:?}")), "{name}={value}: {text}");
        assert!(text.contains(accepted), "{name}={value}: {text}");
    }
}

#[tokio::test]
async fn a_malformed_secret_is_named_but_not_shown() {
    for (name, value) in [
        ("ALERT_WEBHOOK_URL", "ftp://s3cret.example"),
        ("ALERT_SLACK_URL", "s3cret"),
        ("MONITOR_TOKEN", "s3cret with spaces"),
        ("MONITOR_READ_TOKEN", "s3crét"),
    ] {
        let text = refused_start(&[(name, value)]).await;
        assert!(text.contains(name) && text.contains("accepted"), "{text}");
        assert!(!text.contains("s3cr"), "{text}");
    }
    let text =
        refused_start(&[("MONITOR_TOKEN", "s3cret"), ("MONITOR_READ_TOKEN", "s3cret")]).await;
    assert!(text.contains("MONITOR_READ_TOKEN") && !text.contains("s3cret"), "{text}");
}

#[tokio::test]
async fn all_mistakes_are_told_at_once_and_a_pair_out_of_order_is_one() {
    let text = refused_start(&[("MEMORY_METRIC", "vsz"), ("ALERT_COOLDOWN", "x")]).await;
    assert!(text.contains("MEMORY_METRIC") && text.contains("ALERT_COOLDOWN"), "{text}");
    let text = refused_start(&[
        ("MEMORY_WARNING_THRESHOLD", "3000"),
        ("MEMORY_CRITICAL_THRESHOLD", "2000"),
    ])
    .await;
    assert!(text.contains("warning (3000MB) must be lower than critical (2000MB)"), "{text}");
    // One of the two against the default of the other, and a share of no limit.
    for value in ["4000", "70%"] {
        let text = refused_start(&[("MEMORY_WARNING_THRESHOLD", value)]).await;
        let named = text.contains("MEMORY_WARNING_THRESHOLD=") && text.contains("accepted");
        assert!(named, "{text}");
    }
}

#[tokio::test]
async fn an_unknown_name_is_warned_about_and_stops_nothing() {
    let chat = Chat::start_with(&[], &[("MEMORY_WARN_THRESHOLD", "1000")]).await;
    chat.says("did you mean MEMORY_WARNING_THRESHOLD?").await;
    assert_eq!(chat.report().await["thresholds"]["source"], "default");
}

#[tokio::test]
async fn the_tool_refuses_malformed_variables_and_options_as_usage_errors() {
    for (variable, value) in [("PLIMSOLL_URL", "not a url"), ("PLIMSOLL_URL", "ftp://127.0.0.1")] {
        let mut command = plimsoll_command();
        command.arg("report").env(variable, value);
        let ran = Ran::of(command).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{value}: {}", ran.stderr);
        assert!(ran.stderr.starts_with("error: "), "{}", ran.stderr);
    }
    for arguments in [
        &["dance"][..],
        &["report", "--history", "0"],
        &["monitor", "--interval", "soon"],
        &["monitor", "--count", "0"],
        &["cleanup", "--level", "gentle"],
        &["thresholds", "a,b"],
        &["thresholds", "1,2,3"],
    ] {
        let mut command = plimsoll_command();
        command.args(arguments);
        assert_eq!(Ran::of(command).await.code, 2, "{arguments:?}");
    }
}

/// What no refused request may change.
async fn state(chat: &Chat) -> [Value; 5] {
    let mut report = chat.report().await;
    let alerts = chat.get("/api/monitoring/alerts").await.json()["data"].take();
    let names = ["thresholds", "thresholdBytes", "cleanupHistory", "status"];
    let [a, b, c, d] = names.map(|name| report[name].take());
    [a, b, c, d, alerts]
}

async fn send(
    chat: &Chat,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut request = chat.request(method.parse().unwrap(), path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    chat.send(request, body.to_vec()).await
}

#[tokio::test]
async fn a_malformed_body_is_refused_and_changes_nothing() {
    let chat = Chat::start(&[]).await;
    let before = state(&chat).await;
    let deep = format!("{}{}", "[".repeat(4_000), "]".repeat(4_000));
    let thresholds = |inner: &str| {
        format!(r#"{{"action":"updateThresholds","thresholds":{inner}}}"#).into_bytes()
    };
    for (body, status) in [
        (b"".to_vec(), 400),
        (b"{".to_vec(), 400),
        (b"null".to_vec(), 400),
        (b"[]".to_vec(), 400),
        (b"\"cleanup\"".to_vec(), 400),
        (b"{} {}".to_vec(), 400),
        (b"{\"action\":\"\xff\"}".to_vec(), 400),
        (deep.into_bytes(), 400),
        (b"{}".to_vec(), 400),
        (br#"{"action":null}"#.to_vec(), 400),
        (br#"{"action":7}"#.to_vec(), 400),
        (br#"{"action":"dance"}"#.to_vec(), 400),
        (br#"{"action":"cleanup","level":7}"#.to_vec(), 422),
        (br#"{"action":"cleanup","dryRun":"yes"}"#.to_vec(), 422),
        (br#"{"action":"cleanup","level":"gentle"}"#.to_vec(), 422),
        (br#"{"action":"updateThresholds"}"#.to_vec(), 422),
        (thresholds("{}"), 422),
        (thresholds("[1,2]"), 422),
        (thresholds(r#"{"warning":true}"#), 422),
        (thresholds(r#"{"warning":3000,"critical":2000}"#), 422),
        (thresholds(r#"{"warning":2000,"critical":2000}"#), 422),
        (thresholds(r#"{"warning":3000}"#), 422),
        (thresholds(r#"{"critical":2000}"#), 422),
        (thresholds(r#"{"warning":0}"#), 422),
        (thresholds(r#"{"warning":-1}"#), 422),
        (thresholds(r#"{"warning":1e999}"#), 400),
        (thresholds(r#"{"warning":1000000000,"critical":2000000000}"#), 422),
        (thresholds(r#"{"warning":"lots"}"#), 422),
        (thresholds(r#"{"warning":""}"#), 422),
        (thresholds(r#"{"warning":"101%"}"#), 422),
    ] {
        let answer = send(&chat, "POST", MEMORY, &[JSON], &body).await;
        eprintln!("{}", String::from_utf8_lossy(&body[..body.len().min(80)]));
        assert_refusal(&answer, status);
    }
    let unknown = chat.post(MEMORY, &json!({ "action": "dance" })).await.text();
    assert!(unknown.contains("cleanup") && unknown.contains("updateThresholds"), "{unknown}");
    assert_eq!(state(&chat).await, before);
}

#[tokio::test]
async fn malformed_queries_paths_methods_and_types_are_refused_and_change_nothing() {
    let chat = Chat::start(&[]).await;
    let before = state(&chat).await;
    let cleanup = br#"{"action":"cleanup"}"#;
    for (method, path, headers, body, status) in [
        ("GET", "/api/monitoring/history?minutes=soon", &[][..], &b""[..], 400),
        ("GET", "/api/monitoring/history?minutes=", &[], b"", 400),
        ("GET", "/api/monitoring/history?minutes=-1", &[], b"", 400),
        ("GET", "/api/monitoring/history?minutes=0", &[], b"", 400),
        ("GET", "/api/monitoring/history?minutes=1&minutes=2", &[], b"", 400),
        ("POST", "/api/cleanup/aggressive?dryRun=maybe", &[], b"", 400),
        ("POST", "/api/cleanup/aggressive", &[JSON], b"[", 400),
        ("GET", "/api/monitoring/nothing", &[], b"", 404),
        ("POST", "/api/monitoring/sockets", &[], b"", 405),
        ("POST", "/api/monitoring/alerts/nobody/resolve", &[], b"", 404),
        ("POST", "/api/monitoring/alerts/silence", &[JSON], b"{}", 422),
        ("POST", "/api/monitoring/alerts/silence", &[JSON], br#"{"name":"Rain","minutes":5}"#, 422),
        ("DELETE", MEMORY, &[], b"", 405),
        ("PUT", MEMORY, &[JSON], cleanup, 405),
        ("GET", "/api/cleanup/aggressive", &[], b"", 405),
        ("POST", "/api/monitoring/history", &[], b"", 405),
        ("POST", "/metrics", &[], b"", 405),
        ("POST", "/livez", &[], b"", 405),
        ("POST", MEMORY, &[], cleanup, 415),
        ("POST", MEMORY, &[("content-type", "text/plain")], cleanup, 415),
        ("POST", MEMORY, &[("content-type", "application/x-www-form-urlencoded")], cleanup, 415),
        ("POST", MEMORY, &[JSON, ("sec-fetch-site", "cross-site")], cleanup, 403),
        ("POST", MEMORY, &[JSON, ("sec-fetch-site", "same-site")], cleanup, 403),
        ("POST", "/api/cleanup/aggressive", &[("sec-fetch-site", "cross-site")], b"", 403),
    ] {
        eprintln!("{method} {path} {headers:?}");
        let answer = send(&chat, method, path, headers, body).await;
        assert_refusal(&answer, status);
        if status == 405 {
            assert!(!answer.header("allow").is_empty(), "{method} {path}");
        }
    }
    assert_eq!(state(&chat).await, before);
    let same = [JSON, ("sec-fetch-site", "same-origin")];
    assert_eq!(send(&chat, "POST", MEMORY, &same, cleanup).await.status, 200);
}

#[tokio::test]
async fn a_foreign_last_event_id_gets_a_fresh_snapshot() {
    let chat = Chat::start(&[]).await;
    for id in ["x", "-1", "99999999999999999999999999", "18446744073709551615", "1 2"] {
        let mut stream = EventStream::open(&chat, Some(id)).await;
        assert_eq!(stream.next(Duration::from_secs(5)).await.kind, "snapshot", "{id}");
    }
}

/// Sends bytes as they are and returns the answer's status and text, once it is there.
async fn raw(chat: &Chat, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(chat.address()).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = async {
        // The whole of it: head, and as many bytes as it says.
        while !complete(&answer) {
            let mut chunk = [0; 4096];
            match socket.read(&mut chunk).await.unwrap() {
                0 => break,
                count => answer.extend_from_slice(&chunk[..count]),
            }
        }
    };
    within(Duration::from_secs(5), "the answer", read).await;
    String::from_utf8(answer).unwrap()
}

fn complete(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    head.lines()
        .filter_map(|line| {
            line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok()
        })
        .any(|length: usize| body.len() >= length)
}

#[tokio::test]
async fn a_monitoring_body_over_16_kib_is_refused_unread() {
    let chat = Chat::start(&[]).await;
    let before = state(&chat).await;
    let head = "Host: 127.0.0.1\r\nContent-Type: application/json\r\n";
    for path in [MEMORY, "/api/cleanup/aggressive", "/api/monitoring/alerts/silence"] {
        // Only the head: whoever waits for the body waits for ever.
        for length in ["16385", "20000", "4294967296000"] {
            let text = raw(
                &chat,
                format!("POST {path} HTTP/1.1\r\n{head}Content-Length: {length}\r\n\r\n")
                    .as_bytes(),
            )
            .await;
            assert!(text.starts_with("HTTP/1.1 413 "), "{path} {length}: {text}");
            assert!(text.contains("application/problem+json"), "{text}");
        }
    }
    // Without a declared length it is read up to the limit and no further: the end never comes.
    let chunks = format!("4000\r\n{}\r\n1\r\n", " ".repeat(0x4000));
    let request =
        format!("POST {MEMORY} HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\n{chunks} \r\n");
    let text = raw(&chat, request.as_bytes()).await;
    assert!(text.starts_with("HTTP/1.1 413 "), "{text}");

    // What just fits is read.
    let action = r#"{"action":"cleanup","dryRun":true}"#;
    let padded = format!("{action}{}", " ".repeat(16 * 1024 - action.len()));
    assert_eq!(chat.post_text(MEMORY, padded).await.status, 200);
    assert_eq!(state(&chat).await, before);
}

#[tokio::test]
async fn what_is_not_http_disturbs_nobody() {
    let chat = Chat::start(&[]).await;
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01"[..],
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"POST /api/monitoring/memory HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ] {
        let mut socket = TcpStream::connect(chat.address()).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        socket.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let read = socket.read_to_end(&mut answer);
        // A reset is as good an answer as a refusal.
        let _ = within(Duration::from_secs(5), "the end of the connection", read).await;
        assert!(!answer.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(chat.status().await, "healthy");
}
