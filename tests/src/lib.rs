//! The end-to-end tests of Plimsoll, and what they share.
//!
//! The tests stand in `tests/`, one file for each thing that a user relies on. They start the
//! built programs as processes of their own, talk to them over loopback sockets, and put them
//! into real memory cgroups where the system lets them. Whatever a test starts ends with it.
//!
//! A helper here panics with a sentence when the world is not as a test needs it: it is only
//! ever called from tests.
#![forbid(unsafe_code)]

mod browser;
mod cgroup;
mod chat;
mod cli;
mod http;
mod load;
mod programs;
mod refusal;
mod stream;
mod wait;

pub use self::{
    browser::Browser,
    cgroup::memory_group,
    chat::{Chat, chat_command},
    cli::{Ran, plimsoll, plimsoll_command},
    http::{Answer, Http},
    load::{HoldLoad, Holds, Probes, hold_until, probe_until},
    programs::{Programs, programs},
    refusal::{assert_no_figures, assert_refusal},
    stream::{EventStream, StreamEvent},
    wait::{eventually, within},
};
