# The libraries taper stands on, one per job. All come from the distribution's packages (scripts/setup).
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
find_package(Protobuf REQUIRED)
find_package(ONNX CONFIG REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(CBLAS REQUIRED IMPORTED_TARGET openblas)
pkg_check_modules(SECCOMP REQUIRED IMPORTED_TARGET libseccomp)

# flatbuffers is used through its headers alone; `taper_schema` carries what flatc makes of our schemas.
find_program(TAPER_FLATC flatc REQUIRED)
find_path(TAPER_FLATBUFFERS_INCLUDE flatbuffers/flatbuffers.h REQUIRED)
set(schema_source ${PROJECT_SOURCE_DIR}/src/formats/schema/tflite.fbs)
set(schema_header ${PROJECT_BINARY_DIR}/generated/formats/schema/tflite_generated.h)
add_custom_command(OUTPUT ${schema_header}
  COMMAND ${TAPER_FLATC} --cpp --cpp-std c++17 --scoped-enums --gen-object-api
    -o ${PROJECT_BINARY_DIR}/generated/formats/schema ${schema_source}
  DEPENDS ${schema_source} VERBATIM)
add_custom_target(taper_schema_headers DEPENDS ${schema_header})
add_library(taper_schema INTERFACE)
target_include_directories(taper_schema SYSTEM INTERFACE $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/generated>
  $<BUILD_INTERFACE:${TAPER_FLATBUFFERS_INCLUDE}>)
add_dependencies(taper_schema taper_schema_headers)

# TensorFlow's formats: what protoc makes of our schema.
set(proto_source ${PROJECT_SOURCE_DIR}/src/formats/schema/tensorflow.proto)
set(proto_folder ${PROJECT_BINARY_DIR}/generated/formats/schema)
add_custom_command(OUTPUT ${proto_folder}/tensorflow.pb.h ${proto_folder}/tensorflow.pb.cc
  COMMAND protobuf::protoc --proto_path=${PROJECT_SOURCE_DIR}/src --cpp_out=${PROJECT_BINARY_DIR}/generated
    ${proto_source}
  DEPENDS ${proto_source} VERBATIM)
add_library(taper_tensorflow_schema STATIC ${proto_folder}/tensorflow.pb.cc ${proto_folder}/tensorflow.pb.h)
target_include_directories(taper_tensorflow_schema SYSTEM PUBLIC $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/generated>)
target_link_libraries(taper_tensorflow_schema PUBLIC protobuf::libprotobuf)

# The index of a tensor bundle is a table in leveldb's format.
find_library(TAPER_LEVELDB leveldb REQUIRED)
