#include "cli/program.h"
#include "cli/sandbox.h"
#include "cli/taper.h"

int main(int argc, char** argv) {
  return taper::run_program(
      argc, argv, [](const std::vector<std::string>& arguments, const taper::Stream& out, const taper::Stream& err) {
        return taper::run_taper(arguments, {out, err, taper::environment_variable, taper::export_models,
                                            taper::known_families(), taper::give_up_rights});
      });
}
