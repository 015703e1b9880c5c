#pragma once

#include "lamina/models/models.hpp"

namespace lamina::test {

/// A GPT of odd sizes that still has everything: 2 layers, 2 heads of 3, vocabulary 11, context 8.
inline config::Model tiny_gpt() {
  config::Model m;
  m.kind = "gpt";
  m.layers = 2, m.hidden = 6, m.heads = 2, m.context = 8, m.vocab = 11, m.ff = 20;
  return m;
}

/// GPT-2 124M (Radford et al., 2019).
inline config::Model gpt2_124m() {
  config::Model m;
  m.kind = "gpt";
  m.layers = 12, m.hidden = 768, m.heads = 12, m.context = 1024, m.vocab = 50257;
  return m;
}

inline models::BuildRequest request(models::Mode mode, DType compute = DType::f32) {
  bool const decodes = mode == models::Mode::decode;
  return {.mode = mode, .batch = 3, .tokens = decodes ? 1 : 5, .context = 8, .compute = compute};
}

}  // namespace lamina::test
