//! The findings of `doctor`, one line each.

use crate::look::{Look, Mark};

/// Width of the column of names.
const NAME_WIDTH: usize = 11;

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) mark: Mark,
    pub(crate) name: &'static str,
    pub(crate) detail: String,
    /// The fix, where there is something to fix.
    pub(crate) help: Option<String>,
}

impl Finding {
    /// A check that passed.
    pub(crate) fn good(name: &'static str, detail: String) -> Self {
        Self { mark: Mark::Good, name, detail, help: None }
    }
}

/// Renders the findings in the order of the checks.
pub(crate) fn doctor(look: &Look, findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let (mark, detail) = (look.mark(finding.mark), look.foreign(&finding.detail));
        text.push_str(&format!("{mark} {:<NAME_WIDTH$} {detail}\n", finding.name));
        if let Some(help) = &finding.help {
            text.push_str(&format!("   help: {}\n", look.foreign(help)));
        }
    }
    text
}
