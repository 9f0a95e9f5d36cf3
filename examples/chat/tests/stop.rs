//! The end of the program when somebody asks for it, with people still in their conversations.
#![cfg(unix)]

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use futures_util::{StreamExt as _, future::join_all};
use http_body_util::Empty;
use hyper::{Request, StatusCode, body::Bytes};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What the program promises, and some time for a machine that is busy compiling.
const DEADLINE: Duration = Duration::from_secs(15);

/// Ends the program even when its test fails.
struct Running(Child);

impl Running {
    fn start() -> (Self, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chat"));
        command.args(["--listen", "127.0.0.1:0"]).env("RUST_LOG", "off");
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut running = Self(child);
        let mut first = String::new();
        let stdout = running.0.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut first).expect("it tells its address");
        let address = first.trim_start_matches("chat:").trim().trim_start_matches("http://");
        (running, address.trim_end_matches('/').to_owned())
    }

    fn terminate(&self) {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().expect("kill runs").success());
    }

    async fn ended(&mut self) -> ExitStatus {
        loop {
            if let Some(status) = self.0.try_wait().expect("a child can be waited for") {
                return status;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The code of the close frame; reading on answers it.
async fn close_code(socket: &mut Socket) -> Option<u16> {
    let mut code = None;
    while let Some(Ok(message)) = socket.next().await {
        if let Message::Close(frame) = message {
            code = frame.map(|frame| frame.code.into());
        }
    }
    code
}

async fn status(address: &str, path: &str) -> Option<StatusCode> {
    // A connection for each question, as probes have it.
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let request =
        Request::get(format!("http://{address}{path}")).body(Empty::new()).expect("a request");
    client.request(request).await.ok().map(|answer| answer.status())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_is_told_and_it_ends_in_time_with_success() {
    let (mut running, address) = Running::start();
    let enter = |n: u32| {
        let uri = format!("ws://{address}/ws?name=p{n}&room=r{}", n / 10);
        async move { connect_async(uri).await.unwrap().0 }
    };
    let mut listening: Vec<Socket> = join_all((0..40).map(enter)).await;
    // These read nothing and answer nothing until the program is gone.
    let mut hanging: Vec<Socket> = join_all((40..50).map(enter)).await;
    assert_eq!(status(&address, "/readyz").await, Some(StatusCode::OK));

    let asked = Instant::now();
    running.terminate();
    let codes = join_all(listening.iter_mut().map(close_code));
    // Those who hang hold the end up for a while, in which the probe is told.
    let unready = async {
        loop {
            match status(&address, "/readyz").await {
                Some(StatusCode::SERVICE_UNAVAILABLE) => break true,
                Some(_) => {}
                None => break false,
            }
        }
    };
    let (codes, unready, ended) =
        tokio::join!(codes, unready, timeout(2 * DEADLINE, running.ended()));
    assert!(unready, "the probe hears of the end before nobody answers it any more");
    assert_eq!(codes, vec![Some(1001); 40]);
    let status = ended.expect("it ends");
    assert_eq!(status.code(), Some(0));
    assert!(asked.elapsed() < DEADLINE, "{:?}", asked.elapsed());
    let codes = join_all(hanging.iter_mut().map(close_code)).await;
    assert_eq!(codes, vec![Some(1001); 10], "they were told as well");
}
