use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug)]
enum Act {
    Allocate(usize),
    /// What this thread or another had allocated: the thread cannot tell.
    Free(usize),
    Enter,
    Leave,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (0_usize..5_000).prop_map(Act::Allocate),
        4 => (0_usize..5_000).prop_map(Act::Free),
        1 => Just(Act::Enter),
        1 => Just(Act::Leave),
    ];
    prop::collection::vec(act, 0..200)
}

/// Keeps every scope's figures by themselves, each step in each of them.
#[derive(Default)]
struct Naive {
    open: Vec<NaiveScope>,
}

#[derive(Default)]
struct NaiveScope {
    allocated: i128,
    freed: i128,
    peak: i128,
}

impl Naive {
    fn count(&mut self, allocated: usize, freed: usize) {
        for scope in &mut self.open {
            scope.allocated += allocated as i128;
            scope.freed += freed as i128;
            scope.peak = scope.peak.max(scope.allocated - scope.freed);
        }
    }

    fn leave(&mut self) -> Option<MeterUsage> {
        let scope = self.open.pop()?;
        let figure = |bytes: i128| u64::try_from(bytes).expect("not below zero");
        Some(MeterUsage {
            allocated_bytes: figure(scope.allocated),
            freed_bytes: figure(scope.freed),
            peak_bytes: figure(scope.peak),
        })
    }
}

proptest! {
    #[test]
    fn every_scope_tells_what_a_naive_count_of_it_tells(acts in acts()) {
        let (tally, mut naive, mut marks) = (Tally::new(), Naive::default(), Vec::new());
        for act in acts.into_iter().chain((0..200).map(|_| Act::Leave)) {
            match act {
                Act::Allocate(size) => {
                    tally.allocated(size);
                    naive.count(size, 0);
                }
                Act::Free(size) => {
                    tally.freed(size);
                    naive.count(0, size);
                }
                Act::Enter => {
                    marks.push(tally.enter());
                    naive.open.push(NaiveScope::default());
                }
                Act::Leave => {
                    let told = marks.pop().map(|mark| tally.leave(mark));
                    prop_assert_eq!(told, naive.leave());
                }
            }
            prop_assert!(tally.room.get() >= 0);
        }
    }
}

#[test]
fn a_thread_that_only_frees_holds_less_than_nothing_and_has_no_peak() {
    let tally = Tally::new();
    let mark = tally.enter();
    tally.freed(1_000);
    tally.allocated(400);
    let told = tally.leave(mark);
    assert_eq!((told.allocated_bytes, told.freed_bytes, told.peak_bytes), (400, 1_000, 0));
    // What it holds afterwards is measured from there, not from zero.
    let mark = tally.enter();
    tally.allocated(10);
    assert_eq!(tally.leave(mark).peak_bytes, 10);
}

#[test]
fn figures_go_on_past_the_largest_number() {
    let tally = Tally::new();
    tally.peak.set(i64::MAX - 50);
    tally.freed.set(i64::MAX - 50);
    let mark = tally.enter();
    tally.allocated(100);
    tally.freed(100);
    let told = tally.leave(mark);
    assert_eq!((told.allocated_bytes, told.freed_bytes), (100, 100));
}

#[test]
fn scopes_left_out_of_order_tell_wrong_figures_and_do_no_harm() {
    let tally = Tally::new();
    let outer = tally.enter();
    tally.allocated(100);
    let inner = tally.enter();
    tally.freed(300);
    tally.leave(outer);
    tally.leave(inner);
    let mark = tally.enter();
    tally.allocated(7);
    assert_eq!(tally.leave(mark).peak_bytes, 7);
}
