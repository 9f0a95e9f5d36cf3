//! The growth that a kernel event is worth asking for: to each line above, and to rungs below it.

use crate::thresholds::Watermarks;

/// How far below a line the sampler wants to be woken as well.
///
/// The kernel tells of a threshold after the fact: it looks each 128 page events of a CPU
/// (`mem_cgroup_threshold` in the kernel's `memcontrol-v1.c`), and the woken thread waits for its
/// turn, 2 to 3 ms where all CPUs are busy. Huge pages fill 10 GiB/s, 30 MiB in that time, while
/// the period was chosen for the slower growth seen before. The far rung pays for that: from there
/// on the sampler follows by itself.
const RUNGS: [u64; 3] = [FAR_RUNG_BYTES, 16 << 20, 0];
pub(crate) const FAR_RUNG_BYTES: u64 = 64 << 20;
const MOST: usize = 2 * RUNGS.len();

/// Bytes by which memory has to grow to reach each rung above, rising.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WatchedGrowth {
    bytes: [u64; MOST],
    len: usize,
}

impl WatchedGrowth {
    /// What lies above a decision figure of `usage` bytes.
    pub(crate) fn of(usage: u64, marks: Watermarks) -> Self {
        let mut watched = Self { bytes: [0; MOST], len: 0 };
        for line in [marks.warning_bytes(), marks.critical_bytes()] {
            for rung in RUNGS {
                if let Some(growth) = line.saturating_sub(rung).checked_sub(usage)
                    && growth > 0
                {
                    watched.bytes[watched.len] = growth;
                    watched.len += 1;
                }
            }
        }
        watched.bytes[..watched.len].sort_unstable();
        watched
    }

    pub(crate) fn bytes(&self) -> &[u64] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::thresholds::Thresholds;

    const MIB: u64 = 1 << 20;

    fn growth(usage: u64, warning: u64, critical: u64) -> Vec<u64> {
        let marks = Thresholds::new(warning, critical).and_then(|t| t.resolve(None));
        WatchedGrowth::of(usage, marks.expect("ordered")).bytes().to_vec()
    }

    #[test]
    fn every_rung_above_is_watched_in_rising_order() {
        assert_eq!(
            growth(100 * MIB, 200 * MIB, 300 * MIB),
            [36, 84, 100, 136, 184, 200].map(|mib| mib * MIB)
        );
        // The rungs of critical reach below warning in a small container.
        assert_eq!(
            growth(100 * MIB, 170 * MIB, 200 * MIB),
            [6, 36, 54, 70, 84, 100].map(|mib| mib * MIB)
        );
    }

    #[test]
    fn what_is_reached_is_not_watched_any_more() {
        assert_eq!(growth(200 * MIB, 200 * MIB, 300 * MIB), [36 * MIB, 84 * MIB, 100 * MIB]);
        assert_eq!(growth(300 * MIB, 200 * MIB, 300 * MIB), [0; 0]);
        assert_eq!(growth(0, 10, 20), [10, 20], "no rung below nothing");
    }
}
