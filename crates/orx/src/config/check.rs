//! Checks beyond types: ranges, and settings that exclude or require each other.

use std::time::Duration;

use orx_client::ServerUrl;
use orx_model::Name;
use orx_model::time::format_exact;

use super::keys::{ClusterConfig, ContextConfig, JobOverrides, ServerConfig};
use super::sourced::Sourced;
use super::{Config, shown_url, wrong};
use crate::error::CliError;

/// Servers of one context.
const URLS: usize = 16;

pub(super) fn check(config: &Config) -> Result<(), CliError> {
    let Config { server, store, worker, .. } = config;
    within(&worker.slots, "worker.slots", 1, 10_000)?;
    within(&store.sessions, "store.sessions", 2, 1_000)?;
    within(&server.connections, "server.connections", 1, 1_000_000)?;
    within(&server.connections_per_peer, "server.connections_per_peer", 1, 1_000_000)?;
    name(&worker.name, "worker.name")?;
    name(&server.name, "server.name")?;
    let url = &store.url;
    if !url.is_empty() && !["postgres://", "postgresql://"].iter().any(|it| url.starts_with(it)) {
        let (called, found) = (url.called("store.url"), shown_url(url));
        return Err(wrong(format!("`{called}` must be `postgres://…` or \"\", found `{found}`")));
    }
    config.transport.kind()?;
    tls_files(server)?;
    for (name, context) in &config.contexts.named {
        check_context(context).map_err(|why| wrong(format!("`[context.{name}]`: {why}")))?;
    }
    for url in worker.coordinators.iter() {
        let called = worker.coordinators.called("worker.coordinators");
        ServerUrl::parse(url).map_err(|why| wrong(format!("`{called}`: {why}")))?;
    }
    check_cluster(&config.cluster).map_err(|why| wrong(format!("`[cluster]`: {why}")))?;
    for (name, handler) in &config.handler {
        handler.check().map_err(|why| wrong(format!("`[handler.{name}]`: {why}")))?;
    }
    let top = &config.top;
    if orx_top::Theme::named(&top.theme).is_none() {
        let found = &**top.theme;
        return Err(wrong(format!("`top.theme` must be ansi, safe or mono, found `{found}`")));
    }
    orx_top::Keymap::new((*top.keys).clone()).map_err(|error| wrong(error.to_string()))?;
    let defaults = &config.defaults;
    defaults
        .retry(&JobOverrides::default())
        .map_err(|why| wrong(format!("`[defaults]`: {why}")))?;
    for (name, own) in &config.job {
        defaults.retry(own).map_err(|why| wrong(format!("`[job.{name}]`: {why}")))?;
    }
    Ok(())
}

fn within(setting: &Sourced<u32>, key: &str, least: u32, most: u32) -> Result<(), CliError> {
    if (least..=most).contains(setting) {
        return Ok(());
    }
    let (called, found) = (setting.called(key), **setting);
    Err(wrong(format!("`{called}` must be {least} to {most}, found {found}")))
}

fn name(setting: &Sourced<String>, key: &str) -> Result<(), CliError> {
    if setting.is_empty() || setting.parse::<Name>().is_ok() {
        return Ok(());
    }
    Err(wrong(format!("`{}` is no name: `{}`", setting.called(key), **setting)))
}

fn tls_files(server: &ServerConfig) -> Result<(), CliError> {
    if server.tls_cert.as_os_str().is_empty() == server.tls_key.as_os_str().is_empty() {
        return Ok(());
    }
    Err(wrong("`server.tls_cert` and `server.tls_key` are given together, or neither".to_owned()))
}

fn check_context(context: &ContextConfig) -> Result<(), String> {
    if context.url.is_some() != context.urls.is_empty() {
        return Err("it needs `url`, or `urls`, and not both".to_owned());
    }
    if context.urls.len() > URLS {
        return Err(format!("it has at most {URLS} `urls`"));
    }
    if let Some(color) = &context.color
        && orx_top::ContextColor::named(color).is_none()
    {
        let names = orx_top::ContextColor::NAMES.join(", ");
        return Err(format!("`color` must be {names} or `#rrggbb`, found `{color}`"));
    }
    context.urls().iter().try_for_each(|url| ServerUrl::parse(url).map(drop))
}

/// # Errors
/// The times that contradict each other, in words.
fn check_cluster(times: &ClusterConfig) -> Result<(), String> {
    let all = [
        ("lease", *times.lease),
        ("heartbeat", *times.heartbeat),
        ("ask_after", *times.ask_after),
        ("monitor", *times.monitor),
        ("leader_lease", *times.leader_lease),
        ("leader_renew", *times.leader_renew),
        ("leader_margin", *times.leader_margin),
        ("node_heartbeat", *times.node_heartbeat),
    ];
    let (least, most) = (Duration::from_millis(100), Duration::from_secs(60 * 60));
    for (name, span) in all {
        if !(least..=most).contains(&span.0) {
            let found = format_exact(span.0);
            return Err(format!("`{name}` must be 100ms to 1h, found `{found}`"));
        }
    }
    // One heartbeat may be lost, and the answer to the next one late, before a worker is lost.
    let holds = |holds: bool, rule: &str| if holds { Ok(()) } else { Err(rule.to_owned()) };
    holds(times.heartbeat.0 * 2 <= times.lease.0, "`lease` must be at least twice `heartbeat`")?;
    holds(times.monitor.0 <= times.lease.0, "`monitor` must be at most `lease`")?;
    holds(
        times.leader_renew.0 * 2 + times.leader_margin.0 <= times.leader_lease.0,
        "`leader_lease` must be at least twice `leader_renew` and `leader_margin`",
    )
}
