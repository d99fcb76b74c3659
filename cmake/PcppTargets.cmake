# How every target of the project is compiled. A layer is one folder and one object library, so
# that a layer's tests link that layer and those below it, hidden symbols included.

function(pcpp_compile_options target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wconversion -Wshadow)
  if(PCPP_WARNINGS_AS_ERRORS)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
  if(PCPP_SANITIZE STREQUAL "address")
    target_compile_options(${target} PRIVATE -fsanitize=address,undefined -fno-sanitize-recover=all
                                             -fno-omit-frame-pointer)
    target_link_options(${target} PUBLIC -fsanitize=address,undefined)
  elseif(PCPP_SANITIZE STREQUAL "thread")
    target_compile_options(${target} PRIVATE -fsanitize=thread -fno-omit-frame-pointer)
    target_link_options(${target} PUBLIC -fsanitize=thread)
  endif()
endfunction()

# As pcpp_compile_options(), for the files of a test program: optimised as for a release, their
# templates would take twice as long to compile, and next to nothing of a test's time is theirs.
function(pcpp_test_compile_options target)
  pcpp_compile_options(${target})
  target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-O1>)
endfunction()

# pcpp_add_layer(NAME SOURCES ... DEPENDS layers... [LINKS layers...] [TORCH])
# What it LINKS is part of every program that has it, and changes none of the flags of its sources or
# of those above it: what needs the CUDA toolkit.
function(pcpp_add_layer name)
  cmake_parse_arguments(ARG "TORCH" "" "SOURCES;DEPENDS;LINKS;LIBRARIES" ${ARGN})
  if(ARG_TORCH AND PCPP_SANITIZE)
    return()
  endif()
  add_library(pcpp_${name} OBJECT ${ARG_SOURCES})
  pcpp_compile_options(pcpp_${name})
  target_include_directories(pcpp_${name} PUBLIC ${PROJECT_SOURCE_DIR}/include
                                                 ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR})
  target_link_libraries(pcpp_${name} PUBLIC fmt::fmt Threads::Threads ${ARG_LIBRARIES})
  if(ARG_TORCH)
    target_link_libraries(pcpp_${name} PUBLIC LibTorch::cpu)
  endif()
  pcpp_register_layer(${name} ${ARG_DEPENDS})
  set_property(TARGET pcpp_${name} APPEND PROPERTY PCPP_DEPENDS ${ARG_LINKS})
endfunction()

# Makes target pcpp_NAME a layer above the named ones.
function(pcpp_register_layer name)
  foreach(layer IN LISTS ARGN)
    target_link_libraries(pcpp_${name} PUBLIC pcpp_${layer})
  endforeach()
  set_property(GLOBAL APPEND PROPERTY PCPP_LAYERS pcpp_${name})
  set_property(TARGET pcpp_${name} PROPERTY PCPP_DEPENDS ${ARGN})
endfunction()

# pcpp_add_library(): the shared library pcpp out of all layers. Its interface is include/pcpp, which
# names nothing but the standard library, so those who link it see none of what it is made with.
function(pcpp_add_library)
  add_library(pcpp SHARED)
  add_library(pcpp::pcpp ALIAS pcpp)
  get_property(layers GLOBAL PROPERTY PCPP_LAYERS)
  target_link_libraries(pcpp PRIVATE ${layers})
  target_compile_features(pcpp PUBLIC cxx_std_20)
  target_include_directories(pcpp PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  set_target_properties(pcpp PROPERTIES
    LINKER_LANGUAGE CXX
    VERSION ${PROJECT_VERSION}
    SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}
    # libtorch and CUDA are not installed along: the library is tied to where it found them.
    INSTALL_RPATH "${LibTorch_LIBRARY_DIR}"
    # CMake would make the build's path longer by an empty folder, which is the caller's present one.
    BUILD_WITH_INSTALL_RPATH ON)
  if(PCPP_CUDA)
    set_property(TARGET pcpp APPEND PROPERTY INSTALL_RPATH "${CUDAToolkit_LIBRARY_DIR}")
  endif()
endfunction()

# The object files of the named layers and of all below them, each once; neither those WITHOUT which
# it is to be nor what only they need.
function(pcpp_layer_closure result)
  cmake_parse_arguments(ARG "" "" "WITHOUT" ${ARGN})
  set(seen ${ARG_WITHOUT})
  set(pending ${ARG_UNPARSED_ARGUMENTS})
  while(pending)
    list(POP_FRONT pending layer)
    if(layer IN_LIST seen)
      continue()
    endif()
    list(APPEND seen ${layer})
    get_target_property(below pcpp_${layer} PCPP_DEPENDS)
    if(below)
      list(APPEND pending ${below})
    endif()
  endwhile()
  list(REMOVE_ITEM seen "" ${ARG_WITHOUT})
  set(${result} ${seen} PARENT_SCOPE)
endfunction()

# pcpp_prepare_test(NAME): what the test's programs would keep in the user's cache, they keep in the
# build folder, and threads of OpenMP that wait leave the cores to other tests.
function(pcpp_prepare_test name)
  set_tests_properties(${name} PROPERTIES TIMEOUT 900)
  set_property(TEST ${name} APPEND PROPERTY
               ENVIRONMENT XDG_CACHE_HOME=${PROJECT_BINARY_DIR}/tests/cache OMP_WAIT_POLICY=passive)
endfunction()

# pcpp_halve_test(NAME): the long test NAME runs in two parts, NAME and NAME_2, which begin ahead of the
# others.
function(pcpp_halve_test name)
  if(NOT TEST ${name})
    return()
  endif()
  add_test(NAME ${name}_2 COMMAND ${name} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  pcpp_prepare_test(${name}_2)
  set_tests_properties(${name} ${name}_2 PROPERTIES COST 1000)
  set_property(TEST ${name} ${name}_2 APPEND PROPERTY ENVIRONMENT GTEST_TOTAL_SHARDS=2)
  set_property(TEST ${name} APPEND PROPERTY ENVIRONMENT GTEST_SHARD_INDEX=0)
  set_property(TEST ${name}_2 APPEND PROPERTY ENVIRONMENT GTEST_SHARD_INDEX=1)
endfunction()

# pcpp_add_test(NAME SOURCES ... LAYERS layers...): one test program over the named layers, run from
# the top of the tree: paths in it are relative, so that a compiler cache serves every clone. The
# LIBRARIES stand for the layers that they REPLACE. In a sanitizer build, programs whose layers need
# libtorch are left out.
function(pcpp_add_test name)
  cmake_parse_arguments(ARG "SKIPS" "" "SOURCES;LAYERS;LIBRARIES;REPLACE" ${ARGN})
  foreach(layer IN LISTS ARG_LAYERS)
    if(NOT TARGET pcpp_${layer})
      return()
    endif()
  endforeach()
  add_executable(${name} ${ARG_SOURCES})
  pcpp_test_compile_options(${name})
  pcpp_layer_closure(layers ${ARG_LAYERS} WITHOUT ${ARG_REPLACE})
  foreach(layer IN LISTS layers)
    target_link_libraries(${name} PRIVATE pcpp_${layer})
  endforeach()
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  target_compile_definitions(${name} PRIVATE PCPP_TEST_DATA="tests/data")
  target_link_libraries(${name} PRIVATE GTest::gtest GTest::gtest_main ${ARG_LIBRARIES})
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  if(ARG_SKIPS)
    target_sources(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests/support/main_that_skips.cpp)
    set_tests_properties(${name} PROPERTIES SKIP_RETURN_CODE 77)
  endif()
  pcpp_prepare_test(${name})
endfunction()
