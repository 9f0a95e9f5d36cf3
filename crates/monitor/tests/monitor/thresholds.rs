use plimsoll_core::{MB, Plimsoll};
use serde_json::json;

use crate::support::{MEMORY, Server};

fn update(thresholds: &str) -> String {
    format!(r#"{{"action":"updateThresholds","thresholds":{thresholds}}}"#)
}

#[tokio::test]
async fn both_change_at_once_and_the_level_follows() {
    let server = Server::start();
    let answer = server.post(MEMORY, &update(r#"{"warning":1000,"critical":2500}"#)).await;
    let data = answer.data();
    assert_eq!(
        data["thresholds"],
        json!({"warning": 1000, "critical": 2500, "unit": "MB", "source": "api"})
    );
    assert_eq!(
        data["previous"],
        json!({"warning": 2000, "critical": 3000, "unit": "MB", "source": "default"})
    );
    assert_eq!(data["status"], "warning");
    assert_eq!(answer.json()["message"], "Thresholds set to 1000MB and 2500MB");

    let data = server.post(MEMORY, &update(r#"{"warning":"1.5GB"}"#)).await.data();
    assert_eq!(data["thresholds"]["warning"], 1500);
    assert_eq!(data["thresholds"]["critical"], 2500, "left out, left as it was");
    let data = server.post(MEMORY, &update(r#"{"critical":2600,"warning":null}"#)).await.data();
    assert_eq!(data["thresholds"]["warning"], 1500);
    assert_eq!(data["thresholds"]["critical"], 2600);
}

#[tokio::test]
async fn shares_are_of_the_limit() {
    let (source, script) = plimsoll_testkit::ScriptedSource::with_rss(100 * MB);
    script.set_limit(1_000 * MB);
    let plimsoll = Plimsoll::builder().start_with(source).unwrap();
    let app = tower::Layer::layer(
        &plimsoll_monitor::MonitorRouteLayer::new(&plimsoll),
        crate::support::App,
    );
    let server = Server { plimsoll, script, app };
    let answer = server.post(MEMORY, &update(r#"{"warning":"60%","critical":"80%"}"#)).await;
    assert_eq!(answer.data()["thresholds"]["critical"], 800);
}

#[tokio::test]
async fn what_cannot_be_used_is_pointed_at_and_nothing_changes() {
    let server = Server::start();
    for (thresholds, pointers) in [
        (r#"{"warning":3000,"critical":2000}"#, &["/thresholds/warning"][..]),
        (r#"{"warning":3000}"#, &["/thresholds/warning"]),
        (r#"{"critical":1500}"#, &["/thresholds/critical"]),
        (r#"{"warning":2000,"critical":2000}"#, &["/thresholds/warning"]),
        (r#"{"warning":0}"#, &["/thresholds/warning"]),
        (r#"{"warning":-5}"#, &["/thresholds/warning"]),
        (
            r#"{"warning":"NaN","critical":"soon"}"#,
            &["/thresholds/warning", "/thresholds/critical"],
        ),
        (r#"{"critical":2000000000}"#, &["/thresholds/critical"]),
        (r#"{"critical":[3000]}"#, &["/thresholds/critical"]),
        (r#"{"critical":true}"#, &["/thresholds/critical"]),
        (r#"{"warning":"70%"}"#, &["/thresholds/warning"]),
        ("{}", &["/thresholds"]),
        (r#"{"warn":1}"#, &["/thresholds/warn"]),
        ("[1000,2000]", &["/thresholds"]),
        ("null", &["/thresholds"]),
    ] {
        let problem = server.post(MEMORY, &update(thresholds)).await;
        let problem = problem.problem(422, "invalid-thresholds");
        let errors = problem["errors"].as_array().unwrap();
        let pointed: Vec<_> = errors.iter().map(|e| e["pointer"].as_str().unwrap()).collect();
        assert_eq!(pointed, pointers, "{thresholds}");
        assert!(errors.iter().all(|error| error["detail"] != ""), "{problem}");
        let now = server.plimsoll.report().thresholds;
        assert_eq!((now.warning, now.critical), (2_000, 3_000), "{thresholds}");
    }
    let problem = server.post(MEMORY, &update(r#"{"warning":3000,"critical":2000}"#)).await;
    let problem = problem.json();
    assert_eq!(problem["detail"], "warning (3000MB) must be lower than critical (2000MB)");
    assert_eq!(problem["errors"][0]["detail"], "must be lower than critical (2000MB)");
    server
        .post(MEMORY, r#"{"action":"updateThresholds"}"#)
        .await
        .problem(422, "invalid-thresholds");
}

#[tokio::test]
async fn a_misspelt_name_is_refused_before_anything_happens() {
    let server = Server::start();
    let body = update(r#"{"warning":1000,"criticle":2500}"#);
    server.post(MEMORY, &body).await.problem(422, "invalid-thresholds");
    let body = r#"{"action":"cleanup","dryrun":true}"#;
    server.post(MEMORY, body).await.problem(422, "invalid-value");
    assert_eq!(server.plimsoll.report().thresholds.warning, 2_000);
    assert!(server.plimsoll.cleanups(1).is_empty());
}
