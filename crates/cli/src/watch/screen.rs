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
