//! One memory cgroup: its usage, its cache and the limits over it, on kept descriptors.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::linux::{
    cache::{KeptCache, Seen},
    events::Place,
    kept::{KeptFile, ReadError},
    membership::{Candidate, Version},
    parse,
};

/// Room for `memory.stat`, which takes 1 to 3 KB.
const STAT_BUFFER: usize = 8192;
/// Room for a file of one number.
const NUMBER_BUFFER: usize = 64;

/// The memory cgroup of the process.
#[derive(Debug)]
pub(crate) struct MemoryCgroup {
    version: Version,
    path: PathBuf,
    usage: KeptFile,
    stat: KeptFile,
    /// From the cgroup itself upwards.
    limits: Vec<LimitFile>,
    /// Where version 2 starts to reclaim before the limit, in the same order.
    throttles: Vec<LimitFile>,
    cache: KeptCache,
    /// The limit over all ancestors that version 1 reports, hidden ones included.
    reported_limit: Option<u64>,
}

impl MemoryCgroup {
    /// Finds the directory of `candidate` under `root`. `None` for a root cgroup, whose figures are
    /// those of the machine, and where the memory controller is not on.
    ///
    /// # Errors
    /// When the directory is not there.
    pub(crate) fn open(root: &Path, candidate: &Candidate) -> io::Result<Option<Self>> {
        let below_root = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
        let mount = below_root(&candidate.mount_point);
        let directory = mount.join(&candidate.below);
        fs::metadata(&directory)?;
        let names = Names::of(candidate.version);
        let ancestry: Vec<Level> = levels(&mount, &directory, &candidate.cgroup);
        let charged: &[Level] = match candidate.version {
            // Only the root of the hierarchy has this file.
            Version::V1 if directory.join("cgroup.sane_behavior").exists() => &[],
            Version::V1 => &ancestry,
            // Memory is charged to the nearest ancestor for which the controller is on; the root
            // has no such file.
            Version::V2 => {
                let first = ancestry.iter().position(|it| it.directory.join(names.usage).exists());
                first.map_or(&[], |first| &ancestry[first..])
            }
        };
        let Some(own) = charged.first() else { return Ok(None) };
        let limits: Vec<LimitFile> = charged
            .iter()
            .enumerate()
            // The cgroup itself is kept even when its file is missing, so that this is told.
            .filter(|(above, it)| *above == 0 || it.directory.join(names.limit).exists())
            .take_while(|(above, it)| *above == 0 || accounts_children(&it.directory))
            .map(|(_, it)| LimitFile::new(it.directory.join(names.limit), &it.cgroup))
            .collect();
        let throttles = names.throttle.map_or_else(Vec::new, |name| {
            let files = limits.iter().map(|it| (it.file.path().with_file_name(name), &it.cgroup));
            files
                .filter(|(file, _)| file.exists())
                .map(|(file, cgroup)| LimitFile::new(file, cgroup))
                .collect()
        });
        Ok(Some(Self {
            version: candidate.version,
            path: own.cgroup.clone(),
            usage: KeptFile::new(own.directory.join(names.usage)),
            stat: KeptFile::new(own.directory.join("memory.stat")),
            limits,
            throttles,
            cache: KeptCache::default(),
            reported_limit: None,
        }))
    }

    /// Reads the bytes charged to the cgroup, cache included.
    pub(crate) fn usage_bytes(&mut self) -> Result<u64, ReadError> {
        self.usage.read(&mut [0; NUMBER_BUFFER], parse::usage_bytes)
    }

    /// Tells the file cache that the kernel can drop first, of the cgroup and its children: as it
    /// was read last, or read anew where that says too little, see [`KeptCache`]; on version 1 the
    /// limit that stands in the same file as well.
    pub(crate) fn inactive_file_bytes(&mut self, seen: Seen) -> Result<u64, ReadError> {
        if let Some(kept) = self.cache.bytes(seen, self.reclaims_at()) {
            return Ok(kept);
        }
        let read = self.read_inactive_file();
        self.cache.keep(read.as_ref().ok().copied(), seen);
        read
    }

    /// Makes the next reading read the cache.
    pub(crate) fn forget_cache(&mut self) {
        self.cache = KeptCache::default();
    }

    fn read_inactive_file(&mut self) -> Result<u64, ReadError> {
        let key = Names::of(self.version).inactive_file;
        let reported_limit = &mut self.reported_limit;
        let version = self.version;
        self.stat.read(&mut [0; STAT_BUFFER], |text| {
            if version == Version::V1 {
                *reported_limit = parse::hierarchical_limit(text);
            }
            parse::stat_bytes(text, key)
        })
    }

    /// Reads all limits again. One that cannot be read keeps its last value: a limit does not
    /// vanish because a read failed.
    pub(crate) fn refresh_limits(&mut self, mut failed: impl FnMut(&Path, &ReadError)) {
        for limit in &mut self.limits {
            match limit.file.read(&mut [0; NUMBER_BUFFER], parse::limit_bytes) {
                Ok(bytes) => limit.last = bytes,
                Err(error) => failed(limit.file.path(), &error),
            }
        }
        for throttle in &mut self.throttles {
            // It decides only how often the cache is looked at, so nobody needs to be told.
            if let Ok(bytes) = throttle.file.read(&mut [0; NUMBER_BUFFER], parse::throttle_bytes) {
                throttle.last = bytes;
            }
        }
    }

    /// The lowest usage at which the kernel reclaims, as last read.
    pub(crate) fn reclaims_at(&self) -> Option<u64> {
        let throttle = self.throttles.iter().filter_map(|throttle| throttle.last);
        throttle.chain(self.tightest_limit().map(|(bytes, _)| bytes)).min()
    }

    /// Where the kernel tells of this cgroup without being asked.
    pub(crate) fn place(&self) -> Place {
        match self.version {
            Version::V1 => {
                Place { usage: Some(self.usage.path().to_path_buf()), ..Place::default() }
            }
            Version::V2 => Place {
                usage: None,
                // A breach of an ancestor's limit shows in the ancestor's file, and there alone.
                breaches: [self.usage.path()]
                    .into_iter()
                    .chain(self.limits.iter().skip(1).map(|limit| limit.file.path()))
                    .map(|file| file.with_file_name("memory.events"))
                    .collect(),
                stalls: Some(self.usage.path().with_file_name("memory.pressure")),
            },
        }
    }

    /// The tightest limit as last read, with the cgroup that sets it where that is visible.
    pub(crate) fn tightest_limit(&self) -> Option<(u64, Option<&Path>)> {
        let visible = self
            .limits
            .iter()
            .filter_map(|limit| Some((limit.last?, Some(limit.cgroup.as_path()))))
            // The first of equal ones: the nearest.
            .min_by_key(|(bytes, _)| *bytes);
        match (visible, self.reported_limit) {
            (Some(visible), Some(reported)) if reported >= visible.0 => Some(visible),
            (visible, None) => visible,
            (_, Some(reported)) => Some((reported, None)),
        }
    }

    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// The cgroup that is charged, as the process sees it.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn usage_path(&self) -> &Path {
        self.usage.path()
    }

    pub(crate) fn stat_path(&self) -> &Path {
        self.stat.path()
    }
}

#[derive(Debug)]
struct LimitFile {
    file: KeptFile,
    cgroup: PathBuf,
    last: Option<u64>,
}

impl LimitFile {
    fn new(file: PathBuf, cgroup: &Path) -> Self {
        Self { file: KeptFile::new(file), cgroup: cgroup.to_path_buf(), last: None }
    }
}

/// What the files are called; Linux's cgroup-v1/memory.rst and cgroup-v2.rst.
struct Names {
    usage: &'static str,
    limit: &'static str,
    throttle: Option<&'static str>,
    inactive_file: &'static str,
}

impl Names {
    fn of(version: Version) -> Self {
        match version {
            // Without the prefix the figure leaves the children out, while usage counts them.
            Version::V1 => Self {
                usage: "memory.usage_in_bytes",
                limit: "memory.limit_in_bytes",
                // Its soft limit acts only when the whole machine is short.
                throttle: None,
                inactive_file: "total_inactive_file",
            },
            Version::V2 => Self {
                usage: "memory.current",
                limit: "memory.max",
                throttle: Some("memory.high"),
                inactive_file: "inactive_file",
            },
        }
    }
}

/// A cgroup on the way up: its directory and its name as the process sees it.
struct Level {
    directory: PathBuf,
    cgroup: PathBuf,
}

fn levels(mount: &Path, directory: &Path, cgroup: &Path) -> Vec<Level> {
    let names = cgroup.ancestors().map(Path::to_path_buf);
    directory
        .ancestors()
        .take_while(|directory| directory.starts_with(mount))
        .map(Path::to_path_buf)
        .zip(names)
        .map(|(directory, cgroup)| Level { directory, cgroup })
        .collect()
}

/// False for an ancestor of version 1 that is not hierarchical (possible before Linux 5.11): its
/// limit does not act on its children, nor do those above it.
fn accounts_children(directory: &Path) -> bool {
    fs::read(directory.join("memory.use_hierarchy")).map_or(true, |text| text.trim_ascii() != b"0")
}
