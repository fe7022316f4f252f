//! The root helper as a process: every request, every refusal, and its ends. Needs root.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
        net::UnixStream,
    },
    path::{Path, PathBuf},
    process::{Child, ExitStatus, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use privileged::{
    AllowedRoot, Call, Client, ClientError, FrameError, Mode, Outcome, Owner, PROTOCOL, Refusal,
    RelativePath, Reply, Request, SetOwnership, decode, encode, read_frame, write_frame,
};
use rstest::rstest;
use rustix::{
    process::{Pid, Signal, kill_process},
    thread::{set_thread_gid, set_thread_groups, set_thread_uid},
};

const CLIENT: u32 = 64_301;
const STRANGER: u32 = 64_302;
const QEMU: (u32, u32) = (64_303, 64_304);
const SECOND: Duration = Duration::from_secs(1);

macro_rules! need_root {
    () => {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root");
            return;
        }
    };
}

/// A running helper in a folder of its own.
struct Helper {
    child: Child,
    dir: tempfile::TempDir,
}

impl Helper {
    fn start() -> Self {
        Self::start_with("max_clients = 3\nrequest_timeout = 1\n")
    }

    fn start_with(options: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        fs::create_dir(dir.path().join("root")).expect("a root");
        let root = dir.path().join("root");
        let text = format!(
            "[vars]\nlog_target = stderr\n[supervdsm]\nclient_user = {CLIENT}\nowner_vdsm = {CLIENT}:{CLIENT}\n\
             owner_qemu = {}:{}\nallowed_roots = {}\nnetworks = false\n{options}",
            QEMU.0,
            QEMU.1,
            root.display()
        );
        fs::write(dir.path().join("conf"), text).expect("a configuration");
        let child = spawn(dir.path());
        let mut helper = Self { child, dir };
        helper.wait_ready();
        helper
    }

    fn restart(&mut self) {
        self.child = spawn(self.dir.path());
        self.wait_ready();
    }

    fn wait_ready(&mut self) {
        let until = Instant::now() + 10 * SECOND;
        while self.client().ping().is_err() {
            let ended = self.child.try_wait().expect("wait");
            assert!(ended.is_none(), "ended with {ended:?}: {}", self.log());
            assert!(Instant::now() < until, "not ready: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("sock")
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn audit(&self) -> Vec<String> {
        let lines = |text: String| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let mut audit = lines(self.log());
        audit.retain(|line| line.contains(" audit: "));
        audit
    }

    fn client(&self) -> Client {
        Client::new(self.socket(), 5 * SECOND)
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// One raw conversation.
    fn raw(&self, bytes: &[u8]) -> Option<Reply> {
        let mut stream = UnixStream::connect(self.socket()).expect("connect");
        stream.write_all(bytes).expect("send");
        stream
            .shutdown(std::net::Shutdown::Write)
            .expect("shutdown");
        reply(&mut stream)
    }

    fn set(&self, path: &str, owner: Owner, mode: u32) -> Result<Outcome, Refusal> {
        let request = ask(&self.root(), path, owner, mode);
        refused(self.client().set_ownership(request))
    }

    /// Is it the same process, and does it serve?
    fn assert_well(&mut self) {
        assert!(
            self.child.try_wait().expect("wait").is_none(),
            "{}",
            self.log()
        );
        self.client().ping().expect("serves");
    }

    fn end(&mut self, signal: Signal) -> ExitStatus {
        kill_process(self.pid(), signal).expect("kill");
        self.child.wait().expect("wait")
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(dir: &Path) -> Child {
    let log = File::options()
        .create(true)
        .append(true)
        .open(dir.join("log"))
        .expect("a log");
    #[expect(
        clippy::disallowed_methods,
        reason = "the program under test is started as a process"
    )]
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_supervdsmd"));
    command
        .arg("--config")
        .arg(dir.join("conf"))
        .arg("--socket")
        .arg(dir.join("sock"));
    command
        .env_remove("JOURNAL_STREAM")
        .stdin(Stdio::null())
        .stderr(log);
    command.spawn().expect("starts")
}

fn reply(stream: &mut UnixStream) -> Option<Reply> {
    stream.set_read_timeout(Some(10 * SECOND)).expect("timeout");
    let body = read_frame(stream).ok()?;
    Some(decode(&body).expect("a reply"))
}

fn ask(root: &Path, path: &str, owner: Owner, mode: u32) -> SetOwnership {
    SetOwnership {
        root: AllowedRoot::new(root.to_str().expect("text")).expect("a root"),
        path: RelativePath::new(path).expect("a path"),
        owner,
        mode: Mode::new(mode).expect("a mode"),
    }
}

fn refused<T>(result: Result<T, ClientError>) -> Result<T, Refusal> {
    result.map_err(|error| match error {
        ClientError::Refused { source, .. } => source,
        other => unreachable!("{other:?}"),
    })
}

/// Runs on a thread that is another user, as the kernel sees it.
fn as_user<T: Send>(uid: u32, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            set_thread_groups(&[]).expect("setgroups");
            set_thread_gid(rustix::process::Gid::from_raw(uid)).expect("setgid");
            set_thread_uid(rustix::process::Uid::from_raw(uid)).expect("setuid");
            work()
        });
        thread.join().expect("the thread ends")
    })
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_frame(&mut out, body).expect("fits");
    out
}

fn owner_of(path: &Path) -> (u32, u32, u32) {
    let found = fs::symlink_metadata(path).expect("stat");
    (found.uid(), found.gid(), found.mode() & 0o7777)
}

#[test]
fn netns_ownership_is_set_and_setting_it_again_changes_nothing() {
    need_root!();
    let helper = Helper::start();
    let file = helper.root().join("dir/a b");
    fs::create_dir(helper.root().join("dir")).expect("a folder");
    fs::write(&file, "x").expect("a file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o4711)).expect("chmod");
    assert_eq!(
        helper.set("dir/a b", Owner::Qemu, 0o660),
        Ok(Outcome::Changed)
    );
    assert_eq!(owner_of(&file), (QEMU.0, QEMU.1, 0o660));
    assert_eq!(
        helper.set("dir/a b", Owner::Qemu, 0o660),
        Ok(Outcome::Identity)
    );
    assert_eq!(
        helper.set("dir/a b", Owner::Qemu, 0o600),
        Ok(Outcome::Changed)
    );
    assert_eq!(helper.set("dir", Owner::Vdsm, 0o755), Ok(Outcome::Changed));
    assert_eq!(
        owner_of(&helper.root().join("dir")),
        (CLIENT, CLIENT, 0o755)
    );
    assert_eq!(
        helper.client().version().expect("told"),
        env!("CARGO_PKG_VERSION")
    );
}

#[test]
fn netns_the_agents_user_may_ask_through_closed_folders() {
    need_root!();
    let helper = Helper::start();
    let closed = helper.root().join("closed");
    fs::create_dir(&closed).expect("a folder");
    fs::write(closed.join("file"), "x").expect("a file");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).expect("chmod");
    let done = as_user(CLIENT, || helper.set("closed/file", Owner::Vdsm, 0o640));
    assert_eq!(done, Ok(Outcome::Changed));
    assert_eq!(owner_of(&closed.join("file")), (CLIENT, CLIENT, 0o640));
    let line = helper.audit().pop().expect("an audit line");
    assert!(
        line.contains(&format!("uid={CLIENT}")) && line.contains("\"closed/file\", vdsm, 640"),
        "{line}"
    );
}

#[test]
fn netns_another_user_is_refused_twice_over() {
    need_root!();
    let mut helper = Helper::start();
    fs::write(helper.root().join("file"), "x").expect("a file");
    let error = as_user(STRANGER, || {
        helper
            .client()
            .ping()
            .expect_err("the socket is closed to it")
    });
    assert!(
        matches!(&error, ClientError::Connect { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied),
        "{error:?}"
    );
    // Were the socket open to all, the credentials would still be those of a stranger.
    fs::set_permissions(helper.socket(), fs::Permissions::from_mode(0o666)).expect("chmod");
    let result = as_user(STRANGER, || helper.set("file", Owner::Vdsm, 0o640));
    assert_eq!(result, Err(Refusal::Peer { uid: STRANGER }));
    assert_eq!(
        owner_of(&helper.root().join("file")).0,
        0,
        "nothing was done"
    );
    let line = helper.audit().pop().expect("an audit line");
    assert!(
        line.contains(&format!("uid={STRANGER}")) && line.contains("refused"),
        "{line}"
    );
    helper.assert_well();
}

#[rstest]
#[case::nothing_there("none", Refusal::NotFound {})]
#[case::below_a_file("file/x", Refusal::NotFound {})]
#[case::link("link", Refusal::Escape {})]
#[case::link_within("inner", Refusal::Escape {})]
#[case::through_a_link("out/secret", Refusal::Escape {})]
#[case::through_a_link_within("loop/file", Refusal::Escape {})]
#[case::fifo("fifo", Refusal::Kind {})]
#[case::socket("socket", Refusal::Kind {})]
#[case::linked("hard", Refusal::Linked { uid: 0 })]
fn netns_paths_that_are_refused(#[case] path: &str, #[case] expected: Refusal) {
    need_root!();
    let mut helper = Helper::start();
    let root = helper.root();
    let secret = helper.dir.path().join("secret");
    fs::write(&secret, "x").expect("a secret");
    fs::write(root.join("file"), "x").expect("a file");
    symlink(&secret, root.join("link")).expect("a link");
    symlink("file", root.join("inner")).expect("a link");
    symlink("..", root.join("out")).expect("a link");
    symlink(".", root.join("loop")).expect("a link");
    fs::hard_link(&secret, root.join("hard")).expect("a second name");
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).expect("a socket");
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, root.join("fifo"), fifo, 0o600.into(), 0).expect("a fifo");
    let before = owner_of(&secret);
    assert_eq!(helper.set(path, Owner::Vdsm, 0o644), Err(expected));
    assert_eq!(owner_of(&secret), before);
    helper.assert_well();
}

#[test]
fn netns_roots_that_are_refused() {
    need_root!();
    let helper = Helper::start();
    let set = |root: &Path| {
        let request = ask(root, "file", Owner::Vdsm, 0o644);
        refused(helper.client().set_ownership(request))
    };
    fs::write(helper.dir.path().join("file"), "x").expect("a file");
    for root in [
        helper.dir.path().to_owned(),
        helper.root().join("sub"),
        "/etc".into(),
    ] {
        assert_eq!(set(&root), Err(Refusal::Root {}), "{}", root.display());
    }
    // An allowed root that has become a link is none.
    fs::remove_dir(helper.root()).expect("remove");
    assert_eq!(set(&helper.root()), Err(Refusal::NotFound {}));
    symlink(helper.dir.path(), helper.root()).expect("a link");
    assert_eq!(set(&helper.root()), Err(Refusal::Escape {}));
    assert_eq!(owner_of(&helper.dir.path().join("file")).0, 0);
}

#[test]
fn netns_a_second_name_of_an_own_file_is_fine() {
    need_root!();
    let helper = Helper::start();
    let template = helper.dir.path().join("template");
    fs::write(&template, "x").expect("a file");
    chown(&template, Some(CLIENT), Some(CLIENT)).expect("chown");
    fs::hard_link(&template, helper.root().join("volume")).expect("a second name");
    assert_eq!(
        helper.set("volume", Owner::Qemu, 0o640),
        Ok(Outcome::Changed)
    );
}

#[test]
fn netns_an_owner_that_does_not_exist_is_refused() {
    need_root!();
    let dir_options = "max_clients = 3\n";
    let mut helper = Helper::start_with(dir_options);
    helper.end(Signal::TERM);
    let conf = helper.dir.path().join("conf");
    let text = fs::read_to_string(&conf).expect("read");
    let owner = format!("owner_qemu = {}:{}", QEMU.0, QEMU.1);
    fs::write(
        &conf,
        text.replace(&owner, "owner_qemu = no-such-user:root"),
    )
    .expect("write");
    helper.restart();
    let owner = Owner::Qemu;
    assert_eq!(helper.set("x", owner, 0o600), Err(Refusal::Owner { owner }));
    assert!(
        helper.log().contains("there is no no-such-user:root"),
        "{}",
        helper.log()
    );
}

#[rstest]
#[case::garbage(framed(b"\xff\xfe not json"), "bad request")]
#[case::unknown(
    framed(br#"{"protocol":1,"request":{"run":{"command":"id"}}}"#),
    "unknown variant"
)]
#[case::extra(
    framed(br#"{"protocol":1,"request":{"ping":{"and":1}}}"#),
    "unknown field"
)]
#[case::dots(framed(br#"{"protocol":1,"request":{"set_ownership":{"root":"/r","path":"../x","owner":"vdsm","mode":0}}}"#), "a part ..")]
#[case::announced_gib((1_u32 << 30).to_be_bytes().to_vec(), "1073741824 bytes")]
#[case::announced_nothing(vec![0; 4], "0 bytes")]
#[case::truncated(vec![0, 0, 0, 9, b'{'], "cut short")]
#[case::truncated_length(vec![0, 0], "cut short")]
#[case::http(b"GET / HTTP/1.1\r\n\r\n".to_vec(), "bytes")]
fn netns_bad_frames_and_requests_are_refused(#[case] bytes: Vec<u8>, #[case] part: &str) {
    need_root!();
    let mut helper = Helper::start();
    let before = helper.audit().len();
    let reply = helper.raw(&bytes);
    let Some(Reply::Refused(refusal)) = reply else {
        panic!("{reply:?}");
    };
    assert!(
        matches!(refusal, Refusal::Frame { .. } | Refusal::Request { .. }),
        "{refusal:?}"
    );
    assert!(refusal.to_string().contains(part), "{refusal}");
    let audit = helper.audit();
    assert_eq!(audit.len(), before + 1, "one line: {audit:?}");
    assert!(
        audit.last().expect("a line").contains("refused"),
        "{audit:?}"
    );
    helper.assert_well();
}

#[test]
fn netns_another_protocol_is_refused() {
    need_root!();
    let helper = Helper::start();
    let call = Call {
        protocol: PROTOCOL + 1,
        request: Request::Ping {},
    };
    let expected = Refusal::Protocol {
        theirs: PROTOCOL + 1,
        ours: PROTOCOL,
    };
    assert_eq!(
        helper.raw(&framed(&encode(&call))),
        Some(Reply::Refused(expected))
    );
}

#[test]
fn netns_a_name_cannot_forge_an_audit_line() {
    need_root!();
    let helper = Helper::start();
    let before = helper.log().lines().count();
    let name = "x\nINFO audit: pid=1 uid=0 forged";
    assert_eq!(
        helper.set(name, Owner::Vdsm, 0o600),
        Err(Refusal::NotFound {})
    );
    assert_eq!(helper.log().lines().count(), before + 1);
}

#[test]
fn netns_silent_clients_hold_up_no_one_and_lose_their_places() {
    need_root!();
    let mut helper = Helper::start_with("max_clients = 3\nrequest_timeout = 4\n");
    // Three places: two silent clients leave one.
    let mut silent: Vec<_> = (0..2)
        .map(|_| UnixStream::connect(helper.socket()).expect("connect"))
        .collect();
    silent[1].write_all(&[0, 0]).expect("half a length");
    let start = Instant::now();
    helper.client().ping().expect("served");
    assert!(start.elapsed() < 3 * SECOND, "{:?}", start.elapsed());
    silent.push(UnixStream::connect(helper.socket()).expect("connect"));
    assert_eq!(refused(helper.client().ping()), Err(Refusal::Busy {}));
    // Their deadline is four seconds: each is told, and its place is free.
    for mut stream in silent {
        let told = reply(&mut stream);
        assert!(
            matches!(&told, Some(Reply::Refused(Refusal::Frame { why })) if why == "not in time"),
            "{told:?}"
        );
    }
    helper.assert_well();
}

#[test]
fn netns_a_client_that_leaves_early_harms_no_one() {
    need_root!();
    let mut helper = Helper::start();
    let call = Call {
        protocol: PROTOCOL,
        request: Request::Ping {},
    };
    for _ in 0..50 {
        let mut stream = UnixStream::connect(helper.socket()).expect("connect");
        let _ = stream.write_all(&framed(&encode(&call)));
        drop(stream);
        drop(UnixStream::connect(helper.socket()).expect("connect"));
    }
    std::thread::sleep(Duration::from_millis(100));
    helper.assert_well();
}

/// Ends the other thread of a test even where the test fails.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Someone swaps a folder for a link out of the root while requests run: what is outside never changes.
#[test]
fn netns_a_race_cannot_lead_out_of_the_root() {
    need_root!();
    let helper = Helper::start();
    let (root, outside) = (helper.root(), helper.dir.path().join("outside"));
    for dir in [root.join("real"), outside.clone()] {
        fs::create_dir(&dir).expect("a folder");
        fs::write(dir.join("file"), "x").expect("a file");
    }
    symlink(&outside, root.join("link")).expect("a link");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            use rustix::fs::{CWD, RenameFlags, renameat_with};
            while !stop.load(Ordering::Relaxed) {
                let (a, b) = (root.join("real"), root.join("link"));
                let _ = renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE);
            }
        });
        let _stop = StopAtEnd(&stop);
        let mut seen = (0, 0);
        let until = Instant::now() + 20 * SECOND;
        for turn in 0_u32.. {
            match helper.set("real/file", Owner::Qemu, 0o600 + (turn % 8) * 8) {
                Ok(_) => seen.0 += 1,
                Err(Refusal::Escape {} | Refusal::NotFound {} | Refusal::System { .. }) => {
                    seen.1 += 1;
                }
                Err(other) => panic!("{other:?}"),
            }
            if turn >= 600 && seen.0 > 0 && seen.1 > 0 {
                break;
            }
            assert!(Instant::now() < until, "both must be met: {seen:?}");
        }
    });
    assert_eq!(owner_of(&outside.join("file")), (0, 0, 0o644));
}

#[test]
fn netns_without_networks_it_keeps_three_capabilities_and_can_get_no_more() {
    need_root!();
    let helper = Helper::start();
    let mut status = String::new();
    let path = format!("/proc/{}/status", helper.child.id());
    File::open(path)
        .expect("status")
        .read_to_string(&mut status)
        .expect("read");
    let field = |name: &str| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name}:")));
        line.expect(name).trim().to_owned()
    };
    // CAP_CHOWN 0, CAP_DAC_OVERRIDE 1, CAP_FOWNER 3.
    for set in ["CapEff", "CapPrm", "CapBnd"] {
        assert_eq!(u64::from_str_radix(&field(set), 16), Ok(0b1011), "{set}");
    }
    assert_eq!(u64::from_str_radix(&field("CapInh"), 16), Ok(0));
    assert_eq!(field("NoNewPrivs"), "1");
}

#[test]
fn netns_killed_in_a_call_it_comes_back_and_the_call_can_be_repeated() {
    need_root!();
    let mut helper = Helper::start();
    fs::write(helper.root().join("file"), "x").expect("a file");
    let mut stream = UnixStream::connect(helper.socket()).expect("connect");
    stream
        .write_all(&[0, 0, 0, 50, b'{'])
        .expect("half a request");
    std::thread::sleep(Duration::from_millis(50));
    helper.end(Signal::KILL);
    let cut = read_frame(&mut stream);
    assert!(
        matches!(cut, Err(FrameError::Closed | FrameError::Short)),
        "{cut:?}"
    );
    let gone = helper.client().ping().expect_err("nobody is there");
    assert!(matches!(gone, ClientError::Connect { .. }), "{gone:?}");
    assert!(helper.socket().exists(), "the dead one left its socket");
    helper.restart();
    assert_eq!(helper.set("file", Owner::Vdsm, 0o640), Ok(Outcome::Changed));
    assert_eq!(
        helper.set("file", Owner::Vdsm, 0o640),
        Ok(Outcome::Identity)
    );
}

#[rstest]
#[case(Signal::TERM)]
#[case(Signal::INT)]
fn netns_a_signal_ends_it_cleanly(#[case] signal: Signal) {
    need_root!();
    let mut helper = Helper::start();
    // A silent client does not keep it beyond its deadline.
    let _silent = UnixStream::connect(helper.socket()).expect("connect");
    let start = Instant::now();
    let status = helper.end(signal);
    assert!(status.success(), "{status:?}");
    assert!(start.elapsed() < 3 * SECOND, "{:?}", start.elapsed());
    assert!(!helper.socket().exists());
    assert!(helper.log().contains("supervdsmd ends"));
}

/// Starts another helper in the folder of the first; it must end with an error that says this.
fn assert_will_not_start(helper: &Helper, part: &str) {
    let mut child = spawn(helper.dir.path());
    let until = Instant::now() + 10 * SECOND;
    let status = loop {
        if let Some(status) = child.try_wait().expect("wait") {
            break status;
        }
        if Instant::now() > until {
            let _ = child.kill();
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(status.code(), Some(1), "{}", helper.log());
    assert!(helper.log().contains(part), "{}", helper.log());
}

#[test]
fn netns_it_does_not_start_over_another_or_over_a_file() {
    need_root!();
    let mut helper = Helper::start();
    assert_will_not_start(&helper, "another helper listens");
    helper.assert_well();
    helper.end(Signal::TERM);
    fs::write(helper.socket(), "precious").expect("a file");
    assert_will_not_start(&helper, "is no socket");
    assert_eq!(
        fs::read_to_string(helper.socket()).expect("still there"),
        "precious"
    );
}

#[rstest]
#[case(
    "[supervdsm]\nclient_user = no-such-user\n",
    "there is no user no-such-user"
)]
#[case("[supervdsm]\nmax_clients = 0\n", "conf:2: [supervdsm] max_clients")]
#[case("nonsense", "conf:1: an option before")]
fn netns_a_wrong_configuration_is_an_error(#[case] text: &str, #[case] part: &str) {
    need_root!();
    let mut helper = Helper::start();
    helper.end(Signal::TERM);
    fs::write(helper.dir.path().join("conf"), text).expect("write");
    assert_will_not_start(&helper, part);
}
