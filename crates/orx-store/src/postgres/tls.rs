//! What went wrong with TLS, in words: a server that cannot be trusted does not come right by itself.

use rustls::CertificateError as Wrong;

/// `None`: it is no trouble of TLS.
pub(super) fn trouble(error: &sqlx::Error) -> Option<String> {
    match error {
        sqlx::Error::Io(error) => error.get_ref()?.downcast_ref().map(in_words),
        sqlx::Error::Tls(error) => Some(error.to_string()),
        _ => None,
    }
}

fn in_words(error: &rustls::Error) -> String {
    let rustls::Error::InvalidCertificate(wrong) = error else { return error.to_string() };
    match wrong {
        Wrong::UnknownIssuer => {
            "unknown issuer: no authority that is trusted here has signed its certificate"
                .to_owned()
        }
        Wrong::NotValidForName | Wrong::NotValidForNameContext { .. } => {
            format!("its certificate is for another host ({error})")
        }
        Wrong::Expired | Wrong::ExpiredContext { .. } => {
            format!("its certificate has expired ({error})")
        }
        _ => error.to_string(),
    }
}
