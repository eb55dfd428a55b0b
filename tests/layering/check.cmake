# Fails if a file of src/ includes a folder that its own may not know. Run as
#   cmake -DSOURCE_DIR=<folder that holds the layers> -P check.cmake
#
cmake_minimum_required(VERSION 3.25)

# The folders in the order the data flows: each may include itself and the ones before it...
set(layers base formats ir ops frontend quantize passes backend verify report pipeline cli)
# ... but for these, "<folder>:<folder it must not know>": a graph knows nothing of any file.
set(strangers ir:formats)

set(wrong "")
file(GLOB folders RELATIVE ${SOURCE_DIR} ${SOURCE_DIR}/*)
foreach(folder ${folders})
  if(IS_DIRECTORY ${SOURCE_DIR}/${folder} AND NOT folder IN_LIST layers)
    string(APPEND wrong "  ${folder}/ has no place among the layers: ${layers}\n")
  endif()
endforeach()

set(known "")
foreach(layer ${layers})
  list(APPEND known ${layer})
  file(GLOB_RECURSE files RELATIVE ${SOURCE_DIR} ${SOURCE_DIR}/${layer}/*.h ${SOURCE_DIR}/${layer}/*.cpp)
  foreach(file ${files})
    file(STRINGS ${SOURCE_DIR}/${file} includes REGEX "^[ \t]*#[ \t]*include[ \t]*[\"<][a-z_]+/")
    foreach(include ${includes})
      string(REGEX REPLACE "^[ \t]*#[ \t]*include[ \t]*[\"<]([a-z_]+)/.*" "\\1" folder "${include}")
      if(folder IN_LIST layers AND (NOT folder IN_LIST known OR "${layer}:${folder}" IN_LIST strangers))
        string(APPEND wrong "  ${file}: ${layer} must not know ${folder}: ${include}\n")
      endif()
    endforeach()
  endforeach()
endforeach()

if(wrong)
  message(FATAL_ERROR "includes against the order of the layers:\n${wrong}")
endif()
