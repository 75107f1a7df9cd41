//! What a listener lets its clients use: the parts of the standard that a server may leave out.
//!
//! A 5.0 client is told in CONNACK, so that using one of them all the same is its Protocol Error.
//! One of 3.1 or 3.1.1 cannot be told: where the protocol allows it only what it asked for is
//! refused.

use super::error::{ProtocolError, Refusal};
use crate::packet::{
    ProtocolVersion, ProtocolVersions, Publish, QoS, RetainHandling, SubscriptionId,
    SubscriptionOptions, Will,
};
use crate::topic::SubscriptionFilter;

/// What the clients of a listener may use; the default is everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// Announced as Maximum QoS. A PUBLISH or Will above it gets 0x9B, a Subscription is lowered.
    pub qos_max: QoS,
    /// Announced as Retain Available. Without it a PUBLISH or Will with RETAIN gets 0x9A, and no
    /// Retained Messages are sent.
    pub retain: bool,
    /// Announced as Wildcard Subscription Available; without it 0xA2.
    pub wildcards: bool,
    /// Announced as Shared Subscription Available; without it 0x9E.
    pub shared: bool,
    /// Announced as Subscription Identifiers Available; without it 0xA1.
    pub subscription_ids: bool,
    /// A CONNECT of another version gets 0x84, before 5.0 0x01.
    pub protocols: ProtocolVersions,
}

impl Default for Features {
    fn default() -> Self {
        Self {
            qos_max: QoS::ExactlyOnce,
            retain: true,
            wildcards: true,
            shared: true,
            subscription_ids: true,
            protocols: ProtocolVersions::ALL,
        }
    }
}

impl Features {
    /// Checks the version of a CONNECT, before anything else of it counts.
    ///
    /// # Errors
    /// If the listener, named for the client's and the operator's sake, does not serve it.
    pub fn check_version(
        &self,
        version: ProtocolVersion,
        listener: &str,
    ) -> Result<(), ProtocolError> {
        if self.protocols.contains(version) {
            return Ok(());
        }
        // [MQTT-3.1.2-2] [MQTT3-3.1.2-2]
        Err(ProtocolError::VersionNotServed { version, listener: listener.to_owned() })
    }

    pub(super) fn check_will(&self, will: &Will<'_>) -> Result<(), ProtocolError> {
        if will.qos > self.qos_max {
            // [MQTT-3.2.2-12]
            return Err(ProtocolError::WillQoS { qos: will.qos.bits(), max: self.qos_max.bits() });
        }
        if will.retain && !self.retain {
            return Err(ProtocolError::WillRetain); // [MQTT-3.2.2-13]
        }
        Ok(())
    }

    /// Before 5.0 a PUBLISH cannot be refused, and to acknowledge and drop it would lose it in
    /// silence, so that it ends the connection in every version.
    pub(super) fn check_publish(&self, publish: &Publish<'_>) -> Result<(), ProtocolError> {
        let qos = publish.delivery.qos();
        if qos > self.qos_max {
            // [MQTT-3.2.2-11]
            return Err(ProtocolError::PublishQoS { qos: qos.bits(), max: self.qos_max.bits() });
        }
        if publish.retain && !self.retain {
            return Err(ProtocolError::PublishRetain); // [MQTT-3.2.2-14]
        }
        Ok(())
    }

    pub(super) fn check_subscription_id(
        &self,
        id: Option<SubscriptionId>,
    ) -> Result<(), ProtocolError> {
        if id.is_some() && !self.subscription_ids {
            return Err(ProtocolError::SubscriptionIdsOff); // 5.0 s3.2.2.3.12
        }
        Ok(())
    }

    /// Checks a Topic Filter. One behind `$share` is both a Shared and, with wildcards, a Wildcard
    /// Subscription.
    ///
    /// # Errors
    /// The outer error ends the connection, the inner one refuses this filter alone.
    pub(super) fn check_filter(
        &self,
        filter: &SubscriptionFilter,
        version: ProtocolVersion,
    ) -> Result<Result<(), Refusal>, ProtocolError> {
        let refusal = if filter.share.is_some() && !self.shared {
            Refusal::SharedOff // 5.0 s3.2.2.3.13
        } else if filter.filter.has_wildcard() && !self.wildcards {
            Refusal::WildcardsOff // 5.0 s3.2.2.3.11
        } else {
            return Ok(Ok(()));
        };
        if version.is_v5() { Err(ProtocolError::Announced(refusal)) } else { Ok(Err(refusal)) }
    }

    /// The options a Subscription gets of those it asked for [MQTT-3.2.2-10].
    pub(super) fn grant(&self, asked: SubscriptionOptions) -> SubscriptionOptions {
        let retain_handling =
            if self.retain { asked.retain_handling } else { RetainHandling::Never };
        SubscriptionOptions { qos: asked.qos.min(self.qos_max), retain_handling, ..asked }
    }
}
