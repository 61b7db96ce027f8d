//! Child processes that never outlive the tests.
//!
//! A child is killed when its [`Process`] is dropped. That is not enough: a killed test process drops nothing, nor does
//! one that ends while a static holds a cluster. So each child is started under `setpriv --pdeathsig KILL`
//! (util-linux), which asks the kernel to kill the child with its parent. To the kernel, the parent is the *thread*
//! that started it, and test threads end early. So one thread that never ends starts all children.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use std::{io, thread};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait::{await_condition, now};

/// Running program, with its output in a file.
#[derive(Debug)]
pub struct Process {
    child: Mutex<Child>,
    pid: u32,
    log: PathBuf,
}

impl Process {
    /// Starts `program` with `arguments`. Appends its output, both streams, to the file `log`.
    pub fn start(program: &Path, arguments: &[OsString], log: &Path) -> Result<Self> {
        Self::start_with(program, arguments, &[], log)
    }

    /// Starts a program as [`Process::start`] does, with further environment variables.
    pub fn start_with(
        program: &Path,
        arguments: &[OsString],
        environment: &[(&str, OsString)],
        log: &Path,
    ) -> Result<Self> {
        let output =
            File::options().create(true).append(true).open(log).with_context(|| format!("open {}", log.display()))?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program).args(arguments);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = start_from_lasting_thread(command)
            .with_context(|| format!("start {} by setpriv (package util-linux)", program.display()))?;
        Ok(Self { pid: child.id(), child: Mutex::new(child), log: log.into() })
    }

    /// Process id. It is that of the program, because `setpriv` replaces itself.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns the end of its output.
    #[must_use]
    pub fn last_lines(&self, lines: usize) -> String {
        last_lines(&self.log, lines)
    }

    /// Fails, with the end of the log, if the program has ended.
    pub fn check_running(&self) -> Result<()> {
        if let Some(status) = self.child().try_wait()? {
            bail!("{} ended with {status}; its last lines:\n{}", self.log.display(), self.last_lines(20));
        }
        Ok(())
    }

    /// Sends SIGKILL. Returns once the process is gone.
    pub fn kill(&self) -> Result<()> {
        let mut child = self.child();
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Sends SIGTERM and waits for the process to end. Returns its exit status and how long that took.
    pub async fn terminate(&self, timeout: Duration) -> Result<(ExitStatus, Duration)> {
        let sent = now();
        self.signal(Signal::TERM)?;
        let status = self.exit_status(timeout).await?;
        Ok((status, sent.elapsed()))
    }

    /// Sends SIGSTOP: the process does nothing, and its connections stay open.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Sends SIGCONT: the process continues.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw).context("the process id is not valid")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Waits for the program to end by itself.
    pub async fn exit_status(&self, timeout: Duration) -> Result<ExitStatus> {
        await_condition("the process ends", timeout, async || self.child().try_wait()?.context("it still runs")).await
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        // A thread that panicked with the lock left a child that can be killed like any other.
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only if the process has been waited for already.
        let _ = self.kill();
    }
}

/// Waits as [`await_condition`] does, and gives up if one of the programs has ended.
pub async fn await_while_running<T>(
    programs: &[&Process],
    what: &str,
    timeout: Duration,
    mut look: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    await_condition(what, timeout, async || {
        if let Some(ended) = programs.iter().find_map(|program| program.check_running().err()) {
            return Ok(Err(ended.context(what.to_owned())));
        }
        look().await.map(Ok)
    })
    .await?
}

/// Returns the last `lines` lines of a file, or nothing if there is no file.
#[must_use]
pub fn last_lines(file: &Path, lines: usize) -> String {
    let text = fs::read(file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

struct Order {
    command: Command,
    reply: Sender<io::Result<Child>>,
}

fn start_from_lasting_thread(command: Command) -> Result<Child> {
    static STARTER: OnceLock<Sender<Order>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (orders, inbox) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for mut order in inbox {
                // If the caller is gone, the child is dropped with the reply.
                let _ = order.reply.send(order.command.spawn());
            }
        });
        orders
    });
    let (reply, answer) = mpsc::channel();
    starter.send(Order { command, reply }).ok().context("the starting thread ended")?;
    Ok(answer.recv()??)
}
