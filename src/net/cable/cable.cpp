#include "net/cable/cable.h"

#include <deque>
#include <vector>

#include "vocab/guarded.h"

namespace vireo::net {
namespace {

constexpr std::size_t most_held{256};

/// Where the frames for one end wait. `receiver` is shared so that it can be called without the lock: it may
/// send.
struct End {
  std::shared_ptr<Port::Receiver> receiver;
  std::deque<std::vector<std::byte>> held;
};
using GuardedEnd = Guarded<End, LockRank::net>;

bool offer(GuardedEnd& end, ConstBytes frame) {
  auto const receiver = end.with([](End& e) { return e.receiver; });
  return receiver != nullptr && (*receiver)(frame);
}

class CableEnd final : public Port {
 public:
  CableEnd(std::shared_ptr<GuardedEnd> here, std::shared_ptr<GuardedEnd> there)
      : here_{std::move(here)}, there_{std::move(there)} {}
  ~CableEnd() override { set_receiver(nullptr); }

  void send(ConstBytes frame) override {
    if (frame.size() < 14 || frame.size() > 65550) return;
    auto const waits = there_->with([](End& end) { return !end.held.empty(); });
    if (!waits && offer(*there_, frame)) return;
    there_->with([&](End& end) {
      if (end.receiver != nullptr && end.held.size() < most_held)
        end.held.emplace_back(frame.begin(), frame.end());
    });
  }
  void set_receiver(Receiver receiver) override {
    auto shared = receiver ? std::make_shared<Receiver>(std::move(receiver)) : nullptr;
    here_->with([&](End& end) {
      end.receiver = std::move(shared);
      end.held.clear();
    });
  }
  void resume() override {
    for (;;) {
      auto held = here_->with([](End& end) { return std::exchange(end.held, {}); });
      if (held.empty()) return;
      while (!held.empty() && offer(*here_, held.front())) held.pop_front();
      if (held.empty()) continue;
      here_->with([&](End& end) { end.held.insert(end.held.begin(), held.begin(), held.end()); });
      return;
    }
  }

 private:
  std::shared_ptr<GuardedEnd> here_;
  std::shared_ptr<GuardedEnd> there_;
};

}  // namespace

std::pair<std::unique_ptr<Port>, std::unique_ptr<Port>> make_cable() {
  auto const left = std::make_shared<GuardedEnd>();
  auto const right = std::make_shared<GuardedEnd>();
  return {std::make_unique<CableEnd>(left, right), std::make_unique<CableEnd>(right, left)};
}

}  // namespace vireo::net
