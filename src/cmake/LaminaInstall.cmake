# The installed package: find_package(lamina), target lamina::lamina.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

get_property(lamina_modules GLOBAL PROPERTY LAMINA_MODULES)
# Whoever includes our headers needs the standard they are written in.
target_compile_features(lamina_apps PUBLIC cxx_std_20)
install(TARGETS ${lamina_modules} EXPORT lamina-targets)
install(DIRECTORY include/lamina DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT lamina-targets NAMESPACE lamina:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/lamina)
configure_package_config_file(src/cmake/lamina-config.cmake.in "${PROJECT_BINARY_DIR}/lamina-config.cmake"
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/lamina)
write_basic_package_version_file("${PROJECT_BINARY_DIR}/lamina-config-version.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/lamina-config.cmake" "${PROJECT_BINARY_DIR}/lamina-config-version.cmake"
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/lamina)
