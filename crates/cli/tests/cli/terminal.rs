//! A command in a pseudo-terminal, and what a terminal emulator makes of its output.

use std::{
    io::{Read as _, Write as _},
    process::{Child, Command},
    sync::{
        Arc,
        mpsc::{self, Receiver},
    },
    thread,
    time::Duration,
};

use pty_process::blocking::{Command as PtyCommand, Pts, Pty};
use rustix::termios::{Termios, tcgetattr};

/// Longest wait for anything; only a fault comes near it.
const PATIENCE: Duration = Duration::from_secs(60);

/// The terminal that a command runs in.
pub(crate) struct Terminal {
    pty: Arc<Pty>,
    /// Held, so that the settings outlive the command.
    pts: Pts,
    before: Termios,
    child: Child,
    output: Receiver<Vec<u8>>,
    parser: vt100::Parser,
    /// Everything that was written so far.
    pub(crate) written: Vec<u8>,
}

impl Terminal {
    /// Starts the command in a terminal of that many columns and rows, as its session's leader.
    pub(crate) fn start(command: &Command, (columns, rows): (u16, u16)) -> Self {
        let (pty, pts) = pty_process::blocking::open().unwrap();
        pty.resize(pty_process::Size::new(rows, columns)).unwrap();
        let before = tcgetattr(&pts).unwrap();
        let variables = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
        let child = PtyCommand::new(command.get_program())
            .args(command.get_args())
            .env_clear()
            .envs(variables)
            .spawn_borrowed(&pts)
            .unwrap();
        let pty = Arc::new(pty);
        let (sender, output) = mpsc::channel();
        let reader = Arc::clone(&pty);
        thread::spawn(move || {
            let mut piece = [0; 4_096];
            while let Ok(read @ 1..) = (&*reader).read(&mut piece) {
                if sender.send(piece[..read].to_vec()).is_err() {
                    break;
                }
            }
        });
        let size = |cells: u16| cells.try_into().unwrap();
        let parser = vt100::Parser::new(size(rows), size(columns), 0);
        Self { pty, pts, before, child, output, parser, written: Vec::new() }
    }

    /// Types.
    pub(crate) fn press(&self, keys: &str) {
        (&*self.pty).write_all(keys.as_bytes()).unwrap();
    }

    /// The screen, each row without the spaces at its end.
    pub(crate) fn screen(&self) -> String {
        let (_, columns) = self.parser.screen().size();
        let rows = self.parser.screen().rows(0, columns.into());
        rows.map(|row| format!("{}\n", row.trim_end())).collect()
    }

    /// Waits until the screen is as wanted.
    pub(crate) fn wait_until(&mut self, what: &str, is_so: impl Fn(&str) -> bool) {
        while !is_so(&self.screen()) {
            let piece = self.output.recv_timeout(PATIENCE);
            let piece = piece.unwrap_or_else(|_| panic!("no {what} on\n{}", self.screen()));
            self.take(&piece);
        }
    }

    /// Waits until the screen shows some text.
    pub(crate) fn wait_for(&mut self, text: &str) {
        self.wait_until(text, |screen| screen.contains(text));
    }

    /// Waits for the end; returns the exit code.
    pub(crate) fn end(&mut self) -> Option<i32> {
        let status = self.child.wait().unwrap();
        // What was written before the end may still be under way; the restored cursor is the last.
        while self.parser.screen().alternate_screen() {
            let Ok(piece) = self.output.recv_timeout(PATIENCE) else { break };
            self.take(&piece);
        }
        while let Ok(piece) = self.output.try_recv() {
            self.take(&piece);
        }
        status.code()
    }

    /// Sends a signal, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap();
        assert!(sent.success());
    }

    /// Fails unless the terminal is as it was before the command.
    pub(crate) fn assert_restored(&self) {
        let screen = self.parser.screen();
        assert!(!screen.alternate_screen(), "still on the second screen");
        assert!(!screen.hide_cursor(), "the cursor is still hidden");
        let now = tcgetattr(&self.pts).unwrap();
        assert_eq!(now.local_modes, self.before.local_modes);
        assert_eq!(now.input_modes, self.before.input_modes);
        assert_eq!(now.output_modes, self.before.output_modes);
    }

    /// Says that the terminal has another size now.
    pub(crate) fn resize(&mut self, (columns, rows): (u16, u16)) {
        self.pty.resize(pty_process::Size::new(rows, columns)).unwrap();
        let size = |cells: u16| cells.try_into().unwrap();
        self.parser.screen_mut().set_size(size(rows), size(columns));
    }

    fn take(&mut self, piece: &[u8]) {
        self.parser.process(piece);
        self.written.extend_from_slice(piece);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A test that failed must not leave it behind; one that passed has waited for its end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
