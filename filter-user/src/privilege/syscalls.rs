//! The system calls that an engine renounces (seccomp).
//!
//! What is listed fails, with EPERM; all others work. A list of what is allowed would break with the next libc.

use std::collections::BTreeMap;

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter_all_threads,
};

/// Never called by an engine, and of use to whoever would have taken it over.
const RENOUNCED: &[libc::c_long] = &[
    // Other programs and processes.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // Other users.
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_setgroups,
    // Namespaces and mounts.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_chroot,
    libc::SYS_pivot_root,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_open_by_handle_at,
    libc::SYS_mknodat,
    // The machine.
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    // Parts of the kernel that have often been the way in.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_fanotify_init,
];

/// The families of sockets that an engine opens.
const SOCKETS: [libc::c_int; 5] = [
    libc::AF_UNIX,
    libc::AF_INET,
    libc::AF_INET6,
    libc::AF_NETLINK,
    libc::AF_XDP,
];

/// Renounces them, for all threads and for good.
///
/// # Errors
///
/// When the kernel has no seccomp, or this architecture has no filters.
pub(super) fn renounce() -> Result<(), seccompiler::Error> {
    let refuse = filter(refused()?, libc::EPERM)?;
    // What it shall make is in memory, where a filter does not look. The C library then takes clone(2).
    let old = filter(BTreeMap::from([(libc::SYS_clone3, Vec::new())]), libc::ENOSYS)?;
    apply_filter_all_threads(&refuse)?;
    apply_filter_all_threads(&old)
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn filter(rules: Rules, errno: i32) -> Result<BpfProgram, seccompiler::BackendError> {
    SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(errno.unsigned_abs()),
        TargetArch::try_from(std::env::consts::ARCH)?,
    )?
    .try_into()
}

fn refused() -> Result<Rules, seccompiler::BackendError> {
    let mut rules: Rules = RENOUNCED.iter().map(|call| (*call, Vec::new())).collect();
    let first = |operator, value: libc::c_int| {
        SeccompCondition::new(
            0,
            SeccompCmpArgLen::Dword,
            operator,
            u64::from(value.unsigned_abs()),
        )
    };
    let others = SOCKETS.into_iter().map(|family| first(SeccompCmpOp::Ne, family));
    let others = SeccompRule::new(others.collect::<Result<_, _>>()?)?;
    rules.insert(libc::SYS_socket, vec![others]);
    let namespace = libc::CLONE_NEWUSER;
    let user_namespace = first(
        SeccompCmpOp::MaskedEq(u64::from(namespace.unsigned_abs())),
        namespace,
    )?;
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![user_namespace])?]);
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use std::{net::UdpSocket, process::Command, thread};

    use nix::{
        errno::Errno,
        sched::{CloneFlags, unshare},
        sys::socket::{AddressFamily, SockFlag, SockType, socket},
    };

    use super::*;

    /// In a process of its own: other tests start programs.
    #[test]
    fn what_is_renounced_fails_in_all_threads_and_the_rest_works() {
        const INNER: &str = "PORTCULLIS_TEST_RENOUNCE";
        if std::env::var_os(INNER).is_none() {
            let test =
                "privilege::syscalls::tests::what_is_renounced_fails_in_all_threads_and_the_rest_works";
            let program = std::env::current_exe().expect("it runs");
            let output = Command::new(program)
                .args(["--exact", test, "--nocapture"])
                .env(INNER, "1")
                .output()
                .expect("it starts");
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && said.contains("1 passed"), "{said}");
            return;
        }
        nix::sys::prctl::set_no_new_privs().expect("everybody may");
        renounce().expect("this kernel has seccomp");
        let check = || {
            let error = Command::new("/bin/true")
                .spawn()
                .expect_err("execve is renounced");
            assert_eq!(error.raw_os_error(), Some(libc::EPERM));
            assert_eq!(unshare(CloneFlags::CLONE_NEWUSER), Err(Errno::EPERM));
            let packet = socket(AddressFamily::Packet, SockType::Datagram, SockFlag::empty(), None);
            assert_eq!(packet.expect_err("another family"), Errno::EPERM);
            UdpSocket::bind("127.0.0.1:0").expect("sockets of the Internet");
        };
        check();
        thread::spawn(check).join().expect("threads can be made");
    }
}
