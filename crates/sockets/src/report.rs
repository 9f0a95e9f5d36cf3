//! The registry as the report, the metrics and the monitor see it.

use std::{cmp::Reverse, sync::atomic::Ordering::Relaxed};

use plimsoll_core::{SocketEvent, SocketFigures, SocketSource, SocketsReport};
use tokio::time::Instant;

use crate::{inner::Inner, meta::Transport};

impl SocketSource for Inner {
    fn report(&self) -> SocketsReport {
        let now = Instant::now();
        let counts = &self.counts;
        let mut report = SocketsReport::default();
        report.open = counts.open.load(Relaxed);
        report.closing = counts.closing.load(Relaxed);
        report.opened = counts.opened.load(Relaxed);
        report.closed = counts.closed.load(Relaxed);
        report.forced = counts.forced.load(Relaxed);
        report.refused = counts.refused.load(Relaxed);
        report.queued_messages = self.queued.messages();
        report.queued_bytes = self.queued.bytes();
        report.cap = self.slots.most().map(|most| most as u64);
        report.events = self.events.len() as u64;
        let transport = |transport: Transport| counts.transports[transport.index()].load(Relaxed);
        report.transports.websocket = transport(Transport::WebSocket);
        report.transports.socketio = transport(Transport::SocketIo);
        report.transports.polling = transport(Transport::Polling);
        report.transports.sse = transport(Transport::Sse);
        report.transports.other = transport(Transport::Other);
        let table = self.table();
        report.lingering = table.lingering.len() as u64;
        let holding = (table.live.len() + table.lingering.len()) as u64;
        // Numbers rise with age, so the lowest is the oldest.
        let open = table.live.values().filter(|entry| entry.is_open());
        let oldest = open.min_by_key(|entry| entry.id).map(|entry| entry.opened());
        drop(table);
        report.oldest_seconds =
            oldest.map(|opened| now.saturating_duration_since(opened).as_secs());
        report.bytes = holding
            .saturating_mul(self.limits.resting_bytes())
            .saturating_add(report.queued_bytes)
            .saturating_add(self.held_bytes.load(Relaxed));
        report
    }

    fn connections(&self, most: usize) -> Vec<SocketFigures> {
        let now = Instant::now();
        let table = self.table();
        let mut entries: Vec<_> = table.live.values().chain(table.lingering.values()).collect();
        // Bytes move meanwhile; each key is asked for once.
        entries.sort_by_cached_key(|entry| (Reverse(entry.bytes()), entry.id));
        entries.truncate(most);
        let entries: Vec<_> = entries.into_iter().map(std::sync::Arc::clone).collect();
        drop(table);
        entries.iter().map(|entry| entry.figures(now)).collect()
    }

    fn recent(&self, most: usize) -> Vec<SocketEvent> {
        self.events.snapshot(most)
    }
}
