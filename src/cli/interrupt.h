// What happens when somebody stops the program.
#pragma once

#include <functional>

namespace taper {

// From now on SIGINT, SIGTERM and SIGHUP, unless the parent has them ignored, are taken by a thread of their own: it
// calls `last_words` with the signal's number, while other threads may still run, and ends the process with status
// 128 + signal (130, 143, 129). To be called once, before other threads are started.
void end_on_signals(std::function<void(int)> last_words);

}  // namespace taper
