//! The cluster: its nodes, and the store and transport that they share.

use orx_model::text::clean_line;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;

use super::table::{List, draw as draw_list};
use super::{boxed, placeholder};
use crate::columns::NODES;
use crate::layout::Class;
use crate::state::App;

fn areas(area: Rect, class: Class) -> [Rect; 2] {
    let facts = if class == Class::Narrow { 0 } else { 9 };
    Layout::vertical([Constraint::Min(0), Constraint::Length(facts)]).areas(area)
}

/// The box of the nodes.
pub(crate) fn nodes_area(area: Rect, class: Class) -> Rect {
    areas(area, class)[0]
}

/// Draws the screen.
pub(crate) fn draw(app: &App, area: Rect, class: Class, buffer: &mut Buffer) {
    let [nodes, facts] = areas(area, class);
    let title = Line::styled("Nodes", app.look.bold());
    let inside = boxed(app, title, true, nodes, class, buffer);
    let Some(cluster) = &app.cluster else {
        let text = if app.link.is_down() { "no server answers" } else { "loading …" };
        placeholder(app, inside, text, buffer);
        return;
    };
    if cluster.nodes.is_empty() {
        let text = format!("one node, `{}`, with no other beside it", cluster.node);
        placeholder(app, inside, &text, buffer);
    } else {
        let list = List {
            columns: NODES,
            rows: cluster.nodes.iter().collect(),
            grid: &app.nodes,
            focused: true,
            sorted: None,
            key: |node| node.node.to_string(),
            gone: &|_| false,
        };
        draw_list(app, &list, inside, class, buffer);
    }
    if facts.height == 0 {
        return;
    }
    let title = Line::styled("Store, transport and clock", app.look.bold());
    let inside = boxed(app, title, false, facts, class, buffer);
    let connected = cluster.links.iter().filter(|link| link.connected).count();
    let silent = cluster.links.len() - connected;
    let broken = cluster.links.iter().find(|link| !link.connected);
    let why = broken.and_then(|link| link.why.as_deref()).unwrap_or_default();
    let links = match silent {
        0 => format!("{connected} connected"),
        _ => format!("{connected} connected, {silent} reconnecting: {why}"),
    };
    let jumps = cluster.clock.as_ref().map_or(0, |clock| clock.jumps);
    let clock = match jumps {
        0 => "never set while it was watched".to_owned(),
        1 => "set once".to_owned(),
        jumps => format!("set {jumps} times"),
    };
    let zones = cluster.zone_data.as_ref();
    let zones = zones
        .map_or("unknown".to_owned(), |data| format!("{}, {}", data.version_text(), data.source));
    let lines = [
        format!("answers    orx {} on {}", cluster.version, cluster.node),
        format!("store      {}, durability {}", cluster.store, cluster.durability),
        format!("transport  {}", cluster.transport),
        format!("links      {links}"),
        format!("prefetched {} jobs wait at workers for a slot", cluster.prefetched),
        format!("clock      {clock}"),
        format!("zones      {zones}"),
    ];
    let lines: Vec<Line<'_>> =
        lines.iter().map(|line| Line::raw(format!(" {}", clean_line(line)))).collect();
    super::lines(app, lines, inside, buffer);
}
