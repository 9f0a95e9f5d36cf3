//! `aggressive`: database rules, then the aggressive cleanup. Deleting rows cannot be undone, so
//! a dry run shows them first and somebody has to agree.

use std::io::{self, BufRead, IsTerminal as _};

use serde_json::json;

use super::{cleanup, connect, fetch_report};
use crate::{
    args::{AggressiveArgs, Global},
    client::Client,
    exit::Exit,
    failure::Failure,
    output::Output,
    render,
    wire::{Aggressive, Rule},
};

const ROUTE: &str = "/api/cleanup/aggressive";
const DRY_RUN_ROUTE: &str = "/api/cleanup/aggressive?dryRun=true";

/// Runs `aggressive`.
pub(super) fn run(
    global: &Global,
    options: &AggressiveArgs,
    output: &mut Output,
) -> Result<Exit, Failure> {
    let asks = !options.yes && !options.dry_run;
    // Before the server is asked: a script must not depend on what the rules select today.
    if asks && !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return Err(Failure::Usage {
            message: "nobody is here to agree to the deletion of rows".to_owned(),
            help: "`--dry-run` shows them; `--yes` deletes them without asking".to_owned(),
        });
    }
    let client = connect(global)?;
    if asks {
        match ask(&client, output)? {
            Answer::Declined => {
                output.talk("nothing was changed");
                return Ok(Exit::Interrupted);
            }
            Answer::Agreed | Answer::NotNeeded => {}
        }
    }
    work(&client, options.dry_run, output)
}

/// Does it, or says what it would do.
fn work(client: &Client, dry_run: bool, output: &mut Output) -> Result<Exit, Failure> {
    let reply = client.work(if dry_run { DRY_RUN_ROUTE } else { ROUTE }, &json!({}))?;
    let rules = reply.read::<Aggressive>()?.data.map(|data| data.rules);
    if rules.as_ref().is_some_and(Vec::is_empty) {
        output.talk(render::NO_RULES);
    }
    let exit = cleanup::show(&reply, dry_run, output)?;
    // A script that asked for a deletion has to hear that there was none.
    let waited = |rule: &Rule| matches!(rule.waits(), Some("paused" | "stopped"));
    let none_ran = rules.is_some_and(|rules| !rules.is_empty() && rules.iter().all(waited));
    if none_ran && !dry_run {
        output.talk(render::NONE_RAN);
        return Ok(Exit::FailedActions);
    }
    Ok(exit)
}

/// What came of the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Agreed,
    Declined,
    /// There is nothing to delete from.
    NotNeeded,
}

/// Shows what would be deleted and asks.
fn ask(client: &Client, output: &Output) -> Result<Answer, Failure> {
    let planned = client.work(DRY_RUN_ROUTE, &json!({}))?.read::<Aggressive>()?;
    let rules = planned.data.unwrap_or_default().rules;
    if rules.is_empty() {
        return Ok(Answer::NotNeeded);
    }
    // The name tells one server from another behind the same address.
    let instance = fetch_report(client).ok().and_then(|(_, _, report)| report.instance);
    let question =
        render::question(&output.look, &client.base().to_string(), instance.as_deref(), &rules);
    output.prompt(&question);
    Ok(if agrees(&mut io::stdin().lock()) { Answer::Agreed } else { Answer::Declined })
}

/// Reads the answer; anything but a clear yes is a no.
fn agrees(input: &mut impl BufRead) -> bool {
    let mut answer = String::new();
    match input.read_line(&mut answer) {
        Ok(_) => matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_yes_agrees() {
        for (answer, agreed) in [
            ("y\n", true),
            ("YES\r\n", true),
            (" yes ", true),
            ("\n", false),
            ("", false),
            ("n\n", false),
            ("yep\n", false),
        ] {
            assert_eq!(agrees(&mut answer.as_bytes()), agreed, "{answer:?}");
        }
        assert!(!agrees(&mut [0xff, b'\n'].as_slice()));
    }
}
