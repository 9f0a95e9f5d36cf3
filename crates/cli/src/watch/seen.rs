//! What is known of the server, put together from reports, events and polls.

use std::{cmp::Reverse, collections::HashMap};

use super::series::Series;
use crate::wire::{AlertState, Live, Record, Route, Sample, ThresholdsChanged};

/// Rows kept of what can grow without bound at a hostile server.
const MOST_ROWS: usize = 500;

/// A route with its rates since the poll before.
#[derive(Clone, Debug, Default)]
pub(super) struct RouteRow {
    pub(super) route: Route,
    /// Per second; `None` at the first sight.
    pub(super) admitted_rate: Option<f64>,
    pub(super) shed_rate: Option<f64>,
}

/// What is known of the server; all of it stands still while paused.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) live: Option<Live>,
    pub(super) series: Series,
    /// Newest first.
    pub(super) cleanups: Vec<Record>,
    pub(super) alerts: Vec<AlertState>,
    /// Largest first.
    pub(super) routes: Vec<RouteRow>,
    /// Our clock at the poll before.
    routes_at: i64,
}

impl Seen {
    /// Takes over a report; returns the name of the server if it is another one than before.
    pub(super) fn adopt(&mut self, live: Live) -> Option<String> {
        let before = self.live.as_ref().and_then(|live| live.report.instance.clone());
        let another = (before.is_some() && before != live.report.instance)
            .then(|| live.report.instance.clone().unwrap_or_else(|| "n/a".to_owned()));
        if another.is_some() {
            // Another life of the server: nothing of before is joined to it.
            self.series.cut();
            self.routes.clear();
            self.cleanups.clear();
        }
        self.alerts.clone_from(&live.parts.alerts);
        self.alerts.truncate(MOST_ROWS);
        self.live = Some(live);
        another
    }

    /// Starts over with a snapshot's samples and cleanups.
    pub(super) fn restart_with(&mut self, samples: &[Sample], cleanups: Vec<Record>) {
        self.series.replace(samples);
        self.cleanups = cleanups;
        self.cleanups.truncate(MOST_ROWS);
    }

    /// Adds the newest cleanup, unless it is known.
    pub(super) fn add_cleanup(&mut self, record: Record) {
        let known = self.cleanups.iter().any(|known| known.timestamp == record.timestamp);
        if !known {
            self.cleanups.insert(0, record);
            self.cleanups.truncate(MOST_ROWS);
        }
    }

    /// Takes over what became of an alert.
    pub(super) fn turn_alert(&mut self, alert: AlertState) {
        self.alerts.retain(|known| known.id != alert.id);
        if alert.state.as_deref() != Some("resolved") {
            self.alerts.insert(0, alert);
            self.alerts.truncate(MOST_ROWS);
        }
    }

    /// Takes over thresholds that somebody has changed.
    pub(super) fn take_thresholds(&mut self, changed: &ThresholdsChanged) {
        if let (Some(live), Some(thresholds)) = (&mut self.live, &changed.thresholds) {
            live.report.take_thresholds(thresholds.clone(), changed);
        }
    }

    /// Takes over the routes; rates are those since the poll before.
    pub(super) fn take_routes(&mut self, routes: Vec<Route>, now: i64) {
        #[expect(clippy::cast_precision_loss, reason = "a poll's milliseconds")]
        let seconds = (now - self.routes_at) as f64 / 1_000.0;
        let before: HashMap<_, _> = std::mem::take(&mut self.routes)
            .into_iter()
            .map(|row| (row.route.route.clone(), row.route))
            .collect();
        let rate = |then: Option<u64>, now: Option<u64>| {
            #[expect(clippy::cast_precision_loss, reason = "requests between two polls")]
            let grown = now?.checked_sub(then?)? as f64;
            (seconds > 0.0).then(|| grown / seconds)
        };
        let mut rows: Vec<RouteRow> = routes
            .into_iter()
            .map(|route| {
                let then = before.get(&route.route);
                let admitted_rate = rate(then.and_then(|then| then.admitted), route.admitted);
                let shed_rate = rate(then.and_then(|then| then.shed), route.shed);
                RouteRow { route, admitted_rate, shed_rate }
            })
            .collect();
        rows.sort_by_key(|row| {
            let route = &row.route;
            let sizes = (route.held_bytes(), route.in_flight, route.admitted);
            (Reverse(sizes), route.route.clone())
        });
        rows.truncate(MOST_ROWS);
        self.routes = rows;
        self.routes_at = now;
    }
}
