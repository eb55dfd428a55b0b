# Installs the library, builds the consumer with it, and runs that.
function(run)
  execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY)
endfunction()
file(REMOVE_RECURSE ${PLACE})
run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${PLACE}/prefix --component library)
run(${CMAKE_COMMAND} -S ${CONSUMER} -B ${PLACE}/build -DCMAKE_PREFIX_PATH=${PLACE}/prefix -DCMAKE_CXX_COMPILER=${COMPILER}
  -DCMAKE_BUILD_TYPE=Release)
run(${CMAKE_COMMAND} --build ${PLACE}/build)
run(${PLACE}/build/consumer ${NETWORK} ${PLACE}/out)
