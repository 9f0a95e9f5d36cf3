//! The command line: what the server is started with, and the `load` command.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    hold::{self, Touch},
    load::Target,
    location::{Location, LocationParser},
};

/// A chat server that Plimsoll keeps afloat.
#[derive(Debug, Parser)]
#[command(name = "chat", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) server: ServerOptions,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What the server is started with.
#[derive(Args, Clone, Debug)]
pub(crate) struct ServerOptions {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3000")]
    pub(crate) listen: SocketAddr,

    /// `memory` or a file for an embedded SQLite database, made when it is missing; or a PostgreSQL
    /// database, which has to be there, such as postgres://user@host/database
    #[arg(long, value_parser = LocationParser, value_name = "memory|PATH|URL", default_value = "memory")]
    pub(crate) database: Location,

    /// Faults to switch on, separated by commas: the server then really leaks
    #[arg(long, value_name = "FAULTS", value_delimiter = ',')]
    pub(crate) chaos: Vec<Fault>,

    /// Run without guard and automatic cleanup, for comparison; the monitoring routes stay
    #[arg(long)]
    pub(crate) no_guard: bool,
}

/// Commands beside serving.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Drive a running server with real clients and print what they got
    Load(LoadOptions),
    /// Run a server that leaks in a small memory cgroup, without Plimsoll and with it, and plot both
    Plot(PlotOptions),
}

/// What the plot command is started with.
#[derive(Args, Clone, Debug)]
pub(crate) struct PlotOptions {
    /// Seconds of load for each of the two servers, 10..=3600
    #[arg(long, value_name = "S", default_value_t = 300, value_parser = clap::value_parser!(u64).range(10..=3600))]
    pub(crate) seconds: u64,

    /// Seconds before that in which only the probe is there, 5..=600
    #[arg(long, value_name = "S", default_value_t = 20, value_parser = clap::value_parser!(u64).range(5..=600))]
    pub(crate) idle_seconds: u64,

    /// The limit of the memory cgroup in MB, 128..=8192
    #[arg(long, value_name = "MB", default_value_t = 512, value_parser = clap::value_parser!(u64).range(128..=8192))]
    pub(crate) limit_mb: u64,

    /// People who come, chat and vanish, nine times a second each, 1..=500: the leak grows with them
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub(crate) churn: u32,

    /// The picture to write
    #[arg(long, value_name = "FILE", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/images/chat-memory.svg"))]
    pub(crate) svg: PathBuf,
}

/// What the load command is started with.
#[derive(Args, Clone, Debug)]
pub(crate) struct LoadOptions {
    /// The server, on this machine only
    #[arg(long, default_value = "http://127.0.0.1:3000")]
    pub(crate) url: Target,

    /// People who chat over a WebSocket, 0..=500
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=500))]
    pub(crate) clients: u32,

    /// People who chat by Socket.IO over a WebSocket, 0..=500
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=500))]
    pub(crate) socketio_clients: u32,

    /// People who chat by Socket.IO with long polling, 0..=500
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=500))]
    pub(crate) polling_clients: u32,

    /// People who come, chat and vanish without a goodbye, by all three ways in turn, 0..=500
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=500))]
    pub(crate) churn: u32,

    /// What people speak Socket.IO with: the JavaScript client, installed below the target folder at
    /// its first use; the Rust client of this program; or the former where Node is and else the latter
    #[arg(long, value_name = "CLIENT", value_enum, default_value_t = SocketIoClient::Auto)]
    pub(crate) socket_io: SocketIoClient,

    /// Clients of the API of sessions and threads, 0..=500
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=500))]
    pub(crate) api_clients: u32,

    /// Duration in seconds, 1..=3600
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) seconds: u64,

    /// Clients of `POST /api/hold`, 0..=512; the server needs `--chaos hold`
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=512))]
    pub(crate) hold_clients: u32,

    /// MB that each of their requests holds, 1..=512
    #[arg(long, value_name = "MB", default_value_t = hold::DEFAULT_MB, value_parser = clap::value_parser!(u64).range(1..=512))]
    pub(crate) hold_mb: u64,

    /// Milliseconds for which they hold it, 1..=60000
    #[arg(long, value_name = "MS", default_value_t = hold::DEFAULT_MS, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub(crate) hold_ms: u64,

    /// When the memory is touched: at once, or after half the time
    #[arg(long, value_enum, default_value_t = Touch::Now)]
    pub(crate) hold_touch: Touch,

    /// Print one JSON document in place of the table
    #[arg(long)]
    pub(crate) json: bool,
}

/// What people speak Socket.IO with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SocketIoClient {
    Auto,
    Js,
    Rust,
}

/// A fault that can be switched on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fault {
    /// `POST /api/hold` holds as much memory as it is asked to.
    Hold,
    /// An error log that keeps an entry of every request for ever.
    LeakErrors,
    /// A socket event log that keeps every frame for ever.
    LeakEvents,
    /// A cache of rendered messages that forgets nothing.
    LeakCache,
    /// A map that keeps the session of every connection when the connection is gone.
    LeakSockets,
    /// An empty thread in the database for every request.
    FillThreads,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(arguments: &[&str]) -> Result<ServerOptions, clap::Error> {
        Options::try_parse_from([&["chat"], arguments].concat()).map(|options| options.server)
    }

    #[test]
    fn faults_are_a_comma_list() {
        let leaks = "hold,leak-errors,leak-events,leak-cache,leak-sockets,fill-threads";
        let options = server(&["--chaos", leaks]).unwrap();
        assert_eq!(options.chaos, Fault::value_variants());
        assert!(server(&[]).unwrap().chaos.is_empty());
    }

    #[test]
    fn the_database_is_memory_unless_another_is_named() {
        assert!(matches!(server(&[]).unwrap().database, Location::Memory));
        let options = server(&["--database", "a/b.db"]).unwrap();
        assert!(matches!(options.database, Location::File(path) if path == *"a/b.db"));
        let options = server(&["--database", "postgres://ada@localhost/chat"]).unwrap();
        assert!(matches!(options.database, Location::Postgres(_)));
    }

    #[test]
    fn bad_options_are_refused_as_usage_errors() {
        for bad in [
            &["--listen", "here"][..],
            &["--chaos", "leak"],
            &["--database", ""],
            &["--database", "mysql://ada@localhost/chat"],
            &["load", "--clients", "501"],
            &["load", "--churn", "501"],
            &["load", "--polling-clients", "x"],
            &["load", "--socket-io", "java"],
            &["load", "--seconds", "0"],
            &["plot", "--limit-mb", "1"],
            &["plot", "--churn", "0"],
            &["load", "--hold-mb", "513"],
            &["load", "--hold-touch", "never"],
            &["load", "--url", "http://example.com"],
        ] {
            assert_eq!(server(bad).unwrap_err().exit_code(), 2, "{bad:?}");
        }
    }
}
