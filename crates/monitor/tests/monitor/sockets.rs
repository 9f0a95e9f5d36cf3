//! A registry of connections, as the monitor shows it.

use std::sync::Arc;

use plimsoll_core::{
    Plimsoll, SocketEvent, SocketFigures, SocketSource, SocketState, SocketsReport,
};
use serde_json::json;

use crate::support::{MEMORY, Server};

const SOCKETS: &str = "/api/monitoring/sockets";

/// Always the same crowd.
pub(crate) struct Crowd;

impl Crowd {
    /// For as long as the test runs.
    pub(crate) fn attach(plimsoll: &Plimsoll) -> Arc<dyn SocketSource> {
        let crowd: Arc<dyn SocketSource> = Arc::new(Self);
        plimsoll.attach_sockets(&crowd);
        crowd
    }
}

impl SocketSource for Crowd {
    fn report(&self) -> SocketsReport {
        let mut report = SocketsReport::default();
        (report.open, report.closing, report.lingering, report.forced) = (7, 2, 1, 4);
        (report.queued_messages, report.queued_bytes) = (3, 5_000_000);
        report.transports.polling = 7;
        report
    }

    fn connections(&self, most: usize) -> Vec<SocketFigures> {
        let mut figures = SocketFigures::new(1, "polling");
        figures.peer = Some("<b>ann</b>".to_owned());
        figures.state = SocketState::Lingering;
        figures.rooms = vec!["lobby".to_owned()];
        vec![figures; most.min(500)]
    }

    fn recent(&self, most: usize) -> Vec<SocketEvent> {
        vec![SocketEvent::new(1_736_332_200_000, "open", 1, None); most.min(500)]
    }
}

#[tokio::test]
async fn without_a_registry_the_route_says_how_to_attach_one() {
    let server = Server::start();
    let problem = server.get(SOCKETS).await.problem(404, "not-found");
    assert!(problem["detail"].as_str().unwrap().contains("ConnectionRegistry::builder()"));
    assert!(server.get(MEMORY).await.data()["sockets"].is_null());
}

#[tokio::test]
async fn the_sums_are_in_the_report_and_the_rows_in_the_route() {
    let server = Server::start();
    let crowd = Crowd::attach(&server.plimsoll);
    let data = server.get(MEMORY).await.data();
    assert_eq!(
        data["sockets"],
        json!({
            "open": 7, "closing": 2, "lingering": 1, "opened": 0, "closed": 0, "forced": 4,
            "refused": 0, "bytes": 0, "queuedMessages": 3, "queuedBytes": 5_000_000, "cap": null,
            "oldestSeconds": null, "events": 0,
            "transports": {"websocket": 0, "socketio": 0, "polling": 7, "sse": 0, "other": 0},
        })
    );
    assert_eq!(data["current"]["arrayBuffers"], 5, "what is queued is held");
    let data = server.get(SOCKETS).await.data();
    assert_eq!(data["open"], 7);
    assert_eq!(data["connections"].as_array().unwrap().len(), 50);
    assert_eq!(data["recent"].as_array().unwrap().len(), 100);
    assert_eq!(
        data["connections"][0],
        json!({
            "id": 1, "peer": "<b>ann</b>", "transport": "polling", "state": "lingering",
            "rooms": ["lobby"], "tasks": 0, "heldBy": [], "queuedMessages": 0, "queuedBytes": 0,
            "bytes": 0, "ageSeconds": 0, "idleSeconds": 0,
        })
    );
    let event = json!({"timestamp": 1_736_332_200_000_u64, "kind": "open", "connection": 1, "detail": null});
    assert_eq!(data["recent"][0], event);
    drop(crowd);
    server.get(SOCKETS).await.problem(404, "not-found");
}

#[cfg(feature = "prometheus")]
#[tokio::test]
async fn the_states_are_metrics() {
    let server = Server::start();
    let _crowd = Crowd::attach(&server.plimsoll);
    let answer = server.get("/metrics").await;
    for line in [
        "plimsoll_sockets{state=\"open\"} 7",
        "plimsoll_sockets{state=\"closing\"} 2",
        "plimsoll_sockets{state=\"lingering\"} 1",
        "plimsoll_sockets_forced_total 4",
    ] {
        assert!(answer.text().lines().any(|found| found == line), "{line}\n{}", answer.text());
    }
}
