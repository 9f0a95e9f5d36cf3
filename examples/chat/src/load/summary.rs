//! What the clients got: counts, latencies and the probe's losses.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde_json::{Value, json};

/// What a client tried to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Open a WebSocket; 101 counts as accepted.
    Connect,
    /// Say something and hear it come back.
    Message,
    /// Connect by Socket.IO and enter a room.
    IoConnect,
    /// Say something by Socket.IO and hear it come back.
    IoMessage,
    /// Come, say something, hear it and vanish.
    Churn,
    /// A request to the API of sessions and threads.
    Api,
    /// Have memory held.
    Hold,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::Connect,
        Self::Message,
        Self::IoConnect,
        Self::IoMessage,
        Self::Churn,
        Self::Api,
        Self::Hold,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Message => "message",
            Self::IoConnect => "ioConnect",
            Self::IoMessage => "ioMessage",
            Self::Churn => "churn",
            Self::Api => "api",
            Self::Hold => "hold",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was done, after this time.
    Accepted(Duration),
    /// It was shed with 503.
    Shed,
    /// It was refused with another status or an error frame.
    Other,
    /// There was no answer: connection refused, broken or too slow.
    Error,
}

/// Outcomes of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Tally {
    shed: u64,
    other: u64,
    errors: u64,
    accepted: Latencies,
}

/// Outcomes of one client, by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    tallies: BTreeMap<Kind, Tally>,
    crashed: u64,
}

impl Counts {
    pub(crate) fn count(&mut self, kind: Kind, outcome: Outcome) {
        let tally = self.tallies.entry(kind).or_default();
        match outcome {
            Outcome::Accepted(after) => tally.accepted.push(after),
            Outcome::Shed => tally.shed += 1,
            Outcome::Other => tally.other += 1,
            Outcome::Error => tally.errors += 1,
        }
    }

    /// A client whose task panicked; its counts are lost, and that is told.
    pub(crate) fn crashed() -> Self {
        Self { crashed: 1, ..Self::default() }
    }
}

/// What the probe of `/livez` saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Probe {
    pub(crate) answered: Latencies,
    pub(crate) lost: u64,
}

/// Outcomes of all clients.
#[derive(Clone, Debug, Default)]
pub(crate) struct Summary {
    clients: Counts,
    pub(crate) probe: Probe,
    /// What those who speak Socket.IO spoke it with, if there were any.
    pub(crate) socket_io: Option<String>,
}

impl Summary {
    pub(crate) fn merge(&mut self, counts: Counts) {
        self.clients.crashed += counts.crashed;
        for (kind, tally) in counts.tallies {
            let sum = self.clients.tallies.entry(kind).or_default();
            sum.shed += tally.shed;
            sum.other += tally.other;
            sum.errors += tally.errors;
            sum.accepted.extend(tally.accepted);
        }
    }

    /// The same figures as one document; an unknown latency is null.
    pub(crate) fn to_json(&self) -> Value {
        let kinds: serde_json::Map<_, _> = (self.clients.tallies.iter())
            .map(|(kind, tally)| {
                let figures = json!({
                    "ok": tally.accepted.len(),
                    "shed503": tally.shed,
                    "other": tally.other,
                    "errors": tally.errors,
                    "p50Ms": tally.accepted.quantile(0.5).map(millis),
                    "p99Ms": tally.accepted.quantile(0.99).map(millis),
                });
                (kind.as_str().to_owned(), figures)
            })
            .collect();
        json!({
            "kinds": kinds,
            "crashedClients": self.clients.crashed,
            "socketIo": self.socket_io,
            "livez": {
                "answered": self.probe.answered.len(),
                "lost": self.probe.lost,
                "p50Ms": self.probe.answered.quantile(0.5).map(millis),
                "p99Ms": self.probe.answered.quantile(0.99).map(millis),
            },
        })
    }

    #[cfg(test)]
    pub(crate) fn accepted(&self, kind: Kind) -> usize {
        self.clients.tallies.get(&kind).map_or(0, |tally| tally.accepted.len())
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<10}{:>9}{:>9}{:>9}{:>9}{:>12}{:>12}",
            "kind", "ok", "503", "other", "errors", "p50", "p99"
        )?;
        for kind in Kind::ALL {
            let Some(tally) = self.clients.tallies.get(&kind) else { continue };
            writeln!(
                f,
                "{:<10}{:>9}{:>9}{:>9}{:>9}{:>12}{:>12}",
                kind.as_str(),
                tally.accepted.len(),
                tally.shed,
                tally.other,
                tally.errors,
                show(tally.accepted.quantile(0.5)),
                show(tally.accepted.quantile(0.99)),
            )?;
        }
        writeln!(
            f,
            "livez: {} answered, {} lost, p50 {}, p99 {}",
            self.probe.answered.len(),
            self.probe.lost,
            show(self.probe.answered.quantile(0.5)),
            show(self.probe.answered.quantile(0.99)),
        )?;
        if let Some(client) = &self.socket_io {
            writeln!(f, "Socket.IO: {client}")?;
        }
        if self.clients.crashed > 0 {
            writeln!(f, "{} clients crashed, what they got is missing", self.clients.crashed)?;
        }
        Ok(())
    }
}

/// Latencies, exact: a load is short enough to keep them all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    pub(crate) fn push(&mut self, latency: Duration) {
        self.0.push(latency);
    }

    fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The smallest latency that at least `q` (0.0 to 1.0) of all do not exceed: nearest rank.
    /// `None` without any.
    pub(crate) fn quantile(&self, q: f64) -> Option<Duration> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a product of a count and a ratio, both not negative; the cast saturates"
        )]
        let rank = (q * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.max(1) - 1).copied()
    }
}

fn millis(latency: Duration) -> f64 {
    latency.as_secs_f64() * 1e3
}

fn show(latency: Option<Duration>) -> String {
    latency.map_or_else(|| "n/a".to_owned(), |latency| format!("{:.1} ms", millis(latency)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    fn latencies(values: impl IntoIterator<Item = u64>) -> Latencies {
        Latencies(values.into_iter().map(ms).collect())
    }

    #[test]
    fn quantiles_are_nearest_ranks() {
        assert_eq!(latencies([]).quantile(0.5), None);
        assert_eq!(latencies([7]).quantile(0.5), Some(ms(7)));
        assert_eq!(latencies([7]).quantile(0.99), Some(ms(7)));
        assert_eq!(latencies([3, 1]).quantile(0.5), Some(ms(1)));
        assert_eq!(latencies([3, 1, 2]).quantile(0.5), Some(ms(2)));
        let hundred = latencies((1..=100).rev());
        assert_eq!(hundred.quantile(0.5), Some(ms(50)));
        assert_eq!(hundred.quantile(0.99), Some(ms(99)));
        assert_eq!(hundred.quantile(1.0), Some(ms(100)));
        assert_eq!(hundred.quantile(0.0), Some(ms(1)));
    }

    fn summary() -> Summary {
        let mut first = Counts::default();
        first.count(Kind::Hold, Outcome::Accepted(ms(10)));
        first.count(Kind::Hold, Outcome::Shed);
        first.count(Kind::Hold, Outcome::Shed);
        let mut second = Counts::default();
        second.count(Kind::Hold, Outcome::Accepted(ms(30)));
        second.count(Kind::Hold, Outcome::Error);
        second.count(Kind::Message, Outcome::Other);
        let mut summary = Summary::default();
        summary.merge(first);
        summary.merge(second);
        summary.merge(Counts::crashed());
        summary.socket_io = Some("the Rust client".to_owned());
        summary.probe = Probe { answered: latencies([1, 2, 3]), lost: 4 };
        summary
    }

    #[test]
    fn counts_of_all_clients_are_added_by_kind() {
        let json = summary().to_json();
        let hold = &json["kinds"]["hold"];
        assert_eq!(
            (&hold["ok"], &hold["shed503"], &hold["other"], &hold["errors"]),
            (&json!(2), &json!(2), &json!(0), &json!(1))
        );
        assert_eq!((&hold["p50Ms"], &hold["p99Ms"]), (&json!(10.0), &json!(30.0)));
        let message = &json["kinds"]["message"];
        assert_eq!((&message["ok"], &message["other"]), (&json!(0), &json!(1)));
        assert_eq!(message["p50Ms"], Value::Null);
        assert_eq!(json["crashedClients"], 1);
        assert_eq!(json["socketIo"], "the Rust client");
        assert_eq!((&json["livez"]["answered"], &json["livez"]["lost"]), (&json!(3), &json!(4)));
    }

    #[test]
    fn the_table_lines_up_and_leaves_out_what_was_not_tried() {
        let text = summary().to_string();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "kind             ok      503    other   errors         p50         p99",
                "message           0        0        1        0         n/a         n/a",
                "hold              2        2        0        1     10.0 ms     30.0 ms",
                "livez: 3 answered, 4 lost, p50 2.0 ms, p99 3.0 ms",
                "Socket.IO: the Rust client",
                "1 clients crashed, what they got is missing",
            ]
        );
    }
}
