//! One request over one connection that lives no longer than the delivery it is for.

use std::{fmt, io, pin::pin, time::SystemTime};

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::{
    HeaderMap, HeaderValue, Method, Request, Response,
    header::{CONNECTION, CONTENT_TYPE, HOST, USER_AGENT},
};
use http_body_util::Full;
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use plimsoll_core::alerts::SinkError;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use crate::{
    answer,
    url::{AlertUrl, AlertUrlError},
};

/// The least that hyper takes: an answer's head is all that is read.
const BUFFER: usize = 8 * 1024;
/// Header lines of an answer; more is not a receiver.
const HEADERS: usize = 64;

/// Posts JSON to one URL.
#[derive(Clone)]
pub(crate) struct Client {
    url: AlertUrl,
    #[cfg(feature = "tls")]
    tls: Option<crate::tls::Tls>,
}

impl Client {
    pub(crate) fn new(url: AlertUrl) -> Result<Self, AlertUrlError> {
        #[cfg(feature = "tls")]
        let tls = if url.is_https { Some(crate::tls::Tls::new(&url.host)?) } else { None };
        #[cfg(not(feature = "tls"))]
        if url.is_https {
            let reason = "begins with https, and this program was built without the feature tls \
                          of plimsoll-alerts (alerts-tls of plimsoll)";
            return Err(AlertUrlError { reason });
        }
        Ok(Self {
            url,
            #[cfg(feature = "tls")]
            tls,
        })
    }

    /// Trusts further certificate authorities.
    #[cfg(feature = "tls")]
    pub(crate) fn trust_pem(&mut self, pem: &[u8]) -> Result<(), crate::tls::PemError> {
        match &mut self.tls {
            Some(tls) => tls.trust_pem(pem),
            None => Ok(()),
        }
    }

    /// Sends one body and judges the answer.
    ///
    /// # Errors
    /// Why not, in words that hold no part of the URL.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub(crate) async fn post(
        &self,
        body: Bytes,
        signature: Option<(&'static str, HeaderValue)>,
    ) -> Result<(), SinkError> {
        let request = self.request(body, signature);
        // A name is looked up on a thread of the runtime's; a slow one is left to end there.
        let stream = TcpStream::connect((self.url.host.as_str(), self.url.port))
            .await
            .map_err(|error| SinkError::new(format!("cannot connect: {}", words(&error))))?;
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            let response = exchange(tls.connect(stream).await?, request).await?;
            return judge(&response);
        }
        let response = exchange(stream, request).await?;
        judge(&response)
    }

    fn request(
        &self,
        body: Bytes,
        signature: Option<(&'static str, HeaderValue)>,
    ) -> Request<Full<Bytes>> {
        let mut headers = HeaderMap::with_capacity(5);
        headers.insert(HOST, self.url.authority.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        const AGENT: &str = concat!("plimsoll-alerts/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        if let Some((name, value)) = signature {
            headers.insert(name, value);
        }
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.target.clone();
        *request.headers_mut() = headers;
        request
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("url", &self.url).finish_non_exhaustive()
    }
}

fn judge(response: &Response<Incoming>) -> Result<(), SinkError> {
    answer::judge(response.status(), response.headers(), SystemTime::now())
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, SinkError> {
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(BUFFER)
        .max_headers(HEADERS)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| http_error(&error))?;
    let answer = pin!(sender.send_request(request));
    // No task of its own: with this future the connection goes, too.
    let answered = match select(answer, pin!(connection)).await {
        Either::Left((answered, _)) => answered,
        // The answer knows what the connection ended with.
        Either::Right((_, answer)) => answer.await,
    };
    answered.map_err(|error| http_error(&error))
}

/// The error's own text may hold what the receiver sent, so it is told by its kind.
fn http_error(error: &hyper::Error) -> SinkError {
    SinkError::new(if error.is_parse() {
        "the answer is not HTTP"
    } else {
        "the connection ended before an answer came"
    })
}

/// The kind of an error, without the names that texts of resolvers and certificates can hold.
pub(crate) fn words(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => "connection reset",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "no route",
        io::ErrorKind::PermissionDenied => "not permitted",
        io::ErrorKind::TimedOut => "timed out",
        io::ErrorKind::UnexpectedEof => "connection closed",
        // What a resolver reports has no kind of its own.
        _ => "the host is not known, or the network failed",
    }
}
