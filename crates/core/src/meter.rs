//! How a program tells what one stretch of a thread's work allocates.

/// Tells what the current thread allocates between two moments.
///
/// An allocator that counts per thread can know this; what another thread allocates meanwhile is
/// not part of it. Both calls are made for each poll of a request, so they take no lock and
/// allocate nothing.
pub trait AllocationMeter: Send + Sync + 'static {
    /// Begins a scope on this thread and returns what [`AllocationMeter::leave`] needs.
    ///
    /// Scopes nest. Each is left on the thread that entered it, in reverse order; the figures of
    /// one that is not are wrong, and nothing worse.
    fn enter(&self) -> MeterMark;

    /// Ends the scope and tells what it did, the scopes inside it included.
    fn leave(&self, mark: MeterMark) -> MeterUsage;
}

/// What a meter noted when a scope began; only the meter that made it understands it.
///
/// Plain numbers: it can stand in a future without a word of cleanup, and it is `Copy`.
#[derive(Clone, Copy, Debug, Default)]
pub struct MeterMark {
    live_bytes: i64,
    freed_bytes: u64,
    peak_bytes: i64,
}

impl MeterMark {
    /// Keeps three counters of the thread: what it holds (below zero when it has freed what others
    /// allocated), all that it has freed, and the highest that it held in the scope outside this one.
    pub fn new(live_bytes: i64, freed_bytes: u64, peak_bytes: i64) -> Self {
        Self { live_bytes, freed_bytes, peak_bytes }
    }

    /// What the thread held at the beginning.
    pub fn live_bytes(self) -> i64 {
        self.live_bytes
    }

    /// What the thread had freed until then.
    pub fn freed_bytes(self) -> u64 {
        self.freed_bytes
    }

    /// The highest that the scope outside had seen.
    pub fn peak_bytes(self) -> i64 {
        self.peak_bytes
    }
}

/// What a scope allocated, in bytes that the program asked for; an allocator rounds them up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MeterUsage {
    /// All that was allocated.
    pub allocated_bytes: u64,
    /// All that was freed, whoever had allocated it.
    pub freed_bytes: u64,
    /// The highest that was held at once, above what was held when the scope began.
    pub peak_bytes: u64,
}
