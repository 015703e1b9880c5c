#include "detail/labels.hpp"

#include "detail/kokkos.hpp"

namespace lamina::kernels::detail {
namespace {

void (*listener)(char const*) = nullptr;

void on_kernel(char const* label, std::uint32_t, std::uint64_t*) { listener(label); }
void on_allocation(Kokkos::Tools::SpaceHandle, char const* label, void const*, std::uint64_t) { listener(label); }

}  // namespace

void listen_to_labels(void (*heard)(char const* label)) {
  namespace tools = Kokkos::Tools::Experimental;
  listener = heard;
  tools::set_begin_parallel_for_callback(heard ? on_kernel : nullptr);
  tools::set_begin_parallel_reduce_callback(heard ? on_kernel : nullptr);
  tools::set_begin_parallel_scan_callback(heard ? on_kernel : nullptr);
  tools::set_allocate_data_callback(heard ? on_allocation : nullptr);
}

}  // namespace lamina::kernels::detail
