//! One key as its clients see it: which answers are linearizable, when entries may also be evicted and expire.
//!
//! Follows the key online, by "just-in-time" linearization (Lowe: "Testing for linearizability", 2017): a key has a set of
//! possible pasts, each with the state that it has led to, what became of requests that are carried out in it but not
//! answered yet, and the states that reads may still tell of. An answer that fits into no past is a mistake. Requests of
//! one connection keep their order, which is more than linearizability asks for. Values name the request that wrote them.

use std::collections::{BTreeMap, HashMap};

/// The clock of the core that carries a request out may be behind by so much, in milliseconds.
pub const LAG_MS_MAX: u64 = 4;

/// Names a request on a key; later ones have higher names.
pub type OpId = u64;

/// What a value is, as far as requests can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// `len` bytes, all of which say that the request `by` has written them.
    Filled {
        by: OpId,
        len: u32,
    },
    Number(i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    Always,
    Absent,
    There,
    Version(u64),
    NotVersion(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Get { unless: When },
    Put { content: Content, ttl_ms: Option<u64>, when: When },
    Delete { when: When },
    Incr { delta: i64, ttl_ms: Option<u64> },
}

/// What an answer says of one request on one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Found {
        version: u64,
        content: Option<Content>,
    },
    NotModified {
        version: u64,
    },
    Missing,
    /// `dies_ms` is when it expires, if the answer says anything about that.
    Written {
        created: bool,
        version: u64,
        dies_ms: Option<Option<u64>>,
    },
    Deleted,
    Conflict {
        actual: Option<Option<u64>>,
    },
    Counted {
        value: i64,
        version: u64,
    },
    NotANumber,
    /// It has changed nothing.
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    by: OpId,
    content: Content,
    /// `None` as long as nobody has heard of it.
    version: Option<u64>,
    /// It expires not before the first and not after the second of these.
    dies_ms: Option<(u64, u64)>,
}

type State = Option<Entry>;

/// A request that is not answered yet.
#[derive(Clone, Copy, Debug)]
struct Pending {
    verb: Verb,
    /// The connection that it came on.
    conn: u64,
    asked_ms: u64,
    /// Nobody waits for the answer any more.
    is_gone: bool,
}

/// What became of a request that has been carried out in some past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    /// It was not: one that came after it on its connection was.
    Skipped,
    Written {
        created: bool,
    },
    Deleted,
    Missing,
    Conflict {
        /// Whether there was an entry, and its version if that was known.
        actual: Option<Option<u64>>,
    },
    Counted {
        value: i64,
    },
    NotANumber,
}

/// A read that is not answered yet may tell of the states from `from` to `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct View {
    read: OpId,
    from: usize,
    to: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Past {
    /// The last one is the present; earlier ones are kept as long as a read may tell of them.
    states: Vec<State>,
    views: Vec<View>,
    done: Vec<(OpId, Done)>,
}

/// With more possible pasts than this a key is followed no longer.
const PASTS_MAX: usize = 600;

#[derive(Debug)]
pub struct Key {
    pasts: Vec<Past>,
    pending: BTreeMap<OpId, Pending>,
    /// Who wrote which version.
    versions: HashMap<u64, OpId>,
    is_lost: bool,
}

impl Default for Key {
    fn default() -> Self {
        let nothing = Past { states: vec![None], views: Vec::new(), done: Vec::new() };
        Self { pasts: vec![nothing], pending: BTreeMap::new(), versions: HashMap::new(), is_lost: false }
    }
}

impl Key {
    /// Whether there were too many possible pasts to go on.
    pub const fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// How many writes may still be carried out.
    pub fn writes(&self) -> usize {
        self.pending.values().filter(|pending| !matches!(pending.verb, Verb::Get { .. })).count()
    }

    pub fn ask(&mut self, op: OpId, conn: u64, now_ms: u64, verb: Verb) {
        self.pending.insert(op, Pending { verb, conn, asked_ms: now_ms, is_gone: false });
        if self.is_lost {
            self.pending.clear();
        }
        if matches!(verb, Verb::Get { .. }) {
            for past in &mut self.pasts {
                past.views.push(View { read: op, from: past.states.len() - 1, to: usize::MAX });
            }
        }
    }

    /// The request has not reached the server, and never will.
    pub fn never(&mut self, op: OpId) -> Result<(), String> {
        self.tell(op, 0, Told::Failed)
    }

    /// Nobody will hear what became of the request; it may be carried out as long as [`Key::settle`] is not called.
    pub fn leave(&mut self, op: OpId) {
        let Some(pending) = self.pending.get_mut(&op) else { return };
        pending.is_gone = true;
        if matches!(pending.verb, Verb::Get { .. }) {
            self.pending.remove(&op);
            self.pasts.iter_mut().for_each(|past| past.views.retain(|view| view.read != op));
            self.tidy();
        }
    }

    /// What nobody waits for has been carried out by now, or will not be: `ops`.
    pub fn settle(&mut self, ops: &[OpId], now_ms: u64) {
        if self.is_lost || !ops.iter().any(|op| self.pending.contains_key(op)) {
            return;
        }
        let Some(pasts) = self.reachable(now_ms) else { return self.lose() };
        self.pasts = pasts;
        for op in ops {
            self.pending.remove(op);
            self.pasts.iter_mut().for_each(|past| past.done.retain(|(done, _)| done != op));
        }
        self.tidy();
    }

    /// So many entries of this key's shard were evicted in this step, perhaps of this key: each time that it was written, and
    /// once before.
    pub fn may_be_evicted(&mut self, now_ms: u64, evictions: u64) {
        let is_write = |it: &&Pending| matches!(it.verb, Verb::Put { .. } | Verb::Incr { .. });
        let writes = self.pending.values().filter(is_write).count() as u64;
        (0..evictions.min(writes + 1)).for_each(|_| self.may_be_evicted_once(now_ms));
    }

    fn may_be_evicted_once(&mut self, now_ms: u64) {
        if self.is_lost {
            return;
        }
        let Some(mut evicted) = self.reachable(now_ms) else { return self.lose() };
        evicted.retain(|past| past.present().is_some());
        evicted.iter_mut().for_each(|past| past.states.push(None));
        self.pasts.append(&mut evicted);
        self.tidy();
    }

    /// An answer was heard.
    pub fn tell(&mut self, op: OpId, now_ms: u64, told: Told) -> Result<(), String> {
        let Some(pending) = self.pending.get(&op).copied() else {
            let is_fine = self.is_lost || told == Told::Failed;
            return if is_fine {
                Ok(())
            } else {
                Err(format!("{op} is said to be done before it was asked: {told:?}"))
            };
        };
        self.check_version(op, told)?;
        let before = self.pasts.clone();
        self.pasts = match (pending.verb, told) {
            (Verb::Get { .. }, Told::Failed) => self.without_view(op),
            (Verb::Get { unless }, _) => {
                let asked_ms = pending.asked_ms;
                let see = Sight { read: op, unless, asked_ms, now_ms, told };
                let Some(pasts) = self.reachable(now_ms) else {
                    self.lose();
                    return Ok(());
                };
                pasts.iter().flat_map(|past| past.seen(&see, &self.pending)).collect()
            }
            _ => match self.carried_out(op, now_ms, told) {
                Some(pasts) => pasts,
                None => {
                    self.lose();
                    return Ok(());
                }
            },
        };
        self.pending.remove(&op);
        if self.pasts.is_empty() {
            return Err(format!("{told:?} for {op} {pending:?} at {now_ms} does not follow from any of {before:#?}"));
        }
        self.tidy();
        Ok(())
    }

    /// Whoever reads a value that names its writer knows whose version it has; a version is given once.
    fn check_version(&mut self, op: OpId, told: Told) -> Result<(), String> {
        let (version, by) = match told {
            Told::Found { version, content: Some(Content::Filled { by, .. }) } => (version, by),
            Told::Written { version, .. } | Told::Counted { version, .. } => (version, op),
            _ => return Ok(()),
        };
        let known = *self.versions.entry(version).or_insert(by);
        if known == by { Ok(()) } else { Err(format!("the version {version:x} was given to {known} and to {by}")) }
    }

    fn without_view(&self, op: OpId) -> Vec<Past> {
        let mut pasts = self.pasts.clone();
        pasts.iter_mut().for_each(|past| past.views.retain(|view| view.read != op));
        pasts
    }

    /// The pasts in which `op` was carried out with this result.
    fn carried_out(&self, op: OpId, now_ms: u64, told: Told) -> Option<Vec<Past>> {
        let mut found = Vec::new();
        for past in self.reachable(now_ms)? {
            let done = past.done.iter().find(|(done, _)| *done == op).map(|(_, done)| *done);
            let mut past = match (done, told) {
                (None | Some(Done::Skipped), Told::Failed) => past,
                (Some(done), _) if done.fits(told) => past,
                _ => continue,
            };
            past.done.retain(|(done, _)| *done != op);
            if past.learn(op, told) {
                found.push(past);
            }
        }
        Some(found)
    }

    /// All pasts in which some more of what waits has been carried out; `None` if there are too many.
    fn reachable(&self, now_ms: u64) -> Option<Vec<Past>> {
        let mut found = self.pasts.clone();
        let mut at = 0;
        while at < found.len() {
            if found.len() > PASTS_MAX {
                return None;
            }
            for (&op, pending) in &self.pending {
                let past = &found[at];
                let is_read = matches!(pending.verb, Verb::Get { .. });
                if is_read || past.done.iter().any(|(done, _)| *done == op) {
                    continue;
                }
                for next in past.after(op, pending, now_ms, &self.pending) {
                    if !found.contains(&next) {
                        found.push(next);
                    }
                }
            }
            at += 1;
        }
        Some(found)
    }

    /// Forgets what makes no difference any more.
    fn tidy(&mut self) {
        let mut tidied: Vec<Past> = Vec::new();
        for mut past in std::mem::take(&mut self.pasts) {
            past.forget_states();
            if !tidied.contains(&past) {
                tidied.push(past);
            }
        }
        self.pasts = tidied;
        if self.pasts.len() > PASTS_MAX {
            self.lose();
        }
    }

    fn lose(&mut self) {
        self.is_lost = true;
        self.pasts.clear();
        self.pending.clear();
    }
}

impl Done {
    fn fits(self, told: Told) -> bool {
        match (self, told) {
            (Self::Written { created }, Told::Written { created: told, .. }) => created == told,
            (Self::Deleted, Told::Deleted)
            | (Self::Missing, Told::Missing)
            | (Self::NotANumber, Told::NotANumber)
            | (Self::Conflict { .. }, Told::Conflict { actual: None }) => true,
            (Self::Conflict { actual }, Told::Conflict { actual: Some(told) }) => match (actual, told) {
                (None, None) | (Some(None), Some(_)) => true,
                (Some(Some(known)), Some(told)) => known == told,
                _ => false,
            },
            (Self::Counted { value }, Told::Counted { value: told, .. }) => value == told,
            _ => false,
        }
    }
}

/// A read and its answer.
struct Sight {
    read: OpId,
    unless: When,
    asked_ms: u64,
    now_ms: u64,
    told: Told,
}

impl Past {
    fn present(&self) -> State {
        *self.states.last().expect("there is always a present")
    }

    /// Drops states that no read can tell of.
    fn forget_states(&mut self) {
        let last = self.states.len() - 1;
        let first = self.views.iter().map(|view| view.from).min().unwrap_or(last);
        self.states.drain(..first);
        for view in &mut self.views {
            view.from -= first;
            view.to = if view.to == usize::MAX { view.to } else { view.to - first };
        }
    }

    /// The pasts in which `op` is carried out next, at some moment between its being asked and `now_ms`.
    fn after(&self, op: OpId, pending: &Pending, now_ms: u64, all: &BTreeMap<OpId, Pending>) -> Vec<Self> {
        let before = alternatives(self.present(), pending.asked_ms, now_ms);
        before.into_iter().map(|state| self.with(op, pending, now_ms, state, all)).collect()
    }

    fn with(&self, op: OpId, pending: &Pending, now_ms: u64, state: State, all: &BTreeMap<OpId, Pending>) -> Self {
        let mut past = self.clone();
        let (next, done) = carry_out(op, pending, now_ms, state);
        if state != past.present() {
            past.states.push(state);
        }
        // What came before on the same connection was carried out before, or will not be.
        for (&earlier, other) in all.range(..op).filter(|(_, other)| other.conn == pending.conn) {
            let is_read = matches!(other.verb, Verb::Get { .. });
            if !is_read && !past.done.iter().any(|(done, _)| *done == earlier) {
                past.done.push((earlier, Done::Skipped));
            }
        }
        let here = past.states.len() - 1;
        if next != state {
            past.states.push(next);
        }
        let there = past.states.len() - 1;
        for view in &mut past.views {
            if all.get(&view.read).is_some_and(|other| other.conn == pending.conn) {
                if view.read < op {
                    view.to = view.to.min(here);
                } else {
                    view.from = view.from.max(there);
                }
            }
        }
        past.done.push((op, done));
        past.done.sort_unstable_by_key(|(op, _)| *op);
        past
    }

    /// Takes note of what an answer says of the entry that `op` has made; false if that cannot be.
    fn learn(&mut self, op: OpId, told: Told) -> bool {
        let (told_version, told_dies) = match told {
            Told::Written { version, dies_ms, .. } => (version, dies_ms),
            Told::Counted { version, .. } => (version, None),
            _ => return true,
        };
        let of_op = self.states.iter_mut().flatten().filter(|entry| entry.by == op);
        for entry in of_op {
            if *entry.version.get_or_insert(told_version) != told_version {
                return false;
            }
            match (told_dies, &mut entry.dies_ms) {
                (None, _) | (Some(None), None) => {}
                (Some(Some(told)), Some((low, high))) if (*low..=*high).contains(&told) => (*low, *high) = (told, told),
                _ => return false,
            }
        }
        true
    }

    /// The pasts in which the read has seen what the answer tells.
    fn seen(&self, see: &Sight, all: &BTreeMap<OpId, Pending>) -> Vec<Self> {
        let view = *self.views.iter().find(|view| view.read == see.read).expect("every read has a view");
        let mut found = Vec::new();
        for at in view.from..=view.to.min(self.states.len() - 1) {
            for state in alternatives(self.states[at], see.asked_ms, see.now_ms) {
                let Some(state) = see.fits(state) else { continue };
                let mut past = self.clone();
                past.views.retain(|other| other.read != see.read);
                if state.is_some() {
                    past.refine(at, state);
                } else if self.states[at].is_some() {
                    past.expire(at, see.now_ms);
                }
                let conn = all.get(&see.read).map(|pending| pending.conn);
                for later in past.views.iter_mut().filter(|view| view.read > see.read) {
                    if all.get(&later.read).map(|pending| pending.conn) == conn {
                        later.from = later.from.max(at);
                    }
                }
                found.push(past);
            }
        }
        found
    }

    /// The entry at `at`, and wherever else it is the same one, is `known` better now.
    fn refine(&mut self, at: usize, known: State) {
        let (Some(old), Some(known)) = (self.states[at], known) else { return };
        for entry in self.states.iter_mut().flatten().filter(|entry| entry.by == old.by && entry.dies_ms == old.dies_ms)
        {
            *entry = known;
        }
    }

    /// The entry at `at` had expired by `now_ms`; if it is the present one it stays so.
    fn expire(&mut self, at: usize, now_ms: u64) {
        let Some(old) = self.states[at] else { return };
        for entry in self.states.iter_mut().flatten().filter(|entry| **entry == old) {
            entry.dies_ms = entry.dies_ms.map(|(low, high)| (low, high.min(now_ms)));
        }
        if at == self.states.len() - 1 {
            self.states.push(None);
        }
    }
}

impl Sight {
    /// Whether the answer fits to a state: then what is known of the state now.
    fn fits(&self, state: State) -> Option<State> {
        let Some(mut entry) = state else { return (self.told == Told::Missing).then_some(None) };
        let (version, content, is_body) = match self.told {
            Told::Found { version, content } => (version, content, true),
            Told::NotModified { version } => (version, None, false),
            _ => return None,
        };
        let is_excluded = self.unless == When::NotVersion(version);
        let fits = *entry.version.get_or_insert(version) == version
            && content.is_none_or(|content| content == entry.content)
            && is_body != is_excluded;
        fits.then_some(Some(entry))
    }
}

/// What a state may be for something that happens at some moment from `asked_ms` to `now_ms`.
fn alternatives(state: State, asked_ms: u64, now_ms: u64) -> Vec<State> {
    let Some(mut entry) = state else { return vec![None] };
    let Some((low, high)) = entry.dies_ms else { return vec![state] };
    let mut found = Vec::new();
    // The core's clock cannot have shown less than this.
    let least_ms = asked_ms - asked_ms.min(LAG_MS_MAX);
    if least_ms < high {
        entry.dies_ms = Some((low.max(least_ms + 1), high));
        found.push(Some(entry));
    }
    if now_ms >= low {
        found.push(None);
    }
    found
}

fn carry_out(op: OpId, pending: &Pending, now_ms: u64, state: State) -> (State, Done) {
    let dies = |ttl_ms: Option<u64>| ttl_ms.map(|ttl_ms| (pending.asked_ms + ttl_ms - LAG_MS_MAX, now_ms + ttl_ms));
    let conflict = Done::Conflict { actual: state.map(|entry| entry.version) };
    match pending.verb {
        Verb::Get { .. } => unreachable!("a read changes nothing"),
        Verb::Put { when, .. } | Verb::Delete { when } if !when.holds_for(state) => (state, conflict),
        Verb::Put { content, ttl_ms, .. } => {
            let entry = Entry { by: op, content, version: None, dies_ms: dies(ttl_ms) };
            (Some(entry), Done::Written { created: state.is_none() })
        }
        Verb::Delete { .. } if state.is_none() => (None, Done::Missing),
        Verb::Delete { .. } => (None, Done::Deleted),
        Verb::Incr { delta, ttl_ms } => {
            let before = match state.map(|entry| entry.content) {
                None => 0,
                Some(Content::Number(number)) => number,
                Some(Content::Filled { .. }) => return (state, Done::NotANumber),
            };
            let value = before + delta;
            let dies_ms = dies(ttl_ms).or(state.and_then(|entry| entry.dies_ms));
            (Some(Entry { by: op, content: Content::Number(value), version: None, dies_ms }), Done::Counted { value })
        }
    }
}

impl When {
    fn holds_for(self, state: State) -> bool {
        match (self, state) {
            (Self::Always, _) | (Self::Absent, None) | (Self::There, Some(_)) | (Self::NotVersion(_), None) => true,
            (Self::Absent, Some(_)) | (Self::There | Self::Version(_), None) => false,
            // A version that nobody has heard of is none that a condition could name.
            (Self::Version(version), Some(entry)) => entry.version == Some(version),
            (Self::NotVersion(version), Some(entry)) => entry.version != Some(version),
        }
    }
}
