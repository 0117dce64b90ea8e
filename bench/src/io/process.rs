//! A program that takes part. It ends with its owner, however that ends: nothing is left running behind a
//! run that has failed.

use std::io;
use std::process::{Child, ChildStdin, Command};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sluice_control::netns::Namespace;

/// Time that a program has to end after it was asked to.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running program, or one that has ended by itself.
#[derive(Debug)]
pub(super) struct Process(Child);

impl Process {
    /// Starts a program in a namespace.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start(host: &Namespace, command: &mut Command) -> io::Result<Self> {
        Ok(Self(host.spawn(command)?))
    }

    /// Its number, which is its main thread's too.
    pub(super) fn id(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    /// Where it reads from, if that is a pipe.
    pub(super) fn input(&mut self) -> Option<&mut ChildStdin> {
        self.0.stdin.as_mut()
    }

    /// Asks it to end and waits for that.
    ///
    /// # Errors
    /// When it does not; then it is killed.
    pub(super) fn end(&mut self) -> anyhow::Result<()> {
        kill_process(self.id(), Signal::TERM)?;
        self.wait()
    }

    /// Waits until it has ended, after it was asked to in its own way.
    ///
    /// # Errors
    /// When it does not; then it is killed.
    pub(super) fn wait(&mut self) -> anyhow::Result<()> {
        anyhow::ensure!(self.has_ended()?, "process {} does not end", self.0.id());
        Ok(())
    }

    fn has_ended(&mut self) -> io::Result<bool> {
        let begun = Instant::now();
        while self.0.try_wait()?.is_none() {
            if begun.elapsed() > PATIENCE {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(true)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(Some(_))) {
            return;
        }
        // What fails here has ended meanwhile.
        let _asked = kill_process(self.id(), Signal::TERM);
        if !self.has_ended().unwrap_or(false) {
            let _killed = self.0.kill();
            let _ended = self.0.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_ends_with_its_owner() {
        let mut command = Command::new("sleep");
        let process = Process(command.arg("1000").spawn().unwrap());
        let id = process.id();
        assert!(rustix::process::test_kill_process(id).is_ok());
        drop(process);
        assert!(rustix::process::test_kill_process(id).is_err());
    }

    #[test]
    fn a_program_that_has_ended_is_no_error() {
        let mut command = Command::new("true");
        let mut process = Process(command.spawn().unwrap());
        process.wait().unwrap();
        process.wait().unwrap();
    }
}
