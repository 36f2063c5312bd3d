//! Verifies that a call comes from the worker that registered, by the worker's secret. The store has a
//! hash of it.

use std::collections::HashMap;

use orx_model::{Code, Incarnation, Problem, SecretHash, WorkerSecret};
use parking_lot::Mutex;
use rand::Rng;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{ControlPanel, Result, store_problem};

/// Most cached hashes.
const CACHED_MAX: usize = 4_096;

/// Caches hashes, so that most calls do not read the store. An outdated hash does not match the secret,
/// and the store is read.
#[derive(Default)]
pub(crate) struct SecretCache(Mutex<HashMap<Incarnation, SecretHash>>);

impl SecretCache {
    fn get(&self, worker: Incarnation) -> Option<SecretHash> {
        self.0.lock().get(&worker).copied()
    }

    fn put(&self, worker: Incarnation, hash: Option<SecretHash>) {
        let mut known = self.0.lock();
        let Some(hash) = hash else {
            known.remove(&worker);
            return;
        };
        if known.len() >= CACHED_MAX {
            known.clear();
        }
        known.insert(worker, hash);
    }
}

/// The identity of a worker that calls from another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerIdentity {
    /// The worker is registered with the secret that it presented.
    Known(SecretHash),
    /// The incarnation is not registered. With the hash of the secret, if the worker presented one.
    Unregistered(Option<SecretHash>),
}

impl WorkerIdentity {
    /// The hash of the secret of a registered worker.
    ///
    /// # Errors
    /// [`Code::StateConflict`]: the worker must register first.
    pub fn known(self) -> Result<SecretHash> {
        match self {
            Self::Known(hash) => Ok(hash),
            Self::Unregistered(_) => {
                Err(Problem::new(Code::StateConflict, "this incarnation is not registered")
                    .hint("register it, then ask again"))
            }
        }
    }
}

impl ControlPanel {
    /// Identifies a worker by the secret that it presents.
    ///
    /// # Errors
    /// [`Code::NotThisWorker`] if the incarnation is registered with another secret, or none is
    /// presented; errors of the store.
    pub async fn identify_worker(
        &self,
        worker: Incarnation,
        presented: Option<&WorkerSecret>,
    ) -> Result<WorkerIdentity> {
        let presented = presented.map(hash);
        let cache = &self.inner.worker_secrets;
        if let (Some(presented), Some(stored)) = (presented, cache.get(worker))
            && bool::from(presented.0.ct_eq(&stored.0))
        {
            return Ok(WorkerIdentity::Known(presented));
        }
        let stored = self.store().worker_secret(worker).await.map_err(store_problem)?;
        cache.put(worker, stored);
        match (presented, stored) {
            (presented, None) => Ok(WorkerIdentity::Unregistered(presented)),
            (Some(presented), Some(stored)) if bool::from(presented.0.ct_eq(&stored.0)) => {
                Ok(WorkerIdentity::Known(presented))
            }
            (Some(_), Some(_)) => {
                let detail = format!("the worker {worker} is registered with another secret");
                Err(Problem::new(Code::NotThisWorker, detail)
                    .hint("start it anew: it registers as a new incarnation"))
            }
            (None, Some(_)) => {
                let detail = format!(
                    "the worker {worker} is registered, and the call does not contain its secret; a \
                     worker of an older orx that sends no secret must be upgraded"
                );
                Err(Problem::new(Code::NotThisWorker, detail).hint(
                    "send the `secret` of the answer to its registration as `orx-worker-secret`",
                ))
            }
        }
    }

    /// A secret for a new incarnation, and the hash to store.
    #[must_use]
    pub fn new_worker_secret(&self) -> (WorkerSecret, SecretHash) {
        let mut bytes = [0; 32];
        rand::rng().fill_bytes(&mut bytes);
        let secret = WorkerSecret::from_bytes(bytes);
        let stored = hash(&secret);
        (secret, stored)
    }
}

fn hash(secret: &WorkerSecret) -> SecretHash {
    SecretHash(Sha256::digest(secret.expose().as_bytes()).into())
}
