//! Which shard owns a key: what a client must know to reach it without a hop.

use crate::Result;
use crate::answers::complete_answer;
use crate::options::Options;
use crate::{PATIENCE, values};
use serde::Deserialize;
use siphasher::sip::SipHasher13;
use std::hash::Hasher as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

/// What `/v1/topology` tells.
#[derive(Debug, Deserialize)]
pub struct Topology {
    shards: u64,
    hash: String,
    /// Hexadecimal.
    seed: [String; 2],
}

impl Topology {
    /// Asks the first address.
    ///
    /// # Errors
    /// If it does not tell, or something that is not known here.
    pub fn ask(options: &Options) -> Result<Self> {
        let mut stream = TcpStream::connect(&options.addresses[0])?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let token = options.token.as_deref().unwrap_or_default();
        write!(
            stream,
            "GET /v1/topology HTTP/1.1\r\nHost: cache\r\nX-API-Token: {token}\r\nConnection: close\r\n\r\n"
        )?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        let answer = complete_answer(&bytes)?.ok_or("half an answer about the topology")?;
        if answer.status != 200 {
            return Err(format!("/v1/topology: {}", answer.status).into());
        }
        let topology: Self = serde_json::from_slice(&bytes[answer.body])?;
        if topology.hash == "siphash-1-3" && topology.shards > 0 {
            Ok(topology)
        } else {
            Err(format!("a topology that this client does not know: {topology:?}").into())
        }
    }

    /// The numbers of the keys that each shard owns.
    pub fn keys_of_shards(&self, keys: u64) -> Result<Vec<Vec<u64>>> {
        let half = |text: &str| u64::from_str_radix(text, 16);
        let hasher = SipHasher13::new_with_keys(half(&self.seed[0])?, half(&self.seed[1])?);
        let mut keys_of = vec![Vec::new(); usize::try_from(self.shards)?];
        let mut text = Vec::new();
        for key in 0..keys {
            text.clear();
            values::append_key(&mut text, key);
            let mut hasher = hasher;
            hasher.write(&text);
            let owner = ((hasher.finish() >> 32) * self.shards) >> 32;
            keys_of[owner as usize].push(key);
        }
        Ok(keys_of)
    }
}
