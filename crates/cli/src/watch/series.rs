//! The chart's points: an hour of them, cut where the server was another one.

use std::collections::VecDeque;

use crate::wire::{Sample, Status};

/// An hour at one a second, and the coarse ones before them.
const MOST: usize = 4_096;
/// Samples of the past are 10 s apart; a longer hole is one in which nothing was known.
const LONGEST_STEP: i64 = 15_000;

/// One moment.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Point {
    /// Milliseconds since 1970, on the server's clock.
    at: i64,
    /// `None` is not known.
    figure: Option<u64>,
    level: Status,
    /// The first of another life of the server: no line joins it to what was before.
    cut: bool,
}

/// What one column of the chart shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Column {
    /// Nothing is known of this time.
    Empty,
    /// The server started again here.
    Cut,
    /// The highest figure and its level.
    Bar(u64, Status),
}

/// Points, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Series {
    points: VecDeque<Point>,
    cut: bool,
}

impl Series {
    /// Starts over with a snapshot's samples; what was before another life of the server stays.
    pub(super) fn replace(&mut self, samples: &[Sample]) {
        let first = samples.iter().find_map(|sample| sample.timestamp);
        match (self.cut, first) {
            // One life, one truth: the snapshot knows all of it.
            (false, _) => self.points.clear(),
            (true, Some(first)) => self.points.retain(|point| point.at < first),
            (true, None) => {}
        }
        for sample in samples {
            self.push(sample);
        }
    }

    /// Adds a sample; one that is older than the newest is known already.
    pub(super) fn push(&mut self, sample: &Sample) {
        let Some(at) = sample.timestamp else { return };
        self.add(at, sample.figure, sample.level());
    }

    /// Adds a figure.
    pub(super) fn add(&mut self, at: i64, figure: Option<u64>, level: Status) {
        if self.points.back().is_some_and(|newest| newest.at >= at) {
            return;
        }
        if self.points.len() == MOST {
            self.points.pop_front();
        }
        let cut = std::mem::take(&mut self.cut);
        self.points.push_back(Point { at, figure, level, cut });
    }

    /// Says that what comes is of another life of the server.
    pub(super) fn cut(&mut self) {
        self.cut = !self.points.is_empty();
    }

    /// The newest moment.
    pub(super) fn newest(&self) -> Option<i64> {
        self.points.back().map(|point| point.at)
    }

    /// The span before `end` in `width` columns, oldest first.
    pub(super) fn columns(&self, end: i64, span: i64, width: u16) -> Vec<Column> {
        let mut points = self.points.iter().peekable();
        let mut before: Option<&Point> = None;
        let mut columns = Vec::with_capacity(usize::from(width));
        for column in 0..i64::from(width) {
            let from = end - span + span * column / i64::from(width);
            let to = end - span + span * (column + 1) / i64::from(width);
            let mut cut = false;
            let mut highest: Option<&Point> = None;
            while let Some(point) = points.next_if(|point| point.at <= to) {
                if point.at > from {
                    cut |= point.cut;
                    highest = highest.filter(|high| high.figure >= point.figure).or(Some(point));
                }
                before = Some(point);
            }
            let shown = highest.or(before.filter(|point| from - point.at <= LONGEST_STEP));
            columns.push(match shown {
                _ if cut => Column::Cut,
                Some(Point { figure: Some(figure), level, .. }) => {
                    Column::Bar(*figure, level.clone())
                }
                _ => Column::Empty,
            });
        }
        columns
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample(at: i64, figure: u64) -> Sample {
        serde_json::from_value(json!({"timestamp": at, "figure": figure, "level": "healthy"}))
            .unwrap()
    }

    fn bars(columns: &[Column]) -> String {
        columns
            .iter()
            .map(|column| match column {
                Column::Empty => ".".to_owned(),
                Column::Cut => "|".to_owned(),
                Column::Bar(figure, _) => figure.to_string(),
            })
            .collect()
    }

    #[test]
    fn a_column_shows_its_highest_and_short_holes_are_joined() {
        let mut series = Series::default();
        series.replace(&[
            sample(10_000, 1),
            sample(11_000, 5),
            sample(12_000, 2),
            sample(22_000, 3),
        ]);
        // Columns of 2 s each: the hole of 10 s is of coarse samples and is joined.
        assert_eq!(bars(&series.columns(24_000, 16_000, 8)), "15222233");
    }

    #[test]
    fn a_long_hole_and_another_life_are_not_joined() {
        let mut series = Series::default();
        series.replace(&[sample(1_000, 1), sample(41_000, 2)]);
        assert_eq!(bars(&series.columns(50_000, 50_000, 10)), "1111....2".to_owned() + "2");
        series.cut();
        series.replace(&[sample(51_000, 3), sample(52_000, 4)]);
        assert_eq!(bars(&series.columns(52_000, 12_000, 12)), "222222222".to_owned() + "2|4");
    }

    #[test]
    fn a_snapshot_replaces_what_one_life_told_and_old_samples_change_nothing() {
        let mut series = Series::default();
        series.push(&sample(1_000, 9));
        series.replace(&[sample(1_000, 1), sample(2_000, 2)]);
        series.push(&sample(2_000, 7));
        assert_eq!(bars(&series.columns(2_000, 2_000, 2)), "12");
        for at in 0..10_000 {
            series.push(&sample(3_000 + at, 1));
        }
        assert_eq!(series.points.len(), MOST);
    }
}
