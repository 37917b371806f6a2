#include <chrono>
#include <thread>

#include "display/keys.h"
#include "display/png.h"
#include "machine/control/machine_verbs.h"
#include "machine/machine.h"
#include "vocab/base64.h"

namespace vireo::machine {
namespace {

using namespace control;

constexpr std::size_t longest_text{4096};
constexpr auto between_tries = std::chrono::milliseconds{5};
constexpr auto patience_tries = 1000;

Result<display::Screen*> screen_of(Machine& machine) {
  auto* const screen = machine.screen();
  if (screen != nullptr) return screen;
  return fail(Errc::not_found, "the machine has no screen; --vga std gives it one");
}

Result<Screenshot> take_picture(Machine& machine) {
  auto const* const screen = TRY(screen_of(machine));
  auto const picture = machine.with_executor([&] { return screen->picture(); });
  auto const png = TRY(display::to_png(picture));
  return Screenshot{.width = picture.width, .height = picture.height, .png = to_base64(png)};
}

Result<ScreenText> screen_text(Machine& machine) {
  auto const* const screen = TRY(screen_of(machine));
  auto const text = machine.with_executor([&] { return screen->text(); });
  if (!text) return fail(Errc::unsupported, "the screen shows a picture, not text");
  return ScreenText{.columns = text->columns, .rows = text->rows, .text = text->to_text()};
}

/// The keyboard's buffer holds a few keys; the guest takes them at its own speed.
Result<Nothing> send(Machine& machine, std::vector<display::ScanCodes> const& all) {
  for (auto const& codes : all) {
    auto tries = 0;
    while (!machine.with_executor([&] { return machine.type(codes); })) {
      if (++tries > patience_tries) return fail(Errc::busy, "the guest takes no keys");
      std::this_thread::sleep_for(between_tries);
    }
  }
  return Nothing{};
}

}  // namespace

void add_screen_verbs(VerbTable& verbs, Machine& machine) {
  verbs.add<Nothing>("screen-text", "the screen's characters, in a text mode",
                     [&](Nothing const&) { return screen_text(machine); });
  verbs.add<Nothing>("screenshot", "a picture of the screen, as PNG in base64",
                     [&](Nothing const&) { return take_picture(machine); });
  verbs.add<Keys>(
      "key", "press keys together, as [\"ctrl\",\"alt\",\"delete\"]",
      [&](Keys const& wish) -> Result<Nothing> { return send(machine, {TRY(display::press(wish.keys))}); });
  verbs.add<Typing>("type", "type text on a US keyboard", [&](Typing const& wish) -> Result<Nothing> {
    if (wish.text.size() > longest_text)
      return fail(Errc::invalid, fmt::format("text: at most {} bytes", longest_text));
    auto const codes = TRY(display::type(wish.text));
    return send(machine, codes);
  });
}

}  // namespace vireo::machine
