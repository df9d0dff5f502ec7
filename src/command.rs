//! What a shard can be asked, and what it answers. No wire format, no cores.
//!
//! Both sides are generic over `B`, how bytes are held: `&[u8]` where they can be borrowed (a request of this core's
//! own), [`Span`] where they travel to another core inside a [`crate::parcel::Parcel`].

use crate::blob::Blob;
use crate::routing::KeyHash;
use crate::time::{Ttl, UnixMillis};
use smallvec::SmallVec;

/// A place in a byte buffer that travels along.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

/// Names one write of a key; no other successful write of that key ever had or will have the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Version(pub u64);

/// The type of a value, as clients see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueKind {
    /// A JSON string.
    String,
    /// A JSON number, digit for digit as it was written.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A JSON object or array.
    Json,
    /// Bytes with a media type, not JSON.
    Bytes,
}

impl ValueKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::String, Self::Number, Self::Boolean, Self::Json, Self::Bytes];

    /// The name in answers and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Json => "json",
            Self::Bytes => "bytes",
        }
    }
}

/// The versions that a condition names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionSet {
    /// `*`: any version.
    Any,
    /// These; a text that cannot be a version matches none and is left out.
    These(SmallVec<[Version; 2]>),
}

impl VersionSet {
    /// Whether an entry that is at `version` (`None`: no entry) is among them.
    #[must_use]
    pub fn contains(&self, version: Option<Version>) -> bool {
        match (self, version) {
            (_, None) => false,
            (Self::Any, Some(_)) => true,
            (Self::These(versions), Some(version)) => versions.contains(&version),
        }
    }
}

/// What must be true of the entry for a write to take place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// `If-Match`: the entry exists and has one of these versions.
    pub if_match: Option<VersionSet>,
    /// `If-None-Match`: there is no entry, or it has none of these versions.
    pub if_none_match: Option<VersionSet>,
}

impl Conditions {
    /// Whether a write may go ahead over an entry at `version` (`None`: no entry).
    #[must_use]
    pub fn hold_for(&self, version: Option<Version>) -> bool {
        self.if_match.as_ref().is_none_or(|set| set.contains(version))
            && self.if_none_match.as_ref().is_none_or(|set| !set.contains(version))
    }
}

/// A value on its way into a shard.
#[derive(Debug)]
pub enum Payload<B> {
    /// At most [`crate::limits::INLINE_VALUE_BYTES_MAX`] bytes.
    Inline(B),
    /// More than that.
    Blob(Blob),
}

/// A write.
#[derive(Debug)]
pub struct Put<B> {
    /// The type of the value.
    pub kind: ValueKind,
    /// The exact JSON text, or the raw bytes of a [`ValueKind::Bytes`].
    pub payload: Payload<B>,
    /// How many bytes the value has when it is sent raw: for strings the unescaped text, else the payload's length.
    pub raw_len: u64,
    /// The media type of a [`ValueKind::Bytes`], else empty.
    pub media: B,
    /// When it expires.
    pub ttl: Ttl,
    /// When it may take place.
    pub conditions: Conditions,
}

/// A question about one key.
#[derive(Debug)]
pub struct Command<B> {
    /// The key: 1 to 250 characters of UTF-8 without NUL.
    pub key: B,
    /// Its hash.
    pub hash: KeyHash,
    /// What is asked.
    pub verb: Verb<B>,
}

impl<B> Command<B> {
    /// The long value that it carries, to be disposed of in slices if the command is not carried out.
    #[must_use]
    pub fn into_blob(self) -> Option<Blob> {
        match self.verb {
            Verb::Put(Put { payload: Payload::Blob(blob), .. }) => Some(blob),
            _ => None,
        }
    }
}

/// What is asked of one key.
#[derive(Debug)]
pub enum Verb<B> {
    /// Read. Counts as a use of the entry, and as a hit or a miss.
    Get {
        /// Answer [`Outcome::NotModified`] if the entry has one of these versions.
        unless: Option<VersionSet>,
        /// Whether the value is wanted as well, or its description only.
        with_value: bool,
    },
    /// Create or replace.
    Put(Put<B>),
    /// Remove.
    Delete {
        /// When it may take place.
        conditions: Conditions,
    },
    /// Add to a number; an absent key counts as 0.
    Incr {
        /// What to add.
        delta: i64,
        /// The new expiry; `None` keeps the one that the entry has.
        ttl: Option<Ttl>,
    },
}

/// What is known of an entry besides its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// The type of the value.
    pub kind: ValueKind,
    /// The write that it comes from.
    pub version: Version,
    /// First write since the key was last absent.
    pub created_at: UnixMillis,
    /// Last write.
    pub updated_at: UnixMillis,
    /// When it expires, and whole seconds left until then.
    pub expires: Option<Expires>,
    /// Bytes of the payload as it is stored.
    pub len: u64,
    /// Bytes of the value when it is sent raw.
    pub raw_len: u64,
}

/// When an entry expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expires {
    /// On the wall clock.
    pub at: UnixMillis,
    /// Whole seconds left, rounded down.
    pub ttl_secs: u32,
}

/// A hold on a long value that is being sent: its bytes stay readable, at the shard that gave it, until it is
/// released, even if the entry is replaced, evicted or expires meanwhile. Every lease must be released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaseId(pub u64);

/// A value on its way out of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<B> {
    /// Not asked for.
    Omitted,
    /// At most [`crate::limits::INLINE_VALUE_BYTES_MAX`] bytes.
    Inline(B),
    /// To be read piece by piece.
    Leased(LeaseId),
}

impl<B> Value<B> {
    /// The same with what `of` makes of its bytes.
    pub fn map<C>(self, of: impl FnOnce(B) -> C) -> Value<C> {
        match self {
            Self::Omitted => Value::Omitted,
            Self::Inline(bytes) => Value::Inline(of(bytes)),
            Self::Leased(lease) => Value::Leased(lease),
        }
    }
}

/// The decimal text of a counter: at most 32 bytes.
pub type NumberText = SmallVec<[u8; 32]>;

/// What became of a command. Whatever is not a success has changed nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome<B> {
    /// The entry, for a Get.
    Found {
        /// What is known of it.
        meta: Meta,
        /// The media type of a [`ValueKind::Bytes`], else empty.
        media: B,
        /// The value.
        value: Value<B>,
    },
    /// The client has this version already.
    NotModified {
        /// The entry's version.
        version: Version,
    },
    /// A Put took place.
    Written {
        /// Whether there was no entry before.
        created: bool,
        /// The new version.
        version: Version,
        /// When it expires.
        expires_at: Option<UnixMillis>,
    },
    /// A Delete took place.
    Deleted,
    /// There is no such entry.
    Missing,
    /// A condition does not hold.
    Conflict {
        /// The version that the entry has, `None` if there is no entry.
        actual: Option<Version>,
    },
    /// An Incr took place.
    Counted {
        /// The new value, as JSON text.
        value: NumberText,
        /// The new version.
        version: Version,
    },
    /// The command could not be carried out.
    Refused(Refusal),
}

impl<B> Outcome<B> {
    /// The same with what `of` makes of its bytes: the media type first, then the value.
    pub fn map<C>(self, mut of: impl FnMut(B) -> C) -> Outcome<C> {
        match self {
            Self::Found { meta, media, value } => Outcome::Found { meta, media: of(media), value: value.map(of) },
            Self::NotModified { version } => Outcome::NotModified { version },
            Self::Written { created, version, expires_at } => Outcome::Written { created, version, expires_at },
            Self::Deleted => Outcome::Deleted,
            Self::Missing => Outcome::Missing,
            Self::Conflict { actual } => Outcome::Conflict { actual },
            Self::Counted { value, version } => Outcome::Counted { value, version },
            Self::Refused(refusal) => Outcome::Refused(refusal),
        }
    }
}

/// Why a command was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
pub enum Refusal {
    /// Incr of something that is not a number.
    NotANumber,
    /// Incr beyond what 64 bits, or a finite float, can hold.
    Overflow,
    /// The entry would not fit into the shard's part of the memory budget even if it were alone there.
    OverBudget,
    /// The entry does not fit beside long values that are being sent or received; later it may.
    NoRoom,
    /// The command reached the shard after its deadline.
    TooLate,
    /// The command did not reach the shard: too many others wait there.
    Busy,
}

impl Refusal {
    /// The reason, for the client.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::NotANumber => "the value of this key is not a number",
            Self::Overflow => "the result does not fit into a 64-bit integer or a finite number",
            Self::OverBudget => "the value does not fit into this shard's part of the memory budget",
            Self::NoRoom => "there is no room in the memory budget beside what is being sent and received",
            Self::TooLate => "the request waited longer than REQUEST_TIMEOUT_MS",
            Self::Busy => "the shard of this key has as much to do as MAX_SHARD_MAILBOX allows",
        }
    }
}
