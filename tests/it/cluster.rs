//! A run divided into tasks, worked off by plain commands, and by a real Slurm where that is installed.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kd_core::Stream;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{MLPS, end, files, folder_of, json, kd, kd_run, succeed, timeless_metrics};

/// Longest time that a run under Slurm may take before the test fails.
const LIMIT: Duration = Duration::from_secs(600);

/// The run in one piece, and one of the same folder's that was divided, are the same, times aside.
fn assert_same(at: &Path, divided: &str, whole: &str) {
    let metrics = |out: &str| timeless_metrics(&at.join(out).join("metrics.jsonl"));
    let (one, two) = (metrics(divided), metrics(whole));
    assert_eq!(one.len(), two.len());
    // The first line says how many threads there were.
    one.iter().zip(&two).skip(1).for_each(|(one, two)| assert_eq!(one, two));
    let kept = |out: &str| files(&at.join(out).join("checkpoints"));
    assert!(kept(divided) == kept(whole), "checkpoints differ");
}

/// The loop over stages that the guide shows.
fn loop_of_the_guide() -> String {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/kd-suite/CLUSTER.md");
    let guide = fs::read_to_string(guide).unwrap();
    let (_, from) = guide.split_once("```sh\nfor stage").unwrap();
    format!("for stage{}", from.split_once("```").unwrap().0)
}

fn shell(at: &Path, line: &str) {
    let status =
        Command::new("sh").args(["-c", line]).current_dir(at).stderr(Stdio::null()).status();
    assert!(status.unwrap().success(), "{line}");
}

#[test]
fn a_list_of_commands_makes_the_run_wherever_they_are_started() {
    let folder = folder_of(MLPS);
    let at = folder.path();
    succeed(kd_run(at, "whole").args(["--seeds", "2"]));
    let mut divided = kd_run(at, "divided");
    divided.args(["--seeds", "2", "--engine", "list", "--task-minutes", "0"]);
    let list = succeed(&mut divided).stdout;
    let tasks: Vec<(&str, &str)> =
        list.lines().map(|line| line.split_once('\t').unwrap()).collect();
    let stages: Vec<&str> = tasks.iter().map(|(stage, _)| *stage).collect();
    assert_eq!(stages, ["0", "0", "1", "1", "1", "1", "2"], "2 teachers, 4 cohorts, the records");

    let status = succeed(kd(at).args(["status", "divided"])).stdout;
    assert!(status.starts_with("tiny: 0 done, 0 running, 0 failed, 6 queued\n"), "{status}");
    let early = end(kd_run(at, "divided").args(["--seeds", "2", "--task", "3"]));
    assert_eq!(early.code, Some(78), "{}", early.stderr);
    assert!(
        early.stderr.contains("needs 0000-teacher-seed0, which is not done"),
        "{}",
        early.stderr
    );

    tasks[..2].iter().for_each(|(_, command)| shell(at, command));
    let left = succeed(&mut divided).stdout;
    assert_eq!(left.lines().count(), 5, "what is done is not listed: {left}");
    fs::write(at.join("tasks"), left).unwrap();
    shell(at, &loop_of_the_guide());
    assert_same(at, "divided", "whole");
    let status = json(kd(at).args(["status", "divided"]));
    let units = status["units"].as_array().unwrap();
    assert!(units.iter().all(|unit| unit["state"] == "done"), "{status}");
}

#[test]
fn slurm_s_scripts_are_shown_without_slurm() {
    let folder = folder_of(MLPS);
    let mut run = kd_run(folder.path(), "out");
    run.args(["--engine", "slurm", "--partition", "long", "--max-jobs", "3", "--dry-run"]);
    let scripts = succeed(&mut run).stdout;
    assert_eq!(scripts.matches("#!/bin/sh").count(), 3, "{scripts}");
    assert!(scripts.contains("#SBATCH --array=0%3\n"), "{scripts}");
    assert!(
        scripts.contains("--partition=long") && scripts.contains("--threads 1 &\n"),
        "{scripts}"
    );
    let ended = end(kd_run(folder.path(), "out").args(["--partition", "long"]));
    assert_eq!(ended.code, Some(2), "only an engine has partitions: {}", ended.stderr);
}

/// A Slurm of one machine, this one, with its own files; ended when dropped.
struct Slurm {
    folder: TempDir,
    daemons: Vec<Child>,
}

impl Slurm {
    /// Nothing where Slurm is not installed, or this is not root, whom its daemon needs.
    fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let is_root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
        let has_slurm = Command::new("slurmctld").arg("-V").output().is_ok();
        if !is_root || !has_slurm {
            return None;
        }
        let mut slurm = Self { folder, daemons: vec![] };
        fs::write(slurm.at().join("slurm.conf"), slurm.config()).unwrap();
        for daemon in ["slurmctld", "slurmd"] {
            let child = slurm.command(daemon).arg("-D").stdout(Stdio::null()).spawn().unwrap();
            slurm.daemons.push(child);
        }
        slurm.wait_until(|slurm| {
            slurm.ask("sinfo", &["--noheader", "--format=%T"]).contains("idle")
        });
        Some(slurm)
    }

    fn at(&self) -> &Path {
        self.folder.path()
    }

    fn config(&self) -> String {
        let host = host();
        let [first, second] = free_ports();
        let at = self.at().display();
        format!(
            "ClusterName=kd\nSlurmctldHost={host}(127.0.0.1)\nAuthType=auth/none\nCredType=cred/none\n\
             SlurmctldPort={first}\nSlurmdPort={second}\nSlurmUser=root\nSlurmdUser=root\n\
             StateSaveLocation={at}/state\nSlurmdSpoolDir={at}/spool\nSlurmctldPidFile={at}/ctld.pid\n\
             SlurmdPidFile={at}/d.pid\nSlurmctldLogFile={at}/ctld.log\nSlurmdLogFile={at}/d.log\n\
             MpiDefault=none\nProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\n\
             JobAcctGatherType=jobacct_gather/none\nSchedulerType=sched/backfill\n\
             SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=1\n\
             SelectType=select/cons_tres\nSelectTypeParameters=CR_CPU\nReturnToService=2\nMaxArraySize=4\n\
             KillWait=5\nNodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=1000 State=UNKNOWN\n\
             PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP\n"
        )
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        self.known_to(&mut command).stdin(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Lets `command` find this Slurm and no other.
    fn known_to<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.env("SLURM_CONF", self.at().join("slurm.conf"))
    }

    /// What a question of Slurm's is answered, which on a busy machine may take several tries.
    fn ask(&self, program: &str, arguments: &[&str]) -> String {
        let started = Instant::now();
        loop {
            let output = self.command(program).args(arguments).output().unwrap();
            if output.status.success() {
                return String::from_utf8(output.stdout).unwrap();
            }
            assert!(started.elapsed() < LIMIT, "{program} does not answer");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Gives Slurm an order, which it may refuse where a job has just ended.
    fn order(&self, program: &str, arguments: &[&str]) {
        self.command(program).args(arguments).stdout(Stdio::null()).status().unwrap();
    }

    fn wait_until(&self, mut is_so: impl FnMut(&Self) -> bool) {
        let started = Instant::now();
        while !is_so(self) {
            assert!(started.elapsed() < LIMIT, "{}", self.ask("squeue", &["--long"]));
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Slurm's numbers of the jobs in this state, each of an array for itself.
    fn jobs(&self, state: &str) -> Vec<String> {
        let state = format!("--states={state}");
        let jobs = self.ask("squeue", &["--noheader", "--array", "--format=%A", &state]);
        jobs.split_whitespace().map(str::to_owned).collect()
    }

    /// Until nothing is in the queue.
    fn finish(&self) {
        let mut hurried = BTreeMap::new();
        self.wait_until(|slurm| {
            slurm.hurry(&mut hurried);
            slurm.is_idle()
        });
    }

    /// Whether nothing is in the queue.
    fn is_idle(&self) -> bool {
        self.ask("squeue", &["--noheader"]).trim().is_empty()
    }

    /// Lets jobs that are started again, which Slurm has wait for two minutes, begin within ten seconds; sooner,
    /// it might still be busy with their end, and would drop them.
    fn hurry(&self, hurried: &mut BTreeMap<String, Instant>) {
        let waiting = self.ask("squeue", &["--noheader", "--array", "--format=%A %r"]);
        for job in waiting.lines().filter_map(|line| line.strip_suffix(" BeginTime")) {
            if hurried.get(job).is_none_or(|at| at.elapsed() > Duration::from_secs(15)) {
                self.order("scontrol", &["update", &format!("jobid={job}"), "starttime=now+10"]);
                hurried.insert(job.into(), Instant::now());
            }
        }
    }

    /// `kd run suite.toml` through this Slurm, every unit a task; returns what it prints.
    fn submit(&self, at: &Path, out: &str, more: &[&str]) -> String {
        let mut run = kd_run(at, out);
        run.args(["--engine", "slurm", "--task-minutes", "0"]).args(more);
        succeed(self.known_to(&mut run)).stdout
    }

    fn status(&self, at: &Path, out: &str) -> Value {
        json(self.known_to(&mut kd(at)).args(["status", out]))
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.at().join("ctld.log")).unwrap_or_default();
            println!("what Slurm did:\n{log}");
        }
        for daemon in &mut self.daemons {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

fn host() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned()
}

fn free_ports() -> [u16; 2] {
    let free = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    free.map(|listener| listener.local_addr().unwrap().port())
}

/// How many units are in this state.
fn count(status: &Value, state: &str) -> usize {
    status["units"].as_array().unwrap().iter().filter(|unit| unit["state"] == state).count()
}

#[test]
fn slurm_makes_the_run_though_jobs_are_killed_and_its_machine_goes_away() {
    let Some(slurm) = Slurm::start() else {
        println!("NO SLURM HERE (slurmctld and slurmd, and root): this test does nothing");
        return;
    };
    let folder = folder_of(MLPS);
    let at = folder.path();
    killed_and_requeued(&slurm, at);
    drained(&slurm, at);
    time_runs_out(&slurm, at);
    let mnist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../xtask/suites/mnist.toml");
    fs::copy(mnist, at.join("suite.toml")).unwrap();
    succeed(kd_run(at, "mnist-whole").args(["--preset", "smoke"]));
    slurm.submit(at, "mnist", &["--preset", "smoke"]);
    slurm.finish();
    assert_same(at, "mnist", "mnist-whole");
}

/// Three seeds, of whose jobs up to ten are killed and started again at random.
fn killed_and_requeued(slurm: &Slurm, at: &Path) {
    let killed = ["--preset", "killed", "--seeds", "3"];
    succeed(kd_run(at, "killed-whole").args(killed));
    let said = slurm.submit(at, "killed", &killed);
    assert!(said.contains("kd status killed"), "{said}");
    let again = end(slurm.known_to(kd_run(at, "killed").args(killed).args(["--engine", "slurm"])));
    assert_ne!(again.code, Some(0), "the same run twice in the queue");
    let mut random = Stream::new(7).at("kills").rng();
    let (mut hurried, mut n_killed) = (BTreeMap::new(), 0);
    for _ in 0..10 {
        // A fast machine may be done before all of them are killed.
        slurm.wait_until(|slurm| {
            slurm.hurry(&mut hurried);
            !slurm.jobs("RUNNING").is_empty() || slurm.is_idle()
        });
        std::thread::sleep(Duration::from_millis(random.below(900).into()));
        let running = slurm.jobs("RUNNING");
        if let Some(job) = running.get(random.below(2) as usize).or(running.first()) {
            slurm.order("scontrol", &["requeue", job]);
            n_killed += 1;
        }
    }
    assert!(n_killed > 0, "no job was killed");
    slurm.finish();
    assert_eq!(count(&slurm.status(at, "killed"), "done"), 9, "{}", said_in(&at.join("killed")));
    assert_same(at, "killed", "killed-whole");
}

/// What the jobs of a run wrote.
fn said_in(run: &Path) -> String {
    let logs = files(&run.join("slurm")).into_iter();
    let log = |(name, text): (_, Vec<u8>)| format!("{name:?}: {}", String::from_utf8_lossy(&text));
    logs.map(log).collect()
}

/// Its only machine takes no jobs for a while in the middle of an array.
fn drained(slurm: &Slurm, at: &Path) {
    let long = ["--preset", "killed", "--seeds", "3"];
    slurm.submit(at, "drained", &long);
    let node = format!("nodename={}", host());
    slurm.wait_until(|slurm| count(&slurm.status(at, "drained"), "done") > 0);
    slurm.order("scontrol", &["update", &node, "state=drain", "reason=test"]);
    slurm.wait_until(|slurm| slurm.jobs("RUNNING,COMPLETING").is_empty());
    let status = slurm.status(at, "drained");
    assert!(count(&status, "queued") > 0, "{status}");
    let queued =
        status["units"].as_array().unwrap().iter().filter(|unit| unit["state"] == "queued");
    assert!(queued.clone().all(|unit| unit["queue"].as_str().unwrap().starts_with("pending")));
    slurm.order("scontrol", &["update", &node, "state=resume"]);
    slurm.finish();
    assert_same(at, "drained", "killed-whole");
}

/// Slurm tells a job that its time is nearly over: it keeps its state, and goes on in another one.
fn time_runs_out(slurm: &Slurm, at: &Path) {
    let long = ["--preset", "long"];
    succeed(kd_run(at, "long-whole").args(long));
    slurm.submit(at, "long", &long);
    slurm.wait_until(|slurm| count(&slurm.status(at, "long"), "running") > 0);
    let job = &slurm.jobs("RUNNING")[0];
    slurm.order("scancel", &["--signal=USR1", "--batch", job]);
    slurm.wait_until(|slurm| slurm.jobs("RUNNING").is_empty());
    let status = slurm.status(at, "long");
    assert!(status["units"][0]["epoch"].as_u64() < Some(400), "{status}");
    assert_eq!(count(&status, "queued"), 1, "{status}");
    slurm.finish();
    assert_same(at, "long", "long-whole");
}
