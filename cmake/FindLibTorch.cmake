# Finds the CPU half of libtorch: LibTorch::cpu (libtorch_cpu, libc10 and their headers). libtorch's
# own package file insists on a CUDA toolkit where the wheel was built with CUDA; linking the two
# libraries directly lets the CPU build do without one. With PCPP_CUDA the other half as well:
# LibTorch::cuda (libtorch_cuda, libc10_cuda).
#
# Looks in PCPP_TORCH_ROOT (the `torch` folder of a wheel), then where scripts/setup unpacks one.

set(PCPP_TORCH_ROOT "" CACHE PATH "The torch folder of an unpacked wheel or of a libtorch archive")

find_path(LibTorch_INCLUDE_DIR ATen/core/Tensor.h
          HINTS ${PCPP_TORCH_ROOT} ${PROJECT_SOURCE_DIR}/.deps/libtorch/torch PATH_SUFFIXES include
          NO_CMAKE_FIND_ROOT_PATH)
find_library(LibTorch_CPU_LIBRARY torch_cpu
             HINTS ${PCPP_TORCH_ROOT} ${PROJECT_SOURCE_DIR}/.deps/libtorch/torch PATH_SUFFIXES lib)
find_library(LibTorch_C10_LIBRARY c10
             HINTS ${PCPP_TORCH_ROOT} ${PROJECT_SOURCE_DIR}/.deps/libtorch/torch PATH_SUFFIXES lib)

set(libtorch_needs LibTorch_INCLUDE_DIR LibTorch_CPU_LIBRARY LibTorch_C10_LIBRARY)
if(PCPP_CUDA)
  find_library(LibTorch_CUDA_LIBRARY torch_cuda
               HINTS ${PCPP_TORCH_ROOT} ${PROJECT_SOURCE_DIR}/.deps/libtorch/torch PATH_SUFFIXES lib)
  find_library(LibTorch_C10_CUDA_LIBRARY c10_cuda
               HINTS ${PCPP_TORCH_ROOT} ${PROJECT_SOURCE_DIR}/.deps/libtorch/torch PATH_SUFFIXES lib)
  list(APPEND libtorch_needs LibTorch_CUDA_LIBRARY LibTorch_C10_CUDA_LIBRARY)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(
  LibTorch REQUIRED_VARS ${libtorch_needs}
  REASON_FAILURE_MESSAGE "run scripts/setup, or set PCPP_TORCH_ROOT")

if(LibTorch_FOUND AND NOT TARGET LibTorch::cpu)
  get_filename_component(LibTorch_LIBRARY_DIR ${LibTorch_CPU_LIBRARY} DIRECTORY)
  add_library(LibTorch::c10 SHARED IMPORTED)
  set_target_properties(LibTorch::c10 PROPERTIES
    IMPORTED_LOCATION ${LibTorch_C10_LIBRARY}
    # Or ATen/TensorOperators.h includes every operator, and each file takes seconds more.
    INTERFACE_COMPILE_DEFINITIONS AT_PER_OPERATOR_HEADERS
    # Behind the system's own folders: the wheel carries a newer fmt, which would hide the system's.
    INTERFACE_COMPILE_OPTIONS "SHELL:-idirafter ${LibTorch_INCLUDE_DIR}")
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
