//! The settings that come from environment variables, checked all at once.
//!
//! Nothing here reads the environment unasked: [`EnvSettings::from_vars`] is a pure function of
//! the variables it is given, and [`EnvSettings::from_process`] hands it those of the process.

use std::{
    collections::BTreeMap, error::Error, ffi::OsString, fmt, ops::RangeInclusive, str::FromStr,
    time::Duration,
};

use crate::{
    reading::MemoryMetric,
    thresholds::{Threshold, Thresholds},
    units::{self, quoted},
};

/// `MEMORY_CHECK_INTERVAL` when it is not set.
pub const DEFAULT_CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// `CLEANUP_COOLDOWN` when it is not set.
pub const DEFAULT_CLEANUP_COOLDOWN: Duration = Duration::from_secs(30);
/// `SOCKET_CLEANUP_TIMEOUT` when it is not set.
pub const DEFAULT_SOCKET_CLEANUP_TIMEOUT: Duration = Duration::from_secs(15);
/// `ALERT_COOLDOWN` when it is not set.
pub const DEFAULT_ALERT_COOLDOWN: Duration = Duration::from_secs(30);
/// `ALERT_REPEAT_INTERVAL` when it is not set.
pub const DEFAULT_ALERT_REPEAT_INTERVAL: Duration = Duration::from_secs(600);
/// `RETENTION_INTERVAL` when it is not set.
pub const DEFAULT_RETENTION_INTERVAL: Duration = Duration::from_secs(300);
/// What `MEMORY_CHECK_INTERVAL` may be, also when a program sets it.
pub const CHECK_INTERVAL_RANGE: RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_secs(600);

/// No wait is longer than a week: beyond that, a unit was mistaken.
const LONGEST_WAIT: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Variables that the service manager systemd sets; they are not misspelt ones of ours.
const FOREIGN: [&str; 2] = ["MEMORY_PRESSURE_WATCH", "MEMORY_PRESSURE_WRITE"];
/// Up to this many edits apart, one name is taken for a slip of the other.
const NEAR_EDITS: usize = 4;

/// What the variables say; `None` where one is not set, and the default holds.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct EnvSettings {
    /// `MEMORY_WARNING_THRESHOLD`.
    pub warning: Option<Threshold>,
    /// `MEMORY_CRITICAL_THRESHOLD`.
    pub critical: Option<Threshold>,
    /// `MEMORY_CHECK_INTERVAL`, 10 ms to 10 min.
    pub check_interval: Option<Duration>,
    /// `CLEANUP_COOLDOWN`, at most a week.
    pub cleanup_cooldown: Option<Duration>,
    /// `MEMORY_METRIC`.
    pub metric: Option<MemoryMetric>,
    /// `MEMORY_RELEASE_INTERVAL`: zero turns proactive release off, else 100 ms to a week.
    pub release_interval: Option<Duration>,
    /// `SOCKET_CLEANUP_TIMEOUT`, 1 ms to a week.
    pub socket_cleanup_timeout: Option<Duration>,
    /// `ALERT_COOLDOWN`, at most a week.
    pub alert_cooldown: Option<Duration>,
    /// `ALERT_REPEAT_INTERVAL`, 1 s to a week.
    pub alert_repeat_interval: Option<Duration>,
    /// `ALERT_WEBHOOK_URL`, an `http` or `https` URL.
    pub alert_webhook_url: Option<Secret>,
    /// `ALERT_SLACK_URL`, an `http` or `https` URL.
    pub alert_slack_url: Option<Secret>,
    /// `RETENTION_INTERVAL`, 1 s to a week.
    pub retention_interval: Option<Duration>,
    /// `MONITOR_TOKEN`, which may operate; visible ASCII.
    pub monitor_token: Option<Secret>,
    /// `MONITOR_READ_TOKEN`, which may only read; visible ASCII.
    pub monitor_read_token: Option<Secret>,
    /// `MONITOR_ACCESS`.
    pub monitor_access: Option<MonitorAccess>,
    /// What is odd but stops nothing, for the log.
    pub warnings: Vec<String>,
}

impl EnvSettings {
    /// Reads the variables of this process.
    ///
    /// # Errors
    /// As [`EnvSettings::from_vars`].
    pub fn from_process() -> Result<Self, EnvError> {
        Self::from_vars(std::env::vars_os())
    }

    /// Reads the settings from pairs of name and value; of a name given twice the last counts.
    /// Names that are not ours are skipped, unless they start with `MEMORY_`: those earn a
    /// warning.
    ///
    /// ```
    /// # use plimsoll_core::env::EnvSettings;
    /// let vars = [("MEMORY_CHECK_INTERVAL", "5s")].map(|(name, value)| (name.into(), value.into()));
    /// assert_eq!(EnvSettings::from_vars(vars)?.check_interval.map(|d| d.as_secs()), Some(5));
    /// # Ok::<(), plimsoll_core::env::EnvError>(())
    /// ```
    ///
    /// # Errors
    /// Names every variable whose value is empty, malformed or out of range, and a warning
    /// threshold that is not below the critical one.
    pub fn from_vars(
        vars: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, EnvError> {
        let mut vars = Vars::collect(vars);
        let mut settings = Self {
            warning: vars.take("MEMORY_WARNING_THRESHOLD", parsed),
            critical: vars.take("MEMORY_CRITICAL_THRESHOLD", parsed),
            check_interval: vars.wait("MEMORY_CHECK_INTERVAL", CHECK_INTERVAL_RANGE),
            cleanup_cooldown: vars.wait("CLEANUP_COOLDOWN", Duration::ZERO..=LONGEST_WAIT),
            metric: vars.take("MEMORY_METRIC", parsed),
            release_interval: vars.take(
                "MEMORY_RELEASE_INTERVAL",
                |text| match units::parse_millis(text) {
                    Ok(Duration::ZERO) => Ok(Duration::ZERO),
                    _ => wait_within(text, &(Duration::from_millis(100)..=LONGEST_WAIT))
                        .map_err(|message| format!("{message}, or 0 for off")),
                },
            ),
            socket_cleanup_timeout: vars
                .wait("SOCKET_CLEANUP_TIMEOUT", Duration::from_millis(1)..=LONGEST_WAIT),
            alert_cooldown: vars.wait("ALERT_COOLDOWN", Duration::ZERO..=LONGEST_WAIT),
            alert_repeat_interval: vars
                .wait("ALERT_REPEAT_INTERVAL", Duration::from_secs(1)..=LONGEST_WAIT),
            alert_webhook_url: vars.take("ALERT_WEBHOOK_URL", url),
            alert_slack_url: vars.take("ALERT_SLACK_URL", url),
            retention_interval: vars
                .wait("RETENTION_INTERVAL", Duration::from_secs(1)..=LONGEST_WAIT),
            monitor_token: vars.take("MONITOR_TOKEN", token),
            monitor_read_token: vars.take("MONITOR_READ_TOKEN", token),
            monitor_access: vars.take("MONITOR_ACCESS", parsed),
            warnings: Vec::new(),
        };
        settings.check_pairs(&mut vars.mistakes);
        if !vars.mistakes.is_empty() {
            return Err(EnvError { mistakes: vars.mistakes });
        }
        settings.warnings = vars.unknown_memory_names();
        settings.warn_about_pairs();
        Ok(settings)
    }

    /// Mistakes that only show when two variables are seen side by side.
    fn check_pairs(&self, mistakes: &mut Vec<EnvMistake>) {
        if let (Some(warning), Some(critical)) = (self.warning, self.critical)
            && let Err(error) = Thresholds::of(warning, critical)
        {
            mistakes.push(EnvMistake {
                variable: "MEMORY_WARNING_THRESHOLD",
                message: error.to_string(),
            });
        }
        if self.monitor_token.is_some() && self.monitor_token == self.monitor_read_token {
            mistakes.push(EnvMistake {
                variable: "MONITOR_READ_TOKEN",
                message: "is the same as MONITOR_TOKEN, so whoever may read could operate; \
                          accepted is another token, or none"
                    .to_owned(),
            });
        }
    }

    fn warn_about_pairs(&mut self) {
        let check = self.check_interval.unwrap_or(DEFAULT_CHECK_INTERVAL);
        let cooldown = self.cleanup_cooldown.unwrap_or(DEFAULT_CLEANUP_COOLDOWN);
        if cooldown < check {
            self.warnings.push(format!(
                "CLEANUP_COOLDOWN ({} ms) is shorter than MEMORY_CHECK_INTERVAL ({} ms): \
                 every check may start a cleanup",
                cooldown.as_millis(),
                check.as_millis(),
            ));
        }
        if self.monitor_access == Some(MonitorAccess::Bearer)
            && self.monitor_token.is_none()
            && self.monitor_read_token.is_none()
        {
            self.warnings.push(
                "MONITOR_ACCESS is bearer, but neither MONITOR_TOKEN nor MONITOR_READ_TOKEN is \
                 set: unless the program sets a token, everyone is refused"
                    .to_owned(),
            );
        }
    }
}

/// Who reaches the monitoring routes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the contract fixes the three words")]
pub enum MonitorAccess {
    /// Requests from this machine only.
    #[default]
    Loopback,
    /// Requests with a token.
    Bearer,
    /// Everybody.
    Public,
}

impl MonitorAccess {
    /// The word in the environment: `loopback`, `bearer` or `public`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Bearer => "bearer",
            Self::Public => "public",
        }
    }
}

impl fmt::Display for MonitorAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for MonitorAccess {
    type Err = UnknownAccess;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim() {
            "loopback" => Ok(Self::Loopback),
            "bearer" => Ok(Self::Bearer),
            "public" => Ok(Self::Public),
            other => Err(UnknownAccess { value: quoted(other) }),
        }
    }
}

/// A word that names no [`MonitorAccess`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{value} is not a way of access; accepted are loopback, bearer and public")]
pub struct UnknownAccess {
    value: String,
}

/// A token, or a URL with a token in it, that no log may hold: `Debug` hides it, and there is
/// no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret as it is.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// Gives the text away, to the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

/// Every variable that is not usable, with what would be.
///
/// Its `Debug` is its `Display`: that is what a `main` that returns it prints.
#[derive(Clone, PartialEq, Eq)]
pub struct EnvError {
    mistakes: Vec<EnvMistake>,
}

impl EnvError {
    /// The mistakes, at least one, each with its variable.
    pub fn mistakes(&self) -> &[EnvMistake] {
        &self.mistakes
    }
}

impl fmt::Debug for EnvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for EnvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("invalid environment: ")?;
        for (position, mistake) in self.mistakes.iter().enumerate() {
            if position > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{mistake}")?;
        }
        Ok(())
    }
}

impl Error for EnvError {}

/// One variable that is not usable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {message}")]
pub struct EnvMistake {
    variable: &'static str,
    message: String,
}

impl EnvMistake {
    /// The variable's name.
    pub fn variable(&self) -> &'static str {
        self.variable
    }

    /// What is wrong, with the value (unless it is secret) and the accepted forms.
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// The variables as they are used up, and the mistakes found so far.
struct Vars {
    values: BTreeMap<String, OsString>,
    known: Vec<&'static str>,
    mistakes: Vec<EnvMistake>,
}

impl Vars {
    fn collect(vars: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        // A name that is not Unicode cannot be one of ours.
        let values = vars
            .into_iter()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .collect();
        Self { values, known: Vec::new(), mistakes: Vec::new() }
    }

    fn take<T>(
        &mut self,
        variable: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.known.push(variable);
        let value = self.values.remove(variable)?;
        // What is not Unicode turns into characters that every parser refuses, and so is an
        // empty value: it is more often a slip in a template than a wish for the default.
        let parsed = parse(value.to_string_lossy().trim());
        parsed.map_err(|message| self.mistakes.push(EnvMistake { variable, message })).ok()
    }

    fn wait(
        &mut self,
        variable: &'static str,
        range: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        self.take(variable, |text| wait_within(text, &range))
    }

    fn unknown_memory_names(&self) -> Vec<String> {
        let ours = || self.known.iter().filter(|known| known.starts_with("MEMORY_")).copied();
        self.values
            .keys()
            .filter(|name| name.starts_with("MEMORY_") && !FOREIGN.contains(&name.as_str()))
            .map(|name| {
                let meant = match nearest(name, &self.known) {
                    Some(near) => near.to_owned(),
                    None => format!("one of {}", ours().collect::<Vec<_>>().join(", ")),
                };
                format!("unknown variable {} is ignored; did you mean {meant}?", quoted(name))
            })
            .collect()
    }
}

fn parsed<T: FromStr<Err: fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

fn wait_within(text: &str, range: &RangeInclusive<Duration>) -> Result<Duration, String> {
    let wait = units::parse_millis(text).map_err(|error| error.to_string())?;
    if range.contains(&wait) {
        return Ok(wait);
    }
    Err(format!(
        "{} is out of range; accepted is {}..{} ms, as a number such as 10000 or with a unit \
         such as 10s",
        quoted(text),
        range.start().as_millis(),
        range.end().as_millis(),
    ))
}

/// Only the shape is looked at; the sink that calls the URL resolves it. The message holds no
/// part of the value, since webhook URLs carry their secret.
fn url(text: &str) -> Result<Secret, String> {
    let rest = ["http://", "https://"].iter().find_map(|scheme| {
        let (start, rest) = text.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    });
    let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
    let authority = host.rsplit('@').next().unwrap_or_default();
    if authority.is_empty() || authority.starts_with(':') || !visible_ascii(text) {
        return Err("the value (not shown) is not a URL; accepted is an http:// or https:// URL \
                    in ASCII without spaces"
            .to_owned());
    }
    Ok(Secret::new(text))
}

fn token(text: &str) -> Result<Secret, String> {
    if text.is_empty() || !visible_ascii(text) {
        return Err("the value (not shown) is not a token; accepted are visible ASCII characters \
                    without spaces, at least one"
            .to_owned());
    }
    Ok(Secret::new(text))
}

fn visible_ascii(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The name that `name` is most likely a slip of.
fn nearest(name: &str, known: &[&'static str]) -> Option<&'static str> {
    known
        .iter()
        .map(|known| (if known.starts_with(name) { 0 } else { edits(name, known) }, *known))
        .filter(|(edits, _)| *edits <= NEAR_EDITS)
        .min()
        .map(|(_, known)| known)
}

/// Levenshtein's distance: letters to insert, delete or replace to turn one into the other.
fn edits(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, from) in from.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, to) in to.bytes().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests;
