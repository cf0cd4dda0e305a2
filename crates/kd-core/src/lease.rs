//! One process at a time, on whatever machine, where machines share a folder.
//!
//! Key decision: neither a lock of the operating system, which shared file systems keep unreliably, nor
//! another machine's clock. A lease is a file that only one process can create, and which its owner changes
//! every few seconds. Whoever finds it watches it: one that stays the same for a minute, by the watcher's own
//! clock, has lost its owner. Of a process on the same machine the system says whether it lives.
//!
//! Files have numbers, and the highest counts: whoever takes a lease over creates the next one, which
//! succeeds once only, so that two that take it over at the same time cannot both have it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::{Error, Result, fsx};

/// Time between two signs of life.
const BEAT: Duration = Duration::from_secs(5);
/// Time without one after which an owner on another machine is taken for gone.
const GONE: Duration = Duration::from_secs(60);
/// Time between two looks at the lease of another.
const LOOK: Duration = Duration::from_millis(200);

/// A place that this process has for itself until this is dropped, or the process ends in whatever way.
#[derive(Debug)]
pub struct Lease {
    path: PathBuf,
    owner: Owner,
    beat: Option<(Sender<()>, JoinHandle<()>)>,
}

/// Who has a lease: the content of its file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The machine's name.
    pub host: String,
    /// Process id.
    pub pid: u32,
    /// Tells processes apart that had the same number: when the machine was started, in which container the
    /// number counts, and when the process began.
    process: String,
    /// Counts the signs of life.
    beat: u64,
    /// Whether it was given back.
    returned: bool,
}

impl Owner {
    fn own() -> Self {
        let pid = std::process::id();
        Self { host: host(), pid, process: process(pid), ..Self::default() }
    }

    /// Whether it lives, where this machine can tell at once.
    fn lives(&self) -> Option<bool> {
        let own = Self::own();
        let is_here = self.host == own.host && system(&self.process) == system(&own.process);
        (is_here && !own.process.is_empty()).then(|| process(self.pid) == self.process)
    }
}

/// Name of the machine.
fn host() -> String {
    trimmed("/proc/sys/kernel/hostname")
}

/// Which start of which system the process `pid` belongs to, and when it began; nothing where the system does
/// not tell, or has no such process.
fn process(pid: u32) -> String {
    let space = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let stat = trimmed(&format!("/proc/{pid}/stat"));
    // The name, in parentheses, may have spaces; the start is the 20th field behind it.
    let start = stat.rsplit_once(')').and_then(|(_, fields)| fields.split_whitespace().nth(19));
    let boot = trimmed("/proc/sys/kernel/random/boot_id");
    start.map_or(String::new(), |start| format!("{boot} {} {start}", space.display()))
}

/// What of [`process`] all processes that can see each other share.
fn system(process: &str) -> &str {
    process.rsplit_once(' ').map_or("", |(system, _)| system)
}

fn trimmed(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

impl Lease {
    /// Takes the lease of `place`, a path beside which its files lie; where the owner may be gone and only time
    /// can tell, this waits for up to a minute. `lost` is called on another thread when another process took
    /// the place over, because this one was stopped for too long: it must write nothing more.
    ///
    /// # Errors
    /// [`Error::Busy`] when another process has it; [`Error::Io`].
    pub fn take(place: &Path, lost: fn()) -> Result<Self> {
        let owner = Owner::own();
        loop {
            let last = last(place)?;
            if let Some(number) = last {
                refuse_living(place, number)?;
            }
            let number = last.map_or(0, |number| number + 1);
            let path = file(place, number);
            if !create(&path, &owner)? {
                continue;
            }
            if self::last(place)? != Some(number) {
                fsx::remove_if_there(&path)?;
                continue;
            }
            (0..number).rev().map_while(|old| fs::remove_file(file(place, old)).ok()).count();
            return Ok(Self::beating(path, file(place, number + 1), owner, lost));
        }
    }

    /// Who has the lease of `place`, as far as can be told without waiting.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn owner(place: &Path) -> Result<Option<Owner>> {
        let Some(number) = last(place)? else { return Ok(None) };
        let owner = read(&file(place, number));
        Ok(owner.filter(|owner| !owner.returned && owner.lives() != Some(false)))
    }

    fn beating(path: PathBuf, next: PathBuf, owner: Owner, lost: fn()) -> Self {
        let (end, ended) = channel();
        let (of, mut sign) = (path.clone(), owner.clone());
        let beat = move || {
            while ended.recv_timeout(BEAT) == Err(RecvTimeoutError::Timeout) {
                if next.exists() {
                    return lost();
                }
                sign.beat += 1;
                // A disk that is full or away for a moment is no reason to end: the next beat may succeed.
                let _ = write(&of, &sign);
            }
        };
        Self { path, owner, beat: Some((end, std::thread::spawn(beat))) }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some((end, thread)) = self.beat.take() {
            drop(end);
            // The thread only writes a file; if it panicked there is nothing left to write.
            let _ = thread.join();
        }
        // If this fails, others find out that the process is gone.
        let _ = write(&self.path, &Owner { returned: true, ..self.owner.clone() });
    }
}

/// Refuses to go on while the owner of the lease `number` lives, and waits where that is not known.
fn refuse_living(place: &Path, number: u64) -> Result<()> {
    let path = file(place, number);
    let (mut seen, mut since) = (read(&path), Instant::now());
    loop {
        let Some(owner) = &seen else { return Ok(()) };
        let busy = || Error::Busy { path: place.into(), host: owner.host.clone(), pid: owner.pid };
        match owner.lives() {
            _ if owner.returned => return Ok(()),
            Some(false) => return Ok(()),
            Some(true) => return Err(busy()),
            None if since.elapsed() > GONE => return Ok(()),
            None => std::thread::sleep(LOOK),
        }
        let now = read(&path);
        if now.as_ref().is_some_and(|now| !now.returned) && now != seen {
            return Err(busy());
        }
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
    }
}

/// The highest number of a lease of `place`.
fn last(place: &Path) -> Result<Option<u64>> {
    let folder = place.parent().unwrap_or(Path::new("."));
    let prefix = prefix(place);
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        entries => entries.map_err(Error::io(folder, "list"))?,
    };
    let number = |name: std::ffi::OsString| name.to_str()?.strip_prefix(&prefix)?.parse().ok();
    Ok(entries.flatten().filter_map(|entry| number(entry.file_name())).max())
}

fn prefix(place: &Path) -> String {
    format!(".lease-{}.", place.file_name().unwrap_or_default().to_string_lossy())
}

fn file(place: &Path, number: u64) -> PathBuf {
    place.with_file_name(format!("{}{number}", prefix(place)))
}

/// Nothing when the file is not there, or a process that ended within its first moment left it empty.
fn read(path: &Path) -> Option<Owner> {
    serde_json::from_slice(&fsx::read_if_there(path, 1 << 16).ok()??).ok()
}

fn write(path: &Path, owner: &Owner) -> Result<()> {
    fsx::write_atomic(path, &encoded(owner))
}

fn encoded(owner: &Owner) -> Vec<u8> {
    serde_json::to_vec(owner).expect("invariant: an owner is plain data")
}

/// Creates `path` with its content in one step; false when it is there.
fn create(path: &Path, owner: &Owner) -> Result<bool> {
    fsx::write_new(path, &encoded(owner))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("work");
        (folder, place)
    }

    fn take(place: &Path) -> Result<Lease> {
        Lease::take(place, || ())
    }

    /// What a process wrote that is no longer there.
    fn leave(place: &Path, number: u64, owner: &Owner) {
        write(&file(place, number), owner).unwrap();
    }

    #[test]
    fn a_place_is_busy_until_it_is_given_back() {
        let (_folder, place) = place();
        let lease = take(&place).unwrap();
        assert_eq!(Lease::owner(&place).unwrap().unwrap().pid, std::process::id());
        for _ in 0..2 {
            let second = take(&place);
            assert!(matches!(second, Err(Error::Busy { pid, .. }) if pid == std::process::id()));
        }
        drop(lease);
        assert_eq!(Lease::owner(&place).unwrap(), None);
        drop(take(&place).unwrap());
        assert_eq!(last(&place).unwrap(), Some(1), "a number is never used twice");
    }

    #[test]
    fn a_place_in_no_folder_is_nobody_s() {
        let place = Path::new("/no/such/folder/work");
        assert_eq!(Lease::owner(place).unwrap(), None);
        assert!(matches!(take(place), Err(Error::Io { action: "create", .. })));
    }

    #[test]
    fn other_places_are_free() {
        let (folder, place) = place();
        let _one = take(&place).unwrap();
        let _other = take(&folder.path().join("work.1")).unwrap();
        let _another = take(&folder.path().join("wor")).unwrap();
        assert!(take(&place).is_err());
    }

    #[test]
    fn what_a_dead_process_left_is_taken_over_at_once() {
        let (_folder, place) = place();
        let mut dead = Owner::own();
        dead.process += "0";
        leave(&place, 4, &dead);
        assert_eq!(Lease::owner(&place).unwrap(), None);
        let started = Instant::now();
        let lease = take(&place).unwrap();
        assert!(started.elapsed() < GONE / 2);
        assert_eq!(lease.path, file(&place, 5));
        assert!(!file(&place, 4).exists());
    }

    #[test]
    fn a_number_that_no_process_has_is_dead_and_another_machine_s_may_live() {
        let own = Owner::own();
        assert_eq!(own.lives(), Some(true));
        assert_eq!(Owner { pid: u32::MAX, ..own.clone() }.lives(), Some(false));
        assert_eq!(
            Owner { process: own.process.clone() + "0", ..own.clone() }.lives(),
            Some(false)
        );
        assert_eq!(Owner { host: "elsewhere".into(), ..own.clone() }.lives(), None);
        assert_eq!(Owner { process: "another-boot pid:[1] 7".into(), ..own }.lives(), None);
    }

    #[test]
    fn a_sign_of_life_from_another_machine_keeps_the_place() {
        let (_folder, place) = place();
        let far = Owner { host: "elsewhere".into(), ..Owner::own() };
        leave(&place, 0, &far);
        assert_eq!(Lease::owner(&place).unwrap(), Some(far.clone()));
        let at = place.clone();
        let living = std::thread::spawn(move || {
            std::thread::sleep(3 * LOOK);
            leave(&at, 0, &Owner { beat: 1, ..far });
        });
        assert!(matches!(take(&place), Err(Error::Busy { host, .. }) if host == "elsewhere"));
        living.join().unwrap();
        leave(&place, 0, &Owner { returned: true, host: "elsewhere".into(), ..Owner::own() });
        take(&place).unwrap();
    }

    #[test]
    fn of_many_that_come_at_once_one_gets_it() {
        let (_folder, place) = place();
        let mut dead = Owner::own();
        dead.process += "0";
        leave(&place, 0, &dead);
        let took: Vec<Result<Lease>> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..8).map(|_| scope.spawn(|| take(&place))).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert_eq!(took.iter().filter(|took| took.is_ok()).count(), 1);
    }
}
