#include "taper/taper.h"

namespace taper {

std::string version() {
  return TAPER_VERSION;
}

}  // namespace taper
