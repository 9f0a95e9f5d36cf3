//! What each key does.

use super::{
    dialog::{Dialog, Editor},
    event::{Effect, Key},
    state::{LEAVE, Link, Panel, SPANS, State},
};
use crate::exit::Exit;

/// Rows that a page key moves by.
const PAGE: usize = 5;

impl State {
    /// Changes with a key.
    pub(super) fn press(&mut self, key: Key, now: i64) -> Option<Effect> {
        if key == Key::Interrupt {
            return Some(Effect::Quit(Exit::Interrupted));
        }
        match std::mem::take(&mut self.dialog) {
            Dialog::None => self.press_on_screen(key, now),
            // Any key leaves the help; the ones that leave everything else do no more than that.
            Dialog::Help => None,
            Dialog::Planning => {
                if !matches!(key, Key::Escape | Key::Char('n' | 'q')) {
                    self.dialog = Dialog::Planning;
                }
                None
            }
            Dialog::Confirm { plan, scroll } => {
                let scroll = match key {
                    Key::Char('y' | 'Y') => {
                        self.busy = Some(now);
                        return Some(Effect::Aggressive);
                    }
                    Key::Escape | Key::Char('n' | 'N' | 'q') => {
                        self.say("nothing was changed", false, now);
                        return None;
                    }
                    Key::Down => scroll + 1,
                    Key::Up => scroll.saturating_sub(1),
                    // Enter is no yes: it is pressed too easily.
                    _ => scroll,
                };
                self.dialog = Dialog::Confirm { plan, scroll };
                None
            }
            Dialog::Thresholds(mut editor) => {
                let mut effect = None;
                match key {
                    Key::Escape => return None,
                    Key::Enter => effect = editor.submit().map(Effect::Thresholds),
                    Key::Backspace => editor.pop(),
                    Key::Char(character) => editor.push(character),
                    _ => {}
                }
                self.dialog = Dialog::Thresholds(editor);
                effect
            }
        }
    }

    fn press_on_screen(&mut self, key: Key, now: i64) -> Option<Effect> {
        match key {
            Key::Char('q' | 'Q') => return Some(LEAVE),
            Key::Char('?' | 'h') => self.dialog = Dialog::Help,
            Key::Char('p' | ' ') => self.toggle_pause(now),
            Key::Char('s') => self.fit = !self.fit,
            Key::Char('c') if self.may_act(now) => {
                self.busy = Some(now);
                return Some(Effect::Cleanup);
            }
            Key::Char('a') if self.may_act(now) => {
                self.dialog = Dialog::Planning;
                return Some(Effect::Plan);
            }
            Key::Char('t') if self.may_change(now) => {
                let report = self.shown().live.as_ref().map(|live| &live.report);
                let side = |name| report.and_then(|report| report.threshold(name));
                self.dialog = Dialog::Thresholds(Editor::new(side("warning"), side("critical")));
            }
            Key::Left => self.span = (self.span + 1).min(SPANS.len() - 1),
            Key::Right => self.span = self.span.saturating_sub(1),
            Key::Tab => self.turn_focus(1),
            Key::BackTab => self.turn_focus(Panel::ALL.len() - 1),
            Key::Up => self.scroll(|offset| offset.saturating_sub(1)),
            Key::Down => self.scroll(|offset| offset + 1),
            Key::PageUp => self.scroll(|offset| offset.saturating_sub(PAGE)),
            Key::PageDown => self.scroll(|offset| offset + PAGE),
            Key::Home => self.scroll(|_| 0),
            Key::End => self.scroll(|_| usize::MAX),
            // Nothing lies over the screen, so there is nothing to leave.
            Key::Escape => self.notice = None,
            Key::Char(_) | Key::Enter | Key::Backspace | Key::Interrupt => {}
        }
        None
    }

    /// Whether a change can be asked for now; says why not.
    fn may_change(&mut self, now: i64) -> bool {
        let why = if matches!(self.link, Link::Lost { .. } | Link::Connecting) {
            "there is no server to ask"
        } else if self.may_operate == Some(false) {
            "read-only: this needs a token with the scope operate (PLIMSOLL_TOKEN or --token-file)"
        } else {
            return true;
        };
        self.say(why, true, now);
        false
    }

    fn may_act(&mut self, now: i64) -> bool {
        if self.busy.is_some() {
            self.say("a cleanup is running already", true, now);
            return false;
        }
        self.may_change(now)
    }

    fn turn_focus(&mut self, by: usize) {
        let place = Panel::ALL.iter().position(|panel| *panel == self.focus).unwrap_or(0);
        self.focus = Panel::ALL[(place + by) % Panel::ALL.len()];
    }

    fn scroll(&mut self, to: impl Fn(usize) -> usize) {
        let seen = self.shown();
        let (place, rows) = match self.focus {
            Panel::Routes => (0, seen.routes.len()),
            Panel::Alerts => (1, seen.alerts.len()),
            Panel::Cleanups => (2, seen.cleanups.len()),
        };
        self.offsets[place] = to(self.offsets[place]).min(rows.saturating_sub(1));
    }
}
