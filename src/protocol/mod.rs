//! Bytes to commands and outcomes to bytes: HTTP/1.1 heads and bodies, JSON, answers. Knows no shard and no socket.

pub mod route;
