use std::{fmt::Write as _, path::PathBuf, str::FromStr};

use clap::{Parser, ValueEnum as _};
use plimsoll_flood::{Guard, MB};

use crate::{
    adversary::Adversary,
    allocator::Allocator,
    profile::Profile,
    variant::{Protector, Variant},
};

/// Seconds of a flood for CI.
const QUICK_SECONDS: u64 = 3;
/// Limits of the matrix, in MB.
const MATRIX_LIMITS_MB: [u64; 2] = [256, 512];

#[derive(Clone, Debug, Parser)]
#[command(about = "Floods servers in small memory cgroups; needs root")]
pub(crate) struct Options {
    /// The memory limit of each server, in MB (10^6 bytes)
    #[arg(long, value_name = "MB", default_value_t = 256, value_parser = clap::value_parser!(u64).range(64..=65_536))]
    limit_mb: u64,
    /// Only these profiles
    #[arg(long, value_enum, value_delimiter = ',')]
    profile: Vec<Profile>,
    /// Only these variants
    #[arg(long, value_delimiter = ',', value_name = "VARIANT")]
    variant: Vec<Protector>,
    /// Only these allocators; without it, Plimsoll runs on all and the others on glibc
    #[arg(long, value_enum, value_delimiter = ',')]
    allocator: Vec<Allocator>,
    /// Runs of each row
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    runs: u32,
    /// Length of a flood
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// A short flood of each kind; fails unless the unguarded server dies and Plimsoll lives
    #[arg(long, conflicts_with_all = ["variant", "allocator", "seconds"])]
    quick: bool,
    /// Counts who lives: every profile on every allocator at 256 and 512 MB, a line for all runs of
    /// each; fails when a server was killed or hung
    #[arg(long, conflicts_with_all = ["quick", "adversary", "limit_mb", "trace"])]
    matrix: bool,
    /// One long flood of one profile, told minute by minute
    #[arg(long, value_name = "MINUTES", value_parser = clap::value_parser!(u64).range(1..=1_440),
          conflicts_with_all = ["quick", "adversary", "matrix", "seconds", "runs"])]
    soak: Option<u64>,
    /// How long from the moment at which memory outside all requests crosses the line until a request
    /// is refused, so many times
    #[arg(long, value_name = "TIMES", value_parser = clap::value_parser!(u32).range(1..=10_000),
          conflicts_with_all = ["quick", "adversary", "matrix", "soak", "profile", "seconds", "runs", "trace"])]
    crossing: Option<u32>,
    /// Attacks Plimsoll, and an unguarded server where that one should die, in place of a flood
    #[arg(long, value_name = "NAME|all", value_delimiter = ',', conflicts_with_all = ["quick", "profile", "runs"])]
    adversary: Vec<AdversaryName>,
    /// Writes all figures as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Writes `ms usage in-flight` each millisecond of the last run
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// A variable for the servers, which get no other but PATH
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    env: Vec<(String, String)>,
    /// Lists profiles, adversaries, variants and allocators
    #[arg(long)]
    pub(crate) list: bool,
}

/// An adversary or all of them.
#[derive(Clone, Copy, Debug)]
enum AdversaryName {
    All,
    One(Adversary),
}

impl FromStr for AdversaryName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self::All);
        }
        Adversary::from_str(text, false).map(Self::One).map_err(|_| {
            let names = Adversary::value_variants().iter().map(Adversary::to_string);
            format!(
                "no adversary {text:?}; there are all, {}",
                names.collect::<Vec<_>>().join(", ")
            )
        })
    }
}

/// What is to be run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) limit_bytes: u64,
    pub(crate) work: Work,
    pub(crate) profiles: Vec<Profile>,
    pub(crate) variants: Vec<Variant>,
    pub(crate) runs: u32,
    pub(crate) seconds: u64,
    pub(crate) trace: Option<PathBuf>,
    pub(crate) env: Vec<(String, String)>,
}

/// What is done with the profiles and variants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Tables,
    Quick,
    /// These limits, in bytes.
    Matrix(Vec<u64>),
    Soak,
    /// So many times.
    Crossing(u32),
    /// In place of the profiles.
    Attack(Vec<Adversary>),
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("a variable is NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Plan {
    pub(crate) fn of(options: &Options) -> Result<Self, String> {
        let work = Work::of(options);
        let mut protectors = options.variant.clone();
        if protectors.is_empty() {
            protectors = work.protectors();
        }
        let variants: Vec<Variant> = protectors
            .into_iter()
            .flat_map(|guard| {
                options
                    .allocators_of(guard, &work)
                    .into_iter()
                    .map(move |allocator| Variant { guard, allocator })
            })
            .collect();
        if variants.is_empty() {
            return Err("there is nothing to run: fastify brings its own allocator".to_owned());
        }
        let profiles = match (options.profile.as_slice(), &work) {
            ([], Work::Soak) => vec![Profile::Open],
            ([], _) => Profile::ALL.to_vec(),
            ([_, _, ..], Work::Soak) => return Err("a soak is of one profile".to_owned()),
            (chosen, _) => chosen.to_vec(),
        };
        let seconds = match (&work, options.soak) {
            (Work::Quick, _) => QUICK_SECONDS,
            (_, Some(minutes)) => minutes * 60,
            (_, None) => options.seconds,
        };
        Ok(Self {
            work,
            limit_bytes: options.limit_mb * MB,
            profiles,
            variants,
            runs: options.runs,
            seconds,
            trace: options.trace.clone(),
            env: options.env.clone(),
        })
    }
}

impl Work {
    fn of(options: &Options) -> Self {
        let adversaries = options.adversary.iter().flat_map(|name| match name {
            AdversaryName::All => Adversary::value_variants().to_vec(),
            AdversaryName::One(adversary) => vec![*adversary],
        });
        let adversaries: Vec<Adversary> = adversaries.collect();
        if !adversaries.is_empty() {
            Self::Attack(adversaries)
        } else if options.quick {
            Self::Quick
        } else if options.matrix {
            Self::Matrix(MATRIX_LIMITS_MB.map(|limit| limit * MB).to_vec())
        } else if options.soak.is_some() {
            Self::Soak
        } else if let Some(times) = options.crossing {
            Self::Crossing(times)
        } else {
            Self::Tables
        }
    }

    /// Whom it is done to when nobody says.
    fn protectors(&self) -> Vec<Protector> {
        let plimsoll = Protector::Guard(Guard::Plimsoll { declared_percent: 100 });
        match self {
            Self::Tables => all_protectors(),
            Self::Quick | Self::Attack(_) => vec![Protector::Guard(Guard::None), plimsoll],
            Self::Matrix(_) => vec![plimsoll, Protector::Guard(Guard::PlimsollTuned)],
            Self::Soak | Self::Crossing(_) => vec![plimsoll],
        }
    }
}

impl Options {
    fn allocators_of(&self, guard: Protector, work: &Work) -> Vec<Allocator> {
        match guard {
            Protector::Fastify(_) if self.allocator.is_empty() => vec![Allocator::V8],
            Protector::Fastify(_) => Vec::new(),
            Protector::Guard(_) if !self.allocator.is_empty() => self.allocator.clone(),
            Protector::Guard(_) => match work {
                Work::Tables | Work::Matrix(_) if guard.is_plimsoll() => Allocator::RUST.to_vec(),
                _ => vec![Allocator::Glibc],
            },
        }
    }
}

fn all_protectors() -> Vec<Protector> {
    Protector::NAMES.iter().filter_map(|name| name.parse().ok()).collect()
}

pub(crate) fn list() -> String {
    let mut text = String::new();
    for (kind, names) in [
        ("profiles", Profile::ALL.map(|profile| profile.to_string()).to_vec()),
        ("adversaries", Adversary::value_variants().iter().map(Adversary::to_string).collect()),
        ("variants", Protector::NAMES.map(str::to_owned).to_vec()),
        ("allocators", Allocator::value_variants().iter().map(Allocator::to_string).collect()),
    ] {
        let _ = writeln!(text, "{kind}: {}", names.join(" "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(arguments: &[&str]) -> Plan {
        let arguments = std::iter::once("plimsoll-flood").chain(arguments.iter().copied());
        Plan::of(&Options::try_parse_from(arguments).unwrap()).unwrap()
    }

    #[test]
    fn without_flags_plimsoll_runs_on_every_allocator_and_the_others_on_glibc() {
        let plan = plan(&[]);
        assert_eq!(plan.profiles, Profile::ALL);
        let on = |name: &str| {
            let guard: Protector = name.parse().unwrap();
            plan.variants.iter().filter(|variant| variant.guard == guard).count()
        };
        assert_eq!((on("none"), on("plimsoll"), on("fastify:10")), (1, 3, 1));
    }

    #[test]
    fn a_quick_run_is_the_control_and_plimsoll_on_glibc() {
        let plan = plan(&["--quick"]);
        assert_eq!((plan.variants.len(), plan.seconds), (2, QUICK_SECONDS));
    }

    #[test]
    fn the_matrix_is_plimsoll_on_every_allocator_in_every_profile_at_both_limits() {
        let plan = plan(&["--matrix", "--runs", "5"]);
        assert_eq!(plan.work, Work::Matrix(vec![256 * MB, 512 * MB]));
        assert_eq!((plan.profiles.len(), plan.variants.len(), plan.runs), (5, 6, 5));
        assert!(plan.variants.iter().all(|variant| variant.guard.is_plimsoll()));
    }

    #[test]
    fn a_soak_is_of_one_profile_and_lasts_for_minutes() {
        let minutes = plan(&["--soak", "3"]);
        assert_eq!((minutes.profiles.as_slice(), minutes.seconds), (&[Profile::Open][..], 180));
        assert_eq!(minutes.variants.len(), 1);
        assert_eq!(plan(&["--soak", "1", "--profile", "mix"]).profiles, [Profile::Mix]);
        let two = ["plimsoll-flood", "--soak", "1", "--profile", "mix,open"];
        assert!(Plan::of(&Options::try_parse_from(two).unwrap()).is_err());
    }

    #[test]
    fn variants_run_in_the_order_in_which_they_were_named() {
        let plan = plan(&["--variant", "plimsoll,none", "--allocator", "jemalloc"]);
        let names: Vec<String> = plan.variants.iter().map(|v| v.guard.to_string()).collect();
        assert_eq!(names, ["plimsoll", "none"]);
    }

    #[test]
    fn an_attack_is_made_on_an_unguarded_server_and_on_plimsoll() {
        let plan = plan(&["--adversary", "all"]);
        assert_eq!(plan.work, Work::Attack(Adversary::value_variants().to_vec()));
        let names: Vec<String> = plan.variants.iter().map(|v| v.guard.to_string()).collect();
        assert_eq!(names, ["none", "plimsoll"]);
        let error = Options::try_parse_from(["plimsoll-flood", "--adversary", "rain"]).unwrap_err();
        assert!(error.to_string().contains("rapid-reset"), "{error}");
    }
}
