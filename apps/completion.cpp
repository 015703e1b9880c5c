#include <cstdio>

#include "detail/command.hpp"
#include "lamina/base/text.hpp"

namespace lamina::apps {
namespace {

using Words = std::vector<CommandWords>;

std::string bash(Words const& words) {
  std::string top, cases;
  for (auto const& w : words) {
    if (w.command.find(' ') == w.command.npos) top += w.command + " ";
    cases += text("    '", w.command, "') words='", join(w.children, " "), " ", join(w.options, " "), "' ;;\n");
  }
  return text(
      "# bash completion of lamina:  source <(lamina completion bash)\n_lamina() {\n  local "
      "current=${COMP_WORDS[COMP_CWORD]} command='' words=''\n"
      "  local i\n  for ((i = 1; i < COMP_CWORD; i++)); do\n    case ${COMP_WORDS[i]} in\n      -*) break ;;\n"
      "      *) [ $i -le 2 ] && [[ ${COMP_WORDS[i]} != *[./]* ]] && command=\"${command:+$command }${COMP_WORDS[i]}\" "
      ";;\n    esac\n  done\n  case $command in\n    '') words='",
      top, "--help --version' ;;\n", cases,
      "  esac\n  COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
      "  [ ${#COMPREPLY[@]} -gt 0 ] || COMPREPLY=($(compgen -f -- \"$current\"))\n}\ncomplete -o filenames "
      "-F _lamina lamina\n");
}

std::string zsh(Words const& words) {
  return "#compdef lamina\n# zsh completion of lamina:  source <(lamina completion zsh)\nautoload -U +X bashcompinit "
         "&& bashcompinit\n" +
         bash(words);
}

std::string fish(Words const& words) {
  std::string out = "# fish completion of lamina:  lamina completion fish | source\n";
  auto const quote = [](std::string s) {
    for (std::size_t at = 0; (at = s.find('\'', at)) != s.npos; at += 2) s.insert(at, "\\");
    return "'" + s + "'";
  };
  for (auto const& w : words) {
    auto const pieces = split(w.command, ' ');
    auto const condition =
        pieces.size() == 1 ? std::string("__fish_use_subcommand") : text("__fish_seen_subcommand_from ", pieces[0]);
    out += text("complete -c lamina -n '", condition, "' -a ", pieces.back(), " -d ", quote(w.help), "\n");
    for (auto const& o : w.options) {
      out += text("complete -c lamina -n '__fish_seen_subcommand_from ", pieces.back(), "' -l ", o.substr(2), "\n");
    }
  }
  return out;
}

}  // namespace

/// lamina completion bash|zsh|fish: generated from the commands themselves.
void add_completion(Command const& app, Program& program) {
  auto shell = std::make_shared<std::string>();
  auto const command = app.add_subcommand("completion", "Print the completion script of a shell");
  command.add_option("SHELL", *shell, "bash, zsh or fish").required().check(one_of({"bash", "zsh", "fish"}));
  command.footer("Example:  source <(lamina completion bash)");
  command.callback([shell, app, &program] {
    program.action = [shell, app] {
      auto const words = app.words();
      std::fputs((*shell == "bash" ? bash(words) : *shell == "zsh" ? zsh(words) : fish(words)).c_str(), stdout);
      return ExitCode::ok;
    };
  });
}

}  // namespace lamina::apps
