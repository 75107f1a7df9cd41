//! Each packet the broker writes, looked at when it does.

use dunlin::change::Change;
use dunlin::packet::{
    Delivery, Framing, Packet, PacketId, PubRel, Publish, QoS, ReasonCode, SubscriptionId, frame,
};

use super::{
    Answer, Exchange, Facts, Indistinct, Offer, Oracle, Share, identity, matches, publish_size,
};
use crate::broker::PACKET_BYTES_MAX;

/// A PUBLISH as it was written, and what is known of its message.
#[derive(Clone, Copy)]
struct Seen<'a> {
    conn: usize,
    facts: &'a Facts,
    publish: &'a Publish<'a>,
    /// Subscription Identifiers, sorted.
    ids: &'a [u32],
    dup: bool,
}

/// Why a message never comes.
enum Excuse {
    /// It did: what was taken for a Retained Message.
    ItCame(usize),
    /// It expired, or is too large.
    Unsendable,
    /// The same message, offered twice, is, and the other one came.
    OtherUnsendable(usize),
    /// There was no room, and that was counted.
    Refused,
    /// It waited until newer ones needed the room.
    GaveWay,
    /// The same, and this other one was refused and did not give way.
    InsteadOf(usize),
}

impl Oracle {
    /// Bytes left the broker on this connection.
    pub(crate) fn written(&mut self, conn: usize, bytes: &[u8]) {
        let Some(model) = self.conns.get_mut(&conn) else { self.fail("bytes before CONNECT") };
        model.inbox.extend(bytes);
        let inbox = std::mem::take(&mut model.inbox);
        let version = model.terms.version;
        let mut rest = &inbox[..];
        while let Framing::Complete(frame) = frame(rest, PACKET_BYTES_MAX).unwrap() {
            rest = &rest[frame.length..];
            self.packet(conn, &frame.decode(version).unwrap(), frame.length);
        }
        self.conns.get_mut(&conn).unwrap().inbox = rest.to_vec();
    }

    fn packet(&mut self, conn: usize, packet: &Packet<'_>, length: usize) {
        let model = &self.conns[&conn];
        if length > model.terms.maximum_packet_size {
            self.fail(&format!("[MQTT-3.1.2-24] {length} bytes: {packet:?}"));
        }
        if model.closing {
            self.fail(&format!("{packet:?} after DISCONNECT"));
        }
        let is_first = model.connack.is_some();
        if is_first != matches!(packet, Packet::ConnAck(_)) {
            self.fail(&format!("[MQTT-3.2.0-1] {packet:?}"));
        }
        match packet {
            Packet::ConnAck(ack) => {
                let (present, required) =
                    self.conns.get_mut(&conn).unwrap().connack.take().unwrap();
                self.note(&format!("conn {conn}: < CONNACK {}", ack.session_present));
                if ack.session_present != present {
                    self.fail("[MQTT-3.2.2-2] Session Present");
                }
                self.must_be_kept(required, "CONNACK");
            }
            Packet::Publish(publish) => self.publish(conn, publish),
            Packet::PubRel(release) => self.pubrel(conn, release),
            Packet::PubAck(ack) => self.answer(conn, Answer::PubAck(ack.id)),
            Packet::PubRec(ack) => self.answer(conn, Answer::PubRec(ack.id)),
            Packet::PubComp(ack) => self.answer(conn, Answer::PubComp(ack.id)),
            Packet::SubAck(ack) => self.answer(conn, Answer::SubAck(ack.id)),
            Packet::UnsubAck(ack) => self.answer(conn, Answer::UnsubAck(ack.id)),
            Packet::PingResp => self.answer(conn, Answer::PingResp),
            Packet::Disconnect(disconnect) => {
                self.note(&format!("conn {conn}: < DISCONNECT {}", disconnect.reason));
                self.conns.get_mut(&conn).unwrap().closing = true;
            }
            other => self.fail(&format!("no broker sends {other:?}")),
        }
    }

    fn must_be_kept(&self, number: u64, what: &str) {
        let kept = self.journal.kept_number();
        if number > kept {
            self.fail(&format!("{what} needs {number}, kept is {kept}"));
        }
    }

    /// Answers come in the order of what they answer, each when it may be given.
    fn answer(&mut self, conn: usize, answer: Answer) {
        self.note(&format!("conn {conn}: < {answer:?}"));
        let model = self.conns.get_mut(&conn).unwrap();
        match model.answers.pop_front() {
            Some((expected, required)) if expected == answer => {
                self.must_be_kept(required, &format!("{answer:?}"));
            }
            expected => self.fail(&format!("[MQTT-4.6.0-5] {expected:?} was to be answered")),
        }
    }

    fn pubrel(&mut self, conn: usize, release: &PubRel<'_>) {
        self.note(&format!("conn {conn}: < {release:?}"));
        let model = self.conns.get_mut(&conn).unwrap();
        let (id, at) = (release.id, model.session);
        model.resend.retain(|(other, _)| *other != id);
        let session = &self.sessions[at];
        let open = session.exchanges.iter().find(|open| open.id == id);
        let may_be_given_up = model.resumed && session.size_min < usize::MAX;
        match open {
            // Its PUBLISH was too large to be sent again before it was written at all.
            None if may_be_given_up => {}
            // The client was faster than what is written here, or asked for what is over.
            None if release.reason == ReasonCode::PacketIdentifierNotFound => {}
            Some(open) if open.released && release.reason == ReasonCode::Success => {}
            _ => self.fail(&format!("PUBREL for {open:?}")),
        }
        let name = format!("c{}", session.client);
        let released = |change: &Change| {
            matches!(change, Change::Released { client_id, id: found }
                if client_id.as_str() == name && *found == id)
        };
        self.must_be_kept(self.journal.latest(session.began, released), "PUBREL");
    }

    /// The Topic Name a PUBLISH is for, be it told by a Topic Alias.
    fn topic(&mut self, conn: usize, publish: &Publish<'_>) -> Vec<u8> {
        let model = self.conns.get_mut(&conn).unwrap();
        let Some(alias) = publish.properties.topic_alias else { return publish.topic.to_vec() };
        if alias == 0 || alias > model.alias_max {
            self.fail(&format!("[MQTT-3.1.2-26] Topic Alias {alias}"));
        }
        if !publish.topic.is_empty() {
            model.aliases.insert(alias, publish.topic.to_vec());
        }
        let topic = model.aliases.get(&alias).cloned();
        topic.unwrap_or_else(|| self.fail(&format!("Topic Alias {alias} stands for nothing")))
    }

    fn publish(&mut self, conn: usize, publish: &Publish<'_>) {
        let topic = self.topic(conn, publish);
        let publish = &Publish { topic: &topic, ..publish.clone() };
        let identity = identity(publish.topic, publish.payload);
        let mut ids: Vec<u32> =
            publish.properties.subscription_ids.clone().map(SubscriptionId::value).collect();
        ids.sort_unstable();
        self.note(&format!(
            "conn {conn}: < {identity} {:?} retain {} ids {ids:?} expiry {:?}",
            publish.delivery, publish.retain, publish.properties.message_expiry
        ));
        let Some(facts) = self.messages.get(&identity).cloned() else {
            self.fail("never published");
        };
        if facts.topic.as_bytes() != publish.topic {
            self.fail("on another topic than it was published");
        }
        let mut seen = Seen { conn, facts: &facts, publish, ids: &ids, dup: false };
        let id = match publish.delivery {
            Delivery::AtMostOnce => {
                drop(self.first(seen));
                self.check_expiry(seen);
                return;
            }
            Delivery::AtLeastOnce { id, dup } | Delivery::ExactlyOnce { id, dup } => {
                seen.dup = dup;
                id
            }
        };
        let at = self.conns[&conn].session;
        let open = self.sessions[at].exchanges.iter().position(|open| open.id == id);
        match open {
            Some(open) if seen.dup => self.again(conn, open, &identity, publish),
            Some(_) => self.fail("[MQTT-2.2.1-4] the Packet Identifier is in use"),
            None => self.begin(id, seen),
        }
        self.check_expiry(seen);
        self.check_window(conn);
    }

    /// A PUBLISH that was written on an earlier connection.
    fn again(&mut self, conn: usize, open: usize, identity: &str, publish: &Publish<'_>) {
        let model = self.conns.get_mut(&conn).unwrap();
        let open = &mut self.sessions[model.session].exchanges[open];
        let qos = publish.delivery.qos();
        let same = open.identity == identity && open.qos == qos && !open.released;
        // In the order of the first sending [MQTT-4.6.0-1].
        let next = model.resend.iter().position(|(_, other)| *other == qos);
        let expected = next.map(|next| model.resend.remove(next).0);
        open.charged = Some(conn);
        let open = open.clone();
        if !same || expected != Some(open.id) {
            self.fail(&format!("[MQTT-4.6.0-1] {expected:?} was to be sent again; {open:?}"));
        }
    }

    /// A PUBLISH of QoS 1 or 2 that was never written before. It may be a repetition all the same,
    /// of one that had not come so far when its connection ended.
    fn begin(&mut self, id: PacketId, seen: Seen<'_>) {
        let Seen { conn, facts, publish, ids, dup } = seen;
        let qos = publish.delivery.qos();
        let model = self.conns.get_mut(&conn).unwrap();
        let at = model.session;
        let is_late = dup && (!model.resumed || model.fresh.contains(&qos));
        let expected = model.resend.iter().find(|(_, other)| *other == qos).copied();
        if !dup {
            model.fresh.insert(qos);
        }
        if is_late {
            self.fail("[MQTT-3.3.1-1] DUP on a first delivery");
        }
        let was_not_given_back = dup && self.sessions[at].perhaps_given_back.remove(&id);
        if let Some((id, _)) = expected
            && !was_not_given_back
            && self.sessions[at].exchanges.iter().any(|open| open.id == id && !open.released)
        {
            self.fail(&format!("[MQTT-4.4.0-1] {id} was to be sent again first"));
        }
        let mut share = self.first(seen);
        if was_not_given_back {
            // Whichever of several equal messages the group was found to owe.
            share = share.map(Share::of_unknown_life);
        }
        let session = &mut self.sessions[at];
        let size = publish_size(session.version, facts, qos, ids);
        let identity = facts.identity.clone();
        if share.is_none() || qos == QoS::ExactlyOnce {
            *session.begun.entry((identity.clone(), qos)).or_default() += 1;
        }
        let (released, charged) = (false, Some(conn));
        session.exchanges.push(Exchange { id, identity, qos, size, released, charged, share });
        if qos == QoS::ExactlyOnce {
            self.sent_is_kept(at, id);
        }
    }

    fn sent_is_kept(&self, at: usize, id: PacketId) {
        let session = &self.sessions[at];
        let name = format!("c{}", session.client);
        let sent = |change: &Change| {
            matches!(change, Change::Sent { client_id, id: found, .. }
                if client_id.as_str() == name && *found == id)
        };
        let number = self.journal.latest(session.began, sent);
        if number == 0 && session.always_kept && self.journal.submitted() > 0 {
            self.fail("a QoS 2 PUBLISH the store knows nothing of");
        }
        self.must_be_kept(number, "PUBLISH of QoS 2");
    }

    /// Takes the offer a PUBLISH answers to, or the Retained Message, or what a group owes.
    fn first(&mut self, seen: Seen<'_>) -> Option<Share> {
        let Seen { conn, facts, publish, ids, .. } = seen;
        let at = self.conns[&conn].session;
        let qos = publish.delivery.qos();
        if publish.retain {
            let kind = (facts.identity.clone(), qos, ids.to_vec());
            *self.sessions[at].with_retain.entry(kind).or_default() += 1;
        }
        let stream = (facts.publisher, facts.topic.clone(), qos);
        let offers = self.sessions[at].offers.entry(stream.clone()).or_default();
        let zero = qos == QoS::AtMostOnce;
        let is_it = |offer: &Offer| {
            let live = offer.retain == publish.retain && offer.ids == ids;
            live && offer.facts.identity == facts.identity && (!zero || offer.conn == Some(conn))
        };
        let Some(place) = offers.iter().position(is_it) else {
            match self.groups.take(at, &facts.identity, publish, ids) {
                Ok(None) => self.first_retained(seen),
                Ok(share) => return share,
                Err(wrong) => self.fail(wrong),
            }
            return None;
        };
        let offers = &self.sessions[at].offers[&stream];
        let mut passed =
            offers.iter().take(place).filter(|offer| !zero || offer.conn == Some(conn));
        let passes = passed.any(|offer| self.excuse(at, offer).is_none());
        let right = if publish.retain { self.right_to(at, seen) } else { None };
        self.ambiguous += u64::from(right.is_some());
        if let Some(right) = right.filter(|_| passes && !self.is_outdated(at, facts)) {
            // The same message may have been published again since it was retained, and nobody can
            // tell which of the two this is. The live one would pass over others that have to come.
            let (identity, ids) = (facts.identity.clone(), ids.to_vec());
            self.sessions[at].indistinct.push(Indistinct { identity, qos, ids, right });
            self.first_retained(seen);
            return None;
        }
        if right.is_some() {
            self.sessions[at].perhaps_replayed.insert(facts.identity.clone());
        }
        let Some(offers) = self.sessions[at].offers.get_mut(&stream) else { self.fail("no offer") };
        let passed: Vec<Offer> = offers.drain(..place).collect();
        let Some(offer) = offers.pop_front() else { self.fail("no offer") };
        for offer in passed {
            // What was offered on an earlier connection at QoS 0 went with it.
            if !zero || offer.conn == Some(conn) {
                self.must_be_excused(at, &offer);
            }
        }
        if offer.facts.expires_at.is_some() || offer.size > offer.size_max {
            self.sessions[at].droppable.push(offer.clone());
        }
        if offer.facts.retain {
            let newest = self.sessions[at].newest.entry(facts.topic.clone()).or_default();
            *newest = offer.facts.number.max(*newest);
        }
        None
    }

    fn right_to(&self, at: usize, seen: Seen<'_>) -> Option<usize> {
        let Seen { facts, publish, ids, .. } = seen;
        let session = &self.sessions[at];
        let values = self.retained.get(&facts.topic)?;
        let value = values.iter().rev().find(|value| value.facts.identity == facts.identity)?;
        session.rights.iter().position(|right| {
            let options = right.subscription.options;
            let id = right.subscription.id.filter(|_| session.version.is_v5());
            let wanted: Vec<u32> = id.into_iter().map(SubscriptionId::value).collect();
            matches(&right.filter, &facts.topic)
                && !right.given.contains(&facts.topic)
                && publish.delivery.qos() == options.qos.min(value.facts.qos)
                && wanted == ids
                && value.until > right.number
        })
    }

    fn first_retained(&mut self, seen: Seen<'_>) {
        let Seen { conn, facts, publish, dup, .. } = seen;
        let at = self.conns[&conn].session;
        let right = if publish.retain { self.right_to(at, seen) } else { None };
        let Some(right) = right else {
            let matching = self.sessions[at].matching(&facts.topic);
            self.fail(&format!("not owed to this client, or out of order: {matching:?}"));
        };
        self.sessions[at].rights[right].given.insert(facts.topic.clone());
        let may_be_live = self.sessions[at].perhaps_replayed.contains(&facts.identity);
        if !dup && !may_be_live && self.is_outdated(at, facts) {
            self.fail("an older retained value follows a newer one");
        }
    }

    /// Whether a newer value of the topic than this one was written live to the Session.
    fn is_outdated(&self, at: usize, facts: &Facts) -> bool {
        let values = &self.retained[&facts.topic];
        let value = values.iter().rev().find(|value| value.facts.identity == facts.identity);
        let newest = self.sessions[at].newest.get(&facts.topic).copied().unwrap_or_default();
        value.is_some_and(|value| newest > value.facts.number)
    }

    /// Whether a message that never comes was dropped for a reason that is counted.
    pub(super) fn must_be_excused(&mut self, at: usize, offer: &Offer) {
        let Some(excuse) = self.excuse(at, offer) else {
            let client = self.sessions[at].client;
            self.fail(&format!("lost or out of order for c{client}: {offer:?}"));
        };
        let above_zero = offer.qos > QoS::AtMostOnce;
        let session = &mut self.sessions[at];
        match excuse {
            Excuse::ItCame(place) => {
                // So that was this one, and what was retained is still to come.
                let Indistinct { right, .. } = session.indistinct.remove(place);
                session.rights[right].given.remove(&offer.facts.topic);
                return;
            }
            Excuse::Unsendable => {}
            Excuse::OtherUnsendable(place) => drop(session.droppable.remove(place)),
            Excuse::GaveWay => session.gave_way.push(offer.facts.identity.clone()),
            Excuse::InsteadOf(place) => {
                let other = session.gave_way.swap_remove(place);
                session.gave_way.push(offer.facts.identity.clone());
                *self.refused.get_mut(&other).unwrap() -= 1;
            }
            Excuse::Refused => {
                let identity = self.counted_as(&offer.facts.identity).clone();
                let counts = if above_zero { &mut self.refused } else { &mut self.outbound_full };
                *counts.get_mut(&identity).unwrap() -= 1;
            }
        }
        self.excused += u64::from(above_zero);
    }

    fn excuse(&self, at: usize, offer: &Offer) -> Option<Excuse> {
        let session = &self.sessions[at];
        let same = |other: &Indistinct| {
            let same = other.identity == offer.facts.identity && other.ids == offer.ids;
            same && other.qos == offer.qos
        };
        if let Some(place) = session.indistinct.iter().position(same) {
            return Some(Excuse::ItCame(place));
        }
        let above_zero = offer.qos > QoS::AtMostOnce;
        let has_expired = |expires_at| expires_at <= self.now;
        let expired = above_zero && offer.facts.expires_at.is_some_and(has_expired);
        if offer.size > offer.size_max || expired {
            return Some(Excuse::Unsendable);
        }
        let other = session.droppable.iter().position(|other| {
            let late = other.facts.expires_at.is_some_and(has_expired);
            let same = other.facts.identity == offer.facts.identity && other.qos == offer.qos;
            same && (late || other.size > other.size_max)
        });
        if let Some(place) = other {
            return Some(Excuse::OtherUnsendable(place));
        }
        let counts = if above_zero { &self.refused } else { &self.outbound_full };
        let identity = self.counted_as(&offer.facts.identity);
        let refused = counts.get(identity).is_some_and(|count| *count > 0);
        let may_have = (session.gave_way.len() as u64) < session.gave_way_max;
        if above_zero && may_have {
            return Some(Excuse::GaveWay); // A refusal may have been a group's.
        }
        let was_refused = |identity: &String| self.refused.get(identity) > Some(&0);
        let instead = session.gave_way.iter().position(was_refused);
        let instead = instead.filter(|_| above_zero).map(Excuse::InsteadOf);
        refused.then_some(Excuse::Refused).or(instead)
    }

    /// What is left of the Message Expiry Interval [MQTT-3.3.2-6].
    fn check_expiry(&self, seen: Seen<'_>) {
        let Seen { conn, facts, publish, dup, .. } = seen;
        if !self.conns[&conn].terms.version.is_v5() {
            return;
        }
        let told = publish.properties.message_expiry;
        let (Some(told), Some(expiry), Some(expires_at)) = (told, facts.expiry, facts.expires_at)
        else {
            if told.is_some() != facts.expiry.is_some() {
                self.fail("a Message Expiry Interval from nowhere, or lost");
            }
            return;
        };
        // It may have been encoded some time ago.
        let left = expires_at.saturating_sub(self.now).div_ceil(1_000_000);
        if told > expiry || u64::from(told) < left {
            self.fail(&format!("{left} s are left of its Message Expiry Interval"));
        }
        if told == 0 && expiry > 0 && !dup {
            self.fail("[MQTT-3.3.2-5] sent for the first time after it expired");
        }
    }

    /// [MQTT-3.3.4-9]
    fn check_window(&self, conn: usize) {
        let model = &self.conns[&conn];
        let open = self.sessions[model.session].exchanges.iter();
        let charged = open.filter(|open| open.charged == Some(conn)).count();
        if charged > model.terms.receive_maximum.get().into() {
            self.fail(&format!("[MQTT-3.3.4-9] {charged} are open"));
        }
    }
}
