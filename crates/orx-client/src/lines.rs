//! A streamed answer, line by line.

use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use reqwest::Response;

/// A chunk of log in base64, and what stands around it.
const LINE_BYTES: usize = 4 * 1024 * 1024;

pub(crate) struct Lines {
    stream: Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>,
    buffer: BytesMut,
    /// So much of the buffer has no newline.
    looked: usize,
    ended: bool,
}

impl Lines {
    pub(crate) fn new(response: Response) -> Self {
        let stream = Box::pin(response.bytes_stream());
        Self { stream, buffer: BytesMut::new(), looked: 0, ended: false }
    }

    /// Without its newline; `None` at the end. A last line without a newline was cut off, and is
    /// none.
    pub(crate) async fn next(&mut self) -> Result<Option<BytesMut>, String> {
        loop {
            if let Some(at) = self.buffer[self.looked..].iter().position(|byte| *byte == b'\n') {
                let mut line = self.buffer.split_to(self.looked + at + 1);
                line.truncate(line.len() - 1);
                self.looked = 0;
                return Ok(Some(line));
            }
            self.looked = self.buffer.len();
            if self.ended {
                return Ok(None);
            }
            if self.buffer.len() > LINE_BYTES {
                return Err("a line of the answer has no end".to_owned());
            }
            match crate::next_piece(&mut self.stream).await {
                Some(Ok(bytes)) => self.buffer.extend_from_slice(&bytes),
                Some(Err(error)) => return Err(error),
                None => self.ended = true,
            }
        }
    }
}
