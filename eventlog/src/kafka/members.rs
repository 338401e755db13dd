//! Who is in a consumer group, for whoever must not work beside them.

use rdkafka::consumer::Consumer;
use rdkafka::groups::GroupInfo;

use super::topic::{ANSWER, Topic, blocking};
use crate::LogError;

/// How many members a group has; one that nobody ever joined has none.
pub(super) async fn count(topic: &Topic, group: String) -> Result<usize, LogError> {
    let inspector = topic.inspector();
    blocking(move || {
        let groups = inspector.fetch_group_list(Some(&group), ANSWER);
        let groups =
            groups.map_err(|error| LogError::Unavailable(format!("can't ask who is in the group {group}: {error}")))?;
        Ok(groups.groups().iter().map(|group: &GroupInfo| group.members().len()).sum())
    })
    .await?
}
