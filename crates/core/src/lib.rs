//! The decisions of Plimsoll, without I/O: pressure levels, reservations, cleanup and alerts.
//!
//! ```text
//! source -> reading -> state machine -> published level -> { guard, cleanup, alerts, report }
//! ```
//!
//! **What it protects:** a process from being killed for its memory. A sampler thread reads a
//! [`MemorySource`] as often as the room left demands, decides the [`PressureLevel`], publishes
//! load lines that an [`Admission`] checks with one load, runs the pruners of a
//! [`CleanupRegistry`] and has freed pages given back to the system.
//!
//! **What it cannot see:** memory that grows outside any request between two readings, and what
//! other processes do outside this one's container.
//!
//! Most programs use the `plimsoll` crate, which adds the readings of the system and the layers.
//!
//! ```
//! use plimsoll_core::{MemoryReading, MemorySource, Plimsoll, PressureLevel, SourceError};
//!
//! struct Fixed(u64);
//!
//! impl MemorySource for Fixed {
//!     fn read(&mut self) -> Result<MemoryReading, SourceError> {
//!         let mut reading = MemoryReading::default();
//!         reading.rss_bytes = Some(self.0);
//!         Ok(reading)
//!     }
//!
//!     fn describe(&self) -> String {
//!         "always the same".to_owned()
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), plimsoll_core::StartError> {
//! let plimsoll = Plimsoll::builder().start_with(Fixed(2_500_000_000))?;
//! assert_eq!(plimsoll.level(), PressureLevel::Warning);
//! plimsoll.shutdown().await;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod admission;
pub mod alerts;
mod builder;
mod cancel;
mod clock;
mod engine;
pub mod env;
mod errors;
mod evaluate;
mod events;
mod forecast;
mod growth;
mod history;
mod kernel_events;
mod latency;
mod ledger;
mod level;
mod lines;
mod machine;
pub mod meter;
mod period;
mod plimsoll;
mod pruner;
mod reading;
mod record;
mod registry;
mod release;
mod released;
mod report;
mod retention;
mod ring;
mod routes;
mod sampler;
mod shared;
mod sockets;
mod source;
mod telemetry;
mod thresholds;
mod units;
mod watchlist;
mod worker;

pub use self::{
    admission::Admission,
    alerts::{AlertNotification, AlertSink},
    builder::{PlimsollBuilder, StartError},
    clock::Clock,
    engine::{CleanupError, CleanupTicket, DEFAULT_PRUNER_DEADLINE},
    errors::{ErrorEntry, ErrorLog},
    events::{Event, EventKind, Heard, Listener},
    forecast::{Forecast, LeakForecast},
    history::Sample,
    latency::{LatencyWindows, RouteLatency},
    ledger::{Cost, Refusal, RefusalReason, Reservation, Surcharge},
    level::PressureLevel,
    lines::Priority,
    machine::{DEFAULT_DWELL, LevelEdge, PressureMachine, RELEASE_BAND_RATIO, release_line},
    meter::{AllocationMeter, MeterMark, MeterUsage},
    period::{
        ASSUMED_FILL_RATE, FillRate, LONGEST_PERIOD_UNDER_PRESSURE, PeriodInput,
        SHORTEST_BURST_PERIOD, SHORTEST_PERIOD, headroom_bytes, next_period, watched_period,
    },
    plimsoll::{Plimsoll, Telemetry, rfc3339},
    pruner::{CleanupLevel, CleanupTrigger, Holding, PruneError, PruneRequest, Pruned, Pruner},
    reading::{HeapFigures, MemoryMetric, MemoryReading, UnknownMetric},
    record::{ActionOutcome, ActionResult, CleanupRecord},
    registry::{CleanupRegistry, PrunerFigures, Registration},
    release::RELEASE_ACTION,
    released::{ReleaseError, Released},
    report::{
        BackendFigures, Cooldown, CurrentMb, EventFigures, GuardFigures, GuardMode, MonitorFigures,
        ReadingError, ReleaseFigures, Report, ReportBytes, ReportThresholds, ThresholdBytes,
        ThresholdChange,
    },
    retention::{
        RetentionAttached, RetentionOutcome, RetentionReport, RetentionRuleFigures, RetentionRun,
        RetentionRunner,
    },
    ring::{BoundedRing, Keep, RingPolicy},
    routes::{MOST_ROUTES, OTHER_ROUTE, Route, RouteFigures, RouteMemory, UNMATCHED_ROUTE},
    sockets::{
        SocketEvent, SocketFigures, SocketSource, SocketState, SocketTransports, SocketsReport,
    },
    source::{
        GrowthWatch, HeapSource, KernelEvents, MemorySource, ReleaseBackend, SourceError, Woken,
    },
    thresholds::{
        ABOVE_LIMIT_RATIO, DEFAULT_CRITICAL_BYTES, DEFAULT_CRITICAL_RATIO, DEFAULT_WARNING_BYTES,
        DEFAULT_WARNING_RATIO, Threshold, ThresholdError, ThresholdOrigin, Thresholds, Watermarks,
    },
    units::{DurationError, MB, SizeError, allocation_bytes, parse_millis, parse_size, whole_mb},
    watchlist::{Attribute, Attributed, WatchTerms, attributed_fn},
};
