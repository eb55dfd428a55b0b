#include "shiny/a.h"
