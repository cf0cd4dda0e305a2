//! What downloads, compiled in only when that is needed: TLS takes longer to build than the rest.

use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::{Code, Failure, Result};
use crate::{child, kd};

/// Whether this program can download from `urls`.
pub(crate) fn is_compiled_in(urls: &[String]) -> bool {
    match needs_tls(urls) {
        true => cfg!(feature = "https"),
        false => cfg!(any(test, feature = "http")),
    }
}

fn needs_tls(urls: &[String]) -> bool {
    urls.iter().any(|url| url.starts_with("https:"))
}

/// How long a network may take to show that it is there.
const PATIENCE: Duration = Duration::from_secs(2);

/// Downloads data set `name` by a build of this program that can.
///
/// # Errors
/// Those of the download; [`Code::Unavailable`] also when that build fails.
pub(crate) fn download(name: &str, data_dir: &Path, urls: &[String]) -> Result<()> {
    let feature = if needs_tls(urls) { "https" } else { "http" };
    eprintln!("starting the downloader (it is built once)");
    let mut cargo = kd::cargo();
    cargo.args(["run", "--profile", "xtask", "--package", "xtask", "--features", feature, "--"]);
    cargo.args(["data", name, "--data-dir"]).arg(data_dir).stdout(Stdio::null());
    child::run(&mut cargo).map_err(|failure| match failure {
        // cargo's own code, as when TLS's source cannot be had without a network.
        Failure::Child(101) => {
            Failure::new(Code::Unavailable, "the downloader could not be built; see above")
        }
        other => other,
    })
}

/// Whether a host of `urls` answers; a proxy is taken at its word, and a server without TLS.
pub(crate) fn reachable(urls: &[String]) -> bool {
    if !needs_tls(urls) {
        return true;
    }
    let proxies = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
    if proxies.iter().any(|name| std::env::var_os(name).is_some()) {
        return true;
    }
    let (sender, receiver) = mpsc::channel();
    for address in urls.iter().filter_map(|url| address(url)) {
        let sender = sender.clone();
        // The one that is still waiting ends with the program.
        thread::spawn(move || sender.send(connects(&address)));
    }
    drop(sender);
    let end = Instant::now() + PATIENCE;
    while let Ok(connected) = receiver.recv_timeout(end.saturating_duration_since(Instant::now())) {
        if connected {
            return true;
        }
    }
    false
}

/// `HOST:PORT` of an `https:` address.
fn address(url: &str) -> Option<String> {
    let host = url.strip_prefix("https://")?.split('/').next()?;
    Some(if host.contains(':') { host.to_owned() } else { format!("{host}:443") })
}

fn connects(address: &str) -> bool {
    let Ok(mut addresses) = address.to_socket_addrs() else { return false };
    addresses.any(|address| TcpStream::connect_timeout(&address, PATIENCE).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_are_cut_out_of_an_address() {
        assert_eq!(address("https://example.org/a/b").as_deref(), Some("example.org:443"));
        assert_eq!(address("https://localhost:8000").as_deref(), Some("localhost:8000"));
        assert_eq!(address("http://example.org"), None);
    }

    #[test]
    fn a_closed_port_is_not_reachable() {
        assert!(!connects("127.0.0.1:1"));
    }
}
