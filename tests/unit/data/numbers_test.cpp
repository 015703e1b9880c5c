// Tables and synthetic data.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <cmath>
#include <set>

#include "lamina/data/source.hpp"
#include "lamina/data/tokenizer.hpp"
#include "support/errors.hpp"
#include "support/temporary.hpp"

namespace lamina::data {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Sample {
  std::vector<float> x, values;
  std::int32_t label = -7, counted = -7;
};

Sample sample_of(Source const& source, std::int64_t index) {
  auto const fields = source.fields();
  Sample s;
  s.x.resize(static_cast<std::size_t>(fields[0].sample.count()));
  s.values.resize(static_cast<std::size_t>(fields[1].sample.count()));
  bool const values = fields.size() == 3;
  std::vector<void*> places{s.x.data(), values ? static_cast<void*>(s.values.data()) : &s.label};
  if (values) places.push_back(&s.counted);
  source.fill(index, places);
  return s;
}

class Tables : public ::testing::Test {
 protected:
  config::Data table(std::string const& content, std::string const& name = "t.csv") {
    config::Data c;
    c.kind = "table";
    c.train = {test::write_file(dir_ / name, content)};
    return c;
  }
  static ErrorInfo error(config::Data const& c, Demand const& d) {
    return test::error_of([&] { open(c, d); });
  }
  test::TemporaryDirectory dir_;
};

Demand const two_and_class{.features = 2, .outputs = 3};

TEST_F(Tables, have_the_label_last_unless_told_otherwise) {
  auto c = table("a,b,kind\n1,2.5,0\n-3e1, 4 ,2\r\n\n\"5\",+6,1");
  auto const plain = open(c, two_and_class);
  ASSERT_EQ(plain.train->samples(), 3);
  EXPECT_THAT(sample_of(*plain.train, 1).x, ElementsAre(-30, 4));
  EXPECT_EQ(sample_of(*plain.train, 1).label, 2);
  EXPECT_THAT(sample_of(*plain.train, 2).x, ElementsAre(5, 6));
  c.label = {"a"}, c.columns = {"kind", "2"};
  c.train = {test::write_file(dir_ / "u.csv", "a,b,kind\n1,2.5,0\n")};
  auto const chosen = open(c, two_and_class);
  EXPECT_THAT(sample_of(*chosen.train, 0).x, ElementsAre(0, 2.5));
  EXPECT_EQ(sample_of(*chosen.train, 0).label, 1);
  auto const fields = plain.train->fields();
  EXPECT_EQ(fields[1].sample, (TensorSpec{DType::i32, {}}));
  EXPECT_EQ(fields[1].padding, 0xff) << "padding is a class that no loss counts";
}

TEST_F(Tables, give_several_labels_for_values) {
  auto c = table("1,2,3,4.5\n5,6,7,8.5\n");
  auto const s = open(c, {.features = 2, .outputs = 2, .values = true});
  EXPECT_THAT(sample_of(*s.train, 1).values, ElementsAre(7, 8.5));
  EXPECT_EQ(sample_of(*s.train, 1).counted, 0);
  c.label = {"4", "1"};
  EXPECT_THAT(sample_of(*open(c, {.features = 2, .outputs = 2, .values = true}).train, 0).values, ElementsAre(4.5, 1));
}

TEST_F(Tables, packed_by_gzip_read_as_plain_ones_and_damaged_ones_are_refused) {
  std::string text;
  for (int i = 0; i < 5000; ++i) text += std::to_string(i) + "," + std::to_string(i * i % 97) + ",1\n";
  auto const path = dir_ / "t.csv.gz";
  auto* file = ::gzopen(path.c_str(), "wb");
  ASSERT_EQ(::gzwrite(file, text.data(), static_cast<unsigned>(text.size())), static_cast<int>(text.size()));
  ::gzclose(file);
  config::Data c;
  c.kind = "table", c.train = {path};
  auto const s = open(c, two_and_class);
  EXPECT_EQ(s.train->samples(), 5000);
  EXPECT_THAT(sample_of(*s.train, 4999).x, ElementsAre(4999, 4999 * 4999 % 97));
  auto const packed = read_text(path);
  test::write_file(path, packed.substr(0, packed.size() / 2));
  EXPECT_EQ(error(c, two_and_class).code, "data.table.gzip");
  test::write_file(path, packed.substr(0, 30) + std::string(200, 'x'));
  EXPECT_EQ(error(c, two_and_class).code, "data.table.gzip");
}

TEST_F(Tables, with_a_mistake_name_file_line_and_column) {
  struct Row {
    char const *content, *code, *place;
  };
  for (auto const& [content, code, place] : {
           Row{"1,2,0\n3,x4,1\n", "data.table.number", "t.csv:2:3"},
           Row{"a,b,c\n1,2,0\n\n3, ,1\n", "data.table.number", "t.csv:4:4"},
           Row{"1,2,0\n3,nan,1\n", "data.table.number", "t.csv:2:3"},
           Row{"1,2,0\n3,1e999,1\n", "data.table.number", "t.csv:2:3"},
           Row{"1,2,0\n3,4\n", "data.table.columns", "t.csv:2"},
           Row{"1,2,0\n3,4,1,\n", "data.table.columns", "t.csv:2"},
           Row{"1,\"2,0\n", "data.table.quote", "t.csv:1:3"},
           Row{"1,2,0\n1,2,3\n", "data.table.class", "t.csv:2, field 3"},
           Row{"1,2,0.5\n", "data.table.class", "t.csv:1, field 3"},
           Row{"1,2,-1\n", "data.table.class", "t.csv:1, field 3"},
           Row{"a,b,c\n", "data.table.empty", "t.csv"},
           Row{"", "data.table.empty", "t.csv"},
           Row{"1,2,3,0\n", "data.table.features", "t.csv"},
           Row{"1\n", "data.table.features", "t.csv"},
       }) {
    auto const e = error(table(content), two_and_class);
    EXPECT_EQ(e.code, code) << content;
    EXPECT_THAT(e.subject, HasSubstr(place)) << content;
  }
  auto c = table("alpha,beta,y\n1,2,0\n");
  c.label = {"alhpa"};
  EXPECT_THAT(error(c, two_and_class).fix, HasSubstr("alpha"));
  c.label = {"4"};
  EXPECT_EQ(error(c, two_and_class).code, "data.table.column");
  c.label = {"y"}, c.columns = {"alpha", "y"};
  EXPECT_EQ(error(c, two_and_class).code, "data.table.column");
  c.columns = {}, c.label = {"y", "alpha"};
  EXPECT_EQ(error(c, two_and_class).code, "data.table.labels");
  auto two = table("a,b,y\n1,2,0\n");
  two.train.push_back(test::write_file(dir_ / "v.csv", "a,c,y\n1,2,0\n"));
  EXPECT_EQ(error(two, two_and_class).code, "data.table.header");
  EXPECT_EQ(error(two, {.tokens = 4, .vocab = 9}).code, "data.table.model");
}

TEST_F(Tables, are_normalised_by_what_is_trained_on) {
  auto c = table("1,7,0\n3,7,1\n100,9,2\n200,9,2\n");
  c.valid_fraction = 0.5, c.normalise = "standard";
  auto const s = open(c, two_and_class);
  EXPECT_THAT(sample_of(*s.train, 0).x, ElementsAre(-1, 0));
  EXPECT_THAT(sample_of(*s.train, 1).x, ElementsAre(1, 0));
  EXPECT_THAT(sample_of(*s.valid, 0).x, ElementsAre(98, 2)) << "a constant column is only shifted";
  c.valid_fraction = 0, c.valid = {test::write_file(dir_ / "v.csv", "100,9,2\n")};
  c.train = {test::write_file(dir_ / "w.csv", "1,7,0\n3,7,1\n")};
  EXPECT_THAT(sample_of(*open(c, two_and_class).valid, 0).x, ElementsAre(98, 2));
}

config::Data synthetic() {
  config::Data c;
  c.kind = "synthetic", c.samples = 1000;
  return c;
}

TEST(Synthetic, classes_lie_around_centres_and_depend_on_the_seed_alone) {
  Demand const demand{.features = 20, .outputs = 7};
  auto c = synthetic();
  auto const a = open(c, demand), b = open(c, demand);
  EXPECT_EQ(a.train->samples(), 1000);
  EXPECT_FALSE(a.valid);
  std::vector<std::vector<double>> mean(7, std::vector<double>(20));
  std::vector<int> count(7);
  for (std::int64_t i = 0; i < 1000; ++i) {
    auto const s = sample_of(*a.train, i);
    EXPECT_EQ(s.x, sample_of(*b.train, i).x);
    ASSERT_TRUE(s.label >= 0 && s.label < 7);
    auto const l = static_cast<std::size_t>(s.label);
    ++count[l];
    for (std::size_t k = 0; k < 20; ++k) mean[l][k] += static_cast<double>(s.x[k]);
  }
  int right = 0;  // by the nearest mean
  for (std::int64_t i = 0; i < 1000; ++i) {
    auto const s = sample_of(*a.train, i);
    std::size_t best = 0;
    double nearest = 1e9;
    for (std::size_t l = 0; l < 7; ++l) {
      double d = 0;
      for (std::size_t k = 0; k < 20; ++k) d += std::pow(static_cast<double>(s.x[k]) - mean[l][k] / count[l], 2);
      if (d < nearest) nearest = d, best = l;
    }
    right += best == static_cast<std::size_t>(s.label);
  }
  EXPECT_GT(right, 950);
  c.seed = 2;
  EXPECT_NE(sample_of(*open(c, demand).train, 0).x, sample_of(*a.train, 0).x);
}

TEST(Synthetic, values_follow_from_the_inputs) {
  Demand const demand{.features = 5, .outputs = 3, .values = true};
  auto const s = open(synthetic(), demand);
  std::set<float> seen;
  for (std::int64_t i = 0; i < 50; ++i) {
    auto const one = sample_of(*s.train, i);
    for (auto const y : one.values) {
      bool found = false;
      for (auto const p : one.x) {
        for (auto const q : one.x) found = found || y == 0.5f * (p - q);
      }
      EXPECT_TRUE(found);
      seen.insert(y);
    }
    EXPECT_EQ(one.counted, 0);
  }
  EXPECT_GT(seen.size(), 40u);
}

TEST(Synthetic, tokens_mostly_follow_from_the_one_before) {
  auto c = synthetic();
  c.samples = 100, c.valid_fraction = 0.2;
  auto const s = open(c, {.tokens = 16, .vocab = 50});
  EXPECT_EQ(s.train->samples(), 80);
  EXPECT_EQ(s.valid->samples(), 20);
  int follows = 0;
  for (std::int64_t i = 0; i < 80; ++i) {
    std::vector<std::int32_t> in(16), out(16);
    std::vector<void*> const places{in.data(), out.data()};
    s.train->fill(i, places);
    for (std::size_t t = 0; t < 16; ++t) {
      ASSERT_TRUE(out[t] >= 0 && out[t] < 50);
      follows += out[t] == (5 * in[t] + 17) % 50;
      if (t > 0) {
        EXPECT_EQ(in[t], out[t - 1]);
      }
    }
  }
  EXPECT_NEAR(follows / 1280.0, 0.9, 0.05);
}

TEST(Synthetic, that_does_not_fit_the_model_is_refused) {
  Demand const demand{.features = 6, .outputs = 3};
  auto const code = [&](auto const& change) {
    auto c = synthetic();
    change(c);
    return test::error_of([&] { open(c, demand); }).code;
  };
  EXPECT_EQ(code([](auto& c) { c.shape = {2, 4}; }), "data.synthetic.model");
  EXPECT_EQ(code([](auto& c) { c.classes = 4; }), "data.synthetic.model");
  EXPECT_EQ(code([](auto& c) { c.valid = {"x"}; }), "data.synthetic.files");
  EXPECT_EQ(code([](auto& c) { c.samples = 1, c.valid_fraction = 0.5; }), "data.valid.short");
  auto c = synthetic();
  c.shape = {2, 3}, c.classes = 2;
  EXPECT_LT(sample_of(*open(c, demand).train, 5).label, 2);
}

TEST(Feeder, pads_numbers_so_that_nothing_of_a_missing_sample_counts) {
  auto c = synthetic();
  auto const s = open(c, {.features = 3, .outputs = 2, .values = true});
  Feeder feeder(*s.train, Portion::even(3, 2, 0, 1), 2, false, 0);
  ASSERT_EQ(feeder.portion().micro_batches, 2);
  std::vector<float> x(6, 9), y(4, 9);
  std::vector<std::int32_t> counted(2, 9);
  std::vector<void*> const places{x.data(), y.data(), counted.data()};
  feeder.read(1, 1, places);
  EXPECT_THAT(counted, ElementsAre(0, -1));
  EXPECT_EQ(x[3], 0);
  EXPECT_EQ(std::vector<float>(x.begin(), x.begin() + 3), sample_of(*s.train, 2).x);
  std::vector<void*> const only_y{nullptr, y.data(), nullptr};
  feeder.read(2, 0, only_y);
  EXPECT_EQ(std::vector<float>(y.begin(), y.begin() + 2), sample_of(*s.train, 3).values);
}

}  // namespace
}  // namespace lamina::data
