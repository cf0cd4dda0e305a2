//! Downloads a file of known size and digest: resumed after a cut, from the next mirror when one
//! fails, under its final name only when its digest is right.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::thread;
use std::time::Duration;

use ureq::http::{HeaderMap, Response};
use ureq::{Agent, Body, Timeout};

use crate::dataset::{DataFile, Dataset};
use crate::failure::{Failure, Result};
use crate::part::Part;

/// Attempts at each mirror.
const N_ATTEMPTS: u32 = 4;

/// A way to the mirrors.
struct Downloader {
    agent: Agent,
    /// Addresses of folders that serve the files.
    mirrors: Vec<String>,
    /// The pause after the first failure; it doubles with each.
    pause: Duration,
}

/// Why an attempt failed.
enum Fault {
    /// Another attempt may help.
    Again(String),
    /// This mirror is of no use.
    Mirror(String),
    /// No mirror would help: our own disk.
    Ours(Failure),
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self::Ours(failure)
    }
}

/// Downloads what is missing of `dataset` into `folder`.
///
/// # Errors
/// [`Code::Unavailable`](crate::failure::Code::Unavailable) and I/O failures.
pub(crate) fn fetch_missing(dataset: &Dataset, folder: &Path, mirrors: Vec<String>) -> Result<()> {
    fs::create_dir_all(folder).map_err(Failure::io(folder, "create"))?;
    let _lock = lock(folder)?;
    let downloader = Downloader::new(mirrors);
    for file in dataset.files.iter().filter(|file| file.locate(folder).is_none()) {
        eprintln!("downloading {} ({:.1} MB)", file.name, file.size as f64 / 1e6);
        downloader.fetch(file, &folder.join(&file.name))?;
    }
    Ok(())
}

/// Keeps a second download into `folder` waiting until the first has ended.
fn lock(folder: &Path) -> Result<File> {
    let path = folder.join(".lock");
    let file = File::create(&path).map_err(Failure::io(&path, "create"))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            eprintln!("waiting for another download into {}", folder.display());
            file.lock().map_err(Failure::io(&path, "lock"))?;
        }
        Err(TryLockError::Error(error)) => return Err(Failure::io(&path, "lock")(error)),
    }
    Ok(file)
}

impl Downloader {
    /// For `mirrors`, tried in this order.
    fn new(mirrors: Vec<String>) -> Self {
        Self { agent: agent(Duration::from_secs(30)), mirrors, pause: Duration::from_millis(500) }
    }

    /// Downloads `file` to `target`.
    ///
    /// # Errors
    /// [`Code::Unavailable`](crate::failure::Code::Unavailable) with each mirror's fault, or an I/O failure. What has come stays in
    /// `NAME.part`.
    fn fetch(&self, file: &DataFile, target: &Path) -> Result<()> {
        let mut part = Part::open(target)?;
        let mut faults = Vec::new();
        for mirror in &self.mirrors {
            let url = format!("{}/{}", mirror.trim_end_matches('/'), file.name);
            match self.fetch_from(&url, file, &mut part) {
                Ok(()) => return part.finish(target),
                Err(Fault::Ours(failure)) => return Err(failure),
                Err(Fault::Again(reason) | Fault::Mirror(reason)) => {
                    eprintln!("{url}: {reason}");
                    faults.push(format!("{url}: {reason}"));
                }
            }
        }
        Err(file.unavailable(&faults.join("; "), target))
    }

    /// Attempts at one mirror, with pauses that double.
    fn fetch_from(&self, url: &str, file: &DataFile, part: &mut Part) -> Attempt {
        let mut etag = None;
        let mut pause = self.pause;
        for _ in 1..N_ATTEMPTS {
            match self.attempt(url, file, part, &mut etag) {
                Err(Fault::Again(reason)) => eprintln!("{url}: {reason}; trying again"),
                end => return end,
            }
            thread::sleep(pause);
            pause *= 2;
        }
        self.attempt(url, file, part, &mut etag)
    }

    /// One request, for what is still missing.
    fn attempt(
        &self,
        url: &str,
        file: &DataFile,
        part: &mut Part,
        etag: &mut Option<String>,
    ) -> Attempt {
        if part.len > file.size {
            part.restart()?;
        }
        let start = part.len;
        if start < file.size {
            let response = self.request(url, start, etag.as_deref())?;
            *etag = header(response.headers(), "etag").map(str::to_owned);
            accept(&response, file, part)?;
            receive(response, file, part)?;
        }
        check(file, part, start > 0)
    }

    fn request(
        &self,
        url: &str,
        start: u64,
        etag: Option<&str>,
    ) -> std::result::Result<Response<Body>, Fault> {
        // What is served compressed on the fly would have another size.
        let mut request = self.agent.get(url).header("accept-encoding", "identity");
        if start > 0 {
            request = request.header("range", format!("bytes={start}-"));
        }
        // A weak tag does not promise the same bytes.
        if let Some(etag) = etag.filter(|tag| start > 0 && !tag.starts_with("W/")) {
            request = request.header("if-range", etag);
        }
        request.call().map_err(fault)
    }
}

type Attempt = std::result::Result<(), Fault>;

fn agent(stall: Duration) -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_resolve(Some(Duration::from_secs(5)))
        .timeout_connect(Some(Duration::from_secs(10)))
        .timeout_recv_response(Some(stall))
        .timeout_per_read(Some(stall))
        .build();
    config.into()
}

/// Checks status and headers; a body from byte 0 on empties `part`.
fn accept(response: &Response<Body>, file: &DataFile, part: &mut Part) -> Attempt {
    let headers = response.headers();
    match response.status().as_u16() {
        200 => part.restart()?,
        206 if range_start(headers) == Some(part.len) => {}
        206 | 416 => {
            part.restart()?;
            return Err(Fault::Again("serves another range than asked for".into()));
        }
        status @ (408 | 429 | 500..) => return Err(Fault::Again(format!("status {status}"))),
        status => return Err(Fault::Mirror(format!("status {status}"))),
    }
    if header(headers, "content-type").is_some_and(|kind| kind.starts_with("text/html")) {
        return Err(Fault::Mirror("serves a web page (a login?) in place of the file".into()));
    }
    let length: Option<u64> = header(headers, "content-length").and_then(|n| n.parse().ok());
    match length {
        Some(length) if length != file.size - part.len => {
            let total = length.saturating_add(part.len);
            Err(Fault::Mirror(format!("serves {total} bytes in place of {}", file.size)))
        }
        _ => Ok(()),
    }
}

/// Appends the body to `part`; never more than the file's size.
fn receive(mut response: Response<Body>, file: &DataFile, part: &mut Part) -> Attempt {
    let mut body = response.body_mut().as_reader();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match body.read(&mut buffer) {
            Ok(0) if part.len == file.size => return Ok(()),
            Ok(0) => return Err(Fault::Again(cut(file, part))),
            Ok(n) if n as u64 > file.size - part.len => {
                part.restart()?;
                let reason = format!("serves more than the file's {} bytes", file.size);
                return Err(Fault::Mirror(reason));
            }
            Ok(n) => part.append(&buffer[..n])?,
            Err(error) => return Err(Fault::Again(format!("{}: {error}", cut(file, part)))),
        }
    }
}

fn cut(file: &DataFile, part: &Part) -> String {
    format!("cut off after {} of {} bytes", part.len, file.size)
}

/// Compares the digest. When it is wrong all is forgotten; where bytes from elsewhere may be at
/// fault (`resumed`), this mirror gets another attempt.
fn check(file: &DataFile, part: &mut Part, resumed: bool) -> Attempt {
    let got = part.sha256();
    if got == file.sha256 {
        return Ok(());
    }
    part.restart()?;
    let reason = format!("serves another file: its sha256 is {got}");
    Err(if resumed { Fault::Again(reason) } else { Fault::Mirror(reason) })
}

/// Where the content of a partial response begins: `Content-Range: bytes START-END/TOTAL`.
fn range_start(headers: &HeaderMap) -> Option<u64> {
    let range = header(headers, "content-range")?.strip_prefix("bytes ")?;
    range.split_once('-')?.0.trim().parse().ok()
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// A network that is not there will not be there in a second; a broken exchange may succeed.
fn fault(error: ureq::Error) -> Fault {
    use ureq::Error as E;
    let hopeless = match &error {
        E::Timeout(timeout) => matches!(timeout, Timeout::Resolve | Timeout::Connect),
        E::Io(e) => matches!(
            e.kind(),
            ErrorKind::ConnectionRefused
                | ErrorKind::HostUnreachable
                | ErrorKind::NetworkUnreachable
                | ErrorKind::AddrNotAvailable
                | ErrorKind::InvalidData
        ),
        E::Protocol(_) => false,
        _ => true,
    };
    if hopeless { Fault::Mirror(error.to_string()) } else { Fault::Again(error.to_string()) }
}

#[cfg(test)]
#[path = "download_tests.rs"]
mod tests;
