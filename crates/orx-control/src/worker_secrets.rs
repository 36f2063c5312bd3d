//! Whether a worker that calls from another process is the one that registered: by its secret, of which
//! the store keeps a hash.

use std::collections::HashMap;

use orx_model::{Code, Incarnation, Problem, SecretHash, WorkerSecret};
use parking_lot::Mutex;
use rand::Rng;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{ControlPanel, Result, store_problem};

/// Workers whose hashes are remembered, so that what they tell costs no read.
const CACHED: usize = 4_096;

/// Hashes as they were read. A worker's stays as long as its row does; where another was kept since,
/// what is shown does not match, and the store is asked.
#[derive(Default)]
pub(crate) struct Cache(Mutex<HashMap<Incarnation, SecretHash>>);

impl Cache {
    fn get(&self, worker: Incarnation) -> Option<SecretHash> {
        self.0.lock().get(&worker).copied()
    }

    fn put(&self, worker: Incarnation, hash: Option<SecretHash>) {
        let mut known = self.0.lock();
        let Some(hash) = hash else {
            known.remove(&worker);
            return;
        };
        if known.len() >= CACHED {
            known.clear();
        }
        known.insert(worker, hash);
    }
}

/// Who a worker is that calls from another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerIdentity {
    /// It showed the secret that it registered with.
    Known(SecretHash),
    /// Nothing is known of this incarnation; `None` where it showed no secret.
    Unregistered(Option<SecretHash>),
}

impl WorkerIdentity {
    /// # Errors
    /// [`Code::StateConflict`]: it has to register first.
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
    /// # Errors
    /// [`Code::NotThisWorker`] where the incarnation is registered with another secret, or with one
    /// and none is shown.
    pub async fn identify_worker(
        &self,
        worker: Incarnation,
        shown: Option<&WorkerSecret>,
    ) -> Result<WorkerIdentity> {
        let shown = shown.map(hash);
        let cache = &self.inner.worker_secrets;
        if let (Some(shown), Some(kept)) = (shown, cache.get(worker))
            && bool::from(shown.0.ct_eq(&kept.0))
        {
            return Ok(WorkerIdentity::Known(shown));
        }
        let kept = self.store().worker_secret(worker).await.map_err(store_problem)?;
        cache.put(worker, kept);
        match (shown, kept) {
            (shown, None) => Ok(WorkerIdentity::Unregistered(shown)),
            (Some(shown), Some(kept)) if bool::from(shown.0.ct_eq(&kept.0)) => {
                Ok(WorkerIdentity::Known(shown))
            }
            (Some(_), Some(_)) => {
                let detail = format!("the worker {worker} is registered with another secret");
                Err(Problem::new(Code::NotThisWorker, detail)
                    .hint("start it anew: it registers as a new incarnation"))
            }
            (None, Some(_)) => {
                let detail = format!(
                    "the worker {worker} is registered, and the call does not show its secret; a \
                     worker that knows no secrets is of an older orx, and has to be upgraded"
                );
                Err(Problem::new(Code::NotThisWorker, detail).hint(
                    "send the `secret` of the answer to its registration as `orx-worker-secret`",
                ))
            }
        }
    }

    /// A secret for a new incarnation, and what is kept of it.
    #[must_use]
    pub fn new_worker_secret(&self) -> (WorkerSecret, SecretHash) {
        let mut bytes = [0; 32];
        rand::rng().fill_bytes(&mut bytes);
        let secret = WorkerSecret::from_bytes(bytes);
        let kept = hash(&secret);
        (secret, kept)
    }
}

fn hash(secret: &WorkerSecret) -> SecretHash {
    SecretHash(Sha256::digest(secret.expose().as_bytes()).into())
}
