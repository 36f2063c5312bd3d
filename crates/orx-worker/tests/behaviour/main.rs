//! How the worker behaves: real processes, a coordinator made of a few lines.

mod commands;
mod coordinator;
mod death;
mod full_link;
mod handlers;
mod outcomes;
mod output;
mod processes;
mod side_channel;
mod stop_decides;
mod stopping;
