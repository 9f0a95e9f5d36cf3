use super::*;

fn ledger() -> &'static Ledger {
    Box::leak(Box::new(Ledger::new(Clock::manual(Duration::ZERO))))
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
fn what_costs_nothing_or_too_much_is_questioned() {
    let ledger = ledger();
    for cost in [0, LARGEST_COST_BYTES + 1, u64::MAX] {
        assert!(ledger.reserve_unquestioned(cost, None).is_none(), "{cost}");
    }
    for cost in [1, LARGEST_COST_BYTES] {
        assert!(ledger.reserve_unquestioned(cost, None).is_some(), "{cost}");
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
