//! What the worker must not know.

use std::fs;
use std::path::Path;

#[test]
fn the_worker_does_not_depend_on_the_store() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let text = fs::read_to_string(manifest).expect("the manifest");
    for unwanted in ["orx-store", "orx-api", "orx-coordinator", "rusqlite", "axum", "reqwest"] {
        let named = text.lines().find(|line| line.trim_start().starts_with(unwanted));
        assert_eq!(named, None, "orx-worker knows {unwanted}");
    }
}
