//! People who talk, and what they may not do.

use super::*;
use crate::load::Heard;

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
    drop((ada, eve));
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
    drop((ada, ben));
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
async fn all_protocols_meet_in_one_room() {
    let server = Running::start(&[], false).await;
    let mut talks = Vec::new();
    for (number, protocol) in Protocol::ALL.into_iter().enumerate() {
        let mut talk = server.talk(protocol, &format!("p{number}")).await.unwrap();
        assert_eq!(talk.hear().await, Some(Heard::Other("welcome".into())), "{protocol:?}");
        talks.push(talk);
    }
    let rooms = server.get("/api/rooms").await.json();
    assert_eq!(rooms["rooms"][0], json!({ "name": "lobby", "present": 3 }));
    for speaker in 0..talks.len() {
        let body = format!("<b>{speaker}</b> \u{1f6a2}");
        talks[speaker].send(&body).await.unwrap();
        for talk in &mut talks {
            assert_eq!(next_message(talk).await, body);
        }
    }
    let transports = &server.get("/api/monitoring/sockets").await.json()["data"]["transports"];
    let expected = json!({ "websocket": 1, "socketio": 1, "polling": 1, "sse": 0, "other": 0 });
    assert_eq!(*transports, expected);

    // Somebody who leaves is missed by the others, whichever way they speak.
    talks.pop().unwrap().goodbye().await;
    for talk in &mut talks {
        while talk.hear().await != Some(Heard::Other("left".into())) {}
    }
    drop(talks);
    server.stop().await.unwrap();
}

async fn next_message(talk: &mut Talk) -> String {
    loop {
        if let Heard::Message(body) = talk.hear().await.expect("the conversation goes on") {
            return body;
        }
    }
}

#[tokio::test]
async fn socket_io_refuses_what_websockets_refuse() {
    let server = Running::start(&[], false).await;
    for protocol in [Protocol::SocketIo, Protocol::Polling] {
        for name in ["", " ", "a\nb", &"x".repeat(33)] {
            let refused = server.talk(protocol, name).await;
            assert_eq!(refused.err(), Some(Refusal::Other), "{name:?}");
        }
        let mut talk = server.talk(protocol, "Ada").await.unwrap();
        for bad in ["", " ", &"x".repeat(2001)] {
            talk.send(bad).await.unwrap();
            while talk.hear().await.expect("it goes on") != Heard::Refusal {}
        }
        talk.send("still here").await.unwrap();
        assert_eq!(next_message(&mut talk).await, "still here");
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn the_same_people_meet_on_postgres() {
    let Some(place) = crate::testing::postgres().await else { return };
    let server = Running::start_on(place.location.clone(), &[], false).await;
    let mut ada = server.talk(Protocol::WebSocket, "Ada").await.unwrap();
    let mut ben = server.talk(Protocol::SocketIo, "Ben").await.unwrap();
    ben.send("hello").await.unwrap();
    assert_eq!(next_message(&mut ada).await, "hello");
    assert_eq!(next_message(&mut ben).await, "hello");
    let messages = server.get("/api/rooms/lobby/messages").await.json();
    assert_eq!((&messages[0]["name"], &messages[0]["body"]), (&json!("Ben"), &json!("hello")));
    let report = server.get("/api/monitoring/memory").await.json();
    assert_eq!(report["data"]["retention"]["database"], "postgres");
    drop((ada, ben));
    server.stop().await.unwrap();
}
