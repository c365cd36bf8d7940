# Links every entry of SOURCE into TARGET, so that the build tree is an importable package whose
# Python files are the ones being edited.
file(GLOB entries RELATIVE "${SOURCE}" "${SOURCE}/*")
foreach(entry IN LISTS entries)
  if(NOT entry STREQUAL "__pycache__")
    file(CREATE_LINK "${SOURCE}/${entry}" "${TARGET}/${entry}" SYMBOLIC)
  endif()
endforeach()
