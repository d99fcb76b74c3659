# The CUDA half of the build. C++ files keep the flags of a CPU build, so that a compiler cache serves
# both; what needs the toolkit is in .cu files and in targets that link CUDA::cudart.

if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  # The last leaves PTX as well, which a driver compiles for cards that are newer.
  set(CMAKE_CUDA_ARCHITECTURES 80-real 86-real 89-real 90)
endif()
set(CMAKE_CUDA_STANDARD 17)  # the newest that CMake 3.25 knows with nvcc 13
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_EXTENSIONS OFF)
set(CMAKE_CUDA_VISIBILITY_PRESET hidden)
set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)  # the one that libtorch loads
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)
if(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 13)
  message(FATAL_ERROR "PCPP_CUDA needs a CUDA 13 toolkit and ${CMAKE_CUDA_COMPILER} is of "
                      "${CMAKE_CUDA_COMPILER_VERSION}: set CMAKE_CUDA_COMPILER")
endif()

# pcpp_add_cuda_layer(NAME SOURCES ... DEPENDS layers...): a layer of .cu files.
function(pcpp_add_cuda_layer name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS" ${ARGN})
  add_library(pcpp_${name} OBJECT ${ARG_SOURCES})
  target_compile_options(pcpp_${name} PRIVATE -Xcompiler=-Wall,-Wextra,-Wshadow)
  if(PCPP_WARNINGS_AS_ERRORS)
    target_compile_options(pcpp_${name} PRIVATE --Werror=all-warnings -Xcompiler=-Werror)
  endif()
  target_include_directories(pcpp_${name} PUBLIC ${PROJECT_SOURCE_DIR}/include
                                                 ${PROJECT_SOURCE_DIR})
  target_link_libraries(pcpp_${name} PUBLIC CUDA::cudart)
  pcpp_register_layer(${name} ${ARG_DEPENDS})
endfunction()
