#include "formats/zip.h"
