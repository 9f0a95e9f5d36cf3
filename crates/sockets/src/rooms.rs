//! Rooms: who is in which, so that leaving is never forgotten.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use crate::entry::{Closed, Entry};

type Members = HashMap<u64, Weak<Entry>>;

/// The lock here is taken before that of an entry, never after it.
#[derive(Default)]
pub(crate) struct Rooms(Mutex<HashMap<Arc<str>, Members>>);

impl Rooms {
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Members>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection; `false` when it is in the room already.
    pub(crate) fn join(&self, entry: &Arc<Entry>, room: &str) -> Result<bool, Closed> {
        let mut rooms = self.lock();
        let name = match rooms.get_key_value(room) {
            Some((name, _)) => Arc::clone(name),
            None => Arc::from(room),
        };
        // Both under this lock: a closing either finds the room noted or refuses it.
        let joined = entry.note_room(&name)?;
        if joined {
            rooms.entry(name).or_default().insert(entry.id, Arc::downgrade(entry));
        }
        Ok(joined)
    }

    pub(crate) fn leave(&self, entry: &Entry, room: &str) -> bool {
        let mut rooms = self.lock();
        entry.forget_room(room);
        Self::strike(&mut rooms, entry.id, room)
    }

    pub(crate) fn leave_all(&self, id: u64, joined: &[Arc<str>]) {
        if joined.is_empty() {
            return;
        }
        let mut rooms = self.lock();
        for room in joined {
            Self::strike(&mut rooms, id, room);
        }
    }

    fn strike(rooms: &mut HashMap<Arc<str>, Members>, id: u64, room: &str) -> bool {
        let Some(members) = rooms.get_mut(room) else { return false };
        let left = members.remove(&id).is_some();
        if members.is_empty() {
            rooms.remove(room);
        }
        left
    }

    /// Everybody in a room.
    pub(crate) fn members(&self, room: &str) -> Vec<Arc<Entry>> {
        let rooms = self.lock();
        let members = rooms.get(room).into_iter().flat_map(HashMap::values);
        members.filter_map(Weak::upgrade).collect()
    }

    /// The rooms with their numbers of members.
    pub(crate) fn sizes(&self) -> Vec<(String, usize)> {
        self.lock().iter().map(|(room, members)| (room.to_string(), members.len())).collect()
    }
}
