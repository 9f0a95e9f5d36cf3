//! Who lives, counted: a line for all runs of one server in one profile.

use crate::{
    outcome::{Outcome, Verdict},
    table::shown,
};

pub(crate) const HEAD: &str = "\
limit   profile variant                allocator  kills  hangs   goodput/s min/median/max   of best min/median/max  \
livez lost  worst p99 200  worst p99 503";

/// Least, middle and greatest of a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Spread {
    least: f64,
    median: f64,
    greatest: f64,
}

impl Spread {
    /// Of none it is `None`: nothing was seen, which is not zero.
    fn of(figures: impl Iterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<f64> = figures.collect();
        figures.sort_unstable_by(f64::total_cmp);
        let middle = figures.len() / 2;
        let upper = *figures.get(middle)?;
        let median = if figures.len().is_multiple_of(2) {
            (figures[middle - 1] + upper) / 2.0
        } else {
            upper
        };
        Some(Self { least: *figures.first()?, median, greatest: *figures.last()? })
    }

    fn shown(self, digits: usize) -> String {
        let Self { least, median, greatest } = self;
        format!("{least:.digits$} / {median:.digits$} / {greatest:.digits$}")
    }
}

/// What all runs of one server in one profile showed; killed ones count in every figure.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cell {
    kills: usize,
    hangs: usize,
    goodput: Option<Spread>,
    share: Option<Spread>,
    probes: usize,
    probes_lost: usize,
    /// The worst of the runs.
    served_p99_of_hold: Option<f64>,
    refused_p99_ms: Option<f64>,
}

impl Cell {
    fn of(runs: &[Outcome]) -> Self {
        let worst = |figure: fn(&Outcome) -> Option<f64>| {
            runs.iter().filter_map(figure).max_by(f64::total_cmp)
        };
        Self {
            kills: kills(runs),
            hangs: hangs(runs),
            goodput: Spread::of(runs.iter().map(|run| run.served_per_second)),
            share: Spread::of(runs.iter().map(|run| run.share_of_best)),
            probes: runs.iter().map(|run| run.probes).sum(),
            probes_lost: runs.iter().map(|run| run.probes_lost).sum(),
            served_p99_of_hold: worst(|run| run.served_p99_of_hold),
            refused_p99_ms: worst(|run| run.refused_p99_ms),
        }
    }
}

/// One that ended by itself was as little there for its users.
fn kills(runs: &[Outcome]) -> usize {
    let gone =
        |run: &&Outcome| matches!(run.verdict, Verdict::Killed { .. } | Verdict::Ended { .. });
    runs.iter().filter(gone).count()
}

fn hangs(runs: &[Outcome]) -> usize {
    runs.iter().filter(|run| run.verdict == Verdict::Hung).count()
}

/// The line of one cell; empty without a run.
pub(crate) fn row(runs: &[Outcome]) -> String {
    let Some(first) = runs.first() else { return String::new() };
    let cell = Cell::of(runs);
    format!(
        "{:<8}{:<8}{:<23}{:<10}{:>6}{:>7}{:>27}{:>25}{:>12}{:>15}{:>15}",
        format!("{} MB", first.limit_bytes / plimsoll_flood::MB),
        first.profile.to_string(),
        first.guard,
        first.allocator,
        cell.kills,
        cell.hangs,
        shown(cell.goodput.map(|spread| spread.shown(1))),
        shown(cell.share.map(|spread| spread.shown(3))),
        format!("{}/{}", cell.probes_lost, cell.probes),
        shown(cell.served_p99_of_hold.map(|ratio| format!("{ratio:.3}"))),
        shown(cell.refused_p99_ms.map(|ms| format!("{ms:.1} ms"))),
    )
}

/// The last line.
pub(crate) fn summary(runs: &[Outcome]) -> String {
    format!("kills {} of {}, hangs {}", kills(runs), runs.len(), hangs(runs))
}

/// Whether all servers were there to the end.
pub(crate) fn all_lived(runs: &[Outcome]) -> bool {
    kills(runs) + hangs(runs) == 0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::outcome::tests::outcome;

    fn run(verdict: Verdict, goodput: f64, lost: usize, refused_p99_ms: Option<f64>) -> Outcome {
        Outcome {
            verdict,
            served_per_second: goodput,
            share_of_best: goodput / 100.0,
            probes: 10,
            probes_lost: lost,
            served_p99_of_hold: Some(1.0),
            refused_p99_ms,
            ..outcome()
        }
    }

    #[test]
    fn the_middle_of_an_even_number_lies_between_two() {
        let spread = |figures: &[f64]| Spread::of(figures.iter().copied());
        let of = |least, median, greatest| Some(Spread { least, median, greatest });
        assert_eq!(spread(&[3.0, 1.0, 2.0]), of(1.0, 2.0, 3.0));
        assert_eq!(spread(&[4.0, 1.0, 2.0, 3.0]), of(1.0, 2.5, 4.0));
        assert_eq!(spread(&[7.0]), of(7.0, 7.0, 7.0));
        assert_eq!(spread(&[]), None);
    }

    #[test]
    fn a_cell_counts_deaths_adds_up_lost_probes_and_keeps_the_worst_times() {
        let killed = Verdict::Killed { at: Duration::from_secs(1) };
        let runs = [
            run(Verdict::Survived, 50.0, 0, Some(0.5)),
            run(killed, 10.0, 7, None),
            run(Verdict::Hung, 0.0, 10, Some(9.0)),
            run(Verdict::Ended { at: Duration::ZERO }, 20.0, 1, Some(2.0)),
        ];
        let cell = Cell::of(&runs);
        assert_eq!((cell.kills, cell.hangs), (2, 1));
        assert_eq!((cell.probes_lost, cell.probes), (18, 40));
        assert_eq!(cell.refused_p99_ms, Some(9.0));
        assert_eq!(cell.goodput, Some(Spread { least: 0.0, median: 15.0, greatest: 50.0 }));
        assert_eq!(summary(&runs), "kills 2 of 4, hangs 1");
        assert!(!all_lived(&runs) && all_lived(&runs[..1]));
    }

    #[test]
    fn what_nobody_saw_is_shown_as_such_and_not_as_zero() {
        let row = row(&[run(Verdict::Survived, 50.0, 0, None)]);
        assert!(row.contains("50.0 / 50.0 / 50.0") && row.ends_with("n/a"), "{row}");
    }
}
