//! The order of a list.

use super::answers;
use crate::columns::{Column, QUEUES, SCHEDULES, WORKERS, sorts};
use crate::options::Screen;
use crate::state::grid::Grid;
use crate::state::{App, Listed, Order, Popup};

/// The orders of a list that is held whole, and which columns have none.
fn choices<R>(columns: &'static [Column<R>]) -> (Vec<(String, Order)>, String) {
    let by = |(place, column): (usize, &Column<R>)| {
        (format!("by {}", column.title), Order::Column(place))
    };
    let mut all = vec![("as the server sends it".to_owned(), Order::AsSent)];
    all.extend(sorts(columns).enumerate().map(by));
    let without = columns.iter().filter(|column| column.order.is_none());
    let without: Vec<&str> = without.map(|column| column.title).collect();
    let note = match without.is_empty() {
        true => String::new(),
        false => format!("Without an order: {}", without.join(", ")),
    };
    (all, note)
}

/// Opens the choice of the order.
pub(crate) fn open(app: &mut App) {
    let current = |sort: Option<usize>| sort.map_or(Order::AsSent, Order::Column);
    let ((choices, note), current) = match app.screen {
        Screen::Jobs => {
            let newest = ("newest first".to_owned(), Order::NewestFirst);
            let oldest = ("oldest first".to_owned(), Order::OldestFirst);
            let note = "Jobs are read page by page in the order of their ids, which no other column has; \
                        a filter narrows them";
            let order = match app.jobs.pages.oldest_first {
                true => Order::OldestFirst,
                false => Order::NewestFirst,
            };
            ((vec![newest, oldest], note.to_owned()), order)
        }
        Screen::Queues => (choices(QUEUES), current(app.queues.sort)),
        Screen::Workers => (choices(WORKERS), current(app.workers.sort)),
        Screen::Schedules => (choices(SCHEDULES), current(app.schedules.sort)),
        _ => return,
    };
    let mut grid = Grid::default();
    grid.set_height(choices.len());
    grid.set_rows((0..choices.len()).map(|place| place.to_string()).collect());
    if let Some(place) = choices.iter().position(|(_, order)| *order == current) {
        grid.go_to(place);
    }
    app.popup = Some(Popup::Sort { choices, note, grid });
}

/// Puts an order in force.
pub(crate) fn choose(app: &mut App, order: Order) {
    let column = match order {
        Order::NewestFirst | Order::OldestFirst => {
            put_oldest_first(app, order == Order::OldestFirst);
            return;
        }
        Order::AsSent => None,
        Order::Column(place) => Some(place),
    };
    fn put<R>(list: &mut Listed<R>, column: Option<usize>) {
        (list.sort, list.reverse) = (column, list.reverse && column.is_some());
    }
    match app.screen {
        Screen::Queues => put(&mut app.queues, column),
        Screen::Workers => put(&mut app.workers, column),
        Screen::Schedules => put(&mut app.schedules, column),
        _ => {}
    }
    arrange(app);
    if column.is_none() {
        // The rows are in another order by now.
        super::polls::reload(app);
    }
}

/// Reverses the order.
pub(crate) fn reverse(app: &mut App) {
    fn turn<R>(list: &mut Listed<R>) {
        // What has no order is reversed by its first column.
        list.sort = list.sort.or(Some(0));
        list.reverse = !list.reverse;
    }
    match app.screen {
        Screen::Jobs => put_oldest_first(app, !app.jobs.pages.oldest_first),
        Screen::Queues => turn(&mut app.queues),
        Screen::Workers => turn(&mut app.workers),
        Screen::Schedules => turn(&mut app.schedules),
        _ => {}
    }
    arrange(app);
}

fn put_oldest_first(app: &mut App, oldest_first: bool) {
    let pages = &mut app.jobs.pages;
    if pages.oldest_first != oldest_first {
        let filter = pages.filter.clone();
        pages.restart(filter, oldest_first, false);
    }
}

fn arrange(app: &mut App) {
    match app.screen {
        Screen::Queues => answers::arrange_queues(app),
        Screen::Workers => answers::arrange_workers(app),
        Screen::Schedules => answers::arrange_schedules(app),
        _ => {}
    }
}
