//! JSON Schemas of every event's `data`, for writers and readers in other languages. They are generated into
//! `schemas/json/`, and a test fails when they are stale.

use schemars::Schema;

/// File name and schema of every event type and version.
pub fn all() -> Vec<(&'static str, Schema)> {
    crate::event::schemas()
}

#[cfg(test)]
mod tests {
    /// With `UPDATE_SCHEMAS=1` it writes the files instead.
    #[test]
    fn published_schemas_are_current() {
        let folder = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/json"));
        for (name, schema) in super::all() {
            let fresh = serde_json::to_string_pretty(&schema).unwrap() + "\n";
            let path = folder.join(name);
            if std::env::var_os("UPDATE_SCHEMAS").is_some() {
                std::fs::create_dir_all(folder).unwrap();
                std::fs::write(&path, &fresh).unwrap();
            }
            let published = std::fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(published, fresh, "{name} is stale: run UPDATE_SCHEMAS=1 cargo test -p schemas");
        }
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), super::all().len());
    }
}
