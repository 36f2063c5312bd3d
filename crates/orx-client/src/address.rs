//! Addresses of servers. An address with a password is rejected, so that none is ever printed.

use orx_model::mask::without_userinfo;

/// The address of a server: `https://orx.example:7070`, without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUrl {
    text: String,
    https: bool,
    loopback: bool,
}

impl ServerUrl {
    /// Parses an address.
    ///
    /// # Errors
    /// A text for people that states what is wrong, without a password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let shown = without_userinfo(text);
        if text.contains('@') {
            return Err(format!(
                "an address must not contain a user or password, found `{shown}`: a token goes into \
                 `token_file` or `ORX_TOKEN`"
            ));
        }
        let wrong = || format!("expected a `http://` or `https://` address, found `{shown}`");
        let url = reqwest::Url::parse(text).map_err(|_| wrong())?;
        let https = match url.scheme() {
            "http" => false,
            "https" => true,
            _ => return Err(wrong()),
        };
        let host = url.host_str().ok_or_else(wrong)?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(format!(
                "an address must not contain a query or fragment, found `{shown}`"
            ));
        }
        let loopback = ["127.0.0.1", "localhost", "[::1]"].contains(&host);
        Ok(Self { text: text.trim_end_matches('/').to_owned(), https, loopback })
    }

    /// The text of the address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether calls are encrypted.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// Whether the host is this machine by name: `localhost`, `127.0.0.1` or `[::1]`.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.loopback
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_begins_like_loopback_is_not_loopback() {
        for (text, loopback) in [
            ("http://127.0.0.1:7070/", true),
            ("https://localhost", true),
            ("http://[::1]:1", true),
            ("http://127.0.0.1.evil.example", false),
            ("http://localhost.evil.example:7070", false),
        ] {
            let url = ServerUrl::parse(text).expect("an address");
            assert_eq!(url.is_loopback(), loopback, "{text}");
            assert!(!url.as_str().ends_with('/'));
        }
    }

    #[test]
    fn a_wrong_address_is_refused_without_its_password() {
        for text in [
            "http://user:canary@host",
            "http://canary@host:7070/x",
            "http://user:can/ary@host",
            "http:/user:canary@host",
            "user:canary@host",
            "ftp://host",
            "http://",
            "http://host?x=1",
            "nonsense",
        ] {
            let error = ServerUrl::parse(text).expect_err(text);
            assert!(!error.contains("canary") && !error.contains("ary@"), "{error}");
        }
    }
}
