//! What is refused before anything runs.

use std::time::Duration;

use super::support::{Db, on_both, plimsoll};
use crate::{
    Is, RetentionError, Rule, RuleError, hours, iso_text, timestamptz, unix_millis, unix_seconds,
};

on_both!(
    what_the_database_does_not_have_is_named,
    a_table_without_a_key_is_refused,
    a_reference_without_a_foreign_key_is_refused_unless_trusted,
    a_column_that_cannot_hold_the_age_is_refused,
    seconds_that_were_declared_milliseconds_are_refused,
    every_mistake_of_every_rule_is_told_at_once,
    a_missing_index_is_advised,
    rules_need_names_of_their_own_and_an_interval_in_range,
);

/// Why a rule is refused; panics when it is not.
async fn refusal(db: &Db, rule: Rule) -> Vec<RuleError> {
    let (plimsoll, _) = plimsoll();
    let started = db.rules().rule(rule).start(&plimsoll).await;
    assert!(plimsoll.report().retention.is_none(), "nothing is attached");
    plimsoll.shutdown().await;
    match started.expect_err("refused") {
        RetentionError::Rules(rules) => rules.iter().flat_map(|(_, why)| why.to_vec()).collect(),
        other => panic!("{other}"),
    }
}

async fn what_the_database_does_not_have_is_named(db: Db) {
    let age = db.age("created_at");
    let why = refusal(&db, Rule::delete_from("thread").older_than(age.clone(), hours(2))).await;
    assert!(matches!(&why[..], [RuleError::NoTable(name)] if name.ends_with(".thread")), "{why:?}");
    let rule = db.empty_threads().key("uid").only_if("status", Is::null());
    let why = refusal(&db, rule.unless_exists("messages", "thread")).await;
    let text: Vec<_> = why.iter().map(ToString::to_string).collect();
    assert_eq!(text.len(), 3, "{text:#?}");
    assert!(text[0].contains("has no column uid; it has"), "{text:#?}");
    let why = refusal(&db, db.empty_threads().in_schema("nowhere")).await;
    assert!(matches!(why[..], [RuleError::NoTable(_)]), "{why:?}");
    // A view is no table.
    db.execute("CREATE VIEW old_threads AS SELECT * FROM threads").await;
    let why =
        refusal(&db, Rule::delete_from("old_threads").key("id").older_than(age, hours(2))).await;
    assert!(matches!(why[..], [RuleError::NoTable(_)]), "{why:?}");
}

async fn a_table_without_a_key_is_refused(db: Db) {
    db.execute("CREATE TABLE log (id bigint, at bigint)").await;
    let rule = Rule::delete_from("log").older_than(unix_seconds("at"), hours(2));
    assert!(matches!(refusal(&db, rule.clone()).await[..], [RuleError::NoKey(_)]));
    assert!(matches!(
        refusal(&db, rule.clone().key("id")).await[..],
        [RuleError::NotUnique { .. }]
    ));
    // Unique, but not where it is NULL.
    db.execute("CREATE UNIQUE INDEX log_id ON log (id)").await;
    assert!(matches!(
        refusal(&db, rule.clone().key("id")).await[..],
        [RuleError::NotUnique { .. }]
    ));
    // Unique only among some rows.
    db.execute("CREATE TABLE part (id bigint NOT NULL, at bigint)").await;
    db.execute("CREATE UNIQUE INDEX part_id ON part (id) WHERE at > 5").await;
    let part = Rule::delete_from("part").key("id").older_than(unix_seconds("at"), hours(2));
    assert!(matches!(refusal(&db, part.clone()).await[..], [RuleError::NotUnique { .. }]));
    db.execute("CREATE UNIQUE INDEX part_all ON part (id)").await;
    let (plimsoll, _) = plimsoll();
    db.rules().rule(part).start(&plimsoll).await.expect("a unique index on NOT NULL is a key");
    plimsoll.shutdown().await;
}

async fn a_reference_without_a_foreign_key_is_refused_unless_trusted(db: Db) {
    db.execute("CREATE TABLE drafts (id bigint NOT NULL PRIMARY KEY, thread_id bigint)").await;
    let rule = db.empty_threads().unless_exists("drafts", "thread_id");
    let why = refusal(&db, rule.clone()).await;
    assert!(
        matches!(&why[..], [RuleError::NoForeignKey { child, .. }] if child.ends_with("drafts"))
    );
    assert!(why[0].to_string().contains("trust_age_only"), "{}", why[0]);
    db.thread(1, 0).await;
    db.thread(2, 0).await;
    db.execute("INSERT INTO drafts VALUES (1, 2)").await;
    let (plimsoll, _) = plimsoll();
    let retention = db.rules().rule(rule.trust_age_only()).start(&plimsoll).await.unwrap();
    assert_eq!(retention.run().await[0].deleted, 1);
    assert_eq!(db.ids("threads").await, [2]);
    plimsoll.shutdown().await;
}

async fn a_column_that_cannot_hold_the_age_is_refused(db: Db) {
    db.execute("CREATE TABLE t (id bigint NOT NULL PRIMARY KEY, word text, number bigint, naive timestamp)").await;
    let rule = Rule::delete_from("t");
    for age in [unix_seconds("word"), iso_text("number"), timestamptz("word"), timestamptz("naive")]
    {
        let why = refusal(&db, rule.clone().older_than(age.clone(), hours(2))).await;
        let [RuleError::Kind { column, .. }] = &why[..] else { panic!("{age:?}: {why:?}") };
        assert_eq!(*column, age.column);
    }
}

async fn seconds_that_were_declared_milliseconds_are_refused(db: Db) {
    db.execute("CREATE TABLE t (id bigint NOT NULL PRIMARY KEY, at bigint)").await;
    let rule = Rule::delete_from("t").older_than(unix_millis("at"), hours(2));
    db.execute("INSERT INTO t VALUES (1, 1767868200), (2, 1700000000), (3, NULL)").await;
    assert_eq!(refusal(&db, rule.clone()).await, [RuleError::Unit("at".to_owned())]);
    db.execute("INSERT INTO t VALUES (4, 1767868200000)").await;
    let (plimsoll, _) = plimsoll();
    db.rules().rule(rule).start(&plimsoll).await.expect("some are milliseconds");
    plimsoll.shutdown().await;
}

async fn every_mistake_of_every_rule_is_told_at_once(db: Db) {
    let (plimsoll, _) = plimsoll();
    let error = db
        .rules()
        .rule(Rule::delete_from("threads; DROP TABLE threads").older_than("x", hours(1)))
        .rule(
            Rule::delete_from("threads")
                .named("young")
                .older_than(db.age("created_at"), Duration::ZERO),
        )
        .rule(Rule::delete_from("nothing").older_than("x", hours(1)))
        .start(&plimsoll)
        .await
        .unwrap_err()
        .to_string();
    for part in ["DROP TABLE", "rule \"young\"", "60s", "no table", "nothing"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert_eq!(db.count("threads").await, 0, "the table is there");
    plimsoll.shutdown().await;
}

async fn a_missing_index_is_advised(db: Db) {
    let (plimsoll, _) = plimsoll();
    let rule = Rule::delete_from("room_participants").older_than(db.age("last_seen_at"), hours(6));
    let retention = db.rules().rule(rule).start(&plimsoll).await.unwrap();
    let [warning] = retention.warnings() else { panic!("{:?}", retention.warnings()) };
    let statement = &warning[warning.find("CREATE INDEX").expect("advice")..];
    db.execute(statement).await;
    plimsoll.shutdown().await;
    let (plimsoll, _) = super::support::plimsoll();
    let rule = Rule::delete_from("room_participants").older_than(db.age("last_seen_at"), hours(6));
    let retention = db.rules().rule(rule).start(&plimsoll).await.unwrap();
    assert_eq!(retention.warnings(), [] as [String; 0], "the advice helps");
    plimsoll.shutdown().await;
}

async fn rules_need_names_of_their_own_and_an_interval_in_range(db: Db) {
    let (plimsoll, _) = plimsoll();
    let twice = db.rules().rule(db.empty_threads()).rule(db.empty_threads());
    let error = twice.start(&plimsoll).await.unwrap_err();
    assert!(
        matches!(&error, RetentionError::SameName { name } if name == "empty_threads"),
        "{error}"
    );
    assert!(matches!(db.rules().start(&plimsoll).await, Err(RetentionError::NoRules)));
    for given in [Duration::ZERO, Duration::from_millis(999), Duration::MAX] {
        let started = db.rules().rule(db.empty_threads()).interval(given).start(&plimsoll).await;
        assert!(matches!(started, Err(RetentionError::Interval { .. })), "{given:?}");
    }
    db.rules().rule(db.empty_threads()).start(&plimsoll).await.unwrap();
    let second = db.rules().rule(db.empty_threads()).start(&plimsoll).await;
    assert!(matches!(second, Err(RetentionError::Attached(_))));
    plimsoll.shutdown().await;
}
