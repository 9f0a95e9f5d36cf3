//! Everything the screen knows, and how events change it. Pure: the time is handed in.

use serde_json::Value;

use super::{
    dialog::Dialog,
    event::{Effect, Event, Polled, Trouble},
    seen::Seen,
};
use crate::{
    exit::Exit,
    render,
    text::{count, figure},
    time,
    wire::{Aggressive, AlertState, Live, Record, Sample, Snapshot, ThresholdsChanged},
};

/// Spans of the chart in milliseconds, shortest first.
pub(super) const SPANS: [i64; 4] = [2 * MINUTE, 5 * MINUTE, 15 * MINUTE, 60 * MINUTE];
const MINUTE: i64 = 60_000;
/// A stream tells a sample each second; without one for longer, polls fill the chart.
pub(super) const STALE: i64 = 5_000;
/// How long the last words of an action stay.
const NOTICE_LIFE: i64 = 20_000;

/// How the server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Connecting,
    Live,
    /// Answers, but has no stream for us.
    Polling {
        reason: String,
    },
    Lost {
        since: i64,
        trouble: Trouble,
    },
}

/// A panel that can be scrolled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Panel {
    Routes,
    Alerts,
    Cleanups,
}

impl Panel {
    pub(super) const ALL: [Self; 3] = [Self::Routes, Self::Alerts, Self::Cleanups];
}

/// One line of news.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) text: String,
    pub(super) bad: bool,
    pub(super) at: i64,
}

/// The whole screen.
#[derive(Debug)]
pub(super) struct State {
    pub(super) url: String,
    pub(super) link: Link,
    /// Whether this caller may change things; `None` is not known.
    pub(super) may_operate: Option<bool>,
    seen: Seen,
    frozen: Option<(Box<Seen>, i64)>,
    pub(super) dialog: Dialog,
    pub(super) notice: Option<Notice>,
    /// The cleanup under way, by our own order, and since when.
    pub(super) busy: Option<i64>,
    pub(super) span: usize,
    /// The scale shows the thresholds, else what the figures move in.
    pub(super) fit: bool,
    pub(super) focus: Panel,
    pub(super) offsets: [usize; 3],
    stream_up: bool,
    /// Our clock, when the stream last said something of substance.
    streamed_at: i64,
    pub(super) heard_at: i64,
}

impl State {
    pub(super) fn new(url: String) -> Self {
        Self {
            url,
            link: Link::Connecting,
            may_operate: None,
            seen: Seen::default(),
            frozen: None,
            dialog: Dialog::None,
            notice: None,
            busy: None,
            span: 1,
            fit: false,
            focus: Panel::Routes,
            offsets: [0; 3],
            stream_up: false,
            streamed_at: i64::MIN / 2,
            heard_at: 0,
        }
    }

    /// What is to be drawn: the present, or the moment of the pause.
    pub(super) fn shown(&self) -> &Seen {
        self.frozen.as_ref().map_or(&self.seen, |(seen, _)| seen)
    }

    /// Since when the screen stands still by order.
    pub(super) fn paused_at(&self) -> Option<i64> {
        self.frozen.as_ref().map(|(_, at)| *at)
    }

    pub(super) fn toggle_pause(&mut self, now: i64) {
        self.frozen = match self.frozen.take() {
            Some(_) => None,
            None => Some((Box::new(self.seen.clone()), now)),
        };
    }

    /// Changes with an event at `now`, in milliseconds since 1970; returns what is to be done.
    pub(super) fn apply(&mut self, event: Event, now: i64) -> Option<Effect> {
        if self.notice.as_ref().is_some_and(|notice| now - notice.at > NOTICE_LIFE) {
            self.notice = None;
        }
        match event {
            Event::Key(key) => return self.press(key, now),
            Event::Stop(exit) => return Some(Effect::Quit(exit)),
            Event::Redraw => {}
            Event::StreamOpened => {
                self.stream_up = true;
                self.hear(now);
            }
            Event::Streamed(name, data) => self.streamed(&name, data, now),
            Event::StreamEnded(trouble) => self.stream_ended(trouble),
            Event::Polled(answer) => match *answer {
                Ok(polled) => self.polled(polled, now),
                Err(trouble) => self.lose(trouble, now),
            },
            Event::Access(may_operate) => self.may_operate = may_operate,
            Event::Planned(plan) => self.planned(plan, now),
            Event::Cleaned(done) => self.cleaned(done, now),
            Event::Changed(done) => self.changed(done, now),
        }
        None
    }

    /// Says something below the screen.
    pub(super) fn say(&mut self, text: impl Into<String>, bad: bool, now: i64) {
        self.notice = Some(Notice { text: text.into(), bad, at: now });
    }

    fn hear(&mut self, now: i64) {
        if let Link::Lost { since, .. } = self.link {
            let away = u64::try_from((now - since) / 1_000).unwrap_or(0);
            self.say(format!("the server is back after {}", time::span(away)), false, now);
        }
        self.heard_at = now;
        let reason = match &self.link {
            Link::Polling { reason } => reason.clone(),
            _ => "no stream yet".to_owned(),
        };
        self.link = if self.stream_up { Link::Live } else { Link::Polling { reason } };
    }

    fn streamed(&mut self, name: &str, data: Value, now: i64) {
        self.hear(now);
        match name {
            "snapshot" => {
                let snapshot: Snapshot = serde_json::from_value(data).unwrap_or_default();
                if let Some(live) = snapshot.report.and_then(Live::of) {
                    self.adopt(live, now);
                }
                self.seen.restart_with(&snapshot.samples, snapshot.cleanups);
            }
            "sample" => {
                if let Ok(sample) = serde_json::from_value::<Sample>(data) {
                    self.seen.series.push(&sample);
                }
            }
            "cleanup" => {
                if let Ok(record) = serde_json::from_value::<Record>(data) {
                    self.seen.add_cleanup(record);
                }
            }
            "alert" => {
                if let Ok(alert) = serde_json::from_value::<AlertState>(data) {
                    self.seen.turn_alert(alert);
                }
            }
            "thresholds" => {
                if let Ok(changed) = serde_json::from_value::<ThresholdsChanged>(data) {
                    self.seen.take_thresholds(&changed);
                }
            }
            // A later release tells more.
            _ => return,
        }
        self.streamed_at = now;
    }

    fn stream_ended(&mut self, trouble: Trouble) {
        self.stream_up = false;
        if matches!(self.link, Link::Live | Link::Polling { .. }) {
            // Whether the server has gone as well, the next poll will tell.
            self.link = Link::Polling { reason: trouble.reason };
        }
    }

    fn lose(&mut self, trouble: Trouble, now: i64) {
        // A stream that still speaks knows better than a question that went astray.
        if self.stream_up && now - self.streamed_at <= STALE && !trouble.denied {
            return;
        }
        if self.busy.is_some() && trouble.denied {
            self.busy = None;
        }
        let since = match self.link {
            Link::Lost { since, .. } => since,
            _ => now,
        };
        self.link = Link::Lost { since, trouble };
    }

    fn polled(&mut self, polled: Polled, now: i64) {
        self.hear(now);
        let figures = (polled.live.report.decision_bytes(), polled.live.report.status());
        let cleanups = polled.live.report.cleanup_history.clone();
        self.adopt(polled.live, now);
        if now - self.streamed_at > STALE {
            let at = polled.server_now.unwrap_or(now);
            self.seen.series.add(at, figures.0, figures.1);
            // Oldest first, so that the newest ends up on top.
            cleanups.into_iter().rev().for_each(|record| self.seen.add_cleanup(record));
        }
        if let Some(routes) = polled.routes {
            self.seen.take_routes(routes, now);
        }
    }

    fn adopt(&mut self, live: Live, now: i64) {
        if let Some(name) = self.seen.adopt(live) {
            self.busy = None;
            self.say(format!("the server was restarted: now {name}"), false, now);
        }
    }

    fn planned(&mut self, plan: Result<Aggressive, Trouble>, now: i64) {
        // Escape closed the dialog meanwhile; then nobody waits for a plan.
        if !matches!(self.dialog, Dialog::Planning) {
            return;
        }
        self.dialog = match plan {
            Ok(plan) => Dialog::Confirm { plan: Box::new(plan), scroll: 0 },
            Err(trouble) => {
                self.refused(&trouble, now);
                Dialog::None
            }
        };
    }

    fn cleaned(&mut self, done: Result<Aggressive, Trouble>, now: i64) {
        self.busy = None;
        match done {
            Ok(done) => {
                let (failed, total) = done.failed_of_total();
                let rows: u64 = done.rules.iter().filter_map(|rule| rule.deleted).sum();
                let mut text = match &done.cleanup {
                    Some(record) => match record.duration_ms {
                        Some(took) => {
                            format!("{} in {}", render::freed(record), time::elapsed(took))
                        }
                        None => render::freed(record),
                    },
                    None => "the cleanup has ended".to_owned(),
                };
                if !done.rules.is_empty() {
                    text = format!(
                        "{text}; {} deleted",
                        count(usize::try_from(rows).unwrap_or(usize::MAX), "row")
                    );
                }
                if failed > 0 {
                    text = format!("{failed} of {total} actions failed: {text}");
                }
                if let Some(record) = done.cleanup {
                    self.seen.add_cleanup(record);
                }
                self.say(text, failed > 0, now);
            }
            Err(trouble) => self.refused(&trouble, now),
        }
    }

    fn changed(&mut self, done: Result<ThresholdsChanged, Trouble>, now: i64) {
        match done {
            Ok(changed) => {
                self.seen.take_thresholds(&changed);
                self.dialog = Dialog::None;
                let side = |name| {
                    let live = self.seen.live.as_ref();
                    figure(live.and_then(|live| live.report.threshold(name)), "MB")
                };
                let text = format!(
                    "thresholds: warning {}, critical {}",
                    side("warning"),
                    side("critical")
                );
                self.say(text, false, now);
            }
            Err(trouble) => {
                if trouble.denied {
                    self.may_operate = Some(false);
                }
                match &mut self.dialog {
                    Dialog::Thresholds(editor) => {
                        editor.sending = false;
                        editor.error = Some(trouble.reason);
                    }
                    _ => self.say(trouble.reason, true, now),
                }
            }
        }
    }

    fn refused(&mut self, trouble: &Trouble, now: i64) {
        if trouble.denied {
            self.may_operate = Some(false);
        }
        self.say(trouble.reason.clone(), true, now);
    }

    /// True if the server does not let us in.
    pub(super) fn is_denied(&self) -> bool {
        matches!(&self.link, Link::Lost { trouble, .. } if trouble.denied)
    }
}

/// The way out that `q` takes.
pub(super) const LEAVE: Effect = Effect::Quit(Exit::Done);
