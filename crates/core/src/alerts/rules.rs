//! The rules: which facts make which alert, and what is said about it.

use std::{fmt, fmt::Write, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    forecast::Forecast,
    level::PressureLevel,
    pruner::{CleanupLevel, CleanupTrigger},
    reading::MemoryMetric,
    record::CleanupRecord,
    thresholds::Watermarks,
    units::{quoted, whole_mb},
};

/// Automatic cleanups in a row that freed too little before [`AlertName::CleanupIneffective`].
const INEFFECTIVE_RUN: usize = 3;
/// "Too little": less than this share of what was there before, 1 in 20 (5 %).
const INEFFECTIVE_DIVISOR: u64 = 20;
/// Failed actions that a summary names.
const NAMED_FAILURES: usize = 3;
/// Requests are shed in bursts: this long without one before shedding counts as over.
const SHEDDING_QUIET: Duration = Duration::from_secs(5);
/// Connections end one by one: this long without a forced one before that counts as over.
const FORCED_QUIET: Duration = Duration::from_secs(60);

/// How bad an alert is. Ordered: info < warning < critical.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "the three words of every alert system")]
pub enum Severity {
    /// For the record.
    Info,
    /// To be looked at.
    Warning,
    /// To be looked at now.
    Critical,
}

impl Severity {
    /// The word on the wire: `info`, `warning` or `critical`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// The rules, by the name under which they alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum AlertName {
    /// The level is critical.
    MemoryCritical,
    /// The level is warning.
    MemoryWarning,
    /// Three automatic cleanups in a row freed less than 5 % while the level stayed at or above
    /// warning.
    CleanupIneffective,
    /// An action of the last cleanup failed.
    CleanupFailed,
    /// Requests are refused for lack of memory.
    SheddingActive,
    /// There is no fresh verdict: readings fail, or nobody takes them.
    SamplerStalled,
    /// A threshold lies so near the limit that it can fire too late.
    ThresholdAboveLimit,
    /// Live memory rises as a leak does, and will be critical by it.
    MemoryLeakSuspected,
    /// Connections had to be removed at their deadline.
    SocketCleanupForced,
    /// A database rule has rows to delete and has not succeeded for three intervals.
    RetentionStalled,
}

impl AlertName {
    /// Every rule. Critical stands before warning: the book needs it first.
    pub const ALL: [Self; 10] = [
        Self::MemoryCritical,
        Self::MemoryWarning,
        Self::CleanupIneffective,
        Self::CleanupFailed,
        Self::SheddingActive,
        Self::SamplerStalled,
        Self::ThresholdAboveLimit,
        Self::MemoryLeakSuspected,
        Self::SocketCleanupForced,
        Self::RetentionStalled,
    ];

    /// The name on the wire, such as `MemoryCritical`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MemoryCritical => "MemoryCritical",
            Self::MemoryWarning => "MemoryWarning",
            Self::CleanupIneffective => "CleanupIneffective",
            Self::CleanupFailed => "CleanupFailed",
            Self::SheddingActive => "SheddingActive",
            Self::SamplerStalled => "SamplerStalled",
            Self::ThresholdAboveLimit => "ThresholdAboveLimit",
            Self::MemoryLeakSuspected => "MemoryLeakSuspected",
            Self::SocketCleanupForced => "SocketCleanupForced",
            Self::RetentionStalled => "RetentionStalled",
        }
    }

    /// How bad an alert of this rule is.
    pub fn severity(self) -> Severity {
        match self {
            // Without readings nothing is shed: the process is on its own.
            Self::MemoryCritical | Self::SamplerStalled => Severity::Critical,
            Self::MemoryWarning
            | Self::CleanupIneffective
            | Self::CleanupFailed
            | Self::SheddingActive
            | Self::ThresholdAboveLimit
            | Self::SocketCleanupForced
            | Self::RetentionStalled
            | Self::MemoryLeakSuspected => Severity::Warning,
        }
    }

    /// Checks in a row that the condition must hold before the alert fires.
    pub(super) fn checks_to_fire(self) -> u32 {
        match self {
            Self::MemoryWarning => 2,
            _ => 1,
        }
    }

    /// How long the condition must have been clear before the alert resolves, beside the two
    /// checks that every rule asks for.
    pub(super) fn quiet_to_resolve(self) -> Duration {
        match self {
            Self::SheddingActive => SHEDDING_QUIET,
            Self::SocketCleanupForced => FORCED_QUIET,
            _ => Duration::ZERO,
        }
    }

    /// Whether the alert waits until the startup grace is over: caches fill while a server
    /// starts, and a warning about that helps nobody.
    pub(super) fn waits_for_startup(self) -> bool {
        self == Self::MemoryWarning
    }
}

impl fmt::Display for AlertName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for AlertName {
    type Err = UnknownAlertName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = Self::ALL.into_iter().find(|name| name.as_str() == text.trim());
        named.ok_or_else(|| UnknownAlertName { value: quoted(text) })
    }
}

/// A text that names no rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownAlertName {
    value: String,
}

impl fmt::Display for UnknownAlertName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown alert {}; accepted are ", self.value)?;
        for (position, name) in AlertName::ALL.into_iter().enumerate() {
            write!(f, "{}{name}", if position == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownAlertName {}

/// All that the rules look at, as of one check. The thresholds are those in force, never a
/// second set.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AlertFacts<'a> {
    /// The level in force; leaving one already takes the release band and the dwell.
    pub level: PressureLevel,
    /// What the decision figure is.
    pub metric: MemoryMetric,
    /// The decision figure, if there is one.
    pub figure_bytes: Option<u64>,
    /// Where the levels start.
    pub watermarks: Watermarks,
    /// The memory limit, if there is one.
    pub limit_bytes: Option<u64>,
    /// Bytes that the program holds from its allocator, if known: what no cleanup of freed
    /// pages can give back.
    pub live_bytes: Option<u64>,
    /// Whether an explicit threshold lies too near the limit.
    pub above_limit: bool,
    /// Whether the guard refuses work now.
    pub shedding: bool,
    /// Requests refused since the last check.
    pub shed: u64,
    /// Connections removed at their deadline since the last check.
    pub sockets_forced: u64,
    /// Age of the last good reading.
    pub reading_age: Duration,
    /// Whether the last good reading is too old to act on.
    pub stalled: bool,
    /// Where memory is going, once that is known.
    pub forecast: Option<Forecast>,
    /// The last cleanups, newest first; three are enough.
    pub cleanups: &'a [CleanupFact],
    /// The pruner that holds most, with its bytes, if known.
    pub largest_pruner: Option<(&'a str, u64)>,
    /// Database rules that are behind, each with the rows that wait, as far as they were counted.
    pub stalled_rules: &'a [(String, u64)],
}

impl AlertFacts<'_> {
    /// The facts of a quiet process; the other fields start as "nothing known, nothing wrong".
    pub fn new(level: PressureLevel, metric: MemoryMetric, watermarks: Watermarks) -> Self {
        Self {
            level,
            metric,
            figure_bytes: None,
            watermarks,
            limit_bytes: None,
            live_bytes: None,
            above_limit: false,
            shedding: false,
            shed: 0,
            sockets_forced: 0,
            reading_age: Duration::ZERO,
            stalled: false,
            forecast: None,
            cleanups: &[],
            largest_pruner: None,
            stalled_rules: &[],
        }
    }
}

/// What the rules need to know of a cleanup.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CleanupFact {
    /// The cleanup's id.
    pub id: String,
    /// How hard it tried.
    pub level: CleanupLevel,
    /// Whether it ran because of a threshold.
    pub automatic: bool,
    /// Bytes measured before and freed; `None` when no reading could be had.
    pub measured: Option<(u64, u64)>,
    /// Actions that ran or should have run.
    pub actions: usize,
    /// The names of those that failed.
    pub failed: Vec<String>,
    /// When it ended, on the sampler's clock.
    pub ended_at: Duration,
}

impl CleanupFact {
    /// Takes the facts from a cleanup's record; a dry run is none.
    pub fn of(record: &CleanupRecord, ended_at: Duration) -> Option<Self> {
        let failed = record.results.iter().filter(|result| result.outcome.is_failure());
        (!record.dry_run).then(|| Self {
            id: record.id.clone(),
            level: record.level,
            automatic: record.trigger == CleanupTrigger::Threshold,
            measured: record.before_bytes.zip(record.freed_memory),
            actions: record.results.len(),
            failed: failed.map(|result| result.name.clone()).collect(),
            ended_at,
        })
    }

    fn freed_too_little(&self) -> bool {
        self.measured.is_some_and(|(before, freed)| freed < before / INEFFECTIVE_DIVISOR)
    }
}

/// Whether a rule's condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict<'a> {
    /// It does; the cleanup that it is about, if any.
    Holds(Option<&'a str>),
    /// It does not.
    Clear,
    /// That cannot be told now: what is, stays.
    Unknown,
}

/// What the book remembers for the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Memory {
    /// Since when the level is at or above warning.
    pub(super) elevated_since: Option<Duration>,
    /// Whether the rule's alert is pending or firing.
    pub(super) active: bool,
}

pub(super) fn judge<'a>(name: AlertName, facts: &AlertFacts<'a>, memory: Memory) -> Verdict<'a> {
    let holds = |condition: bool, cleanup: Option<&'a CleanupFact>| match condition {
        true => Verdict::Holds(cleanup.map(|cleanup| cleanup.id.as_str())),
        false => Verdict::Clear,
    };
    match name {
        // Without a fresh reading the level is only the last one known.
        AlertName::MemoryCritical
        | AlertName::MemoryWarning
        | AlertName::CleanupIneffective
        | AlertName::MemoryLeakSuspected
            if facts.stalled =>
        {
            Verdict::Unknown
        }
        AlertName::MemoryCritical => {
            holds(facts.level == PressureLevel::Critical, recent(facts, memory).next())
        }
        // One condition, one alert: at critical a warning goes on, but none begins.
        AlertName::MemoryWarning => holds(
            facts.level == PressureLevel::Warning
                || facts.level == PressureLevel::Critical && memory.active,
            recent(facts, memory).next(),
        ),
        AlertName::CleanupIneffective => {
            let mut automatic = recent(facts, memory).filter(|cleanup| cleanup.automatic);
            let newest = automatic.next();
            let run = newest
                .into_iter()
                .chain(automatic)
                .take(INEFFECTIVE_RUN)
                .take_while(|cleanup| cleanup.freed_too_little());
            holds(run.count() == INEFFECTIVE_RUN, newest)
        }
        AlertName::CleanupFailed => {
            let last = facts.cleanups.first();
            holds(last.is_some_and(|cleanup| !cleanup.failed.is_empty()), last)
        }
        AlertName::SheddingActive => holds(facts.shedding || facts.shed > 0, None),
        AlertName::SamplerStalled => holds(facts.stalled, None),
        AlertName::ThresholdAboveLimit => holds(facts.above_limit, None),
        AlertName::MemoryLeakSuspected => {
            holds(facts.forecast.is_some_and(|forecast| forecast.leak_suspected), None)
        }
        AlertName::SocketCleanupForced => holds(facts.sockets_forced > 0, None),
        AlertName::RetentionStalled => holds(!facts.stalled_rules.is_empty(), None),
    }
}

/// Cleanups since the level rose; earlier ones say nothing about this rise.
fn recent<'a>(
    facts: &AlertFacts<'a>,
    memory: Memory,
) -> impl Iterator<Item = &'a CleanupFact> + use<'a> {
    let from = memory.elevated_since.unwrap_or(Duration::MAX);
    facts.cleanups.iter().filter(move |cleanup| cleanup.ended_at >= from)
}

/// One line that says what is wrong and what to do. `shed` counts since the alert began.
pub(super) fn summary(
    name: AlertName,
    facts: &AlertFacts<'_>,
    memory: Memory,
    shed: u64,
) -> String {
    let marks = facts.watermarks;
    let (warning, critical) = (Mb(marks.warning_bytes()), Mb(marks.critical_bytes()));
    match name {
        AlertName::MemoryCritical => {
            let side = side(facts, marks.critical_bytes());
            format!("{} {side} critical {critical}{}", Figure(facts), circumstances(facts, memory))
        }
        AlertName::MemoryWarning => format!(
            "{} {} warning {warning}, critical at {critical}{}",
            Figure(facts),
            side(facts, marks.warning_bytes()),
            circumstances(facts, memory)
        ),
        AlertName::CleanupIneffective => {
            let mut text = format!(
                "the last {INEFFECTIVE_RUN} automatic cleanups freed less than {} % each, {} now: \
                 likely live data, not garbage",
                100 / INEFFECTIVE_DIVISOR,
                Figure(facts),
            );
            if let Some((pruner, bytes)) = facts.largest_pruner {
                // Writing into a string cannot fail.
                let _ = write!(text, "; {pruner} holds most ({})", Mb(bytes));
            }
            text.push_str("; raise the thresholds, or look at the routes and sockets that hold it");
            text
        }
        AlertName::CleanupFailed => match facts.cleanups.first() {
            Some(cleanup) => failures(cleanup),
            None => "an action of the last cleanup failed".to_owned(),
        },
        AlertName::SheddingActive => {
            let requests = if shed == 1 { "request" } else { "requests" };
            format!("{shed} {requests} refused since this began, {}{}", Figure(facts), limit(facts))
        }
        AlertName::SamplerStalled => format!(
            "no usable memory reading for {} s: nothing is shed or cleaned up until readings \
             return; look for the source's error in the log",
            facts.reading_age.as_secs(),
        ),
        AlertName::ThresholdAboveLimit => format!(
            "warning {warning} or critical {critical} is at or above 95 % of the memory limit{}, \
             so the kernel may kill the process first; set MEMORY_WARNING_THRESHOLD and \
             MEMORY_CRITICAL_THRESHOLD lower, such as 70% and 85%",
            facts.limit_bytes.map(|limit| format!(" of {}", Mb(limit))).unwrap_or_default(),
        ),
        AlertName::MemoryLeakSuspected => leak(facts),
        AlertName::SocketCleanupForced => "connections had to be removed at their deadline: what \
            they own does not end by itself; the log names the tasks and where they were spawned"
            .to_owned(),
        AlertName::RetentionStalled => format!(
            "no success for three intervals: {}; see the last run of each in the report's \
             retention",
            stalled(facts.stalled_rules),
        ),
    }
}

/// What is said once it is over.
pub(super) fn resolved_summary(
    name: AlertName,
    facts: &AlertFacts<'_>,
    lasted: Duration,
) -> String {
    let marks = facts.watermarks;
    let lasted = lasted.as_secs();
    match name {
        AlertName::MemoryCritical => format!(
            "{}, back below critical {} after {lasted} s",
            Figure(facts),
            Mb(marks.critical_bytes()),
        ),
        AlertName::MemoryWarning => format!(
            "{}, back below warning {} after {lasted} s",
            Figure(facts),
            Mb(marks.warning_bytes()),
        ),
        AlertName::SamplerStalled => format!("memory readings are back after {lasted} s"),
        AlertName::SheddingActive => format!("no request refused any more, after {lasted} s"),
        AlertName::MemoryLeakSuspected => {
            format!("live memory rises no more, {} after {lasted} s", Figure(facts))
        }
        AlertName::CleanupIneffective
        | AlertName::CleanupFailed
        | AlertName::ThresholdAboveLimit
        | AlertName::SocketCleanupForced
        | AlertName::RetentionStalled => format!("over after {lasted} s"),
    }
}

fn leak(facts: &AlertFacts<'_>) -> String {
    let mut text = format!("live memory rises as a leak does, {}", Figure(facts));
    if let Some(forecast) = facts.forecast {
        // Writing into a string cannot fail.
        let _ = write!(
            text,
            ", by {} kB a second",
            (forecast.slope_bytes_per_second / 1_000.0).round()
        );
        let _ = match forecast.critical_in_seconds {
            Some(0) => write!(text, ", critical now"),
            Some(seconds) => write!(text, ": critical in {} at this rate", About(seconds)),
            None => Ok(()),
        };
    }
    if let Some((pruner, bytes)) = facts.largest_pruner {
        let _ = write!(text, "; {pruner} holds most ({})", Mb(bytes));
    }
    text.push_str("; look at the routes, sockets and pruners that hold more than an hour ago");
    text
}

/// `about 40 min`: no more exact than a forecast is.
struct About(u64);

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.div_ceil(60) {
            minutes @ 0..=90 => write!(f, "about {minutes} min"),
            minutes => write!(f, "about {} h", (minutes + 30) / 60),
        }
    }
}

fn circumstances(facts: &AlertFacts<'_>, memory: Memory) -> String {
    let mut text = limit(facts);
    // Writing into a string cannot fail.
    if let Some(live) = facts.live_bytes {
        let _ = write!(text, ", live {}", Mb(live));
    }
    if let Some(cleanup) = recent(facts, memory).next() {
        let _ = match cleanup.measured {
            Some((_, freed)) => write!(text, "; {} cleanup freed {}", cleanup.level, Mb(freed)),
            None => write!(text, "; {} cleanup freed n/a", cleanup.level),
        };
    }
    // At the edge nothing was refused yet, which says nothing of what comes.
    if facts.shedding {
        text.push_str("; shedding on");
    }
    text
}

fn limit(facts: &AlertFacts<'_>) -> String {
    facts.limit_bytes.map(|limit| format!(" (limit {})", Mb(limit))).unwrap_or_default()
}

/// `empty_threads (118 rows wait)`, the first few.
fn stalled(rules: &[(String, u64)]) -> String {
    let named = rules.iter().take(NAMED_FAILURES).map(|(rule, rows)| match rows {
        0 => rule.clone(),
        rows => format!("{rule} ({rows} rows wait)"),
    });
    let more = if rules.len() > NAMED_FAILURES { ", ..." } else { "" };
    named.collect::<Vec<_>>().join(", ") + more
}

fn failures(cleanup: &CleanupFact) -> String {
    let CleanupFact { id, actions, failed, .. } = cleanup;
    let named = failed.iter().take(NAMED_FAILURES).map(String::as_str).collect::<Vec<_>>();
    let more = if failed.len() > NAMED_FAILURES { ", ..." } else { "" };
    format!(
        "{} of {actions} actions of cleanup {id} failed: {}{more}; see its results for the reasons",
        failed.len(),
        named.join(", "),
    )
}

/// The decision figure with its name: `workingSet 3100MB`.
/// How the figure stands to a threshold: an alert fires on until it is clearly below.
fn side(facts: &AlertFacts<'_>, threshold: u64) -> &'static str {
    match facts.figure_bytes {
        Some(bytes) if bytes < threshold => "just under",
        _ => "≥",
    }
}

struct Figure<'a, 'b>(&'a AlertFacts<'b>);

impl fmt::Display for Figure<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.figure_bytes {
            Some(bytes) => write!(f, "{} {}", self.0.metric, Mb(bytes)),
            None => write!(f, "{} n/a", self.0.metric),
        }
    }
}

struct Mb(u64);

impl fmt::Display for Mb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}MB", whole_mb(self.0))
    }
}
