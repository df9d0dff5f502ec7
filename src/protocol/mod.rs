//! Bytes to commands and outcomes to bytes: HTTP/1.1 heads and bodies, JSON, answers. Knows no shard and no socket.

pub mod answer;
pub mod auth;
pub mod body;
pub mod chunked;
pub mod conditions;
pub mod familiar;
mod fields;
pub mod head;
pub mod json;
pub mod media;
pub mod route;
pub mod target;
