//! The cost of one sample: `cargo bench -p plimsoll-sources --bench sample`.
//!
//! Prints median times of a reading, of the cheapest system call there is and of the crate
//! `procfs`, interleaved in one run, so that a busy machine slows all of them alike; how often the
//! kernel was asked to read; and, where valgrind is installed, how often memory was allocated.
//! Asserts nothing about time.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("samples are measured on Linux");
}

#[cfg(target_os = "linux")]
fn main() {
    linux::main();
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{env, fs, hint::black_box, process::Command};

    use plimsoll_core::{Clock, MemorySource};
    use plimsoll_sources::SystemSource;

    /// Rounds of each variant; the median of them is told.
    const ROUNDS: usize = 201;
    /// Calls in a round.
    const CALLS: u32 = 200;
    /// Resident sets to show that the cost does not depend on it.
    const HELD_MIB: [usize; 2] = [50, 2048];

    pub(crate) fn main() {
        let mut arguments = env::args().skip(1);
        match arguments.next().as_deref() {
            // What valgrind counts the allocations of.
            Some("read") => {
                let times = arguments.next().and_then(|it| it.parse().ok()).unwrap_or(0);
                let mut source = SystemSource::detect().expect("this machine has procfs");
                for _ in 0..times {
                    black_box(source.read().expect("readable"));
                }
            }
            _ => measure(),
        }
    }

    fn measure() {
        let mut source = SystemSource::detect().expect("this machine has procfs");
        println!("source: {}", source.describe());
        for mib in HELD_MIB {
            let held = black_box(vec![1_u8; mib << 20]);
            println!("\nwith {mib} MiB held, ns for one call (median, 10th and 90th percentile)");
            let mut variants: [(&str, &mut dyn FnMut()); 3] = [
                ("getppid, the control", &mut || {
                    black_box(rustix::process::getppid());
                }),
                ("one sample", &mut || {
                    black_box(source.read().expect("readable"));
                }),
                ("procfs: Process::myself()?.statm()?", &mut || {
                    let process = procfs::process::Process::myself().expect("procfs");
                    black_box(process.statm().expect("statm"));
                }),
            ];
            let mut nanos = [const { Vec::new() }; 3];
            let clock = Clock::system();
            for _ in 0..ROUNDS {
                for ((_, call), nanos) in variants.iter_mut().zip(&mut nanos) {
                    let begin = clock.now();
                    for _ in 0..CALLS {
                        call();
                    }
                    nanos.push((clock.now() - begin).as_nanos() / u128::from(CALLS));
                }
            }
            for ((name, _), nanos) in variants.iter().zip(&mut nanos) {
                nanos.sort_unstable();
                let at = |percent: usize| nanos[ROUNDS * percent / 100];
                println!("{:>8} {:>8} {:>8}  {name}", at(50), at(10), at(90));
            }
            drop(held);
        }
        println!("\nread calls for one sample: {:.2}", reads_per_sample(&mut source));
        match allocations() {
            Some(allocations) => println!("allocations for 1000 samples: {allocations}"),
            None => println!("allocations: not counted, valgrind is not installed"),
        }
    }

    fn reads_per_sample(source: &mut SystemSource) -> f64 {
        const SAMPLES: u32 = 20_000;
        let before = read_calls();
        for _ in 0..SAMPLES {
            black_box(source.read().expect("readable"));
        }
        // One read is that of the counter.
        f64::from(u32::try_from(read_calls() - before - 1).unwrap_or(u32::MAX)) / f64::from(SAMPLES)
    }

    /// `syscr` of `/proc/self/io`, the kernel's count of read calls; `filesystems/proc.rst`.
    fn read_calls() -> u64 {
        let io = fs::read_to_string("/proc/self/io").expect("procfs");
        let line = io.lines().find_map(|line| line.strip_prefix("syscr: "));
        line.and_then(|count| count.parse().ok()).expect("a count")
    }

    /// What a thousand readings more allocate, setting up left out.
    fn allocations() -> Option<i64> {
        let counted = |times: u32| {
            let own = env::current_exe().ok()?;
            let mut valgrind = Command::new("valgrind");
            let output = valgrind.arg(own).arg("read").arg(times.to_string()).output().ok()?;
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            let line = text.split("total heap usage: ").nth(1)?;
            line.split_whitespace().next()?.replace(',', "").parse::<i64>().ok()
        };
        Some(counted(2_000)? - counted(1_000)?)
    }
}
