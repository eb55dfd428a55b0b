#include "cli/sandbox.h"

#include <seccomp.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <memory>

namespace taper {
namespace {

// Sockets; programs; other processes; and io_uring, which does all of it by another door.
constexpr int kForbidden[] = {
    SCMP_SYS(socket),
    SCMP_SYS(socketpair),
    SCMP_SYS(connect),
    SCMP_SYS(bind),
    SCMP_SYS(listen),
    SCMP_SYS(accept),
    SCMP_SYS(accept4),
    SCMP_SYS(execve),
    SCMP_SYS(execveat),
    SCMP_SYS(fork),
    SCMP_SYS(vfork),
    SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(pidfd_getfd),
    SCMP_SYS(io_uring_setup),
    SCMP_SYS(bpf),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(unshare),
    SCMP_SYS(setns),
    SCMP_SYS(mount),
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
};

struct Release {
  void operator()(void* filter) const { seccomp_release(filter); }
};

int add_rules(scmp_filter_ctx filter) {
  for (const int call : kForbidden)
    if (const int problem = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), call, 0); problem != 0) return problem;
  // Threads are made with clone and CLONE_THREAD. The flags of clone3 can't be seen by a filter: told that there is no
  // such call, the C library takes clone.
  constexpr unsigned long kThread = 0x00010000;  // CLONE_THREAD
  const scmp_arg_cmp no_thread = SCMP_A0(SCMP_CMP_MASKED_EQ, kThread, 0);
  if (const int problem = seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1, &no_thread);
      problem != 0)
    return problem;
  return seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
}

}  // namespace

Status give_up_rights() {
  const std::unique_ptr<void, Release> filter(seccomp_init(SCMP_ACT_ALLOW));
  if (!filter) return fail("the sandbox can't be made: out of memory");
  int problem = seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_TSYNC, 1);  // for the threads that there are already
  if (problem == 0) problem = add_rules(filter.get());
  if (problem == 0) problem = seccomp_load(filter.get());
  if (problem != 0) return fail("the kernel allows no sandbox (seccomp): {}", std::strerror(-problem));
  return {};
}

}  // namespace taper
