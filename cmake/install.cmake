# The library as a package for find_package(taper): the public headers, and the archives that taper::taper links.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

add_library(taper_library INTERFACE)
add_library(taper::taper ALIAS taper_library)
set_target_properties(taper_library PROPERTIES EXPORT_NAME taper)
target_compile_features(taper_library INTERFACE cxx_std_23)
target_include_directories(taper_library INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_link_libraries(taper_library INTERFACE taper_pipeline)

set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/taper)
install(TARGETS taper_library taper_pipeline taper_report taper_verify taper_backend taper_passes taper_quantize taper_frontend
  taper_ops taper_ir taper_formats taper_base taper_schema taper_tensorflow_schema taper_flags
  EXPORT taper ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library)
install(EXPORT taper NAMESPACE taper:: DESTINATION ${package_folder} COMPONENT library)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/taper DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT library)
configure_file(${CMAKE_CURRENT_LIST_DIR}/taperConfig.cmake.in ${PROJECT_BINARY_DIR}/taperConfig.cmake @ONLY)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/taperConfigVersion.cmake COMPATIBILITY ExactVersion)
install(FILES ${PROJECT_BINARY_DIR}/taperConfig.cmake ${PROJECT_BINARY_DIR}/taperConfigVersion.cmake
  DESTINATION ${package_folder} COMPONENT library)
install(TARGETS export_models taper RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT programs)
