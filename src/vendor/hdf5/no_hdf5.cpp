#include "lamina/base/error.hpp"
#include "vendor/hdf5/hdf5.hpp"

namespace lamina::vendor::hdf5 {
namespace {

[[noreturn]] void refuse(std::string const& file) {
  fail({.code = "vendor.hdf5.missing",
        .subject = file,
        .found = "a build without HDF5",
        .expected = "HDF5 for checkpoints",
        .fix = "configure with -DLAMINA_WITH_HDF5=ON; ./apps/setup installs the library"});
}

}  // namespace

bool available() { return false; }
std::string version() { return "none"; }
std::vector<std::int64_t> create(std::string const& file, std::vector<Dataset> const&) { refuse(file); }
std::vector<Dataset> describe(std::string const& file) { refuse(file); }

}  // namespace lamina::vendor::hdf5
