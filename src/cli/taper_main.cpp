#include "cli/program.h"
#include "cli/sandbox.h"
#include "cli/taper.h"

int main(int argc, char** argv) {
  return taper::run_program(
      argc, argv, [](const std::vector<std::string>& arguments, const taper::Stream& out, const taper::Stream& err) {
        // Where the kernel allows it: no command of this program needs them.
        [[maybe_unused]] const taper::Status given_up = taper::give_up_rights();
        return taper::run_taper(arguments, {out, err, taper::environment_variable});
      });
}
