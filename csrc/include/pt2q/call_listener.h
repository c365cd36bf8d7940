// Listening to the operators that run on this thread outside of graphs (calibration of models that
// are called as they are).
#pragma once

#include <vector>

#include "pt2q/op.h"

namespace pt2q {

class CallListener {
 public:
  virtual ~CallListener() = default;
  // After `op` ran. Operators that others use inside are not reported.
  virtual void called(const OpDef& op, const std::vector<Value>& args, const Value& result) = 0;

  // The listener of this thread, or null. Scope makes one active, and ends with the outer one
  // again.
  static CallListener* current();
  class Scope {
   public:
    explicit Scope(CallListener* listener);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    CallListener* saved_;
  };
};

}  // namespace pt2q
