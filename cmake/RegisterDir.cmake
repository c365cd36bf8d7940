# pt2q_register_dir(<out_var> <dir> <function prefix> <argument type> <header>)
# Writes a source file that declares register_<stem>(<argument type>&) for every <dir>/*.cpp and calls
# them all, in alphabetical order, from register_all_<prefix>. A new file in <dir> needs no list.
function(pt2q_register_dir out_var dir prefix argument header)
  file(GLOB sources CONFIGURE_DEPENDS "${dir}/*.cpp")
  set(declarations "")
  set(calls "")
  foreach(source IN LISTS sources)
    get_filename_component(stem "${source}" NAME_WE)
    string(APPEND declarations "void register_${stem}(${argument}&);\n")
    string(APPEND calls "  register_${stem}(registry);\n")
  endforeach()
  set(file "${CMAKE_CURRENT_BINARY_DIR}/register_all_${prefix}.cpp")
  file(CONFIGURE OUTPUT "${file}" @ONLY CONTENT
"// Generated from the file list of ${prefix}; do not edit.
#include \"${header}\"
namespace pt2q {
${declarations}
void register_all_${prefix}(${argument}& registry);
void register_all_${prefix}([[maybe_unused]] ${argument}& registry) {
${calls}}
}  // namespace pt2q
")
  set(${out_var} "${file}" PARENT_SCOPE)
endfunction()
