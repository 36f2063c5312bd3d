//! A streamed answer, line by line.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::Stream;
use orx_model::ndjson::LineBuffer;
use reqwest::Response;

/// A chunk of log in base64, and what stands around it.
const LINE_BYTES: usize = 4 * 1024 * 1024;

pub(crate) struct Lines {
    stream: Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>,
    buffer: LineBuffer,
}

impl Lines {
    pub(crate) fn new(response: Response) -> Self {
        Self { stream: Box::pin(response.bytes_stream()), buffer: LineBuffer::default() }
    }

    /// Without its newline; `None` at the end. A last line without a newline was cut off, and is
    /// none.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, String> {
        loop {
            if let Some(line) = self.buffer.next_line() {
                return Ok(Some(line));
            }
            if self.buffer.waiting_bytes() > LINE_BYTES {
                return Err("a line of the answer has no end".to_owned());
            }
            match crate::next_piece(&mut self.stream).await {
                Some(Ok(bytes)) => self.buffer.push(&bytes),
                Some(Err(error)) => return Err(error),
                None => return Ok(None),
            }
        }
    }
}
