//! A receiver of webhooks on a loopback port.
#![allow(dead_code, unreachable_pub, reason = "each test program uses its part of it")]

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
    sync::mpsc,
    task::JoinHandle,
};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Arrived {
    pub head: String,
    pub body: Vec<u8>,
    /// Whether it was answered with success.
    pub accepted: bool,
}

impl Arrived {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (known, value) = line.split_once(": ")?;
            known.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// Alert name and status.
    pub fn alert(&self) -> (String, String) {
        let alert = &self.json()["alerts"][0];
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        (text(&alert["labels"]["alertname"]), text(&alert["status"]))
    }
}

/// What to do with a request.
#[derive(Clone, Debug)]
pub enum Does {
    /// Answer with this head, after `HTTP/1.1 `.
    Say(&'static str),
    /// Answer with these bytes.
    Raw(&'static [u8]),
    /// Never answer.
    Hang,
}

pub const OK: Does = Does::Say("200 OK");

/// Listens until it is dropped; answers with success once its script has run out.
#[derive(Debug)]
pub struct Receiver {
    pub address: SocketAddr,
    script: Arc<Mutex<VecDeque<Does>>>,
    arrived: mpsc::UnboundedReceiver<Arrived>,
    task: JoinHandle<()>,
}

impl Receiver {
    pub async fn start(script: impl IntoIterator<Item = Does>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let script = Arc::new(Mutex::new(VecDeque::from_iter(script)));
        let (tell, arrived) = mpsc::unbounded_channel();
        let answers = Arc::clone(&script);
        let task = tokio::spawn(async move {
            let mut hanging = Vec::new();
            loop {
                let Ok((mut stream, _)) = listener.accept().await else { return };
                let does = answers.lock().expect("whole").pop_front().unwrap_or(OK);
                serve(&mut stream, &does, &tell).await;
                if matches!(does, Does::Hang) {
                    hanging.push(stream);
                }
            }
        });
        Self { address, script, arrived, task }
    }

    /// What to do from now on, before success.
    pub fn then(&self, script: impl IntoIterator<Item = Does>) {
        self.script.lock().expect("whole").extend(script);
    }

    /// The URL, with a secret in its path and its query.
    pub fn url(&self) -> String {
        format!("http://{}/s3cret-path?key=s3cret-query", self.address)
    }

    pub async fn next(&mut self) -> Arrived {
        self.arrived.recv().await.expect("listens")
    }

    /// What has arrived and was not asked for.
    pub fn rest(&mut self) -> Vec<Arrived> {
        std::iter::from_fn(|| self.arrived.try_recv().ok()).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads one request and answers it.
pub async fn serve(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    does: &Does,
    tell: &mpsc::UnboundedSender<Arrived>,
) {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        match stream.read_buf(&mut bytes).await {
            Ok(1..) => {}
            _ => return,
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).expect("ASCII");
    let mut arrived = Arrived { head, body: bytes.split_off(head_end), accepted: false };
    let length: usize = arrived.header("content-length").expect("sized").parse().expect("a number");
    while arrived.body.len() < length {
        match stream.read_buf(&mut arrived.body).await {
            Ok(1..) => {}
            _ => return,
        }
    }
    let answer = match does {
        Does::Say(head) => {
            arrived.accepted = head.starts_with('2');
            format!("HTTP/1.1 {head}\r\ncontent-length: 2\r\n\r\nok").into_bytes()
        }
        Does::Raw(bytes) => bytes.to_vec(),
        Does::Hang => Vec::new(),
    };
    // Who sent it may have gone, and so may the test.
    let _ = tell.send(arrived);
    let _ = stream.write_all(&answer).await;
    let _ = stream.flush().await;
}
