//! Who hears whom: everybody in a room, whichever protocol they speak.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use plimsoll::{
    prelude::{ConnectionRegistry, Message},
    sockets::socketio,
};
use tokio::sync::OwnedMutexGuard;

use crate::message::ServerFrame;

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speech {
    /// A frame of JSON for each thing that happens.
    WebSocket,
    /// An event for each thing that happens.
    SocketIo,
}

impl Speech {
    const ALL: [Self; 2] = [Self::WebSocket, Self::SocketIo];

    /// The registry's name of a room's part that speaks like this: each frame is encoded once
    /// for each of the two, not for each connection.
    pub(crate) fn room(self, room_id: i64) -> String {
        match self {
            Self::WebSocket => format!("ws:{room_id}"),
            Self::SocketIo => format!("io:{room_id}"),
        }
    }

    pub(crate) fn encode(self, frame: &ServerFrame<'_>) -> Message {
        match self {
            Self::WebSocket => frame.to_text().into(),
            Self::SocketIo => {
                let (event, data) = frame.to_event();
                socketio::event(&event, &data).expect("JSON can be written as JSON")
            }
        }
    }
}

/// The rooms. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Rooms {
    sockets: ConnectionRegistry,
    /// One for each room that was ever in use; there are at most so many as the database allows.
    order: Arc<Mutex<HashMap<i64, Arc<tokio::sync::Mutex<()>>>>>,
}

impl Rooms {
    pub(crate) fn new(sockets: &ConnectionRegistry) -> Self {
        Self { sockets: sockets.clone(), order: Arc::default() }
    }

    /// Has a room to oneself. Who stores a message holds it until the message is queued for
    /// everybody, and who comes in holds it from the history to the seat: so messages come in
    /// the order of their numbers, and a newcomer misses none and gets none twice.
    pub(crate) async fn order(&self, room_id: i64) -> OwnedMutexGuard<()> {
        let room = {
            let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(order.entry(room_id).or_default())
        };
        room.lock_owned().await
    }

    /// Queues a frame for everybody in a room. Nobody is waited for: who is too slow is closed.
    pub(crate) fn say(&self, room_id: i64, frame: &ServerFrame<'_>) {
        for speech in Speech::ALL {
            self.sockets.broadcast(&speech.room(room_id), speech.encode(frame));
        }
    }

    /// Counts the connections in each room; returns how many are in the room of a number.
    pub(crate) fn present(&self) -> impl Fn(i64) -> usize + use<> {
        let sizes: HashMap<_, _> = self.sockets.rooms().into_iter().collect();
        move |room_id| {
            let size = |speech: Speech| sizes.get(&speech.room(room_id)).copied().unwrap_or(0);
            Speech::ALL.into_iter().map(size).sum()
        }
    }
}

#[cfg(test)]
mod tests {
    use plimsoll::prelude::{ConnectionMeta, Transport};

    use super::*;
    use crate::message::Name;

    #[tokio::test]
    async fn a_frame_reaches_its_room_in_both_ways_of_speech_and_no_other() {
        let sockets = ConnectionRegistry::builder().build().unwrap();
        let rooms = Rooms::new(&sockets);
        let connect = |speech: Speech, room_id| {
            let connection = sockets.connect(ConnectionMeta::new(Transport::Other)).unwrap();
            connection.join(&speech.room(room_id)).unwrap();
            connection
        };
        let plain = connect(Speech::WebSocket, 1);
        let events = connect(Speech::SocketIo, 1);
        let _elsewhere = connect(Speech::WebSocket, 2);
        let present = rooms.present();
        assert_eq!((present(1), present(2), present(3)), (2, 1, 0));

        let name = Name::parse("name", "Ada").unwrap();
        rooms.say(1, &ServerFrame::Joined { name: &name });
        let told = plain.next_queued().await.unwrap();
        assert_eq!(told.as_text(), Some(r#"{"type":"joined","name":"Ada"}"#));
        let told = events.next_queued().await.unwrap();
        assert_eq!(told.as_text(), Some(r#"["joined",{"name":"Ada"}]"#));
        assert_eq!(sockets.report().queued_messages, 0, "nobody else was told");
    }
}
