# Warnings, hardening and sanitizers: one interface target that every target of ours links.
option(TAPER_WERROR "Warnings are errors" ON)

add_library(taper_flags INTERFACE)
target_compile_options(taper_flags INTERFACE
  -Wall -Wextra $<$<BOOL:${TAPER_WERROR}>:-Werror> -Wshadow -Wnon-virtual-dtor -Wold-style-cast -Wcast-qual
  -Woverloaded-virtual -Wimplicit-fallthrough -fstack-protector-strong)
# Out-of-range indices of standard containers stop a debug build.
target_compile_definitions(taper_flags INTERFACE $<$<CONFIG:Debug>:_GLIBCXX_ASSERTIONS>)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC 12 reports these inside its own headers at -O2 and above.
  target_compile_options(taper_flags INTERFACE -Wno-maybe-uninitialized -Wno-restrict -Wno-stringop-overflow
    -Wno-array-bounds -Wno-dangling-pointer -Wno-missing-field-initializers)
else()
  target_compile_options(taper_flags INTERFACE -Wno-missing-field-initializers
    -Wno-missing-designated-field-initializers)
endif()
if(TAPER_SANITIZE)
  target_compile_options(taper_flags INTERFACE -fsanitize=${TAPER_SANITIZE} -fno-sanitize-recover=all
    -fno-omit-frame-pointer)
  target_link_options(taper_flags INTERFACE -fsanitize=${TAPER_SANITIZE})
else()
  # What tests/judge/test_hardening.py looks for in the programs. Fortified calls need optimisation and the C library's
  # headers to agree, which sanitizers replace.
  target_compile_options(taper_flags INTERFACE $<$<CONFIG:Release>:-U_FORTIFY_SOURCE;-D_FORTIFY_SOURCE=3>
    -fstack-clash-protection)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64|i.86")
    target_compile_options(taper_flags INTERFACE -fcf-protection=full)
  endif()
  target_link_options(taper_flags INTERFACE -Wl,-z,relro,-z,now,-z,noexecstack)
endif()
include(CheckPIESupported)
check_pie_supported()

find_program(TAPER_CCACHE ccache)
if(TAPER_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${TAPER_CCACHE})
endif()
