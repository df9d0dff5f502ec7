//! Every fixed bound of the server in one place, with the relations that must hold between them.
//!
//! What an operator may change is in [`crate::config`]; what stands here is part of the design.

/// Longest key, in characters of UTF-8.
pub const KEY_CHARS_MAX: usize = 250;
/// Longest key, in bytes: a character of UTF-8 takes at most four.
pub const KEY_BYTES_MAX: usize = KEY_CHARS_MAX * 4;

/// Longest request head, in bytes, request line and empty line included.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Most header fields of a request, and of a trailer section.
pub const HEAD_FIELDS_MAX: usize = 64;
/// Sets of header fields that a core remembers, to know them again.
pub const FAMILIAR_HEADS: usize = 4;
/// Longest set of header fields that is remembered, in bytes.
pub const FAMILIAR_BYTES_MAX: usize = 2 * 1024;
/// Longest request ID that is taken from a client, in characters.
pub const REQUEST_ID_CHARS_MAX: usize = 128;
/// Longest chunk-size line of a chunked body, in bytes, extensions included.
pub const CHUNK_LINE_BYTES_MAX: usize = 256;

/// How much a JSON body may exceed the largest value by its envelope, in bytes.
pub const JSON_ENVELOPE_BYTES_MAX: u64 = 4 * 1024;
/// Deepest nesting of arrays and objects in a JSON value.
pub const JSON_DEPTH_MAX: usize = 512;
/// Longest media type that is kept with a `bytes` value, in bytes.
pub const MEDIA_TYPE_BYTES_MAX: usize = 255;
/// Most keys or items of one batch.
pub const BATCH_ITEMS_MAX: usize = 100;
/// A batch's body may always be this large, however small `MAX_ITEM_BYTES` is.
pub const BATCH_BODY_BYTES_MIN: u64 = 1024 * 1024;
/// Longest body that names a counter, in bytes.
pub const INCR_BODY_BYTES_MAX: u64 = 16 * 1024;
/// A body has this long, in milliseconds, before its rate is looked at.
pub const BODY_GRACE_MS: u64 = 10_000;
/// The same where so many bodies are on their way in that no other one is let in.
pub const BODY_GRACE_CROWDED_MS: u64 = 1_000;
/// The part of the requests that a core may have in progress (one of so many) that is kept for those that are there as a whole,
/// on connections that wait for nothing else.
pub const PLACES_KEPT_DIVISOR: usize = 4;
/// Requests that are given a place at once, of those that wait for one, before a core does other things.
pub const ADMITTED_PER_SLICE: usize = 64;
/// How long a request waits for a place among those in progress before it is refused, in milliseconds.
pub const PLACE_PATIENCE_MS: u64 = 100;
/// A body that brings less than this in all, in bytes a second, holds its place for nothing.
pub const BODY_BYTES_PER_SEC_MIN: u64 = 1024;
/// Largest body that is read and dropped on a route that takes none, or after a refusal, before the connection is
/// closed instead.
pub const DISCARD_BYTES_MAX: u64 = 64 * 1024;

/// Values up to this many bytes travel inside a request or an answer; longer ones are kept in chunks and streamed.
pub const INLINE_VALUE_BYTES_MAX: usize = 16 * 1024;
/// Size of one chunk of a long value: a mapping of its own, so that it moves between cores by its address and goes back
/// to the kernel when it is freed.
pub const BLOB_CHUNK_BYTES: usize = 256 * 1024;
/// How many chunks of dead long values a shard gives back to the kernel in one slice of work.
pub const BLOB_CHUNKS_FREED_PER_SLICE: usize = 4;
/// Most chunks that a thread keeps to use again.
pub const CHUNKS_KEPT_PER_THREAD: usize = 4;
/// What a thread keeps is at most this part (one in so many bytes) of its shard's budget.
pub const CHUNKS_KEPT_SHARE_DIVISOR: u64 = 64;
/// Long values are read and sent in steps of this many bytes.
pub const STREAM_STEP_BYTES: usize = 64 * 1024;
/// A long value that is no longer than this is copied behind its head: to tell the kernel of a further piece takes as long.
pub const COPIED_BYTES_MAX: u64 = 32 * 1024;
/// Long values are received, and room is made for them, in steps of this many bytes: some 300 short entries must go for
/// each.
pub const RECEIVE_STEP_BYTES: usize = 32 * 1024;

/// Smallest block of a shard's log: holds the longest record.
pub const BLOCK_BYTES_MIN: usize = 32 * 1024;
/// Largest block of a shard's log: a huge page.
pub const BLOCK_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Block of the log of a shard without a budget.
pub const BLOCK_BYTES_UNLIMITED: usize = 1024 * 1024;
/// A shard's log has about this many blocks when its part of the budget is used up.
pub const BLOCKS_PER_SHARD: u64 = 512;
/// Blocks that must be free or on their way to be free before a block is opened: one for what is written, one for what
/// is moved, the same again half filled, and two more, so that cleaning always finds something to gain.
pub const BLOCKS_IN_RESERVE: u64 = 6;
/// The part of a shard's budget (one in so many bytes) that stays free of live records, so that cleaning is cheap: at
/// 6 %, in the worst case (random overwrites by values of other lengths), some seven bytes are moved for each one written.
pub const SLACK_DIVISOR: u64 = 16;
/// A shard's part of the budget is never taken to be smaller than this: it would hold next to nothing.
pub const SHARD_BUDGET_BYTES_MIN: u64 = 512 * 1024;
/// A piece of a long value's end is not made shorter than this to fill a block.
pub const PIECE_BYTES_MIN: usize = 2 * 1024;

/// Most tables of a shard's index, and fewest.
pub const INDEX_TABLES_MAX: usize = 1024;
/// Fewest tables of a shard's index.
pub const INDEX_TABLES_MIN: usize = 16;
/// The part of a shard's budget (one in so many bytes) above which its index remembers no evicted keys.
pub const INDEX_SHARE_DIVISOR: u64 = 3;
/// Media types that a shard keeps once for all entries that have them; further ones are kept with each entry.
pub const MEDIA_TYPES_KEPT: usize = 250;

/// Size of one of the buffers that a core receives into; its connections share them.
pub const RECEIVE_BUFFER_BYTES: usize = 8 * 1024;
/// How many such buffers a core has: so many connections can have sent something that was not looked at yet.
pub const RECEIVE_BUFFERS: u16 = 256;
/// Requests of one connection that may wait for their answers; further ones stay unread.
pub const PIPELINE_DEPTH_MAX: usize = 64;
/// Plain GETs of one connection that are read before the first of them is answered, if they are there.
pub const READ_AHEAD_MAX: usize = 16;
/// A connection with more unsent output than this is not read from.
pub const OUTPUT_HIGH_WATER_BYTES: usize = 128 * 1024;
/// What the kernel takes of a connection's output beyond what the peer has room for, in bytes; without a limit, some megabytes
/// for each peer that does not read.
pub const KERNEL_UNSENT_BYTES: u32 = 256 * 1024;
/// When the buffers of a core's connections take more than one in so many bytes of its shard's budget, requests wait for
/// earlier answers on their connection to be taken.
pub const BUFFERS_SHARE_DIVISOR: u64 = 8;
/// What a connection may hold in any case, in bytes, when its even share of the room for buffers is smaller.
pub const EVEN_SHARE_BYTES_MIN: u64 = 4 * 1024;
/// What a connection takes besides its buffers, in bytes: its socket, its places in the tables.
pub const CONNECTION_BYTES: u64 = 1024;
/// Empty buffers for answers that a core keeps for whichever connection needs one next.
pub const SPARE_OUTPUTS_MAX: usize = 16;
/// A connection that has been silent for so long keeps no empty buffers, in milliseconds.
pub const BUFFERS_KEPT_MS: u64 = 1_000;
/// A buffer that grew beyond this is given back when it becomes empty.
pub const BUFFER_KEEP_BYTES: usize = 16 * 1024;

/// Envelopes that one core takes from its lanes before it looks at its sockets again.
pub const LANE_BURST_MAX: usize = 256;
/// Pulls of long values and questions of the admin endpoints that wait at one core.
pub const CONTROL_LANE_MAX: usize = 1024;
/// Pulls, releases and questions that one core may have under way; they do not count as requests.
pub const CONTROL_PARCELS_MAX: usize = 1024;
/// Leases that one parcel releases at most.
pub const RELEASES_PER_PARCEL_MAX: usize = 256;
/// Parcels that one core keeps for reuse.
pub const SPARE_PARCELS_MAX: usize = 256;

/// How long a core goes on with work of one kind before the other kinds have their turn, in microseconds.
pub const TURN_US_MAX: u64 = 500;
/// A connection that has been written so many bytes in a turn is written no more in it.
pub const TURN_BYTES_MAX: usize = 512 * 1024;
/// Most pieces that are handed to the kernel at once: the head of an answer, and a value of 1 MiB in its chunks.
pub const GATHERED_MAX: usize = 5;
/// Connections accepted by one listener in a turn.
pub const ACCEPTS_PER_TURN: usize = 16;

/// Most shards of one process.
pub const SHARDS_MAX: u16 = 256;

/// Entries freed in one slice of expiry or eviction work outside of a request.
pub const FREED_PER_SLICE_MAX: usize = 128;
/// Connections looked after in one slice of work outside of a request.
pub const SESSIONS_PER_SLICE: usize = 512;
/// How often a core looks after its connections and its expired entries, in milliseconds.
pub const TICK_MS: u64 = 100;
/// How often the supervisor pings every core, in milliseconds.
pub const PING_MS: u64 = 15;
/// A core that has not answered for so many pings in a row is hung (about ten seconds). Counted in the supervisor's
/// own pings and not in wall time, so that a process that was stopped as a whole does not look hung when it goes on.
pub const HUNG_AFTER_PINGS: u64 = 666;
/// `/healthz` says that a core does not answer after so many pings in a row (about two seconds).
pub const SILENT_AFTER_PINGS: u64 = 133;
/// How long a closing connection is read from, so that the peer can still see the answer, in milliseconds.
pub const LINGER_MS: u64 = 2_000;
/// Pause after an accept that failed for want of file descriptors or memory, in milliseconds.
pub const ACCEPT_RETRY_MS: u64 = 10;
/// What `Retry-After` says to a refused client, in seconds.
pub const RETRY_AFTER_SECS: u32 = 1;

const _: () =
    assert!(SILENT_AFTER_PINGS < HUNG_AFTER_PINGS, "operators hear of a hung core before it ends the process");
const _: () = assert!(INLINE_VALUE_BYTES_MAX <= BLOB_CHUNK_BYTES, "a short value fits into one chunk");
const _: () = assert!(
    KEY_BYTES_MAX + MEDIA_TYPE_BYTES_MAX + INLINE_VALUE_BYTES_MAX + 64 <= BLOCK_BYTES_MIN,
    "the longest record fits into the smallest block"
);
const _: () = assert!(
    SHARD_BUDGET_BYTES_MIN >= 2 * BLOCKS_IN_RESERVE * BLOCK_BYTES_MIN as u64,
    "the smallest shard has as much room for entries as it keeps in reserve"
);
const _: () = assert!(BLOB_CHUNK_BYTES.is_multiple_of(STREAM_STEP_BYTES), "no step crosses a chunk");
const _: () = assert!(RECEIVE_BUFFERS.is_power_of_two(), "the kernel counts a ring's entries by a mask");
const _: () = assert!(KEY_BYTES_MAX * 3 < HEAD_BYTES_MAX, "the longest key, percent-encoded, fits into a head");
const _: () = assert!(
    DISCARD_BYTES_MAX >= JSON_ENVELOPE_BYTES_MAX,
    "what is small enough to be read is small enough to be dropped"
);
const _: () = assert!(LANE_BURST_MAX <= SPARE_PARCELS_MAX, "a burst of answers can be kept for reuse");
const _: () = assert!(KEY_BYTES_MAX <= u16::MAX as usize && INLINE_VALUE_BYTES_MAX <= u32::MAX as usize);
