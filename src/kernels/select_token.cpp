#include "lamina/kernels/select_token.hpp"

#include <cstring>

#include "detail/check.hpp"
#include "detail/parallel.hpp"
#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::kernels {

void select_token(device::Stream& stream, SelectTokenArgs const& a) {
  static std::string const label = "lamina::kernels::select_token";
  detail::Check const check{"select_token"};
  check.ndim("x", a.x, 3);
  auto const samples = a.x.spec.shape[0], tokens = a.x.spec.shape[1], columns = a.x.spec.shape[2];
  check.dtype("last", a.last, {DType::i32});
  check.dtype("y", a.y, {a.x.spec.dtype});
  check.count("last", a.last, 1);
  check.shape("y", a.y, {samples, columns});
  stream.wait();
  std::int64_t const last = a.last.as<std::int32_t>()[0];
  if (last < 0 || last >= tokens) {
    fail({.code = "kernels.select_token.last",
          .subject = "select_token: last",
          .found = text(last),
          .expected = text("0 .. ", tokens - 1),
          .fix = "give the index of the last real token of the chunk"});
  }
  auto const bytes = columns * sizeof_dtype(a.x.spec.dtype);
  detail::for_each_range(label, samples, 16, [&](std::int64_t begin, std::int64_t end) {
    for (auto b = begin; b < end; ++b) {
      std::memcpy(a.y.as<char>() + b * bytes, a.x.as<char>() + (b * tokens + last) * bytes,
                  static_cast<std::size_t>(bytes));
    }
  });
}

}  // namespace lamina::kernels
