//! Does KVM truly work here? A few bytes are booted under it; only their own sign of life counts.
//!
//! A machine exists where /dev/kvm opens and guests hang after the firmware, so opening the device is not
//! asked alone. The guest is a boot sector made here: it writes one byte to QEMU's `isa-debug-exit` device,
//! and QEMU ends with an exit code that nothing else gives. The disk is an anonymous file given as stdin:
//! nothing is left behind, also not when the deadline kills everything.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::OwnedFd,
    path::Path,
    time::Duration,
};

use rustix::fs::{Access, MemfdFlags, access, memfd_create};

use crate::{Command, ExecError, Exit, Output, Stdio};

/// The device through which QEMU reaches KVM.
const DEVICE: &str = "/dev/kvm";

/// I/O port of `isa-debug-exit` (what QEMU's own tests use).
const PORT: u8 = 0xf4;

/// What the guest writes there.
const SIGN: u8 = 0x2a;

/// What the probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KvmVerdict {
    /// A guest ran under KVM.
    Works,
    /// There is no /dev/kvm.
    Absent,
    /// There is, and this user may not open it.
    NotPermitted,
    /// It opens, and the guest never gave its sign within the deadline.
    Hangs,
    /// QEMU said no, or could not be started.
    Failed(String),
}

impl KvmVerdict {
    /// May KVM be used?
    pub fn works(&self) -> bool {
        *self == Self::Works
    }
}

impl std::fmt::Display for KvmVerdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Works => f.write_str("KVM works"),
            Self::Absent => f.write_str("there is no /dev/kvm"),
            Self::NotPermitted => f.write_str("/dev/kvm may not be opened by this user"),
            Self::Hangs => f.write_str("/dev/kvm opens, but a guest under it hangs"),
            Self::Failed(why) => write!(f, "KVM does not work: {why}"),
        }
    }
}

/// Boots a few bytes with `qemu` (path or name of a `qemu-system-x86_64`) under KVM. Takes at most
/// `deadline` and a moment to kill; a working KVM answers in well below a second.
pub fn probe(qemu: impl AsRef<Path>, deadline: Duration) -> KvmVerdict {
    if !cfg!(target_arch = "x86_64") {
        return KvmVerdict::Failed("the probe knows x86_64 only".into());
    }
    match access(DEVICE, Access::READ_OK | Access::WRITE_OK) {
        Err(rustix::io::Errno::NOENT) => return KvmVerdict::Absent,
        Err(_) => return KvmVerdict::NotPermitted,
        Ok(()) => {}
    }
    let verdict = verdict(boot(qemu.as_ref(), "kvm", deadline));
    tracing::info!(target: "exec", %verdict, "probed KVM");
    verdict
}

/// What the end of QEMU means.
fn verdict(result: Result<Output, ExecError>) -> KvmVerdict {
    match result {
        Ok(output) if output.exit == Exit::Code(success_code()) => KvmVerdict::Works,
        Ok(output) => {
            let said = output.stderr_text();
            if said.contains("Permission denied") {
                return KvmVerdict::NotPermitted;
            }
            KvmVerdict::Failed(format!("QEMU ended with {}: {said}", output.exit))
        }
        Err(ExecError::TimedOut { .. }) => KvmVerdict::Hangs,
        Err(error) => KvmVerdict::Failed(error.to_string()),
    }
}

/// `isa-debug-exit` ends QEMU with `(value << 1) | 1`.
fn success_code() -> i32 {
    (i32::from(SIGN) << 1) | 1
}

/// Boots the sector under an accelerator.
fn boot(qemu: &Path, accelerator: &str, deadline: Duration) -> Result<Output, ExecError> {
    let name = qemu.display().to_string();
    let disk = disk().map_err(|source| ExecError::Io {
        program: name,
        source,
    })?;
    let exit_device = format!("isa-debug-exit,iobase={PORT:#x},iosize=0x4");
    Command::new(qemu)
        .args([
            "-accel",
            accelerator,
            "-machine",
            "pc",
            "-m",
            "16",
            "-smp",
            "1",
        ])
        .args([
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
        ])
        .args(["-device", &exit_device])
        .args([
            "-drive",
            "if=none,id=boot,format=raw,file=/proc/self/fd/0,file.locking=off",
        ])
        .args(["-device", "ide-hd,drive=boot,bootindex=0"])
        .stdin_to(Stdio::File(disk))
        .timeout(deadline)
        .grace(Duration::from_millis(500))
        .run()
}

/// The boot sector, on an anonymous disk of 1 MiB.
fn disk() -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create("vdsm-kvm-probe", MemfdFlags::CLOEXEC)?);
    file.write_all(&boot_sector())?;
    file.set_len(1 << 20)?;
    Ok(file.into())
}

/// The signature that a BIOS wants, and the guest before it.
fn boot_sector() -> [u8; 512] {
    let mut sector = [0; 512];
    for (byte, value) in sector.iter_mut().zip(GUEST) {
        *byte = *value;
    }
    let [.., before_last, last] = &mut sector;
    (*before_last, *last) = (0x55, 0xaa);
    sector
}

/// The guest, loaded at 0x7c00: from real mode into 64-bit mode with paging, 16 million turns of a loop,
/// the sign to the port, a halt for ever. Real mode alone proves nothing: a machine was seen where it
/// gets through (in 7 s) and 64-bit code never runs.
#[rustfmt::skip]
const GUEST: &[u8] = &[
    0xfa,                                                 // cli
    0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0xfc,             // ds = es = 0; cld
    0x66, 0xbf, 0x00, 0x10, 0x00, 0x00,                   // edi = 0x1000: three empty page tables
    0x66, 0xb9, 0x00, 0x0c, 0x00, 0x00,                   // ecx = 0xc00
    0x66, 0x31, 0xc0, 0x66, 0xf3, 0xab,                   // eax = 0; rep stosd
    0xc7, 0x06, 0x00, 0x10, 0x03, 0x20,                   // [0x1000] = 0x2003: level 4 to level 3
    0xc7, 0x06, 0x00, 0x20, 0x03, 0x30,                   // [0x2000] = 0x3003: level 3 to level 2
    0xc7, 0x06, 0x00, 0x30, 0x83, 0x00,                   // [0x3000] = 0x83: the first 2 MiB as they are
    0x66, 0xb8, 0xa0, 0x00, 0x00, 0x00, 0x0f, 0x22, 0xe0, // cr4 = PAE | PGE
    0x66, 0xb8, 0x00, 0x10, 0x00, 0x00, 0x0f, 0x22, 0xd8, // cr3 = 0x1000
    0x66, 0xb9, 0x80, 0x00, 0x00, 0xc0, 0x0f, 0x32,       // read EFER
    0x0d, 0x00, 0x01, 0x0f, 0x30,                         // EFER |= LME
    0x0f, 0x20, 0xc0, 0x66, 0x0d, 0x01, 0x00, 0x00, 0x80, // eax = cr0 | PE | PG
    0x0f, 0x22, 0xc0,                                     // cr0 = eax
    0x0f, 0x01, 0x16, 0x81, 0x7c,                         // lgdt [0x7c81]
    0xea, 0x61, 0x7c, 0x08, 0x00,                         // jmp 8:0x7c61, now 64-bit
    0xb9, 0x00, 0x00, 0x00, 0x01,                         // ecx = 0x1000000
    0xff, 0xc9, 0x75, 0xfc,                               // dec ecx; jnz back to it
    0xb0, SIGN, 0xe6, PORT,                               // al = SIGN; out PORT, al
    0xf4, 0xeb, 0xfd,                                     // hlt; jmp to it
    0, 0, 0, 0, 0, 0, 0, 0,                               // 0x7c71: no segment
    0, 0, 0, 0, 0, 0x9a, 0x20, 0,                         // 0x7c79: 64-bit code
    0x0f, 0x00, 0x71, 0x7c, 0x00, 0x00,                   // 0x7c81: 16 bytes at 0x7c71
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    const QEMU: &str = "qemu-system-x86_64";

    fn output(code: i32, stderr: &str) -> Output {
        Output {
            program: QEMU.into(),
            exit: Exit::Code(code),
            stdout: Vec::new(),
            stdout_dropped: 0,
            stderr: stderr.into(),
            stderr_dropped: 0,
            duration: Duration::ZERO,
        }
    }

    #[test]
    fn only_the_guests_own_sign_counts() {
        assert_eq!(verdict(Ok(output(85, ""))), KvmVerdict::Works);
        assert!(matches!(verdict(Ok(output(0, ""))), KvmVerdict::Failed(_)));
        assert!(
            matches!(verdict(Ok(output(1, "no"))), KvmVerdict::Failed(why) if why.contains("no"))
        );
        let denied = "Could not access KVM kernel module: Permission denied";
        assert_eq!(verdict(Ok(output(1, denied))), KvmVerdict::NotPermitted);
        let late = ExecError::TimedOut {
            program: QEMU.into(),
            after: Duration::ZERO,
            stderr: String::new(),
        };
        assert_eq!(verdict(Err(late)), KvmVerdict::Hangs);
    }

    #[test]
    fn the_sector_has_its_signature() {
        let sector = boot_sector();
        assert_eq!(sector[510..], [0x55, 0xaa]);
        assert_eq!(sector[..GUEST.len()], *GUEST);
        assert_eq!(
            GUEST.len(),
            0x87,
            "the addresses within are counted by hand"
        );
    }

    /// Held by each test that starts a guest: one looks whether any is left in this process.
    static ONE_GUEST: std::sync::Mutex<()> = std::sync::Mutex::new(());

    fn alone() -> std::sync::MutexGuard<'static, ()> {
        ONE_GUEST
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The same guest under software emulation: the sector itself is right, whatever KVM does.
    #[test]
    fn the_sector_boots_under_tcg() {
        if crate::command::find(QEMU).is_none() {
            println!("skipped: {QEMU} is not installed");
            return;
        }
        let _alone = alone();
        let result = boot(Path::new(QEMU), "tcg", Duration::from_mins(1)).unwrap();
        assert_eq!(
            result.exit,
            Exit::Code(success_code()),
            "{}",
            result.stderr_text()
        );
    }

    #[test]
    fn the_probe_ends_in_time_and_leaves_nothing() {
        if crate::command::find(QEMU).is_none() {
            println!("skipped: {QEMU} is not installed");
            return;
        }
        let _alone = alone();
        let started = Instant::now();
        let verdict = probe(QEMU, Duration::from_secs(5));
        println!("{verdict} ({:?})", started.elapsed());
        assert!(started.elapsed() < Duration::from_secs(30));
        assert!(
            !crate::process::Tree::of(std::process::id().cast_signed())
                .has_program("qemu-system-x86")
        );
        if let KvmVerdict::Failed(why) = &verdict {
            panic!("{why}");
        }
    }

    #[test]
    fn a_missing_qemu_is_said() {
        if access(DEVICE, Access::READ_OK | Access::WRITE_OK).is_err() {
            println!("skipped: no usable {DEVICE}");
            return;
        }
        let verdict = probe("/no/such/qemu", Duration::from_secs(5));
        assert!(matches!(verdict, KvmVerdict::Failed(why) if why.contains("not installed")));
    }
}
