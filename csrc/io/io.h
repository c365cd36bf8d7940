// Shared by the readers and writers: entry points on sources and sinks, and error context.
#pragma once

#include <map>
#include <memory>
#include <new>
#include <string>

#include "base/file.h"
#include "base/strings.h"
#include "base/zip.h"
#include "io/json_reader.h"
#include "pt2q/error.h"
#include "pt2q/io.h"

namespace pt2q {

StateDict read_safetensors(const Source& source, const LoadLimits& limits,
                           std::map<std::string, std::string>* metadata);
std::unique_ptr<GraphModule> read_pt2(const std::shared_ptr<Source>& source,
                                      const LoadLimits& limits);
void write_pt2(const GraphModule& model, const std::map<std::string, std::string>& extra_files,
               Sink* sink);

Tensor load_npy(const std::shared_ptr<Source>& source, const LoadLimits& limits);

// `tensor`; throws ValueError naming the entry where it has no value to be saved.
const Tensor& saveable(const std::string& entry, const Tensor& tensor);

ZipLimits zip_limits(const LoadLimits& limits);

// JSON text, ASCII only; strings that are no valid UTF-8 give ValueError.
std::string dump_json(const Json& value);

// Runs fn and makes every error name the file. Errors of the content are FileErrors; what a file
// makes other layers refuse (an operator's TypeError, IndexError ...) keeps its text in one.
template <typename Fn>
auto in_file(const std::string& name, Fn&& fn) -> decltype(fn()) {
  const auto text = [&](const std::string& message) {
    return message.find("'" + name + "'") == std::string::npos ? cat("'", name, "': ", message)
                                                               : message;
  };
  try {
    return fn();
  } catch (const NotImplementedError& e) {
    throw NotImplementedError(text(e.message()), e.hint()).at_op(e.op()).at_node(e.node());
  } catch (const InternalError&) {
    throw;
  } catch (const Error& e) {
    throw FileError(text(e.message()), e.hint()).at_op(e.op()).at_node(e.node());
  } catch (const nlohmann::json::exception& e) {
    throw FileError(text(cat("malformed content: ", e.what())));
  } catch (const std::bad_alloc&) {
    throw RuntimeError(text("out of memory while reading"));
  }
}

}  // namespace pt2q
