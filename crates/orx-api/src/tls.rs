//! TLS of the listener: rustls with ring, TLS 1.2 and 1.3, HTTP/1.1. The certificate can be replaced
//! while the server runs; open connections keep theirs.

use std::sync::Arc;

use parking_lot::RwLock;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Why a certificate and its key are rejected.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificates contain none in PEM.
    #[error("the file contains no certificate in PEM")]
    NoCertificate,
    /// The key is not a private key in PEM.
    #[error("the file contains no private key in PEM")]
    NoKey,
    /// A certificate cannot be read. Holds the reason.
    #[error("the certificates cannot be read: {0}")]
    Certificates(String),
    /// The key belongs to another certificate.
    #[error("the key does not belong to the certificate")]
    OtherKey,
    /// rustls rejects the pair. Holds the reason.
    #[error("the certificate and its key cannot be used: {0}")]
    Unusable(String),
}

struct Current {
    config: Arc<ServerConfig>,
    leaf: Vec<u8>,
}

/// The certificate in use.
pub struct Tls {
    current: RwLock<Current>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the key.
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Tls {
    /// From a certificate with its chain, leaf first, and its key, both in PEM.
    ///
    /// # Errors
    /// Any [`TlsError`].
    pub fn new(certificates: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        Ok(Self { current: RwLock::new(read(certificates, key)?) })
    }

    /// Replaces the certificate and its key for new connections.
    ///
    /// # Errors
    /// As [`Self::new`]; the current pair then stays in use.
    pub fn replace(&self, certificates: &[u8], key: &[u8]) -> Result<(), TlsError> {
        let new = read(certificates, key)?;
        *self.current.write() = new;
        Ok(())
    }

    /// The server's own certificate in DER, for clients on the same machine to trust.
    #[must_use]
    pub fn leaf(&self) -> Vec<u8> {
        self.current.read().leaf.clone()
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().config)
    }
}

fn read(certificates: &[u8], key: &[u8]) -> Result<Current, TlsError> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificates)
        .collect::<Result<_, _>>()
        .map_err(|error| TlsError::Certificates(error.to_string()))?;
    let leaf = chain.first().ok_or(TlsError::NoCertificate)?.to_vec();
    // The error omits the reason, which could contain a part of the key.
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsError::NoKey)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Unusable(error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => TlsError::OtherKey,
            other => TlsError::Unusable(other.to_string()),
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Current { config: Arc::new(config), leaf })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(name: &str) -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("a pair");
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn a_wrong_pair_is_refused_and_the_current_one_stays_in_use() {
        let ((cert, key), (other_cert, other_key)) = (made("a.test"), made("b.test"));
        let tls = Tls::new(cert.as_bytes(), key.as_bytes()).expect("a pair");
        let leaf = tls.leaf();
        let refused = |cert: &str, key: &str| {
            tls.replace(cert.as_bytes(), key.as_bytes()).expect_err("refused")
        };
        assert!(matches!(refused(&other_cert, &key), TlsError::OtherKey));
        assert!(matches!(refused("", &key), TlsError::NoCertificate));
        assert!(matches!(refused(&cert, "nonsense"), TlsError::NoKey));
        assert_eq!(tls.leaf(), leaf);
        tls.replace(other_cert.as_bytes(), other_key.as_bytes()).expect("a pair");
        assert_ne!(tls.leaf(), leaf);
    }
}
