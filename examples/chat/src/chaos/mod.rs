//! Faults that can be switched on: what grows for ever, as careless code has it.
//!
//! They are what Plimsoll is for: each is registered as a pruner, so that the memory comes
//! back when it is needed. Rows of the database are no pruner's: they are deleted by the
//! retention rules or not at all.

mod leak;
mod sessions;

use std::{fmt::Write as _, sync::Arc};

use axum::http::request;
use plimsoll::prelude::*;
use tokio::sync::OnceCell;

use self::leak::Leak;
pub(crate) use self::sessions::Sessions;
use crate::{db::Database, message::Name, options::Fault};

/// Bytes that every leaked entry drags along, as a backtrace or a copy of a buffer would.
const LUGGAGE_BYTES: usize = 4096;
/// The age of the empty threads that are left behind, in seconds: as an import of old data has
/// them that breaks off. Younger ones would be kept by the rule, which waits 2 h.
const LITTER_AGE: i64 = 3 * 3600;

/// The faults that are switched on. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chaos {
    /// Whether memory is held on request.
    pub(crate) hold: bool,
    /// An entry for every request, with its whole head.
    errors: Option<Leak>,
    /// An entry for every frame of every socket.
    events: Option<Leak>,
    /// Every message that was ever rendered.
    cache: Option<Leak>,
    /// What belonged to connections that are gone.
    sessions: Option<Sessions>,
    /// Who leaves an empty thread behind at every request.
    litter: Option<Arc<Litter>>,
}

/// Whose session the empty threads are in, and their title.
#[derive(Debug)]
struct Litter {
    user: Name,
    title: String,
    // Once: it stays as long as there are threads in it, and a day longer.
    session: OnceCell<i64>,
}

impl Litter {
    async fn drop_one(&self, db: &Database) -> sqlx::Result<()> {
        let open = async || db.open_session(&self.user, &self.user).await.map(|it| it.id);
        let session = self.session.get_or_try_init(open).await?;
        db.litter(*session, &self.title, LITTER_AGE).await
    }
}

impl Chaos {
    pub(crate) fn new(faults: &[Fault]) -> Self {
        let leak = |fault| faults.contains(&fault).then(Leak::default);
        let litter = || {
            let user = Name::parse("name", "importer").expect("a name");
            Arc::new(Litter { user, title: padded("imported"), session: OnceCell::new() })
        };
        Self {
            hold: faults.contains(&Fault::Hold),
            errors: leak(Fault::LeakErrors),
            events: leak(Fault::LeakEvents),
            cache: leak(Fault::LeakCache),
            sessions: faults.contains(&Fault::LeakSockets).then(Sessions::default),
            litter: faults.contains(&Fault::FillThreads).then(litter),
        }
    }

    /// The leaks that are switched on, as pruners.
    pub(crate) fn register(
        &self,
        registry: &CleanupRegistry,
        sockets: &ConnectionRegistry,
    ) -> Vec<Registration> {
        let leaks = [
            ("leaked_errors", &self.errors),
            ("leaked_events", &self.events),
            ("leaked_cache", &self.cache),
        ];
        let mut all: Vec<_> = leaks
            .into_iter()
            .filter_map(|(name, leak)| Some(registry.register(name, leak.clone()?)))
            .collect();
        if let Some(sessions) = &self.sessions {
            all.extend(sessions.register(registry, sockets));
        }
        all
    }

    /// A request came in.
    pub(crate) async fn request(&self, head: &request::Parts, db: &Database) {
        if let Some(leak) = &self.errors {
            let mut entry = format!("{} {}\n", head.method, head.uri);
            for (name, value) in &head.headers {
                let _ = writeln!(entry, "{name}: {value:?}");
            }
            leak.push(&entry);
        }
        if let Some(litter) = &self.litter
            && let Err(error) = litter.drop_one(db).await
        {
            tracing::debug!(%error, "no empty thread was left behind");
        }
    }

    /// A connection was made.
    pub(crate) fn connected(&self, connection: &WeakConnection) {
        if let Some(sessions) = &self.sessions {
            sessions.open(connection);
        }
    }

    /// A frame came in.
    pub(crate) fn frame(&self, connection: &WeakConnection, name: &str, frame: &str) {
        if let Some(leak) = &self.events {
            leak.push(&format!("{name}: {frame}"));
        }
        if let Some(sessions) = &self.sessions {
            sessions.note(connection.id(), frame);
        }
    }

    /// A message was rendered.
    pub(crate) fn rendered(&self, text: &str) {
        if let Some(leak) = &self.cache {
            leak.push(text);
        }
    }
}

/// The text with its luggage.
fn padded(text: &str) -> String {
    let mut entry = String::with_capacity(text.len() + LUGGAGE_BYTES);
    entry.push_str(text);
    // Written and not only reserved: untouched memory is not resident.
    entry.extend(std::iter::repeat_n(' ', LUGGAGE_BYTES));
    entry
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;
    use crate::location::Location;

    #[tokio::test]
    async fn only_what_is_switched_on_leaks() {
        let db = Database::open(&Location::Memory).await.unwrap();
        let sockets = ConnectionRegistry::builder().build().unwrap();
        let connection = sockets.connect(ConnectionMeta::new(Transport::Other)).unwrap();
        let (head, ()) = Request::get("/x").body(()).unwrap().into_parts();
        let calm = Chaos::new(&[]);
        let leaky = Chaos::new(&[Fault::LeakErrors, Fault::LeakCache]);
        for chaos in [&calm, &leaky] {
            for _ in 0..3 {
                chaos.request(&head, &db).await;
                chaos.connected(&connection.downgrade());
                chaos.frame(&connection.downgrade(), "Ada", "hi");
                chaos.rendered("<p>");
            }
        }
        let registry = CleanupRegistry::new();
        let _none = calm.register(&registry, &sockets);
        assert!(registry.names().is_empty());
        let _some = leaky.register(&registry, &sockets);
        assert_eq!(registry.names(), ["leaked_errors", "leaked_cache"]);
        for leak in [&leaky.errors, &leaky.cache] {
            assert_eq!(leak.as_ref().map(|leak| leak.held().entries), Some(3));
        }
        assert!(!leaky.hold && Chaos::new(&[Fault::Hold]).hold);
    }
}
