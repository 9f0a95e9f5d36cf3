//! How far memory outruns the sampler: `cargo bench -p plimsoll-sources --bench overshoot`.
//!
//! Two threads touch fresh pages as fast as the machine lets them, outside any request, while a
//! Plimsoll with the system's own source looks; each looks at the level after each page and stops
//! when it is critical. Told: by how much the decision figure stands past critical then, and how
//! long after the crossing it was seen. With 4 KiB and with huge pages; as a plain process, whose
//! resident set decides, and in a memory cgroup of version 1, where that can be made; with the
//! kernel's events and without. Then how long after the crossing a kernel event alone, without any
//! period, brings a reading that shows it. `others` is the share of the processors that somebody else had
//! meanwhile: on a busy machine the figures tell of its scheduler. At last the processor time of Plimsoll's threads while nothing
//! happens.
//!
//! Options after `--`: `--runs N` (20), `--alone N` (100 events), `--rest SECONDS` (5, 0 leaves it out), `--only WORD` for
//! variants whose line has it. Takes 4 GiB of memory. Asserts nothing.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("overshoot is measured on Linux");
}

#[cfg(target_os = "linux")]
fn main() {
    linux::main();
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        env, fs,
        path::{Path, PathBuf},
        process::{self, Command},
        sync::atomic::{AtomicU64, Ordering},
        thread,
        time::Duration,
    };

    use plimsoll_core::{
        Clock, GrowthWatch, KernelEvents, MemoryReading, MemorySource, Plimsoll, PressureLevel,
        SourceError, Thresholds, Woken,
    };
    use plimsoll_sources::SystemSource;

    const MIB: u64 = 1 << 20;
    /// A run counts as quiet when others had less than this share of the processors.
    const QUIET: f64 = 0.1;
    const TOUCHERS: usize = 2;
    const PAGE: usize = 4096;
    /// Memory that each thread could touch; far past the line.
    const EACH: usize = 2 << 30;
    /// From the idle process to critical; a little more in each run, so that the sampler's period
    /// meets the line at another moment.
    const WAY: u64 = 1024 * MIB;
    const WARNING_BELOW: u64 = 256 * MIB;
    const LIMIT: u64 = 8192 * MIB;

    pub(crate) fn main() {
        let arguments: Vec<String> = env::args().skip(1).collect();
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match words[..] {
            ["touch", pages, events, run, group] => touch(pages, events, run, group),
            ["alone", times, group] => alone(times, group),
            ["rest", seconds, group] => rest(seconds, group),
            _ => measure(&words),
        }
    }

    fn option<'w>(words: &[&'w str], name: &str) -> Option<&'w str> {
        let at = words.iter().position(|word| *word == name)?;
        words.get(at + 1).copied()
    }

    fn measure(words: &[&str]) {
        let runs: u64 = option(words, "--runs").and_then(|it| it.parse().ok()).unwrap_or(20);
        let seconds = option(words, "--rest").unwrap_or("5");
        let only = option(words, "--only").unwrap_or("");
        println!("{:<36} {:^23}   {:^23}", "", "MiB past critical", "ms after the crossing");
        println!(
            "{:<36} {:>7} {:>7} {:>7}   {:>7} {:>7} {:>7}   GiB/s  huge others  runs",
            "", "median", "p90", "worst", "median", "p90", "worst"
        );
        for figure in ["process", "cgroup v1"] {
            for pages in ["4 KiB", "huge"] {
                for events in ["events", "no events"] {
                    let name = format!("{figure}, {pages} pages, {events}");
                    if runs > 0 && name.contains(only) {
                        variant(&name, figure, pages, events, runs);
                    }
                }
            }
        }
        let times = option(words, "--alone").unwrap_or("100");
        if times != "0" {
            match Group::new(LIMIT) {
                Ok(group) => print!("\n{}", child(&["alone", times, &group.members()], None)),
                Err(why) => println!("no cgroup v1: {why}"),
            }
        }
        if seconds == "0" {
            return;
        }
        println!("\nat rest for {seconds} s: share of a core, times it ran");
        print!("{}", child(&["rest", seconds, "none"], None));
        match Group::new(256 * MIB) {
            Ok(group) => print!("{}", child(&["rest", seconds, &group.members()], None)),
            Err(why) => println!("no cgroup v1: {why}"),
        }
    }

    fn variant(name: &str, figure: &str, pages: &str, events: &str, runs: u64) {
        let mut runs_told = Vec::new();
        for run in 0..runs {
            let group = match figure {
                "process" => None,
                _ => match Group::new(LIMIT) {
                    Ok(group) => Some(group),
                    Err(why) => return println!("{name}: not measured: {why}"),
                },
            };
            let members = group.as_ref().map_or_else(|| "none".to_owned(), Group::members);
            let told = child(&["touch", pages, events, &run.to_string(), &members], Some(pages));
            let figures: Vec<f64> =
                told.split_whitespace().filter_map(|word| word.parse().ok()).collect();
            match <[f64; 5]>::try_from(figures) {
                Ok(figures) => runs_told.push(figures),
                Err(_) => println!("{name}: a run failed: {told}"),
            }
        }
        tell(name, &runs_told);
        let quiet: Vec<_> = runs_told.iter().copied().filter(|run| run[3] < QUIET).collect();
        if !quiet.is_empty() && quiet.len() < runs_told.len() {
            tell("  of which on a quiet machine", &quiet);
        }
    }

    fn tell(name: &str, runs: &[[f64; 5]]) {
        let column = |at: usize| runs.iter().map(|run| run[at]).collect::<Vec<_>>();
        println!(
            "{name:<36} {}   {}   {:5.1} {:4.0}% {:5.0}% {:5}",
            spread(column(0)),
            spread(column(1)),
            middle(column(2)),
            middle(column(4)) * 100.0,
            middle(column(3)) * 100.0,
            runs.len(),
        );
    }

    fn spread(mut values: Vec<f64>) -> String {
        values.sort_by(f64::total_cmp);
        let at = |percent: usize| {
            values.get((values.len() * percent / 100).min(values.len().saturating_sub(1)))
        };
        let shown = [at(50), at(90), at(100)].map(|it| it.copied().unwrap_or(f64::NAN));
        format!("{:7.2} {:7.2} {:7.2}", shown[0], shown[1], shown[2])
    }

    fn middle(mut values: Vec<f64>) -> f64 {
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// Runs this program again, so that each run begins with a fresh process.
    fn child(words: &[&str], pages: Option<&str>) -> String {
        let mut command = Command::new(env::current_exe().expect("the name of this program"));
        command.args(words);
        if pages == Some("huge") {
            // Makes glibc ask for huge pages, which only `unsafe` code could do by itself.
            command.env("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1");
        }
        let output = command.output().expect("this program runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            text
        } else {
            format!("{text} ended with {}\n", output.status)
        }
    }

    /// The system's source, with its events or without.
    struct Source {
        inner: SystemSource,
        with_events: bool,
    }

    impl MemorySource for Source {
        fn read(&mut self) -> Result<MemoryReading, SourceError> {
            self.inner.read()
        }

        fn describe(&self) -> String {
            self.inner.describe()
        }

        fn events(&mut self) -> Option<Box<dyn KernelEvents>> {
            if self.with_events { self.inner.events() } else { None }
        }

        fn watch(&mut self, growth_bytes: &[u64]) -> GrowthWatch {
            self.inner.watch(growth_bytes)
        }
    }

    fn join(group: &str) {
        if group != "none" {
            fs::write(group, process::id().to_string()).expect("may join the group");
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    fn touch(pages: &str, events: &str, run: &str, group: &str) {
        join(group);
        if pages != "huge" {
            rustix::thread::disable_transparent_huge_pages(true).expect("prctl");
        }
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let _entered = runtime.enter();
        let inner = SystemSource::detect().expect("this machine has procfs");
        // Set up before the idle figure is taken.
        let mut buffers: Vec<Vec<u8>> = (0..TOUCHERS).map(|_| vec![0; EACH]).collect();
        let mut trails: Vec<Trail> = (0..TOUCHERS).map(|_| Trail::new()).collect();
        let plimsoll = Plimsoll::builder()
            .automatic_cleanup(false)
            .thresholds(Thresholds::new(LIMIT / 2 - 1, LIMIT / 2).expect("ordered"))
            .start_with(Source { inner, with_events: events == "events" })
            .expect("starts");
        let check = || {
            let reading = runtime.block_on(plimsoll.check()).expect("readable");
            reading.figure(plimsoll.report().metric).expect("the decision figure")
        };
        let idle = check();
        let run: u64 = run.parse().expect("a number");
        let critical = idle + WAY + run * 7_919 * 1024 % (64 * MIB);
        plimsoll
            .set_thresholds(Thresholds::new(critical - WARNING_BELOW, critical).expect("ordered"))
            .expect("taken");
        // Far enough from the start for the kernel's thresholds to be armed.
        thread::park_timeout(Duration::from_millis(300));
        let clock = Clock::system();
        let spent = processor_time();
        let begin = clock.now();
        let touched: [AtomicU64; TOUCHERS] = Default::default();
        thread::scope(|scope| {
            for ((buffer, trail), touched) in buffers.iter_mut().zip(&mut trails).zip(&touched) {
                let (plimsoll, clock) = (&plimsoll, &clock);
                scope.spawn(move || {
                    // Each small page of a huge one as well: where the kernel finds no huge page
                    // it gives small ones instead.
                    for page in (0..EACH).step_by(PAGE) {
                        buffer[page] = 1;
                        trail.note(page + PAGE, clock);
                        if plimsoll.level() == PressureLevel::Critical {
                            touched.store((page + PAGE) as u64, Ordering::Relaxed);
                            trail.end = clock.now();
                            return;
                        }
                    }
                });
            }
        });
        let wall = clock.now() - begin;
        let own = (processor_time() - spent).as_secs_f64() / (wall.as_secs_f64() * TOUCHERS as f64);
        let figure = check();
        let sum: u64 = touched.iter().map(|it| it.load(Ordering::Relaxed)).sum();
        assert!(sum > 0, "critical was not seen");
        let past = figure as f64 - critical as f64;
        // Page tables are charged as well, so the line was met a little sooner than it was touched.
        let overhead = figure as f64 / (idle + sum) as f64;
        let needed = critical as f64 / overhead - idle as f64;
        let seen = trails.iter().map(|trail| trail.end).min().unwrap_or_default();
        let crossed = crossing(&trails, needed);
        let ms = seen.saturating_sub(crossed).as_secs_f64() * 1_000.0;
        let begun = trails.iter().filter_map(|trail| trail.steps.first()).map(|it| it.0).min();
        let seconds = seen.saturating_sub(begun.unwrap_or_default()).as_secs_f64();
        println!(
            "{} {ms} {} {} {}",
            past / MIB as f64,
            sum as f64 / (1024 * MIB) as f64 / seconds.max(f64::MIN_POSITIVE),
            1.0 - own,
            huge_share(sum),
        );
    }

    fn processor_time() -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Duration::try_from(time).unwrap_or_default()
    }

    /// How much of what was touched stands in huge pages.
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    fn huge_share(touched: u64) -> f64 {
        let rollup = fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
        let line = rollup.lines().find_map(|line| line.strip_prefix("AnonHugePages:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kib.unwrap_or(0) as f64 * 1024.0 / touched as f64
    }

    /// What one thread had touched when.
    struct Trail {
        steps: Vec<(Duration, usize)>,
        end: Duration,
    }

    impl Trail {
        const STEP: usize = 256 * 1024;

        fn new() -> Self {
            Self { steps: Vec::with_capacity(EACH / Self::STEP + 1), end: Duration::ZERO }
        }

        fn note(&mut self, touched: usize, clock: &Clock) {
            if touched >= self.steps.last().map_or(0, |step| step.1) + Self::STEP {
                self.steps.push((clock.now(), touched));
            }
        }
    }

    /// The moment at which all threads together had touched `needed` bytes.
    #[expect(clippy::cast_precision_loss, reason = "a moment to the microsecond")]
    fn crossing(trails: &[Trail], needed: f64) -> Duration {
        let mut steps: Vec<(Duration, usize, usize)> = trails
            .iter()
            .enumerate()
            .flat_map(|(thread, trail)| trail.steps.iter().map(move |it| (it.0, thread, it.1)))
            .collect();
        steps.sort_unstable();
        let mut touched = [0; TOUCHERS];
        for (at, thread, bytes) in steps {
            touched[thread] = bytes;
            if touched.iter().sum::<usize>() as f64 >= needed {
                return at;
            }
        }
        Duration::MAX
    }

    /// Waits for thresholds alone, as the events thread does, and reads as the sampler would.
    fn alone(times: &str, group: &str) {
        const LINE: u64 = 64 * MIB;
        join(group);
        let clock = Clock::system();
        let mut late = Vec::new();
        for _ in 0..times.parse().unwrap_or(0) {
            // A fresh one each time: a source that was asked before keeps a line that is near.
            let mut source = SystemSource::detect().expect("this machine has procfs");
            let mut events = source.events().expect("descriptors");
            let stop = events.stopper();
            let idle = source.read().expect("readable").working_set_bytes.expect("a cgroup");
            source.watch(&[LINE]);
            // Returns when the line is armed.
            events.wait();
            assert_eq!(source.watch(&[LINE]), GrowthWatch::Watched, "{:?}", events.describe());
            let done = AtomicU64::new(0);
            let crossed = AtomicU64::new(u64::MAX);
            let total = AtomicU64::new(0);
            thread::scope(|scope| {
                for _ in 0..TOUCHERS {
                    let (done, crossed, total) = (&done, &crossed, &total);
                    let (clock, stop) = (&clock, &stop);
                    scope.spawn(move || {
                        let mut buffer = vec![0_u8; EACH];
                        for page in (0..EACH).step_by(PAGE) {
                            buffer[page] = 1;
                            let sum = total.fetch_add(PAGE as u64, Ordering::Relaxed) + PAGE as u64;
                            if sum == LINE {
                                crossed.store(nanos(clock), Ordering::SeqCst);
                            }
                            if done.load(Ordering::Relaxed) > 0 {
                                return;
                            }
                        }
                        // The event never came.
                        stop();
                    });
                }
                while done.load(Ordering::Relaxed) == 0 {
                    let ended = events.wait() == Woken::Stopped;
                    let reading = source.read().expect("readable");
                    let figure = reading.working_set_bytes.unwrap_or(0);
                    // The figure itself is right to 1 MiB.
                    if ended || figure + MIB >= idle + LINE {
                        done.store(nanos(&clock), Ordering::SeqCst);
                    }
                }
            });
            let ms = |nanos: u64| Duration::from_nanos(nanos).as_secs_f64() * 1_000.0;
            late.push(ms(done.into_inner().saturating_sub(crossed.into_inner())));
        }
        late.sort_by(f64::total_cmp);
        let at = |share: usize| late.get(late.len().saturating_sub(1) * share / 100);
        let shown = [50, 90, 99, 100].map(|share| at(share).copied().unwrap_or(f64::NAN));
        println!(
            "ms from the crossing to a reading through a kernel event alone, {} times: \
             median {:.2}, p90 {:.2}, p99 {:.2}, worst {:.2}",
            late.len(),
            shown[0],
            shown[1],
            shown[2],
            shown[3]
        );
    }

    fn nanos(clock: &Clock) -> u64 {
        u64::try_from(clock.now().as_nanos()).unwrap_or(u64::MAX)
    }

    fn rest(seconds: &str, group: &str) {
        join(group);
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let _entered = runtime.enter();
        let source = SystemSource::detect().expect("this machine has procfs");
        let described = source.describe();
        let plimsoll = Plimsoll::builder().start_with(source).expect("starts");
        let span = Duration::from_secs_f64(seconds.parse().expect("a number"));
        thread::park_timeout(Duration::from_secs(1));
        let before = spent();
        thread::park_timeout(span);
        let report = plimsoll.report();
        println!("{described}, critical at {} MB, {:?}", report.thresholds.critical, report.events);
        for ((name, nanos, ran), (_, nanos_before, ran_before)) in spent().into_iter().zip(before) {
            let share =
                Duration::from_nanos(nanos - nanos_before).as_secs_f64() / span.as_secs_f64();
            println!("  {name:<18} {:.4} %  {}", share * 100.0, ran - ran_before);
        }
    }

    /// Name, time on a processor in nanoseconds, and how often it ran, of each thread of ours;
    /// `scheduler/sched-stats.rst`.
    fn spent() -> Vec<(String, u64, u64)> {
        let mut threads: Vec<PathBuf> = fs::read_dir("/proc/self/task")
            .expect("procfs")
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        threads.sort();
        let of = |thread: &PathBuf| {
            let name = fs::read_to_string(thread.join("comm")).ok()?.trim().to_owned();
            let stat = fs::read_to_string(thread.join("schedstat")).ok()?;
            let mut fields = stat.split_whitespace().filter_map(|field| field.parse().ok());
            let (nanos, _waited, ran) = (fields.next()?, fields.next()?, fields.next()?);
            let _: u64 = _waited;
            name.starts_with("plimsoll-").then_some((name, nanos, ran))
        };
        threads.iter().filter_map(of).collect()
    }

    /// A memory cgroup of version 1 below this process's own; gone on drop.
    struct Group(PathBuf);

    impl Group {
        fn new(limit: u64) -> Result<Self, String> {
            let own = fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
            let own = own
                .lines()
                .find_map(|line| line.split_once(":memory:"))
                .ok_or("the memory controller is not on version 1")?
                .1;
            let path = Path::new("/sys/fs/cgroup/memory")
                .join(own.trim_start_matches('/'))
                .join(format!("plimsoll-bench-{}", process::id()));
            let told = |error| format!("{}: {error}", path.display());
            fs::create_dir(&path).map_err(told)?;
            let group = Self(path.clone());
            fs::write(path.join("memory.limit_in_bytes"), limit.to_string()).map_err(told)?;
            Ok(group)
        }

        fn members(&self) -> String {
            self.0.join("cgroup.procs").display().to_string()
        }
    }

    impl Drop for Group {
        fn drop(&mut self) {
            // The kernel may need a moment after the last member has ended.
            for _ in 0..100 {
                if fs::remove_dir(&self.0).is_ok() {
                    return;
                }
                thread::park_timeout(Duration::from_millis(10));
            }
            println!("left behind: {}", self.0.display());
        }
    }
}
