#include "lamina/graph/op.hpp"

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::graph {

void Op::differentiate(GradBuilder&) const {
  fail({.code = text("graph.", kind(), ".gradient"),
        .subject = text(kind(), " in the path of the loss"),
        .found = "an op without a gradient",
        .expected = "ops that know their gradient",
        .fix = "implement Op::differentiate, or use this op only where nothing is trained"});
}

std::int64_t Op::scratch_bytes(std::span<TensorSpec const>, int) const { return 0; }
bool Op::accumulates(int) const { return false; }
int Op::overwrites(int) const { return -1; }
bool Op::is_weight(int) const { return false; }

}  // namespace lamina::graph
