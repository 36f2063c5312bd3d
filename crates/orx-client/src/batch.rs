//! Enqueues many jobs: as few bodies as possible, with an answer for each line.

use orx_model::wire::{BatchLine, EnqueueRequest, path};
use orx_model::{Code, Problem, limits};
use reqwest::{Method, Response};

use crate::lines::Lines;
use crate::{Client, ClientError, RETRY, Result, TRIES, unexpected, unreachable_at};

/// Most bytes in one body of a batch: far fewer than a server accepts, so that it answers soon.
pub const BATCH_BYTES: usize = 8 << 20;
/// The errors of lines without an answer.
const UNKNOWN: &str = "it is unknown whether the line was accepted; with the same key it is safe to \
                       send it again";
const NOT_TRIED: &str = "the line was not tried";

impl Client {
    /// Enqueues jobs, with an answer for each line, in order. Lines that do not fit into one body are
    /// sent in several. If one of those fails, its lines are answered as unknown, and the later ones as
    /// not tried. Each line must carry a key, so that the caller can repeat it.
    ///
    /// # Errors
    /// The first body failed: whether any line was accepted is unknown.
    pub async fn enqueue_batch(&self, requests: &[EnqueueRequest]) -> Result<Vec<BatchLine>> {
        let mut answers: Vec<BatchLine> = Vec::with_capacity(requests.len());
        let mut rest = requests;
        while !rest.is_empty() {
            let (body, lines) = one_body(rest)?;
            let first = answers.len() as u64;
            let answered = match self.batch_body(body).await {
                Ok(answered) => answered,
                Err(error) if answers.is_empty() => return Err(error),
                Err(error) => {
                    let problem = match error {
                        ClientError::Problem(problem) => *problem,
                        error => Problem::new(Code::Unavailable, error.to_string()),
                    };
                    for index in 0..rest.len() {
                        let what = if index < lines { UNKNOWN } else { NOT_TRIED };
                        let error = Problem {
                            detail: format!("{what}: {}", problem.detail),
                            ..problem.clone()
                        };
                        answers.push(unanswered(first + index as u64 + 1, error));
                    }
                    return Ok(answers);
                }
            };
            let count = answered.len().min(lines);
            answers.extend(
                answered
                    .into_iter()
                    .take(lines)
                    .map(|it| BatchLine { line: it.line + first, ..it }),
            );
            for index in count..lines {
                let problem = Problem::new(Code::Unavailable, UNKNOWN);
                answers.push(unanswered(first + index as u64 + 1, problem));
            }
            rest = &rest[lines..];
        }
        Ok(answers)
    }

    async fn batch_body(&self, body: bytes::Bytes) -> Result<Vec<BatchLine>> {
        let mut backoff = RETRY;
        for tries in 1.. {
            let sent = self
                .send(Method::POST, path::JOBS_BATCH, |call| {
                    call.header("content-type", "application/x-ndjson").body(body.clone())
                })
                .await;
            let answer = match sent {
                Ok(response) => self.batch_lines(response).await,
                Err(error) => Err(error),
            };
            match answer {
                Err(error) if error.is_transient() && tries < TRIES => {
                    self.forget_endpoint();
                    tokio::time::sleep(backoff.failed()).await;
                }
                answered => return answered,
            }
        }
        unreachable!("the loop ends by its tries")
    }

    async fn batch_lines(&self, response: Response) -> Result<Vec<BatchLine>> {
        let url = response.url().to_string();
        let mut lines = Lines::new(response);
        let mut answers = Vec::new();
        while let Some(line) = lines.next().await.map_err(|error| unreachable_at(&url, &error))? {
            answers.push(serde_json::from_slice(&line).map_err(|error| unexpected(&url, error))?);
        }
        Ok(answers)
    }
}

/// The lines that fit into one body, at least one, and how many they are.
fn one_body(requests: &[EnqueueRequest]) -> Result<(bytes::Bytes, usize)> {
    let mut body = Vec::new();
    let mut lines = 0;
    for request in requests.iter().take(limits::BATCH_JOBS) {
        let line = serde_json::to_vec(request).map_err(|error| unexpected("", error))?;
        if lines > 0 && body.len() + line.len() >= BATCH_BYTES {
            break;
        }
        body.extend(line);
        body.push(b'\n');
        lines += 1;
    }
    Ok((body.into(), lines))
}

fn unanswered(line: u64, problem: Problem) -> BatchLine {
    BatchLine { line, id: None, created: None, error: Some(problem) }
}
