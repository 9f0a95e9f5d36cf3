//! Finds what leaks by doing it again and again.

use std::fmt;

/// Fewer cycles than this tell nothing: a quarter must hold several samples.
const LEAST_CYCLES: usize = 8;

/// Runs `work` `cycles` times and panics if the resident set of this process climbs.
///
/// The lowest figure of the last quarter is held against the highest of the first, so that warming
/// up, a single peak and a falling figure are all fine. A leak shows once it adds more than
/// `tolerance_bytes` within half the cycles. Allocators keep freed memory, so allow some MB here, or
/// hold a figure of your own against [`assert_no_growth_of`].
///
/// ```
/// use plimsoll_testkit::assert_no_growth;
///
/// assert_no_growth(200, 4_000_000, || drop(vec![1_u8; 100_000]));
/// ```
///
/// # Panics
/// When the figure climbs by more than `tolerance_bytes`, with the figures; when `cycles` is below 8;
/// and when the resident set cannot be read.
#[track_caller]
pub fn assert_no_growth(cycles: usize, tolerance_bytes: u64, mut work: impl FnMut()) {
    assert_no_growth_of(rss_bytes, cycles, tolerance_bytes, &mut work);
}

/// Like [`assert_no_growth`], of any figure in bytes: a cache's size, an allocator's, a file's.
///
/// ```
/// use std::cell::RefCell;
/// use plimsoll_testkit::assert_no_growth_of;
///
/// let ring = RefCell::new(Vec::new());
/// let held = || ring.borrow().len() as u64;
/// assert_no_growth_of(held, 100, 0, || {
///     let mut ring = ring.borrow_mut();
///     ring.push(1);
///     ring.truncate(10);
/// });
/// ```
///
/// # Panics
/// When the figure climbs by more than `tolerance_bytes`, with the figures; when `cycles` is below 8.
#[track_caller]
pub fn assert_no_growth_of(
    mut probe: impl FnMut() -> u64,
    cycles: usize,
    tolerance_bytes: u64,
    mut work: impl FnMut(),
) {
    let mut samples = Samples::of(cycles);
    for _ in 0..cycles {
        work();
        samples.push(probe());
    }
    samples.check(tolerance_bytes);
}

/// Like [`assert_no_growth`], awaiting each cycle before the next.
///
/// ```
/// use plimsoll_testkit::assert_no_growth_async;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// assert_no_growth_async(50, 4_000_000, async || tokio::task::yield_now().await).await;
/// # }
/// ```
///
/// # Panics
/// As [`assert_no_growth`] does.
pub async fn assert_no_growth_async(cycles: usize, tolerance_bytes: u64, work: impl AsyncFnMut()) {
    assert_no_growth_of_async(rss_bytes, cycles, tolerance_bytes, work).await;
}

/// Like [`assert_no_growth_of`], awaiting each cycle before the next: of a server in another
/// process, for instance, that each cycle sends requests to.
///
/// ```
/// use plimsoll_testkit::assert_no_growth_of_async;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// assert_no_growth_of_async(|| 1_000, 50, 0, async || tokio::task::yield_now().await).await;
/// # }
/// ```
///
/// # Panics
/// As [`assert_no_growth_of`] does.
pub async fn assert_no_growth_of_async(
    mut probe: impl FnMut() -> u64,
    cycles: usize,
    tolerance_bytes: u64,
    mut work: impl AsyncFnMut(),
) {
    let mut samples = Samples::of(cycles);
    for _ in 0..cycles {
        work().await;
        samples.push(probe());
    }
    samples.check(tolerance_bytes);
}

#[derive(Debug)]
struct Samples(Vec<u64>);

impl Samples {
    #[track_caller]
    fn of(cycles: usize) -> Self {
        assert!(
            cycles >= LEAST_CYCLES,
            "{cycles} cycles tell nothing; take {LEAST_CYCLES} or more"
        );
        // Whole from the start: it must not grow while it measures growth.
        Self(Vec::with_capacity(cycles))
    }

    fn push(&mut self, bytes: u64) {
        self.0.push(bytes);
    }

    #[track_caller]
    fn check(&self, tolerance_bytes: u64) {
        let growth = Growth::of(&self.0);
        assert!(growth.bytes() <= tolerance_bytes, "{growth}, tolerated are {tolerance_bytes}");
    }
}

struct Growth {
    before: u64,
    after: u64,
    cycles: usize,
}

impl Growth {
    fn of(samples: &[u64]) -> Self {
        let quarter = samples.len() / 4;
        let before = samples[..quarter].iter().max();
        let after = samples[samples.len() - quarter..].iter().min();
        Self {
            before: before.copied().unwrap_or_default(),
            after: after.copied().unwrap_or_default(),
            cycles: samples.len(),
        }
    }

    fn bytes(&self) -> u64 {
        self.after.saturating_sub(self.before)
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { before, after, cycles } = self;
        write!(
            f,
            "memory grew by {} bytes over {cycles} cycles: at most {before} in the first quarter, \
             at least {after} in the last",
            self.bytes()
        )
    }
}

/// The resident set of this process. `status` rather than `statm`: it needs no page size.
#[cfg(target_os = "linux")]
#[track_caller]
fn rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc/self/status is there");
    let kib: Option<u64> = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
    kib.expect("/proc/self/status tells VmRSS in kB") * 1024
}

#[cfg(not(target_os = "linux"))]
#[track_caller]
fn rss_bytes() -> u64 {
    let stats = memory_stats::memory_stats().expect("this system tells the resident set");
    u64::try_from(stats.physical_mem).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    fn grows(figures: impl IntoIterator<Item = u64>, tolerance_bytes: u64) -> Option<String> {
        let figures: Vec<u64> = figures.into_iter().collect();
        let cycles = figures.len();
        let mut next = figures.into_iter();
        let run = move || {
            assert_no_growth_of(
                || next.next().expect("one for each cycle"),
                cycles,
                tolerance_bytes,
                || (),
            )
        };
        let panic = catch_unwind(std::panic::AssertUnwindSafe(run)).err()?;
        Some(*panic.downcast::<String>().expect("a panic with its text"))
    }

    #[test]
    fn a_steady_climb_is_told_with_its_figures() {
        let text = grows((0..100).map(|cycle| 1_000 + cycle * 10), 500).expect("grows");
        assert_eq!(
            text,
            "memory grew by 510 bytes over 100 cycles: at most 1240 in the first quarter, \
             at least 1750 in the last, tolerated are 500"
        );
        assert_eq!(grows((0..100).map(|cycle| 1_000 + cycle * 10), 510), None);
    }

    #[test]
    fn warming_up_a_peak_and_a_fall_are_no_growth() {
        assert_eq!(grows((0..100).map(|cycle| cycle.min(20)), 0), None);
        assert_eq!(grows((0..100).map(|cycle| if cycle == 90 { 1_000 } else { 1 }), 0), None);
        assert_eq!(grows((0..100).rev(), 0), None);
    }

    #[test]
    fn too_few_cycles_are_refused() {
        assert!(grows([1, 1, 1], 0).expect("refused").contains("3 cycles tell nothing"));
    }

    #[test]
    fn each_cycle_runs_once() {
        let mut runs = 0;
        assert_no_growth(8, u64::MAX, || runs += 1);
        assert_eq!(runs, 8);
    }

    #[test]
    fn a_real_leak_is_found() {
        let mut leaked: Vec<Vec<u8>> = Vec::new();
        let leak = || {
            assert_no_growth(100, 16_000_000, || {
                leaked.push(std::hint::black_box(vec![1; 1_000_000]));
            })
        };
        assert!(catch_unwind(std::panic::AssertUnwindSafe(leak)).is_err());
    }

    #[tokio::test]
    async fn the_async_form_awaits_each_cycle() {
        let mut runs = 0;
        assert_no_growth_async(8, u64::MAX, async || {
            tokio::task::yield_now().await;
            runs += 1;
        })
        .await;
        assert_eq!(runs, 8);
    }
}
