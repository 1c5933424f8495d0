# zig's clang, with glibc 2.28 and a static C++ library: wheels of the manylinux_2_28 kind for CFVGG_ARCH. Against
# g++ 12, its code for the transforms needs up to 8 % fewer instructions on arm64 and 10 % less time on x86-64.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR ${CFVGG_ARCH})
set(CMAKE_CXX_COMPILER ${CFVGG_ZIG} c++ -target ${CFVGG_ARCH}-linux-gnu.2.28)
set(CMAKE_AR ${CFVGG_ZIG}-ar)
set(CMAKE_RANLIB true)
# nanobind expects <cstdio> of other headers, which bring it only in g++'s library.
set(CMAKE_CXX_FLAGS_INIT "-include cstdio -Wno-macro-redefined")
set(CFVGG_X86_LEVEL x86_64_v)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES CFVGG_ARCH CFVGG_ZIG)
