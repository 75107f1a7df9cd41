//! Commands and answers as lines of JSON.
//!
//! ```text
//! {"command":"backup","directory":"/srv/copy"}
//! {"done":{"bytes":1048576}}
//! {"refused":"busy","message":"a backup is being made"}
//! ```

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Answer, Command, Figures, Reason, Refusal};

/// A path of 4,096 bytes fits, however much of it JSON has to escape.
pub(super) const COMMAND_BYTES_MAX: usize = 32 * 1024;

pub(super) const ANSWER_BYTES_MAX: usize = 1024 * 1024;

const REASONS: &[(&str, Reason)] = &[
    ("unknown", Reason::Unknown),
    ("busy", Reason::Busy),
    ("cannot_create", Reason::CannotCreate),
    ("permission", Reason::Permission),
    ("io", Reason::Io),
];

/// `None` for a path that is not text.
pub(super) fn of_command(command: &Command) -> Option<String> {
    let value = match command {
        Command::Status => json!({ "command": "status" }),
        Command::Backup { directory } => {
            json!({ "command": "backup", "directory": directory.to_str()? })
        }
    };
    Some(format!("{value}\n"))
}

pub(super) fn command(line: &[u8]) -> Result<Command, Refusal> {
    let unknown = |message: &str| Refusal::new(Reason::Unknown, message);
    let value: Value =
        serde_json::from_slice(line).map_err(|_| unknown("the command is not a line of JSON"))?;
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    match text("command") {
        Some("status") => Ok(Command::Status),
        Some("backup") => match text("directory").map(Path::new) {
            Some(directory) if directory.is_absolute() => {
                Ok(Command::Backup { directory: PathBuf::from(directory) })
            }
            Some(_) | None => Err(unknown("`backup` needs the absolute path of a `directory`")),
        },
        Some(_) | None => Err(unknown(concat!(
            "dunlin ",
            env!("CARGO_PKG_VERSION"),
            " knows the commands `status` and `backup`"
        ))),
    }
}

pub(super) fn of_answer(answer: &Answer) -> String {
    let value = match answer {
        Ok(figures) => json!({ "done": figures.0 }),
        Err(Refusal { reason, message }) => {
            let word = REASONS.iter().find(|(_, known)| known == reason);
            json!({ "refused": word.map_or("", |(word, _)| word), "message": message })
        }
    };
    format!("{value}\n")
}

/// `None` for what is no answer.
pub(super) fn answer(line: &[u8]) -> Option<Answer> {
    let value: Value = serde_json::from_slice(line).ok()?;
    if let Some(Value::Object(figures)) = value.get("done") {
        return Some(Ok(Figures(figures.clone())));
    }
    let word = value.get("refused").and_then(Value::as_str)?;
    let message = value.get("message").and_then(Value::as_str)?;
    // A newer broker may have reasons that are not known here; its words are what counts.
    let reason = REASONS.iter().find(|(known, _)| *known == word);
    Some(Err(Refusal::new(reason.map_or(Reason::Io, |(_, reason)| *reason), message)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_read_as_it_was_written() {
        let directory = PathBuf::from("/a \"b\"\n/ü");
        for written in [Command::Status, Command::Backup { directory }] {
            let line = of_command(&written).unwrap();

            assert_eq!(command(line.as_bytes()), Ok(written));
            assert_eq!(line.matches('\n').count(), 1, "{line}");
        }
    }

    #[test]
    fn an_answer_is_read_as_it_was_written() {
        let figures = Figures::default().number("bytes", u64::MAX).text("to", "/a\nb");
        for written in [Ok(figures), Err(Refusal::new(Reason::Busy, "wait"))] {
            let line = of_answer(&written);

            assert_eq!(answer(line.as_bytes()), Some(written));
            assert_eq!(line.matches('\n').count(), 1, "{line}");
        }
    }

    #[test]
    fn what_is_no_command_is_refused() {
        for line in [
            "",
            "status",
            "[]",
            "{}",
            "{\"command\":1}",
            "{\"command\":\"stop\"}",
            "{\"command\":\"backup\"}",
            "{\"command\":\"backup\",\"directory\":\"\"}",
            "{\"command\":\"backup\",\"directory\":\"relative\"}",
            "{\"command\":\"status\"} {}",
        ] {
            let refusal = command(line.as_bytes()).unwrap_err();

            assert_eq!(refusal.reason, Reason::Unknown, "{line}");
        }
        let deep = "[".repeat(COMMAND_BYTES_MAX);
        assert!(command(deep.as_bytes()).is_err());
    }
}
