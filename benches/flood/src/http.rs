//! As much of HTTP/1.1 as the flood needs: it shares two cores with the server, so it is lean.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::{Instant, sleep, sleep_until},
};

/// Longer heads and bodies than any answer of the flood has.
const LARGEST_ANSWER: usize = 64 * 1024;

/// A piece of a body that is sent at a pace.
const PIECE: usize = 64 * 1024;
/// The receive buffer of a reader that means to be slow.
const NARROW_BYTES: u32 = 16 * 1024;

/// How a body says where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length,
    Chunked,
    /// By a length that is not true.
    Lying,
}

/// A connection that is kept alive.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Whether the connection can be used again.
    pub(crate) keeps: bool,
}

/// A request without a body.
pub(crate) fn request(method: &str, path: &str) -> Vec<u8> {
    let length = if method == "POST" { "content-length: 0\r\n" } else { "" };
    format!("{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{length}\r\n").into_bytes()
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(1024) })
    }

    /// Takes over a connection that was opened elsewhere.
    pub(crate) fn adopt(stream: std::net::TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: TcpStream::from_std(stream)?, buffer: Vec::with_capacity(1024) })
    }

    /// With so small a receive buffer that the server soon waits for the reader.
    pub(crate) async fn open_narrow(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(NARROW_BYTES)?;
        let stream = socket.connect(address).await?;
        Ok(Self { stream, buffer: Vec::with_capacity(1024) })
    }

    /// Whether the server has not closed it; for one on which nothing was asked.
    pub(crate) fn is_open(&self) -> bool {
        let mut byte = [0];
        matches!(self.stream.try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Sends a body over some time, and reads the answer, which may come before its end.
    pub(crate) async fn upload(
        &mut self,
        target: &str,
        framing: Framing,
        bytes: u64,
        over: Duration,
    ) -> io::Result<Answer> {
        let declared = match framing {
            Framing::Length => format!("content-length: {bytes}"),
            Framing::Chunked => "transfer-encoding: chunked".to_owned(),
            Framing::Lying => "content-length: 1000".to_owned(),
        };
        let head = format!("POST {target} HTTP/1.1\r\nhost: 127.0.0.1\r\n{declared}\r\n\r\n");
        let piece = vec![0x5A; PIECE];
        let whole = usize::try_from(bytes).map_err(io::Error::other)?;
        let (mut reader, mut writer) = self.stream.split();
        let send = async {
            let start = Instant::now();
            writer.write_all(head.as_bytes()).await?;
            let mut sent = 0;
            while sent < whole {
                let share = sent as f64 / whole as f64;
                sleep_until(start + over.mul_f64(share)).await;
                let length = PIECE.min(whole - sent);
                if framing == Framing::Chunked {
                    writer.write_all(format!("{length:x}\r\n").as_bytes()).await?;
                }
                writer.write_all(&piece[..length]).await?;
                if framing == Framing::Chunked {
                    writer.write_all(b"\r\n").await?;
                }
                sent += length;
            }
            if framing == Framing::Chunked {
                writer.write_all(b"0\r\n\r\n").await?;
            }
            Ok::<_, io::Error>(())
        };
        let receive = read_answer(&mut reader, &mut self.buffer);
        tokio::pin!(receive);
        tokio::select! {
            answer = &mut receive => return answer,
            // A refusal may be on its way on a connection that takes no more.
            _ = send => {}
        }
        receive.await
    }

    /// Reads an answer piece by piece, with a pause after each.
    pub(crate) async fn read_slowly(
        &mut self,
        request: &[u8],
        piece: usize,
        pause: Duration,
    ) -> io::Result<u16> {
        self.stream.write_all(request).await?;
        let mut buffer = vec![0; piece];
        let mut head: Option<u16> = None;
        loop {
            let read = self.stream.read(&mut buffer).await?;
            if head.is_none() {
                self.buffer.extend_from_slice(&buffer[..read]);
                head = Head::parse(&self.buffer)?.map(|head| head.status);
            }
            match head {
                Some(200) if read > 0 && !buffer[..read].ends_with(b"\r\n0\r\n\r\n") => {}
                Some(status) => return Ok(status),
                None if read == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                None => {}
            }
            sleep(pause).await;
        }
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.stream.write_all(request).await?;
        read_answer(&mut self.stream, &mut self.buffer).await
    }
}

async fn read_answer(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
) -> io::Result<Answer> {
    buffer.clear();
    loop {
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(head) = Head::parse(buffer)?
            && buffer.len() >= head.length + head.body
        {
            return Ok(Answer { status: head.status, keeps: head.keeps });
        }
        if buffer.len() > LARGEST_ANSWER {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    length: usize,
    body: usize,
    keeps: bool,
}

impl Head {
    /// The head, once it is complete.
    fn parse(bytes: &[u8]) -> io::Result<Option<Self>> {
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            return Ok(None);
        };
        let invalid = || io::Error::from(io::ErrorKind::InvalidData);
        let text = std::str::from_utf8(&bytes[..end]).map_err(|_| invalid())?;
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let mut head =
            Self { status: status.ok_or_else(invalid)?, length: end + 4, body: 0, keeps: true };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                head.body = value.parse().map_err(|_| invalid())?;
            } else if name.eq_ignore_ascii_case("connection") {
                head.keeps = !value.eq_ignore_ascii_case("close");
            }
        }
        Ok(Some(head))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_when_it_is_complete() {
        let answer = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
        assert_eq!(Head::parse(&answer[..answer.len() - 7]).unwrap(), None);
        let head = Head::parse(answer).unwrap().unwrap();
        assert_eq!(head, Head { status: 503, length: answer.len() - 5, body: 5, keeps: false });
    }

    #[test]
    fn what_is_no_answer_is_an_error_and_no_panic() {
        for bytes in [
            &b"\r\n\r\n"[..],
            b"HTTP/1.1\r\n\r\n",
            b"HTTP/1.1 x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            b"\xff\xff\r\n\r\n",
        ] {
            assert!(Head::parse(bytes).is_err(), "{bytes:?}");
        }
    }
}
