//! Logs each problem once: an outage of an hour is one line of the log.

use std::collections::BTreeMap;

/// Last message on each topic.
#[derive(Debug, Default)]
pub struct LogOnce(BTreeMap<String, String>);

impl LogOnce {
    /// Limit of topics, more than a process has at a time. Beyond it all topics are forgotten, and their messages are
    /// logged once more.
    const MAX_TOPICS: usize = 1000;

    /// Remembers the message. Returns true if it differs from the last one on this topic.
    pub fn is_new(&mut self, topic: &str, message: &str) -> bool {
        if self.0.get(topic).is_some_and(|last| last == message) {
            return false;
        }
        if self.0.len() >= Self::MAX_TOPICS {
            self.0.clear();
        }
        self.0.insert(topic.to_owned(), message.to_owned());
        true
    }

    /// Forgets the topic, because its fault is gone. The same message is then new again.
    pub fn resolve(&mut self, topic: &str) {
        self.0.remove(topic);
    }

    /// Forgets the topics for which `keep` returns false.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.0.retain(|topic, _| keep(topic));
    }

    /// Unresolved topics and their last messages.
    pub fn unresolved(&self) -> &BTreeMap<String, String> {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_is_new_once_and_again_after_its_fault_was_resolved() {
        let mut log = LogOnce::default();
        let new = ["away", "away", "refused", "away"].map(|message| log.is_new("server", message));
        assert_eq!(new, [true, false, true, true]);
        log.resolve("server");
        assert!(log.is_new("server", "away") && log.is_new("other", "away"));
    }

    #[test]
    fn memory_of_topics_is_bounded() {
        let mut log = LogOnce::default();
        for topic in 0..3 * LogOnce::MAX_TOPICS {
            log.is_new(&topic.to_string(), "away");
        }
        assert!(log.unresolved().len() <= LogOnce::MAX_TOPICS);
    }
}
