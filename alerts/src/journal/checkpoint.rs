//! Checkpoints: number and hash of the newest entry of the journal, signed with Ed25519 and kept where whoever can change the database
//! cannot: at a receiver. What was signed holds for all entries up to it.

use super::{Hash, Head};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use model::Micros;
use model::time::{parse, rfc3339};
use serde::{Deserialize, Serialize};

/// A signed entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// The entry.
    pub seq: i64,
    /// Its hash.
    pub hash: Hash,
    /// When it was signed, wall time.
    pub at: Micros,
    /// Public key of who signed, 32 bytes.
    pub key: [u8; 32],
    signature: [u8; 64],
}

/// As it is kept: one JSON object, hex digits.
#[derive(Serialize, Deserialize)]
struct Written {
    seq: i64,
    hash: String,
    time: String,
    key: String,
    signature: String,
}

/// Why a text is no checkpoint.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CheckpointError {
    /// It is not written as one.
    #[error("this is no checkpoint: {0}")]
    Form(String),
    /// It was not signed by that key, or changed since.
    #[error("the signature of the checkpoint of entry {0} does not hold")]
    Signature(i64),
    /// Another key than the one that is trusted.
    #[error("the checkpoint of entry {seq} was signed by another key, {key}")]
    Key {
        /// Its entry.
        seq: i64,
        /// That key.
        key: String,
    },
}

/// What is signed.
fn text(seq: i64, hash: &Hash, at: Micros) -> String {
    format!("firedamp checkpoint\n{seq}\n{}\n{}\n", hex::encode(hash), rfc3339(at))
}

impl Checkpoint {
    /// Reads one and makes sure of its signature, by one of the trusted keys where any are given.
    ///
    /// # Errors
    /// When it is none, or was not signed so.
    pub fn read(json: &str, trusted: &[[u8; 32]]) -> Result<Self, CheckpointError> {
        let form = |what: &str| CheckpointError::Form(what.to_owned());
        let w: Written = serde_json::from_str(json).map_err(|e| form(&e.to_string()))?;
        let mut out = Self {
            seq: w.seq,
            hash: [0; 32],
            at: parse(&w.time).map_err(|e| form(&e.to_string()))?,
            key: [0; 32],
            signature: [0; 64],
        };
        hex::decode_to_slice(&w.hash, &mut out.hash).map_err(|_| form("`hash` is not 64 hex digits"))?;
        hex::decode_to_slice(&w.key, &mut out.key).map_err(|_| form("`key` is not 64 hex digits"))?;
        hex::decode_to_slice(&w.signature, &mut out.signature)
            .map_err(|_| form("`signature` is not 128 hex digits"))?;
        let public = UnparsedPublicKey::new(&ED25519, out.key);
        public
            .verify(text(out.seq, &out.hash, out.at).as_bytes(), &out.signature)
            .map_err(|_| CheckpointError::Signature(out.seq))?;
        if !trusted.is_empty() && !trusted.contains(&out.key) {
            return Err(CheckpointError::Key { seq: out.seq, key: hex::encode(out.key) });
        }
        Ok(out)
    }

    /// As it is sent and kept, one line.
    pub fn to_json(&self) -> String {
        let written = Written {
            seq: self.seq,
            hash: hex::encode(self.hash),
            time: rfc3339(self.at),
            key: hex::encode(self.key),
            signature: hex::encode(self.signature),
        };
        serde_json::to_string(&written).expect("a checkpoint is plain text")
    }
}

/// Signs checkpoints.
pub struct Signer(Ed25519KeyPair);

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({})", hex::encode(self.key()))
    }
}

impl Signer {
    /// From 32 secret bytes as 64 hex digits.
    ///
    /// # Errors
    /// A sentence, when they are none.
    pub fn from_secret(hex_digits: &str) -> Result<Self, String> {
        let mut seed = [0; 32];
        hex::decode_to_slice(hex_digits.trim(), &mut seed)
            .map_err(|_| "a signing key is 64 hex digits, as `openssl rand -hex 32` makes them".to_owned())?;
        Ed25519KeyPair::from_seed_unchecked(&seed).map(Self).map_err(|e| e.to_string())
    }

    /// The public key, to be given to whoever verifies.
    pub fn key(&self) -> [u8; 32] {
        self.0.public_key().as_ref().try_into().expect("Ed25519 keys have 32 bytes")
    }

    /// Signs the newest entry.
    pub fn sign(&self, head: Head, at: Micros) -> Checkpoint {
        // What is written has milliseconds.
        let at = at - at.rem_euclid(1000);
        let signature = self.0.sign(text(head.seq, &head.hash, at).as_bytes());
        let signature = signature.as_ref().try_into().expect("Ed25519 signatures have 64 bytes");
        Checkpoint { seq: head.seq, hash: head.hash, at, key: self.key(), signature }
    }
}
