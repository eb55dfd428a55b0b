// The rights that a converter never needs, given up at the start.
#pragma once

#include "base/error.h"

namespace taper {

// Gives up the right to make sockets, to start processes or programs, and to look into other processes, for this
// process and all its threads, until it ends (seccomp; such calls fail with EPERM). Whatever a file made the program
// do, it could neither run a command nor send anything. Fails where the kernel doesn't allow it; then nothing has
// changed.
Status give_up_rights();

}  // namespace taper
