//! The example itself: people talk through the guard, and a stop is a polite one.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail it by panicking")]

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use plimsoll_tests::{Chat, EventStream, plimsoll, within};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message},
};

const SOON: Duration = Duration::from_secs(10);

struct Visitor(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Visitor {
    async fn enter(chat: &Chat, name: &str) -> Result<Self, Error> {
        let url = format!("ws://{}/ws?name={name}&room=deck", chat.address());
        Ok(Self(connect_async(url).await?.0))
    }

    async fn say(&mut self, body: &str) {
        let frame = json!({ "type": "message", "body": body }).to_string();
        self.0.send(Message::text(frame)).await.unwrap();
    }

    /// The next frame of a type; others before it are skipped.
    async fn hear(&mut self, wanted: &str) -> Value {
        let heard = async {
            loop {
                let frame = self.0.next().await.expect("the socket is open").unwrap();
                if let Message::Text(text) = frame {
                    let frame: Value = serde_json::from_str(&text).unwrap();
                    if frame["type"] == wanted {
                        return frame;
                    }
                }
            }
        };
        within(SOON, wanted, heard).await
    }

    async fn close_code(&mut self) -> u16 {
        let closed = async {
            loop {
                if let Message::Close(frame) = self.0.next().await.expect("a close frame").unwrap()
                {
                    return frame.expect("with a reason").code.into();
                }
            }
        };
        within(SOON, "the close frame", closed).await
    }
}

#[tokio::test]
async fn two_people_talk_through_the_guard() {
    let chat = Chat::start(&[]).await;
    let mut ada = Visitor::enter(&chat, "Ada").await.unwrap();
    ada.hear("welcome").await;
    let mut ben = Visitor::enter(&chat, "Ben").await.unwrap();
    ben.hear("welcome").await;
    ada.say("how deep does she lie?").await;
    let heard = ben.hear("message").await;
    assert_eq!((&heard["name"], &heard["body"]), (&"Ada".into(), &"how deep does she lie?".into()));
    ben.say("to the line").await;
    ada.hear("message").await;
    assert_eq!(ada.hear("message").await["body"], "to the line");
    assert!(chat.report().await["guard"]["admitted"].as_u64().unwrap() >= 2);
}

#[tokio::test]
async fn at_critical_newcomers_are_refused_and_open_conversations_go_on() {
    let chat = Chat::start(&[]).await;
    let mut ada = Visitor::enter(&chat, "Ada").await.unwrap();
    ada.hear("welcome").await;
    plimsoll(&chat.url(), &["thresholds", "1,2"]).await.success();
    let Err(Error::Http(refused)) = Visitor::enter(&chat, "Ben").await else { panic!("let in") };
    assert_eq!(refused.status(), 503);
    ada.say("still afloat").await;
    assert_eq!(ada.hear("message").await["body"], "still afloat");
    plimsoll(&chat.url(), &["thresholds", "2000,3000"]).await.success();
    Visitor::enter(&chat, "Ben").await.unwrap().hear("welcome").await;
}

#[tokio::test]
async fn a_stop_says_goodbye_ends_the_streams_and_succeeds() {
    let mut chat = Chat::start(&[]).await;
    let mut ada = Visitor::enter(&chat, "Ada").await.unwrap();
    ada.hear("welcome").await;
    let mut stream = EventStream::open(&chat, None).await;
    stream.next(SOON).await;
    chat.terminate();
    assert_eq!(ada.close_code().await, 1001);
    stream.ended(SOON).await;
    assert_eq!(chat.ended(SOON).await.code(), Some(0), "{}", chat.log());
}

#[tokio::test]
async fn a_file_keeps_what_was_said_over_a_restart() {
    let file = format!("{}/restart-{}.db", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    let arguments = ["--database", file.as_str()];
    let mut chat = Chat::start(&arguments).await;
    let mut ada = Visitor::enter(&chat, "Ada").await.unwrap();
    ada.say("remember me").await;
    ada.hear("message").await;
    chat.terminate();
    assert_eq!(chat.ended(SOON).await.code(), Some(0), "{}", chat.log());

    let chat = Chat::start(&arguments).await;
    let mut ben = Visitor::enter(&chat, "Ben").await.unwrap();
    let welcome = ben.hear("welcome").await;
    drop(chat);
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{file}{suffix}"));
    }
    assert_eq!(welcome["messages"][0]["body"], "remember me");
}

#[tokio::test]
async fn what_the_faults_leak_is_given_back() {
    let chat = Chat::start(&["--chaos", "leak-errors"]).await;
    for _ in 0..200 {
        assert_eq!(chat.get("/").await.status, 200);
    }
    let answer =
        plimsoll(&chat.url(), &["cleanup", "--level", "aggressive", "--json"]).await.success();
    let record = &answer.json()["data"];
    let results = record["results"].as_array().unwrap();
    let leaked = results.iter().find(|result| result["name"] == "leaked_errors").expect("it ran");
    assert_eq!(leaked["outcome"], "ok");
    assert!(leaked["removed"].as_u64().unwrap() >= 150, "{leaked}");
}
