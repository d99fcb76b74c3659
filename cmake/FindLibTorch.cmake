# Finds the CPU half of libtorch: LibTorch::cpu (libtorch_cpu, libc10 and their headers). libtorch's
# own package file insists on a CUDA toolkit where the wheel was built with CUDA; linking the two
# libraries directly lets the CPU build do without one. With PCPP_CUDA the other half as well:
# LibTorch::cuda (libtorch_cuda, libc10_cuda).
#
# Looks in PCPP_TORCH_ROOT or, where that is not set, where scripts/setup unpacks a wheel.

set(PCPP_TORCH_ROOT "" CACHE PATH "The torch folder of an unpacked wheel or of a libtorch archive")
if(PCPP_TORCH_ROOT)
  set(libtorch_root ${PCPP_TORCH_ROOT})
else()
  set(libtorch_root ${PROJECT_SOURCE_DIR}/.deps/libtorch/torch)
endif()
set(libtorch_needs LibTorch_INCLUDE_DIR LibTorch_CPU_LIBRARY LibTorch_C10_LIBRARY)
if(PCPP_CUDA)
  list(APPEND libtorch_needs LibTorch_CUDA_LIBRARY LibTorch_C10_CUDA_LIBRARY)
endif()
# What was found in a root that is no longer asked for is looked for again.
if(DEFINED LibTorch_SEARCHED_ROOT AND NOT LibTorch_SEARCHED_ROOT STREQUAL libtorch_root)
  foreach(result IN LISTS libtorch_needs)
    unset(${result} CACHE)
  endforeach()
endif()
set(LibTorch_SEARCHED_ROOT "${libtorch_root}" CACHE INTERNAL "")

find_path(LibTorch_INCLUDE_DIR ATen/core/Tensor.h PATHS "${libtorch_root}/include" NO_DEFAULT_PATH)
find_library(LibTorch_CPU_LIBRARY torch_cpu PATHS "${libtorch_root}/lib" NO_DEFAULT_PATH)
find_library(LibTorch_C10_LIBRARY c10 PATHS "${libtorch_root}/lib" NO_DEFAULT_PATH)
if(PCPP_CUDA)
  find_library(LibTorch_CUDA_LIBRARY torch_cuda PATHS "${libtorch_root}/lib" NO_DEFAULT_PATH)
  find_library(LibTorch_C10_CUDA_LIBRARY c10_cuda PATHS "${libtorch_root}/lib" NO_DEFAULT_PATH)
endif()

set(libtorch_version_header "${LibTorch_INCLUDE_DIR}/torch/headeronly/version.h")
if(EXISTS "${libtorch_version_header}")
  foreach(part MAJOR MINOR PATCH)
    file(STRINGS "${libtorch_version_header}" line REGEX "#define TORCH_VERSION_${part} ")
    string(REGEX MATCH "[0-9]+" LibTorch_VERSION_${part} "${line}")
  endforeach()
  set(LibTorch_VERSION
      ${LibTorch_VERSION_MAJOR}.${LibTorch_VERSION_MINOR}.${LibTorch_VERSION_PATCH})
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(
  LibTorch REQUIRED_VARS ${libtorch_needs} VERSION_VAR LibTorch_VERSION
  REASON_FAILURE_MESSAGE "looked in ${libtorch_root}: run scripts/setup, or set PCPP_TORCH_ROOT")

if(LibTorch_FOUND AND NOT TARGET LibTorch::cpu)
  get_filename_component(LibTorch_LIBRARY_DIR ${LibTorch_CPU_LIBRARY} DIRECTORY)
  add_library(LibTorch::c10 SHARED IMPORTED)
  set_target_properties(LibTorch::c10 PROPERTIES
    IMPORTED_LOCATION ${LibTorch_C10_LIBRARY}
    # Or ATen/TensorOperators.h includes every operator, and each file takes seconds more.
    INTERFACE_COMPILE_DEFINITIONS AT_PER_OPERATOR_HEADERS
    # Behind the system's own folders: the wheel carries a newer fmt, which would hide the system's.
    INTERFACE_COMPILE_OPTIONS "SHELL:-idirafter \"${LibTorch_INCLUDE_DIR}\"")
  add_library(LibTorch::cpu SHARED IMPORTED)
  set_target_properties(LibTorch::cpu PROPERTIES
    IMPORTED_LOCATION ${LibTorch_CPU_LIBRARY}
    IMPORTED_LINK_DEPENDENT_LIBRARIES LibTorch::c10
    INTERFACE_LINK_LIBRARIES LibTorch::c10
    # libtorch_cpu of a CUDA wheel needs libcudart and libcupti, which its own RPATH finds.
    INTERFACE_LINK_OPTIONS "-Wl,--allow-shlib-undefined")
endif()

if(LibTorch_FOUND AND PCPP_CUDA AND NOT TARGET LibTorch::cuda)
  add_library(LibTorch::c10_cuda SHARED IMPORTED)
  set_target_properties(LibTorch::c10_cuda PROPERTIES
    IMPORTED_LOCATION ${LibTorch_C10_CUDA_LIBRARY} INTERFACE_LINK_LIBRARIES LibTorch::c10)
  # Nothing of ours names a symbol of libtorch_cuda: it registers its operators when it is loaded.
  add_library(LibTorch::cuda INTERFACE IMPORTED)
  set_target_properties(LibTorch::cuda PROPERTIES INTERFACE_LINK_LIBRARIES
    "LibTorch::c10_cuda;LibTorch::cpu;-Wl,--push-state,--no-as-needed;${LibTorch_CUDA_LIBRARY};-Wl,--pop-state")
endif()
