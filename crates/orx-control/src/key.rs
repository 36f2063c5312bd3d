//! The hash of a request with an idempotency key: two requests with one key ask for the same job if
//! their hashes are equal.
//!
//! The hash covers every field that describes the job. It omits the key itself, the caller (`by`), and
//! what a command takes over from its caller's terminal (`caller_env`, `umask`). A field with the value
//! that the job would have without it counts as omitted ([`OmittedValues`]). An omitted field stays
//! omitted when the server's defaults change between two tries. Args count in their canonical form
//! ([`orx_model::json::canonical`]); omitted args are `{}`.

use orx_model::job::{Command, Labels};
use orx_model::json;
use orx_model::wire::EnqueueRequest;
use orx_model::{Name, OnLost, Priority, RetryPolicy, Timestamp};
use sha2::{Digest, Sha256};

/// The prefix of a hash. A hash without it is of version 1, which covered the caller too.
const VERSION: &str = "2:";

/// The values of a job for fields that its request omits.
#[derive(Debug)]
pub(crate) struct OmittedValues {
    pub(crate) queue: Name,
    pub(crate) priority: Priority,
    pub(crate) retry: RetryPolicy,
    pub(crate) timeout_ms: Option<u64>,
}

/// `name` is the name of the job, even if the request leaves it to its command.
pub(crate) fn hash(request: &EnqueueRequest, name: &Name, omitted: &OmittedValues) -> String {
    let explicit = Explicit {
        queue: request.queue.as_ref().filter(|queue| **queue != omitted.queue),
        priority: request.priority.filter(|priority| *priority != omitted.priority),
        delay_ms: request.delay_ms.filter(|delay| *delay != 0),
        retries: request.retries.filter(|retries| *retries != omitted.retry.retries),
        backoff_ms: request.backoff_ms.filter(|backoff| *backoff != omitted.retry.backoff_ms),
        // 0 means no timeout.
        timeout_ms: request
            .timeout_ms
            .filter(|timeout| (*timeout != 0).then_some(*timeout) != omitted.timeout_ms),
        on_lost: request.on_lost.filter(|on_lost| *on_lost != OnLost::default()),
    };
    hash_of(request, name, &explicit)
}

/// Whether the hash is of the request as sent, with all its explicit values: those that equal a default
/// now did not when the hash was made.
pub(crate) fn is_as_sent(request: &EnqueueRequest, name: &Name, hash: &str) -> bool {
    let explicit = Explicit {
        queue: request.queue.as_ref(),
        priority: request.priority,
        delay_ms: request.delay_ms,
        retries: request.retries,
        backoff_ms: request.backoff_ms,
        timeout_ms: request.timeout_ms,
        on_lost: request.on_lost,
    };
    hash_of(request, name, &explicit) == hash
}

/// The values of the fields that have defaults; `None` counts as omitted.
struct Explicit<'a> {
    queue: Option<&'a Name>,
    priority: Option<Priority>,
    delay_ms: Option<u64>,
    retries: Option<u32>,
    backoff_ms: Option<u64>,
    timeout_ms: Option<u64>,
    on_lost: Option<OnLost>,
}

fn hash_of(request: &EnqueueRequest, name: &Name, explicit: &Explicit<'_>) -> String {
    // It names every field, so that a new one is hashed or left out on purpose.
    let EnqueueRequest {
        name: _,
        args,
        command,
        queue: _,
        priority: _,
        run_at,
        delay_ms: _,
        retries: _,
        backoff_ms: _,
        timeout_ms: _,
        deadline,
        expires_ms,
        on_lost: _,
        require,
        tags,
        correlation_id,
        key: _,
        by: _,
    } = request;
    let Explicit { queue, priority, delay_ms, retries, backoff_ms, timeout_ms, on_lost } = explicit;
    let mut fields = FieldHasher(Sha256::new());
    fields.text(1, name.as_str());
    fields.args(args.as_ref().map_or("{}", |args| args.get()));
    if let Some(command) = command {
        fields.command(command);
    }
    fields.optional_text(6, queue.map(Name::as_str));
    fields.number(7, priority.map(|priority| u64::from(priority.rank())));
    fields.time(8, *run_at);
    fields.number(9, *delay_ms);
    fields.number(10, retries.map(u64::from));
    fields.number(11, *backoff_ms);
    fields.number(12, *timeout_ms);
    fields.time(13, *deadline);
    fields.number(14, *expires_ms);
    fields.number(15, on_lost.map(|on_lost| on_lost as u64));
    fields.labels(16, require);
    fields.labels(17, tags);
    fields.optional_text(18, correlation_id.as_deref());
    fields.digits()
}

/// Hashes each field with its number and length, so that different requests feed different bytes.
struct FieldHasher(Sha256);

impl FieldHasher {
    fn text(&mut self, field: u8, text: &str) {
        self.0.update([field]);
        self.0.update((text.len() as u64).to_le_bytes());
        self.0.update(text.as_bytes());
    }

    fn optional_text(&mut self, field: u8, text: Option<&str>) {
        if let Some(text) = text {
            self.text(field, text);
        }
    }

    fn number(&mut self, field: u8, number: Option<u64>) {
        if let Some(number) = number {
            self.0.update([field]);
            self.0.update(number.to_le_bytes());
        }
    }

    fn time(&mut self, field: u8, at: Option<Timestamp>) {
        if let Some(at) = at {
            self.0.update([field]);
            self.0.update(at.as_millis().to_le_bytes());
        }
    }

    fn labels(&mut self, field: u8, labels: &Labels) {
        for (name, value) in labels {
            self.text(field, name);
            self.text(field, value);
        }
    }

    fn args(&mut self, args: &str) {
        self.0.update([2]);
        if json::canonical(args, &mut |piece: &[u8]| self.0.update(piece)).is_err() {
            // `json::check` rejects such args; hashed as written, they still equal themselves.
            self.text(2, args);
        }
    }

    fn command(&mut self, command: &Command) {
        let Command { argv, cwd, env, stdin, caller_env: _, umask: _ } = command;
        self.number(3, Some(argv.len() as u64));
        for word in argv {
            self.text(3, word);
        }
        self.optional_text(4, cwd.as_deref());
        self.labels(5, env);
        self.optional_text(19, stdin.as_deref());
    }

    fn digits(self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let hash = self.0.finalize();
        let mut text = String::with_capacity(VERSION.len() + 2 * hash.len());
        text.push_str(VERSION);
        for byte in hash {
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        text
    }
}

/// Whether the hash is of version 1.
pub(crate) fn is_version_1(hash: &str) -> bool {
    !hash.starts_with(VERSION)
}

/// Whether a hash of version 1 is of the same job. That version covered the caller, so it tries the
/// caller of this request, no caller, and the caller that made the job (`made_by`); each with empty args
/// and without args, which it distinguished.
pub(crate) fn matches_version_1(
    request: &EnqueueRequest,
    made_by: Option<&str>,
    hash: &str,
) -> bool {
    if !is_version_1(hash) {
        return false;
    }
    let mut request = EnqueueRequest { key: None, ..request.clone() };
    if let Some(command) = &mut request.command {
        (command.caller_env, command.umask) = (Labels::new(), None);
    }
    let senders = [request.by.take(), None, made_by.map(str::to_owned)];
    let given = request.args.take();
    let empty = given.as_ref().is_none_or(|args| is_empty_object(args.get()));
    let other = match &given {
        _ if !empty => None,
        Some(_) => Some(None),
        None => Some(Some(crate::accept::empty_args())),
    };
    senders.into_iter().any(|by| {
        request.by = by;
        std::iter::once(given.clone()).chain(other.clone()).any(|args| {
            request.args = args;
            hash_version_1(&request) == hash
        })
    })
}

fn is_empty_object(json: &str) -> bool {
    let inner = json.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    inner.is_some_and(|inner| inner.trim().is_empty())
}

fn hash_version_1(request: &EnqueueRequest) -> String {
    let value = serde_json::to_value(request).unwrap_or_default();
    let hash = Sha256::digest(value.to_string().as_bytes());
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(json: &str) -> EnqueueRequest {
        serde_json::from_str(json).expect("a request")
    }

    fn name() -> Name {
        "n".parse().expect("a name")
    }

    fn hashed(json: &str) -> String {
        let omitted = OmittedValues {
            queue: "default".parse().expect("a name"),
            priority: Priority::default(),
            retry: RetryPolicy { retries: 3, backoff_ms: 500, ..RetryPolicy::default() },
            timeout_ms: Some(7),
        };
        hash(&request(json), &name(), &omitted)
    }

    #[test]
    fn the_caller_and_the_notation_make_no_difference() {
        let same = [
            r#"{"name":"n"}"#,
            r#"{"name":"n","args":{},"by":"a@b","key":"k"}"#,
            r#"{ "args" : { } , "tags":{}, "name":"n", "queue":null }"#,
        ];
        for other in same {
            assert_eq!(hashed(other), hashed(same[0]), "{other}");
        }
        let same = [
            r#"{"args":{"a":[1.0,"ä"],"b":100},"tags":{"x":"1","y":"2"}}"#,
            r#"{"tags":{"y":"2","x":"1"},"args":{ "b":1e2,"a":[1,"\u00e4"] }}"#,
        ];
        assert_eq!(hashed(same[0]), hashed(same[1]));
        let same = [
            r#"{"command":{"argv":["a"]}}"#,
            r#"{"command":{"argv":["a"],"caller_env":{"PATH":"/bin"},"umask":"0022"}}"#,
        ];
        assert_eq!(hashed(same[0]), hashed(same[1]));
    }

    #[test]
    fn an_explicit_default_equals_an_omitted_field() {
        for explicit in [
            r#"{"name":"n","queue":"default"}"#,
            r#"{"name":"n","priority":"normal","delay_ms":0}"#,
            r#"{"name":"n","retries":3,"backoff_ms":500}"#,
            r#"{"name":"n","timeout_ms":7,"on_lost":"retry"}"#,
        ] {
            assert_eq!(hashed(explicit), hashed(r#"{"name":"n"}"#), "{explicit}");
        }
        let none = hashed(r#"{"name":"n","timeout_ms":0}"#);
        assert_ne!(none, hashed(r#"{"name":"n"}"#), "no limit is not the default here");
    }

    #[test]
    fn a_hash_with_an_explicit_default_matches_the_same_request() {
        let sent = request(r#"{"name":"n","queue":"default","retries":3,"key":"k"}"#);
        let explicit = Explicit {
            queue: sent.queue.as_ref(),
            priority: None,
            delay_ms: None,
            retries: Some(3),
            backoff_ms: None,
            timeout_ms: None,
            on_lost: None,
        };
        let sent_hash = hash_of(&sent, &name(), &explicit);
        assert_ne!(sent_hash, hashed(r#"{"name":"n","queue":"default","retries":3}"#));
        assert!(is_as_sent(&sent, &name(), &sent_hash));
        assert!(!is_as_sent(&request(r#"{"name":"n","retries":4}"#), &name(), &sent_hash));
    }

    #[test]
    fn every_field_of_the_job_counts() {
        let all = [
            json!({}),
            json!({"args": {"a": 1}}),
            json!({"args": {"a": "1"}}),
            json!({"args": [1]}),
            json!({"queue": "q"}),
            json!({"priority": "low"}),
            json!({"run_at": "2026-01-01T00:00:00Z"}),
            json!({"deadline": "2026-01-01T00:00:00Z"}),
            json!({"delay_ms": 1}),
            json!({"retries": 1}),
            json!({"backoff_ms": 1}),
            json!({"timeout_ms": 1}),
            json!({"expires_ms": 1}),
            json!({"on_lost": "fail"}),
            json!({"require": {"a": "b"}}),
            json!({"tags": {"a": "b"}}),
            json!({"corr": "c"}),
            json!({"command": {"argv": ["a", "b"]}}),
            json!({"command": {"argv": ["ab"]}}),
            json!({"command": {"argv": ["a"], "cwd": "/b"}}),
            json!({"command": {"argv": ["a"], "env": {"b": "c"}}}),
            json!({"command": {"argv": ["a"], "stdin": "aa=="}}),
        ];
        let hashes: std::collections::BTreeSet<_> =
            all.iter().map(|request| hashed(&request.to_string())).collect();
        assert_eq!(hashes.len(), all.len());
    }

    #[test]
    fn a_hash_of_version_1_matches_whatever_caller_sent_it() {
        let before = r#"{"name":"n","args":{"b":1,"a":2},"by":"old@host"}"#;
        let hash = hash_version_1(&request(before));
        let again = request(r#"{"name":"n","args":{"a":2,"b":1},"by":"new@host","key":"k"}"#);
        assert!(matches_version_1(&again, Some("old@host"), &hash));
        assert!(!matches_version_1(&again, None, &hash));
        let same_host = request(r#"{"name":"n","args":{"a":2,"b":1},"by":"old@host","key":"k"}"#);
        assert!(matches_version_1(&same_host, None, &hash));
        let other = request(r#"{"name":"n","args":{"a":3,"b":1},"by":"old@host","key":"k"}"#);
        assert!(!matches_version_1(&other, Some("old@host"), &hash));
        let bare = hash_version_1(&request(r#"{"name":"n"}"#));
        let empty = request(r#"{"name":"n","args":{ },"by":"x"}"#);
        assert!(matches_version_1(&empty, None, &bare));
        let empty = hash_version_1(&request(r#"{"name":"n","args":{}}"#));
        assert!(matches_version_1(&request(r#"{"name":"n"}"#), None, &empty));
        assert!(!matches_version_1(&again, None, &hashed(before)));
    }
}
