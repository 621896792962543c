//! A child process that cannot be left behind.
//!
//! The child leads a process group of its own and is told by the kernel to die with its parent. That signal is
//! bound to the *thread* that started the child, and a test's thread ends with the test while a component shared
//! by several tests lives on; therefore one thread that never ends starts all children.

use anyhow::{Context, Result, anyhow};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

/// Lines of a log that a failure shows.
const TAIL_LINES: usize = 60;
/// Bytes read from the end of a log to find them.
const TAIL_BYTES: u64 = 64 << 10;

/// A running child: its process group is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Mutex<Child>,
    log: PathBuf,
}

/// The end of a component's log, for messages.
#[derive(Debug)]
pub struct LogTail(pub String);

impl std::fmt::Display for LogTail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Process {
    /// Starts `command` with both outputs appended to `log`. `name` is for messages.
    pub fn spawn(name: &str, command: &Command, log: &Path) -> Result<Self> {
        let program = command.get_program().to_owned();
        which(&program).ok_or_else(|| missing(&program.to_string_lossy()))?;
        let mut wrapped = wrap(command);
        let out = File::options().create(true).append(true).open(log);
        let out = out.with_context(|| format!("{}: the log of {name}", log.display()))?;
        wrapped.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        let child = on_lasting_thread(move || wrapped.spawn())
            .with_context(|| format!("{name}: starting {} did not work", program.to_string_lossy()))?;
        Ok(Self { name: name.to_owned(), child: Mutex::new(child), log: log.to_owned() })
    }

    /// The same with pipes to its standard input and from its standard output; the error output goes to `log`.
    pub(crate) fn spawn_piped(
        name: &str,
        command: &Command,
        log: &Path,
    ) -> Result<(Self, ChildStdin, ChildStdout)> {
        let mut wrapped = wrap(command);
        let err = File::create(log).with_context(|| format!("{}: the log of {name}", log.display()))?;
        wrapped.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(err);
        let mut child =
            on_lasting_thread(move || wrapped.spawn()).with_context(|| format!("{name}: starting"))?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (to, from) = pipes.with_context(|| format!("{name}: it has no pipes"))?;
        Ok((Self { name: name.to_owned(), child: Mutex::new(child), log: log.to_owned() }, to, from))
    }

    /// The id of the process.
    pub fn pid(&self) -> u32 {
        self.lock().id()
    }

    /// `Some` when the process has ended.
    pub fn exited(&self) -> Option<ExitStatus> {
        self.lock().try_wait().ok().flatten()
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill9(&self) {
        let mut child = self.lock();
        if matches!(child.try_wait(), Ok(None)) {
            signal("KILL", child.id(), true);
            let _ = child.wait();
        }
    }

    /// Sends SIGTERM and returns how it ended, or `None` when it was still there after `timeout`.
    pub fn terminate(&self, timeout: Duration) -> Option<ExitStatus> {
        self.signal("TERM");
        crate::poll(timeout, || Ok::<_, std::convert::Infallible>(self.exited())).ok().flatten()
    }

    /// Sends a signal by its name (`TERM`, `HUP`, `STOP`, `CONT`) to the process alone.
    pub fn signal(&self, name: &str) {
        let mut child = self.lock();
        if matches!(child.try_wait(), Ok(None)) {
            signal(name, child.id(), false);
        }
    }

    /// Waits until `ready` says so; an error with the end of the log when the process ends before or the time is up.
    pub fn until_ready(&self, timeout: Duration, mut ready: impl FnMut() -> bool) -> Result<()> {
        let outcome = crate::poll(timeout, || match self.exited() {
            Some(status) => Err(anyhow!("{} ended before it was ready: {status}", self.name)),
            None => Ok(ready().then_some(())),
        });
        match outcome {
            Ok(Some(())) => Ok(()),
            Ok(None) => Err(anyhow!("{} did not answer within {timeout:?}\n{}", self.name, self.log_tail())),
            Err(ended) => Err(anyhow!("{ended}\n{}", self.log_tail())),
        }
    }

    /// The whole log so far.
    pub fn log_text(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The end of the log with a heading.
    pub fn log_tail(&self) -> LogTail {
        let text = end_of(&self.log).unwrap_or_else(|e| format!("(unreadable: {e})"));
        let lines: Vec<&str> = text.lines().collect();
        let shown = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
        LogTail(format!("--- end of the log of {} ({}):\n{shown}\n---", self.name, self.log.display()))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill9();
        if std::thread::panicking() {
            eprintln!("{}", self.log_tail());
        }
    }
}

/// A data folder: removed on drop, kept and named when the test is failing or `FIREDAMP_TEST_KEEP` is set.
#[derive(Debug)]
pub(crate) struct Folder(Option<tempfile::TempDir>);

impl Folder {
    pub(crate) fn new(name: &str) -> Result<Self> {
        let made = tempfile::Builder::new().prefix(&format!("firedamp-{name}-")).tempdir();
        Ok(Self(Some(made.context("a temporary folder for a test component")?)))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.as_ref().map(tempfile::TempDir::path).unwrap_or(Path::new("."))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() || std::env::var_os("FIREDAMP_TEST_KEEP").is_some() {
            let kept = self.0.take().map(tempfile::TempDir::keep);
            eprintln!("kept: {}", kept.unwrap_or_default().display());
        }
    }
}

/// Runs a short-lived command to its end; an error with its output when it fails.
pub(crate) fn run(name: &str, command: &Command) -> Result<String> {
    let program = command.get_program().to_owned();
    which(&program).ok_or_else(|| missing(&program.to_string_lossy()))?;
    let mut wrapped = wrap(command);
    wrapped.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = on_lasting_thread(move || wrapped.spawn()).with_context(|| format!("{name}: starting"))?;
    let output = child.wait_with_output().with_context(|| format!("{name}: waiting for its end"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if !output.status.success() {
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        return Err(anyhow!("{name}: {}\n{out}{err}", output.status));
    }
    Ok(text(&output.stdout))
}

/// Where a program is: as given when it is a path, else in PATH and in the system folders that a user's PATH lacks.
pub(crate) fn which(program: &std::ffi::OsStr) -> Option<PathBuf> {
    let given = Path::new(program);
    if given.components().count() > 1 {
        return given.is_file().then(|| given.to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(given)).find(|file| file.is_file())
}

pub(crate) fn missing(program: &str) -> anyhow::Error {
    anyhow!(
        "`{program}` is not installed; run `tests/install` in the repository's root once, it installs what the tests need"
    )
}

/// The same command below `setpriv`, which asks the kernel for a KILL when the parent dies, in a new process group.
fn wrap(command: &Command) -> Command {
    let mut wrapped = Command::new("setpriv");
    wrapped.args(["--pdeathsig", "KILL", "--"]);
    wrapped.arg(which(command.get_program()).unwrap_or_else(|| command.get_program().into()));
    wrapped.args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(key, value),
            None => wrapped.env_remove(key),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        wrapped.current_dir(folder);
    }
    std::os::unix::process::CommandExt::process_group(&mut wrapped, 0);
    wrapped
}

/// Signals one process, or its whole group: through the program `kill`, because a system call needs `unsafe`, and the shell's own
/// `kill` takes no `--` everywhere.
fn signal(name: &str, pid: u32, group: bool) {
    let target = if group { format!("-{pid}") } else { pid.to_string() };
    let _ = Command::new("kill").args([&format!("-{name}"), "--", &target]).stderr(Stdio::null()).status();
}

type Job = Box<dyn FnOnce() + Send>;

/// Runs `job` on the thread that starts all children and lasts as long as this process.
fn on_lasting_thread<T: Send + 'static>(
    job: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T> {
    static JOBS: OnceLock<Mutex<Sender<Job>>> = OnceLock::new();
    let jobs = JOBS.get_or_init(|| {
        let (send, receive) = channel::<Job>();
        std::thread::spawn(move || receive.into_iter().for_each(|job| job()));
        Mutex::new(send)
    });
    let (answer, answered) = channel();
    let job: Job = Box::new(move || drop(answer.send(job())));
    let sent = jobs.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).send(job);
    sent.map_err(|_| anyhow!("the thread that starts children is gone"))?;
    Ok(answered.recv().context("the thread that starts children is gone")??)
}

fn end_of(log: &Path) -> std::io::Result<String> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
