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

/// The translator with one vCPU's part of what an engine puts around it.
template <bool verifies>
class TranslatingExecutor final : public Executor, private PageListener {
 public:
  ~TranslatingExecutor() override {
    if (cpu_ != nullptr) cpu_->follow_code(nullptr, nullptr);
  }
  RunExit run(Cpu& cpu, u32 max_blocks) override {
    if (!translator_) {
      cpu_ = &cpu;
      pages_ = std::make_unique<CodePages>(cpu.machine().memory(), rendezvous_);
      translator_ = std::move(translate::Translator::create(cpu, cache_bytes).value());
      cpu.follow_code(pages_.get(), &member_);
      if (verifies) translator_->verify();
    }
    member_.enter_code();
    auto const exit = translator_->run(cpu, max_blocks);
    member_.leave_code();
    return exit;
  }
  void forget_all() override {
    if (translator_) translator_->forget_all();
  }

 private:
  void drop_code(std::byte* page) override { translator_->drop_code(page); }
  void drop_write_tags(std::byte* page) override { cpu_->mmu.drop_write_tags(page); }
  void forget_mappings() override {}
  void wanted() override { cpu_->request_attention(attention_code); }

  static constexpr u32 cache_bytes{16 << 20};
  Cpu* cpu_{};
  Rendezvous rendezvous_;
  Rendezvous::Member member_{rendezvous_, *this};
  std::unique_ptr<CodePages> pages_;
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
       .make = []() -> std::unique_ptr<Executor> { return std::make_unique<TranslatingExecutor<false>>(); },
       .stale_dead_flags = true,
       .awaited = {}}};
  return all;
}

/// Beside them, for the guests of guest/asm: compares itself with the interpreter on the way.
inline Tier verifying_tier() {
  auto tier = tiers().back();
  tier.name = "verifier";
  tier.make = []() -> std::unique_ptr<Executor> { return std::make_unique<TranslatingExecutor<true>>(); };
  return tier;
}

}  // namespace vireo::engine::soft
