#include "detail/channel.hpp"

#include "lamina/base/error.hpp"
#include "lamina/base/text.hpp"

namespace lamina::comm::detail {

void fail_as_group(Channel const& channel, char const* what, Error const& cause) {
  bool const length = cause.info().code == "vendor.mpi.length" || cause.info().code == "comm.peer_memory.length";
  fail({.code = length ? "comm.mismatch" : "comm.peer_lost",
        .subject = text(what, " of group '", channel.name, "', rank ", channel.rank, " of ", channel.size),
        .found = text(cause.info().subject, ": ", cause.info().found),
        .expected = cause.info().expected,
        .fix = cause.info().fix});
}

void Collective::start() {
  if (channel_->busy.exchange(true)) {
    fail({.code = "comm.group.busy",
          .subject = text(what_, " of group '", channel_->name, "'"),
          .found = "another collective of the group is still running",
          .expected = "the collectives of a group one after another",
          .fix = "enqueue them on one stream, or wait for one before starting the next"});
  }
  try {
    begin();
  } catch (Error const& e) {
    fail_as_group(*channel_, what_, e);
  }
}

bool Collective::advance() {
  try {
    completed_ = requests_.test();
    moves_ += completed_.size();
    if (!proceed()) return false;
  } catch (Error const& e) {
    fail_as_group(*channel_, what_, e);
  }
  channel_->busy.store(false);
  return true;
}

}  // namespace lamina::comm::detail
