//! The terminal: taken, drawn on, and given back whatever happens.

use std::{
    io::{self, BufWriter, Stdout, Write as _},
    panic,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use crossterm::{
    cursor::{Hide, Show},
    execute, queue,
    terminal::{
        BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
        disable_raw_mode, enable_raw_mode,
    },
};
use ratatui::{Terminal, backend::CrosstermBackend, buffer::Buffer};

use crate::exit::Exit;

/// Bytes of one redraw, so that a terminal gets it in one piece.
const ONE_REDRAW: usize = 256 * 1024;

/// The terminal in raw mode on its second screen; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
    taken: Arc<AtomicBool>,
}

impl Screen {
    /// Takes the terminal. From here on a panic of any thread gives it back before it is told.
    ///
    /// # Errors
    /// What the terminal says; it has been given back then.
    pub(super) fn take() -> io::Result<Self> {
        let taken = Arc::new(AtomicBool::new(true));
        give_back_on_panic(Arc::clone(&taken));
        let terminal = enter().inspect_err(|_| give_back(&taken))?;
        Ok(Self { terminal, taken })
    }

    /// Draws; only cells that differ from the last time are written, all at once.
    ///
    /// # Errors
    /// What the terminal says.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Buffer)) -> io::Result<()> {
        // A terminal that knows synchronized updates shows none of it before the end.
        queue!(self.terminal.backend_mut(), BeginSynchronizedUpdate)?;
        self.terminal.draw(|frame| draw(frame.buffer_mut()))?;
        queue!(self.terminal.backend_mut(), EndSynchronizedUpdate)?;
        self.terminal.backend_mut().flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back(&self.taken);
    }
}

fn enter() -> io::Result<Terminal<CrosstermBackend<BufWriter<Stdout>>>> {
    enable_raw_mode()?;
    execute!(io::stdout(), EnterAlternateScreen, Hide)?;
    Terminal::new(CrosstermBackend::new(BufWriter::with_capacity(ONE_REDRAW, io::stdout())))
}

/// Leaves the second screen once; a terminal that has gone needs no more than the attempt.
fn give_back(taken: &AtomicBool) {
    if taken.swap(false, Ordering::AcqRel) {
        let _ = execute!(io::stdout(), EndSynchronizedUpdate, LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}

fn give_back_on_panic(taken: Arc<AtomicBool>) {
    let drawing = thread::current().id();
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let was_taken = taken.load(Ordering::Acquire);
        // First the screen, else the message would vanish with it.
        give_back(&taken);
        before(info);
        // The thread that draws unwinds to its end; without another one the screen would stand still.
        if was_taken && thread::current().id() != drawing {
            std::process::exit(Exit::Unexpected.code().into());
        }
    }));
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::{env, io::Read as _};

    use pty_process::blocking::{Command, open};
    use rustix::termios::tcgetattr;

    use super::*;

    /// Set for the test that panics, so that nobody else runs it by accident.
    const INSIDE: &str = "PLIMSOLL_TEST_IN_TERMINAL";

    #[test]
    #[ignore = "run by the test below, in a terminal of its own"]
    fn takes_the_screen_and_panics() {
        let Ok(who) = env::var(INSIDE) else { return };
        let mut screen = Screen::take().unwrap();
        screen
            .draw(|buffer| buffer.set_string(0, 0, "drawn", ratatui::style::Style::new()))
            .unwrap();
        if who == "drawing" {
            panic!("the drawing thread breaks");
        }
        let _ = thread::spawn(|| panic!("another thread breaks")).join();
        unreachable!("the process ends with that thread");
    }

    #[test]
    fn a_panic_gives_the_terminal_back_and_is_read_on_it() {
        for (who, message) in
            [("drawing", "the drawing thread breaks"), ("other", "another thread breaks")]
        {
            let (mut pty, pts) = open().unwrap();
            pty.resize(pty_process::Size::new(40, 200)).unwrap();
            let before = tcgetattr(&pts).unwrap();
            let mut child = Command::new(env::current_exe().unwrap())
                .args(["--exact", "watch::screen::tests::takes_the_screen_and_panics"])
                .args(["--ignored", "--nocapture", "--test-threads=1"])
                .env(INSIDE, who)
                .env("TERM", "xterm-256color")
                .spawn_borrowed(&pts)
                .unwrap();
            let status = child.wait().unwrap();
            assert!(!status.success());
            let now = tcgetattr(&pts).unwrap();
            assert_eq!(now.local_modes, before.local_modes, "{who}");
            // With both ends of the terminal gone, reading comes to an end.
            drop(pts);
            let mut written = Vec::new();
            let _ = pty.read_to_end(&mut written);
            let mut parser = vt100::Parser::new(40.try_into().unwrap(), 200.try_into().unwrap(), 0);
            parser.process(&written);
            let screen = parser.screen();
            assert!(!screen.alternate_screen() && !screen.hide_cursor(), "{who}");
            assert!(screen.contents().contains(message), "{who}: {}", screen.contents());
            assert!(String::from_utf8_lossy(&written).contains("drawn"), "{who}");
        }
    }
}
