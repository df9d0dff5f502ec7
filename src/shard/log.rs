//! Where a shard's bytes live: a log of blocks, into which records are appended and in which they stay until they are
//! dead, or moved to the end so that their block can be used again (Rosenblum and Ousterhout, "The design and
//! implementation of a log-structured file system", 1991; for memory: Rumble et al., FAST 2014). Knows no keys, no policy
//! and no budget: somebody else decides what is appended, freed and moved, and whether a block may be mapped.

use super::record::{self, Kind, Record};
use crate::limits::{BLOCK_BYTES_MAX, BLOCK_BYTES_MIN, BLOCK_BYTES_UNLIMITED, BLOCKS_PER_SHARD};
use crate::memory::{NoMemory, Region};

/// Where a record lies: its offset in the log, in units of a few bytes, blocks one after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Loc(pub u32);

impl Loc {
    /// Nowhere.
    pub const NIL: Self = Self(u32::MAX);
}

/// Names a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockId(u32);

impl BlockId {
    /// The block's place in an array with one element for each block.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The sizes of a log; fixed when its shard begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    block_bytes: u32,
    /// The same as a power of two.
    block_shift: u32,
    unit_shift: u32,
    /// How many units a location can name.
    addresses: u64,
}

impl Geometry {
    /// The widest unit that a location may count in, as a power of two: 16 bytes, and so 64 GiB a shard.
    const UNIT_SHIFT_MAX: u32 = 4;

    /// For a shard that may use `limit` bytes, and half as much again should that be raised later.
    pub fn for_limit(limit: u64) -> Self {
        Self::with_addresses(limit, 1 << 32)
    }

    /// The same with so many addresses, a power of two, for tests.
    pub fn with_addresses(limit: u64, addresses: u64) -> Self {
        // Blocks stay as large as they are; where there is no limit yet, a low one may follow.
        let most = if limit == u64::MAX { BLOCK_BYTES_UNLIMITED } else { BLOCK_BYTES_MAX };
        let block_bytes = (limit / BLOCKS_PER_SHARD).clamp(BLOCK_BYTES_MIN as u64, most as u64);
        let block_shift = block_bytes.ilog2();
        let wanted = limit.saturating_add(limit / 2);
        let unit_shift = (0..Self::UNIT_SHIFT_MAX).find(|&shift| wanted <= addresses << shift);
        let unit_shift = unit_shift.unwrap_or(Self::UNIT_SHIFT_MAX);
        Self { block_bytes: 1 << block_shift, block_shift, unit_shift, addresses }
    }

    /// The same with blocks of so many bytes, a power of two.
    #[cfg(test)]
    pub fn with_blocks_of(self, block_bytes: usize) -> Self {
        Self { block_bytes: block_bytes as u32, block_shift: block_bytes.ilog2(), ..self }
    }

    /// The size of a block, in bytes.
    pub const fn block_bytes(self) -> u64 {
        self.block_bytes as u64
    }

    /// How many bytes can be addressed.
    pub const fn bytes_max(self) -> u64 {
        (self.addresses << self.unit_shift) - self.block_bytes as u64
    }

    /// The room that a record of `len` bytes takes.
    pub const fn room(self, len: usize) -> usize {
        len.next_multiple_of(1 << self.unit_shift)
    }

    const fn loc(self, block: BlockId, offset: usize) -> Loc {
        let block = (block.0 as u64 * self.block_bytes as u64) >> self.unit_shift;
        Loc(block as u32 + (offset >> self.unit_shift) as u32)
    }

    #[inline]
    const fn place(self, loc: Loc) -> (BlockId, usize) {
        // Wrapping, since nobody needs to be told here that a shift is too wide: each is made once, where a log begins.
        let bytes = (loc.0 as u64).wrapping_shl(self.unit_shift);
        let block = bytes.wrapping_shr(self.block_shift) as u32;
        (BlockId(block), (bytes & self.block_bytes.wrapping_sub(1) as u64) as usize)
    }
}

/// What is appended, apart from what else: bytes that die at the same time should lie together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// What clients write.
    Written,
    /// What was moved out of a block that is mostly dead.
    Moved,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Empty, and mapped.
    Spare,
    /// Records are appended.
    Open,
    /// Records are not appended any more.
    Closed,
}

#[derive(Debug)]
struct Block {
    memory: Region,
    state: State,
    /// Bytes taken up by records, dead or not.
    used: u32,
    /// Bytes taken up by records that live.
    live: u32,
    /// Bytes at the end that were too few for the next record.
    waste: u32,
    /// The first moment at which one of its segments is due.
    due: Moment,
    segments: Box<[Segment]>,
}

/// A part of a block: so much is walked to find the entries that have expired.
#[derive(Clone, Copy, Debug)]
struct Segment {
    due: Moment,
    /// How far behind the segment's beginning the first record begins; [`NO_RECORD`] if none does.
    first: u16,
}

const SEGMENT_BYTES: usize = 4096;
const NO_RECORD: u16 = u16::MAX;
const _: () = assert!(BLOCK_BYTES_MIN.is_multiple_of(SEGMENT_BYTES) && SEGMENT_BYTES < NO_RECORD as usize);

impl Segment {
    const EMPTY: Self = Self { due: Moment::NEVER, first: NO_RECORD };
}

/// A point in time since the shard began, coarse and rounded up: when it has come, what it was made from has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Moment(u32);

impl Moment {
    /// Milliseconds to a step.
    const STEP_MS: u64 = 64;
    const NEVER: Self = Self(u32::MAX);

    fn from_ms(ms: u64) -> Self {
        Self(u32::try_from(ms.div_ceil(Self::STEP_MS)).unwrap_or(u32::MAX))
    }

    const fn as_ms(self) -> u64 {
        if self.0 == u32::MAX { u64::MAX } else { self.0 as u64 * Self::STEP_MS }
    }
}

/// Names a segment of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentId {
    block: BlockId,
    segment: usize,
}

impl Block {
    const fn dead(&self) -> u32 {
        self.used - self.live
    }

    fn clear(&mut self, state: State) {
        (self.state, self.used, self.live, self.waste) = (state, 0, 0, 0);
        self.due = Moment::NEVER;
        self.segments.fill(Segment::EMPTY);
    }
}

/// The blocks of one shard.
#[derive(Debug)]
pub struct Log {
    geometry: Geometry,
    blocks: Vec<Option<Block>>,
    /// Names of blocks that are not mapped.
    unmapped: Vec<BlockId>,
    spare: Vec<BlockId>,
    open: [Option<BlockId>; 2],
    /// The block that is being cleaned, and how far that has come.
    cleaning: Option<(BlockId, usize)>,
    mapped: u64,
    live_bytes: u64,
    waste_bytes: u64,
}

impl Log {
    /// An empty log.
    pub const fn new(geometry: Geometry) -> Self {
        Self {
            geometry,
            blocks: Vec::new(),
            unmapped: Vec::new(),
            spare: Vec::new(),
            open: [None; 2],
            cleaning: None,
            mapped: 0,
            live_bytes: 0,
            waste_bytes: 0,
        }
    }

    /// Its sizes.
    pub const fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Bytes of records that live.
    pub const fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    /// Bytes at the ends of blocks that were too few for a record.
    pub const fn waste_bytes(&self) -> u64 {
        self.waste_bytes
    }

    /// Bytes of all blocks that are mapped.
    pub const fn mapped_bytes(&self) -> u64 {
        self.mapped * self.geometry.block_bytes as u64
    }

    /// Blocks that are mapped and empty.
    pub const fn spare_blocks(&self) -> u64 {
        self.spare.len() as u64
    }

    /// Bytes of records that are dead.
    pub fn dead_bytes(&self) -> u64 {
        let used_up = self.mapped - self.spare.len() as u64;
        let still_free: u64 = self.open.iter().flatten().map(|&block| self.room_in(block) as u64).sum();
        used_up * self.geometry.block_bytes() - still_free - self.live_bytes - self.waste_bytes
    }

    /// The memory that is kept to know of the blocks, in bytes.
    pub const fn table_bytes(&self) -> u64 {
        let segments = self.mapped_bytes() / SEGMENT_BYTES as u64 * size_of::<Segment>() as u64;
        segments + (self.blocks.capacity() * size_of::<Option<Block>>()) as u64
    }

    /// How many bytes can still be appended to `stream` before a further block must be opened.
    pub fn room(&self, stream: Stream) -> usize {
        self.open[stream as usize].map_or(0, |block| self.room_in(block))
    }

    fn room_in(&self, block: BlockId) -> usize {
        self.geometry.block_bytes as usize - self.block(block).used as usize
    }

    /// Closes what `stream` appends to and opens a further block: a spare one if there is one, else one that is mapped
    /// now.
    ///
    /// # Errors
    /// If the kernel refuses; everything is as it was then.
    pub fn open_block(&mut self, stream: Stream) -> Result<(), NoMemory> {
        self.stock(1)?;
        if let Some(block) = self.open[stream as usize].take() {
            self.close(block);
        }
        let id = self.spare.pop().expect("a spare block has just been seen to");
        let block = self.block_mut(id);
        block.state = State::Open;
        self.open[stream as usize] = Some(id);
        Ok(())
    }

    /// Maps blocks until so many are spare.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn stock(&mut self, blocks: u64) -> Result<(), NoMemory> {
        while self.spare_blocks() < blocks {
            let id = self.map()?;
            self.spare.push(id);
        }
        Ok(())
    }

    fn close(&mut self, id: BlockId) {
        let waste = self.room_in(id) as u32;
        let block = self.block_mut(id);
        block.state = State::Closed;
        block.waste = waste;
        let is_dead = block.live == 0;
        self.waste_bytes += u64::from(waste);
        if is_dead {
            self.vacate(id);
        }
    }

    fn map(&mut self) -> Result<BlockId, NoMemory> {
        let memory = Region::new(self.geometry.block_bytes as usize)?;
        let segments = vec![Segment::EMPTY; memory.len() / SEGMENT_BYTES].into_boxed_slice();
        let (state, due) = (State::Spare, Moment::NEVER);
        let block = Block { memory, state, used: 0, live: 0, waste: 0, due, segments };
        self.mapped += 1;
        if let Some(id) = self.unmapped.pop() {
            self.blocks[id.index()] = Some(block);
            return Ok(id);
        }
        let bytes = (self.blocks.len() as u64 + 1) * self.geometry.block_bytes();
        assert!(bytes <= self.geometry.bytes_max(), "a shard's limit is what its log can address");
        self.blocks.push(Some(block));
        Ok(BlockId(self.blocks.len() as u32 - 1))
    }

    /// Gives a spare block back to the kernel; false if there is none.
    pub fn unmap_spare(&mut self) -> bool {
        let Some(id) = self.spare.pop() else { return false };
        self.blocks[id.index()] = None;
        self.unmapped.push(id);
        self.mapped -= 1;
        true
    }

    /// Takes `len` bytes at the end of `stream` for a record that lives. The caller writes it there.
    ///
    /// # Panics
    /// If the block that is open has no room for it.
    pub fn append(&mut self, stream: Stream, len: usize) -> Loc {
        let room = self.geometry.room(len);
        let id = self.open[stream as usize].expect("a block is opened before anything is appended");
        let geometry = self.geometry;
        let block = self.block_mut(id);
        let offset = block.used as usize;
        assert!(offset + room <= geometry.block_bytes as usize, "a record fits into the block that was opened for it");
        block.used += room as u32;
        block.live += room as u32;
        let segment = &mut block.segments[offset / SEGMENT_BYTES];
        if segment.first == NO_RECORD {
            segment.first = (offset % SEGMENT_BYTES) as u16;
        }
        self.live_bytes += room as u64;
        geometry.loc(id, offset)
    }

    /// Leaves word that the record at `loc` is dead.
    pub fn free(&mut self, loc: Loc) {
        let (id, offset) = self.geometry.place(loc);
        let geometry = self.geometry;
        let block = self.block_mut(id);
        let bytes = &mut block.memory[offset..];
        debug_assert!(!Record(bytes).is_dead(), "a record dies once");
        let room = geometry.room(Record(bytes).len()) as u32;
        record::mark_dead(bytes);
        block.live -= room;
        let (is_dead, state) = (block.live == 0, block.state);
        self.live_bytes -= u64::from(room);
        match state {
            State::Closed if is_dead => self.vacate(id),
            State::Open if is_dead => self.block_mut(id).clear(State::Open),
            _ => {}
        }
    }

    /// A closed block without live records can be used again.
    fn vacate(&mut self, id: BlockId) {
        let waste = self.block(id).waste;
        self.waste_bytes -= u64::from(waste);
        self.block_mut(id).clear(State::Spare);
        self.spare.push(id);
        self.cleaning = self.cleaning.filter(|&(cleaned, _)| cleaned != id);
    }

    /// The bytes from the beginning of the record at `loc` to the end of its block.
    #[inline]
    pub fn at(&self, loc: Loc) -> &[u8] {
        let (id, offset) = self.geometry.place(loc);
        &self.block(id).memory[offset..]
    }

    /// The bytes from the beginning of the record at `loc` to the end of its block, to be changed.
    pub fn at_mut(&mut self, loc: Loc) -> &mut [u8] {
        let (id, offset) = self.geometry.place(loc);
        &mut self.block_mut(id).memory[offset..]
    }

    /// Copies the record at `from` to the end of [`Stream::Moved`], where there must be room, and leaves the old one as
    /// it is. Returns where it lies now.
    pub fn copy(&mut self, from: Loc) -> Loc {
        let len = Record(self.at(from)).len();
        let to = self.append(Stream::Moved, len);
        let ((source, start), (target, end)) = (self.geometry.place(from), self.geometry.place(to));
        assert!(source != target, "a record moves out of its block");
        let [Ok(source), Ok(target)] = self.two_blocks(source, target).map(|it| it.as_mut().ok_or(())) else {
            unreachable!("both blocks hold records")
        };
        target.memory[end..end + len].copy_from_slice(&source.memory[start..start + len]);
        to
    }

    fn two_blocks(&mut self, one: BlockId, other: BlockId) -> [&mut Option<Block>; 2] {
        let places = self.blocks.get_disjoint_mut([one.index(), other.index()]);
        places.expect("two blocks are two and exist")
    }

    /// The next record to be moved so that a block becomes free: one of the block with most dead bytes, until that is
    /// free. Returns it, and how many bytes were passed to find it; `None` if there are no dead bytes in closed blocks.
    ///
    /// The record must be moved before this is asked again.
    pub fn next_to_move(&mut self) -> Option<(Loc, usize)> {
        let (id, begun) = self.cleaning.or_else(|| Some((self.emptiest()?, 0)))?;
        let mut offset = begun;
        while let Some((loc, next)) = self.record_at(id, offset) {
            offset = next;
            if !Record(self.at(loc)).is_dead() {
                self.cleaning = Some((id, offset));
                return Some((loc, offset - begun));
            }
        }
        unreachable!("a block is free as soon as its last record is dead or moved")
    }

    /// Has [`Self::next_to_move`] begin again with the record at `loc`, which it has given and which was not moved.
    pub fn put_off(&mut self, loc: Loc) {
        self.cleaning = Some(self.geometry.place(loc));
    }

    /// The closed block with most dead bytes, if it has any.
    fn emptiest(&self) -> Option<BlockId> {
        let closed = self.numbered().filter(|(_, block)| block.state == State::Closed);
        let (id, block) = closed.max_by_key(|(_, block)| block.dead())?;
        (block.dead() > 0).then_some(id)
    }

    /// Dead bytes of the block that is being cleaned, or would be next; 0 if there is none.
    pub fn dead_bytes_to_gain(&self) -> u64 {
        let id = self.cleaning.map(|(id, _)| id).or_else(|| self.emptiest());
        id.map_or(0, |id| u64::from(self.block(id).dead()))
    }

    /// The record at `offset` of a block and the offset of the next one; `None` at the end.
    fn record_at(&self, id: BlockId, offset: usize) -> Option<(Loc, usize)> {
        let block = self.block(id);
        (offset < block.used as usize).then(|| {
            let next = offset + self.geometry.room(Record(&block.memory[offset..]).len());
            (self.geometry.loc(id, offset), next)
        })
    }

    /// All records of a block, dead or not.
    pub fn records(&self, id: BlockId) -> impl Iterator<Item = Loc> {
        let first = self.record_at(id, 0);
        std::iter::successors(first, move |&(_, next)| self.record_at(id, next)).map(|(loc, _)| loc)
    }

    /// All records that begin in a segment, dead or not.
    pub fn records_of(&self, id: SegmentId) -> impl Iterator<Item = Loc> {
        let begin = id.segment * SEGMENT_BYTES;
        let first = self.block(id.block).segments[id.segment].first;
        let first = if first == NO_RECORD { None } else { self.record_at(id.block, begin + first as usize) };
        let within = move |&(_, next): &(Loc, usize)| (next < begin + SEGMENT_BYTES).then_some(next);
        std::iter::successors(first, move |at| self.record_at(id.block, within(at)?)).map(|(loc, _)| loc)
    }

    /// At most `segments_max` segments that hold an entry whose deadline has passed, or did before it was freed.
    pub fn due_segments(&self, now_ms: u64, segments_max: usize) -> Vec<SegmentId> {
        let is_due = |due: Moment| due.as_ms() <= now_ms;
        let due_blocks = self.numbered().filter(|(_, block)| is_due(block.due));
        let due = due_blocks.flat_map(|(block, found)| {
            let segments = found.segments.iter().enumerate().filter(|(_, segment)| is_due(segment.due));
            segments.map(move |(segment, _)| SegmentId { block, segment })
        });
        due.take(segments_max).collect()
    }

    /// When the first segment is due.
    pub fn due_ms(&self) -> u64 {
        self.numbered().map(|(_, block)| block.due).min().unwrap_or(Moment::NEVER).as_ms()
    }

    fn numbered(&self) -> impl Iterator<Item = (BlockId, &Block)> {
        (0..).map(BlockId).zip(&self.blocks).filter_map(|(id, block)| block.as_ref().map(|block| (id, block)))
    }

    /// Takes note of the deadline of the record at `loc`; returns when its segment is due because of it.
    pub fn note_deadline(&mut self, loc: Loc, deadline_ms: u64) -> u64 {
        let (id, offset) = self.geometry.place(loc);
        let due = Moment::from_ms(deadline_ms);
        let block = self.block_mut(id);
        let segment = &mut block.segments[offset / SEGMENT_BYTES];
        segment.due = segment.due.min(due);
        block.due = block.due.min(due);
        due.as_ms()
    }

    /// Says what is the first deadline in a segment; `u64::MAX` for none.
    pub fn set_first_deadline(&mut self, id: SegmentId, deadline_ms: u64) {
        let block = self.block_mut(id.block);
        block.segments[id.segment].due = Moment::from_ms(deadline_ms);
        block.due = block.segments.iter().map(|segment| segment.due).min().unwrap_or(Moment::NEVER);
    }

    #[inline]
    fn block(&self, id: BlockId) -> &Block {
        self.blocks[id.index()].as_ref().expect("a block that is named is mapped")
    }

    fn block_mut(&mut self, id: BlockId) -> &mut Block {
        self.blocks[id.index()].as_mut().expect("a block that is named is mapped")
    }

    /// Checks the log against itself; `is_known` says whether somebody else knows of a live record.
    pub fn assert_invariants(&self, mut is_known: impl FnMut(Loc, Kind) -> bool) {
        let (mut live_bytes, mut waste_bytes, mut mapped) = (0, 0, 0);
        for (id, block) in self.numbered() {
            let (mut used, mut live) = (0, 0);
            for loc in self.records(id) {
                let record = Record(self.at(loc));
                let room = self.geometry.room(record.len());
                used += room;
                if record.is_dead() {
                    continue;
                }
                live += room;
                assert!(is_known(loc, record.kind()), "what lives at {loc:?} is known");
                if record.kind() == Kind::Entry {
                    let deadline = record::Entry(record.0).deadline_ms().unwrap_or(u64::MAX);
                    let segment = self.geometry.place(loc).1 / SEGMENT_BYTES;
                    assert!(block.segments[segment].due <= Moment::from_ms(deadline), "no deadline is missed");
                }
            }
            assert_eq!((used, live), (block.used as usize, block.live as usize), "{id:?} adds up");
            let waste = if block.state == State::Closed { self.room_in(id) } else { 0 };
            assert_eq!(block.waste as usize, waste, "what a closed block has left is waste");
            let due = block.segments.iter().map(|segment| segment.due).min();
            assert_eq!(due, Some(block.due), "a block is due when its first segment is");
            let of_segments =
                (0..block.segments.len()).flat_map(|segment| self.records_of(SegmentId { block: id, segment }));
            assert!(of_segments.eq(self.records(id)), "every record begins in one segment");
            assert_eq!(self.spare.contains(&id), block.state == State::Spare);
            assert_eq!(self.open.contains(&Some(id)), block.state == State::Open);
            assert!(block.live > 0 || block.state != State::Closed, "a closed block has something in it");
            assert!(block.used == 0 || block.state != State::Spare, "a spare block is empty");
            live_bytes += live as u64;
            waste_bytes += waste as u64;
            mapped += 1;
        }
        assert_eq!((live_bytes, waste_bytes, mapped), (self.live_bytes, self.waste_bytes, self.mapped));
        assert_eq!(self.unmapped.len() as u64 + mapped, self.blocks.len() as u64, "a block is mapped or not");
    }
}
