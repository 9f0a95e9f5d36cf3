//! Database rules: what they would delete, and what they did.

use crate::{
    look::{Look, Mark},
    render::table::{Align, table},
    text::{figure, words},
    wire::Rule,
};

/// Said where the server has no database rules.
pub(crate) const NO_RULES: &str =
    "note: no database rules are registered on this server; only memory is cleaned up";

/// Said where all rules were asked for and none of them ran.
pub(crate) const NONE_RAN: &str = "note: no rule ran, so no row was deleted: rules wait while memory is critical or the server stops";

/// Renders one line a rule; nothing without rules.
pub(crate) fn rules(look: &Look, rules: &[Rule], dry_run: bool) -> String {
    if rules.is_empty() {
        return String::new();
    }
    let head = if dry_run { "Database (dry run, nothing was deleted):" } else { "Database:" };
    let rows: Vec<_> = rules.iter().map(|rule| row(look, rule, dry_run)).collect();
    format!("{head}\n{}", table([Align::Left, Align::Right, Align::Left], &rows))
}

/// Renders the question asked before rows are deleted; ends without a line break.
pub(crate) fn question(look: &Look, url: &str, instance: Option<&str>, rules: &[Rule]) -> String {
    let instance =
        instance.map_or_else(String::new, |instance| format!(" ({})", look.foreign(instance)));
    let rows: Vec<_> = rules.iter().map(|rule| row(look, rule, true)).collect();
    format!(
        "This deletes rows on {}{instance}:\n{}Continue? [y/N] ",
        look.foreign(url),
        table([Align::Left, Align::Right, Align::Left], &rows),
    )
}

fn row(look: &Look, rule: &Rule, dry_run: bool) -> [String; 3] {
    let name = look.foreign(rule.rule.as_deref().unwrap_or("n/a"));
    let rows =
        if dry_run { figure(rule.selected, " selected") } else { figure(rule.deleted, " deleted") };
    let mut notes = Vec::new();
    if rule.is_failure() {
        let outcome = look.foreign(&words(rule.outcome.as_deref().unwrap_or_default()));
        notes.push(format!("{} {outcome}", look.mark(Mark::Bad).trim_end()));
    }
    if let Some(word) = rule.waits() {
        notes.push(look.foreign(word));
    }
    if let Some(reprieved) = rule.reprieved.filter(|&rows| rows > 0) {
        notes.push(format!("{reprieved} reprieved"));
    }
    if let Some(detail) = rule.detail.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
        notes.push(format!("({})", look.foreign(detail)));
    }
    [name, rows, notes.join(" ")]
}
