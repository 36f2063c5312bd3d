//! The API as callers use it: the real router over the reference store.

mod access;
mod cluster;
mod enqueue;
mod jobs;
mod schedules;
mod server;
#[path = "../common/api.rs"]
mod settings;
