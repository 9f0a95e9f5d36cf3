//! Standard output for data, standard error for talk.

use std::io::{self, ErrorKind, Write as _};

use serde_json::json;

use crate::{
    failure::Failure,
    look::{self, ERROR, Look},
    text,
};

/// Where a command writes; remembers whether somebody still reads.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) look: Look,
    pub(crate) json: bool,
    wrote: bool,
    closed: bool,
}

impl Output {
    /// Starts with nothing written.
    pub(crate) fn new(look: Look, json: bool) -> Self {
        Self { look, json, wrote: false, closed: false }
    }

    /// True once the reader of standard output has gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Writes text for people, which ends with a line break.
    ///
    /// # Errors
    /// [`Failure::Output`], but not for a closed pipe: the reader has seen enough.
    pub(crate) fn data(&mut self, text: &str) -> Result<(), Failure> {
        self.wrote = true;
        let mut stdout = io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            Err(error) => Err(Failure::Output(error)),
        }
    }

    /// Writes a JSON document on one line.
    ///
    /// # Errors
    /// As [`data`](Self::data).
    pub(crate) fn document(&mut self, document: &str) -> Result<(), Failure> {
        self.data(&format!("{}\n", text::clean_json(document)))
    }

    /// Says something on standard error; nobody listening is fine.
    pub(crate) fn talk(&self, text: &str) {
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// Asks something on standard error, without a line break after it.
    pub(crate) fn prompt(&self, question: &str) {
        let mut stderr = io::stderr().lock();
        let _ = stderr.write_all(question.as_bytes()).and_then(|()| stderr.flush());
    }

    /// Tells a failure: to people on standard error, and under `--json` also as the document that
    /// standard output would otherwise lack.
    pub(crate) fn failure(&mut self, failure: &Failure) {
        let message = self.look.foreign(&failure.to_string());
        let help = failure.help().map(|help| self.look.foreign(&help));
        self.talk(&format!("{} {message}", look::paint(self.look.error_color, ERROR, "error:")));
        if let Some(help) = &help {
            self.talk(&format!("  help: {help}"));
        }
        if !self.json || self.wrote {
            return;
        }
        let document = match failure {
            Failure::Answer(refusal) if refusal.document.is_some() => refusal.document.clone(),
            _ => None,
        };
        let document = document.unwrap_or_else(|| {
            let code = failure.exit().code();
            json!({"success": false, "error": message, "help": help, "exitCode": code}).to_string()
        });
        // The failure that led here is the one to end with.
        let _ = self.document(&document);
    }
}
