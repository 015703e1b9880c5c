#include "lamina/train/trace.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "lamina/program/program.hpp"

namespace lamina::train {
namespace {

using nlohmann::json;

TraceEvent event_of(int stream, std::string name, std::string kind, std::int64_t start, std::int64_t end,
                    std::string message = "") {
  TraceEvent e;
  e.stream = stream, e.name = std::move(name), e.kind = std::move(kind), e.program = "forward_backward";
  e.start_ns = start, e.end_ns = end, e.message = std::move(message);
  return e;
}

std::vector<RankTrace> two_ranks() {
  RankTrace first{.rank = 0, .name = "rank 0: pp 0", .streams = {"compute", "comm.pp.0>1"}, .events = {}};
  auto kernel = event_of(0, "embed embedding", "kernel", 5'000, 7'500);
  kernel.step = 3, kernel.micro_batch = 1, kernel.stage = 2, kernel.bytes = 64, kernel.flops = 128;
  kernel.waited_ns = 1'250;
  first.events = {kernel, event_of(1, "embed send", "send", 7'600, 9'001, "a message"),
                  event_of(1, "embed send", "send", 9'100, 9'200, "another")};
  RankTrace second{.rank = 1, .name = "rank 1: pp 1", .streams = {"comm.pp.0>1"}, .events = {}};
  second.events = {event_of(0, "embed recv", "recv", 4'000, 9'050, "a message"),
                   event_of(0, "embed recv", "recv", 9'300, 9'300, "another")};
  return {first, second};
}

json document() {
  std::vector<std::string> parts;
  for (auto const& rank : two_ranks()) parts.push_back(chrome_events(rank, 4'000));
  return json::parse(chrome_document(parts, 7, 1'500));
}

std::vector<json> of_phase(json const& trace, std::string const& phase) {
  std::vector<json> found;
  for (auto const& e : trace["traceEvents"]) {
    if (e["ph"] == phase) found.push_back(e);
  }
  return found;
}

TEST(Trace, has_a_process_per_rank_and_a_thread_per_stream_by_name) {
  auto const trace = document();
  EXPECT_EQ(trace["otherData"]["step"], 7);
  EXPECT_EQ(trace["otherData"]["ranks"], 2);
  EXPECT_EQ(trace["otherData"]["clock_uncertainty_us"], 1.5);
  std::vector<std::string> names;
  for (auto const& e : of_phase(trace, "M")) {
    if (e["args"].contains("name"))
      names.push_back(std::to_string(e["pid"].get<int>()) + "/" + e["args"]["name"].get<std::string>());
  }
  EXPECT_EQ(names, (std::vector<std::string>{"0/rank 0: pp 0", "0/compute", "0/comm.pp.0>1", "1/rank 1: pp 1",
                                             "1/comm.pp.0>1"}));
}

TEST(Trace, gives_every_step_its_time_in_microseconds_and_what_it_did) {
  auto const events = of_phase(document(), "X");
  ASSERT_EQ(events.size(), 5u);
  auto const& e = events[0];
  EXPECT_EQ(e["name"], "embed embedding");
  EXPECT_EQ(e["cat"], "kernel");
  EXPECT_EQ(e["ts"], 1.0);
  EXPECT_EQ(e["dur"], 2.5);
  EXPECT_EQ(e["args"], (json{{"program", "forward_backward"},
                             {"step", 3},
                             {"micro_batch", 1},
                             {"stage", 2},
                             {"bytes", 64},
                             {"flops", 128},
                             {"waited_us", 1.25}}));
  EXPECT_FALSE(events[1]["args"].contains("micro_batch"));  // the step has none
  EXPECT_FALSE(events[1]["args"].contains("waited_us"));
  EXPECT_EQ(events[3]["ts"], 0.0);  // the origin
}

TEST(Trace, draws_an_arrow_from_each_send_into_its_receive) {
  auto const trace = document();
  auto const sends = of_phase(trace, "s"), receives = of_phase(trace, "f");
  ASSERT_EQ(sends.size(), 2u);
  ASSERT_EQ(receives.size(), 2u);
  EXPECT_NE(sends[0]["id"], sends[1]["id"]);
  auto const events = of_phase(trace, "X");
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(sends[i]["id"], receives[i]["id"]);
    EXPECT_EQ(receives[i]["bp"], "e");
    EXPECT_LE(sends[i]["ts"], receives[i]["ts"]);
    auto const& target = events[3 + i];
    EXPECT_EQ(receives[i]["pid"], target["pid"]);
    EXPECT_EQ(receives[i]["tid"], target["tid"]);
    EXPECT_GE(receives[i]["ts"], target["ts"]);
    EXPECT_LE(receives[i]["ts"].get<double>(), target["ts"].get<double>() + target["dur"].get<double>());
  }
}

TEST(Trace, is_a_document_whatever_is_in_it) {
  RankTrace strange{.rank = 0, .name = "rank 0: host \xff\"\n", .streams = {"compute"}, .events = {}};
  auto const trace = json::parse(chrome_document({chrome_events(strange, 0), ""}, 1, 0));
  EXPECT_EQ(trace["traceEvents"].size(), 4u);
  EXPECT_TRUE(json::parse(chrome_document({}, 1, 0))["traceEvents"].empty());
}

}  // namespace
}  // namespace lamina::train
