//! A run of publications that differ in nothing but their payloads, handed to each taker as one.
//!
//! Publishers come in runs: what one read brings is mostly one topic's. A taker that may get the
//! packets as they came gets all of them under one lock with one copy; all others, one by one.

use super::Router;
use super::courier::Courier;
use super::encode::Encoder;
use super::link::Link;
use super::matches::{Matches, Taker};
use super::publish::{Delivering, Origin, Sent};
use crate::message::{Payload, Publication};
use crate::packet::{Delivery, PublishRun};
use crate::session::DropReason;

/// What handing a run on may come to, over all its takers, in packets and in bytes. Nobody else is
/// served meanwhile, so it is as much as a turn may come to.
const RUN_DELIVERIES_MAX: usize = 4_096;
const RUN_APPENDED_MAX: usize = 1024 * 1024;

impl Router {
    /// Routes a run whose first packet is `first`, or only the beginning of it if many take it: that
    /// part. Nobody is told what became of it: it is QoS 0.
    #[must_use = "what is left of the run was not routed"]
    pub fn publish_run<'r>(
        &self,
        courier: &mut Courier,
        first: &Publication<'_>,
        run: &PublishRun<'r>,
        origin: Origin<'_>,
    ) -> PublishRun<'r> {
        let matches = courier.cache.look_up(first.topic, &self.subscriptions);
        let takers = matches.len().max(1);
        let routed = run.within(RUN_DELIVERIES_MAX / takers, RUN_APPENDED_MAX / takers);
        let run = &routed;
        courier.count_publishes(run.packets(), run.payload_bytes());
        let mut sent = Sent::default();
        let mut others = std::mem::take(&mut courier.others);
        for (at, taker) in matches.takers.iter().enumerate() {
            if let Some(taker) = taker.of(origin)
                && !self.deliver_run(courier, taker, first, run, &mut sent)
            {
                others.push(at);
            }
        }
        let Sent { packets, bytes } = sent;
        courier.spend(matches.len() * run.packets(), bytes);
        courier.count_sent(packets, bytes, packets / run.packets() * run.payload_bytes());
        courier.others = others;
        if !courier.others.is_empty() || !matches.groups.is_empty() {
            self.publish_each(courier, first, run, origin, &matches);
        }
        courier.count_drops();
        routed
    }

    /// Hands a whole run to a Session. `false`: it takes the packets one by one or not at all.
    #[inline]
    fn deliver_run(
        &self,
        courier: &mut Courier,
        taker: &Taker,
        first: &Publication<'_>,
        run: &PublishRun<'_>,
        sent: &mut Sent,
    ) -> bool {
        let mut guard = taker.slot.lock();
        let state = &mut *guard;
        if state.incarnation != taker.incarnation {
            return true;
        }
        let Some(session) = &mut state.session else { return true };
        let Some(link) = &mut state.link else {
            courier.effects.drop_messages(DropReason::Offline, run.packets());
            return true;
        };
        if !self.takes_run(taker, link, first, run) {
            return false;
        }
        let bytes = run.bytes();
        link.outbound.tail(&mut courier.spare, bytes.len()).extend_from_slice(bytes);
        link.outbound.grew(run.bytes().len());
        sent.packets += run.packets();
        sent.bytes += run.bytes().len();
        if !state.memberships.is_empty() {
            let soft = self.limits.outbound.soft_bytes_max;
            taker.slot.standing.took(session, link, &self.limits.session, soft);
        }
        Self::soiled(courier, &taker.slot, link);
        true
    }

    /// Whether a connection gets every packet of a run as it came.
    fn takes_run(
        &self,
        taker: &Taker,
        link: &Link,
        first: &Publication<'_>,
        run: &PublishRun<'_>,
    ) -> bool {
        let Some(came) = first.as_it_came else { return false };
        let is_v5 = link.terms.version.is_v5();
        came.version.is_v5() == is_v5
            && (!is_v5 || taker.subscription_ids.is_empty())
            && run.longest() <= link.terms.maximum_packet_size
            && link.outbound.bytes() + run.bytes().len() <= self.limits.outbound.soft_bytes_max
            && !link.aliases(first.topic, Delivery::AtMostOnce)
            && !link.outbound.holds_replayed()
    }

    /// Hands the publications of a run one by one to the others among the takers, and to groups.
    fn publish_each(
        &self,
        courier: &mut Courier,
        first: &Publication<'_>,
        run: &PublishRun<'_>,
        origin: Origin<'_>,
        matches: &Matches,
    ) {
        let mut others = std::mem::take(&mut courier.others);
        let mut scratch = courier.scratch.take().unwrap_or_default();
        for (packet, payload) in run.iter() {
            let publication = Publication {
                payload: Payload::Borrowed(payload),
                as_it_came: first.as_it_came.map(|came| came.with(packet)),
                ..first.clone()
            };
            let mut encoder = Encoder::new(&publication, &mut scratch);
            let mut delivering = Delivering::new(&publication);
            let takers = others.iter().filter_map(|at| matches.takers.get(*at));
            for taker in takers.filter_map(|taker| taker.of(origin)) {
                self.deliver(courier, taker, &mut encoder, &mut delivering);
            }
            for group in &matches.groups {
                self.share(courier, group, &mut encoder, &mut delivering, origin);
            }
            let Sent { packets, bytes } = delivering.sent;
            courier.spend(0, bytes);
            courier.count_sent(packets, bytes, packets * payload.len());
        }
        courier.scratch = Some(scratch);
        others.clear();
        courier.others = others;
    }
}
