//! A server process in a memory cgroup.

use std::{
    io::{self, BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use plimsoll_flood::MB;
use plimsoll_testkit::MemoryGroup;

use crate::{
    options::Plan,
    profile::REQUEST_MB,
    programs::Programs,
    variant::{Protector, Variant},
};

/// How long a server may take until it listens.
const START: Duration = Duration::from_secs(20);

/// A running server; killed and waited for when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// It ends when this does.
    _stdin: Option<ChildStdin>,
    pub(crate) address: SocketAddr,
}

impl Server {
    pub(crate) fn start(
        plan: &Plan,
        programs: &Programs,
        variant: Variant,
        group: &MemoryGroup,
        more: &[&str],
    ) -> Result<Self, String> {
        let mut command = Command::new("sh");
        // The shell joins the group and becomes the server, which keeps its process id.
        command.args(["-c", r#"echo $$ > "$0" && exec "$@""#]).arg(group.members());
        match variant.guard {
            Protector::Guard(guard) => {
                let program = variant.program().ok_or("no program serves this variant")?;
                command
                    .arg(programs.server(&program))
                    .args(["--guard", &guard.to_string()])
                    .args(["--limit-bytes", &plan.limit_bytes.to_string()])
                    .args(["--request-bytes", &(REQUEST_MB * MB).to_string()])
                    .arg("--usage-file")
                    .arg(group.usage_file())
                    .arg("--scratch")
                    .arg(programs.scratch());
            }
            Protector::Fastify(period) => {
                command
                    .arg("node")
                    .arg(programs.fastify().ok_or("fastify is not installed")?)
                    .arg(period.as_millis().to_string())
                    .arg(variant.guard.line_bytes(plan.limit_bytes).to_string());
            }
        }
        command.args(more);
        // Nothing but the path, so that the variables of whoever runs this change nothing.
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(plan.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().map_err(|error| format!("sh does not start: {error}"))?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().ok_or("no standard output")?;
        let mut server =
            Self { child, _stdin: stdin, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let (sender, lines) = mpsc::channel();
        // Reads to the end, so that a server that says more is never blocked by it.
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let line = lines.recv_timeout(START).map_err(|_| "the server does not listen")?;
        let address = line.strip_prefix("listening on ").and_then(|text| text.trim().parse().ok());
        server.address = address.ok_or_else(|| format!("the server says {line:?}"))?;
        Ok(server)
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
