//! Topic Aliases a client sets: numbers that stand for topics while its connection lasts.

use super::error::ProtocolError;
use super::memory;
use super::receive::KnownTopic;

/// What each Topic Alias stands for. Bounded by the Topic Alias Maximum the server announced;
/// nothing is allocated for clients that use none.
#[derive(Debug)]
pub(super) struct TopicAliases {
    maximum: u16,
    /// Made when the first one is set.
    known: Option<Box<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    topics: Vec<Option<KnownTopic>>,
    bytes: usize,
}

impl TopicAliases {
    pub(super) fn new(maximum: u16) -> Self {
        Self { maximum, known: None }
    }

    /// What an alias stands for.
    ///
    /// # Errors
    /// If it is 0 or above the maximum, or stands for nothing.
    pub(super) fn topic(&self, alias: u16) -> Result<KnownTopic, ProtocolError> {
        let index = self.index(alias)?;
        // 5.0 s3.3.4
        let topic = self.known.as_ref().and_then(|known| known.topics.get(index)?.clone());
        topic.ok_or(ProtocolError::UnknownTopicAlias { alias })
    }

    /// Lets an alias stand for a topic from now on.
    ///
    /// # Errors
    /// If it is 0 or above the maximum.
    pub(super) fn set(&mut self, alias: u16, topic: KnownTopic) -> Result<(), ProtocolError> {
        let index = self.index(alias)?;
        let Known { topics, bytes } = &mut **self.known.get_or_insert_default();
        if topics.len() <= index {
            topics.resize(index + 1, None);
        }
        if let Some(place) = topics.get_mut(index) {
            *bytes += memory::of_alias(&topic.name);
            let before = place.replace(topic);
            *bytes -= before.map_or(0, |before| memory::of_alias(&before.name));
        }
        Ok(())
    }

    /// What the topics weigh, as they are accounted.
    pub(super) fn bytes(&self) -> usize {
        self.known.as_ref().map_or(0, |known| known.bytes)
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
