#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "detail/command.hpp"
#include "lamina/base/text.hpp"
#include "lamina/data/pack.hpp"
#include "lamina/data/token_file.hpp"

namespace lamina::apps {
namespace {

ExitCode pack_files(data::PackOptions const& options, bool json) {
  auto const report = data::pack(options);
  if (json) {
    nlohmann::ordered_json const result{
        {"shards", report.shards}, {"tokens", report.tokens}, {"documents", report.documents}, {"vocab", report.vocab}};
    std::printf("%s\n", result.dump(2).c_str());
  } else {
    std::printf("%lld tokens of %lld documents, vocabulary %lld, in %s\n", static_cast<long long>(report.tokens),
                static_cast<long long>(report.documents), static_cast<long long>(report.vocab),
                join(report.shards).c_str());
  }
  return ExitCode::ok;
}

ExitCode inspect_files(std::vector<std::string> const& files, bool json) {
  auto all = nlohmann::ordered_json::array();
  for (auto const& path : files) {
    auto const file = data::open_tokens(path);
    auto const d = data::describe(*file);
    if (json) {
      all.push_back({{"path", d.path},
                     {"format", d.format},
                     {"dtype", d.dtype},
                     {"bytes", d.bytes},
                     {"tokens", d.tokens},
                     {"documents", d.documents},
                     {"largest_token", d.largest},
                     {"distinct_tokens", d.distinct},
                     {"unigram_entropy_nats", d.entropy_nats}});
      continue;
    }
    std::printf(
        "%s\n  format %s, %s, %lld bytes, %lld tokens%s\n  largest token %lld (model.vocab at least %lld), %lld "
        "distinct, unigram entropy %.3f nats\n",
        d.path.c_str(), d.format.c_str(), d.dtype.c_str(), static_cast<long long>(d.bytes),
        static_cast<long long>(d.tokens), d.documents >= 0 ? text(", ", d.documents, " documents").c_str() : "",
        static_cast<long long>(d.largest), static_cast<long long>(d.largest + 1), static_cast<long long>(d.distinct),
        d.entropy_nats);
  }
  if (json) std::printf("%s\n", all.dump(2).c_str());
  return ExitCode::ok;
}

}  // namespace

/// lamina data pack|inspect: token shards from text, and what a shard holds. No MPI.
void add_data(Command const& app, Program& program) {
  auto const command = app.add_subcommand("data", "Make and inspect token shards");
  command.require_subcommand();
  auto o = std::make_shared<data::PackOptions>();
  auto json = std::make_shared<bool>(false);
  auto const pack = command.add_subcommand("pack", "Text files to token shards");
  pack.add_option("FILES", o->files, "Text files; each is a document").required();
  pack.add_option("-o,--output", o->output, "Shard to write (.bin); several get numbers").required();
  pack.add_option("--format", o->format, "nanogpt, llm.c or megatron").capture_default_str();
  pack.add_option("--tokenizer", o->tokenizer, "bytes, or a tokenizer.json of GPT-2's kind").capture_default_str();
  pack.add_option("--shard-tokens", o->shard_tokens, "Tokens per shard").capture_default_str();
  pack.add_flag("!--no-end-of-text", o->end_of_text, "Do not end documents with the tokenizer's end-of-text token");
  pack.add_flag("--json", *json, "Print one JSON document");
  pack.footer("Example:  lamina data pack docs/*.txt -o data/train.bin --tokenizer tokenizer.json");
  pack.callback([o, json, &program] { program.action = [o, json] { return pack_files(*o, *json); }; });

  auto files = std::make_shared<std::vector<std::string>>();
  auto const inspect = command.add_subcommand("inspect", "Describe token files: format, size, largest token");
  inspect.add_option("FILES", *files, "Token files").required();
  inspect.add_flag("--json", *json, "Print one JSON document");
  inspect.footer("Example:  lamina data inspect data/train.bin");
  inspect.callback(
      [files, json, &program] { program.action = [files, json] { return inspect_files(*files, *json); }; });
}

}  // namespace lamina::apps
