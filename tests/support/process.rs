//! Child processes and ports that never outlive the test process, however it ends.
//!
//! Destructors do not run for statics, on `exit`, or under `kill -9`. So a watchdog, a shell that
//! reads from a pipe only this process holds open, knows every child; when the pipe closes it kills
//! what is left and removes the files.

use std::{
    env,
    fs::{self, File},
    io::Write,
    net::TcpListener,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU16, Ordering},
    },
};

const WATCHDOG: &str = r#"
live=
while read -r order pid; do
    case $order in
    watch) live="$live $pid" ;;
    forget)
        rest=
        for one in $live; do [ "$one" = "$pid" ] || rest="$rest $one"; done
        live=$rest
        ;;
    esac
done
[ -z "$live" ] || kill -9 $live 2>/dev/null
# What was just killed may be writing its last file.
for _ in 1 2 3 4 5; do rm -rf "$1" 2>/dev/null && break; sleep 1; done
"#;

struct Watchdog {
    root: PathBuf,
    shell: Mutex<Child>,
}

impl Watchdog {
    fn get() -> &'static Self {
        static ONE: OnceLock<Watchdog> = OnceLock::new();
        ONE.get_or_init(|| {
            let root =
                tempfile::Builder::new().prefix("tradewind-test-").tempdir().expect("a temporary directory").keep();
            let shell = Command::new("sh")
                .args(["-c", WATCHDOG, "watchdog"])
                .arg(&root)
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                // Out of reach of a Ctrl-C, which would end it before its work begins.
                .process_group(0)
                .spawn()
                .expect("sh");
            Self { root, shell: Mutex::new(shell) }
        })
    }

    fn order(&self, order: &str, pid: u32) {
        let mut shell = self.shell.lock().unwrap_or_else(PoisonError::into_inner);
        let orders = shell.stdin.as_mut().expect("stdin was piped");
        writeln!(orders, "{order} {pid}").expect("the watchdog lives as long as its pipe");
    }
}

/// A new directory that is gone, at the latest, when this process is.
pub fn directory(name: &str) -> PathBuf {
    tempfile::Builder::new()
        .prefix(&format!("{name}-"))
        .tempdir_in(&Watchdog::get().root)
        .expect("a directory inside our own")
        .keep()
}

/// A running program; dropping it kills it.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program` with its output appended to `log`.
    pub fn start(program: &Path, arguments: &[String], log: PathBuf) -> Self {
        let mut command = Command::new(program);
        command.args(arguments);
        Self::spawn(command, log)
    }

    /// Starts what `command` says, with its output appended to `log`.
    pub fn spawn(mut command: Command, log: PathBuf) -> Self {
        let output = File::options().create(true).append(true).open(&log).expect("a log file");
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a second handle of the log"))
            .stderr(output)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", Path::new(command.get_program()).display()));
        Watchdog::get().order("watch", child.id());
        Self { child, log }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Set once the program has ended by itself.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our own child")
    }

    /// Sends a signal, named as for kill(1) without `SIG`.
    pub fn signal(&self, name: &str) {
        // The shell's own kill: a program of that name is not on every machine.
        let status = Command::new("sh")
            .args(["-c", "kill -s \"$1\" \"$2\"", "kill", name])
            .arg(self.child.id().to_string())
            .status()
            .expect("sh");
        assert!(status.success(), "kill -s {name}: {status}");
    }

    /// Whether every thread stands still, some milliseconds after a `STOP`. Where there is no
    /// `/proc` to tell, it is taken for granted.
    pub fn stopped(&self) -> bool {
        let Ok(threads) = fs::read_dir(format!("/proc/{}/task", self.child.id())) else { return true };
        // "PID (NAME) STATE …", where the name may hold anything.
        let state = |stat: String| stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
        threads
            .flatten()
            // A thread that is gone meanwhile does nothing, either.
            .filter_map(|thread| fs::read_to_string(thread.path().join("stat")).ok())
            .all(|stat| state(stat) == Some('T'))
    }

    /// All that the program wrote.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The last lines the program wrote.
    pub fn last_words(&self) -> String {
        const LINES: usize = 25;
        let text = self.log();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
        Watchdog::get().order("forget", self.child.id());
    }
}

/// A loopback port that stays ours while nothing listens on it, so that a server can go away and
/// come back at the same address.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// Below the ports that kernels hand out by themselves (from 32768 on Linux), which any
    /// connection of a parallel test could be given while our server is away.
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 9_000;

    /// Takes a port that neither another test process has nor anything listens on.
    pub fn take() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let user = env::var("USER").unwrap_or_default();
        let locks = env::temp_dir().join(format!("tradewind-test-ports-{user}"));
        fs::create_dir_all(&locks).expect("a directory for port locks");
        // Processes begin at different places, so that they seldom meet.
        let begin = (std::process::id().wrapping_mul(61) % u32::from(Self::COUNT)) as u16;
        for _ in 0..Self::COUNT {
            let step = NEXT.fetch_add(1, Ordering::Relaxed) % Self::COUNT;
            let number = Self::FIRST + (begin + step) % Self::COUNT;
            let lock = File::create(locks.join(number.to_string())).expect("a port lock");
            if lock.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", number)).is_ok() {
                return Self { number, _lock: lock };
            }
        }
        panic!("no free port among {} from {}", Self::COUNT, Self::FIRST);
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }
}
