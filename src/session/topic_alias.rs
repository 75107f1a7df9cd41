//! Topic Aliases a client sets: numbers that stand for topics while its connection lasts.

use super::error::ProtocolError;
use super::memory;
use super::receive::KnownTopic;

/// What each Topic Alias stands for. Bounded by the Topic Alias Maximum the server announced;
/// nothing is allocated for clients that use none.
#[derive(Debug)]
pub(super) struct TopicAliases {
    maximum: u16,
    topics: Vec<Option<KnownTopic>>,
    bytes: usize,
}

impl TopicAliases {
    pub(super) fn new(maximum: u16) -> Self {
        Self { maximum, topics: Vec::new(), bytes: 0 }
    }

    /// What an alias stands for.
    ///
    /// # Errors
    /// If it is 0 or above the maximum, or stands for nothing.
    pub(super) fn topic(&self, alias: u16) -> Result<KnownTopic, ProtocolError> {
        let index = self.index(alias)?;
        // 5.0 s3.3.4
        let topic = self.topics.get(index).and_then(Option::as_ref);
        topic.cloned().ok_or(ProtocolError::UnknownTopicAlias { alias })
    }

    /// Lets an alias stand for a topic from now on.
    ///
    /// # Errors
    /// If it is 0 or above the maximum.
    pub(super) fn set(&mut self, alias: u16, topic: KnownTopic) -> Result<(), ProtocolError> {
        let index = self.index(alias)?;
        if self.topics.len() <= index {
            self.topics.resize(index + 1, None);
        }
        if let Some(place) = self.topics.get_mut(index) {
            self.bytes += memory::of_alias(&topic.name);
            let before = place.replace(topic);
            self.bytes -= before.map_or(0, |before| memory::of_alias(&before.name));
        }
        Ok(())
    }

    /// What the topics weigh, as they are accounted.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// [MQTT-3.3.2-8] [MQTT-3.3.2-9]
    fn index(&self, alias: u16) -> Result<usize, ProtocolError> {
        let maximum = self.maximum;
        match alias.checked_sub(1) {
            Some(index) if index < maximum => Ok(usize::from(index)),
            Some(_) | None => Err(ProtocolError::TopicAlias { alias, maximum }),
        }
    }
}
