/**
 * The system calls of Linux up to 6.16, sorted by what a container may do with them. Source: the
 * kernel's syscall tables (arch/x86/entry/syscalls, include/uapi/asm-generic/unistd.h) and man
 * section 2, which says what each needs. A name that an architecture lacks does no harm there.
 *
 * The rule behind the lists: a call is allowed when the kernel itself keeps a process to its
 * namespaces and capabilities. It waits for a capability when its kernel code is worth keeping out
 * of reach of a process that cannot use it anyhow. It is denied when it reaches past the
 * container, or has a history of holes that outweighs its use there.
 */

const words = (text: string): string[] => text.trim().split(/\s+/);

/** Allowed to every container. */
export const ALLOWED: readonly string[] = words(`
  read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek _llseek
  open openat openat2 creat close close_range dup dup2 dup3 pipe pipe2 fcntl fcntl64 ioctl flock
  sendfile sendfile64 splice tee vmsplice copy_file_range readahead fadvise64 fadvise64_64
  fallocate truncate truncate64 ftruncate ftruncate64 cachestat
  sync syncfs fsync fdatasync sync_file_range sync_file_range2 arm_sync_file_range arm_fadvise64_64

  stat stat64 lstat lstat64 fstat fstat64 fstatat64 newfstatat statx statfs statfs64 fstatfs
  fstatfs64 access faccessat faccessat2 chmod fchmod fchmodat fchmodat2 chown chown32 fchown
  fchown32 lchown lchown32 fchownat umask utime utimes futimesat utimensat utimensat_time64
  link linkat symlink symlinkat unlink unlinkat rename renameat renameat2 readlink readlinkat
  mkdir mkdirat rmdir mknod mknodat getdents getdents64 chdir fchdir getcwd
  getxattr lgetxattr fgetxattr getxattrat setxattr lsetxattr fsetxattr setxattrat
  listxattr llistxattr flistxattr listxattrat removexattr lremovexattr fremovexattr removexattrat
  file_getattr file_setattr name_to_handle_at
  inotify_init inotify_init1 inotify_add_watch inotify_rm_watch fanotify_mark

  select _newselect pselect6 pselect6_time64 poll ppoll ppoll_time64
  epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_wait epoll_wait_old epoll_pwait
  epoll_pwait2 eventfd eventfd2 signalfd signalfd4
  io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents io_pgetevents_time64

  socketpair bind listen accept accept4 connect getsockname getpeername getsockopt setsockopt
  send sendto sendmsg sendmmsg recv recvfrom recvmsg recvmmsg recvmmsg_time64 shutdown socketcall

  brk mmap mmap2 munmap mremap mprotect msync mincore madvise mlock mlock2 mlockall munlock
  munlockall remap_file_pages memfd_create memfd_secret pkey_alloc pkey_free pkey_mprotect mseal
  map_shadow_stack membarrier
  shmget shmat shmctl shmdt semget semop semctl semtimedop semtimedop_time64
  msgget msgsnd msgrcv msgctl ipc
  mq_open mq_unlink mq_timedsend mq_timedsend_time64 mq_timedreceive mq_timedreceive_time64
  mq_notify mq_getsetattr
  futex futex_time64 futex_wait futex_wake futex_waitv futex_requeue
  set_robust_list get_robust_list rseq

  fork vfork execve execveat exit exit_group wait4 waitid waitpid kill tkill tgkill
  pidfd_open pidfd_send_signal process_mrelease prctl arch_prctl
  rt_sigaction rt_sigprocmask rt_sigpending rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64
  rt_sigqueueinfo rt_tgsigqueueinfo rt_sigreturn sigaltstack sigprocmask sigreturn signal
  sigaction sigsuspend sigpending restart_syscall pause
  getpid getppid gettid getpgid getpgrp setpgid getsid setsid set_tid_address set_thread_area
  get_thread_area sched_yield sched_getaffinity sched_setaffinity sched_getparam sched_setparam
  sched_getscheduler sched_setscheduler sched_getattr sched_setattr sched_get_priority_max
  sched_get_priority_min sched_rr_get_interval sched_rr_get_interval_time64
  getpriority setpriority nice ioprio_get ioprio_set getrlimit ugetrlimit setrlimit prlimit64
  getrusage times getcpu
  getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 getresuid getresuid32
  getresgid getresgid32 getgroups getgroups32 setuid setuid32 setgid setgid32 setreuid setreuid32
  setregid setregid32 setresuid setresuid32 setresgid setresgid32 setgroups setgroups32
  setfsuid setfsuid32 setfsgid setfsgid32 capget capset
  seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self
  lsm_get_self_attr lsm_set_self_attr lsm_list_modules
  ptrace process_vm_readv process_vm_writev

  time gettimeofday clock_gettime clock_gettime64 clock_getres clock_getres_time64
  clock_nanosleep clock_nanosleep_time64 nanosleep alarm getitimer setitimer
  timer_create timer_delete timer_settime timer_settime64 timer_gettime timer_gettime64
  timer_getoverrun timerfd_create timerfd_settime timerfd_settime64 timerfd_gettime
  timerfd_gettime64 adjtimex clock_adjtime clock_adjtime64
  uname sysinfo getrandom
`);

/** Allowed on one architecture (Docker's names for them) in addition. */
export const ALLOWED_ON: Readonly<Record<string, readonly string[]>> = {
  amd64: words('modify_ldt'),
  arm: words('breakpoint cacheflush set_tls'),
  arm64: words('breakpoint cacheflush set_tls'),
  riscv64: words('riscv_flush_icache riscv_hwprobe'),
};

/** Allowed with a capability. */
export const GATED: Readonly<Record<string, readonly string[]>> = {
  CAP_BPF: words('bpf'),
  CAP_DAC_READ_SEARCH: words('open_by_handle_at'),
  CAP_PERFMON: words('perf_event_open'),
  CAP_SYSLOG: words('syslog'),
  CAP_SYS_ADMIN: words(`
    bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick listmount lookup_dcookie mount
    mount_setattr move_mount open_tree open_tree_attr perf_event_open quotactl quotactl_fd
    setdomainname sethostname setns statmount syslog umount umount2 unshare`),
  CAP_SYS_BOOT: words('reboot'),
  CAP_SYS_CHROOT: words('chroot'),
  CAP_SYS_MODULE: words('delete_module finit_module init_module'),
  CAP_SYS_NICE: words('get_mempolicy mbind set_mempolicy set_mempolicy_home_node'),
  CAP_SYS_PACCT: words('acct'),
  CAP_SYS_PTRACE: words('kcmp pidfd_getfd process_madvise'),
  CAP_SYS_RAWIO: words('ioperm iopl'),
  CAP_SYS_TIME: words('clock_settime clock_settime64 settimeofday stime'),
  CAP_SYS_TTY_CONFIG: words('vhangup'),
};

/** Allowed with certain arguments only; `seccomp.ts` has the conditions. */
export const CONDITIONAL: readonly string[] = words('clone clone3 personality socket');

/** Denied to every container: why, and which. */
export const DENIED: Readonly<Record<string, readonly string[]>> = {
  'keys are not namespaced': words('add_key keyctl request_key'),
  'replaces the kernel': words('kexec_file_load kexec_load'),
  'swaps on the host': words('swapoff swapon'),
  'moves the root of a mount namespace; chroot and mount do what is needed': words('pivot_root'),
  'moves pages of other processes between nodes': words('migrate_pages move_pages'),
  'its interface for handing work to the kernel passes no filter': words(
    'io_uring_enter io_uring_register io_uring_setup',
  ),
  'holds page faults of the kernel; a helper of many exploits': words('userfaultfd'),
  'virtual 8086 mode': words('vm86 vm86old'),
  'probes of the kernel, for its own trampolines': words('uprobe uretprobe'),
  'gone, or never there': words(`
    _sysctl afs_syscall bdflush break create_module ftime get_kernel_syms getpmsg gtty idle lock
    mpx nfsservctl prof profil putpmsg query_module security stty tuxcall ulimit vserver`),
  'obsolete, unused by any libc of today': words(`
    oldfstat oldlstat oldolduname oldstat olduname readdir sgetmask ssetmask sysfs uselib ustat`),
};
