//! The downloader against servers that fail in every way; all on 127.0.0.1.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, mpsc};

use super::*;
use crate::dataset::tests::sample;

/// A server for this test: answers each request with the bytes that `answer` makes of its number
/// (from 0) and head, then closes. It lives as long as the test program.
struct Server {
    base: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new(answer: impl Fn(usize, &str) -> Vec<u8> + Send + 'static) -> Self {
        Self::silent(Duration::ZERO, answer)
    }

    /// As `new`, but it is silent for a while before it closes.
    fn silent(pause: Duration, answer: impl Fn(usize, &str) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let heads = Arc::new(Mutex::new(Vec::new()));
        let log = heads.clone();
        thread::spawn(move || {
            for (i, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                let head = read_head(&mut stream);
                let bytes = answer(i, &head);
                log.lock().unwrap().push(head);
                // The client may have closed first.
                let _ = stream.write_all(&bytes);
                thread::sleep(pause);
            }
        });
        Self { base, heads }
    }

    fn n_requests(&self) -> usize {
        self.heads.lock().unwrap().len()
    }
}

fn read_head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap().to_lowercase()
}

fn response(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\n{headers}\r\n");
    [head.as_bytes(), body].concat()
}

/// Serves `bytes` as a good server does: whole, or from where it is asked to.
fn serve(bytes: &[u8], head: &str) -> Vec<u8> {
    let size = bytes.len();
    match head.split_once("range: bytes=").and_then(|(_, rest)| rest.split_once("-\r")) {
        Some((start, _)) => {
            let start: usize = start.parse().unwrap();
            let headers = format!(
                "content-range: bytes {start}-{}/{size}\r\ncontent-length: {}\r\n",
                size - 1,
                size - start
            );
            response("206 Partial Content", &headers, &bytes[start..])
        }
        None => response("200 OK", &format!("content-length: {size}\r\netag: \"e\"\r\n"), bytes),
    }
}

/// A server of `bytes`, without a fault.
fn good(bytes: &[u8]) -> Server {
    let bytes = bytes.to_owned();
    Server::new(move |_, head| serve(&bytes, head))
}

/// A file to download, what a good server serves, and a folder for it.
struct Case {
    file: DataFile,
    served: Vec<u8>,
    folder: tempfile::TempDir,
    /// How long a server may be silent.
    stall: Duration,
}

impl Case {
    fn new() -> Self {
        let content: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
        let (dataset, served) = sample(&content);
        let file = dataset.files[0].clone();
        let folder = tempfile::tempdir().unwrap();
        Self { file, served, folder, stall: Duration::from_secs(10) }
    }

    fn target(&self) -> PathBuf {
        self.folder.path().join("a.gz")
    }

    fn part(&self) -> PathBuf {
        self.folder.path().join("a.gz.part")
    }

    fn fetch(&self, servers: &[&Server]) -> Result<()> {
        let mirrors = servers.iter().map(|server| server.base.clone()).collect();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_per_read(Some(self.stall))
            .build();
        let pause = Duration::from_millis(1);
        Downloader { agent: config.into(), mirrors, pause }.fetch(&self.file, &self.target())
    }

    /// All is well: the file is there and nothing else.
    fn assert_fetched(&self, servers: &[&Server]) {
        self.fetch(servers).unwrap();
        assert_eq!(fs::read(self.target()).unwrap(), self.served);
        assert_eq!(fs::read_dir(self.folder.path()).unwrap().count(), 1);
    }

    /// `bad` fails with exit code 69, saying `reason`, and nothing stands under the final name;
    /// with a good mirror behind it all is well.
    fn assert_refused(&self, bad: &Server, reason: &str) {
        let failure = self.fetch(&[bad]).unwrap_err();
        assert_eq!(failure.code(), 69);
        let Failure::Own(_, line) = failure else { panic!() };
        for part in [reason, &self.file.sha256, self.target().to_str().unwrap()] {
            assert!(line.contains(part), "{line}");
        }
        assert!(!line.contains('\n') && !self.target().exists());
        self.assert_fetched(&[bad, &good(&self.served)]);
    }
}

#[test]
fn a_good_server_is_asked_once() {
    let case = Case::new();
    let server = good(&case.served);
    case.assert_fetched(&[&server]);
    assert_eq!(server.n_requests(), 1);
}

#[test]
fn a_cut_connection_is_resumed_at_any_offset() {
    for i in 0..20 {
        let case = Case::new();
        let served = case.served.clone();
        let server = Server::new(move |n_before, head| {
            let mut bytes = serve(&served, head);
            if n_before == 0 {
                bytes.truncate(60 + i * served.len() / 20);
            }
            bytes
        });
        case.assert_fetched(&[&server]);
        let heads = server.heads.lock().unwrap();
        assert_eq!(heads.len(), 2);
        let resumed = heads[1].contains("range: bytes=") && heads[1].contains("if-range: \"e\"");
        assert!(resumed || i == 0, "{}", heads[1]);
    }
}

#[test]
fn an_earlier_part_is_gone_on_with() {
    let case = Case::new();
    fs::write(case.part(), &case.served[..1000]).unwrap();
    let server = good(&case.served);
    case.assert_fetched(&[&server]);
    assert!(server.heads.lock().unwrap()[0].contains("range: bytes=1000-"));
}

#[test]
fn a_finished_part_needs_no_server() {
    let case = Case::new();
    fs::write(case.part(), &case.served).unwrap();
    case.assert_fetched(&[&Server::new(|_, _| vec![])]);
}

#[test]
fn a_wrong_or_too_long_part_is_forgotten() {
    for part in [vec![7; 1000], vec![7; 10_000_000], vec![7; Case::new().served.len()]] {
        let case = Case::new();
        fs::write(case.part(), part).unwrap();
        case.assert_fetched(&[&good(&case.served)]);
    }
}

#[test]
fn a_server_without_ranges_starts_over() {
    let case = Case::new();
    fs::write(case.part(), &case.served[..1000]).unwrap();
    let served = case.served.clone();
    case.assert_fetched(&[&Server::new(move |_, _| serve(&served, ""))]);
}

#[test]
fn another_range_than_asked_for_starts_over() {
    for status in ["206 Partial Content", "416 Range Not Satisfiable"] {
        let case = Case::new();
        fs::write(case.part(), &case.served[..1000]).unwrap();
        let served = case.served.clone();
        let server = Server::new(move |n_before, head| match n_before {
            0 => response(status, "content-range: bytes 5-9/10\r\ncontent-length: 5\r\n", b"01234"),
            _ => serve(&served, head),
        });
        case.assert_fetched(&[&server]);
        assert_eq!(server.n_requests(), 2);
    }
}

#[test]
fn a_status_for_good_goes_to_the_next_mirror_at_once() {
    let case = Case::new();
    let bad = Server::new(|_, _| response("404 Not Found", "content-length: 0\r\n", b""));
    case.assert_refused(&bad, "status 404");
    assert_eq!(bad.n_requests(), 2);
}

#[test]
fn a_status_for_now_is_tried_again() {
    let case = Case::new();
    let bad = Server::new(|_, _| response("500 Oops", "content-length: 0\r\n", b""));
    case.assert_refused(&bad, "status 500");
    assert_eq!(bad.n_requests(), 2 * N_ATTEMPTS as usize);
}

#[test]
fn a_web_page_is_refused() {
    let page = |_: usize, _: &str| response("200 OK", "content-type: text/html\r\n", b"<html>");
    Case::new().assert_refused(&Server::new(page), "web page");
}

#[test]
fn wrong_bytes_are_refused() {
    let case = Case::new();
    let mut wrong = case.served.clone();
    wrong[4321] ^= 1;
    case.assert_refused(&good(&wrong), "another file");
}

#[test]
fn wrong_lengths_are_refused() {
    let case = Case::new();
    let longer = [case.served.as_slice(), b"more"].concat();
    case.assert_refused(&good(&longer), "in place of");
    let case = Case::new();
    case.assert_refused(&good(&case.served[1..]), "in place of");
    // Without a length in the head: it ends with the connection.
    let case = Case::new();
    case.assert_refused(&Server::new(move |_, _| response("200 OK", "", &longer)), "more than");
}

#[test]
fn a_stall_ends_and_the_next_mirror_is_asked() {
    let case = Case { stall: Duration::from_millis(200), ..Case::new() };
    let served = case.served.clone();
    let stalling = Server::silent(Duration::from_secs(60), move |_, head| {
        let mut bytes = serve(&served, head);
        bytes.truncate(1000);
        bytes
    });
    let start = std::time::Instant::now();
    case.assert_fetched(&[&stalling, &good(&case.served)]);
    assert!(start.elapsed() < Duration::from_secs(30));
}

#[test]
fn redirects_in_a_circle_end() {
    let circle = Server::new(|_, _| response("302 Found", "location: /a.gz\r\n", b""));
    Case::new().assert_refused(&circle, "redirect");
}

#[test]
fn a_refused_connection_costs_no_second() {
    let case = Case::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let nobody = Server { base, heads: Arc::default() };
    let start = std::time::Instant::now();
    assert_eq!(case.fetch(&[&nobody, &nobody]).unwrap_err().code(), 69);
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let case = Case::new();
    let downloader = Downloader::new(vec![]);
    let failure = downloader.fetch(&case.file, Path::new("/dev/null/a.gz")).unwrap_err();
    assert_eq!(failure.code(), 73);
}

#[test]
fn a_second_download_waits_for_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let first = lock(dir.path()).unwrap();
    let (sender, receiver) = mpsc::channel();
    let folder = dir.path().to_owned();
    let second = thread::spawn(move || {
        let _lock = lock(&folder).unwrap();
        sender.send(()).unwrap();
    });
    assert!(receiver.recv_timeout(Duration::from_millis(200)).is_err());
    drop(first);
    receiver.recv_timeout(Duration::from_secs(5)).unwrap();
    second.join().unwrap();
}
