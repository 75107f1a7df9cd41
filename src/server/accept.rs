//! An accept loop for each listener, which no error ends.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::limiter::Place;
use super::worker::{Arrival, WorkerHandle};
use super::{Entrance, Shared};
use crate::session::Features;

/// How long the loop rests after an error that is the machine's, such as too many open files: it
/// would come back at once.
const REST: Duration = Duration::from_millis(100);

/// What all connections of a listener have in common.
#[derive(Debug)]
pub(super) struct ListenerFacts {
    pub(super) name: String,
    pub(super) authenticator: crate::auth::Authenticator,
    pub(super) features: Features,
}

pub(super) async fn accept_loop(
    shared: &Arc<Shared>,
    workers: &[WorkerHandle],
    entrance: Entrance,
) {
    let Entrance { name, door, authenticator, features } = entrance;
    let facts = Arc::new(ListenerFacts { name, authenticator, features });
    let mut failing = false;
    loop {
        shared.limiter.wait_for_room().await;
        match door.accept().await {
            Ok(incoming) => {
                failing = false;
                let (place, admission) = Place::take(shared);
                let facts = Arc::clone(&facts);
                let Some(worker) = workers.iter().min_by_key(|worker| worker.load()) else {
                    return;
                };
                worker.hand_over(Arrival { incoming, facts, admission, place }).await;
            }
            Err(error) if is_the_clients(&error) => {
                tracing::debug!(listener = facts.name, %error, "connection gone before accept");
            }
            Err(error) => {
                // Once: the same line ten times a second tells nothing more.
                if !failing {
                    tracing::error!(listener = facts.name, %error, "cannot accept connections");
                }
                failing = true;
                tokio::time::sleep(REST).await;
            }
        }
    }
}

/// Whether an error of `accept` is about one connection only, as accept(2) lists them.
fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::PermissionDenied
    )
}
