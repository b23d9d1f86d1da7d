//! Other programs, asked for a short answer: with a time limit, a bounded output and no input.
//!
//! Whoever asks has a thread of its own: nothing here is called where a sample is taken.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

/// Far above what any of them says; more than this is cut off.
const OUTPUT_BYTES_MAX: u64 = 1 << 20;
/// What a program says went wrong is shown to a person: a line.
const ERROR_BYTES_MAX: u64 = 400;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    #[error("{0} is not installed")]
    Missing(String),
    #[error("cannot start {0}: {1}")]
    Start(String, String),
    #[error("{0} gave no answer within {1:?}")]
    TimedOut(String, Duration),
    #[error("{program}: {message}")]
    Failed { program: String, message: String },
}

/// Runs a program to its end and gives its standard output. It is killed after the limit.
pub fn ask(command: &mut Command, limit: Duration) -> Result<String, CommandError> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => CommandError::Missing(program.clone()),
        _ => CommandError::Start(program.clone(), error.to_string()),
    })?;
    let answer = wait(&mut child, limit);
    // Both fail only where it has ended already.
    let _ = child.kill();
    let ended = child.wait();
    let (output, errors) = answer.ok_or_else(|| CommandError::TimedOut(program.clone(), limit))?;
    match ended {
        Ok(status) if status.success() => Ok(output),
        Ok(status) if errors.is_empty() => Err(CommandError::Failed { program, message: status.to_string() }),
        Ok(_) => Err(CommandError::Failed { program, message: errors }),
        Err(error) => Err(CommandError::Failed { program, message: error.to_string() }),
    }
}

/// Both outputs of a child when they are closed; `None` after the limit.
fn wait(child: &mut Child, limit: Duration) -> Option<(String, String)> {
    let (output, errors) = (child.stdout.take()?, child.stderr.take()?);
    let (sender, ended) = sync_channel(1);
    // A grandchild that keeps the pipes open keeps this thread, and nothing else, waiting.
    let reader =
        std::thread::Builder::new().name("answer".to_owned()).stack_size(128 * 1024).spawn(move || {
            let text = read(output, OUTPUT_BYTES_MAX);
            let _ = sender.send((text, read(errors, ERROR_BYTES_MAX)));
        });
    match reader.map(|_| ended.recv_timeout(limit)) {
        Ok(Ok(both)) => Some(both),
        Ok(Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected)) | Err(_) => None,
    }
}

fn read(from: impl Read, limit: u64) -> String {
    let mut bytes = Vec::new();
    // What was read before an error counts: the exit status says whether it is an answer.
    let _ = from.take(limit).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit_ms: u64) -> Result<String, CommandError> {
        ask(Command::new("sh").args(["-c", script]), Duration::from_millis(limit_ms))
    }

    #[test]
    fn an_answer_is_given_and_a_failure_says_what_the_program_said() {
        assert_eq!(shell("echo 7", 20_000).unwrap(), "7");
        assert_eq!(shell("echo no such job >&2; exit 1", 20_000).unwrap_err().to_string(), "sh: no such job");
        assert_eq!(shell("exit 3", 20_000).unwrap_err().to_string(), "sh: exit status: 3");
        let missing = ask(&mut Command::new("gpuledger-no-such-program"), Duration::from_secs(1));
        assert_eq!(missing.unwrap_err().to_string(), "gpuledger-no-such-program is not installed");
    }

    #[test]
    fn a_program_that_hangs_is_killed_at_its_limit_and_endless_output_is_cut() {
        let hangs = shell("exec sleep 600", 50).unwrap_err();
        assert!(matches!(hangs, CommandError::TimedOut(..)), "{hangs}");
        let endless = shell("head -c 3000000 /dev/zero | tr '\\0' x", 60_000);
        assert!(endless.is_err() || endless.unwrap().len() <= 1 << 20);
    }
}
