#include "lamina/kernels/runtime.hpp"
#include "lamina/train/environment.hpp"
#include "vendor/hdf5/hdf5.hpp"
#include "vendor/mpi/mpi.hpp"
#include "vendor/onednn/onednn.hpp"

namespace lamina::train {

std::vector<Library> libraries() {
  return {{"MPI", mpi::version()},
          {"HDF5", vendor::hdf5::version()},
          {"Kokkos", kernels::kokkos_version()},
          {"oneDNN", vendor::onednn::version()}};
}

}  // namespace lamina::train
