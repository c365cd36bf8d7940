// How the library warns: see pt2q/log.h for where warnings go.
#pragma once

#include <string>

#include "pt2q/log.h"

namespace pt2q {

// Hands `message` to the installed handler; does nothing without one.
void warn(const std::string& message);

}  // namespace pt2q
