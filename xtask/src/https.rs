//! TLS, compiled in only when something is downloaded: it takes longer to build than the rest.

use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::{Code, Failure, Result};
use crate::{child, kd};

/// Whether this program speaks `https:`.
pub(crate) const COMPILED_IN: bool = cfg!(feature = "https");

/// How long a network may take to show that it is there.
const PATIENCE: Duration = Duration::from_secs(2);

/// Downloads data set `name` by a build of this program that has TLS.
///
/// # Errors
/// Those of the download; [`Code::Unavailable`] also when that build fails.
pub(crate) fn download(name: &str, data_dir: &Path) -> Result<()> {
    eprintln!("building the downloader (once)");
    let mut cargo = kd::cargo();
    cargo.args(["run", "--profile", "xtask", "--package", "xtask", "--features", "https", "--"]);
    cargo.args(["data", name, "--data-dir"]).arg(data_dir).stdout(Stdio::null());
    child::run(&mut cargo).map_err(|failure| match failure {
        // cargo's own code, as when TLS's source cannot be had without a network.
        Failure::Child(101) => {
            Failure::new(Code::Unavailable, "the downloader could not be built; see above")
        }
        other => other,
    })
}

/// Whether a host of `urls` answers; a proxy is taken at its word.
pub(crate) fn reachable(urls: &[String]) -> bool {
    let proxies = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
    if proxies.iter().any(|name| std::env::var_os(name).is_some()) {
        return true;
    }
    let (sender, receiver) = mpsc::channel();
    for host in urls.iter().filter_map(|url| host(url)) {
        let (sender, host) = (sender.clone(), host.to_owned());
        // The one that is still waiting ends with the program.
        thread::spawn(move || sender.send(connects(&host)));
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

fn host(url: &str) -> Option<&str> {
    url.strip_prefix("https://")?.split('/').next()
}

fn connects(host: &str) -> bool {
    let Ok(mut addresses) = (host, 443).to_socket_addrs() else { return false };
    addresses.any(|address| TcpStream::connect_timeout(&address, PATIENCE).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_cut_out_of_an_address() {
        assert_eq!(host("https://example.org/a/b"), Some("example.org"));
        assert_eq!(host("http://example.org"), None);
    }
}
