# Lets this package build against the ROS 2 wheels on PyPI (ros-kilted-*, ros-jazzy-*)
# as well as against an ordinary ROS 2 installation, where this file does nothing.
include_guard(GLOBAL)
if("$ENV{AMENT_PREFIX_PATH}" MATCHES "/opt/ros/")
  return()  # a sourced /opt/ros/<distro>
endif()

# 1. Where the wheels are: they put share/ and lib/ under the prefix they were
#    installed to, and only they are called "ros-ament-package" for pip.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
execute_process(
  COMMAND ${Python3_EXECUTABLE} -c [=[
import importlib.metadata as m, pathlib
try:
    print(pathlib.Path(m.distribution("ros-ament-package").locate_file("")).resolve().parents[2])
except m.PackageNotFoundError:
    pass
]=]
  OUTPUT_VARIABLE _ros_wheels_prefix OUTPUT_STRIP_TRAILING_WHITESPACE
  COMMAND_ERROR_IS_FATAL ANY)
if(_ros_wheels_prefix STREQUAL "")
  return()  # no wheels here: a ROS 2 built from source, RoboStack, ...
endif()
message(STATUS "ROS 2 wheels: ${_ros_wheels_prefix}")
set(ENV{AMENT_PREFIX_PATH} "${_ros_wheels_prefix}:$ENV{AMENT_PREFIX_PATH}")
list(PREPEND CMAKE_PREFIX_PATH "${_ros_wheels_prefix}")

# 2. The message wheels export the include paths of the container they were built
#    in (/opt/python/cpXY-cpXY/...). Drop those from every imported target once the
#    CMakeLists.txt has been read and before generation checks that they exist.
function(_ros_wheels_strip_container_paths)
  get_property(_targets DIRECTORY PROPERTY IMPORTED_TARGETS)
  foreach(_t IN LISTS _targets)
    get_target_property(_dirs ${_t} INTERFACE_INCLUDE_DIRECTORIES)
    if(_dirs MATCHES "/opt/python/")
      list(FILTER _dirs EXCLUDE REGEX "^/opt/python/")
      set_target_properties(${_t} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${_dirs}")
    endif()
  endforeach()
endfunction()
cmake_language(DEFER CALL _ros_wheels_strip_container_paths)
