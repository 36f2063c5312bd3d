//! The cursor, the marks and the scroll of a list. They hold keys of rows, not row numbers: rows come and
//! go with every answer.

use std::collections::BTreeSet;

/// Where the user is in a list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Grid {
    /// The keys of the rows, in the order shown.
    keys: Vec<String>,
    /// The row under the cursor. `None` where there is no row, or the one under the cursor has gone: then
    /// no key acts until the user moves.
    cursor: Option<String>,
    /// Where the cursor is, or was.
    index: usize,
    top: usize,
    height: usize,
    marks: BTreeSet<String>,
    last_mark: Option<String>,
    /// Everything that matches the filter is marked, also what is not loaded.
    pub(crate) all_marked: bool,
}

impl Grid {
    /// Replaces the rows. The cursor stays on its row, and that row at its line of the screen.
    pub(crate) fn set_rows(&mut self, keys: Vec<String>) {
        let line = self.index.saturating_sub(self.top);
        let was_empty = self.keys.is_empty();
        // At the top, new rows come in above the cursor as long as it stays in view.
        let at_top = self.top == 0;
        self.keys = keys;
        match self.cursor.as_ref().and_then(|cursor| self.place_of(cursor)) {
            Some(place) => {
                self.index = place;
                let flows = at_top && place < self.height.max(1);
                self.top = if flows { 0 } else { place.saturating_sub(line) };
            }
            None if was_empty => {
                (self.index, self.top) = (0, 0);
                self.cursor = self.keys.first().cloned();
            }
            None => {
                self.cursor = None;
                self.index = self.index.min(self.keys.len().saturating_sub(1));
            }
        }
        self.scroll();
    }

    /// Forgets everything, for another list.
    pub(crate) fn clear(&mut self) {
        *self = Self { height: self.height, ..Self::default() };
    }

    /// The number of rows that fit on the screen.
    pub(crate) fn set_height(&mut self, height: usize) {
        self.height = height;
        self.scroll();
    }

    fn place_of(&self, key: &str) -> Option<usize> {
        self.keys.iter().position(|one| one == key)
    }

    fn scroll(&mut self) {
        let height = self.height.max(1);
        let most = self.keys.len().saturating_sub(height);
        self.top = self.top.min(most);
        if self.cursor.is_some() {
            self.top = self.top.clamp((self.index + 1).saturating_sub(height), self.index);
        }
    }

    /// Puts the cursor on a row by its number, or the nearest there is.
    pub(crate) fn go_to(&mut self, index: usize) {
        self.index = index.min(self.keys.len().saturating_sub(1));
        self.cursor = self.keys.get(self.index).cloned();
        self.scroll();
    }

    /// Puts the cursor on a row by its key, if it is there.
    pub(crate) fn go_to_key(&mut self, key: &str) {
        if let Some(place) = self.place_of(key) {
            self.go_to(place);
        }
    }

    /// Moves the cursor by some rows.
    pub(crate) fn step(&mut self, by: isize) {
        self.go_to(self.index.saturating_add_signed(by));
    }

    pub(crate) fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    pub(crate) fn index(&self) -> usize {
        self.index
    }

    pub(crate) fn top(&self) -> usize {
        self.top
    }

    pub(crate) fn height(&self) -> usize {
        self.height.max(1)
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn is_marked(&self, key: &str) -> bool {
        self.all_marked || self.marks.contains(key)
    }

    pub(crate) fn marks(&self) -> &BTreeSet<String> {
        &self.marks
    }

    pub(crate) fn has_marks(&self) -> bool {
        self.all_marked || !self.marks.is_empty()
    }

    /// Marks the row under the cursor or takes its mark off, and goes to the next.
    pub(crate) fn toggle_mark(&mut self) {
        let Some(cursor) = self.cursor.clone() else { return };
        self.all_marked = false;
        if !self.marks.remove(&cursor) {
            self.marks.insert(cursor.clone());
            self.last_mark = Some(cursor);
        }
        self.step(1);
    }

    /// Marks the rows from the last one that was marked to the cursor.
    pub(crate) fn mark_range(&mut self) {
        let Some(cursor) = self.cursor.as_ref() else { return };
        let from = self.last_mark.as_ref().and_then(|key| self.place_of(key)).unwrap_or(self.index);
        let (first, last) = (from.min(self.index), from.max(self.index));
        self.last_mark = Some(cursor.clone());
        self.all_marked = false;
        self.marks.extend(self.keys[first..=last].iter().cloned());
    }

    pub(crate) fn unmark(&mut self) {
        self.marks.clear();
        (self.all_marked, self.last_mark) = (false, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
        numbers.into_iter().map(|number| number.to_string()).collect()
    }

    fn grid(rows: u32, height: usize) -> Grid {
        let mut grid = Grid::default();
        grid.set_height(height);
        grid.set_rows(keys((1..=rows).rev()));
        grid
    }

    #[test]
    fn the_cursor_stays_on_its_row_and_the_row_on_its_line() {
        let mut grid = grid(50, 10);
        grid.step(20);
        let (cursor, line) = (grid.cursor().map(str::to_owned), grid.index() - grid.top());
        grid.set_rows(keys((1..=53).rev()));
        assert_eq!(grid.cursor(), cursor.as_deref());
        assert_eq!(grid.index() - grid.top(), line);
    }

    #[test]
    fn at_the_top_new_rows_come_in_while_the_cursor_is_in_view() {
        let mut grid = grid(50, 10);
        grid.set_rows(keys((1..=53).rev()));
        assert_eq!((grid.cursor(), grid.top(), grid.index()), (Some("50"), 0, 3));
    }

    #[test]
    fn without_its_row_the_cursor_is_on_nothing_until_the_user_moves() {
        let mut grid = grid(5, 10);
        grid.step(2);
        grid.set_rows(keys([5, 4, 2, 1]));
        assert_eq!(grid.cursor(), None);
        grid.step(0);
        assert_eq!(grid.cursor(), Some("2"));
    }

    #[test]
    fn marks_are_of_rows_and_a_range_reaches_from_the_last_mark() {
        let mut grid = grid(9, 10);
        grid.toggle_mark();
        grid.step(2);
        grid.mark_range();
        assert_eq!(grid.marks().len(), 4);
        grid.set_rows(keys([1]));
        assert!(grid.is_marked("7"), "a row that is out of sight stays marked");
        grid.unmark();
        assert!(!grid.has_marks());
    }
}
