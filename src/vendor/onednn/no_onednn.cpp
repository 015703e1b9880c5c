#include "lamina/base/error.hpp"
#include "onednn.hpp"

namespace lamina::vendor::onednn {
namespace {

[[noreturn]] void refuse(char const* what) {
  fail({.code = "vendor.onednn.absent",
        .subject = what,
        .found = "a build without oneDNN",
        .expected = "LAMINA_WITH_ONEDNN=ON",
        .fix = "configure again with -DLAMINA_WITH_ONEDNN=ON"});
}

}  // namespace

bool available() { return false; }
std::string version() { return "none"; }
bool has_bf16_tiles() { return false; }

struct MatMul::Impl {};
MatMul::MatMul(MatMulShape const&) { refuse("MatMul"); }
MatMul::~MatMul() = default;
MatMul::MatMul(MatMul&&) noexcept = default;
MatMul& MatMul::operator=(MatMul&&) noexcept = default;
std::int64_t MatMul::scratch_bytes() const { return 0; }
void MatMul::run(void const*, void const*, void*, void const*, void*) { refuse("MatMul::run"); }

struct Pack::Impl {};
Pack::Pack(PackShape const&) { refuse("Pack"); }
Pack::~Pack() = default;
Pack::Pack(Pack&&) noexcept = default;
Pack& Pack::operator=(Pack&&) noexcept = default;
std::int64_t Pack::packed_bytes() const { return 0; }
std::int64_t Pack::scratch_bytes() const { return 0; }
void Pack::run(void const*, void*, void*) { refuse("Pack::run"); }

}  // namespace lamina::vendor::onednn
