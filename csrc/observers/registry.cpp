// Recipes for observers, and the built-in classes by name.
#include <functional>
#include <map>

#include "base/strings.h"
#include "observers/affine_observer.h"
#include "observers/fake_quantize.h"
#include "observers/fixed.h"
#include "observers/grid_histogram.h"
#include "observers/histogram.h"
#include "observers/learnable_fake_quantize.h"
#include "observers/minmax.h"
#include "observers/per_channel.h"
#include "observers/placeholder.h"
#include "observers/recording.h"
#include "pt2q/error.h"

namespace pt2q {
namespace {

using Create = std::function<std::shared_ptr<Observer>(const ObserverCtr&)>;

template <typename Class>
Create from_kwargs() {
  return [](const ObserverCtr& recipe) -> std::shared_ptr<Observer> {
    return Class::make(KwReader(recipe.class_name, recipe.kwargs));
  };
}

template <typename Class>
Create from_recipe() {
  return [](const ObserverCtr& recipe) -> std::shared_ptr<Observer> { return Class::make(recipe); };
}

const std::map<std::string, Create>& classes() {
  static const std::map<std::string, Create> table = {
      {"MinMaxObserver", from_kwargs<MinMaxObserver>()},
      {"MovingAverageMinMaxObserver", from_kwargs<MovingAverageMinMaxObserver>()},
      {"PerChannelMinMaxObserver", from_kwargs<PerChannelMinMaxObserver>()},
      {"MovingAveragePerChannelMinMaxObserver",
       from_kwargs<MovingAveragePerChannelMinMaxObserver>()},
      {"HistogramObserver", from_kwargs<HistogramObserver>()},
      {"GridHistogramObserver", from_kwargs<GridHistogramObserver>()},
      {"AffineQuantizedMinMaxObserver", from_kwargs<AffineQuantizedMinMaxObserver>()},
      {"AffineQuantizedMovingAverageMinMaxObserver",
       from_kwargs<AffineQuantizedMovingAverageMinMaxObserver>()},
      {"AffineQuantizedPlaceholderObserver", from_kwargs<AffineQuantizedPlaceholderObserver>()},
      {"AffineFakeQuantize", from_recipe<AffineFakeQuantize>()},
      {"LearnableFakeQuantize", from_recipe<LearnableFakeQuantize>()},
      {"FixedQParamsObserver", from_kwargs<FixedQParamsObserver>()},
      {"PlaceholderObserver", from_kwargs<PlaceholderObserver>()},
      {"NoopObserver", from_kwargs<NoopObserver>()},
      {"ReuseInputObserver", from_kwargs<ReuseInputObserver>()},
      {"RecordingObserver", from_kwargs<RecordingObserver>()},
      {"FakeQuantize", from_recipe<FakeQuantize>()},
      {"FixedQParamsFakeQuantize", from_recipe<FixedQParamsFakeQuantize>()},
      {"FusedMovingAvgObsFakeQuantize", from_recipe<FusedMovingAvgObsFakeQuantize>()}};
  return table;
}

}  // namespace

ObserverCtr ObserverCtr::with_args(const KwArgs& more) const {
  ObserverCtr out = *this;
  for (const auto& [name, value] : more) {
    if (name == "observer") out.observer.reset();
    out.kwargs[name] = value;
  }
  return out;
}

ObserverCtr ObserverCtr::with_observer(ObserverCtr nested) const {
  ObserverCtr out = *this;
  out.kwargs.erase("observer");
  out.observer = std::make_shared<const ObserverCtr>(std::move(nested));
  return out;
}

std::shared_ptr<Observer> ObserverCtr::operator()(const KwArgs& overrides) const {
  if (!create) throw RuntimeError("an empty observer recipe was called");
  return create(overrides.empty() ? *this : with_args(overrides));
}

std::string ObserverCtr::to_string() const {
  std::vector<std::string> parts;
  if (observer) parts.push_back("observer=" + observer->to_string());
  for (const auto& [name, value] : kwargs) {
    // Names of schemes and classes print bare, as they are written in code.
    const bool bare = value.is<std::string>() && (name == "qscheme" || name == "observer");
    parts.push_back(cat(name, "=", bare ? value.as<std::string>() : value.to_string()));
  }
  return cat(class_name, "(", join(parts, ", "), ")");
}

bool operator==(const ObserverCtr& a, const ObserverCtr& b) {
  if (a.class_name != b.class_name || a.kwargs != b.kwargs) return false;
  if (static_cast<bool>(a.observer) != static_cast<bool>(b.observer)) return false;
  return !a.observer || *a.observer == *b.observer;
}

ObserverCtr observer_class(const std::string& class_name) {
  const auto it = classes().find(class_name);
  if (it == classes().end()) {
    throw KeyError(cat("there is no observer class '", class_name, "'"),
                   cat("the classes are ", join(observer_class_names(), ", ")));
  }
  ObserverCtr out;
  out.class_name = class_name;
  out.create = it->second;
  return out;
}

std::vector<std::string> observer_class_names() {
  std::vector<std::string> names;
  for (const auto& entry : classes()) names.push_back(entry.first);
  return names;
}

}  // namespace pt2q
