use std::{net::SocketAddr, time::Duration};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request,
    body::{Bytes, Incoming},
    header::{CONTENT_TYPE, HeaderMap},
    http::{Method, Response, request::Builder},
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;
use tokio::time::timeout;

/// No answer of a test takes longer; those that hold memory take seconds.
const LIMIT: Duration = Duration::from_secs(30);

/// A client of one server, with its connections kept open. Clones share them.
#[derive(Clone, Debug)]
pub struct Http {
    client: Client<HttpConnector, Full<Bytes>>,
    address: SocketAddr,
}

impl Http {
    /// Talks to the server at `address`.
    pub fn new(address: SocketAddr) -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build_http(), address }
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins a request, for headers of one's own.
    pub fn request(&self, method: Method, path: &str) -> Builder {
        Request::builder().method(method).uri(format!("http://{}{path}", self.address))
    }

    /// `GET path`.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path), "").await
    }

    /// `POST path` with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_text(path, body.to_string()).await
    }

    /// `POST path` with a body that says it is JSON.
    pub async fn post_text(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        let request = self.request(Method::POST, path).header(CONTENT_TYPE, "application/json");
        self.send(request, body).await
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Panics
    /// Without an answer.
    pub async fn send(&self, request: Builder, body: impl Into<Bytes>) -> Answer {
        self.try_send(request, body, LIMIT).await.unwrap_or_else(|why| panic!("{why}"))
    }

    /// The same, with what went wrong instead of a panic.
    ///
    /// # Errors
    /// Says in a sentence why there is no complete answer.
    ///
    /// # Panics
    /// When the request cannot be written at all.
    pub async fn try_send(
        &self,
        request: Builder,
        body: impl Into<Bytes>,
        limit: Duration,
    ) -> Result<Answer, String> {
        let answer = async {
            let (head, body) = self.open(request, body).await?.into_parts();
            let body = body.collect().await.map_err(|error| format!("answer cut: {error}"))?;
            Ok(Answer {
                status: head.status.as_u16(),
                headers: head.headers,
                body: body.to_bytes(),
            })
        };
        timeout(limit, answer).await.unwrap_or_else(|_| Err(format!("no answer in {limit:?}")))
    }

    /// Sends a request and leaves the body of the answer to be read.
    ///
    /// # Errors
    /// Says in a sentence why there is no answer.
    ///
    /// # Panics
    /// When the request cannot be written at all.
    pub async fn open(
        &self,
        request: Builder,
        body: impl Into<Bytes>,
    ) -> Result<Response<Incoming>, String> {
        let request = request.body(Full::new(body.into())).expect("a test writes valid requests");
        self.client.request(request).await.map_err(|error| format!("no answer: {error:?}"))
    }

    /// The data of the report.
    ///
    /// # Panics
    /// When the server does not answer with one.
    pub async fn report(&self) -> Value {
        let answer = self.get("/api/monitoring/memory").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["data"].take()
    }

    /// The pressure level as the report tells it.
    pub async fn status(&self) -> String {
        self.report().await["status"].as_str().unwrap_or_default().to_owned()
    }
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// The value of a header, empty without one.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap_or_default())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not one document.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}
