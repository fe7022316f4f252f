//! The only unsafe code of the crate: a process is made and turned into a program.
//!
//! `clone(CLONE_VM | CLONE_VFORK)` as glibc's posix_spawn does it: nothing of a large agent is copied, the
//! calling thread sleeps until the child runs its program or ends, and the child tells of a failed step
//! through the shared memory. Between clone and execve only async-signal-safe system calls happen: no
//! allocation, no lock, no panic. All signals are blocked meanwhile, so no handler of ours runs in the child.
//! A pidfd comes with the clone: from the first moment the child cannot be confused with another process.
#![allow(
    unsafe_code,
    reason = "clone and the steps before execve have no safe interface"
)]

use std::{
    ffi::{CString, c_char, c_int, c_void},
    mem::MaybeUninit,
    os::fd::{FromRawFd, OwnedFd, RawFd},
    ptr,
    sync::atomic::{AtomicI32, Ordering},
};

use rustix::io::Errno;

/// Bytes of the child's stack until execve.
const STACK: usize = 128 * 1024;

/// Everything the child needs, prepared before the clone.
pub(crate) struct Plan {
    pub(crate) path: CString,
    pub(crate) argv: Vec<CString>,
    pub(crate) envp: Vec<CString>,
    pub(crate) cwd: Option<CString>,
    /// What becomes 0, 1, 2; each above 2.
    pub(crate) fds: [RawFd; 3],
    pub(crate) death_signal: bool,
    pub(crate) user: Option<(u32, u32, Vec<u32>)>,
    pub(crate) nice: Option<i32>,
    pub(crate) io_priority: Option<i32>,
    /// Resource and its soft and hard limit.
    pub(crate) limits: Vec<(u32, u64)>,
    pub(crate) umask: Option<u32>,
    pub(crate) private_mounts: bool,
    pub(crate) private_network: bool,
}

/// The step that failed, by name, and the system's answer.
pub(crate) type StepError = (&'static str, Errno);

/// The names of the steps; the child stores an index.
const STEPS: [&str; 17] = [
    "clone",
    "setpgid",
    "setrlimit",
    "setpriority",
    "ioprio_set",
    "setgroups",
    "setresgid",
    "setresuid",
    "chdir",
    "dup2",
    "close_range",
    "execve",
    "setsid",
    "unshare",
    "mount",
    "unshare the network",
    "loopback up",
];

/// What parent and child share. Raw pointers into `Plan`, which outlives the child's use of it.
struct Shared<'a> {
    plan: &'a Plan,
    argv: Vec<*const c_char>,
    envp: Vec<*const c_char>,
    parent: c_int,
    step: AtomicI32,
    errno: AtomicI32,
    /// Only for a daemon: the stack of the inner child, and its process id.
    inner_stack: *mut c_void,
    inner_pid: AtomicI32,
}

impl<'a> Shared<'a> {
    fn new(plan: &'a Plan) -> Self {
        Self {
            plan,
            argv: pointers(&plan.argv),
            envp: pointers(&plan.envp),
            parent: rustix::process::getpid().as_raw_nonzero().get(),
            step: AtomicI32::new(0),
            errno: AtomicI32::new(0),
            inner_stack: ptr::null_mut(),
            inner_pid: AtomicI32::new(0),
        }
    }

    fn error(&self) -> Option<StepError> {
        let errno = self.errno.load(Ordering::SeqCst);
        let step = usize::try_from(self.step.load(Ordering::SeqCst)).unwrap_or(0);
        (errno != 0).then(|| {
            (
                STEPS.get(step).copied().unwrap_or("clone"),
                Errno::from_raw_os_error(errno),
            )
        })
    }
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings
        .iter()
        .map(|s| s.as_ptr())
        .chain([ptr::null()])
        .collect()
}

/// A stack for a child: never initialised, so untouched pages cost nothing.
struct Stack(Vec<MaybeUninit<u8>>);

impl Stack {
    fn new() -> Self {
        let mut bytes = Vec::with_capacity(STACK);
        // SAFETY: the elements are MaybeUninit, for which any content, also none, is valid.
        unsafe { bytes.set_len(STACK) };
        Self(bytes)
    }

    /// Its upper end, aligned as every supported architecture wants it.
    fn top(&mut self) -> *mut c_void {
        let end = self.0.as_mut_ptr_range().end;
        let over = end.addr() % 64;
        end.wrapping_sub(over).cast()
    }
}

/// Starts the program as a direct child: its process id and a pidfd.
pub(crate) fn spawn(plan: &Plan) -> Result<(i32, OwnedFd), StepError> {
    let shared = Shared::new(plan);
    let mut stack = Stack::new();
    let (pid, pidfd) = vfork(child_main, stack.top(), &raw const shared)?;
    match shared.error() {
        None => Ok((pid, pidfd)),
        Some(error) => {
            reap(pid);
            Err(error)
        }
    }
}

/// Starts the program as nobody's child, in a session of its own: a middle process makes the session and
/// the real child, and ends. Returns the process id of the program.
pub(crate) fn spawn_detached(plan: &Plan) -> Result<i32, StepError> {
    let mut inner = Stack::new();
    let mut shared = Shared::new(plan);
    shared.inner_stack = inner.top();
    let mut stack = Stack::new();
    let (middle, _pidfd) = vfork(middle_main, stack.top(), &raw const shared)?;
    reap(middle);
    match shared.error() {
        None => Ok(shared.inner_pid.load(Ordering::SeqCst)),
        Some(error) => Err(error),
    }
}

/// Clones with all signals blocked; returns when the child has run execve or ended.
fn vfork(
    entry: extern "C" fn(*mut c_void) -> c_int,
    stack_top: *mut c_void,
    shared: *const Shared<'_>,
) -> Result<(i32, OwnedFd), StepError> {
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    let mut pidfd: c_int = -1;
    let old = block_signals();
    // SAFETY: the stack is STACK bytes, aligned, and lives until this thread goes on, which CLONE_VFORK
    // holds until the child is gone from it; `shared` likewise; pidfd is a valid place for a descriptor.
    let pid = unsafe {
        libc::clone(
            entry,
            stack_top,
            flags,
            shared.cast_mut().cast(),
            &raw mut pidfd,
        )
    };
    let errno = std::io::Error::last_os_error()
        .raw_os_error()
        .unwrap_or(libc::EAGAIN);
    set_signals(old);
    if pid < 0 {
        return Err(("clone", Errno::from_raw_os_error(errno)));
    }
    if pidfd < 0 {
        // A kernel before 5.2 ignores CLONE_PIDFD. Without a pidfd nothing here is safe.
        // SAFETY: our own child, not collected yet.
        unsafe { libc::kill(pid, libc::SIGKILL) };
        reap(pid);
        return Err(("clone", Errno::NOSYS));
    }
    // SAFETY: the kernel has just made this descriptor for us (CLONE_PIDFD); nobody else knows it.
    Ok((pid, unsafe { OwnedFd::from_raw_fd(pidfd) }))
}

/// Collects the status of a child that has ended or is about to.
fn reap(pid: i32) {
    let mut status = 0;
    loop {
        // SAFETY: `status` is a valid place; pid is our own unreaped child.
        let done = unsafe { libc::waitpid(pid, &raw mut status, 0) };
        if done >= 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
            return;
        }
    }
}

/// Blocks every signal of this thread (also those that the C library keeps for itself); returns the old mask.
fn block_signals() -> u64 {
    sigmask(libc::SIG_SETMASK, u64::MAX)
}

fn set_signals(mask: u64) {
    sigmask(libc::SIG_SETMASK, mask);
}

fn sigmask(how: c_int, mask: u64) -> u64 {
    let mut old = 0_u64;
    // SAFETY: both masks are 8 bytes, the size of the kernel's signal set that is named in the call.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            how,
            &raw const mask,
            &raw mut old,
            size_of::<u64>(),
        );
    }
    old
}

/// The child of [`spawn`].
extern "C" fn child_main(arg: *mut c_void) -> c_int {
    // SAFETY: `arg` is the `Shared` of the parent, which sleeps until this process leaves its memory.
    let shared = unsafe { &*arg.cast::<Shared<'_>>() };
    become_program(shared)
}

/// The middle process of [`spawn_detached`].
extern "C" fn middle_main(arg: *mut c_void) -> c_int {
    // SAFETY: as in `child_main`.
    let shared = unsafe { &*arg.cast::<Shared<'_>>() };
    // SAFETY: setsid has no preconditions; clone as in `vfork`: this process sleeps until the inner child
    // has left the memory, and the inner stack belongs to the grandparent, which sleeps as well.
    let pid = unsafe {
        if libc::setsid() < 0 {
            return fail(shared, 12);
        }
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        libc::clone(child_main, shared.inner_stack, flags, arg)
    };
    if pid < 0 {
        return fail(shared, 0);
    }
    shared.inner_pid.store(pid, Ordering::SeqCst);
    0
}

/// Notes the step that failed; the process then ends with 127.
fn fail(shared: &Shared<'_>, step: i32) -> c_int {
    let errno = Errno::from_io_error(&std::io::Error::last_os_error());
    shared.step.store(step, Ordering::SeqCst);
    shared.errno.store(
        errno.map_or(libc::EIO, Errno::raw_os_error),
        Ordering::SeqCst,
    );
    127
}

/// All steps from a fresh clone to the program. Comes back only if one fails.
fn become_program(shared: &Shared<'_>) -> c_int {
    let plan = shared.plan;
    reset_signals();
    for step in [
        place,
        part_mounts,
        part_network,
        limit,
        switch_user,
        enter_folder,
        arrange_descriptors,
    ] {
        if let Err(number) = step(plan) {
            return fail(shared, number);
        }
    }
    if plan.death_signal && shared.inner_stack.is_null() {
        // SAFETY: prctl, getppid, getpid and kill take no pointers. (raise would use the parent's thread id.)
        unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            // The parent may have died before the call above took hold.
            if libc::getppid() != shared.parent {
                libc::kill(libc::getpid(), libc::SIGKILL);
            }
        }
    }
    sigmask(libc::SIG_SETMASK, 0);
    // SAFETY: path, argv and envp are zero-terminated and live in the sleeping parent.
    unsafe {
        libc::execve(
            plan.path.as_ptr(),
            shared.argv.as_ptr(),
            shared.envp.as_ptr(),
        )
    };
    fail(shared, 11)
}

/// Ignored signals would stay ignored in the program (SIGPIPE is ignored by every Rust program). The raw
/// call: the C library's refuses the two signals that it uses itself, which a parent may have ignored too.
fn reset_signals() {
    let default = [0_u64; 4];
    let none = ptr::null_mut::<u64>();
    for signal in 1..=64 {
        // SAFETY: all zeroes are SIG_DFL, no flags, an empty mask, in the kernel's 32-byte sigaction of the
        // 64-bit architectures. The child has its own table of handlers (no CLONE_SIGHAND). SIGKILL and
        // SIGSTOP answer an error: fine.
        unsafe {
            let action = default.as_ptr();
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                action,
                none,
                size_of::<u64>(),
            );
        }
    }
}

/// Own process group, umask.
fn place(plan: &Plan) -> Result<(), i32> {
    // SAFETY: neither call takes a pointer.
    unsafe {
        if libc::setpgid(0, 0) < 0 {
            return Err(1);
        }
        if let Some(mask) = plan.umask {
            libc::umask(mask);
        }
    }
    Ok(())
}

/// Own mounts: nothing of them reaches others, nothing of theirs comes in.
fn part_mounts(plan: &Plan) -> Result<(), i32> {
    if !plan.private_mounts {
        return Ok(());
    }
    // SAFETY: unshare takes no pointers. The child has its own fs structure (no CLONE_FS).
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } < 0 {
        return Err(13);
    }
    let flags = libc::MS_REC | libc::MS_PRIVATE;
    let (none, root) = (c"none".as_ptr(), c"/".as_ptr());
    // SAFETY: constant texts; type and data play no part when only the propagation changes.
    if unsafe { libc::mount(none, root, ptr::null(), flags, ptr::null()) } < 0 {
        return Err(14);
    }
    Ok(())
}

/// A network of its own: a loopback that is up, nothing else.
fn part_network(plan: &Plan) -> Result<(), i32> {
    if !plan.private_network {
        return Ok(());
    }
    // SAFETY: unshare takes no pointers. The child shares no descriptors and no memory of namespaces with others.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } < 0 {
        return Err(15);
    }
    // SAFETY: no pointers. The descriptor is closed with all others before execve.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return Err(16);
    }
    // SAFETY: all zeroes are a valid ifreq.
    let mut request = unsafe { MaybeUninit::<libc::ifreq>::zeroed().assume_init() };
    let [first, second, ..] = &mut request.ifr_name;
    *first = b'l'.cast_signed();
    *second = b'o'.cast_signed();
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: `request` is a valid ifreq with a zero-terminated name.
    if unsafe { libc::ioctl(socket, libc::SIOCSIFFLAGS, &raw const request) } < 0 {
        return Err(16);
    }
    Ok(())
}

/// Resource limits and priorities.
fn limit(plan: &Plan) -> Result<(), i32> {
    for (resource, value) in &plan.limits {
        let limit = libc::rlimit64 {
            rlim_cur: *value,
            rlim_max: *value,
        };
        let (own, none) = (0, ptr::null_mut::<libc::rlimit64>());
        // SAFETY: `limit` is a valid rlimit64, the old one is not asked for.
        if unsafe { libc::syscall(libc::SYS_prlimit64, own, *resource, &raw const limit, none) } < 0
        {
            return Err(2);
        }
    }
    // SAFETY: system calls without pointers.
    unsafe {
        if let Some(nice) = plan.nice
            && libc::syscall(libc::SYS_setpriority, libc::PRIO_PROCESS, 0, nice) < 0
        {
            return Err(3);
        }
        // 1 is IOPRIO_WHO_PROCESS, 0 the caller.
        if let Some(priority) = plan.io_priority
            && libc::syscall(libc::SYS_ioprio_set, 1, 0, priority) < 0
        {
            return Err(4);
        }
    }
    Ok(())
}

/// Another user. The raw calls: the C library's would change all threads of the sleeping parent too.
fn switch_user(plan: &Plan) -> Result<(), i32> {
    let Some((uid, gid, groups)) = &plan.user else {
        return Ok(());
    };
    // SAFETY: `groups` is a valid array of that length; the others take no pointers.
    unsafe {
        if libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) < 0 {
            return Err(5);
        }
        if libc::syscall(libc::SYS_setresgid, *gid, *gid, *gid) < 0 {
            return Err(6);
        }
        if libc::syscall(libc::SYS_setresuid, *uid, *uid, *uid) < 0 {
            return Err(7);
        }
    }
    Ok(())
}

fn enter_folder(plan: &Plan) -> Result<(), i32> {
    let Some(dir) = &plan.cwd else { return Ok(()) };
    // SAFETY: a zero-terminated path.
    if unsafe { libc::chdir(dir.as_ptr()) } < 0 {
        Err(8)
    } else {
        Ok(())
    }
}

/// 0, 1, 2 as planned; everything above is closed, whoever opened it and forgot its CLOEXEC.
fn arrange_descriptors(plan: &Plan) -> Result<(), i32> {
    for (target, source) in (0..).zip(plan.fds) {
        // SAFETY: plain descriptor numbers; the child has its own table (no CLONE_FILES).
        if unsafe { libc::dup2(source, target) } < 0 {
            return Err(9);
        }
    }
    // SAFETY: no pointers.
    if unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) } < 0 {
        return Err(10);
    }
    Ok(())
}
