# What `cmake --install` gives to C++ users: headers, library, CMake package and pkg-config file.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(PT2Q_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/pt2q)

install(DIRECTORY csrc/include/pt2q DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
install(TARGETS pt2q EXPORT pt2qTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT pt2qTargets NAMESPACE pt2q:: DESTINATION ${PT2Q_CMAKE_DIR})

# A program that links the static library links what it was built with, too.
set(PT2Q_NEEDS_DEPENDENCIES ON)
if(PT2Q_SHARED)
  set(PT2Q_NEEDS_DEPENDENCIES OFF)
endif()
set(PT2Q_NEEDS_HWY_PACKAGE OFF)
if(TARGET hwy::hwy)
  set(PT2Q_NEEDS_HWY_PACKAGE ON)
endif()
configure_package_config_file(cmake/pt2qConfig.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/pt2qConfig.cmake
  INSTALL_DESTINATION ${PT2Q_CMAKE_DIR})
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/pt2qConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/pt2qConfig.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/pt2qConfigVersion.cmake cmake/FindDnnl.cmake
  DESTINATION ${PT2Q_CMAKE_DIR})

# --- pkg-config --------------------------------------------------------------------------------
# Without a shared library every link is a static one, and `pkg-config --libs` must say all.
set(PT2Q_PC_DEPENDENCIES "")
foreach(library IN ITEMS ${DNNL_LIBRARY} ${ZLIB_LIBRARIES} ${HWY_LIBRARY})
  if(library STREQUAL "hwy::hwy")
    string(APPEND PT2Q_PC_DEPENDENCIES " -lhwy")
    continue()
  endif()
  get_filename_component(folder "${library}" DIRECTORY)
  get_filename_component(name "${library}" NAME_WE)
  string(REGEX REPLACE "^lib" "" name "${name}")
  if(folder AND NOT folder IN_LIST CMAKE_CXX_IMPLICIT_LINK_DIRECTORIES)
    string(APPEND PT2Q_PC_DEPENDENCIES " -L${folder}")
  endif()
  string(APPEND PT2Q_PC_DEPENDENCIES " -l${name}")
endforeach()
string(APPEND PT2Q_PC_DEPENDENCIES " ${OpenMP_CXX_FLAGS}")
set(PT2Q_PC_LIBS "${PT2Q_PC_DEPENDENCIES}")
if(PT2Q_SHARED)
  set(PT2Q_PC_LIBS "")
endif()
# From lib/<triplet>/pkgconfig back to the prefix, so that an installation may be moved.
file(RELATIVE_PATH PT2Q_PC_TO_PREFIX "/prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/prefix")
configure_file(cmake/pt2q.pc.in ${CMAKE_CURRENT_BINARY_DIR}/pt2q.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/pt2q.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
