//! Media types: most entries share a few, so each is kept once and named by a byte.

use crate::limits::MEDIA_TYPES_KEPT;

/// Stands before a media type that has no number.
pub const INLINE: u8 = u8::MAX;

const _: () = assert!(MEDIA_TYPES_KEPT < INLINE as usize, "every number fits into a byte beside INLINE");

/// A media type in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaRef<'a> {
    /// There is none.
    None,
    /// The one with this number.
    Known(u8),
    /// This one.
    Inline(&'a [u8]),
}

impl<'a> MediaRef<'a> {
    /// How many bytes it takes in a record.
    pub const fn len(self) -> usize {
        match self {
            Self::None => 0,
            Self::Known(_) => 1,
            Self::Inline(text) => 2 + text.len(),
        }
    }

    /// Writes it and returns how many bytes it took.
    pub fn write(self, out: &mut [u8]) -> usize {
        match self {
            Self::None => {}
            Self::Known(number) => out[0] = number,
            Self::Inline(text) => {
                (out[0], out[1]) = (INLINE, text.len() as u8);
                out[2..2 + text.len()].copy_from_slice(text);
            }
        }
        self.len()
    }

    /// Reads one that was written.
    pub fn read(from: &'a [u8]) -> Self {
        match from[0] {
            INLINE => Self::Inline(&from[2..2 + from[1] as usize]),
            number => Self::Known(number),
        }
    }
}

/// How many bytes the one takes that is written at the beginning of `from`.
pub fn stored_len(from: &[u8]) -> usize {
    if from[0] == INLINE { 2 + from[1] as usize } else { 1 }
}

/// The media types of one shard, by number. None is ever forgotten: there are few, and their bytes are bounded.
#[derive(Debug, Default)]
pub struct MediaTypes {
    kept: Vec<Box<[u8]>>,
    bytes: u64,
}

impl MediaTypes {
    /// How to name `text` in a record. The first [`MEDIA_TYPES_KEPT`] get a number.
    pub fn name<'a>(&mut self, text: &'a [u8]) -> MediaRef<'a> {
        if text.is_empty() {
            return MediaRef::None;
        }
        if let Some(number) = self.kept.iter().position(|kept| **kept == *text) {
            return MediaRef::Known(number as u8);
        }
        if self.kept.len() == MEDIA_TYPES_KEPT {
            return MediaRef::Inline(text);
        }
        self.kept.push(text.into());
        self.bytes += (text.len() + size_of::<Box<[u8]>>()) as u64;
        MediaRef::Known((self.kept.len() - 1) as u8)
    }

    /// The media type that a record names.
    pub fn text<'a>(&'a self, media: MediaRef<'a>) -> &'a [u8] {
        match media {
            MediaRef::None => &[],
            MediaRef::Known(number) => &self.kept[number as usize],
            MediaRef::Inline(text) => text,
        }
    }

    /// The memory that they take, in bytes.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_is_kept_once_and_those_beyond_the_bound_stay_with_their_entries() {
        let mut types = MediaTypes::default();
        let text = |n: usize| format!("type/{n}").into_bytes();
        for n in (0..MEDIA_TYPES_KEPT).chain(0..MEDIA_TYPES_KEPT) {
            let text = text(n);
            let named = types.name(&text);
            assert_eq!(named, MediaRef::Known(n as u8));
            assert_eq!(types.text(named), &text[..]);
        }
        let further = text(MEDIA_TYPES_KEPT);
        let (bytes, named) = (types.bytes(), types.name(&further));
        assert_eq!((named, types.text(named), types.bytes()), (MediaRef::Inline(&further), &further[..], bytes));
        assert_eq!(types.name(b""), MediaRef::None);
    }

    #[test]
    fn a_type_reads_as_it_was_written() {
        for media in [MediaRef::Known(3), MediaRef::Inline(&[b'x'; 255])] {
            let mut out = [0; 300];
            let len = media.write(&mut out);
            assert_eq!((len, stored_len(&out), MediaRef::read(&out)), (media.len(), media.len(), media));
        }
    }
}
