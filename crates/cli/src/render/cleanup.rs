//! What a cleanup did: one line, and one more for each action.

use crate::{
    look::{Look, Mark},
    render::{
        report::freed,
        table::{Align, table},
    },
    text::{count, figure, megabytes, small_size, words},
    time::elapsed,
    wire::{ActionResult, Record, Status},
};

/// Renders a record; a dry run says what would be removed.
pub(crate) fn cleanup(look: &Look, record: &Record, dry_run: bool) -> String {
    let dry_run = dry_run || record.is_dry_run();
    let status = match record.status() {
        Status::Missing => String::new(),
        status => format!(" {}", look.status(&status)),
    };
    let broom = look.emoji("🧹");
    let head = if dry_run {
        let actions =
            record.action_count().map_or_else(|| "n/a".to_owned(), |n| count(n, "action"));
        let usage = megabytes(record.before_bytes);
        format!("{broom}Dry run ({actions}), nothing was changed: {usage}{status}")
    } else {
        let took = record.duration_ms.map_or_else(String::new, |ms| format!(" in {}", elapsed(ms)));
        let change = match (record.before_bytes, record.after_bytes) {
            (None, None) => String::new(),
            (before, after) => {
                format!(" {} {} {}", megabytes(before), look.arrow(), megabytes(after))
            }
        };
        let colon = if change.is_empty() && status.is_empty() { "" } else { ":" };
        format!("{broom}{}{took}{colon}{change}{status}", freed(record))
    };
    let detail = detail(look, record.detail.as_deref());
    format!(
        "{head}{}{detail}\n{}",
        if detail.is_empty() { "" } else { " " },
        actions(look, record, dry_run)
    )
}

fn actions(look: &Look, record: &Record, dry_run: bool) -> String {
    let rows: Vec<_> = record
        .described()
        .into_iter()
        .map(|(result, told)| row(look, result, told, dry_run))
        .collect();
    table([Align::Left, Align::Left, Align::Right, Align::Left], &align_counts(rows))
}

/// Name, what was done, bytes, and why it failed or what the action says of itself.
fn row(look: &Look, result: &ActionResult, told: Option<&str>, dry_run: bool) -> [String; 4] {
    let name = look.foreign(result.name.as_deref().unwrap_or("n/a"));
    let said = detail(look, result.detail.as_deref());
    let freed = small_size(result.freed_bytes);
    if result.is_failure() {
        let outcome = look.foreign(&words(result.outcome.as_deref().unwrap_or_default()));
        let reason = format!("{} {outcome} {said}", look.mark(Mark::Bad).trim_end());
        let removed = figure(result.removed, " removed");
        return [name, removed, freed, reason.trim_end().to_owned()];
    }
    let done = match (result.outcome.as_deref(), told) {
        (Some("skipped"), _) => "skipped".to_owned(),
        (_, Some(told)) => look.foreign(told),
        _ if dry_run => figure(result.removed, " would be removed"),
        _ => figure(result.removed, " removed"),
    };
    [name, done, freed, said]
}

/// Sets the numbers that open the second column flush right.
fn align_counts(mut rows: Vec<[String; 4]>) -> Vec<[String; 4]> {
    let digits = |cell: &str| cell.bytes().take_while(u8::is_ascii_digit).count();
    let width = rows.iter().map(|row| digits(&row[1])).max().unwrap_or(0);
    for [_, cell, ..] in &mut rows {
        let own = digits(cell);
        if own > 0 {
            cell.insert_str(0, &" ".repeat(width - own));
        }
    }
    rows
}

fn detail(look: &Look, detail: Option<&str>) -> String {
    match detail.map(str::trim) {
        None | Some("") => String::new(),
        Some(detail) => format!("({})", look.foreign(detail)),
    }
}
