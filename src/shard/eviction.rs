//! Picks victims: exact least-recently-used order. Policy only; knows neither bytes nor time.

use super::store::Handle;

/// The memory that one entry costs here, in bytes.
pub const BYTES_PER_ENTRY: u64 = size_of::<Link>() as u64;

/// The end of the list.
const NIL: Handle = Handle(u32::MAX);

#[derive(Clone, Copy, Debug)]
struct Link {
    newer: Handle,
    older: Handle,
}

/// Entries in the order of their last use: a doubly linked list through an array with one place for each handle.
#[derive(Debug)]
pub struct Lru {
    links: Vec<Link>,
    newest: Handle,
    oldest: Handle,
}

impl Default for Lru {
    fn default() -> Self {
        Self { links: Vec::new(), newest: NIL, oldest: NIL }
    }
}

impl Lru {
    /// Adds an entry as the one used last.
    pub fn insert(&mut self, handle: Handle) {
        if handle.index() >= self.links.len() {
            self.links.resize(handle.index() + 1, Link { newer: NIL, older: NIL });
        }
        self.links[handle.index()] = Link { newer: NIL, older: self.newest };
        match self.newest {
            NIL => self.oldest = handle,
            newest => self.links[newest.index()].newer = handle,
        }
        self.newest = handle;
    }

    /// Takes note that an entry was used.
    pub fn touch(&mut self, handle: Handle) {
        if self.newest != handle {
            self.remove(handle);
            self.insert(handle);
        }
    }

    /// Forgets an entry.
    pub fn remove(&mut self, handle: Handle) {
        let Link { newer, older } = self.links[handle.index()];
        match newer {
            NIL => self.newest = older,
            newer => self.links[newer.index()].older = older,
        }
        match older {
            NIL => self.oldest = newer,
            older => self.links[older.index()].newer = newer,
        }
    }

    /// The next victim: the entry that was not used for the longest time.
    pub fn victim(&self) -> Option<Handle> {
        (self.oldest != NIL).then_some(self.oldest)
    }

    /// All entries, the next victim first.
    pub fn iter(&self) -> impl Iterator<Item = Handle> {
        let next = |handle: &Handle| Some(self.links[handle.index()].newer).filter(|&newer| newer != NIL);
        std::iter::successors(self.victim(), next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(lru: &Lru) -> Vec<u32> {
        lru.iter().map(|handle| handle.0).collect()
    }

    #[test]
    fn the_victim_is_the_entry_unused_for_longest() {
        let mut lru = Lru::default();
        (0..4).for_each(|n| lru.insert(Handle(n)));
        lru.touch(Handle(0));
        lru.touch(Handle(2));
        lru.touch(Handle(2));
        assert_eq!(order(&lru), [1, 3, 0, 2]);
    }

    #[test]
    fn removal_leaves_no_trace_at_either_end_or_in_the_middle() {
        let mut lru = Lru::default();
        (0..4).for_each(|n| lru.insert(Handle(n)));
        for (gone, left) in [(1, vec![0, 2, 3]), (0, vec![2, 3]), (3, vec![2]), (2, vec![])] {
            lru.remove(Handle(gone));
            assert_eq!(order(&lru), left);
        }
        lru.insert(Handle(1));
        assert_eq!(lru.victim(), Some(Handle(1)));
    }
}
