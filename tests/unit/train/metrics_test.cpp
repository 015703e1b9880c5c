#include "lamina/train/metrics.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "support/temporary.hpp"
#include "train/detail/event_file.hpp"

namespace lamina::train {
namespace {

using nlohmann::json;

std::vector<json> lines_of(std::string const& path) {
  std::ifstream in(path);
  std::vector<json> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(json::parse(line));
  return lines;
}

StepMetrics metrics_of(std::int64_t step, double loss) {
  StepMetrics m;
  m.step = step, m.loss = loss, m.tokens = step * 10;
  return m;
}

TEST(Metrics, are_one_json_object_a_step_and_null_where_there_is_no_number) {
  test::TemporaryDirectory const dir;
  MetricsLog log(dir.path(), 0, false);
  log.write(metrics_of(1, 2.5));
  log.write(metrics_of(2, std::nan("")));
  auto none = metrics_of(3, 0);
  none.has_loss = false;
  log.write(none);
  log.write_evaluation(3, 1.25);
  auto const lines = lines_of(dir / "metrics.jsonl");  // flushed: the log is still open
  ASSERT_EQ(lines.size(), 4u);
  for (auto const* key :
       {"step", "loss", "grad_norm", "lr", "tokens", "step_s", "tokens_per_s", "mfu", "exposed_comm_s", "peak_bytes"}) {
    EXPECT_TRUE(lines[0].contains(key)) << key;
  }
  EXPECT_EQ(lines[0]["loss"], 2.5);
  EXPECT_TRUE(lines[1]["loss"].is_null());
  EXPECT_TRUE(lines[2]["loss"].is_null());
  EXPECT_EQ(lines[3]["valid_loss"], 1.25);
}

TEST(Metrics, after_the_resumed_step_and_torn_lines_are_cut) {
  test::TemporaryDirectory const dir;
  {
    MetricsLog log(dir.path(), 0, false);
    for (std::int64_t s = 1; s <= 5; ++s) log.write(metrics_of(s, 1.0));
  }
  std::ofstream(dir / "metrics.jsonl", std::ios::app) << R"({"step":6,"lo)";
  MetricsLog log(dir.path(), 3, false);
  log.write(metrics_of(4, 9.0));
  auto const lines = lines_of(dir / "metrics.jsonl");
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[2]["step"], 3);
  EXPECT_EQ(lines[3]["loss"], 9.0);
}

TEST(Crc32c, has_the_value_of_its_test_vector) {
  EXPECT_EQ(detail::crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(detail::crc32c(""), 0u);
}

TEST(EventFile, has_the_records_that_tensorboard_reads) {
  test::TemporaryDirectory const dir;
  {
    detail::EventFile events(dir.path());
    events.scalars(300, {{"loss", 1.5f}, {"valid_loss", -2.0f}});
  }
  auto const entry = *std::filesystem::directory_iterator(dir.path());
  EXPECT_EQ(entry.path().filename().string().rfind("events.out.tfevents.", 0), 0u);
  auto const bytes = test::read_file(entry.path().string());
  std::vector<std::string> events;
  for (std::size_t at = 0; at < bytes.size();) {
    std::uint64_t length = 0;
    std::uint32_t crc = 0;
    std::memcpy(&length, bytes.data() + at, 8);
    std::memcpy(&crc, bytes.data() + at + 8, 4);
    auto const unmask = [](std::uint32_t m) {
      auto const r = m - 0xA282EAD8u;
      return r >> 17 | r << 15;
    };
    EXPECT_EQ(unmask(crc), detail::crc32c(bytes.substr(at, 8)));
    events.push_back(bytes.substr(at + 12, length));
    std::memcpy(&crc, bytes.data() + at + 12 + length, 4);
    EXPECT_EQ(unmask(crc), detail::crc32c(events.back()));
    at += 16 + length;
  }
  ASSERT_EQ(events.size(), 2u);
  EXPECT_NE(events[0].find("brain.Event:2"), std::string::npos);
  // wall_time, step 300 (varint AC 02), then the summary with both values.
  EXPECT_EQ(events[1].substr(9, 3), std::string("\x10\xAC\x02", 3));
  float const expected = 1.5f;
  std::string value = "\x0A\x04loss\x15";
  value.append(reinterpret_cast<char const*>(&expected), 4);
  EXPECT_NE(events[1].find(value), std::string::npos);
}

}  // namespace
}  // namespace lamina::train
