//! Who hears whom: one bounded broadcast channel for each room that has somebody in it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::extract::ws::Utf8Bytes;
use tokio::sync::broadcast;

/// Frames that a client may fall behind before it is dropped as too slow. The channel is
/// shared by a room, so a crowd of slow clients holds no more than one slow client.
pub(crate) const BACKLOG: usize = 128;

/// A frame for everybody in a room.
#[derive(Clone, Debug)]
pub(crate) struct Broadcast {
    /// Number of the message; `None` for a frame that is not one.
    pub(crate) id: Option<i64>,
    pub(crate) frame: Utf8Bytes,
}

/// The rooms that have somebody in them. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hub {
    rooms: Arc<Mutex<HashMap<i64, Room>>>,
}

#[derive(Debug)]
struct Room {
    sender: broadcast::Sender<Broadcast>,
    present: usize,
}

impl Hub {
    /// Takes a seat in a room; dropping the seat leaves it.
    pub(crate) fn join(&self, room_id: i64) -> Seat {
        let mut rooms = self.lock();
        let room = rooms
            .entry(room_id)
            .or_insert_with(|| Room { sender: broadcast::channel(BACKLOG).0, present: 0 });
        room.present += 1;
        Seat {
            hub: self.clone(),
            room_id,
            sender: room.sender.clone(),
            receiver: room.sender.subscribe(),
        }
    }

    /// Connections in a room now.
    pub(crate) fn present(&self, room_id: i64) -> usize {
        self.lock().get(&room_id).map_or(0, |room| room.present)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i64, Room>> {
        // Nothing here panics between two writes, so what a panic elsewhere left is whole.
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in a room: hears what is said there and can say something.
#[derive(Debug)]
pub(crate) struct Seat {
    hub: Hub,
    room_id: i64,
    sender: broadcast::Sender<Broadcast>,
    receiver: broadcast::Receiver<Broadcast>,
}

impl Seat {
    /// Sends a frame to everybody in the room, the sender included.
    pub(crate) fn say(&self, id: Option<i64>, frame: String) {
        // It cannot fail: this seat is a receiver.
        let _ = self.sender.send(Broadcast { id, frame: frame.into() });
    }

    /// Waits for the next frame; `None` when this seat fell too far behind.
    ///
    /// # Cancel safety
    ///
    /// No frame is lost when the future is dropped.
    pub(crate) async fn hear(&mut self) -> Option<Broadcast> {
        self.receiver.recv().await.ok()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut rooms = self.hub.lock();
        if let Some(room) = rooms.get_mut(&self.room_id) {
            room.present -= 1;
            if room.present == 0 {
                rooms.remove(&self.room_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_frame_reaches_its_room_and_no_other() {
        let hub = Hub::default();
        let (mut ada, mut ben, mut eve) = (hub.join(1), hub.join(1), hub.join(2));
        ada.say(Some(7), "hi".into());
        eve.say(None, "elsewhere".into());
        for seat in [&mut ada, &mut ben] {
            let heard = seat.hear().await.unwrap();
            assert_eq!((heard.id, heard.frame.as_str()), (Some(7), "hi"));
        }
        assert_eq!(eve.hear().await.unwrap().frame.as_str(), "elsewhere");
    }

    #[tokio::test]
    async fn a_seat_that_falls_behind_hears_that_and_the_others_hear_everything() {
        let hub = Hub::default();
        let (mut slow, mut fast) = (hub.join(1), hub.join(1));
        for n in 0..=BACKLOG {
            fast.say(None, n.to_string());
            assert!(fast.hear().await.is_some());
        }
        assert!(slow.hear().await.is_none());
    }

    #[test]
    fn an_empty_room_holds_nothing() {
        let hub = Hub::default();
        let (ada, ben) = (hub.join(1), hub.join(1));
        assert_eq!(hub.present(1), 2);
        drop(ada);
        assert_eq!(hub.present(1), 1);
        drop(ben);
        assert_eq!(hub.present(1), 0);
        assert!(hub.lock().is_empty());
    }
}
