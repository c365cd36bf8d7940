// Warnings. The library prints nothing: a warning goes to the handler the application installed,
// and nowhere without one. The Python module installs one that calls warnings.warn(UserWarning).
#pragma once

#include <functional>
#include <string>

namespace pt2q {

using WarningHandler = std::function<void(const std::string& message)>;

// Installs `handler` (empty: silence) for the whole process and returns the previous one. It may be
// called from any thread; what it throws reaches the caller of the function that warned.
WarningHandler set_warning_handler(WarningHandler handler);

}  // namespace pt2q
