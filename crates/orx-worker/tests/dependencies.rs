//! The crates that orx-worker must not depend on, directly or indirectly.

use std::process::Command;

#[test]
fn the_worker_depends_on_no_store_and_no_server() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let tree = Command::new(cargo)
        .args(["tree", "--package", "orx-worker", "--edges", "normal", "--prefix", "none"])
        .args(["--offline", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8_lossy(&tree.stdout).into_owned();
    assert!(tree.contains("orx-transport "), "{tree}");
    let unwanted = ["orx-store", "orx-coordinator", "orx-api", "orx-control", "rusqlite", "sqlx"];
    for unwanted in unwanted.into_iter().chain(["axum"]) {
        let found = tree.lines().find(|line| line.split(' ').next() == Some(unwanted));
        assert_eq!(found, None, "orx-worker knows {unwanted}");
    }
}
