#include "detail/random.hpp"

#include "lamina/base/philox.hpp"

namespace lamina::kernels::detail {
namespace {

typedef std::uint64_t Longs __attribute__((vector_size(8 * lanes)));

// The two halves of a * b, lane by lane.
void multiply(Words a, std::uint32_t b, Words& high, Words& low) {
  Longs const product = __builtin_convertvector(a, Longs) * std::uint64_t{b};
  high = __builtin_convertvector(product >> 32, Words);
  low = a * b;
}

// Philox4x32-10 of `lanes` consecutive quads: `lanes` times four words, by word.
void quads(DropoutMask const& m, std::uint64_t quad, Words (&c)[4]) {
  Longs const number = __builtin_convertvector(lane_numbers(), Longs) + quad;
  c[0] = __builtin_convertvector(number, Words);
  c[1] = __builtin_convertvector(number >> 32, Words);
  c[2] = Words{} + m.step;
  c[3] = Words{} + m.operation;
  auto k0 = static_cast<std::uint32_t>(m.seed), k1 = static_cast<std::uint32_t>(m.seed >> 32);
  for (int round = 0; round < 10; ++round) {
    Words high0, low0, high1, low1;
    multiply(c[0], 0xD2511F53u, high0, low0);
    multiply(c[2], 0xCD9E8D57u, high1, low1);
    c[0] = high1 ^ c[1] ^ k0;
    c[1] = low1;
    c[2] = high0 ^ c[3] ^ k1;
    c[3] = low0;
    k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
  }
}

}  // namespace

DropoutMask::DropoutMask(TensorRef const& rng, double probability, std::uint32_t op, std::int64_t sample)
    : seed(0),
      step(0),
      operation(op),
      p(static_cast<float>(probability)),
      kept(static_cast<float>(1 / (1 - probability))),
      first_sample(0) {
  if (probability == 0) return;
  auto const* r = rng.as<std::int64_t>();
  seed = static_cast<std::uint64_t>(r[0]);
  step = static_cast<std::uint32_t>(r[1]);
  first_sample = static_cast<std::uint64_t>(r[2] + sample);
}

void DropoutMask::factors(std::uint64_t first, std::int64_t count, float* out) const {
  auto const limit = static_cast<std::uint32_t>(std::int64_t(p * 0x1p24f)) +
                     (static_cast<float>(std::int64_t(p * 0x1p24f)) < p * 0x1p24f ? 1u : 0u);  // ceil(p 2^24)
  for (std::int64_t done = 0; done < count;) {
    auto const element = first + static_cast<std::uint64_t>(done);
    Words c[4];
    quads(*this, element / 4, c);
    float chunk[4 * lanes];
    for (int w = 0; w < 4; ++w) {
      Floats const f = (c[w] >> 8) >= limit ? splat(kept) : Floats{};  // uniform >= p, in integers
      for (int l = 0; l < lanes; ++l) chunk[4 * l + w] = f[l];
    }
    auto const skip = static_cast<int>(element % 4);
    auto const n = std::min<std::int64_t>(4 * lanes - skip, count - done);
    std::memcpy(out + done, chunk + skip, sizeof(float) * static_cast<std::size_t>(n));
    done += n;
  }
}

}  // namespace lamina::kernels::detail
