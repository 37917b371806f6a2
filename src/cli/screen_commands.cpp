#include <fmt/format.h>

#include "cli/image_tool.h"
#include "cli/machine_commands.h"
#include "cli/options.h"
#include "host/file.h"
#include "machine/control/control_client.h"
#include "vocab/base64.h"

namespace vireo::cli {
namespace {

using machine::ControlClient;
using namespace machine::control;

Result<> show_screen(Arguments arguments) {
  auto words = Words{};
  auto text = false;
  auto const command = Command{.usage = "vireo screen VM --text",
                               .summary = "Prints what a machine's screen shows.",
                               .options = {{"--text", "", "its characters, in a text mode", into(text)}},
                               .positional = into(words)};
  if (TRY(parse(command, arguments)) == Parsed::help_shown) return {};
  if (words.size() != 1) return fail(Errc::invalid, "screen takes one machine; 'vireo ps' lists them");
  if (!text) return fail(Errc::invalid, "screen: say --text, or take a picture with vireo screenshot");
  auto client = TRY(ControlClient::connect(words[0]));
  auto const screen = TRY_IN(words[0], client.call<ScreenText>("screen-text", Nothing{}));
  fmt::print("{}", screen.text);
  return {};
}

Result<> take_screenshot(Arguments arguments) {
  auto words = Words{};
  auto const command = Command{.usage = "vireo screenshot VM OUT.png",
                               .summary = "Writes a picture of what a machine's screen shows.",
                               .options = {},
                               .positional = into(words)};
  if (TRY(parse(command, arguments)) == Parsed::help_shown) return {};
  if (words.size() != 2) return fail(Errc::invalid, "screenshot takes a machine and a file, as 'vm out.png'");
  auto client = TRY(ControlClient::connect(words[0]));
  auto const shot = TRY_IN(words[0], client.call<Screenshot>("screenshot", Nothing{}));
  auto const png = TRY_IN(words[0], from_base64(shot.png));
  return host::write_text(words[1], std::string{png.begin(), png.end()});
}

/// "ctrl-alt-delete": names with '-' between them; a '-' that ends the text is the key itself.
std::vector<std::string> split_keys(std::string_view text) {
  static constexpr auto with_dash =
      std::to_array<std::string_view>({"page-up", "page-down", "caps-lock", "num-lock", "scroll-lock",
                                       "right-shift", "right-ctrl", "right-alt"});
  auto keys = std::vector<std::string>{};
  while (!text.empty()) {
    auto length = text.find('-', 1);
    for (auto const& name : with_dash) {
      if (text.starts_with(name)) length = name.size();
    }
    keys.emplace_back(text.substr(0, length));
    text.remove_prefix(std::min(text.size(), length == std::string_view::npos ? length : length + 1));
  }
  return keys;
}

Result<> press_keys(Arguments arguments) {
  auto words = Words{};
  auto const command = Command{.usage = "vireo key VM KEY[-KEY]...",
                               .summary = "Presses keys together and lets them go, as in ctrl-alt-delete.",
                               .options = {},
                               .positional = into(words)};
  if (TRY(parse(command, arguments)) == Parsed::help_shown) return {};
  if (words.size() < 2) return fail(Errc::invalid, "key takes a machine and keys, as 'vm ctrl-alt-delete'");
  auto client = TRY(ControlClient::connect(words[0]));
  for (auto i = std::size_t{1}; i < words.size(); ++i) {
    TRY_IN(words[0], client.call<Nothing>("key", Keys{split_keys(words[i])}));
  }
  return {};
}

Result<> type_text(Arguments arguments) {
  auto words = Words{};
  auto enter = false;
  auto const command = Command{.usage = "vireo type VM TEXT",
                               .summary = "Types a text on a machine's keyboard, which has a US layout.",
                               .options = {{"--enter", "", "and press Enter", into(enter)}},
                               .positional = into(words)};
  if (TRY(parse(command, arguments)) == Parsed::help_shown) return {};
  if (words.size() != 2) return fail(Errc::invalid, "type takes a machine and a text");
  auto client = TRY(ControlClient::connect(words[0]));
  TRY_IN(words[0], client.call<Nothing>("type", Typing{words[1] + (enter ? "\n" : "")}));
  return {};
}

}  // namespace

int screen_command(Arguments arguments) { return machine_status(show_screen(arguments)); }
int screenshot_command(Arguments arguments) { return machine_status(take_screenshot(arguments)); }
int key_command(Arguments arguments) { return machine_status(press_keys(arguments)); }
int type_command(Arguments arguments) { return machine_status(type_text(arguments)); }

}  // namespace vireo::cli
