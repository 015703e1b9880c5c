#pragma once

namespace lamina::kernels::detail {

/// Calls `heard` with the label of every kernel and every allocation of Kokkos from here on; nullptr: no more.
/// The test of the label prefix listens here, so that no Kokkos header leaves this module.
void listen_to_labels(void (*heard)(char const* label));

}  // namespace lamina::kernels::detail
