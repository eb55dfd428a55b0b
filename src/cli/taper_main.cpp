#include "cli/program.h"
#include "cli/sandbox.h"
#include "cli/taper.h"

int main(int argc, char** argv) {
  return taper::run_program(
      argc, argv, [](const std::vector<std::string>& arguments, const taper::Stream& out, const taper::Stream& err) {
        static_cast<void>(
            taper::give_up_rights());  // where the kernel allows it: no command of this program needs them
        return taper::run_taper(arguments, {out, err, taper::environment_variable});
      });
}
