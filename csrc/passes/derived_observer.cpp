#include "passes/derived_observer.h"

#include "base/strings.h"
#include "pt2q/error.h"

namespace pt2q {

DerivedObserver::DerivedObserver(const DerivedQuantizationSpec& spec,
                                 std::vector<std::shared_ptr<Observer>> sources)
    : spec_(spec), sources_(std::move(sources)) {
  if (spec_.qscheme && is_per_channel(*spec_.qscheme) && !spec_.ch_axis) {
    throw AssertionError("Must provide a valid ch_axis if qscheme is per channel");
  }
}

void DerivedObserver::merge(const Observer& other) {
  const auto* o = dynamic_cast<const DerivedObserver*>(&other);
  if (o == nullptr || o->sources_.size() != sources_.size()) {
    throw ValueError(cat("cannot merge ", other.repr(), " into ", repr()));
  }
}

std::string DerivedObserver::repr() const {
  std::vector<std::string> parts;
  for (const auto& source : sources_) parts.push_back(source ? source->repr() : "None");
  return cat("DerivedObserverOrFakeQuantize(dtype=", dtype_name(spec_.dtype), ", obs_or_fqs=[",
             join(parts, ", "), "])");
}

std::map<std::string, Tensor> DerivedObserver::state_dict() const {
  std::map<std::string, Tensor> state;
  for (size_t i = 0; i < sources_.size(); ++i) {
    if (!sources_[i]) continue;
    for (const auto& [key, tensor] : sources_[i]->state_dict()) {
      state[cat("obs_or_fqs.", i, ".", key)] = tensor;
    }
  }
  return state;
}

void DerivedObserver::load_state_dict(const std::map<std::string, Tensor>& state) {
  std::map<size_t, std::map<std::string, Tensor>> parts;
  for (const auto& [key, tensor] : state) {
    const auto fields = split(key, '.');
    const bool known = fields.size() >= 3 && fields[0] == "obs_or_fqs" && fields[1].size() < 9 &&
                       fields[1].find_first_not_of("0123456789") == std::string::npos;
    const size_t i = known ? static_cast<size_t>(std::stoul("0" + fields[1])) : sources_.size();
    if (i >= sources_.size() || !sources_[i]) {
      throw KeyError(cat(type_name(), ": unexpected key '", key, "' in state_dict"));
    }
    parts[i][key.substr(fields[0].size() + fields[1].size() + 2)] = tensor;
  }
  for (const auto& [i, part] : parts) sources_[i]->load_state_dict(part);
}

}  // namespace pt2q
