#pragma once

#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "engine/soft/interp/run_loop.h"
#include "engine/soft/translate/translator.h"

namespace vireo::engine::soft {

/// What executes guest code, for tests that hold every tier to the same.
class Executor {
 public:
  virtual ~Executor() = default;
  virtual RunExit run(Cpu& cpu, u32 max_blocks) = 0;
  virtual void forget_all() = 0;
};

template <typename Tier>
class ExecutorOf final : public Executor {
 public:
  RunExit run(Cpu& cpu, u32 max_blocks) override { return tier_.run(cpu, max_blocks); }
  void forget_all() override { tier_.forget_all(); }

 private:
  Tier tier_;
};

template <typename Tier>
std::unique_ptr<Executor> make_executor() {
  return std::make_unique<ExecutorOf<Tier>>();
}

class TranslatingExecutor final : public Executor {
 public:
  RunExit run(Cpu& cpu, u32 max_blocks) override {
    if (!translator_) translator_ = std::move(translate::Translator::create(cpu, cache_bytes).value());
    return translator_->run(cpu, max_blocks);
  }
  void forget_all() override {
    if (translator_) translator_->forget_all();
  }

 private:
  static constexpr u32 cache_bytes{16 << 20};
  std::unique_ptr<translate::Translator> translator_;
};

struct Tier {
  std::string name;
  std::unique_ptr<Executor> (*make)();
  /// Of the flags that a fault saves, those that the program overwrites before it reads them may be stale.
  bool stale_dead_flags{};
  std::vector<std::string> awaited{};  // guests of guest/asm that it does not pass yet
};

inline void PrintTo(Tier const& tier, std::ostream* out) { *out << tier.name; }

/// All that must pass the differential tests and the guests of guest/asm. A tier joins by a line here.
inline std::vector<Tier> const& tiers() {
  static auto const all = std::vector<Tier>{
      {.name = "interpreter", .make = make_executor<Interpreter>},
      {.name = "translator",
       .make = []() -> std::unique_ptr<Executor> { return std::make_unique<TranslatingExecutor>(); },
       .stale_dead_flags = true,
       .awaited = {"smc_alias", "smc_jit", "smc_patch_64", "smc_stores"}}};
  return all;
}

}  // namespace vireo::engine::soft
