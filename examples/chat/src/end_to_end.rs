//! The whole server over real sockets of this machine.

use std::net::SocketAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, StatusCode, body::Bytes, header};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::{Value, json};
use tokio::{net::TcpStream, sync::oneshot, task::JoinHandle};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message, client::IntoClientRequest as _},
};

use crate::{
    hold::Touch,
    load::{self, Kind},
    options::{Fault, LoadOptions, Location, ServerOptions},
    serve::{ServeError, Server},
};

/// A server that runs until it is told to stop.
struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ServeError>>,
}

impl Running {
    async fn start(chaos: &[Fault], no_guard: bool) -> Self {
        let options = ServerOptions {
            listen: "127.0.0.1:0".parse().unwrap(),
            database: Location::Memory,
            chaos: chaos.to_vec(),
            no_guard,
        };
        let server = Server::start(&options).await.unwrap();
        let address = server.address;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server.serve(async move {
            let _ = stopped.await;
        }));
        Self { address, stop, task }
    }

    async fn send(&self, method: Method, path: &str, body: &'static str) -> Answer {
        let client = Client::builder(TokioExecutor::new()).build_http();
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from_static(body.as_bytes())))
            .unwrap();
        let (head, body) = client.request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { head, body }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, "").await
    }

    /// Asks for a path until the answer has a status; the level follows the thresholds at once,
    /// but on another thread.
    async fn get_until(&self, path: &str, status: u16) -> Answer {
        let asking = async {
            loop {
                let answer = self.get(path).await;
                if answer.head.status == status {
                    return answer;
                }
            }
        };
        let patience = std::time::Duration::from_secs(10);
        tokio::time::timeout(patience, asking).await.expect("the level follows the thresholds")
    }

    async fn set_thresholds(&self, action: &'static str) {
        let answer = self.send(Method::POST, "/api/monitoring/memory", action).await;
        assert_eq!(answer.head.status, StatusCode::OK, "{:?}", answer.body);
    }

    async fn enter(&self, query: &str) -> Result<Visitor, Error> {
        let uri = format!("ws://{}/ws?{query}", self.address);
        Ok(Visitor { socket: connect_async(uri).await?.0 })
    }

    async fn visitor(&self, name: &str) -> Visitor {
        self.enter(&format!("name={name}")).await.unwrap()
    }

    /// Stops the server and returns what serving resulted in.
    async fn stop(self) -> Result<(), ServeError> {
        self.stop.send(()).unwrap();
        self.task.await.unwrap()
    }
}

struct Answer {
    head: hyper::http::response::Parts,
    body: Bytes,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.head.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

struct Visitor {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Visitor {
    async fn send(&mut self, frame: impl Into<String>) {
        self.socket.send(Message::text(frame.into())).await.unwrap();
    }

    async fn say(&mut self, body: &str) {
        self.send(json!({ "type": "message", "body": body }).to_string()).await;
    }

    /// The next frame of a type; frames of other types before it are skipped.
    async fn hear(&mut self, wanted: &str) -> Value {
        loop {
            if let Message::Text(text) = self.socket.next().await.unwrap().unwrap() {
                let frame: Value = serde_json::from_str(&text).unwrap();
                if frame["type"] == wanted {
                    return frame;
                }
            }
        }
    }

    /// The code of the close frame that ends the conversation.
    async fn close_code(&mut self) -> Option<u16> {
        loop {
            match self.socket.next().await? {
                Ok(Message::Close(frame)) => return frame.map(|frame| frame.code.into()),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }
}

#[tokio::test]
async fn people_hear_each_other_and_newcomers_see_what_was_said() {
    let server = Running::start(&[], false).await;
    let mut ada = server.visitor("Ada").await;
    assert_eq!(ada.hear("welcome").await["messages"], json!([]));
    let mut ben = server.visitor("Ben").await;
    assert_eq!(ben.hear("welcome").await["room"], "lobby");
    assert_eq!(ada.hear("joined").await["name"], "Ada");
    assert_eq!(ada.hear("joined").await["name"], "Ben");

    let hostile = "<img src=x onerror=alert(1)> \"'; DROP TABLE messages; --";
    ben.say(hostile).await;
    for visitor in [&mut ada, &mut ben] {
        let heard = visitor.hear("message").await;
        assert_eq!((&heard["name"], &heard["body"]), (&json!("Ben"), &json!(hostile)));
    }

    let mut eve = server.visitor("Eve").await;
    assert_eq!(eve.hear("welcome").await["messages"][0]["body"], hostile);
    let rooms = server.get("/api/rooms").await.json();
    assert_eq!(rooms["rooms"][0], json!({ "name": "lobby", "present": 3 }));
    let messages = server.get("/api/rooms/lobby/messages").await.json();
    assert_eq!(messages[0]["body"], hostile);

    drop(ben);
    assert_eq!(ada.hear("left").await["name"], "Ben");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn bad_input_is_answered_and_disturbs_nobody_else() {
    let server = Running::start(&[], false).await;
    let (mut ada, mut ben) = (server.visitor("Ada").await, server.visitor("Ben").await);
    let long = json!({ "type": "message", "body": "x".repeat(2001) }).to_string();
    for bad in ["", "hi", "[]", r#"{"type":"shout"}"#, r#"{"type":"message","body":" "}"#, &long] {
        ben.send(bad).await;
        assert!(!ben.hear("error").await["error"].as_str().unwrap().is_empty(), "{bad}");
    }
    ben.socket.send(Message::binary(vec![0, 159])).await.unwrap();
    assert_eq!(ben.hear("error").await["error"], "binary frames are not accepted");

    // Too long to be read at all: that ends the conversation, but only this one.
    ben.send("x".repeat(70_000)).await;
    let _ = ben.close_code().await;
    assert_eq!(ada.hear("left").await["name"], "Ben");
    ada.say("still here").await;
    assert_eq!(ada.hear("message").await["body"], "still here");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn who_may_not_enter_is_told_before_the_upgrade() {
    let server = Running::start(&[], false).await;
    for query in ["", "name=", "name=%20", "name=a%0Ab", "name=Ada&room=", "name=a&name=b"] {
        let Err(Error::Http(response)) = server.enter(query).await else { panic!("{query}") };
        assert_eq!(response.status(), 400, "{query}");
    }
    let long = format!("name={}", "x".repeat(33));
    assert!(matches!(server.enter(&long).await, Err(Error::Http(r)) if r.status() == 400));

    let uri = format!("ws://{}/ws?name=Ada", server.address);
    let mut request = uri.into_client_request().unwrap();
    request.headers_mut().insert(header::ORIGIN, "http://evil.example".parse().unwrap());
    let Err(Error::Http(response)) = connect_async(request).await else { panic!("let in") };
    assert_eq!(response.status(), 403);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn the_page_and_its_files_are_served_with_a_policy() {
    let server = Running::start(&[], false).await;
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/assets/chat.js", "text/javascript; charset=utf-8"),
        ("/assets/chat.css", "text/css; charset=utf-8"),
    ] {
        let answer = server.get(path).await;
        assert_eq!((answer.head.status, answer.header("content-type")), (StatusCode::OK, kind));
        assert!(answer.header("content-security-policy").starts_with("default-src 'none'"));
    }
    assert_eq!(server.get("/nothing").await.head.status, StatusCode::NOT_FOUND);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn memory_is_held_only_where_that_is_switched_on() {
    let calm = Running::start(&[], false).await;
    let refused = calm.send(Method::POST, "/api/hold?mb=1&ms=1", "").await;
    assert_eq!(refused.head.status, StatusCode::NOT_FOUND);
    calm.stop().await.unwrap();

    let server = Running::start(&[Fault::Hold], false).await;
    for (query, status) in [
        ("mb=1&ms=1", 200),
        ("mb=1&ms=1&touch=late", 200),
        ("mb=x", 400),
        ("touch=soon", 400),
        ("mb=0", 422),
        ("ms=60001", 422),
    ] {
        let answer = server.send(Method::POST, &format!("/api/hold?{query}"), "").await;
        assert_eq!(answer.head.status.as_u16(), status, "{query}");
        if status != 200 {
            assert_eq!(answer.header("content-type"), "application/problem+json");
            assert_eq!(answer.json()["success"], false);
        }
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_stop_says_goodbye_to_open_sockets_and_ends_the_server() {
    let server = Running::start(&[], false).await;
    let mut ada = server.visitor("Ada").await;
    ada.hear("welcome").await;
    let (code, served) = tokio::join!(ada.close_code(), server.stop());
    assert_eq!(code, Some(1001));
    served.unwrap();
}

/// Thresholds far below and far above what this process uses.
const TINY: &str = r#"{"action":"updateThresholds","thresholds":{"warning":1,"critical":2}}"#;
const HUGE: &str =
    r#"{"action":"updateThresholds","thresholds":{"warning":900000,"critical":1000000}}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_critical_server_sheds_the_chat_and_still_answers_its_monitors() {
    let server = Running::start(&[Fault::LeakErrors], false).await;
    server.set_thresholds(TINY).await;
    let shed = server.get_until("/", 503).await;
    assert_eq!(shed.header("content-type"), "application/problem+json");
    assert!(shed.header("retry-after").parse::<u32>().unwrap() >= 1);
    assert!(matches!(server.enter("name=Ada").await, Err(Error::Http(r)) if r.status() == 503));
    assert_eq!(server.get("/livez").await.head.status, StatusCode::OK);
    let report = server.get("/api/monitoring/memory").await.json();
    assert_eq!(report["data"]["status"], "critical");
    assert_eq!(report["data"]["guard"]["mode"], "enforce");

    server.set_thresholds(HUGE).await;
    server.get_until("/", 200).await;
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_guard_nothing_is_shed_but_the_report_stays() {
    let server = Running::start(&[], true).await;
    server.set_thresholds(TINY).await;
    let critical = async {
        while server.get("/api/monitoring/memory").await.json()["data"]["status"] != "critical" {}
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), critical).await.unwrap();
    assert_eq!(server.get("/").await.head.status, StatusCode::OK);
    let report = server.get("/api/monitoring/memory").await.json();
    assert_eq!(report["data"]["cleanupHistory"], json!([]));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn everything_that_grows_is_a_pruner_and_a_cleanup_gives_it_back() {
    let faults = [Fault::LeakErrors, Fault::LeakEvents, Fault::LeakCache];
    let server = Running::start(&faults, false).await;
    let mut ada = server.visitor("Ada").await;
    for n in 0..40 {
        ada.say(&n.to_string()).await;
        ada.hear("message").await;
    }
    let journal = server.get("/api/journal").await.json();
    assert_eq!(journal["socketEvents"][0]["event"], "connected");
    assert_eq!(journal["latencies"][0]["route"], "/ws");
    let cleanup = r#"{"action":"cleanup","level":"aggressive"}"#;
    let answer = server.send(Method::POST, "/api/monitoring/memory", cleanup).await.json();
    let report = server.get("/api/monitoring/memory").await.json();
    let results = report["data"]["cleanupHistory"][0]["results"].as_array().unwrap().clone();
    for name in ["socket_events", "error_logs", "performance_metrics", "leaked_errors"] {
        assert!(results.iter().any(|result| result["name"] == name), "{name}: {answer}");
    }
    for name in ["leaked_events", "leaked_cache"] {
        let result = results.iter().find(|result| result["name"] == name).unwrap();
        assert!(result["removed"].as_u64().unwrap() >= 20, "{result}");
    }
    assert_eq!(server.get("/api/journal").await.json()["latencies"], json!([]));
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_load_counts_what_real_clients_got() {
    let server = Running::start(&[Fault::Hold], false).await;
    let options = LoadOptions {
        url: format!("http://{}", server.address).parse().unwrap(),
        clients: 4,
        seconds: 1,
        hold_clients: 2,
        hold_mb: 1,
        hold_ms: 50,
        hold_touch: Touch::Late,
        json: false,
    };
    let summary = load::drive(&options).await.unwrap();
    let json = summary.to_json();
    assert_eq!(summary.accepted(Kind::Connect), 4, "{json}");
    assert!(summary.accepted(Kind::Message) >= 4, "{json}");
    assert!(summary.accepted(Kind::Hold) >= 2, "{json}");
    for kind in ["connect", "message", "hold"] {
        let refused = ["shed503", "other", "errors"].map(|count| &json["kinds"][kind][count]);
        assert_eq!(refused, [&json!(0); 3], "{kind}: {json}");
    }
    assert!(json["livez"]["answered"].as_u64().unwrap() >= 5, "{json}");
    assert_eq!(json["livez"]["lost"], 0, "{json}");
    server.stop().await.unwrap();
    assert!(matches!(load::drive(&options).await, Err(load::LoadError::Unreachable(_))));
}
