-- The times are Unix seconds by the clock of the database.
CREATE TABLE IF NOT EXISTS users (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);
CREATE TABLE IF NOT EXISTS rooms (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);
CREATE TABLE IF NOT EXISTS chat_sessions (
    id               INTEGER PRIMARY KEY,
    user_id          INTEGER NOT NULL REFERENCES users (id),
    title            TEXT NOT NULL,
    created_at       INTEGER NOT NULL DEFAULT (unixepoch()),
    last_activity_at INTEGER NOT NULL DEFAULT (unixepoch()),
    UNIQUE (user_id, title)
);
CREATE TABLE IF NOT EXISTS threads (
    id         INTEGER PRIMARY KEY,
    session_id INTEGER NOT NULL REFERENCES chat_sessions (id),
    title      TEXT NOT NULL,
    created_at INTEGER NOT NULL DEFAULT (unixepoch())
);
CREATE TABLE IF NOT EXISTS messages (
    id         INTEGER PRIMARY KEY,
    thread_id  INTEGER NOT NULL REFERENCES threads (id),
    user_id    INTEGER NOT NULL REFERENCES users (id),
    body       TEXT NOT NULL,
    created_at INTEGER NOT NULL DEFAULT (unixepoch())
);
CREATE TABLE IF NOT EXISTS room_participants (
    room_id      INTEGER NOT NULL REFERENCES rooms (id),
    user_id      INTEGER NOT NULL REFERENCES users (id),
    joined_at    INTEGER NOT NULL DEFAULT (unixepoch()),
    last_seen_at INTEGER NOT NULL DEFAULT (unixepoch()),
    PRIMARY KEY (room_id, user_id)
);
CREATE INDEX IF NOT EXISTS messages_thread_id ON messages (thread_id);
CREATE INDEX IF NOT EXISTS threads_created_at ON threads (created_at);
CREATE INDEX IF NOT EXISTS threads_session_id ON threads (session_id);
CREATE INDEX IF NOT EXISTS threads_title ON threads (title);
CREATE INDEX IF NOT EXISTS chat_sessions_last_activity_at ON chat_sessions (last_activity_at);
CREATE INDEX IF NOT EXISTS room_participants_last_seen_at ON room_participants (last_seen_at);

INSERT INTO rooms (name) VALUES ('lobby'), ('harbour'), ('engine room') ON CONFLICT (name) DO NOTHING;
