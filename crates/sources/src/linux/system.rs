//! The process: its resident set, and the cgroup that it is in at the moment.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use plimsoll_core::{
    Clock, GrowthWatch, KernelEvents, MemoryReading, MemorySource, SourceError, whole_mb,
};

use crate::linux::{
    cache::Seen,
    cgroup::MemoryCgroup,
    events::{Armed, SystemEvents, Wanted},
    kept::{KeptFile, ReadError},
    membership::{self, MembershipError, Version},
    parse,
    told::{Figure, Told},
};

/// How long a changed limit can go unseen. Reading the limits again costs about 1 µs for each
/// ancestor.
const LIMITS_EVERY: Duration = Duration::from_secs(1);
/// How long a move to another cgroup can go unseen; rare, and one more file to read.
const MEMBERSHIP_EVERY: Duration = Duration::from_secs(10);
/// Room for `/proc/self/cgroup`: a dozen hierarchies with long paths.
const MEMBERSHIP_BUFFER: usize = 8192;
/// Room for the first lines of `/proc/meminfo`, and for `statm`.
const LINE_BUFFER: usize = 256;

/// Reads this process and its memory cgroup; see the [crate docs](crate) for an example.
///
/// A reading is two system calls (resident set, usage), 2 to 3 µs, and allocates nothing. A third,
/// for the file cache, joins them when what was read of it last may mislead by more than 1 MiB, and
/// at the latest after 20 ms. Once a second the limits are read again, every ten seconds the
/// membership.
///
/// [`MemorySource::events`] waits for what the kernel tells by itself: thresholds of usage on version
/// 1, `memory.events` on version 2, and memory pressure (PSI) of the cgroup or of the machine. What
/// is not there or not allowed is logged once and told in the report; readings do without.
///
/// A figure whose file is missing or broken is `None`, and a warning says so once for each figure;
/// the others still count. A limit above the machine's memory is none, and so is a limit of 0.
#[derive(Debug)]
pub struct SystemSource {
    root: PathBuf,
    clock: Clock,
    page_bytes: u64,
    statm: KeptFile,
    membership: KeptFile,
    /// The text of the membership that `cgroup` was found by.
    membership_text: Vec<u8>,
    membership_due: Duration,
    limits_due: Duration,
    machine: KeptFile,
    machine_bytes: Option<u64>,
    cgroup: Option<MemoryCgroup>,
    /// The cgroup was not found or failed to read: look again although the membership is the same.
    cgroup_lost: bool,
    rss_seen: bool,
    /// As read last, for what is watched.
    usage_bytes: Option<u64>,
    /// There once somebody waits for events.
    wanted: Option<Arc<Wanted>>,
    armed: Armed,
    told: Told,
}

impl SystemSource {
    /// Finds what this process can read on this machine, and reads it once.
    ///
    /// # Errors
    /// When neither the resident set nor the usage of a memory cgroup can be read.
    pub fn detect() -> Result<Self, SourceError> {
        Self::at("/")
    }

    /// Like [`SystemSource::detect`], in a tree that holds `proc/self/statm`, `proc/self/cgroup`,
    /// `proc/self/mountinfo`, `proc/meminfo` and the mounted cgroup files below `root`.
    ///
    /// For tests, and for a tool that looks into another root.
    ///
    /// # Errors
    /// When neither the resident set nor the usage of a memory cgroup can be read.
    pub fn at(root: impl AsRef<Path>) -> Result<Self, SourceError> {
        let root = root.as_ref().to_path_buf();
        let mut source = Self {
            clock: Clock::system(),
            page_bytes: procfs::page_size(),
            statm: KeptFile::new(root.join("proc/self/statm")),
            membership: KeptFile::new(root.join("proc/self/cgroup")),
            membership_text: Vec::new(),
            membership_due: Duration::ZERO,
            limits_due: Duration::ZERO,
            machine: KeptFile::new(root.join("proc/meminfo")),
            machine_bytes: None,
            cgroup: None,
            cgroup_lost: true,
            rss_seen: false,
            usage_bytes: None,
            wanted: None,
            armed: Armed::default(),
            told: Told::default(),
            root,
        };
        source.read()?;
        Ok(source)
    }

    /// Follows `clock` instead of the system's for when to look at limits and membership again.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        let now = clock.now();
        self.limits_due = now + LIMITS_EVERY;
        self.membership_due = now + MEMBERSHIP_EVERY;
        // What was read by the other clock has no age on this one.
        if let Some(cgroup) = &mut self.cgroup {
            cgroup.forget_cache();
        }
        self.clock = clock;
        self
    }

    fn refresh(&mut self, now: Duration) {
        if now >= self.membership_due {
            self.membership_due = now + MEMBERSHIP_EVERY;
            self.limits_due = now;
            self.refresh_membership();
        }
        if now >= self.limits_due {
            self.limits_due = now + LIMITS_EVERY;
            self.refresh_limits();
        }
    }

    fn refresh_membership(&mut self) {
        let known = &self.membership_text;
        let moved = self
            .membership
            .read(&mut [0; MEMBERSHIP_BUFFER], |text| Ok((text != known).then(|| text.to_vec())));
        match moved {
            Ok(Some(text)) => self.membership_text = text,
            Ok(None) if self.cgroup_lost => {}
            Ok(None) => return,
            Err(error) => {
                // No news of a move: what was found before stays.
                self.told.once(Figure::Membership, self.membership.path(), &error);
                return;
            }
        }
        match find_cgroup(&self.root, &self.membership_text) {
            Ok(cgroup) => {
                self.cgroup = cgroup;
                self.cgroup_lost = false;
            }
            Err(error) => {
                self.told.once(Figure::Membership, self.membership.path(), &error);
                self.cgroup = None;
                self.cgroup_lost = true;
            }
        }
        if let Some(wanted) = &self.wanted {
            wanted.set_place(self.cgroup.as_ref().map(MemoryCgroup::place));
            self.armed.forget();
        }
    }

    fn refresh_limits(&mut self) {
        match self.machine.read(&mut [0; LINE_BUFFER], parse::machine_bytes) {
            Ok(bytes) => self.machine_bytes = Some(bytes),
            Err(error) => self.told.once(Figure::Machine, self.machine.path(), &error),
        }
        if let Some(cgroup) = &mut self.cgroup {
            cgroup.refresh_limits(|path, error| self.told.once(Figure::Limit, path, error));
        }
    }

    fn read_rss(&mut self) -> Result<u64, ReadError> {
        let page_bytes = self.page_bytes;
        self.statm.read(&mut [0; LINE_BUFFER], |text| parse::resident_bytes(text, page_bytes))
    }

    fn read_working_set(&mut self, rss_bytes: Option<u64>, now: Duration) -> Option<u64> {
        let Some(cgroup) = &mut self.cgroup else {
            self.usage_bytes = None;
            return None;
        };
        self.usage_bytes = match cgroup.usage_bytes() {
            Ok(usage) => Some(usage),
            Err(error) => {
                // Its directory may be gone, and the process elsewhere.
                self.cgroup_lost = true;
                self.membership_due = self.membership_due.min(now + LIMITS_EVERY);
                self.told.once(Figure::Usage, cgroup.usage_path(), &error);
                None
            }
        };
        // Without the usage too, so that all that is broken is told at once.
        let seen = Seen { usage_bytes: self.usage_bytes.unwrap_or(0), rss_bytes, now };
        let inactive_file = match cgroup.inactive_file_bytes(seen) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                self.told.once(Figure::InactiveFile, cgroup.stat_path(), &error);
                None
            }
        };
        // Two files, two moments: the cache can be the larger one for an instant.
        Some(self.usage_bytes?.saturating_sub(inactive_file?))
    }

    /// The tightest limit that can act before the machine's own memory is gone.
    fn limit(&self) -> Option<(u64, Option<&Path>)> {
        let limit = self.cgroup.as_ref()?.tightest_limit()?;
        let acts = self.machine_bytes.is_none_or(|machine| limit.0 <= machine);
        acts.then_some(limit)
    }
}

impl MemorySource for SystemSource {
    fn read(&mut self) -> Result<MemoryReading, SourceError> {
        let now = self.clock.now();
        self.refresh(now);
        let rss = self.read_rss();
        let mut reading = MemoryReading::default();
        reading.taken_at = now;
        reading.working_set_bytes = self.read_working_set(rss.as_ref().ok().copied(), now);
        reading.limit_bytes = self.limit().map(|(bytes, _)| bytes);
        self.rss_seen = rss.is_ok();
        match rss {
            Ok(bytes) => reading.rss_bytes = Some(bytes),
            Err(error) if reading.working_set_bytes.is_none() => {
                let what = format!(
                    "the memory of this process: neither {} nor a memory cgroup tells it",
                    self.statm.path().display()
                );
                return Err(SourceError::caused_by(what, error));
            }
            Err(error) => self.told.once(Figure::Rss, self.statm.path(), &error),
        }
        Ok(reading)
    }

    fn describe(&self) -> String {
        let cgroup = self.cgroup.as_ref().map(|cgroup| {
            let version = match cgroup.version() {
                Version::V1 => "v1",
                Version::V2 => "v2",
            };
            format!("cgroup {version} {} ({})", shown(cgroup.path()), self.described_limit(cgroup))
        });
        let procfs = self.rss_seen.then(|| "procfs".to_owned());
        let parts: Vec<String> = cgroup.into_iter().chain(procfs).collect();
        if parts.is_empty() { "nothing readable".to_owned() } else { parts.join(", ") }
    }

    fn events(&mut self) -> Option<Box<dyn KernelEvents>> {
        let wanted = match Wanted::new() {
            Ok(wanted) => Arc::new(wanted),
            Err(error) => {
                tracing::warn!(%error, "no kernel events; the sampler looks by its own period");
                return None;
            }
        };
        wanted.set_place(self.cgroup.as_ref().map(MemoryCgroup::place));
        self.armed.forget();
        self.wanted = Some(Arc::clone(&wanted));
        Some(Box::new(SystemEvents::new(wanted, self.root.join("proc/pressure/memory"))))
    }

    fn watch(&mut self, growth_bytes: &[u64]) -> GrowthWatch {
        let (Some(wanted), Some(cgroup), Some(usage)) =
            (&self.wanted, &self.cgroup, self.usage_bytes)
        else {
            return GrowthWatch::Unwatched;
        };
        let reclaims_at = cgroup.reclaims_at();
        self.armed.follow(wanted, usage, growth_bytes, reclaims_at, self.clock.now())
    }
}

impl SystemSource {
    fn described_limit(&self, cgroup: &MemoryCgroup) -> String {
        match self.limit() {
            None => "no limit".to_owned(),
            Some((bytes, Some(by))) if by == cgroup.path() => {
                format!("limit {}MB", whole_mb(bytes))
            }
            Some((bytes, Some(by))) => format!("limit {}MB of {}", whole_mb(bytes), shown(by)),
            Some((bytes, None)) => format!("limit {}MB of a hidden ancestor", whole_mb(bytes)),
        }
    }
}

/// A cgroup's name may hold anything but a newline and a slash; a terminal gets none of it raw.
fn shown(path: &Path) -> String {
    path.to_string_lossy().escape_debug().to_string()
}

#[derive(Debug, thiserror::Error)]
enum FindError {
    #[error("its mounts cannot be read")]
    Mounts(#[source] io::Error),
    #[error(transparent)]
    Membership(#[from] MembershipError),
    #[error("its directory cannot be found")]
    Directory(#[source] io::Error),
}

fn find_cgroup(root: &Path, membership: &[u8]) -> Result<Option<MemoryCgroup>, FindError> {
    let mountinfo = fs::read(root.join("proc/self/mountinfo")).map_err(FindError::Mounts)?;
    let mut missing = None;
    for candidate in membership::candidates(membership, &mountinfo)? {
        match MemoryCgroup::open(root, &candidate) {
            Ok(found) => return Ok(found),
            Err(error) => missing = Some(error),
        }
    }
    missing.map_or(Ok(None), |error| Err(FindError::Directory(error)))
}
