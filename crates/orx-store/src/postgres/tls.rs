//! Describes TLS errors. They are permanent: waiting does not make a server trusted.

use rustls::CertificateError as Wrong;

/// The description of a TLS error; `None` for any other error.
pub(super) fn failure(error: &sqlx::Error) -> Option<String> {
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
            "unknown issuer: its certificate is not signed by a trusted authority".to_owned()
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
