//! How long calls wait for a server that does not answer, and what they report meanwhile.

use std::sync::atomic::Ordering;

use orx_model::Backoff;
use orx_model::wire::Condition;

use crate::{Client, ClientError, RETRY, Result, TRIES};

/// What [`Client::follow`] and [`Client::wait`] report about their connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionEvent {
    /// The server cannot be reached; the client tries to reconnect.
    Lost,
    /// The server rejects the request for now, with this reason; the client tries again.
    Refused(String),
    /// The server answers again after `Lost` or `Refused`.
    Back,
    /// The server reports another condition of itself.
    Server(Condition),
}

/// The current outage of the server, if there is one.
pub(crate) struct Outage {
    since: Option<tokio::time::Instant>,
    backoff: Backoff,
    tries: u32,
    reported: bool,
    /// The condition that the server reported last.
    pub(crate) server: Condition,
}

impl Default for Outage {
    fn default() -> Self {
        let server = Condition::default();
        Self { since: None, backoff: RETRY, tries: 0, reported: false, server }
    }
}

impl Outage {
    /// The server answered.
    pub(crate) fn end(&mut self, report: &mut impl FnMut(ConnectionEvent)) {
        if self.reported {
            report(ConnectionEvent::Back);
        }
        *self = Self { server: self.server, ..Self::default() };
    }

    /// The server reported its condition.
    pub(crate) fn server_is(
        &mut self,
        client: &Client,
        server: Condition,
        report: &mut impl FnMut(ConnectionEvent),
    ) {
        if self.server == server {
            return;
        }
        self.server = server;
        if server == Condition::Stopping {
            client.locate.server_stops();
        }
        report(ConnectionEvent::Server(server));
    }

    /// A call failed: waits before the next try, or returns the error if another try is useless.
    pub(crate) async fn wait(
        &mut self,
        client: &Client,
        error: ClientError,
        report: &mut impl FnMut(ConnectionEvent),
    ) -> Result<()> {
        let answered = client.reached.load(Ordering::Relaxed);
        let expected = answered || client.locate.expects_return();
        let since = *self.since.get_or_insert_with(tokio::time::Instant::now);
        self.tries += 1;
        let (transient, over) = if expected {
            let no_server = matches!(error, ClientError::NoServer { .. });
            // With a cause, a server cannot be started, which waiting hardly helps.
            let cannot_start = matches!(error, ClientError::NoServer { cause: Some(_), .. });
            let bounded = cannot_start || !answered;
            (error.is_transient() || no_server, bounded && since.elapsed() >= client.patience)
        } else {
            // As for any other call, if there was never a server.
            (error.is_transient(), self.tries >= TRIES)
        };
        if !transient || over {
            return Err(error);
        }
        if expected && !self.reported {
            self.reported = true;
            match error {
                // Its stop was reported already.
                _ if self.server == Condition::Stopping => {}
                ClientError::Problem(problem) => report(ConnectionEvent::Refused(problem.detail)),
                _ => report(ConnectionEvent::Lost),
            }
        }
        // The next server has not reported a condition.
        self.server = Condition::Well;
        client.forget_endpoint();
        tokio::time::sleep(self.backoff.failed()).await;
        Ok(())
    }
}
