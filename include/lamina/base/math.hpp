#pragma once

#include <array>
#include <cstdint>

#include "lamina/base/philox.hpp"

/// Elementary functions that give the same bits on every machine: additions, multiplications, divisions and square
/// roots of IEEE doubles in a fixed order, compiled without contraction and without libm (whose results change between
/// versions and instruction sets). For initial values, learning rates and everything else the ranks must agree on;
/// not for kernels. Error at most 1 unit in the last place where not said otherwise (tests/unit/base/math_test.cpp
/// measures it against 80-bit long double).
namespace lamina::math {

/// Natural logarithm. log(0) = -inf, negative and nan give nan.
double log(double x);
/// 0 below about -745.2, inf above about 709.8; subnormal results to 1 unit.
double exp(double x);
/// For |x| <= 2^20; beyond, and for nan, nan: nothing here has use for such angles.
double sin(double x);
double cos(double x);
/// Of 2 pi t, for |t| <= 2^31, with an exact reduction: the multiples of 1/4 give 0 and +-1 exactly.
double sin_turns(double t);
double cos_turns(double t);
/// Correctly rounded, as IEEE 754 demands.
double sqrt(double x);
/// base^n by repeated squaring; relative error at most |n| 2^-53.
double power(double base, std::int64_t n);

/// Four independent standard normals from four words (Box and Muller, 1958): words 0 and 1 give normals 0 and 1
/// as r cos, r sin with r = sqrt(-2 log((w0 + 1/2) 2^-32)), angle = 2 pi w1 2^-32; words 2 and 3 give 2 and 3.
/// Never infinite: |z| < 6.77.
std::array<double, 4> normals(Philox::Words const& words);
/// The normal of one element of a random tensor: element % 4 of normals(Philox::block(...)).
double normal(std::uint64_t seed, std::uint64_t element, std::uint32_t step, std::uint32_t operation);

}  // namespace lamina::math
