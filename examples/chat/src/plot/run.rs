//! One server under the load, watched from outside.

use std::{
    env,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use plimsoll_testkit::MemoryGroup;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use super::probe::{self, Probed};
use crate::{load::Target, options::PlotOptions};

/// Time between two samples of the working set.
const PERIOD: Duration = Duration::from_millis(100);
/// How long the server may take to listen, and the load to end.
const PATIENCE: Duration = Duration::from_secs(20);
/// What the server is started with.
const FAULTS: &str = "leak-sockets,leak-errors,fill-threads";
/// Milliseconds between two runs of the rules: the threads that fill the database have to go as
/// fast as they come.
const RETENTION_INTERVAL: &str = "2000";
/// People who stay, a few of each kind: they are to be disturbed by the leaks, not to be a rush.
const PEOPLE: [&str; 5] = [
    "--clients=6",
    "--socketio-clients=3",
    "--polling-clients=1",
    "--api-clients=1",
    // So that the load is the same wherever the plot is made.
    "--socket-io=rust",
];

/// What was seen of a server.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) guard: bool,
    /// The working set in bytes, each 100 ms from the start on.
    pub(super) memory: Vec<(Duration, u64)>,
    pub(super) probed: Vec<Probed>,
    /// When the load began.
    pub(super) load_from: Duration,
    /// When the server was gone, if it did not survive.
    pub(super) killed: Option<Duration>,
    pub(super) thresholds: Thresholds,
    /// The server's report at the end, where there was one to give it.
    pub(super) report: Option<Value>,
    /// Cleanups until then.
    pub(super) cleanups: Option<f64>,
    pub(super) churn: u32,
}

/// The server's thresholds in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Thresholds {
    pub(super) warning: u64,
    pub(super) critical: u64,
}

impl Run {
    /// Starts the server in the group, lets the probe have it alone for a while, then sends the
    /// load, until the time is over or the server is gone.
    pub(super) async fn of(
        options: &PlotOptions,
        group: &MemoryGroup,
        guard: bool,
    ) -> Result<Self, String> {
        let exe = env::current_exe().map_err(|error| error.to_string())?;
        let (mut server, target) = start(&exe, group, guard).await?;
        let thresholds = thresholds(&target).await?;
        let load_from = Duration::from_secs(options.idle_seconds);
        let end = load_from + Duration::from_secs(options.seconds);
        let stop = watch::Sender::new(false);
        let start = Instant::now();
        let probe = tokio::spawn(probe::probe(target.clone(), start, stop.subscribe()));
        let (mut memory, mut load, mut killed) = (Vec::new(), None, None);
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let at = start.elapsed();
            if server.try_wait().map_err(|error| error.to_string())?.is_some() {
                killed = Some(at);
                break;
            }
            memory.extend(group.working_set_bytes().map(|bytes| (at, bytes)));
            if at >= end {
                break;
            }
            if at >= load_from && load.is_none() {
                load = Some(start_load(&exe, &target, options)?);
            }
        }
        stop.send_replace(true);
        if killed.is_some() {
            // The last samples may be of a process that is being taken apart already.
            let peak = memory.iter().map(|(_, bytes)| *bytes).max();
            let last = memory.iter().rposition(|(_, bytes)| Some(*bytes) == peak);
            memory.truncate(last.map_or(0, |last| last + 1));
        }
        let (report, cleanups) = match killed {
            None => (report(&target).await, cleanups(&target).await),
            Some(_) => (None, None),
        };
        if killed.is_some() && group.killed() == Some(0) {
            return Err("the server ended by itself; its log says why".to_owned());
        }
        // Children end with their handles, if they did not before.
        drop(load);
        let _ = server.start_kill();
        let _ = timeout(PATIENCE, server.wait()).await;
        let probed = probe.await.map_err(|error| error.to_string())?;
        Ok(Self {
            guard,
            memory,
            probed,
            load_from,
            killed,
            thresholds,
            report,
            cleanups,
            churn: options.churn,
        })
    }

    /// What both were started with, in words that can be typed.
    pub(super) fn command(&self) -> String {
        let people = PEOPLE.join(" ").replace('=', " ");
        format!(
            "RETENTION_INTERVAL={RETENTION_INTERVAL} chat --chaos {FAULTS} [--no-guard]\n\
             chat load {} --churn {}\n",
            people, self.churn
        )
    }
}

async fn start(exe: &PathBuf, group: &MemoryGroup, guard: bool) -> Result<(Child, Target), String> {
    let mut command = Command::new("sh");
    // The shell joins the group and becomes the server, which keeps its process id.
    command.args(["-c", r#"echo $$ > "$0" && exec "$@""#]).arg(group.members());
    command.arg(exe).args(["--listen", "127.0.0.1:0", "--chaos", FAULTS]);
    command.args((!guard).then_some("--no-guard"));
    // Nothing but the path, so that the variables of whoever runs this change nothing.
    command.env_clear().env("PATH", env::var_os("PATH").unwrap_or_default());
    command.env("RETENTION_INTERVAL", RETENTION_INTERVAL).env("RUST_LOG", "error");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut server = command.spawn().map_err(|error| format!("sh does not start: {error}"))?;
    let stdout = server.stdout.take().ok_or("no standard output")?;
    let mut lines = BufReader::new(stdout).lines();
    let line = timeout(PATIENCE, lines.next_line()).await;
    let line = line.ok().and_then(Result::ok).flatten().ok_or("the server does not listen")?;
    let target = line.trim_start_matches("chat:").trim().parse();
    let target = target.map_err(|_| format!("the server says {line:?}"))?;
    // Reads to the end, so that a server that says more is never blocked by it.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok((server, target))
}

fn start_load(exe: &Path, target: &Target, options: &PlotOptions) -> Result<Child, String> {
    Command::new(exe)
        .args(["load", "--json", "--url", &target.to_string()])
        .args(PEOPLE)
        .args(["--churn", &options.churn.to_string()])
        // It is ended with the run.
        .args(["--seconds", &(options.seconds + PATIENCE.as_secs()).to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("the load does not start: {error}"))
}

async fn report(target: &Target) -> Option<Value> {
    let body = get(target, "/api/monitoring/memory").await?;
    serde_json::from_slice::<Value>(&body).ok()?.get_mut("data").map(Value::take)
}

/// How many cleanups there were, by the metrics: the report shows the newest only.
async fn cleanups(target: &Target) -> Option<f64> {
    let body = get(target, "/metrics").await?;
    let text = std::str::from_utf8(&body).ok()?;
    let counts = text.lines().filter(|line| line.starts_with("plimsoll_cleanups_total{"));
    Some(counts.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum())
}

async fn get(target: &Target, path: &str) -> Option<Bytes> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let uri = target.http(path).parse().ok()?;
    let answer =
        timeout(PATIENCE, async { client.get(uri).await.ok()?.into_body().collect().await.ok() });
    Some(answer.await.ok()??.to_bytes())
}

async fn thresholds(target: &Target) -> Result<Thresholds, String> {
    let report = report(target).await.ok_or("the server gives no report")?;
    let bytes = |name: &str| {
        report["thresholdBytes"][name].as_u64().ok_or_else(|| format!("no {name} threshold"))
    };
    Ok(Thresholds { warning: bytes("warning")?, critical: bytes("critical")? })
}

/// A run of 200 s, or until it is killed, whose memory climbs by 4 MB a second; a probe each
/// 100 ms takes 2 ms before the load and 3 ms under it.
#[cfg(test)]
pub(super) fn climbing(guard: bool, killed: Option<u64>) -> Run {
    use super::probe::Got;

    let end = killed.unwrap_or(200) * 10;
    let at = |n: u64| Duration::from_millis(n * 100);
    let probe = |n| {
        let latency = Duration::from_millis(if n < 200 { 2 } else { 3 });
        Probed { at: at(n), got: Got::Admitted(latency) }
    };
    Run {
        guard,
        memory: (0..end).map(|n| (at(n), n * 400_000)).collect(),
        probed: (0..end).map(probe).collect(),
        load_from: Duration::from_secs(20),
        killed: killed.map(Duration::from_secs),
        thresholds: Thresholds { warning: 358_400_000, critical: 435_200_000 },
        report: None,
        cleanups: None,
        churn: 1,
    }
}
