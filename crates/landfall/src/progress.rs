//! Progress of a long computation, on standard error. A short computation prints nothing.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Time after which a terminal shows progress.
const TERMINAL_DELAY: Duration = Duration::from_secs(2);

/// Time after which a log gets a line per task.
const LOG_DELAY: Duration = Duration::from_secs(10);

/// Time between two updates on a terminal: ten a second are all that an eye can follow.
const UPDATE_INTERVAL: Duration = Duration::from_millis(100);

/// Prints a line that is overwritten on a terminal, or a line per task in a log.
#[derive(Debug)]
pub struct Progress {
    started: Instant,
    terminal: bool,
    task: String,
    /// When progress of the task was last printed.
    printed: Option<Instant>,
    /// True if there is a line on the terminal.
    drawn: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Update {
    Nothing,
    /// A line that overwrites the last one.
    Line,
    /// A line below the last one.
    LogLine,
}

impl Progress {
    #[expect(clippy::disallowed_methods, reason = "measures how long a person has been waiting")]
    pub fn new() -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { started: Instant::now(), terminal, task: String::new(), printed: None, drawn: false }
    }

    /// Starts a task.
    pub fn task(&mut self, task: String) {
        self.task = task;
        self.printed = self.printed.filter(|_| self.terminal);
    }

    /// Reports that `done` rounds of the task are done.
    #[expect(clippy::disallowed_methods, reason = "measures how long a person has been waiting")]
    pub fn round(&mut self, done: usize, of: usize) {
        let now = Instant::now();
        let text = match update(self.terminal, now - self.started, self.printed.map(|printed| now - printed)) {
            Update::Nothing => return,
            Update::Line => format!("\r\x1b[K{}: round {done} of {of}", self.task),
            Update::LogLine => format!("{}\n", self.task),
        };
        self.printed = Some(now);
        self.drawn = self.terminal;
        write(&text);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.drawn {
            write("\r\x1b[K");
        }
    }
}

/// Returns what to print, `elapsed` after the start and `since_printed` after the last update.
fn update(terminal: bool, elapsed: Duration, since_printed: Option<Duration>) -> Update {
    match (terminal, since_printed) {
        (true, None) if elapsed >= TERMINAL_DELAY => Update::Line,
        (true, Some(ago)) if ago >= UPDATE_INTERVAL => Update::Line,
        (false, None) if elapsed >= LOG_DELAY => Update::LogLine,
        _ => Update::Nothing,
    }
}

/// Ignores errors: progress without a reader is lost, which does no harm.
fn write(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_computation_prints_no_progress() {
        let ms = Duration::from_millis;
        assert_eq!(update(true, ms(1_900), None), Update::Nothing);
        assert_eq!(update(true, ms(2_100), None), Update::Line);
        assert_eq!(update(true, ms(9_000), Some(ms(50))), Update::Nothing, "not more often than a person can read");
        assert_eq!(update(true, ms(9_000), Some(ms(150))), Update::Line);
        assert_eq!(update(false, ms(9_000), None), Update::Nothing);
        assert_eq!(update(false, ms(11_000), None), Update::LogLine);
        assert_eq!(update(false, ms(60_000), Some(ms(40_000))), Update::Nothing, "once per task");
    }
}
