//! `{"keys":[…]}` and `{"items":[…]}`

use super::BodyError;
use super::capture::{Captured, Copied};
use super::members::{Bounded, Members, NAME_BYTES_MAX, SentKey};
use super::put::{StreamedPut, streamed_put};
use crate::limits::BATCH_ITEMS_MAX;
use crate::protocol::json::scanner::{Container, Kind, Scanner};
use crate::protocol::json::text::Unescaper;
use crate::protocol::target::check_key;
use smallvec::SmallVec;

/// What becomes of the elements of a list.
trait Elements {
    /// The name of the member that holds the list.
    const NAME: &'static [u8];
    /// Forgets everything: the list begins.
    fn begin(&mut self);
    /// How many levels of the body are to be told apart; 2 is that of the elements.
    fn detail(&self) -> usize;
    /// Takes in a token within the list.
    fn token(&mut self, kind: Kind, text: &[u8], raw_len: u64) -> Result<(), BodyError>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Before,
    /// Between two members.
    Between,
    Name,
    /// Between the name and the value of the member that holds the list.
    BeforeList,
    List,
    /// Between the name and the end of any other member.
    Other,
    Behind,
}

/// Reads an object one member of which is a list.
#[derive(Debug)]
struct ListReader<E> {
    scanner: Scanner,
    at: At,
    name: Bounded<NAME_BYTES_MAX>,
    unescaper: Unescaper,
    /// Whether the last member of the right name was a list.
    has_list: bool,
    elements: E,
}

impl<E: Elements> ListReader<E> {
    fn new(elements: E) -> Self {
        Self {
            scanner: Scanner::new(3),
            at: At::Before,
            name: Bounded::default(),
            unescaper: Unescaper::new(),
            has_list: false,
            elements,
        }
    }

    fn feed(&mut self, mut input: &[u8]) -> Result<(), BodyError> {
        loop {
            let detail = if self.at == At::List { self.elements.detail() } else { 1 };
            let token = self.scanner.next(input, detail)?;
            let (text, rest) = input.split_at(token.len);
            self.token(token.kind, text)?;
            if token.kind == Kind::More {
                return Ok(());
            }
            input = rest;
        }
    }

    fn token(&mut self, kind: Kind, text: &[u8]) -> Result<(), BodyError> {
        let ends_value = matches!(kind, Kind::Close(_) | Kind::StringClose { .. } | Kind::ScalarClose);
        match (self.at, kind) {
            (At::List, Kind::Close(_)) if self.scanner.depth() == 1 => self.at = At::Between,
            (At::List, _) => return self.elements.token(kind, text, self.scanner.string_raw_len()),
            (_, Kind::Gap | Kind::More) => {}
            (At::Before, Kind::Open(Container::Object)) => self.at = At::Between,
            (At::Before | At::Behind, _) => return Err(BodyError::NotAnObject),
            (At::Between, Kind::StringOpen { .. }) => {
                self.name.clear();
                self.unescaper = Unescaper::new();
                self.at = At::Name;
            }
            (At::Between, _) => self.at = At::Behind,
            (At::Name, Kind::StringText) => self.unescaper.feed(text, |part| self.name.push(part)),
            (At::Name, _) => {
                self.unescaper.finish(|part| self.name.push(part));
                self.at = if self.name.whole() == Some(E::NAME) { At::BeforeList } else { At::Other };
            }
            (At::BeforeList, Kind::Open(Container::Array)) => {
                (self.at, self.has_list) = (At::List, true);
                self.elements.begin();
            }
            (At::BeforeList, _) => (self.at, self.has_list) = (At::Other, false),
            (At::Other, _) if ends_value => self.at = At::Between,
            (At::Other, _) => {}
        }
        Ok(())
    }

    /// The elements, `None` if there was no list, at the end of the body.
    fn finish(self) -> Result<Option<E>, BodyError> {
        self.scanner.finish()?;
        Ok(self.has_list.then_some(self.elements))
    }
}

/// Reads the keys of a batch; keeps at most a hundred of them.
#[derive(Debug)]
pub struct KeysReader(ListReader<Keys>);

#[derive(Debug, Default)]
struct Keys {
    keys: Vec<SentKey>,
    current: SentKey,
    unescaper: Unescaper,
    /// Whether there is something else than a string, or too much.
    bad: bool,
}

impl Elements for Keys {
    const NAME: &'static [u8] = b"keys";

    fn begin(&mut self) {
        *self = Self::default();
    }

    fn detail(&self) -> usize {
        2
    }

    fn token(&mut self, kind: Kind, text: &[u8], _raw_len: u64) -> Result<(), BodyError> {
        match kind {
            Kind::StringOpen { .. } => self.unescaper = Unescaper::new(),
            Kind::StringText => self.unescaper.feed(text, |part| self.current.0.push(part)),
            Kind::StringClose { .. } => {
                self.unescaper.finish(|part| self.current.0.push(part));
                let key = std::mem::take(&mut self.current);
                self.bad |= self.keys.len() == BATCH_ITEMS_MAX;
                if !self.bad {
                    self.keys.push(key);
                }
            }
            Kind::Open(_) | Kind::ScalarOpen(_) => self.bad = true,
            _ => {}
        }
        Ok(())
    }
}

impl Default for KeysReader {
    fn default() -> Self {
        Self::new()
    }
}

impl KeysReader {
    /// At the beginning of a body.
    #[must_use]
    pub fn new() -> Self {
        Self(ListReader::new(Keys::default()))
    }

    /// Takes in the next piece.
    ///
    /// # Errors
    /// See [`BodyError`].
    pub fn feed(&mut self, input: &[u8]) -> Result<(), BodyError> {
        self.0.feed(input)
    }

    /// The keys, 1 to 100, at the end of the body. Each is still to be asked whether it is valid.
    ///
    /// # Errors
    /// See [`BodyError`].
    pub fn finish(self) -> Result<Vec<SentKey>, BodyError> {
        match self.0.finish()? {
            Some(list) if !list.bad && !list.keys.is_empty() => Ok(list.keys),
            _ => Err(BodyError::Keys),
        }
    }
}

/// The keys of `{"keys":["…",…]}`, strings without escapes and nothing else, spelt as most writers spell it: found
/// without going through the body token by token. Each may be a key, and there are 1 to 100. `None` says nothing of
/// the body.
#[must_use]
pub fn plain_keys(body: &[u8]) -> Option<PlainKeys<'_>> {
    let mut rest = after_spaces(body.strip_prefix(b"{\"keys\":")?).strip_prefix(b"[")?.strip_suffix(b"]}")?;
    let mut keys = PlainKeys::new();
    loop {
        let inside = after_spaces(rest).strip_prefix(b"\"")?;
        let end = inside.iter().position(|&byte| byte == b'"')?;
        let key = &inside[..end];
        if keys.len() == BATCH_ITEMS_MAX || check_key(key).is_err() || has_escapes(key) {
            return None;
        }
        keys.push(key);
        rest = &inside[end + 1..];
        if rest.is_empty() {
            return Some(keys);
        }
        rest = rest.strip_prefix(b",")?;
    }
}

/// What follows the spaces that some writers put in front. To JSON, not all is white space that is so to ASCII.
const fn after_spaces(mut text: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] = text {
        text = rest;
    }
    text
}

/// The keys of a batch, where they lie in its body.
pub type PlainKeys<'b> = SmallVec<[&'b [u8]; BATCH_ITEMS_MAX]>;

/// Whether there is a backslash, or what may not stand in a JSON string.
fn has_escapes(inside: &[u8]) -> bool {
    inside.iter().fold(false, |found, &byte| found | (byte < b' ') | (byte == b'\\'))
}

/// One write of a batch.
#[derive(Debug)]
pub struct BatchItem {
    /// What was sent as the key; empty if nothing was.
    pub key: SentKey,
    /// The value, or why this item cannot be written. If it is a value, the key is valid.
    pub put: Result<StreamedPut, BodyError>,
}

/// Reads the items of a batch. An item that is wrong in itself spoils no other.
#[derive(Debug)]
pub struct ItemsReader(ListReader<Items>);

#[derive(Debug)]
struct Items {
    items: Vec<BatchItem>,
    current: Option<Members<Copied>>,
    value_bytes_max: u64,
    captured_bytes: u64,
    /// Whether there are too many.
    bad: bool,
}

impl Items {
    fn new(value_bytes_max: u64) -> Self {
        Self { items: Vec::new(), current: None, value_bytes_max, captured_bytes: 0, bad: false }
    }

    fn add(&mut self, item: BatchItem) {
        self.bad |= self.items.len() == BATCH_ITEMS_MAX;
        if !self.bad {
            self.captured_bytes += item.put.as_ref().map_or(0, |put| put.payload.footprint());
            self.items.push(item);
        }
    }
}

impl Elements for Items {
    const NAME: &'static [u8] = b"items";

    fn begin(&mut self) {
        *self = Self::new(self.value_bytes_max);
    }

    fn detail(&self) -> usize {
        if self.current.is_some() { 3 } else { 2 }
    }

    fn token(&mut self, kind: Kind, text: &[u8], raw_len: u64) -> Result<(), BodyError> {
        if self.current.is_none() && kind == Kind::Open(Container::Object) {
            self.current = Some(Members::new(Copied::new(self.value_bytes_max)));
        }
        if let Some(members) = &mut self.current {
            members.token(kind, text, 0, raw_len)?;
            if members.value.refused == Some(BodyError::NoMemory) {
                // What all items take together must be given back now.
                return Err(BodyError::NoMemory);
            }
            if let Some(mut members) = self.current.take_if(|members| members.is_done()) {
                self.add(item(&mut members));
            }
        } else if matches!(kind, Kind::Open(_) | Kind::StringOpen { .. } | Kind::ScalarOpen(_)) {
            self.add(BatchItem { key: SentKey::default(), put: Err(BodyError::Item) });
        }
        Ok(())
    }
}

fn item(members: &mut Members<Copied>) -> BatchItem {
    let key = members.key_text.clone();
    let put = members.check_key().and_then(|()| streamed_put(members));
    BatchItem { key, put }
}

impl ItemsReader {
    /// At the beginning of a body whose values may have at most `value_bytes_max` bytes of JSON text each.
    #[must_use]
    pub fn new(value_bytes_max: u64) -> Self {
        Self(ListReader::new(Items::new(value_bytes_max)))
    }

    /// Takes in the next piece.
    ///
    /// # Errors
    /// See [`BodyError`].
    pub fn feed(&mut self, input: &[u8]) -> Result<(), BodyError> {
        self.0.feed(input)
    }

    /// The memory that the values take so far, in bytes.
    #[must_use]
    pub fn captured_bytes(&self) -> u64 {
        let items = &self.0.elements;
        items.captured_bytes + items.current.as_ref().map_or(0, |members| members.value.bytes.footprint())
    }

    /// What has been captured of the values, to be disposed of when the body is given up.
    pub fn into_captured(self) -> impl Iterator<Item = Captured> {
        let items = self.0.elements;
        let whole = items.items.into_iter().filter_map(|item| item.put.ok()).map(|put| put.payload);
        whole.chain(items.current.map(|members| members.value.bytes))
    }

    /// The items, 1 to 100, at the end of the body.
    ///
    /// # Errors
    /// See [`BodyError`].
    pub fn finish(self) -> Result<Vec<BatchItem>, BodyError> {
        match self.0.finish()? {
            Some(list) if !list.bad && !list.items.is_empty() => Ok(list.items),
            _ => Err(BodyError::Items),
        }
    }
}
