//! Who still needs the beginning of the event log.

use parking_lot::Mutex;
use tokio::sync::watch;

/// The cursors of the projections that read the log: what one of them has not taken in is not
/// trimmed.
#[derive(Debug, Default)]
pub struct LogReaders(Mutex<Vec<watch::Receiver<u64>>>);

impl LogReaders {
    /// Adds a projection by its [cursor](ues_storage::ProjectionHandle::subscribe). It counts for as
    /// long as it exists.
    pub fn add(&self, cursor: watch::Receiver<u64>) {
        self.0.lock().push(cursor);
    }

    /// The last event that all of them have taken in; `None` when there are none.
    pub fn slowest(&self) -> Option<u64> {
        let mut cursors = self.0.lock();
        cursors.retain(|cursor| cursor.has_changed().is_ok());
        cursors.iter().map(|cursor| *cursor.borrow()).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_that_exists_counts() {
        let readers = LogReaders::default();
        assert_eq!(readers.slowest(), None);
        let (a, cursor) = watch::channel(5);
        readers.add(cursor);
        let (b, cursor) = watch::channel(0);
        readers.add(cursor);
        assert_eq!(readers.slowest(), Some(0));
        b.send_replace(7);
        assert_eq!(readers.slowest(), Some(5));
        drop(a);
        assert_eq!(readers.slowest(), Some(7));
    }
}
