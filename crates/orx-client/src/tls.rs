//! HTTPS: which certificates are trusted, and what to do about one that is not. Plain HTTP sets up none
//! of it, so that a short command on loopback does not pay for it.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use rustls_platform_verifier::BuilderVerifierExt;

/// Which certificates are trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Trust {
    /// Those of the system's authorities; `SSL_CERT_FILE` names others.
    #[default]
    System,
    /// Those of these authorities only, in PEM.
    Authorities(Arc<[u8]>),
    /// Only this certificate, for any host name, in DER. For a server whose certificate is in a file on
    /// the same machine.
    Certificate(Arc<[u8]>),
}

impl Trust {
    /// Trusts the authorities in PEM.
    ///
    /// # Errors
    /// A text for people: there is no certificate, or one that cannot be read.
    pub fn authorities(pem: &[u8]) -> Result<Self, String> {
        roots(pem)?;
        Ok(Self::Authorities(pem.into()))
    }
}

fn roots(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() {
        return Err("it contains no certificate in PEM".to_owned());
    }
    Ok(roots)
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())
}

/// For plain HTTP, which never uses it: trusts no certificate, and reads no files.
pub(crate) fn none() -> Result<ClientConfig, String> {
    Ok(builder()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

pub(crate) fn config(trust: &Trust) -> Result<ClientConfig, String> {
    let builder = builder()?;
    let config = match trust {
        Trust::System => builder.with_platform_verifier().map_err(|error| error.to_string())?,
        Trust::Authorities(pem) => builder.with_root_certificates(roots(pem)?),
        Trust::Certificate(der) => {
            let provider = Arc::clone(builder.crypto_provider());
            let only = PinnedCertificate { certificate: der.to_vec().into(), provider };
            builder.dangerous().with_custom_certificate_verifier(Arc::new(only))
        }
    };
    Ok(config.with_no_client_auth())
}

/// Trusts one certificate.
#[derive(Debug)]
struct PinnedCertificate {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedCertificate {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *end_entity == self.certificate {
            return Ok(ServerCertVerified::assertion());
        }
        let error = CertificateError::ApplicationVerificationFailure;
        Err(rustls::Error::InvalidCertificate(error))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The cause and a hint if the error is one of TLS.
pub(crate) fn explain(error: &reqwest::Error) -> Option<(String, &'static str)> {
    let mut at: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = at {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(cause_and_hint(found));
        }
        // An I/O error does not return its inner error as its source.
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        at = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn cause_and_hint(error: &rustls::Error) -> (String, &'static str) {
    use CertificateError as C;
    const OWN: &str = "`ca_file` in its context, or `ORX_CA_FILE`, names the authority to trust";
    match error {
        rustls::Error::InvalidCertificate(why) => match why {
            // The latter if an authority of the same name has another key.
            C::UnknownIssuer | C::BadSignature => {
                ("its certificate is from an unknown authority".to_owned(), OWN)
            }
            C::NotValidForName | C::NotValidForNameContext { .. } => {
                let hint = "use a name that the certificate is for, or give the server another";
                (format!("its certificate is for another name: {why}"), hint)
            }
            C::Expired | C::ExpiredContext { .. } => {
                ("its certificate has expired".to_owned(), "the server needs a new certificate")
            }
            C::ApplicationVerificationFailure => (
                "it has another certificate than the local server".to_owned(),
                "is it still the same server? `orx daemon server` writes its address file anew",
            ),
            // The default of `openssl req -x509`. rustls has no variant for it.
            C::Other(why) if why.to_string().contains("CaUsedAsEndEntity") => (
                "its certificate is made for an authority, and not for a server".to_owned(),
                "the server needs one with `CA:FALSE`: `openssl req … -addext \
                 basicConstraints=critical,CA:FALSE`",
            ),
            other => (format!("its certificate is not trusted: {other}"), OWN),
        },
        rustls::Error::InvalidMessage(_) => {
            ("it does not use TLS".to_owned(), "perhaps it uses plain HTTP: `http://`")
        }
        other => (other.to_string(), "TLS 1.2 or 1.3 is needed on both sides"),
    }
}
