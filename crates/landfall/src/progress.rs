//! How far a long computation is, for who waits for it. Not a word where it is short.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Who waits longer wants to know.
const LONG: Duration = Duration::from_secs(2);

/// A log wants to know later, and less.
const LONG_FOR_A_LOG: Duration = Duration::from_secs(10);

/// Ten times a second is all that an eye can follow.
const PAUSE: Duration = Duration::from_millis(100);

/// On standard error: a line that is written again and again on a terminal, a line per task in a log.
#[derive(Debug)]
pub struct Progress {
    began: Instant,
    terminal: bool,
    task: String,
    /// When the task was last spoken of.
    said: Option<Instant>,
    /// Whether there is a line on the terminal.
    drawn: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Say {
    Nothing,
    /// Over the last one.
    Line,
    /// Below the last one.
    LogLine,
}

impl Progress {
    #[expect(clippy::disallowed_methods, reason = "how long somebody has been waiting, on the clock that he looks at")]
    pub fn new() -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { began: Instant::now(), terminal, task: String::new(), said: None, drawn: false }
    }

    /// What is done now.
    pub fn task(&mut self, task: String) {
        self.task = task;
        self.said = self.said.filter(|_| self.terminal);
    }

    /// So many rounds of it are done.
    #[expect(clippy::disallowed_methods, reason = "how long somebody has been waiting, on the clock that he looks at")]
    pub fn round(&mut self, done: usize, of: usize) {
        let now = Instant::now();
        let text = match say(self.terminal, now - self.began, self.said.map(|said| now - said)) {
            Say::Nothing => return,
            Say::Line => format!("\r\x1b[K{}: round {done} of {of}", self.task),
            Say::LogLine => format!("{}\n", self.task),
        };
        self.said = Some(now);
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

/// Given how long it has taken, and how long ago the task was last spoken of.
fn say(terminal: bool, since: Duration, said: Option<Duration>) -> Say {
    match (terminal, said) {
        (true, None) if since >= LONG => Say::Line,
        (true, Some(ago)) if ago >= PAUSE => Say::Line,
        (false, None) if since >= LONG_FOR_A_LOG => Say::LogLine,
        _ => Say::Nothing,
    }
}

/// Where nobody listens there is nothing to do about it.
fn write(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_short_is_not_spoken_of() {
        let ms = Duration::from_millis;
        assert_eq!(say(true, ms(1_900), None), Say::Nothing);
        assert_eq!(say(true, ms(2_100), None), Say::Line);
        assert_eq!(say(true, ms(9_000), Some(ms(50))), Say::Nothing, "not more often than one can read");
        assert_eq!(say(true, ms(9_000), Some(ms(150))), Say::Line);
        assert_eq!(say(false, ms(9_000), None), Say::Nothing);
        assert_eq!(say(false, ms(11_000), None), Say::LogLine);
        assert_eq!(say(false, ms(60_000), Some(ms(40_000))), Say::Nothing, "once per task");
    }
}
