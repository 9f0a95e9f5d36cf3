//! The figures of a run, and the table of both.

use std::{fmt::Write as _, time::Duration};

use super::{
    mb, name,
    probe::{Got, Probed},
    run::Run,
    seconds,
};
use crate::load::Latencies;

/// Time over which a p99 of the picture is taken.
pub(super) const WINDOW: Duration = Duration::from_secs(5);

/// What a run comes to.
#[derive(Debug)]
pub(super) struct Figures {
    /// The highest working set in bytes.
    pub(super) peak: u64,
    /// The highest working set of the last third of the load, in bytes; `None` for a server that
    /// was killed.
    pub(super) plateau: Option<u64>,
    /// The share of samples under load at or above critical.
    at_critical: f64,
    /// The p99 of admitted requests of the probe before the load.
    pub(super) idle: Option<Duration>,
    /// The same under load.
    pub(super) during: Option<Duration>,
    shed: usize,
    lost: usize,
    probes: usize,
    /// The p99 of each window under load, at the window's middle.
    pub(super) windows: Vec<(Duration, Duration)>,
}

impl Figures {
    pub(super) fn of(run: &Run) -> Self {
        let under_load: Vec<_> =
            run.memory.iter().copied().filter(|(at, _)| *at >= run.load_from).collect();
        let critical = under_load.iter().filter(|(_, bytes)| *bytes >= run.thresholds.critical);
        let last_third = under_load.len() * 2 / 3;
        let plateau = under_load[last_third..].iter().map(|(_, bytes)| *bytes).max();
        // What was asked of a server that was gone by then says nothing about it.
        let end = run.killed.unwrap_or(Duration::MAX);
        let before: Vec<_> = run.probed.iter().filter(|it| it.at < run.load_from).collect();
        let during: Vec<_> =
            run.probed.iter().filter(|it| it.at >= run.load_from && it.at < end).collect();
        let count = |got: Got| during.iter().filter(|it| it.got == got).count();
        Self {
            peak: run.memory.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0),
            plateau: plateau.filter(|_| run.killed.is_none()),
            at_critical: critical.count() as f64 / under_load.len().max(1) as f64,
            idle: p99(&before),
            during: p99(&during),
            shed: count(Got::Shed),
            lost: count(Got::Lost),
            probes: during.len(),
            windows: windows(&during),
        }
    }

    fn ratio(&self) -> Option<f64> {
        Some(seconds(self.during?) / seconds(self.idle?))
    }
}

fn p99(probed: &[&Probed]) -> Option<Duration> {
    let mut latencies = Latencies::default();
    for probed in probed {
        if let Got::Admitted(latency) = probed.got {
            latencies.push(latency);
        }
    }
    latencies.quantile(0.99)
}

fn windows(probed: &[&Probed]) -> Vec<(Duration, Duration)> {
    let window = |it: &&Probed| it.at.as_micros() / WINDOW.as_micros();
    probed
        .chunk_by(|a, b| window(a) == window(b))
        .filter_map(|chunk| {
            let first = chunk.first()?;
            let number = u32::try_from(window(first)).ok()?;
            Some((WINDOW * number + WINDOW / 2, p99(chunk)?))
        })
        .collect()
}

/// Both runs side by side, as Markdown.
pub(super) fn table(runs: &[Run], figures: &[Figures]) -> String {
    let mut text = String::from("|");
    for run in runs {
        let _ = write!(text, " | {}", name(run.guard));
    }
    text.push_str(" |\n|---");
    runs.iter().for_each(|_| text.push_str("|---"));
    text.push_str("|\n");
    let both = || runs.iter().zip(figures);
    let mut row = |label: &str, cells: Vec<String>| {
        let _ = writeln!(text, "| {label} | {} |", cells.join(" | "));
    };
    row("fate", both().map(|(run, _)| fate(run)).collect());
    row("peak of the working set", both().map(|(_, it)| format!("{} MB", mb(it.peak))).collect());
    row("plateau: the highest of the last third", both().map(plateau).collect());
    let critical = |it: &Figures| format!("{:.1} %", it.at_critical * 100.0);
    row("time at or above critical", both().map(|(_, it)| critical(it)).collect());
    row("p99 of admitted requests, idle", both().map(|(_, it)| millis(it.idle)).collect());
    row("p99 of admitted requests, under load", both().map(|(_, it)| millis(it.during)).collect());
    let ratio = |it: &Figures| it.ratio().map_or_else(na, |ratio| format!("{ratio:.2}"));
    row("ratio", both().map(|(_, it)| ratio(it)).collect());
    let refused = |it: &Figures| format!("{} / {} of {}", it.shed, it.lost, it.probes);
    row("probes refused / lost", both().map(|(_, it)| refused(it)).collect());
    row("cleanups", both().map(|(run, _)| cleanups(run)).collect());
    row("rows deleted by the rules", both().map(|(run, _)| deleted(run)).collect());
    text
}

fn na() -> String {
    "n/a".to_owned()
}

fn fate(run: &Run) -> String {
    let end = run.killed.or(run.memory.last().map(|(at, _)| *at)).unwrap_or_default();
    let after = seconds(end.saturating_sub(run.load_from));
    let word = if run.killed.is_some() { "killed after" } else { "survived" };
    format!("{word} {after:.0} s of load")
}

fn plateau((run, figures): (&Run, &Figures)) -> String {
    let Some(bytes) = figures.plateau else { return na() };
    let share = bytes as f64 * 100.0 / run.thresholds.critical as f64;
    format!("{} MB, {share:.0} % of critical", mb(bytes))
}

fn millis(latency: Option<Duration>) -> String {
    latency.map_or_else(na, |latency| format!("{:.1} ms", seconds(latency) * 1e3))
}

fn cleanups(run: &Run) -> String {
    run.cleanups.map_or_else(na, |count| format!("{count:.0}"))
}

fn deleted(run: &Run) -> String {
    let Some(report) = &run.report else { return na() };
    let rules = report["retention"]["rules"].as_array().map_or(&[][..], Vec::as_slice);
    let sum: u64 = rules.iter().filter_map(|rule| rule["deletedTotal"].as_u64()).sum();
    sum.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::run::climbing;

    #[test]
    fn the_plateau_is_of_the_last_third_and_only_of_who_lives() {
        let mut run = climbing(true, None);
        // A peak in the first third of the load, which the plateau does not see.
        run.memory[300].1 = 900_000_000;
        let figures = Figures::of(&run);
        assert_eq!((figures.peak, figures.plateau), (900_000_000, Some(1999 * 400_000)));
        assert_eq!(Figures::of(&climbing(false, Some(90))).plateau, None);
    }

    #[test]
    fn what_came_before_the_load_is_what_it_is_held_against() {
        let mut run = climbing(true, None);
        run.probed[500].got = Got::Shed;
        run.probed[501].got = Got::Lost;
        let figures = Figures::of(&run);
        assert_eq!(figures.ratio(), Some(1.5));
        assert_eq!((figures.shed, figures.lost, figures.probes), (1, 1, 1800));
        // Windows of 5 s, from the start of the load on.
        assert_eq!(figures.windows.len(), 36);
        let first = (Duration::from_millis(22_500), Duration::from_millis(3));
        assert_eq!(figures.windows[0], first);
    }

    #[test]
    fn probes_of_a_server_that_is_gone_do_not_count() {
        let mut run = climbing(false, Some(90));
        let late = Probed { at: Duration::from_secs(91), got: Got::Lost };
        run.probed.push(late);
        assert_eq!(Figures::of(&run).lost, 0);
    }

    #[test]
    fn the_table_has_a_column_for_each() {
        let runs = [climbing(false, Some(90)), climbing(true, None)];
        let figures = runs.each_ref().map(Figures::of);
        let text = table(&runs, &figures);
        assert!(
            text.starts_with("| | without Plimsoll | with Plimsoll |\n|---|---|---|\n"),
            "{text}"
        );
        assert!(text.contains("| killed after 70 s of load | survived 180 s of load |"), "{text}");
        assert!(text.contains("| n/a | 800 MB, 184 % of critical |"), "{text}");
        assert!(text.lines().all(|line| line.matches('|').count() == 4), "{text}");
    }
}
