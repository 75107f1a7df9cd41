//! Subscriptions of a Session: checked, added, replaced, removed.

use super::effects::Effects;
use super::error::{ProtocolError, Refusal};
use super::features::Features;
use super::limits::Limits;
use super::memory;
use super::replay::Replay;
use super::state::Session;
use crate::change::{Change, Subscription};
use crate::packet::{FilterRequest, ProtocolVersion, RetainHandling};
use crate::topic::SubscriptionFilter;

/// A Subscription that now stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subscribed {
    /// Retained Messages follow.
    Replaying,
    Quietly,
}

/// Checks one Topic Filter of a SUBSCRIBE against the standard, the listener's features and the
/// limits.
///
/// # Errors
/// The outer error ends the connection, the inner one refuses this filter alone.
pub(super) fn check_filter(
    request: &FilterRequest<'_>,
    version: ProtocolVersion,
    features: &Features,
    limits: &Limits,
) -> Result<Result<SubscriptionFilter, Refusal>, ProtocolError> {
    let max = limits.topic_bytes_max;
    if request.filter.len() > max {
        return Ok(Err(Refusal::TopicFilterTooLong { max }));
    }
    let filter = match SubscriptionFilter::parse(request.filter) {
        Ok(filter) => filter,
        Err(error) => return Ok(Err(error.into())),
    };
    if let Err(refusal) = features.check_filter(&filter, version)? {
        return Ok(Err(refusal));
    }
    if filter.share.is_some() && request.options.no_local {
        return Err(ProtocolError::NoLocalShared); // [MQTT-3.8.3-4]
    }
    let max = limits.topic_levels_max;
    if filter.filter.level_count() > max {
        return Ok(Err(Refusal::TopicFilterTooDeep { max }));
    }
    Ok(Ok(filter))
}

impl Session {
    /// Adds a Subscription or replaces the one with the same Topic Filter [MQTT-3.8.4-3].
    ///
    /// # Errors
    /// If the Session has as many Subscriptions, or waiting replays, as it may.
    pub fn subscribe(
        &mut self,
        filter: &SubscriptionFilter,
        subscription: Subscription,
        limits: &Limits,
        effects: &mut Effects,
    ) -> Result<Subscribed, Refusal> {
        let max = limits.subscriptions_max;
        let known = self.subscriptions.get(filter).is_some();
        if !known && self.subscriptions.len() >= max {
            return Err(Refusal::TooManySubscriptions { max });
        }
        let replays = match subscription.options.retain_handling {
            RetainHandling::Always => true,  // [MQTT-3.3.1-9]
            RetainHandling::IfNew => !known, // [MQTT-3.3.1-10]
            RetainHandling::Never => false,  // [MQTT-3.3.1-11]
        };
        // 5.0 s4.8.2; so in every version.
        let replays = replays && filter.share.is_none();
        if replays && self.replays.len() >= max {
            return Err(Refusal::TooManySubscriptions { max });
        }
        self.subscriptions.insert(filter.clone(), subscription);
        self.lasting_bytes += if known { 0 } else { memory::of_subscription(filter) };
        self.keep(effects, |client_id| Change::Subscribed {
            client_id,
            filter: filter.clone(),
            subscription,
        });
        if !replays {
            return Ok(Subscribed::Quietly);
        }
        self.replays.push_back(Replay::new(filter.filter.clone(), subscription));
        Ok(Subscribed::Replaying)
    }

    /// Whether there was such a Subscription.
    pub fn unsubscribe(&mut self, filter: &SubscriptionFilter, effects: &mut Effects) -> bool {
        if self.subscriptions.remove(filter).is_none() {
            return false;
        }
        self.lasting_bytes -= memory::of_subscription(filter);
        if filter.share.is_none() {
            self.replays.retain(|replay| replay.filter() != &filter.filter);
        }
        self.keep(effects, |client_id| Change::Unsubscribed { client_id, filter: filter.clone() });
        true
    }

    #[must_use]
    pub fn subscription(&self, filter: &SubscriptionFilter) -> Option<Subscription> {
        self.subscriptions.get(filter)
    }

    /// All Topic Filters of the Session.
    pub fn filters(&self) -> impl Iterator<Item = SubscriptionFilter> {
        self.subscriptions.filters()
    }
}
