use plimsoll_core::alerts::{AlertName, Severity};
use serde_json::{Value, json};

use super::*;
use crate::payload::CAPACITY;

fn sink() -> WebhookSink {
    WebhookSink::new("http://127.0.0.1:9/s3cret".parse().unwrap()).unwrap()
}

fn firing() -> AlertNotification {
    let mut firing = AlertNotification::test("shop@host", Duration::from_secs(1_767_868_200));
    firing.id = "MemoryCritical-1".to_owned();
    firing.name = AlertName::MemoryCritical;
    firing.kind = NotificationKind::Firing;
    firing.severity = Severity::Critical;
    firing.summary = "workingSet 3100MB ≥ critical 3000MB".to_owned();
    firing
}

fn body(sink: &WebhookSink, notification: &AlertNotification) -> Value {
    serde_json::from_slice(&sink.payload(notification)).unwrap()
}

#[test]
fn the_body_is_that_of_alertmanager_to_the_member() {
    let sink = sink().receiver("night-shift").dashboard("https://shop.example/monitoring/");
    let labels =
        json!({"alertname": "MemoryCritical", "instance": "shop@host", "severity": "critical"});
    let annotations = json!({
        "summary": "workingSet 3100MB ≥ critical 3000MB", "alertId": "MemoryCritical-1",
    });
    let expected = json!({
        "version": "4",
        "groupKey": "{}:{alertname=\"MemoryCritical\"}",
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "night-shift",
        "groupLabels": {"alertname": "MemoryCritical"},
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": "https://shop.example/monitoring/",
        "alerts": [{
            "status": "firing",
            "labels": labels,
            "annotations": annotations,
            "startsAt": "2026-01-08T10:30:00.000Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "https://shop.example/monitoring/",
            "fingerprint": "FINGERPRINT",
        }],
    });
    let mut body = body(&sink, &firing());
    let fingerprint = body["alerts"][0]["fingerprint"].take();
    assert_eq!(fingerprint.as_str().unwrap().len(), 16);
    body["alerts"][0]["fingerprint"] = json!("FINGERPRINT");
    assert_eq!(body, expected);
}

#[test]
fn an_end_has_the_fingerprint_of_its_beginning_and_both_times() {
    let sink = sink();
    let begun = body(&sink, &firing());
    let mut resolved = firing();
    resolved.kind = NotificationKind::Resolved;
    resolved.resolved_at = Some(Duration::from_millis(1_767_868_260_500));
    resolved.cleanup_id = Some("c-7".to_owned());
    let ended = body(&sink, &resolved);
    assert_eq!(
        (&ended["status"], &ended["alerts"][0]["status"]),
        (&json!("resolved"), &json!("resolved"))
    );
    assert_eq!(ended["alerts"][0]["endsAt"], "2026-01-08T10:31:00.500Z");
    assert_eq!(ended["alerts"][0]["annotations"]["cleanupId"], "c-7");
    for same in ["startsAt", "fingerprint", "labels"] {
        assert_eq!(ended["alerts"][0][same], begun["alerts"][0][same], "{same}");
    }
    assert_eq!(ended["groupKey"], begun["groupKey"]);
}

#[test]
fn a_test_is_no_alert_of_a_rule_and_ends_by_itself() {
    let test = AlertNotification::test("shop@host", Duration::from_secs(1_767_868_200));
    let body = body(&sink(), &test);
    assert_eq!(body["commonLabels"]["alertname"], "PlimsollTest");
    assert_eq!(body["commonLabels"]["severity"], "info");
    assert_eq!(body["alerts"][0]["endsAt"], "2026-01-08T10:35:00.000Z");
}

#[test]
fn the_worst_that_a_program_can_say_fits_the_buffer() {
    let wild = || ["\u{1b}[31m\"\\\n", "𝔘"].concat().repeat(10_000);
    let mut worst = firing();
    worst.instance = wild();
    worst.summary = wild();
    worst.id = wild();
    worst.cleanup_id = Some(wild());
    let sink = sink().receiver(wild()).dashboard(wild());
    let place = sink.payload(&firing()).as_ptr();
    let payload = sink.payload(&worst);
    assert!(payload.len() <= CAPACITY, "{}", payload.len());
    assert_eq!(payload.as_ptr(), place, "no other buffer was needed");
    let text = std::str::from_utf8(&payload).unwrap();
    assert!(!text.contains("\\u001b") && !text.contains("\\n"), "{text}");
    serde_json::from_str::<Value>(text).unwrap();
}

#[test]
fn the_url_and_the_key_are_shown_by_nothing() {
    let shown = format!("{:?}", sink().signed_with("k3y"));
    assert!(
        !shown.contains("s3cret") && !shown.contains("k3y") && !shown.contains("127.0.0.1"),
        "{shown}"
    );
}
