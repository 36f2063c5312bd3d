//! SQLite is built as it was measured, or not at all: Cargo reads `.cargo/config.toml` from the folder
//! that it is called in, and a build from elsewhere would silently be another one.

/// As `.cargo/config.toml` sets them.
const FLAGS: [&str; 4] = [
    "-DHAVE_FDATASYNC=1",
    "-USQLITE_ENABLE_MEMORY_MANAGEMENT",
    "-USQLITE_ENABLE_API_ARMOR",
    "-DSQLITE_DEFAULT_MEMSTATUS=0",
];

fn main() {
    println!("cargo::rerun-if-env-changed=LIBSQLITE3_FLAGS");
    println!("cargo::rerun-if-env-changed=LIBSQLITE3_SYS_USE_PKG_CONFIG");
    // The system's library has flags of its own.
    if std::env::var_os("LIBSQLITE3_SYS_USE_PKG_CONFIG").is_some_and(|value| value != "0") {
        return;
    }
    let set = std::env::var("LIBSQLITE3_FLAGS").unwrap_or_default();
    if !FLAGS.iter().all(|flag| set.split_whitespace().any(|one| one == *flag)) {
        println!(
            "cargo::error=SQLite would be built without the flags that it is measured and tested \
             with. Build inside the checkout, or set LIBSQLITE3_FLAGS=\"{}\"",
            FLAGS.join(" ")
        );
    }
}
