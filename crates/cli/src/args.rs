//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{ArgAction, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::url::{BaseUrl, DEFAULT_URL};

/// Longest `--timeout` and `--interval`: a day. Far longer ones overflow the clocks of some systems.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// Shortest `--interval`: a tighter loop loads the server that it watches.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// `--interval` where nothing else is said.
pub(crate) const LINE_INTERVAL: Duration = Duration::from_secs(30);

/// What scripts are told.
const EXIT_CODES: &str = "\
Exit codes:
    0  done                   5  refused by the server
    1  unexpected             7  ran, but actions failed
    2  usage                 10  warning (`report --check`, `doctor`)
    3  unreachable           11  critical (`report --check`, `doctor`)
    4  not allowed          130  interrupted";

/// Report, cleanup, monitor and thresholds of a server that runs Plimsoll
#[derive(Debug, Parser)]
#[command(name = "plimsoll", version, max_term_width = 100, after_long_help = EXIT_CODES)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that every command takes.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Address of the server
    #[arg(long, global = true, env = "PLIMSOLL_URL", default_value = DEFAULT_URL)]
    pub(crate) url: BaseUrl,
    /// File with the access token; without it the variable PLIMSOLL_TOKEN
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) token_file: Option<PathBuf>,
    /// Print one JSON document (`monitor`: one a line)
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: ColorWhen,
    /// Print ASCII only: words instead of emoji
    #[arg(long, global = true)]
    pub(crate) ascii: bool,
    /// Print times in UTC instead of local time
    #[arg(long, global = true)]
    pub(crate) utc: bool,
    /// Longest wait for an answer [default: 10s; cleanups: 2m]
    #[arg(long, global = true, value_name = "DURATION", value_parser = timeout)]
    pub(crate) timeout: Option<Duration>,
    /// Say more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorWhen {
    /// On a terminal, unless NO_COLOR or CLICOLOR=0 is set
    Auto,
    Always,
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what the server holds now, and its newest cleanups
    #[command(alias = "memory:report")]
    Report(ReportArgs),
    /// Give memory back now
    #[command(alias = "memory:cleanup")]
    Cleanup(CleanupArgs),
    /// Print a line with the decision metric at once and after each interval
    #[command(alias = "memory:monitor")]
    Monitor(MonitorArgs),
    /// Show the thresholds, or change them
    #[command(alias = "memory:thresholds")]
    Thresholds(ThresholdsArgs),
    /// Run the database rules, then the aggressive cleanup
    Aggressive(AggressiveArgs),
    /// Watch the server on the full screen, and act on it; `?` shows the keys
    Watch,
    /// List the alerts; try the sinks, silence a rule, or resolve an alert
    Alerts(AlertsArgs),
    /// Check the set-up; each finding comes with its fix
    Doctor,
    /// Print a completion script
    Completions {
        /// The shell to complete in
        shell: Shell,
    },
}

/// Options of `report`.
#[derive(Debug, clap::Args)]
pub(crate) struct ReportArgs {
    /// Print one line; exit 10 at warning, 11 at critical
    #[arg(long)]
    pub(crate) check: bool,
    /// Show at most this many cleanups
    #[arg(long, value_name = "N", default_value_t = 5,
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) history: u16,
}

/// Options of `cleanup`.
#[derive(Debug, clap::Args)]
pub(crate) struct CleanupArgs {
    /// How hard to try; auto is what the level deserves, at least moderate
    #[arg(long, value_name = "LEVEL", default_value = "auto")]
    pub(crate) level: Level,
    /// Say what would be removed; change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// How hard a cleanup tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    Auto,
    Moderate,
    Aggressive,
}

/// Options of `monitor`.
#[derive(Debug, clap::Args)]
pub(crate) struct MonitorArgs {
    /// Time between two lines, at least 100ms
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = interval)]
    pub(crate) interval: Duration,
    /// End after this many checks; exit 3 if the last found no server
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) count: Option<u32>,
}

/// Options of `thresholds`.
#[derive(Debug, clap::Args)]
pub(crate) struct ThresholdsArgs {
    /// Warning and critical, `W,C` or two words: 2000 (MB), 2GB, 1.5GiB or 70% of the limit;
    /// `W,` or `,C` changes one side; nothing shows the present ones
    #[arg(value_name = "W,C", num_args = 0..=2)]
    pub(crate) values: Vec<String>,
}

/// Options of `alerts`; one at a time.
#[derive(Debug, clap::Args)]
pub(crate) struct AlertsArgs {
    /// Send a test notification to every sink and say how each fared; exit 7 if one failed
    #[arg(long, conflicts_with_all = ["silence", "resolve"])]
    pub(crate) test: bool,
    /// Hold back the notifications of a rule, such as MemoryWarning; needs --for
    #[arg(long, value_name = "NAME", requires = "span", conflicts_with = "resolve")]
    pub(crate) silence: Option<String>,
    /// How long, at most 24h, after which it ends by itself; 0s ends a silence now
    #[arg(id = "span", long = "for", value_name = "DURATION", requires = "silence",
          value_parser = silence)]
    pub(crate) span: Option<Duration>,
    /// Resolve an alert by its id; it comes back once its condition has cleared and returned
    #[arg(long, value_name = "ID")]
    pub(crate) resolve: Option<String>,
}

/// Options of `aggressive`.
#[derive(Debug, clap::Args)]
pub(crate) struct AggressiveArgs {
    /// Say what would be deleted; change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask; needed where nobody can answer
    #[arg(long)]
    pub(crate) yes: bool,
}

fn timeout(text: &str) -> Result<Duration, String> {
    duration(text, Duration::from_millis(1))
}

fn silence(text: &str) -> Result<Duration, String> {
    duration(text, Duration::ZERO)
}

fn interval(text: &str) -> Result<Duration, String> {
    duration(text, SHORTEST_INTERVAL)
}

fn duration(text: &str, shortest: Duration) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write `30s` or `500ms`"))?;
    if duration < shortest || duration > LONGEST {
        return Err(format!(
            "must be between {} and {}",
            humantime::format_duration(shortest),
            humantime::format_duration(LONGEST)
        ));
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn old_spellings_work_and_stay_hidden() {
        for (old, new) in [
            ("memory:report", "report"),
            ("memory:cleanup", "cleanup"),
            ("memory:monitor", "monitor"),
            ("memory:thresholds", "thresholds"),
        ] {
            let command = Args::command();
            assert_eq!(command.find_subcommand(old).unwrap().get_name(), new);
        }
        assert!(!Args::command().render_long_help().to_string().contains("memory:"));
    }

    #[test]
    fn durations_need_a_unit_and_a_sane_size() {
        assert_eq!(timeout("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(interval("100ms"), Ok(SHORTEST_INTERVAL));
        for bad in ["10", "0s", "-1s", "", "25h", "1000000000years"] {
            assert!(timeout(bad).is_err(), "{bad}");
        }
        assert!(interval("99ms").is_err());
    }
}
