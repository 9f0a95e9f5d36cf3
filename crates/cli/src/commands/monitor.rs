//! `monitor`: one line at once and after each interval, through restarts of the server.

use super::fetch_report;
use crate::{
    args::MonitorArgs, client::Client, exit::Exit, failure::Failure, output::Output, render,
    time::Beat,
};

/// Runs `monitor`.
pub(super) fn run(
    client: &Client,
    options: &MonitorArgs,
    output: &mut Output,
) -> Result<Exit, Failure> {
    let mut beat = Beat::start(options.interval);
    let mut checks = 0_u32;
    loop {
        checks = checks.saturating_add(1);
        let is_last = options.count.is_some_and(|count| checks >= count);
        let exit = match check(client, output) {
            Ok(()) => Exit::Done,
            Err(failure) => {
                let reason = match failure.passing() {
                    Some(reason) => output.look.foreign(&reason),
                    None => return Err(failure),
                };
                let again = if is_last { "" } else { ", retrying" };
                output.talk(&format!("[{}] {reason}{again}", output.look.zone.stamp_now()));
                failure.exit()
            }
        };
        if is_last || output.is_closed() {
            return Ok(exit);
        }
        beat.wait();
    }
}

fn check(client: &Client, output: &mut Output) -> Result<(), Failure> {
    let (reply, envelope, report) = fetch_report(client)?;
    if output.json {
        output.document(&reply.document)
    } else {
        let line = render::monitor_line(&output.look, envelope.timestamp.as_deref(), &report);
        output.data(&line)
    }
}
