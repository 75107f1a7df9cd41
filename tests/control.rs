//! The control socket: whom it serves, and what local clients cannot do to it.

#![expect(clippy::unwrap_used, reason = "a helper that panics is a test that fails")]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use dunlin::control::{
    AskError, Command, Control, ControlError, Figures, Reason, Refusal, Request, SOCKET, ask,
};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking, yield_now};

/// Bounds a failure and paces nothing.
const LONG: Duration = Duration::from_secs(20);
/// For tests whose clients are to run out of it.
const SHORT: Duration = Duration::from_millis(200);
/// Of the product.
const CLIENTS_MAX: usize = 8;
const COMMAND_BYTES_MAX: usize = 32 * 1024;

/// A directory of one test's own, removed with it.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("control-{test}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join(SOCKET)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A socket that is served in the background.
struct Served {
    folder: Folder,
    requests: mpsc::Receiver<Request>,
    task: JoinHandle<()>,
}

impl Served {
    fn start(test: &str, patience: Duration) -> Self {
        let folder = Folder::new(test);
        let control = Control::open(&folder.0).unwrap();
        let (commands, requests) = mpsc::channel(2);
        let task = tokio::spawn(async move { control.serve(commands, patience).await });
        Self { folder, requests, task }
    }

    fn ask(&self, command: Command) -> JoinHandle<Result<Figures, AskError>> {
        let folder = self.folder.0.clone();
        spawn_blocking(move || ask(&folder, &command))
    }

    async fn request(&mut self) -> Request {
        tokio::time::timeout(LONG, self.requests.recv()).await.unwrap().unwrap()
    }

    /// Proof that the socket serves others whatever went before.
    async fn serves(&mut self) {
        let asked = self.ask(Command::Status);
        self.request().await.reply.send(Ok(Figures::default().number("alive", 1))).unwrap();
        assert_eq!(asked.await.unwrap().unwrap(), Figures::default().number("alive", 1));
    }

    fn connect(&self) -> UnixStream {
        UnixStream::connect(self.folder.socket()).unwrap()
    }
}

/// What the broker says to this stream until it closes it.
async fn rest(mut stream: UnixStream) -> String {
    let read = spawn_blocking(move || {
        stream.set_read_timeout(Some(LONG)).unwrap();
        let mut text = Vec::new();
        // It may be reset behind the answer, because not all was read that was sent.
        let _ = stream.read_to_end(&mut text);
        String::from_utf8(text).unwrap()
    });
    read.await.unwrap()
}

#[tokio::test]
async fn a_command_reaches_who_carries_it_out_and_its_answer_comes_back() {
    let mut served = Served::start("round-trip", LONG);
    let backup = Command::Backup { directory: "/srv/a \"copy\"".into() };

    let asked = served.ask(backup.clone());
    let Request { command, reply } = served.request().await;
    reply.send(Ok(Figures::default().number("bytes", 17).text("to", "/srv"))).unwrap();

    assert_eq!(command, backup);
    let figures = asked.await.unwrap().unwrap();
    assert_eq!(figures.to_json(), "{\"bytes\":17,\"to\":\"/srv\"}");
    let refused = served.ask(backup);
    let Request { reply, .. } = served.request().await;
    reply.send(Err(Refusal::new(Reason::CannotCreate, "it is not empty"))).unwrap();
    let Err(AskError::Refused(refusal)) = refused.await.unwrap() else { panic!("not refused") };
    assert_eq!(refusal, Refusal::new(Reason::CannotCreate, "it is not empty"));
}

#[tokio::test]
async fn the_socket_is_the_owners_alone_and_gone_with_the_broker() {
    let folder = Folder::new("mode");

    let control = Control::open(&folder.0).unwrap();
    let mode = fs::metadata(folder.socket()).unwrap().permissions().mode();
    drop(control);

    assert_eq!(mode & 0o777, 0o600);
    assert!(!folder.socket().exists());
}

#[tokio::test]
async fn a_socket_that_a_crashed_broker_left_is_replaced() {
    let folder = Folder::new("stale");
    drop(UnixListener::bind(folder.socket()).unwrap());
    assert!(folder.socket().exists());
    let path = folder.0.clone();
    let lonely = spawn_blocking(move || ask(&path, &Command::Status)).await.unwrap();
    assert!(matches!(lonely, Err(AskError::NoBroker { .. })), "{lonely:?}");

    let control = Control::open(&folder.0).unwrap();

    UnixStream::connect(folder.socket()).unwrap();
    drop(control);
}

#[tokio::test]
async fn what_is_no_socket_is_left_alone() {
    let folder = Folder::new("foreign");
    fs::write(folder.0.join("file"), "precious").unwrap();
    for make in [
        |folder: &Path| fs::write(folder.join(SOCKET), "precious"),
        |folder: &Path| symlink(folder.join("file"), folder.join(SOCKET)),
    ] {
        make(&folder.0).unwrap();

        let opened = Control::open(&folder.0);

        assert!(matches!(opened, Err(ControlError::Foreign { .. })), "{opened:?}");
        assert_eq!(fs::read_to_string(folder.socket()).unwrap(), "precious");
        fs::remove_file(folder.socket()).unwrap();
    }
}

#[tokio::test]
async fn the_socket_of_a_broker_that_runs_is_not_taken_from_it() {
    let mut served = Served::start("taken", LONG);

    let second = Control::open(&served.folder.0);

    assert!(matches!(second, Err(ControlError::InUse { .. })), "{second:?}");
    served.serves().await;
}

#[tokio::test]
async fn a_directory_with_a_long_path_has_a_socket_too() {
    let folder = Folder::new("long");
    let long = folder.0.join("directory-".repeat(12));
    fs::create_dir(&long).unwrap();
    let control = Control::open(&long).unwrap();
    let (commands, mut requests) = mpsc::channel(1);
    let task = tokio::spawn(async move { control.serve(commands, LONG).await });

    let asked_of = long.clone();
    let asked = spawn_blocking(move || ask(&asked_of, &Command::Status));
    requests.recv().await.unwrap().reply.send(Ok(Figures::default())).unwrap();

    assert_eq!(asked.await.unwrap().unwrap(), Figures::default());
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert!(!long.join(SOCKET).exists());
}

#[tokio::test]
async fn what_is_no_command_is_refused_and_disturbs_nobody() {
    let mut served = Served::start("garbage", LONG);
    let deep = format!("{}\n", "[".repeat(COMMAND_BYTES_MAX - 1));
    for garbage in [&b"\n"[..], b"{}\n", b"\xff\xfe\x00\n", b"GET / HTTP/1.1\r\n", deep.as_bytes()]
    {
        let mut client = served.connect();
        client.write_all(garbage).unwrap();

        let answer = rest(client).await;

        assert!(answer.starts_with("{\"message\":"), "{answer}");
        assert!(answer.contains("\"refused\":\"unknown\""), "{answer}");
    }
    // The command may end with the stream, too.
    let unfinished = served.connect();
    unfinished.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(rest(unfinished).await.contains("not a line of JSON"));
    drop(served.connect());
    served.serves().await;
}

#[tokio::test]
async fn a_line_that_never_ends_is_not_read_to_its_end() {
    let mut served = Served::start("endless", LONG);
    let mut client = served.connect();
    client.set_write_timeout(Some(LONG)).unwrap();
    client.set_read_timeout(Some(LONG)).unwrap();
    let mut said = client.try_clone().unwrap();
    // More than the kernel takes, so it ends with the broker's end of the stream.
    let writer = spawn_blocking(move || client.write_all(&vec![b'x'; 16 << 20]));

    let mut answer = Vec::new();
    let reader = spawn_blocking(move || {
        let _ = said.read_to_end(&mut answer);
        answer
    });

    let answer = String::from_utf8(reader.await.unwrap()).unwrap();
    assert!(answer.contains("the command is too long"), "{answer}");
    assert!(writer.await.unwrap().is_err());
    served.serves().await;
}

#[tokio::test]
async fn who_says_nothing_holds_nobody_up_and_is_let_go() {
    let mut served = Served::start("slow", SHORT);
    let mut slow: Vec<_> = (0..CLIENTS_MAX).map(|_| served.connect()).collect();
    for client in &mut slow {
        client.write_all(b"{\"command\":").unwrap();
    }

    // It has a place as soon as one of them lost his.
    served.serves().await;

    for client in slow {
        assert!(rest(client).await.contains("no command came in time"));
    }
}

#[tokio::test]
async fn two_at_once_get_their_own_answers() {
    let mut served = Served::start("two", LONG);
    let first = served.ask(Command::Backup { directory: "/a".into() });
    let one = served.request().await;
    let second = served.ask(Command::Status);
    let other = served.request().await;

    other.reply.send(Ok(Figures::default().number("second", 2))).unwrap();
    assert_eq!(second.await.unwrap().unwrap(), Figures::default().number("second", 2));
    one.reply.send(Ok(Figures::default().number("first", 1))).unwrap();

    assert_eq!(first.await.unwrap().unwrap(), Figures::default().number("first", 1));
}

#[tokio::test]
async fn commands_that_nobody_takes_are_not_piled_up() {
    let mut served = Served::start("busy", LONG);
    let waiting = [served.ask(Command::Status), served.ask(Command::Status)];
    while served.requests.len() < waiting.len() {
        yield_now().await;
    }

    let refused = served.ask(Command::Status).await.unwrap();

    assert!(matches!(&refused, Err(AskError::Refused(it)) if it.reason == Reason::Busy));
    drop(served.requests.recv().await);
    drop(served.requests.recv().await);
    for asked in waiting {
        // Dropped unanswered: the broker stops.
        let answer = asked.await.unwrap();
        assert!(matches!(&answer, Err(AskError::Refused(it)) if it.reason == Reason::Io));
    }
}

#[tokio::test]
async fn a_broker_that_ends_leaves_nobody_waiting() {
    let mut served = Served::start("ends", LONG);
    let asked = served.ask(Command::Backup { directory: "/a".into() });
    let request = served.request().await;

    served.task.abort();
    drop(request);

    let answer = asked.await.unwrap();
    assert!(matches!(answer, Err(AskError::Refused(_) | AskError::Stopped { .. })), "{answer:?}");
}

/// The binary: its exit code, and what it said on both outputs.
fn store(arguments: &[&str], folder: &Path) -> (Option<i32>, String, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_dunlin"));
    let inherited = std::env::vars_os().map(|(name, _)| name);
    for name in inherited.filter(|name| name.to_string_lossy().starts_with("DUNLIN_")) {
        command.env_remove(name);
    }
    let ran = command.arg("store").args(arguments).current_dir(folder).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (ran.status.code(), text(ran.stdout), text(ran.stderr))
}

/// The same, beside a test that answers it.
fn store_beside(
    served: &Served,
    arguments: &'static [&'static str],
) -> JoinHandle<(Option<i32>, String, String)> {
    let folder = served.folder.0.clone();
    spawn_blocking(move || store(arguments, &folder))
}

#[tokio::test]
async fn a_backup_is_asked_of_the_broker_with_a_path_that_means_the_same_there() {
    let mut served = Served::start("backup", LONG);

    let ran = store_beside(&served, &["backup", "to/day", "--data-dir", "."]);
    let Request { command, reply } = served.request().await;
    reply.send(Ok(Figures::default().number("bytes", 17).text("backed_up_to", "/x"))).unwrap();

    let directory = served.folder.0.join("to/day");
    assert_eq!(command, Command::Backup { directory });
    let (code, output, errors) = ran.await.unwrap();
    assert_eq!((code, output.as_str()), (Some(0), "backed up to: /x\nbytes: 17\n"), "{errors}");
}

#[tokio::test]
async fn the_data_directory_is_the_one_that_the_configuration_names() {
    let mut served = Served::start("configured", LONG);
    fs::write(served.folder.0.join("dunlin.toml"), "data_dir = \".\"\n").unwrap();

    let ran = store_beside(&served, &["status", "--json", "--config", "dunlin.toml"]);
    served.request().await.reply.send(Ok(Figures::default().number("clients", 3))).unwrap();

    let (code, output, errors) = ran.await.unwrap();
    assert_eq!((code, output.as_str()), (Some(0), "{\"clients\":3}\n"), "{errors}");
}

#[tokio::test]
async fn the_exit_code_says_why_the_broker_refused() {
    let mut served = Served::start("refused", LONG);
    for (reason, code) in [
        (Reason::Unknown, 76),
        (Reason::Busy, 75),
        (Reason::CannotCreate, 73),
        (Reason::Permission, 77),
        (Reason::Io, 74),
    ] {
        let ran = store_beside(&served, &["backup", "x", "--data-dir", "."]);
        let refusal = Refusal::new(reason, "because it is so");
        served.request().await.reply.send(Err(refusal)).unwrap();

        let (found, output, errors) = ran.await.unwrap();
        assert_eq!(found, Some(code));
        assert_eq!(output, "");
        assert_eq!(errors, "dunlin store: because it is so\n");
    }
}

#[test]
fn without_a_broker_there_the_error_says_where_it_looked() {
    let folder = Folder::new("nobody");

    let (code, output, errors) = store(&["status"], &folder.0);

    assert_eq!((code, output.as_str()), (Some(69), ""));
    assert!(errors.contains("./dunlin-data/control.sock"), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
}

#[test]
fn the_help_of_each_action_fits_a_terminal_and_shows_examples() {
    let folder = Folder::new("help");
    let actions = ["backup", "verify", "dump", "stats", "status"];
    let each = actions.map(|action| vec![action, "--help"]);
    for arguments in [vec!["--help"]].into_iter().chain(each) {
        let (code, help, _) = store(&arguments, &folder.0);

        assert_eq!(code, Some(0));
        assert!(help.contains("dunlin store "), "{help}");
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
    }
    let (code, _, _) = store(&[], &folder.0);
    assert_eq!(code, Some(64));
}
