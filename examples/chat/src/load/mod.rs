//! `chat load`: drives a running server with real clients and tells what they got.
//!
//! Every client is a closed loop: it sends the next request when the last one is answered, so
//! the load is bounded by the number of clients. Only the probe keeps its own time.

mod api;
mod chat;
mod http;
mod javascript;
mod socket_io;
mod summary;
mod talk;
mod target;

use std::{
    io::{self, Write as _},
    time::Duration,
};

use tokio::{sync::watch, task::JoinSet, time::sleep};

pub(crate) use self::javascript::JavaScript;
use self::{
    chat::Person,
    summary::{Counts, Summary},
};
#[cfg(test)]
pub(crate) use self::{
    summary::Kind,
    talk::{Heard, Refusal, Talk},
};
pub(crate) use self::{summary::Latencies, talk::Protocol, target::Target};
use crate::{
    options::{LoadOptions, SocketIoClient},
    stop::{Stop, stopped},
};

/// Why a load could not be run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("nothing answers at {0}; start a server with `cargo run -p chat`")]
    Unreachable(Target),
    #[error("there is no JavaScript client: {0}")]
    NoJavaScript(String),
    #[error("the JavaScript client failed: {0}")]
    JavaScript(String),
    #[error("cannot print the summary")]
    Print(#[from] io::Error),
}

/// Runs the load for its time and prints the summary.
pub(crate) async fn run(options: LoadOptions) -> Result<(), LoadError> {
    let summary = drive(&options).await?;
    let text = if options.json {
        format!("{}\n", summary.to_json())
    } else {
        format!("{}\n{summary}", headline(&options))
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

/// Runs the load for its time.
pub(crate) async fn drive(options: &LoadOptions) -> Result<Summary, LoadError> {
    let target = &options.url;
    if !http::answers(target).await {
        return Err(LoadError::Unreachable(target.clone()));
    }
    let (javascript, socket_io) = speaker(options).await?;
    let people = People::of(options, javascript.is_some());
    let crowd = javascript.map(|client| client.start(target, &people.elsewhere, &people.vanishing));
    let crowd = crowd.transpose().map_err(LoadError::JavaScript)?;
    let stop = watch::Sender::new(false);
    let mut clients = JoinSet::new();
    for person in people.here {
        clients.spawn(chat::chat(target.clone(), person, stop.subscribe()));
    }
    for person in people.churning {
        clients.spawn(chat::churn(target.clone(), person, stop.subscribe()));
    }
    for index in 0..options.api_clients {
        clients.spawn(api::browse(target.clone(), index, stop.subscribe()));
    }
    let hold = http::HoldLoad {
        mb: options.hold_mb,
        duration: Duration::from_millis(options.hold_ms),
        touch: options.hold_touch,
    };
    for index in 0..options.hold_clients {
        clients.spawn(http::hold(target.clone(), hold, index, stop.subscribe()));
    }
    let probe = tokio::spawn(http::probe(target.clone(), stop.subscribe()));
    sleep(Duration::from_secs(options.seconds)).await;
    stop.send_replace(true);
    let mut summary = Summary::default();
    summary.socket_io = socket_io;
    if let Some(crowd) = crowd {
        summary.merge(crowd.finish().await.map_err(LoadError::JavaScript)?);
    }
    while let Some(client) = clients.join_next().await {
        summary.merge(client.unwrap_or_else(|_| Counts::crashed()));
    }
    summary.probe = probe.await.unwrap_or_default();
    Ok(summary)
}

/// Who is played, and by which program.
struct People {
    /// Chatters of this program.
    here: Vec<Person>,
    /// Those of this program who vanish.
    churning: Vec<Person>,
    /// Chatters of the JavaScript client.
    elsewhere: Vec<Person>,
    /// Those of the JavaScript client who vanish.
    vanishing: Vec<Person>,
}

impl People {
    /// With the JavaScript client a third of those who vanish keep to plain WebSockets, which it
    /// does not speak.
    fn of(options: &LoadOptions, javascript: bool) -> Self {
        let chatters = |protocol, count: u32| (0..count).map(move |n| Person::new(protocol, n));
        let plain = chatters(Protocol::WebSocket, options.clients);
        let others = chatters(Protocol::SocketIo, options.socketio_clients)
            .chain(chatters(Protocol::Polling, options.polling_clients));
        if !javascript {
            let churning = (0..options.churn).map(|n| Person::churning(&Protocol::ALL, n));
            return Self {
                here: plain.chain(others).collect(),
                churning: churning.collect(),
                elsewhere: Vec::new(),
                vanishing: Vec::new(),
            };
        }
        let (churning, vanishing): (Vec<_>, Vec<_>) = (0..options.churn).partition(|n| n % 3 == 2);
        let of = |numbers: Vec<u32>, protocols| {
            numbers.into_iter().map(|n| Person::churning(protocols, n)).collect()
        };
        Self {
            here: plain.collect(),
            churning: of(churning, Protocol::WebSocket.alone()),
            elsewhere: others.collect(),
            vanishing: of(vanishing, &[Protocol::SocketIo, Protocol::Polling]),
        }
    }
}

/// The JavaScript client, if it is to be used, and what to call the client that is.
async fn speaker(options: &LoadOptions) -> Result<(Option<JavaScript>, Option<String>), LoadError> {
    if options.socketio_clients + options.polling_clients + options.churn == 0 {
        return Ok((None, None));
    }
    let rust = "the Rust client of this program";
    match options.socket_io {
        SocketIoClient::Rust => Ok((None, Some(rust.to_owned()))),
        choice => match JavaScript::install().await {
            Ok(client) => {
                let name = client.name.clone();
                Ok((Some(client), Some(name)))
            }
            Err(why) if choice == SocketIoClient::Js => Err(LoadError::NoJavaScript(why)),
            Err(why) => Ok((None, Some(format!("{rust} ({why})")))),
        },
    }
}

fn headline(options: &LoadOptions) -> String {
    format!(
        "{} for {} s: {} chatters, {} by Socket.IO, {} by polling, {} who vanish, {} clients of the \
         API, {} hold clients of {} MB for {} ms (touch {})",
        options.url,
        options.seconds,
        options.clients,
        options.socketio_clients,
        options.polling_clients,
        options.churn,
        options.api_clients,
        options.hold_clients,
        options.hold_mb,
        options.hold_ms,
        options.hold_touch,
    )
}

/// Waits, but not longer than until the load ends; tells whether it goes on.
async fn pause(duration: Duration, stop: &mut Stop) -> bool {
    tokio::select! {
        () = stopped(stop) => false,
        () = sleep(duration) => true,
    }
}

/// Pauses of different clients differ, so that they do not come back all at once.
fn retry_pause(index: u32, attempt: u64, retry_after: Option<Duration>) -> Duration {
    /// Short, so that a server which recovers is used at once.
    const SHORTEST: u64 = 50;
    const SPREAD: u64 = 100;
    let spread = (u64::from(index) * 37 + attempt * 61) % SPREAD;
    let pause = Duration::from_millis(SHORTEST + spread);
    retry_after.map_or(pause, |limit| pause.min(limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_short_and_never_longer_than_the_server_asked_for() {
        let retry_after = Some(Duration::from_millis(60));
        for index in 0..200 {
            let free = retry_pause(index, 3, None);
            assert!((50..150).contains(&free.as_millis()), "{free:?}");
            assert!(retry_pause(index, 3, retry_after) <= Duration::from_millis(60));
        }
    }

    #[test]
    fn clients_do_not_come_back_all_at_once() {
        let mut pauses: Vec<_> = (0..50).map(|index| retry_pause(index, 1, None)).collect();
        pauses.sort();
        pauses.dedup();
        assert!(pauses.len() > 40);
    }
}
