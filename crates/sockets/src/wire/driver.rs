//! Drives one socket: reads into the inbox, writes from the queue, pings, says goodbye.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    time::{Instant, sleep_until, timeout_at},
};

use super::{Failure, Frame, Incoming, liveness::Liveness, session::Received};
use crate::{cause::CloseCause, entry::Entry, outbox::Charge};

/// The body of the task: to the end of the socket.
pub(super) async fn drive<S, M, E>(entry: Arc<Entry>, socket: S, inbox: mpsc::Sender<Received>)
where
    S: Stream<Item = Result<M, E>> + Sink<M, Error = E> + Send + 'static,
    M: Frame,
    E: Failure,
{
    let (mut sink, mut stream) = socket.split();
    let limits = &entry.inner.limits;
    // Well within the deadline: a peer that does not answer is no reason for force.
    let grace = limits.close_grace.min(entry.inner.cleanup_timeout / 2);
    let liveness = Liveness::new(limits);
    let found = tokio::select! {
        cause = read(&entry, &mut stream, &inbox, &liveness) => Some(cause),
        cause = write(&entry, &mut sink, &liveness) => cause,
        cause = liveness.watch() => Some(cause),
        // A write that is under way when the closing begins has that long to end.
        () = async { entry.closing().await; sleep_until(Instant::now() + grace).await } => return,
    };
    if let Some(cause) = found {
        entry.begin_close(cause);
    }
    // The handler hears of the end now, after what was received before it.
    drop(inbox);
    let cause = entry.cause().unwrap_or(CloseCause::Lost);
    let goodbye = async {
        while let Some(queued) = entry.outbox.try_pop() {
            sink.send(M::encode(queued.message)).await?;
        }
        if let Some(code) = cause.code() {
            sink.send(M::close(code, cause.reason())).await?;
        }
        // Ends with the peer's answer, which is not read any further. Whatever else it still
        // sends is dropped.
        while let Some(frame) = stream.next().await {
            frame?;
        }
        Ok::<_, E>(())
    };
    if !matches!(cause, CloseCause::Lost | CloseCause::PingTimeout) {
        let _ = timeout_at(Instant::now() + grace, goodbye).await;
    }
}

async fn read<S, M, E>(
    entry: &Entry,
    stream: &mut S,
    inbox: &mpsc::Sender<Received>,
    liveness: &Liveness,
) -> CloseCause
where
    S: Stream<Item = Result<M, E>> + Unpin,
    M: Frame,
    E: Failure,
{
    while let Some(frame) = stream.next().await {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => return error.cause(),
        };
        liveness.heard();
        let message = match frame.decode() {
            Incoming::Message(message) => message,
            Incoming::Control => continue,
            Incoming::Close => return CloseCause::PeerClosed,
        };
        entry.touch();
        let charge = Charge::of(entry.inner.admission, &message);
        match inbox.try_send(Received { message, _charge: charge }) {
            // A handler that takes no messages is free not to.
            Ok(()) | Err(TrySendError::Closed(_)) => {}
            Err(TrySendError::Full(received)) => {
                // Nothing is read meanwhile, so the peer is slowed down by its own transport.
                liveness.blocked(true);
                let _ = inbox.send(received).await;
                liveness.blocked(false);
            }
        }
    }
    CloseCause::Lost
}

/// Ends without a cause when the closing begins; a message is never left half written for it.
async fn write<S, M, E>(entry: &Entry, sink: &mut S, liveness: &Liveness) -> Option<CloseCause>
where
    S: Sink<M, Error = E> + Unpin,
    M: Frame,
    E: Failure,
{
    loop {
        let written = tokio::select! {
            biased;
            () = entry.closing() => return None,
            () = liveness.ping_due.notified() => sink.send(M::ping(Bytes::new())).await,
            mut queued = entry.outbox.pop() => {
                // Its charge stays until it is written: the memory does.
                queued.no_longer_queued();
                let frame = M::encode(queued.message.clone());
                let written = sink.send(frame).await;
                entry.touch();
                written
            }
        };
        if let Err(error) = written {
            return Some(error.cause());
        }
    }
}
