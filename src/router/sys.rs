//! What the server says of itself, in topics below `$SYS`.
//!
//! They are retained like a client's messages, but beside them: no filter but one that begins with
//! `$SYS` finds them, no limit counts them, no Journal keeps them, and all of them go at once.

use std::sync::Arc;

use parking_lot::RwLock;

use super::Router;
use super::courier::Courier;
use super::publish::Origin;
use super::vital::Vital;
use crate::message::{Message, Payload, Publication};
use crate::packet::{ForwardedProperties, QoS};
use crate::topic::{Cursor, RetainedTree, TopicFilter, TopicName};

/// The first level of the server's own topics. Clients may subscribe to it, and only the server
/// publishes there.
pub(super) const SYS: &str = "$SYS";

/// The newest message of each of the server's own topics.
#[derive(Debug, Default)]
pub(super) struct SysRetained(RwLock<RetainedTree<Arc<Message>>>);

impl SysRetained {
    pub(super) fn insert(&self, message: &Arc<Message>) {
        let mut tree = Vital(self.0.write());
        let old = tree.insert(message.topic.clone(), Arc::clone(message));
        drop(tree);
        drop(old);
    }

    /// As [`RetainedTree::scan`].
    pub(super) fn scan(
        &self,
        filter: &TopicFilter,
        cursor: Option<&Cursor>,
        limit: usize,
        steps: usize,
        visit: impl FnMut(&TopicName, &Arc<Message>),
    ) -> Option<Cursor> {
        Vital(self.0.read()).scan(filter, cursor, limit, steps, visit)
    }

    fn clear(&self) {
        let old = std::mem::take(&mut *Vital(self.0.write()));
        drop(old);
    }
}

impl Router {
    /// Whether anybody subscribes to the server's own topics, be he there or away.
    #[must_use]
    pub fn has_sys_subscriptions(&self) -> bool {
        self.subscriptions.has_sys()
    }

    /// Publishes and retains what the server says of itself; `topic` begins with `$SYS/`.
    ///
    /// With QoS 0: what is said again in seconds shall fill nobody's queue while he is away.
    pub fn publish_sys(&self, courier: &mut Courier, topic: &TopicName, payload: &[u8]) {
        let properties = ForwardedProperties::default();
        let publication = Publication {
            topic,
            payload: Payload::Borrowed(payload),
            qos: QoS::AtMostOnce,
            retain: true,
            properties: properties.as_view(),
            expiry: None,
            as_it_came: None,
        };
        // Only a client can be refused.
        let _ = self.publish(courier, &publication, Origin::Server);
    }

    /// Forgets all that was published by [`Self::publish_sys`], so that a later Subscription finds
    /// nothing old. Nobody is told.
    pub fn forget_sys(&self) {
        self.retained.sys.clear();
    }
}
