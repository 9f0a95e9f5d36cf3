//! The whole server over real sockets of this machine.

mod api;
mod faults;
mod javascript;
mod pressure;
mod retention;
mod stop;
mod talk;

use std::net::SocketAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, StatusCode, body::Bytes, header};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use plimsoll::prelude::Journal;
use serde_json::{Value, json};
use tokio::{net::TcpStream, sync::oneshot, task::JoinHandle};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message, client::IntoClientRequest as _},
};

use crate::{
    app::App,
    load::{Protocol, Refusal, Talk},
    location::Location,
    options::{Fault, ServerOptions},
    serve::{ServeError, Server},
};

/// A server that runs until it is told to stop.
struct Running {
    address: SocketAddr,
    /// What its handlers share.
    app: App,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ServeError>>,
}

impl Running {
    async fn start(chaos: &[Fault], no_guard: bool) -> Self {
        Self::start_on(Location::Memory, chaos, no_guard).await
    }

    async fn start_on(database: Location, chaos: &[Fault], no_guard: bool) -> Self {
        let options = ServerOptions {
            listen: "127.0.0.1:0".parse().unwrap(),
            database,
            chaos: chaos.to_vec(),
            no_guard,
        };
        let server = Server::start(&options, Journal::new()).await.unwrap();
        let (address, app) = (server.address, server.app.clone());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server.serve(async move {
            let _ = stopped.await;
        }));
        Self { address, app, stop, task }
    }

    async fn send(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Answer {
        let client = Client::builder(TokioExecutor::new()).build_http();
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body.into()))
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

    /// Enters the lobby as the load's clients do.
    async fn talk(&self, protocol: Protocol, name: &str) -> Result<Talk, Refusal> {
        let target = format!("http://{}", self.address).parse().unwrap();
        Talk::connect(&target, protocol, name, "lobby").await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, body.to_string()).await
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
