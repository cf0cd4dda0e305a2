//! Runs a program that the user may interrupt.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::failure::{Failure, Result};

/// Runs `command` to its end and passes its exit code on.
///
/// The child stays in this process group, so that Ctrl-C reaches it from the terminal; here it
/// is only outlived. SIGTERM and SIGHUP, which may be meant for this process alone, are handed
/// on.
///
/// # Errors
/// [`Failure::Child`] when it ends with another code than 0.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let program = Path::new(command.get_program()).to_owned();
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(Failure::start(&program))?;
    let handle = signals.handle();
    let mut child = command.spawn().map_err(Failure::start(&program))?;
    let pid = child.id();
    let forwarder =
        thread::spawn(move || signals.forever().for_each(|signal| pass_on(pid, signal)));
    let status = child.wait();
    handle.close();
    // It ends with `close`; it has nothing to report.
    let _ = forwarder.join();
    Failure::from_status(status.map_err(Failure::start(&program))?)
}

fn pass_on(pid: u32, signal: i32) {
    let name = match signal {
        SIGTERM => "TERM",
        SIGHUP => "HUP",
        _ => return,
    };
    // The shell's own `kill` is always there. The child may have ended in this moment.
    let kill = format!("kill -s {name} {pid}");
    let _ = Command::new("sh").args(["-c", &kill]).stderr(Stdio::null()).status();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_missing_program_is_named() {
        let failure = run(&mut Command::new("/no/such/program")).unwrap_err();
        assert!(matches!(&failure, Failure::Own(_, line) if line.contains("/no/such/program")));
        assert_eq!(failure.code(), 66);
    }

    #[test]
    fn signals_to_this_process_are_outlived_and_handed_on() {
        // The child itself sends them to us. Were SIGINT not outlived, this test would be gone;
        // were SIGTERM not handed on, the code would be another.
        let signals = "trap 'exit 75' TERM; kill -INT $PPID; kill -TERM $PPID";
        let wait = "i=0; while [ $i -lt 100 ]; do sleep 0.1; i=$((i+1)); done";
        assert_eq!(run(&mut shell(&format!("{signals}; {wait}"))).unwrap_err().code(), 75);
    }
}
