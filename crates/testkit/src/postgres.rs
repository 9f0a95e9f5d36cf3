//! A PostgreSQL server for the length of a test.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

/// Runs the server, and ends it once its own input does: when the owner is dropped, and also when
/// the process that started it dies. Arguments: the folder, then the command.
const KEEPER: &str = r#"folder=$1; shift; "$@" </dev/null >"$folder/log" 2>&1 & server=$!
read -r _; kill -INT "$server"; wait "$server"; rm -rf "$folder""#;
/// Waits of [`READY_CHECK`] until the server answers.
const READY_CHECKS: u32 = 600;
const READY_CHECK: Duration = Duration::from_millis(50);

/// A server of the PostgreSQL that is installed here, on a socket in a folder of its own, ended
/// and removed with the last handle.
///
/// Its writes are not made durable. Servers refuse to run as root, so root starts it as the user
/// `postgres`, or `nobody` where there is none.
#[derive(Debug)]
pub struct ThrowawayPostgres {
    keeper: Child,
    folder: PathBuf,
}

static SHARED: Mutex<Weak<ThrowawayPostgres>> = Mutex::new(Weak::new());
static STARTED: AtomicU32 = AtomicU32::new(0);

impl ThrowawayPostgres {
    /// Starts one, which takes a few seconds, or shares the one that another test is using.
    /// `None`, with a message on standard error, where PostgreSQL is not installed.
    ///
    /// # Panics
    /// When it is installed and does not start; and when it is not installed although the
    /// variable `CI` is set, since there the tests are to run.
    pub fn shared() -> Option<Arc<Self>> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = shared.upgrade() {
            return Some(running);
        }
        let Some(programs) = programs() else {
            assert!(
                std::env::var_os("CI").is_none(),
                "PostgreSQL is needed where CI is set: install the package postgresql"
            );
            eprintln!("skipped: no initdb in PATH or /usr/lib/postgresql; install postgresql");
            return None;
        };
        let started = Arc::new(Self::start(&programs).expect("PostgreSQL is installed and starts"));
        *shared = Arc::downgrade(&started);
        Some(started)
    }

    /// The address of a database of this server, such as `postgres`, which is always there.
    pub fn url(&self, database: &str) -> String {
        // A folder made by us needs no escaping but of its slashes.
        let folder = self.folder.display().to_string().replace('/', "%2F");
        format!("postgres://postgres@localhost/{database}?host={folder}")
    }

    fn start(programs: &Path) -> io::Result<Self> {
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("plimsoll-postgres-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder)?;
        let user = other_user();
        if let Some(user) = &user {
            std::os::unix::fs::chown(&folder, Some(user.uid), Some(user.gid))?;
        }
        let data = folder.join("data");
        let mut initdb = as_user(user.as_ref(), &programs.join("initdb"));
        initdb.args([
            "--auth=trust",
            "--encoding=UTF8",
            "--no-locale",
            "--no-sync",
            "-U",
            "postgres",
        ]);
        let made = initdb.arg("-D").arg(&data).current_dir(&folder).output()?;
        if !made.status.success() {
            let _ = fs::remove_dir_all(&folder);
            let said = String::from_utf8_lossy(&made.stderr).into_owned();
            return Err(io::Error::other(format!("initdb: {said}")));
        }
        let mut keeper = as_user(user.as_ref(), Path::new("sh"));
        keeper.args(["-c", KEEPER, "sh"]).arg(&folder);
        keeper.arg(programs.join("postgres")).arg("-D").arg(&data);
        for setting in [
            "listen_addresses=",
            &format!("unix_socket_directories={}", folder.display()),
            "fsync=off",
            "full_page_writes=off",
            "synchronous_commit=off",
            "max_connections=200",
        ] {
            keeper.args(["-c", setting]);
        }
        let keeper = keeper.current_dir(&folder).stdin(Stdio::piped()).spawn()?;
        let server = Self { keeper, folder };
        server.wait_until_ready(programs)?;
        Ok(server)
    }

    fn wait_until_ready(&self, programs: &Path) -> io::Result<()> {
        for _ in 0..READY_CHECKS {
            let mut asked = Command::new(programs.join("pg_isready"));
            asked.args(["-q", "-U", "postgres", "-d", "postgres", "-h"]).arg(&self.folder);
            if asked.status()?.success() {
                return Ok(());
            }
            thread::park_timeout(READY_CHECK);
        }
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        Err(io::Error::other(format!("the server does not answer: {log}")))
    }
}

impl Drop for ThrowawayPostgres {
    fn drop(&mut self) {
        // The end of its input; then it ends the server.
        drop(self.keeper.stdin.take());
        if let Err(error) = self.keeper.wait() {
            eprintln!("the throwaway PostgreSQL in {} was left: {error}", self.folder.display());
        }
    }
}

/// The folder of the newest PostgreSQL's programs.
fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|version| Some(version.ok()?.path().join("bin")))
        .collect();
    // By version, so as numbers: 9 is older than 15.
    folders.sort_by_key(|bin| {
        let version = bin.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        std::cmp::Reverse(version.and_then(|version| version.parse::<f64>().ok()).map(f64::to_bits))
    });
    folders.extend(std::env::split_paths(&path));
    folders
        .into_iter()
        .find(|bin| ["initdb", "postgres", "pg_isready"].iter().all(|name| bin.join(name).exists()))
}

struct User {
    name: &'static str,
    uid: u32,
    gid: u32,
}

/// Whom root becomes to run a server; `None` for everybody else.
fn other_user() -> Option<User> {
    let id = |arguments: &[&str]| -> Option<u32> {
        let output = Command::new("id").args(arguments).stderr(Stdio::null()).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    if id(&["-u"]) != Some(0) {
        return None;
    }
    ["postgres", "nobody"]
        .into_iter()
        .find_map(|name| Some(User { name, uid: id(&["-u", name])?, gid: id(&["-g", name])? }))
}

fn as_user(user: Option<&User>, program: &Path) -> Command {
    let Some(user) = user else { return Command::new(program) };
    // Not std's `uid`: only these leave root's further groups as well.
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={}", user.name)).arg(format!("--regid={}", user.gid));
    command.arg("--clear-groups").arg(program);
    command
}
