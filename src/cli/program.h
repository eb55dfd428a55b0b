// The process around a program: streams, signals, rights.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/terminal.h"

namespace taper {

// Runs `run` with the command line's arguments (without the program's name) and the process's streams, and returns its
// exit status; 1 if it throws, or if standard output could not be written. Before that the process is prepared: a
// reader that goes away (`| head`) doesn't end it, files that are cut off while they are read don't either, and SIGINT,
// SIGTERM and SIGHUP end it with status 128 + signal after outputs that are not complete have been removed.
int run_program(int argc, char** argv,
                const std::function<int(const std::vector<std::string>&, const Stream& out, const Stream& err)>& run);

// std::getenv, as Environment wants it.
const char* environment_variable(const char* name);

}  // namespace taper
