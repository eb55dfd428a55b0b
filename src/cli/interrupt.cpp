#include "cli/interrupt.h"

#include <pthread.h>
#include <unistd.h>

#include <csignal>
#include <thread>

namespace taper {

void end_on_signals(std::function<void(int)> last_words) {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction action = {};
    const bool ignored = ::sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
    if (!ignored) sigaddset(&signals, signal);  // nohup, and shells for what runs in the background, ignore some
  }
  // Threads inherit the mask: none but the one that waits for them gets these signals.
  if (pthread_sigmask(SIG_BLOCK, &signals, nullptr) != 0) return;
  std::thread([signals, last_words = std::move(last_words)] {
    int signal = 0;
    while (sigwait(&signals, &signal) != 0) {
    }
    last_words(signal);
    ::_exit(128 + signal);
  }).detach();
}

}  // namespace taper
