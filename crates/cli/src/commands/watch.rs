//! `watch`: the full screen, or the lines of `monitor` where there is none.

use std::io::{self, IsTerminal as _};

use super::{connect, monitor};
use crate::{
    args::{Global, LINE_INTERVAL, MonitorArgs},
    exit::Exit,
    failure::Failure,
    output::Output,
};

/// Runs `watch`.
pub(super) fn run(global: &Global, output: &mut Output) -> Result<Exit, Failure> {
    let Some(why) = without_screen(output.json) else {
        return full_screen(global, output);
    };
    output.talk(&format!("note: {why}; these are the lines of `monitor`"));
    monitor::run(&connect(global)?, &MonitorArgs { interval: LINE_INTERVAL, count: None }, output)
}

/// Why there is no screen to draw on.
fn without_screen(json: bool) -> Option<&'static str> {
    if !cfg!(feature = "tui") {
        return Some("this command was built without its feature `tui`");
    }
    if json {
        return Some("a full screen is no JSON");
    }
    if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
        return Some("standard input and output are no terminal");
    }
    std::env::var("TERM").is_ok_and(|term| term == "dumb").then_some("the terminal is a dumb one")
}

#[cfg(feature = "tui")]
fn full_screen(global: &Global, output: &Output) -> Result<Exit, Failure> {
    // Calls are not told one by one: their lines would tear the screen.
    let client = super::quiet(global)?;
    crate::watch::run(client, &output.look).map_err(Failure::Output)
}

#[cfg(not(feature = "tui"))]
fn full_screen(_: &Global, _: &Output) -> Result<Exit, Failure> {
    unreachable!("without the feature there is a reason to print lines")
}
