//! Commands: those that the worker's configuration names for a job type, and those given with a job.
//! No shell is involved: a command is an argv, and each placeholder fills exactly one element.

use std::collections::BTreeMap;
use std::time::Duration;

use orx_model::message::Dispatch;
use serde::{Deserialize, Serialize};

/// Exit code that asks for a retry: `EX_TEMPFAIL` of BSD's `sysexits.h`.
const RETRY_LATER: i32 = 75;

/// What a command reads on standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandStdin {
    /// The job's args, as JSON.
    #[default]
    Args,
    /// Nothing: the input is at its end.
    None,
}

/// What happens to a running attempt while the worker reaches no coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenUnreachable {
    /// It continues, and its outcome counts if the attempt is still current: the restart of a coordinator
    /// does not discard an hour of work. Once the worker's lease has expired, another attempt may run
    /// beside it.
    #[default]
    Continue,
    /// It is stopped before the worker's lease expires, so that another attempt overlaps with it for the
    /// kill grace at most.
    Stop,
}

/// A command for a job type: `[handler.NAME]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandHandler {
    /// The program and its arguments. `{args.a.b}`, `{job.id}`, `{job.name}`, `{attempt}` and
    /// `{queue}` are filled in; an element with a placeholder stays one element.
    pub cmd: Vec<String>,
    /// The working directory; `None` for the worker's.
    #[serde(default)]
    pub cwd: Option<String>,
    /// Variables added to those that attempts inherit from the worker.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// What it reads on standard input.
    #[serde(default)]
    pub stdin: CommandStdin,
    /// Exit codes after which the attempt failed and is retried.
    #[serde(default = "retry_codes")]
    pub retry_codes: Vec<i32>,
    /// Exit codes after which the attempt failed and is not retried. They yield to `retry_codes`.
    #[serde(default)]
    pub no_retry_codes: Vec<i32>,
    /// Allows a filled-in value to begin with `-`, where a program could take it for an option.
    #[serde(default)]
    pub allow_dash: bool,
    /// What happens to its attempts while the worker reaches no coordinator.
    #[serde(default)]
    pub when_unreachable: WhenUnreachable,
}

fn retry_codes() -> Vec<i32> {
    vec![RETRY_LATER]
}

/// A command that is ready to spawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prepared {
    pub(crate) argv: Vec<String>,
    pub(crate) cwd: Option<String>,
    pub(crate) env: BTreeMap<String, String>,
    /// The caller's values for variables that would otherwise be inherited from the worker.
    pub(crate) caller_env: BTreeMap<String, String>,
    /// `None` for the worker's own.
    pub(crate) umask: Option<u32>,
    pub(crate) stdin: Vec<u8>,
    pub(crate) retry_codes: Vec<i32>,
    pub(crate) no_retry_codes: Vec<i32>,
    /// Whether it was given with the job, and so has no handler whose configuration could be repaired.
    pub(crate) given: bool,
}

impl CommandHandler {
    /// Checks the handler without running it.
    ///
    /// # Errors
    /// A text for people that states what is wrong with `cmd`.
    pub fn check(&self) -> Result<(), String> {
        match self.cmd.first() {
            None => return Err("`cmd` must name a program".to_owned()),
            Some(program) if program.is_empty() || program.contains('{') => {
                return Err(format!("`cmd` must begin with a program, found `{program}`"));
            }
            Some(_) => {}
        }
        for element in &self.cmd {
            if element.contains('\0') {
                return Err("`cmd` must not contain NUL".to_owned());
            }
            parts(element)?;
        }
        Ok(())
    }

    pub(crate) fn prepare(&self, dispatch: &Dispatch) -> Result<Prepared, String> {
        let args: serde_json::Value = serde_json::from_str(dispatch.args.get())
            .map_err(|error| format!("the args are not JSON: {error}"))?;
        let fill = |element: &String| {
            let mut filled = String::new();
            let mut placeholders = 0;
            for part in parts(element)? {
                match part {
                    TemplatePart::Text(text) => filled.push_str(text),
                    TemplatePart::Placeholder(name) => {
                        placeholders += 1;
                        filled.push_str(&value(name, dispatch, &args)?);
                    }
                }
            }
            if placeholders > 0
                && filled.starts_with('-')
                && !element.starts_with('-')
                && !self.allow_dash
            {
                // The text omits the value: it may be a secret, and every caller can read the text.
                return Err(format!(
                    "the value for `{element}` begins with `-` and could be taken for an option; \
                     `allow_dash = true` allows it"
                ));
            }
            if filled.contains('\0') {
                return Err(format!("the value for `{element}` contains NUL"));
            }
            Ok(filled)
        };
        let stdin = match self.stdin {
            CommandStdin::Args => dispatch.args.get().as_bytes().to_vec(),
            CommandStdin::None => Vec::new(),
        };
        Ok(Prepared {
            argv: self.cmd.iter().map(fill).collect::<Result<_, String>>()?,
            cwd: self.cwd.clone(),
            env: self.env.clone(),
            caller_env: BTreeMap::new(),
            umask: None,
            stdin,
            retry_codes: self.retry_codes.clone(),
            no_retry_codes: self.no_retry_codes.clone(),
            given: false,
        })
    }
}

pub(crate) fn given(command: &orx_model::Command) -> Result<Prepared, String> {
    use base64::Engine as _;
    let stdin = match &command.stdin {
        Some(text) => base64::engine::general_purpose::STANDARD
            .decode(text)
            .map_err(|_| "the standard input is not base64".to_owned())?,
        None => Vec::new(),
    };
    if command.argv.is_empty() {
        return Err("the command is empty".to_owned());
    }
    Ok(Prepared {
        argv: command.argv.clone(),
        cwd: command.cwd.clone(),
        env: command.env.clone(),
        caller_env: command.caller_env.clone(),
        umask: command.umask()?,
        stdin,
        retry_codes: Vec::new(),
        no_retry_codes: Vec::new(),
        given: true,
    })
}

enum TemplatePart<'e> {
    Text(&'e str),
    Placeholder(&'e str),
}

/// `{{` and `}}` stand for braces.
fn parts(element: &str) -> Result<Vec<TemplatePart<'_>>, String> {
    let mut parts = Vec::new();
    let mut rest = element;
    while let Some(at) = rest.find(['{', '}']) {
        let (text, from) = rest.split_at(at);
        parts.push(TemplatePart::Text(text));
        if from.starts_with("{{") || from.starts_with("}}") {
            parts.push(TemplatePart::Text(&from[..1]));
            rest = &from[2..];
            continue;
        }
        let end = from.find('}').filter(|_| from.starts_with('{'));
        let Some(end) = end else {
            return Err(format!(
                "`{element}` has an unpaired brace; a literal one is written twice"
            ));
        };
        let name = &from[1..end];
        let known = matches!(name, "job.id" | "job.name" | "attempt" | "queue")
            || name.strip_prefix("args.").is_some_and(|path| !path.is_empty());
        if !known {
            return Err(format!(
                "there is no placeholder `{{{name}}}`; there are `{{args.NAME}}`, `{{job.id}}`, \
                 `{{job.name}}`, `{{attempt}}` and `{{queue}}`"
            ));
        }
        parts.push(TemplatePart::Placeholder(name));
        rest = &from[end + 1..];
    }
    parts.push(TemplatePart::Text(rest));
    Ok(parts)
}

fn value(name: &str, dispatch: &Dispatch, args: &serde_json::Value) -> Result<String, String> {
    let Some(path) = name.strip_prefix("args.") else {
        return Ok(match name {
            "job.id" => dispatch.job.to_string(),
            "job.name" => dispatch.name.to_string(),
            "attempt" => dispatch.attempt.to_string(),
            _ => dispatch.queue.to_string(),
        });
    };
    match path.split('.').try_fold(args, |at, step| at.get(step)) {
        Some(serde_json::Value::String(text)) => Ok(text.clone()),
        Some(number @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_))) => {
            Ok(number.to_string())
        }
        Some(_) => Err(format!("args `{path}` is not text, a number or a boolean")),
        None => Err(format!("args have no `{path}`")),
    }
}

/// The variables that describe the attempt to its command.
pub(crate) fn environment(dispatch: &Dispatch) -> Vec<(&'static str, String)> {
    let mut all = vec![
        ("ORX_JOB_ID", dispatch.job.to_string()),
        ("ORX_JOB_NAME", dispatch.name.to_string()),
        ("ORX_QUEUE", dispatch.queue.to_string()),
        ("ORX_ATTEMPT", dispatch.attempt.to_string()),
        ("ORX_RETRY", dispatch.retry.to_string()),
        ("ORX_SCHEDULED_AT", dispatch.scheduled_at().to_string()),
        (crate::process::EXECUTION_VAR, dispatch.execution.to_string()),
    ];
    if let Some(id) = &dispatch.correlation_id {
        all.push(("ORX_CORRELATION_ID", id.clone()));
    }
    all
}

/// The variables that attempts inherit from the worker.
pub(crate) const INHERITED_VARIABLES: [&str; 8] =
    ["PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR"];

/// How long an attempt that starts now may run.
pub(crate) fn time_left(dispatch: &Dispatch, now: orx_model::Timestamp) -> Option<Duration> {
    let timeout = dispatch.timeout_ms.map(Duration::from_millis);
    let deadline = dispatch.deadline.map(|deadline| deadline.saturating_since(now));
    [timeout, deadline].into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use orx_model::job::{Json, Labels};
    use orx_model::{ExecutionId, JobId, Priority, Timestamp};

    use super::*;

    fn dispatch(args: &str) -> Dispatch {
        let args: Json = serde_json::from_str(args).expect("json");
        Dispatch {
            job: JobId(7),
            attempt: 2,
            execution: ExecutionId(1),
            name: "report".parse().expect("a name"),
            queue: "default".parse().expect("a name"),
            priority: Priority::Normal,
            args,
            command: None,
            timeout_ms: None,
            deadline: None,
            run_at: Timestamp::default(),
            retry: 1,
            correlation_id: None,
            tags: Labels::new(),
            schedule: None,
        }
    }

    fn handler(cmd: &[&str]) -> CommandHandler {
        let cmd: Vec<&str> = cmd.to_vec();
        serde_json::from_value(serde_json::json!({"cmd": cmd})).expect("a handler")
    }

    #[test]
    fn a_placeholder_fills_one_element_whatever_its_value() {
        let handler =
            handler(&["echo", "{args.name}", "n={args.n}", "{{x}}", "{job.id}.{attempt}"]);
        let args = r#"{"name": "a b; rm -rf \"$HOME\"", "n": 3}"#;
        let argv = handler.prepare(&dispatch(args)).expect("a command").argv;
        assert_eq!(argv, ["echo", "a b; rm -rf \"$HOME\"", "n=3", "{x}", "7.2"]);
    }

    #[test]
    fn a_value_cannot_become_an_option_unless_allowed() {
        let mut handler = handler(&["rm", "{args.file}"]);
        let job = dispatch(r#"{"file": "-rf"}"#);
        let why = handler.prepare(&job).expect_err("refused");
        assert!(why.contains("{args.file}") && !why.contains("-rf"), "{why}");
        handler.allow_dash = true;
        assert_eq!(handler.prepare(&job).expect("a command").argv, ["rm", "-rf"]);
    }

    #[test]
    fn a_missing_or_structured_value_is_refused() {
        let handler = handler(&["echo", "{args.a.b}"]);
        assert!(handler.prepare(&dispatch("{}")).is_err());
        assert!(handler.prepare(&dispatch(r#"{"a": {"b": [1]}}"#)).is_err());
        assert!(handler.prepare(&dispatch(r#"{"a": {"b": "x\u0000y"}}"#)).is_err());
        assert!(handler.prepare(&dispatch(r#"{"a": {"b": true}}"#)).is_ok());
    }

    #[test]
    fn a_wrong_command_is_refused() {
        for cmd in [vec![], vec!["{args.x}"], vec!["echo", "{arg.x}"], vec!["echo", "{"]] {
            assert!(handler(&cmd).check().is_err(), "{cmd:?}");
        }
        assert!(handler(&["echo", "{args.x}", "}}"]).check().is_ok());
    }
}
