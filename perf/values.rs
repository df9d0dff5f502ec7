//! Keys of 16 bytes, and values that do not compress and prove on their way back that they are whole and the key's own.
//!
//! A value's first word holds its length and the number of the write that made it, masked with what follows from the key;
//! all further words follow from the first. Text has the first word in hexadecimal, and a character for each further byte.

use crate::scramble::scramble;

/// Shortest value as bytes.
pub const BYTES_MIN: usize = 8;
/// Shortest value as text.
pub const TEXT_MIN: usize = 16;
/// Characters that JSON, HTTP and URLs all leave alone.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

const HEX: &[u8; 16] = b"0123456789abcdef";

/// How values look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Any bytes.
    Bytes,
    /// Characters of `ALPHABET`.
    Text,
}

/// Appends the key of this number.
pub fn append_key(output: &mut Vec<u8>, number: u64) {
    let mut digits = *b"key-000000000000";
    let mut rest = number;
    for digit in digits[4..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    output.extend_from_slice(&digits);
}

/// Appends what write number `write` puts under key number `key`, `length` bytes of it.
pub fn append_value(output: &mut Vec<u8>, form: Form, key: u64, length: usize, write: u32) {
    append_words(output, form, scramble(key) ^ ((length as u64) << 32 | u64::from(write)), length);
}

/// Whether `value` is what some write put under key number `key`, whole.
pub fn is_value_of(key: u64, form: Form, value: &[u8], scratch: &mut Vec<u8>) -> bool {
    let first = match form {
        Form::Bytes => value.first_chunk::<BYTES_MIN>().map(|first| u64::from_le_bytes(*first)),
        Form::Text => {
            value.get(..TEXT_MIN).and_then(|hex| u64::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok())
        }
    };
    let Some(first) = first.filter(|first| (first ^ scramble(key)) >> 32 == value.len() as u64) else {
        return false;
    };
    scratch.clear();
    append_words(scratch, form, first, value.len());
    scratch == value
}

fn append_words(output: &mut Vec<u8>, form: Form, first: u64, length: usize) {
    let end = output.len() + length;
    output.reserve(length + size_of::<u64>());
    match form {
        Form::Bytes => output.extend_from_slice(&first.to_le_bytes()),
        Form::Text => output.extend((0..TEXT_MIN).map(|place| HEX[(first >> (60 - 4 * place)) as usize % 16])),
    }
    let mut word = first;
    while output.len() < end {
        word = word.wrapping_add(1);
        let mut bytes = scramble(word).to_le_bytes();
        if form == Form::Text {
            bytes = bytes.map(|byte| ALPHABET[usize::from(byte % 64)]);
        }
        output.extend_from_slice(&bytes);
    }
    output.truncate(end);
}
