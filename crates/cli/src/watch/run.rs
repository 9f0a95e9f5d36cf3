//! The loop: wait for events, change the state, draw.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    },
    thread,
    time::Duration,
};

use crossterm::event::{self as terminal, KeyCode, KeyEventKind, KeyModifiers};

use super::{
    draw::draw,
    event::{Effect, Event, Key},
    net,
    screen::Screen,
    state::State,
    theme::Theme,
};
use crate::{client::Client, exit::Exit, look::Look};

/// Events that may wait; who sends more waits for the screen.
const QUEUE: usize = 256;
/// Ages on the screen grow by the second.
const TICK: Duration = Duration::from_secs(1);

/// Shows the full screen until somebody leaves.
///
/// # Errors
/// What the terminal says; it has been given back then.
pub(crate) fn run(client: Client, look: &Look) -> io::Result<Exit> {
    let theme = Theme::new(look);
    let mut state = State::new(client.base().to_string());
    let (sender, events) = mpsc::sync_channel(QUEUE);
    // Before the terminal is taken, so that no signal finds it taken and nobody to give it back.
    #[cfg(unix)]
    hear_signals(&sender)?;
    let mut screen = Screen::take()?;
    let client = Arc::new(client);
    let keys = sender.clone();
    thread::spawn(move || hear_keys(&keys));
    net::start(&client, &sender);
    loop {
        let now = now();
        screen.draw(|buffer| draw(&state, &theme, now, buffer))?;
        // All that has come by now is one redraw.
        let Some(first) = next(&events) else { return Ok(Exit::Unexpected) };
        let waiting: Vec<_> = events.try_iter().take(QUEUE).collect();
        for event in std::iter::once(first).chain(waiting) {
            match state.apply(event, self::now()) {
                Some(Effect::Quit(exit)) => return Ok(exit),
                Some(effect) => net::act(&client, &sender, effect),
                None => {}
            }
        }
    }
}

fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn next(events: &Receiver<Event>) -> Option<Event> {
    match events.recv_timeout(TICK) {
        Ok(event) => Some(event),
        Err(RecvTimeoutError::Timeout) => Some(Event::Redraw),
        Err(RecvTimeoutError::Disconnected) => None,
    }
}

#[cfg(unix)]
fn hear_signals(events: &SyncSender<Event>) -> io::Result<()> {
    use signal_hook::{
        consts::{SIGHUP, SIGINT, SIGTERM},
        iterator::Signals,
    };

    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    let events = events.clone();
    thread::spawn(move || {
        for _ in signals.forever() {
            if events.send(Event::Stop(Exit::Interrupted)).is_err() {
                return;
            }
        }
    });
    Ok(())
}

fn hear_keys(events: &SyncSender<Event>) {
    loop {
        let event = match terminal::read() {
            Ok(terminal::Event::Key(key)) if key.kind != KeyEventKind::Release => {
                match key_of(key.code, key.modifiers) {
                    Some(key) => Event::Key(key),
                    None => continue,
                }
            }
            Ok(terminal::Event::Resize(..)) => Event::Redraw,
            Ok(_) => continue,
            // The terminal has gone.
            Err(_) => Event::Stop(Exit::Interrupted),
        };
        let ends = matches!(event, Event::Stop(_));
        if events.send(event).is_err() || ends {
            return;
        }
    }
}

fn key_of(code: KeyCode, modifiers: KeyModifiers) -> Option<Key> {
    if modifiers.contains(KeyModifiers::CONTROL) {
        return matches!(code, KeyCode::Char('c' | 'C')).then_some(Key::Interrupt);
    }
    Some(match code {
        KeyCode::Char(character) => Key::Char(character),
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Tab => Key::Tab,
        KeyCode::BackTab => Key::BackTab,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        _ => return None,
    })
}
