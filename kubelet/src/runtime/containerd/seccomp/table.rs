//! The facts of `RuntimeDefault`: the syscalls that a container may make, as Docker and containerd have them.
//!
//! <https://docs.docker.com/engine/security/seccomp/>. What is not named here is refused, so a syscall that a new kernel
//! brings is refused until it is known to be harmless.

use oci_spec::runtime::Capability as Cap;

/// Any container, with any arguments. Each line holds what belongs together; the order says nothing.
pub(super) const ANYBODY: &str = "
    access chdir chmod chown chown32 creat dup dup2 dup3 faccessat faccessat2 fadvise64 fadvise64_64 fallocate fchdir fchmod
    fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync flock fstat fstat64 fstatat64 fstatfs fstatfs64 fsync
    ftruncate ftruncate64 futimesat getcwd getdents getdents64 lchown lchown32 link linkat listmount lseek _llseek lstat lstat64
    mkdir mkdirat mknod mknodat name_to_handle_at newfstatat open openat openat2 readlink readlinkat rename renameat renameat2
    rmdir stat stat64 statfs statfs64 statmount statx symlink symlinkat sync sync_file_range syncfs truncate truncate64 umask
    unlink unlinkat utime utimensat utimensat_time64 utimes
    fgetxattr flistxattr fremovexattr fsetxattr getxattr getxattrat lgetxattr listxattr listxattrat llistxattr lremovexattr
    lsetxattr removexattr removexattrat setxattr setxattrat
    close close_range copy_file_range pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readv sendfile sendfile64
    splice tee vmsplice write writev ioctl
    epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2
    _newselect poll ppoll ppoll_time64 pselect6 pselect6_time64 select signalfd signalfd4
    fanotify_mark inotify_add_watch inotify_init inotify_init1 inotify_rm_watch
    io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit ioprio_get ioprio_set
    accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg recvmmsg_time64 recvmsg send
    sendmmsg sendmsg sendto setsockopt shutdown socketcall socketpair pipe pipe2
    ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink msgctl
    msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget
    brk cachestat madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mmap2 mprotect
    mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect process_mrelease remap_file_pages
    execve execveat exit exit_group fork getpgid getpgrp getpid getppid getsid gettid pidfd_open pidfd_send_signal prctl
    set_tid_address setpgid setsid vfork wait4 waitid waitpid restart_syscall rseq uretprobe riscv_hwprobe seccomp
    landlock_add_rule landlock_create_ruleset landlock_restrict_self
    futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake get_robust_list set_robust_list get_thread_area
    set_thread_area getcpu
    kill pause rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
    rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaltstack sigprocmask sigreturn tgkill tkill
    getpriority getrlimit getrusage prlimit64 sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr
    sched_getparam sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr
    sched_setparam sched_setscheduler sched_yield setpriority setrlimit ugetrlimit sysinfo times uname
    capget capset getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getresgid getresgid32 getresuid
    getresuid32 getuid getuid32 setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setregid setregid32
    setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setuid setuid32 getrandom
    adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep
    clock_nanosleep_time64 getitimer gettimeofday nanosleep setitimer time timer_create timer_delete timer_getoverrun timer_gettime
    timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64
    process_vm_readv process_vm_writev ptrace
";

/// What only one architecture has, by Rust's name for it.
pub(super) const BY_ARCHITECTURE: &[(&str, &str)] = &[
    ("x86_64", "arch_prctl modify_ldt"),
    ("aarch64", "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2"),
    ("riscv64", "riscv_flush_icache"),
];

/// Who has the capability may besides.
pub(super) const BY_CAPABILITY: &[(Cap, &str)] = &[
    (Cap::Bpf, "bpf"),
    (Cap::DacReadSearch, "open_by_handle_at"),
    (Cap::Perfmon, "perf_event_open"),
    (
        Cap::SysAdmin,
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr lsm_list_modules
         lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname
         setns syslog umount umount2 unshare",
    ),
    (Cap::SysBoot, "reboot"),
    (Cap::SysChroot, "chroot"),
    (Cap::SysModule, "delete_module finit_module init_module"),
    (Cap::SysNice, "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    (Cap::SysPacct, "acct"),
    (Cap::SysPtrace, "kcmp pidfd_getfd process_madvise"),
    (Cap::SysRawio, "ioperm iopl"),
    (Cap::SysTime, "clock_settime clock_settime64 settimeofday stime"),
    (Cap::SysTtyConfig, "vhangup"),
    (Cap::Syslog, "syslog"),
];

/// `personality`: Linux, Linux on 32 bits, both with old `uname` numbers, and the question which it is.
pub(super) const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// `socket`: all families below this one,
pub(super) const FAMILIES_BELOW: u64 = 12;
/// and these. Not among them are those that reach the node past its namespaces (vsock 40, kernel crypto 38), and those that
/// nobody has used for long.
pub(super) const FAMILIES: [u64; 25] =
    [13, 14, 15, 16, 17, 18, 21, 22, 24, 26, 27, 28, 29, 30, 31, 32, 33, 35, 36, 39, 41, 42, 43, 44, 45];

/// `clone` without any of these makes no namespace: mount, cgroup, uts, ipc, user, pid, net.
pub(super) const NAMESPACE_FLAGS: u64 = 0x7e02_0000;
