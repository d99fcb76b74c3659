# Fails where one of FILES looks for libraries in an empty folder, which is the present one.
find_program(readelf NAMES readelf REQUIRED)
foreach(file IN LISTS FILES)
  execute_process(COMMAND ${readelf} --dynamic ${file} OUTPUT_VARIABLE entries COMMAND_ERROR_IS_FATAL ANY)
  if(entries MATCHES "R(UN)?PATH[^\n]*\\[(:|[^\n]*::|[^\n]*:\\])")
    message(FATAL_ERROR "${file} looks for libraries in the present folder: ${CMAKE_MATCH_0}")
  endif()
endforeach()
