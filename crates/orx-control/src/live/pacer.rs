//! How often a stream sends: the first changes after a quiet moment at once, later ones at a steady pace.

use std::time::Duration;

use tokio::time::Instant;

/// Changes within this time of each other are sent together.
const GATHER: Duration = Duration::from_millis(20);

/// Allows one frame each `gap`, and up to `burst` at once after as many gaps without one.
#[derive(Debug)]
pub(crate) struct Pacer {
    gap: Duration,
    /// When the allowance of `burst` frames will be whole again.
    full_at: Instant,
    sent_at: Option<Instant>,
    burst: u32,
}

impl Pacer {
    pub(crate) fn new(gap: Duration, burst: u32) -> Self {
        Self { gap, full_at: Instant::now(), sent_at: None, burst: burst.max(1) }
    }

    /// The earliest time of the next frame.
    fn next_at(&self) -> Instant {
        let Some(sent_at) = self.sent_at else { return self.full_at };
        let spent = self.gap * (self.burst - 1);
        let allowed = self.full_at.checked_sub(spent).unwrap_or(self.full_at);
        allowed.max(sent_at + GATHER)
    }

    /// Waits until a frame may be sent, and counts it as sent.
    pub(crate) async fn wait(&mut self) {
        tokio::time::sleep_until(self.next_at()).await;
        let now = Instant::now();
        self.sent_at = Some(now);
        self.full_at = self.full_at.max(now) + self.gap;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_frames_come_at_once_and_the_rest_at_the_pace() {
        let began = Instant::now();
        let mut pacer = Pacer::new(Duration::from_millis(250), 3);
        let mut sent = Vec::new();
        for _ in 0..6 {
            pacer.wait().await;
            sent.push(began.elapsed().as_millis());
        }
        // The timer of the runtime counts whole milliseconds.
        let expected = [0, 20, 40, 250, 500, 750];
        assert!(sent.iter().zip(expected).all(|(at, due)| at.abs_diff(due) <= 3), "{sent:?}");
        tokio::time::sleep(Duration::from_secs(10)).await;
        let quiet = Instant::now();
        pacer.wait().await;
        assert!(quiet.elapsed() < Duration::from_millis(2));
    }
}
