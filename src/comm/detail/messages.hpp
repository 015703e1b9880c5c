#pragma once

#include <array>
#include <vector>

#include "channel.hpp"

namespace lamina::comm::detail {

/// One tensor from one rank to another; in several messages beyond `mpi::Requests::max_bytes`. Not a `Collective`:
/// several may be in flight in a group.
class Message final : public device::Task {
 public:
  enum class Way { send, recv };
  Message(std::shared_ptr<Channel> channel, Way way, TensorRef t, int peer);
  void start() override;
  bool advance() override;
  std::uint64_t progress() const override { return static_cast<std::uint64_t>(requests_.active()); }

 private:
  char const* what() const { return way_ == Way::send ? "send" : "recv"; }

  std::shared_ptr<Channel> channel_;
  Way way_;
  TensorRef t_;
  int peer_;
  mpi::Requests requests_;
};

/// Down a binomial tree, in pieces that are passed on while later ones arrive.
class Broadcast final : public Collective {
 public:
  Broadcast(std::shared_ptr<Channel> const& channel, TensorRef t, int root);

 protected:
  void begin() override;
  bool proceed() override;

 private:
  struct Link {
    int peer;
    std::int64_t posted, finished;
    std::array<bool, window> done;
  };
  std::int64_t bytes_of(std::int64_t piece) const;
  char* data_of(std::int64_t piece) const;

  TensorRef t_;
  std::int64_t pieces_ = 0;
  int parent_ = -1;
  std::vector<Link> links_;  // [0] the parent, then the children
};

/// Dissemination (Hensgen, Finkel, Manber 1988): in round k everyone signals rank + 2^k and hears from rank - 2^k.
class Barrier final : public Collective {
 public:
  explicit Barrier(std::shared_ptr<Channel> channel);

 protected:
  void begin() override;
  bool proceed() override;

 private:
  void post();
  int distance_ = 1;
};

}  // namespace lamina::comm::detail
