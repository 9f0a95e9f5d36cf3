use proptest::prelude::*;

use super::*;
use crate::units::MB;

fn read(vars: &[(&str, &str)]) -> Result<EnvSettings, EnvError> {
    EnvSettings::from_vars(vars.iter().map(|(name, value)| (name.into(), value.into())))
}

fn message(name: &str, value: &str) -> String {
    let error = read(&[(name, value)]).unwrap_err();
    assert_eq!(error.mistakes().len(), 1, "{error}");
    assert_eq!(error.mistakes()[0].variable(), name);
    error.mistakes()[0].message().to_owned()
}

#[test]
fn an_empty_environment_says_nothing() {
    assert_eq!(read(&[("PATH", "/bin"), ("HOME", "")]), Ok(EnvSettings::default()));
}

#[test]
fn every_variable_lands_in_its_field() {
    let settings = read(&[
        ("MEMORY_WARNING_THRESHOLD", "1500"),
        ("MEMORY_CRITICAL_THRESHOLD", "85%"),
        ("MEMORY_CHECK_INTERVAL", "5s"),
        ("CLEANUP_COOLDOWN", "20000"),
        ("MEMORY_METRIC", "rss"),
        ("MEMORY_RELEASE_INTERVAL", "300000"),
        ("SOCKET_CLEANUP_TIMEOUT", "1"),
        ("ALERT_COOLDOWN", "0"),
        ("ALERT_REPEAT_INTERVAL", "10m"),
        ("ALERT_WEBHOOK_URL", "https://alerts.example/hook?key=abc"),
        ("ALERT_SLACK_URL", "HTTP://localhost:9/x"),
        ("RETENTION_INTERVAL", "300000"),
        ("MONITOR_TOKEN", "operate-me"),
        ("MONITOR_READ_TOKEN", "read-me"),
        ("MONITOR_ACCESS", "bearer"),
    ]);
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let expected = EnvSettings {
        warning: Some(Threshold::Bytes(1_500 * MB)),
        critical: Some(Threshold::OfLimit(0.85)),
        check_interval: seconds(5),
        cleanup_cooldown: seconds(20),
        metric: Some(MemoryMetric::Rss),
        release_interval: seconds(300),
        socket_cleanup_timeout: Some(Duration::from_millis(1)),
        alert_cooldown: seconds(0),
        alert_repeat_interval: seconds(600),
        alert_webhook_url: Some(Secret::new("https://alerts.example/hook?key=abc")),
        alert_slack_url: Some(Secret::new("HTTP://localhost:9/x")),
        retention_interval: seconds(300),
        monitor_token: Some(Secret::new("operate-me")),
        monitor_read_token: Some(Secret::new("read-me")),
        monitor_access: Some(MonitorAccess::Bearer),
        warnings: Vec::new(),
    };
    assert_eq!(settings, Ok(expected));
}

#[test]
fn every_mistake_is_told_at_once_with_variable_value_and_accepted_forms() {
    let error = read(&[
        ("MEMORY_WARNING_THRESHOLD", "lots"),
        ("MEMORY_CRITICAL_THRESHOLD", "3000000000"),
        ("MEMORY_CHECK_INTERVAL", "5"),
        ("MEMORY_METRIC", "vsz"),
    ])
    .unwrap_err();
    let variables: Vec<_> = error.mistakes().iter().map(EnvMistake::variable).collect();
    assert_eq!(
        variables,
        [
            "MEMORY_WARNING_THRESHOLD",
            "MEMORY_CRITICAL_THRESHOLD",
            "MEMORY_CHECK_INTERVAL",
            "MEMORY_METRIC"
        ]
    );
    let text = error.to_string();
    for part in [
        "\"lots\" is not a threshold; accepted are a number of MB",
        "\"3000000000\" MB looks like bytes; accepted are",
        "\"5\" is out of range; accepted is 10..600000 ms",
        "\"vsz\"; accepted are workingSet, rss and heapUsed",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
}

#[test]
fn an_empty_value_is_a_mistake() {
    for name in [
        "MEMORY_WARNING_THRESHOLD",
        "MEMORY_CHECK_INTERVAL",
        "MEMORY_METRIC",
        "MEMORY_RELEASE_INTERVAL",
        "ALERT_SLACK_URL",
        "MONITOR_TOKEN",
        "MONITOR_ACCESS",
    ] {
        for empty in ["", "  "] {
            assert!(message(name, empty).contains("accepted"), "{name}");
        }
    }
}

#[test]
fn waits_stay_in_their_range() {
    for (name, value) in [
        ("MEMORY_CHECK_INTERVAL", "9"),
        ("MEMORY_CHECK_INTERVAL", "600001"),
        ("MEMORY_RELEASE_INTERVAL", "99"),
        ("CLEANUP_COOLDOWN", "8d"),
        ("SOCKET_CLEANUP_TIMEOUT", "0"),
        ("ALERT_REPEAT_INTERVAL", "999"),
        ("RETENTION_INTERVAL", "0"),
    ] {
        assert!(message(name, value).contains("out of range"), "{name}");
    }
    assert!(message("MEMORY_RELEASE_INTERVAL", "99").ends_with("or 0 for off"));
    let edges = read(&[("MEMORY_CHECK_INTERVAL", "10"), ("MEMORY_RELEASE_INTERVAL", "0")]);
    assert_eq!(edges.unwrap().release_interval, Some(Duration::ZERO));
    assert!(read(&[("MEMORY_CHECK_INTERVAL", "600000")]).is_ok());
}

#[test]
fn a_pair_out_of_order_is_a_mistake_of_the_warning_threshold() {
    let error =
        read(&[("MEMORY_WARNING_THRESHOLD", "3000"), ("MEMORY_CRITICAL_THRESHOLD", "2000")]);
    assert_eq!(
        error.unwrap_err().to_string(),
        "invalid environment: MEMORY_WARNING_THRESHOLD: warning (3000MB) must be lower than \
         critical (2000MB)"
    );
}

#[test]
fn secrets_are_checked_and_never_shown() {
    for (name, value) in [
        ("MONITOR_TOKEN", "s3cret with space"),
        ("MONITOR_READ_TOKEN", "s3cret\u{e9}"),
        ("ALERT_WEBHOOK_URL", "ftp://s3cret.example"),
        ("ALERT_WEBHOOK_URL", "https://"),
        ("ALERT_WEBHOOK_URL", "https://s3cret@:80/"),
        ("ALERT_SLACK_URL", "https://s3cret.example/ x"),
        ("ALERT_SLACK_URL", "\u{e9}\u{e9}\u{e9}\u{e9}"),
    ] {
        assert!(!message(name, value).contains("s3cret"), "{name}");
    }
    let settings =
        read(&[("MONITOR_TOKEN", "s3cret"), ("ALERT_SLACK_URL", "https://hooks.example/s3cret")])
            .unwrap();
    assert!(!format!("{settings:?}").contains("s3cret"));
    assert_eq!(settings.monitor_token.unwrap().expose(), "s3cret");
}

#[test]
fn the_read_token_must_differ_from_the_one_that_operates() {
    let error = read(&[("MONITOR_TOKEN", "same"), ("MONITOR_READ_TOKEN", "same")]).unwrap_err();
    assert_eq!(error.mistakes()[0].variable(), "MONITOR_READ_TOKEN");
    assert!(!error.to_string().contains("\"same\""));
}

#[test]
fn an_unknown_memory_name_earns_a_hint_and_a_foreign_one_none() {
    for (name, meant) in [
        ("MEMORY_WARN_THRESHOLD", "mean MEMORY_WARNING_THRESHOLD?"),
        ("MEMORY_CRITICAL", "mean MEMORY_CRITICAL_THRESHOLD?"),
        ("MEMORY_CHECK_INTERVALL", "mean MEMORY_CHECK_INTERVAL?"),
        ("MEMORY_QUUX", "mean one of MEMORY_WARNING_THRESHOLD, MEMORY_CRITICAL_THRESHOLD,"),
    ] {
        let warnings = read(&[(name, "1")]).unwrap().warnings;
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].contains(meant) && warnings[0].contains(name), "{warnings:?}");
    }
    let settings = read(&[("MEMORY_PRESSURE_WATCH", "/x"), ("MEMORYX", "1")]).unwrap();
    assert_eq!(settings.warnings, [""; 0]);
}

#[test]
fn odd_pairs_are_warned_about() {
    let warnings = |vars: &[_]| read(vars).unwrap().warnings.join("\n");
    assert!(warnings(&[("CLEANUP_COOLDOWN", "9999")]).contains("shorter than"));
    assert!(warnings(&[("MEMORY_CHECK_INTERVAL", "31s")]).contains("30000 ms"));
    assert_eq!(warnings(&[("CLEANUP_COOLDOWN", "10000")]), "");
    assert!(warnings(&[("MONITOR_ACCESS", "bearer")]).contains("MONITOR_TOKEN"));
    assert_eq!(warnings(&[("MONITOR_ACCESS", "bearer"), ("MONITOR_READ_TOKEN", "r")]), "");
}

#[cfg(unix)]
#[test]
fn a_value_that_is_not_unicode_is_a_mistake_and_such_a_name_is_skipped() {
    use std::os::unix::ffi::OsStringExt;
    let broken = || OsString::from_vec(vec![b'M', 0xFF]);
    let error = EnvSettings::from_vars([("MEMORY_METRIC".into(), broken())]).unwrap_err();
    assert!(error.to_string().contains("accepted are workingSet"), "{error}");
    assert_eq!(EnvSettings::from_vars([(broken(), "1".into())]), Ok(EnvSettings::default()));
}

proptest! {
    #[test]
    fn no_environment_panics(
        name in "(MEMORY_[A-Z_]{0,20}|MONITOR_TOKEN|ALERT_SLACK_URL)", value in "\\PC*",
    ) {
        let _ = read(&[(&name, &value), ("MEMORY_WARNING_THRESHOLD", &value)]);
    }

    #[test]
    fn edits_are_a_distance(one in "[AB]{0,6}", two in "[AB]{0,6}", three in "[AB]{0,6}") {
        prop_assert_eq!(edits(&one, &two), edits(&two, &one));
        prop_assert_eq!(edits(&one, &two) == 0, one == two);
        prop_assert!(edits(&one, &three) <= edits(&one, &two) + edits(&two, &three));
    }
}
