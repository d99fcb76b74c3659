# C++ files that call the CUDA runtime: they need its headers, and neither nvcc nor a GPU. They are
# part of the library with PCPP_CUDA. Without it they are compiled for their tests alone, which link
# fakes of the runtime and of NCCL, wherever the headers are.
if(PCPP_CUDA OR PCPP_BUILD_TESTS)
  find_package(CUDAToolkit 13 QUIET)
endif()
if(CUDAToolkit_FOUND)
  # Beside torch lie the wheels that it needs.
  set(wheels ${PROJECT_SOURCE_DIR}/.deps/libtorch)
  if(PCPP_TORCH_ROOT)
    get_filename_component(wheels ${PCPP_TORCH_ROOT} DIRECTORY)
  endif()
  find_path(PCPP_NCCL_INCLUDE_DIR nccl.h
            HINTS ${CUDAToolkit_INCLUDE_DIRS} ${wheels}/nvidia/nccl/include)
endif()
if(NOT CUDAToolkit_FOUND AND PCPP_CUDA)
  message(FATAL_ERROR "PCPP_CUDA needs a CUDA toolkit of version 13 or later: set CUDAToolkit_ROOT")
elseif(NOT PCPP_NCCL_INCLUDE_DIR AND PCPP_CUDA)
  message(FATAL_ERROR "PCPP_CUDA needs nccl.h: run scripts/setup, or set PCPP_NCCL_INCLUDE_DIR")
elseif(PCPP_BUILD_TESTS AND NOT PCPP_NCCL_INCLUDE_DIR)
  message(STATUS "No CUDA 13 toolkit with nccl.h: the tests over the fake CUDA runtime are left out")
endif()

# pcpp_add_cuda_runtime_layer(NAME ...): as pcpp_add_layer.
function(pcpp_add_cuda_runtime_layer name)
  if(NOT PCPP_NCCL_INCLUDE_DIR OR NOT (PCPP_CUDA OR PCPP_BUILD_TESTS))
    return()
  endif()
  get_property(layers GLOBAL PROPERTY PCPP_LAYERS)
  pcpp_add_layer(${name} ${ARGN})
  target_include_directories(pcpp_${name} SYSTEM PUBLIC ${CUDAToolkit_INCLUDE_DIRS}
                                                        ${PCPP_NCCL_INCLUDE_DIR})
  if(NOT PCPP_CUDA)
    set_property(GLOBAL PROPERTY PCPP_LAYERS ${layers})
  endif()
endfunction()
