//! Kernel events on fixture trees: what is waited for, what ends, what is missing.
#![cfg(target_os = "linux")]

use std::{sync::mpsc, thread, time::Duration};

use plimsoll_core::{Clock, KernelEvents, MemorySource, Woken};
use plimsoll_sources::SystemSource;
use plimsoll_testkit::FixtureTree;

const OWN: &str = "sys/fs/cgroup/system.slice/chat.service";
const SLICE: &str = "sys/fs/cgroup/system.slice";
/// Far more than any step here takes.
const LONG: Duration = Duration::from_secs(30);

fn v2() -> FixtureTree {
    FixtureTree::new()
        .archive(include_str!("fixtures/v2.txtar"))
        .file(format!("{OWN}/memory.events"), "high 0\nmax 0\n")
        .file(format!("{SLICE}/memory.events"), "high 0\nmax 0\n")
        .file(format!("{OWN}/memory.pressure"), "")
}

fn events(tree: &FixtureTree) -> (SystemSource, Box<dyn KernelEvents>) {
    let mut source = SystemSource::at(tree.path()).expect("readable");
    let mut events = source.events().expect("descriptors");
    // The first arming may ask for a look; what a test waits for comes after it.
    source.watch(&[]);
    let _ = &mut events;
    (source, events)
}

/// Waits on a thread of its own, so that a wait that should not end fails instead of hanging.
struct Waiter {
    woken: mpsc::Receiver<Woken>,
    go_on: mpsc::Sender<()>,
    stop: Box<dyn Fn() + Send + Sync>,
    thread: Option<thread::JoinHandle<Box<dyn KernelEvents>>>,
}

impl Waiter {
    fn new(mut events: Box<dyn KernelEvents>) -> Self {
        let stop = events.stopper();
        let (tell, woken) = mpsc::channel();
        let (go_on, asked) = mpsc::channel();
        let thread = thread::spawn(move || {
            loop {
                let why = events.wait();
                if tell.send(why).is_err() || why == Woken::Stopped || asked.recv().is_err() {
                    return events;
                }
            }
        });
        Self { woken, go_on, stop, thread: Some(thread) }
    }

    #[track_caller]
    fn woken(&self) -> Woken {
        let why = self.woken.recv_timeout(LONG).expect("it is woken");
        let _ = self.go_on.send(());
        why
    }

    /// Ends the wait and hands the events back; says how often it was woken until then.
    fn stop(mut self) -> (usize, Box<dyn KernelEvents>) {
        (self.stop)();
        let mut looks = 0;
        while self.woken() == Woken::Look {
            looks += 1;
        }
        let thread = self.thread.take().expect("not stopped before");
        (looks, thread.join().expect("it does not panic"))
    }
}

#[test]
fn a_breach_of_version_2_wakes_and_so_does_one_of_the_cgroup_above() {
    let tree = v2();
    let (_source, events) = events(&tree);
    assert_eq!(events.describe().active, ["memory.events", "memory pressure of the cgroup"]);
    assert_eq!(events.describe().missing, [""; 0]);
    let waiter = Waiter::new(events);
    tree.write(format!("{OWN}/memory.events"), "high 1\nmax 0\n");
    assert_eq!(waiter.woken(), Woken::Look);
    // A file that is written anew changes twice: cut, then filled.
    tree.write(format!("{SLICE}/memory.events"), "high 0\nmax 1\n");
    assert_eq!(waiter.woken(), Woken::Look);
    let (looks, _) = waiter.stop();
    assert!(looks <= 2, "{looks} more wakes for one cause");
}

#[test]
fn a_wait_that_is_stopped_stays_stopped() {
    let tree = v2();
    let (_source, events) = events(&tree);
    let (looks, mut events) = Waiter::new(events).stop();
    assert_eq!(looks, 0);
    assert_eq!(events.wait(), Woken::Stopped);
}

#[test]
fn a_cgroup_that_is_removed_wakes_a_few_times_and_then_no_more() {
    let tree = v2();
    let (_source, events) = events(&tree);
    // Before anybody waits, so that the first wait hears of both.
    tree.remove(OWN);
    tree.remove(SLICE);
    let waiter = Waiter::new(events);
    assert_eq!(waiter.woken(), Woken::Look);
    let (looks, events) = waiter.stop();
    assert!(looks <= 2, "{looks} more wakes for files that are gone");
    let described = events.describe();
    assert_eq!(described.active, ["memory pressure of the cgroup"]);
    assert_eq!(described.missing, ["memory.events: gone"]);
}

#[test]
fn a_process_that_is_moved_is_followed() {
    let tree = v2().file(format!("{SLICE}/memory.pressure"), "");
    let clock = Clock::manual(Duration::ZERO);
    let mut source = SystemSource::at(tree.path()).expect("readable").clock(clock.clone());
    let waiter = Waiter::new(source.events().expect("descriptors"));
    tree.write("proc/self/cgroup", "0::/system.slice\n");
    clock.advance(Duration::from_secs(10));
    source.read().expect("readable");
    assert_eq!(waiter.woken(), Woken::Look, "to look at the new place");
    tree.write(format!("{SLICE}/memory.events"), "high 1\nmax 0\n");
    assert_eq!(waiter.woken(), Woken::Look);
    waiter.stop();
}

#[test]
fn what_is_not_there_is_told_and_the_rest_is_waited_for() {
    // The fixtures of version 1 have no cgroup.event_control.
    let tree = FixtureTree::new().archive(include_str!("fixtures/v1.txtar"));
    let mut source = SystemSource::at(tree.path()).expect("readable");
    let events = source.events().expect("descriptors");
    source.watch(&[1_000_000, 2_000_000]);
    let waiter = Waiter::new(events);
    assert_eq!(waiter.woken(), Woken::Look, "after the attempt");
    let described = waiter.stop().1.describe();
    assert_eq!(described.active, [""; 0]);
    let missing = described.missing.join("; ");
    assert_eq!(described.missing.len(), 2, "{missing}");
    assert!(missing.starts_with("usage thresholds of cgroup v1: No such file"), "{missing}");
    assert!(missing.contains("memory pressure: No such file"), "{missing}");
}

#[test]
fn without_a_cgroup_the_stalls_of_the_machine_are_all_there_is() {
    let tree = FixtureTree::new()
        .archive(include_str!("fixtures/no-cgroup.txtar"))
        .file("proc/pressure/memory", "");
    let (_source, events) = events(&tree);
    assert_eq!(events.describe().active, ["memory pressure of the machine"]);
    assert_eq!(events.describe().missing, [""; 0]);
}

#[test]
fn the_real_file_of_stalls_takes_what_is_asked() {
    if std::fs::metadata("/proc/pressure/memory").is_err() {
        return eprintln!("SKIPPED: this kernel tells no memory pressure");
    }
    let tree = FixtureTree::new()
        .archive(include_str!("fixtures/no-cgroup.txtar"))
        .link("proc/pressure", "/proc/pressure");
    let (_source, events) = events(&tree);
    let described = events.describe();
    // Whether it may depends on who runs the test; either way it is told.
    assert_eq!(described.active.len() + described.missing.len(), 1, "{described:?}");
    let (looks, _) = Waiter::new(events).stop();
    assert!(looks <= 1, "nothing is ready for ever: {looks}");
}
