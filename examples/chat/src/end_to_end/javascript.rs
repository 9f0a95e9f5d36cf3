//! The JavaScript client of Socket.IO, where Node is installed.

use std::{collections::BTreeSet, env, process, time::Duration};

use clap::Parser as _;

use super::*;
use crate::{
    load::{self, JavaScript, Kind},
    options::{Command, Options},
};

/// Whether the client can be had; says on standard error why not.
///
/// # Panics
/// When Node is there and `CI` is set, which is where this has to run.
async fn is_there() -> bool {
    let Err(why) = JavaScript::install().await else { return true };
    let node = process::Command::new("node").arg("--version").output().is_ok();
    let strict = node && env::var_os("CI").is_some_and(|ci| !ci.is_empty());
    assert!(!strict, "Node is installed, but not the client of Socket.IO: {why}");
    eprintln!("SKIPPED: {why}");
    false
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_client_chats_and_vanishes_over_both_transports() {
    if !is_there().await {
        return;
    }
    let server = Running::start(&[Fault::LeakSockets], false).await;
    let url = format!("http://{}", server.address);
    let arguments = "--seconds 3 --clients 1 --socketio-clients 2 --polling-clients 2 --churn 3 \
        --socket-io js";
    let arguments = ["chat", "load", "--url", &url].into_iter().chain(arguments.split_whitespace());
    let Some(Command::Load(options)) = Options::parse_from(arguments).command else {
        panic!("the load was asked for")
    };
    // She speaks by a plain WebSocket, and hears all of them in the room.
    let mut ada = server.enter("name=Ada&room=load-0").await.unwrap();
    let listening = tokio::spawn(async move {
        let mut speakers = BTreeSet::new();
        while speakers.len() < 5 {
            speakers.insert(ada.hear("message").await["name"].as_str().unwrap().to_owned());
        }
        (speakers, ada)
    });
    let summary = load::drive(&options).await.unwrap();
    let json = summary.to_json();
    assert!(json["socketIo"].as_str().unwrap().starts_with("socket.io-client "), "{json}");
    assert_eq!(summary.accepted(Kind::IoConnect), 4, "{json}");
    for (kind, least) in [(Kind::IoMessage, 8), (Kind::Churn, 6), (Kind::Message, 2)] {
        assert!(summary.accepted(kind) >= least, "{kind:?}: {json}");
    }
    for kind in ["connect", "message", "ioConnect", "ioMessage", "churn"] {
        let refused = ["shed503", "other", "errors"].map(|count| &json["kinds"][kind][count]);
        assert_eq!(refused, [&json!(0); 3], "{kind}: {json}");
    }
    let heard = tokio::time::timeout(Duration::from_secs(10), listening).await;
    let (speakers, ada) = heard.expect("all of them were heard").unwrap();
    assert_eq!(speakers, ["io-0", "io-1", "poll-0", "poll-1", "ws-0"].map(String::from).into());

    // Those who stayed said goodbye. Who vanished while polling is missed by nobody yet.
    let open = server.app.sockets.report();
    let vanished = summary.accepted(Kind::Churn);
    assert!(open.transports.polling > 0, "{open:?}");
    assert!(open.transports.polling <= vanished as u64, "{open:?}");
    drop(ada);
    server.stop().await.unwrap();
}
