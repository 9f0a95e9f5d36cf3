use super::*;

fn ledger() -> &'static Ledger {
    Box::leak(Box::new(Ledger::new(Clock::manual(Duration::ZERO), None)))
}

fn verdict(low: u64, normal: u64, high: u64) -> Verdict {
    Verdict {
        caps: Caps { low, normal, high, alone: [low, normal, high] },
        level: PressureLevel::Warning,
        wake_at: u64::MAX,
        valid_until: Duration::from_secs(60),
        retry_after: Duration::from_secs(2),
    }
}

fn reserve(ledger: &'static Ledger, cost: u64, priority: Priority) -> Result<Reservation, Refusal> {
    ledger.reserve(cost, None, || Some(priority), false)
}

#[test]
fn a_priority_is_admitted_up_to_its_own_line() {
    let ledger = ledger();
    ledger.publish(&verdict(100, 200, 300));
    let _first = reserve(ledger, 100, Priority::Low).expect("fits low");
    assert!(reserve(ledger, 1, Priority::Low).is_err());
    let _second = reserve(ledger, 100, Priority::Normal).expect("fits normal");
    assert!(reserve(ledger, 1, Priority::Normal).is_err());
    let _third = reserve(ledger, 100, Priority::High).expect("fits high");
    assert!(reserve(ledger, 1, Priority::High).is_err());
    let _fourth = reserve(ledger, 1_000, Priority::Critical).expect("never shed");
    assert_eq!(ledger.reserved_bytes(), 1_300);
    assert_eq!((ledger.in_flight(), ledger.shed_total()), (4, 3));
}

#[test]
fn bytes_are_given_back_once_on_drop() {
    let ledger = ledger();
    ledger.publish(&verdict(100, 100, 100));
    let mut held = reserve(ledger, 60, Priority::Normal).expect("fits");
    held.note_buffered(40);
    assert_eq!((ledger.reserved_bytes(), ledger.buffered_bytes()), (60, 40));
    drop(held);
    assert_eq!((ledger.reserved_bytes(), ledger.buffered_bytes()), (0, 0));
    assert_eq!((ledger.given_back_bytes(), ledger.in_flight()), (60, 0));
}

#[test]
fn a_request_that_fits_nowhere_is_told_so() {
    let ledger = ledger();
    ledger.publish(&Verdict { level: PressureLevel::Healthy, ..verdict(100, 100, 100) });
    let refusal = reserve(ledger, 101, Priority::Normal).expect_err("too large");
    assert_eq!(refusal.reason, RefusalReason::NeverFits);
    let _held = reserve(ledger, 60, Priority::Normal).expect("fits");
    let refusal = reserve(ledger, 60, Priority::Normal).expect_err("no room now");
    assert_eq!(refusal.reason, RefusalReason::Pressure);
}

#[test]
fn a_process_that_is_full_while_idle_calls_no_request_too_large() {
    let ledger = ledger();
    // Started so: what would fit when healthy is not known.
    ledger.publish(&verdict(0, 0, 0));
    let reason = |cost| reserve(ledger, cost, Priority::Normal).expect_err("full").reason;
    assert_eq!(reason(1), RefusalReason::Pressure);
    ledger.publish(&Verdict { level: PressureLevel::Healthy, ..verdict(100, 100, 100) });
    ledger.publish(&verdict(0, 0, 0));
    assert_eq!(reason(100), RefusalReason::Pressure);
    assert_eq!(reason(101), RefusalReason::NeverFits);
}

#[test]
fn nobody_queues_while_critical_unless_nothing_is_refused() {
    let ledger = ledger();
    ledger.publish(&verdict(0, 0, 0));
    assert!(!ledger.refuses_to_queue(), "warning");
    ledger.publish(&Verdict { level: PressureLevel::Critical, ..verdict(0, 0, 0) });
    assert!(ledger.refuses_to_queue());
    ledger.set_enforcing(false);
    assert!(!ledger.refuses_to_queue(), "refusing was turned off");
    ledger.set_enforcing(true);
    ledger.clock.advance(Duration::from_secs(61));
    assert!(!ledger.refuses_to_queue(), "expired");
}

#[test]
fn what_costs_too_much_is_questioned() {
    let ledger = ledger();
    ledger.publish(&Verdict { wake_at: 1 << 50, ..verdict(1 << 50, 1 << 50, 1 << 50) });
    for cost in [LARGEST_COST_BYTES + 1, 1 << 51, u64::MAX] {
        assert!(ledger.reserve_unquestioned(Cost::new(cost), None).is_none(), "{cost}");
    }
    for cost in [1, MOST_CREDIT_BYTES, LARGEST_COST_BYTES] {
        assert!(ledger.reserve_unquestioned(Cost::new(cost), None).is_some(), "{cost}");
    }
    assert_eq!((ledger.reserved_bytes(), ledger.in_flight()), (0, 0));
}

#[test]
fn a_closed_ledger_refuses_even_what_costs_nothing() {
    let ledger = ledger();
    ledger.publish(&verdict(0, 0, 0));
    assert!(reserve(ledger, 0, Priority::Normal).is_err());
}

#[test]
fn what_is_never_shed_is_not_charged_when_it_does_not_fit() {
    let ledger = ledger();
    ledger.publish(&verdict(100, 100, 100));
    let held = ledger.reserve(u64::MAX, None, || None, false).expect("never shed");
    assert_eq!((held.bytes(), ledger.reserved_bytes(), ledger.shed_total()), (0, 0, 0));
}

#[test]
fn a_made_up_length_cannot_wrap_the_sum() {
    let ledger = ledger();
    ledger.publish(&verdict(100, 100, 100));
    let _a = reserve(ledger, u64::MAX, Priority::Critical).expect("never shed");
    let _b = reserve(ledger, u64::MAX, Priority::Critical).expect("never shed");
    assert_eq!(ledger.reserved_bytes(), 2 * LARGEST_COST_BYTES);
}

#[test]
fn a_verdict_that_nobody_renewed_refuses_nothing() {
    let ledger = ledger();
    ledger.publish(&verdict(0, 0, 0));
    ledger.clock.advance(Duration::from_secs(61));
    assert!(reserve(ledger, 10, Priority::Normal).is_ok());
    assert_eq!((ledger.expired_total(), ledger.shed_total()), (1, 0));
}

#[test]
fn observing_counts_what_it_would_have_shed() {
    let ledger = ledger();
    ledger.publish(&verdict(0, 0, 0));
    assert!(ledger.reserve(10, None, || Some(Priority::Normal), true).is_ok());
    assert_eq!((ledger.would_have_shed_total(), ledger.shed_total()), (1, 0));
}

#[test]
fn no_retry_second_is_told_to_twice_the_mean_of_clients() {
    let ledger = ledger();
    ledger.publish(&Verdict { retry_after: Duration::from_secs(5), ..verdict(0, 0, 0) });
    let mut seconds = [0_u32; 11];
    for _ in 0..1_000 {
        let refusal = reserve(ledger, 1, Priority::Normal).expect_err("closed");
        seconds[usize::try_from(refusal.retry_after.as_secs()).expect("small")] += 1;
    }
    let used: Vec<_> = seconds.iter().filter(|count| **count > 0).collect();
    assert_eq!(used.len(), 5);
    assert!(used.iter().all(|count| **count <= 400), "{seconds:?}");
}

#[test]
fn threads_that_reserve_and_drop_at_once_never_pass_the_line() {
    let ledger = ledger();
    ledger.publish(&verdict(1_000, 1_000, 1_000));
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            scope.spawn(move || {
                for turn in 0..20_000_u64 {
                    let held = reserve(ledger, 1 + (thread * 7 + turn) % 400, Priority::Low);
                    assert!(ledger.reserved_bytes() <= 1_000);
                    drop(held);
                }
            });
        }
    });
    assert_eq!((ledger.reserved_bytes(), ledger.in_flight()), (0, 0));
}

const GB: u64 = 1_000_000_000;

#[test]
fn far_from_a_line_the_shared_sum_is_not_touched_for_each_request() {
    let ledger = ledger();
    ledger.publish(&verdict(GB, GB, GB));
    drop(reserve(ledger, 10_000, Priority::Normal));
    let granted = ledger.account.granted();
    assert!(granted > 0, "a credit was granted");
    for _ in 0..1_000 {
        let held = reserve(ledger, 10_000, Priority::Normal).expect("far from any line");
        assert_eq!((ledger.account.granted(), ledger.reserved_bytes()), (granted, 10_000));
        drop(held);
    }
    assert_eq!((ledger.reserved_bytes(), ledger.admitted_total()), (0, 1_001));
}

#[test]
fn what_one_thread_promises_and_another_ends_is_counted_once() {
    let ledger = ledger();
    ledger.publish(&verdict(GB, GB, GB));
    let route = ledger.routes().find("/a");
    let held: Vec<_> = (0..300)
        .map(|_| ledger.reserve(20_000, Some(route), || None, false).expect("far from any line"))
        .collect();
    assert_eq!((ledger.reserved_bytes(), ledger.in_flight()), (300 * 20_000, 300));
    std::thread::spawn(move || drop(held)).join().expect("no panic");
    assert_eq!((ledger.reserved_bytes(), ledger.in_flight()), (0, 0));
    let figures = ledger.route_figures();
    let route = figures.iter().find(|route| route.name == "/a").expect("counted");
    assert_eq!((route.admitted, route.in_flight, route.reserved_bytes), (300, 0, 0));
}

#[test]
fn when_a_line_comes_near_a_thread_gives_its_credit_up_with_its_next_step() {
    let ledger = ledger();
    ledger.publish(&verdict(GB, GB, GB));
    let held = reserve(ledger, 10_000, Priority::Normal).expect("far from any line");
    assert!(ledger.account.granted() > 10_000);
    ledger.publish(&verdict(30_000, 30_000, 30_000));
    let more = reserve(ledger, 20_000, Priority::Normal).expect("exactly as much as is left");
    assert_eq!(ledger.account.granted(), 30_000);
    assert!(reserve(ledger, 1, Priority::Normal).is_err());
    drop((held, more));
    assert_eq!(ledger.account.granted(), 0, "and none is kept when a request ends");
}

#[test]
fn a_credit_that_is_too_large_by_new_terms_shrinks_with_the_next_request_and_does_not_grow() {
    let ledger = ledger();
    ledger.publish(&verdict(GB, GB, GB));
    let mut held = vec![reserve(ledger, 10_000, Priority::Normal).expect("far from any line")];
    let before = ledger.account.granted();
    // Room for a credit still, but for a smaller one than this thread has.
    let threads = threads_seen().max(1) as u64;
    let most = LEAST_CREDIT_BYTES + 1_000;
    let room = most * CREDIT_ROOM_SHARE * threads;
    let cap = before + room;
    ledger.publish(&verdict(cap, cap, cap));
    for turn in 1..=20_u64 {
        held.push(reserve(ledger, 1_000, Priority::Normal).expect("far from any line"));
        let promised = 10_000 + turn * 1_000;
        assert_eq!(ledger.reserved_bytes(), promised);
        let credit = ledger.account.granted() - promised;
        assert!(credit <= most, "{credit} bytes of credit after {turn}");
    }
    drop(held);
    assert_eq!(ledger.reserved_bytes(), 0);
}

#[test]
fn a_thread_is_not_refused_for_its_own_credit() {
    let ledger = ledger();
    ledger.publish(&verdict(GB, GB, GB));
    let held = reserve(ledger, 10_000, Priority::Normal).expect("far from any line");
    assert!(ledger.account.granted() > 10_000, "a credit that no reading has ended yet");
    let more = reserve(ledger, GB - 10_000, Priority::Normal).expect("exactly as much as is left");
    assert_eq!(ledger.account.granted(), GB);
    drop((held, more));
    assert_eq!(ledger.reserved_bytes(), 0);
}

#[test]
fn credit_shrinks_with_the_room_that_is_left() {
    assert_eq!(credit_for(u64::MAX), MOST_CREDIT_BYTES);
    assert_eq!(credit_for(0), 0);
    let threads = threads_seen().max(1) as u64;
    let least = LEAST_CREDIT_BYTES * CREDIT_ROOM_SHARE * threads;
    assert_eq!((credit_for(least - 1), credit_for(least)), (0, LEAST_CREDIT_BYTES));
}

#[test]
fn a_reservation_dropped_while_its_thread_ends_is_given_back() {
    thread_local! {
        static KEPT: std::cell::RefCell<Vec<Reservation>> = const { std::cell::RefCell::new(Vec::new()) };
    }
    let ledger = ledger();
    ledger.publish(&verdict(GB, GB, GB));
    // Joined, not scoped: a scope ends before the thread has torn down what is local to it.
    let thread = std::thread::spawn(move || {
        let held = reserve(ledger, 10_000, Priority::Normal).expect("far from any line");
        KEPT.with_borrow_mut(|kept| kept.push(held));
    });
    thread.join().expect("no panic");
    assert_eq!((ledger.reserved_bytes(), ledger.in_flight()), (0, 0));
}

#[test]
fn what_a_request_is_charged_while_it_runs_stays_under_its_line_and_is_given_back_once() {
    let ledger = ledger();
    ledger.publish(&Verdict { level: PressureLevel::Healthy, ..verdict(100, 200, 300) });
    let route = ledger.routes().find("/a");
    let held = ledger.reserve(100, Some(route), || Some(Priority::Normal), false).expect("fits");
    let more = Surcharge::new(ledger, Some(route));
    more.grow(60, 100, Some(Priority::Normal), false).expect("fits");
    let refusal = more.grow(41, 100, Some(Priority::Normal), false).expect_err("past the line");
    assert_eq!(refusal.reason, RefusalReason::NeverFits);
    more.grow(40, 100, Some(Priority::Normal), false).expect("exactly as much as is left");
    let refused = |priority| Surcharge::new(ledger, None).grow(1, 0, priority, false).is_err();
    assert!(refused(Some(Priority::Normal)) && !refused(Some(Priority::High)));
    let reserved = || {
        let figures = ledger.route_figures();
        let route = figures.iter().find(|route| route.name == "/a").expect("counted");
        (ledger.reserved_bytes(), route.reserved_bytes, route.in_flight, ledger.in_flight())
    };
    assert_eq!((reserved(), more.bytes()), ((200, 200, 1, 1), 100));
    drop(held);
    assert_eq!(reserved(), (100, 100, 0, 0), "each for itself, whichever ends first");
    drop(more);
    assert_eq!((reserved(), ledger.shed_total()), ((0, 0, 0, 0), 2));
}

#[test]
fn a_reservation_gives_back_what_it_has_absorbed() {
    let ledger = ledger();
    ledger.publish(&verdict(GB, GB, GB));
    let route = ledger.routes().find("/a");
    let mut held = ledger.reserve(100, Some(route), || None, false).expect("far from any line");
    let more = Surcharge::new(ledger, Some(route));
    more.grow(60, 100, None, false).expect("far from any line");
    held.absorb(more);
    assert_eq!((held.bytes(), ledger.reserved_bytes()), (160, 160));
    // Counted for no route, then for this one.
    let other = Surcharge::new(ledger, None);
    other.grow(5, 0, None, false).expect("far from any line");
    held.absorb(other);
    assert_eq!((held.bytes(), ledger.reserved_bytes()), (165, 165));
    assert_eq!(ledger.route_figures()[0].reserved_bytes, 165);
    drop(held);
    assert_eq!((ledger.reserved_bytes(), ledger.given_back_bytes()), (0, 165));
    assert_eq!(ledger.route_figures()[0].reserved_bytes, 0);
}

#[test]
fn a_request_that_grows_past_its_line_unhindered_is_counted_once() {
    let ledger = ledger();
    ledger.publish(&verdict(10, 10, 10));
    let observed = Surcharge::new(ledger, None);
    for _ in 0..3 {
        observed.grow(20, 0, Some(Priority::Normal), true).expect("observed only");
    }
    assert_eq!((ledger.reserved_bytes(), ledger.would_have_shed_total()), (60, 1));
    let exempt = Surcharge::new(ledger, None);
    exempt.grow(20, 0, None, false).expect("never shed");
    assert_eq!((exempt.bytes(), ledger.reserved_bytes()), (0, 60), "and not charged");
    exempt.grow_unasked(20);
    assert_eq!((ledger.reserved_bytes(), ledger.shed_total()), (80, 0));
    drop((observed, exempt));
    ledger.clock.advance(Duration::from_secs(61));
    let late = Surcharge::new(ledger, None);
    for _ in 0..3 {
        late.grow(20, 0, Some(Priority::Normal), false).expect("nobody has looked");
    }
    drop(late);
    assert_eq!((ledger.reserved_bytes(), ledger.expired_total()), (0, 1));
}

#[test]
fn threads_that_charge_as_they_go_never_pass_the_line() {
    let ledger = ledger();
    ledger.publish(&verdict(1_000, 1_000, 1_000));
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            scope.spawn(move || {
                for turn in 0..2_000_u64 {
                    let held = Surcharge::new(ledger, None);
                    for step in 0..8 {
                        let more = 1 + (thread * 7 + turn + step * 13) % 120;
                        let _ = held.grow(more, 0, Some(Priority::Low), false);
                        assert!(ledger.reserved_bytes() <= 1_000);
                    }
                }
            });
        }
    });
    assert_eq!((ledger.reserved_bytes(), ledger.in_flight()), (0, 0));
}

#[test]
fn what_outlives_the_request_that_charged_it_is_not_taken_for_its_body() {
    use crate::watchlist::WatchTerms;
    let ledger = ledger();
    let mut request = reserve(ledger, 60, Priority::Normal).expect("fits");
    request.begin_watch(None, WatchTerms::new(0, 60).cancel(Some(Priority::Low)));
    let surcharge = || Surcharge::new(ledger, None);
    let (body, kept) = (surcharge(), surcharge().apart());
    request.run(|| {
        body.grow_unasked(5);
        kept.grow_unasked(1_000);
    });
    assert_eq!(ledger.reserved_bytes(), 1_065, "all of it counts");
    assert_eq!(ledger.cancel_largest(), Some(65), "for the request only its own");
    drop((request, body));
    assert_eq!(ledger.reserved_bytes(), 1_000);
    drop(kept);
    assert_eq!(ledger.reserved_bytes(), 0);
}
