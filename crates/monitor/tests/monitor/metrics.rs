use http::Method;
use plimsoll_core::Plimsoll;

use crate::support::{Answer, Server, empty, local};

async fn scrape(server: &Server, accept: &str) -> Answer {
    let request = local(Method::GET, "/metrics").header("accept", accept).body(empty()).unwrap();
    Answer::of(server.ask(request).await).await
}

#[cfg(feature = "prometheus")]
mod own {
    use std::collections::BTreeSet;

    use bytes::Bytes;
    use http::Request;
    use http_body_util::Full;
    use plimsoll_core::{CleanupLevel, MB, Pruned, RetentionOutcome};
    use plimsoll_guard::{GuardConfig, MemoryGuardLayer};
    use tower::{Layer, ServiceExt};

    use super::*;
    use crate::support::{App, rules};

    /// Those that exist before anything has happened, and those that need something to happen.
    const NAMES: [&str; 21] = [
        "process_resident_memory_bytes",
        "plimsoll_memory_bytes",
        "plimsoll_limit_bytes",
        "plimsoll_threshold_bytes",
        "plimsoll_pressure_level",
        "plimsoll_checks_total",
        "plimsoll_cleanups_total",
        "plimsoll_cleanup_duration_seconds",
        "plimsoll_cleanup_freed_bytes_total",
        "plimsoll_pruner_removed_total",
        "plimsoll_retention_rows_deleted_total",
        "plimsoll_retention_backlog_rows",
        "plimsoll_retention_last_success_timestamp_seconds",
        "plimsoll_requests_admitted_total",
        "plimsoll_requests_shed_total",
        "plimsoll_inflight_requests",
        "plimsoll_reserved_bytes",
        "plimsoll_alerts_firing",
        "plimsoll_alert_notifications_total",
        "plimsoll_monitor_bytes",
        "plimsoll_build_info",
    ];

    /// A server on which everything has happened once.
    async fn eventful() -> Server {
        let server = Server::with(Plimsoll::builder().automatic_cleanup(false), |layer| layer);
        let rules = rules(&[RetentionOutcome::Ok]);
        server.plimsoll.attach_retention(rules).unwrap();
        let cache =
            server.plimsoll.registry().register_fn("cache", async |_| Ok(Pruned::entries(5)));
        server.plimsoll.cleanup(CleanupLevel::Moderate).await.unwrap();
        std::mem::forget(cache);
        let guarded = MemoryGuardLayer::new(GuardConfig::new(&server.plimsoll)).layer(App);
        let request = || Request::new(Full::<Bytes>::default());
        assert_eq!(guarded.clone().oneshot(request()).await.unwrap().status(), 200);
        server.script.update(|reading| {
            reading.rss_bytes = Some(3_500 * MB);
            reading.limit_bytes = Some(4_000 * MB);
        });
        server.plimsoll.check().await.unwrap();
        assert_eq!(guarded.oneshot(request()).await.unwrap().status(), 503);
        server
    }

    #[tokio::test]
    async fn every_metric_is_there_described_and_true() {
        let server = eventful().await;
        let answer = scrape(&server, "*/*").await;
        assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
        let text = answer.text();
        for name in NAMES {
            assert!(text.contains(&format!("# HELP {name} ")), "{name} is not described\n{text}");
            assert!(text.contains(&format!("# TYPE {name} ")), "{name} is not there\n{text}");
        }
        for line in [
            "process_resident_memory_bytes 3500000000",
            "plimsoll_memory_bytes{kind=\"rss\"} 3500000000",
            "plimsoll_limit_bytes 4000000000",
            "plimsoll_threshold_bytes{level=\"warning\"} 2000000000",
            "plimsoll_pressure_level 2",
            "plimsoll_cleanups_total{level=\"moderate\",trigger=\"program\",outcome=\"ok\"} 1",
            "plimsoll_cleanup_duration_seconds_count 1",
            "plimsoll_cleanup_duration_seconds_bucket{le=\"30\"} 1",
            "plimsoll_pruner_removed_total{pruner=\"cache\"} 5",
            "plimsoll_retention_rows_deleted_total{rule=\"rule_0\"} 2",
            "plimsoll_retention_backlog_rows{rule=\"rule_0\"} 3",
            "plimsoll_retention_last_success_timestamp_seconds{rule=\"rule_0\"} 1767868200",
            "plimsoll_requests_shed_total{route=\"<unmatched>\",reason=\"memory\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        // No figure, no series: 0 would be a lie.
        assert!(!text.contains("kind=\"heap_used\""), "{text}");
    }

    #[tokio::test]
    async fn no_figure_of_a_counter_is_counted_twice() {
        let server = eventful().await;
        scrape(&server, "").await;
        let text = scrape(&server, "").await;
        let counted = "plimsoll_cleanup_duration_seconds_count 1\n";
        assert!(text.text().contains(counted), "{}", text.text());
        assert!(text.text().contains("plimsoll_pruner_removed_total{pruner=\"cache\"} 5\n"));
    }

    #[tokio::test]
    async fn openmetrics_is_for_those_who_ask_for_it() {
        let server = eventful().await;
        let answer = scrape(&server, "application/openmetrics-text;q=0.6,text/plain;q=0.3").await;
        assert_eq!(
            answer.header("content-type"),
            "application/openmetrics-text; version=1.0.0; charset=utf-8"
        );
        check_openmetrics(answer.text());
    }

    /// The rules of the format that our figures could break.
    fn check_openmetrics(text: &str) {
        assert!(text.ends_with("# EOF\n"));
        let mut families = BTreeSet::new();
        let (mut family, mut kind) = ("", "");
        for line in text.lines() {
            assert!(!line.is_empty(), "an empty line");
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                (family, kind) = rest.split_once(' ').unwrap();
                assert!(families.insert(family), "{family} comes twice");
                assert!(kind != "counter" || !family.ends_with("_total"), "{line}");
            } else if let Some(rest) = line.strip_prefix("# HELP ") {
                assert!(rest.starts_with(&format!("{family} ")), "{line}");
            } else if !line.starts_with('#') {
                let name = line.split(['{', ' ']).next().unwrap();
                let suffix = name.strip_prefix(family).unwrap_or_else(|| panic!("{line}"));
                let fits = match kind {
                    "counter" => suffix == "_total",
                    "gauge" => suffix.is_empty(),
                    "histogram" => ["_bucket", "_sum", "_count"].contains(&suffix),
                    other => panic!("{other} is none of ours"),
                };
                assert!(fits, "{line} in a {kind}");
            }
        }
        assert!(families.contains("plimsoll_checks"), "{families:?}");
        assert!(text.contains("le=\"30.0\""), "{text}");
    }

    #[tokio::test]
    async fn the_document_of_metrics_needs_access_too() {
        let server = Server::start();
        let request = local(Method::GET, "/metrics").header("via", "1.1 p").body(empty()).unwrap();
        Answer::of(server.ask(request).await).await.problem(403, "not-allowed");
    }
}

#[cfg(not(feature = "prometheus"))]
#[tokio::test]
async fn without_a_recorder_the_answer_says_how_to_get_one() {
    let server = Server::start();
    let problem = scrape(&server, "").await.problem(404, "not-found");
    assert!(problem["detail"].as_str().unwrap().contains("prometheus"));
}

#[tokio::test]
async fn a_recorder_of_the_program_is_served_in_both_formats() {
    let text = "# TYPE orders_total counter\norders_total 3\n";
    let server = Server::with(Plimsoll::builder(), |layer| layer.metrics_text(|| text.to_owned()));
    assert_eq!(scrape(&server, "").await.text(), text);
    let rewritten = scrape(&server, "application/openmetrics-text").await;
    assert_eq!(rewritten.text(), "# TYPE orders counter\norders_total 3\n# EOF\n");

    // What cannot be rewritten is served as it is, and under its own name.
    let server = Server::with(Plimsoll::builder(), |layer| layer.metrics_text(|| "a 1 2\n".into()));
    let answer = scrape(&server, "application/openmetrics-text").await;
    assert_eq!(answer.text(), "a 1 2\n");
    assert!(answer.header("content-type").starts_with("text/plain"));
}
