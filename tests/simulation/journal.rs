//! What a store that keeps what it was given later says of groups.

use std::collections::BTreeMap;

use dunlin::change::Change;

use crate::oracle::identity;
use crate::store::ModelStore;

/// Which messages groups owe, by group and position, as the store was told.
pub(crate) fn owed_by_groups(
    store: &ModelStore,
) -> Result<BTreeMap<(String, u64), String>, String> {
    store.with_log(|log| {
        let mut owed = BTreeMap::new();
        for (_, change) in log {
            match change {
                Change::GroupQueued { group, position, message, .. } => {
                    let message = identity(message.topic.as_str().as_bytes(), &message.payload);
                    let key = (group.to_string(), *position);
                    let before = owed.insert(key, message);
                    before.map_or(Ok(()), |_| Err(format!("{change:?} for the second time")))?;
                }
                Change::GroupUnqueued { group, position } => {
                    let key = (group.to_string(), *position);
                    owed.remove(&key).ok_or_else(|| format!("{change:?} for nothing"))?;
                }
                _ => {}
            }
        }
        Ok(owed)
    })
}
