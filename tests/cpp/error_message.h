// What a call that must fail says.
#pragma once

#include <string>
#include <utility>

#include "pt2q/error.h"

namespace pt2q::testing {

// The message of the E that fn throws; "no error" when it throws none.
template <typename E = Error, typename Fn>
std::string error_message(Fn&& fn) {
  try {
    std::forward<Fn>(fn)();
  } catch (const E& e) {
    return e.message();
  }
  return "no error";
}

}  // namespace pt2q::testing
