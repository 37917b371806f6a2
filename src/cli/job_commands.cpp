#include "cli/job_commands.h"

#include <fmt/format.h>

#include <array>

#include "cli/follow_job.h"
#include "cli/machine_commands.h"
#include "machine/control/job_protocol.h"
#include "vocab/units.h"

namespace vireo::cli {
namespace {

using machine::ControlClient;
using namespace machine::control;

constexpr u32 cancel_seconds{600};  // a target may be far away

std::string share(Job const& job) {
  return job.total == 0 ? "-" : fmt::format("{} %", job.done * 100 / job.total);
}

void print_job(Job const& job) {
  fmt::print("job:    {}\nkind:   {}\ndisk:   {}\nstate:  {}\ndone:   {} of {} bytes\n", job.job, job.kind,
             job.disk, job.state, job.done, job.total);
  if (!job.target.empty()) fmt::print("target: {}\n", job.target);
  if (job.rate != 0) fmt::print("rate:   {}/s\n", format_size(job.rate));
  if (!job.note.empty()) fmt::print("note:   {}\n", job.note);
  if (!job.error.empty()) fmt::print("error:  {}\n", job.error);
}

Result<> list(Arguments arguments) {
  auto words = Words{};
  auto format = std::string{"table"};
  auto const command = Command{.usage = "vireo job list VM [--format table|json]",
                               .summary = "Lists the jobs on a machine's disks.",
                               .options = {{"--format", "table|json", "how to print (table)", into(format)}},
                               .positional = into(words)};
  if (TRY(parse(command, arguments)) == Parsed::help_shown) return {};
  if (words.size() != 1) return fail(Errc::invalid, "job list takes one machine; 'vireo ps' lists them");
  if (format != "table" && format != "json")
    return fail(Errc::invalid, fmt::format("--format {}: table or json", format));
  auto client = TRY(ControlClient::connect(words[0]));
  auto const all = TRY_IN(words[0], client.call<Jobs>("jobs", Nothing{}));
  if (format == "json") {
    fmt::print("{}\n", boost::json::serialize(machine::to_json(all.jobs)));
    return {};
  }
  fmt::print("{:<12} {:<8} {:<10} {:>6}  {}\n", "JOB", "DISK", "STATE", "DONE", "TARGET");
  for (auto const& job : all.jobs) {
    fmt::print("{:<12} {:<8} {:<10} {:>6}  {}\n", job.job, job.disk, job.state, share(job), job.target);
  }
  return {};
}

/// Verbs that take a machine and a job.
struct OneJobVerb {
  std::string_view name, summary, call;
};

Result<> one_job(OneJobVerb const& verb, Arguments arguments) {
  auto words = Words{};
  auto wait = false;
  auto const usage = fmt::format("vireo job {} VM JOB", verb.name);
  auto command = Command{.usage = usage, .summary = verb.summary, .options = {}, .positional = into(words)};
  if (verb.name == "complete") {
    command.options.push_back({"--wait", "", "until the disk goes on there", into(wait)});
  }
  if (TRY(parse(command, arguments)) == Parsed::help_shown) return {};
  if (words.size() != 2) return fail(Errc::invalid, fmt::format("job {} takes a machine and a job", verb.name));
  auto client = TRY(ControlClient::connect(words[0]));
  if (verb.name == "show") {
    print_job(TRY_IN(words[0], client.call<Job>(verb.call, JobWait{.job = words[1]})));
    return {};
  }
  if (verb.name == "wait" || wait) return follow_job(client, words[1], wait);
  TRY_IN(words[0], client.call<Nothing>(verb.call, OneJob{words[1]}));
  if (verb.name != "cancel") return {};
  auto const now = TRY(client.call<Job>("job-wait", JobWait{.job = words[1], .wait_seconds = cancel_seconds}));
  fmt::print("{} is {}{}\n", now.job, now.state, now.note.empty() ? "" : ": " + now.note);
  return {};
}

Result<> rate(Arguments arguments) {
  auto words = Words{};
  auto const command =
      Command{.usage = "vireo job rate VM JOB SIZE",
              .summary = "Changes how many bytes a second a job may copy; 0: as many as it can.",
              .options = {},
              .positional = into(words)};
  if (TRY(parse(command, arguments)) == Parsed::help_shown) return {};
  if (words.size() != 3) return fail(Errc::invalid, "job rate takes a machine, a job and bytes a second");
  auto const bytes = TRY(parse_size(words[2]));
  auto client = TRY(ControlClient::connect(words[0]));
  TRY_IN(words[0], client.call<Nothing>("job-rate", JobRate{words[1], bytes}));
  return {};
}

constexpr std::array plain_verbs{
    OneJobVerb{"show", "Prints how a job stands.", "job-wait"},
    OneJobVerb{"wait", "Shows how far a job is, until it has ended or is ready.", "job-wait"},
    OneJobVerb{"cancel", "Ends a job; a mirror that is ready leaves its copy.", "job-cancel"},
    OneJobVerb{"complete", "Lets the disk go on where a job that is ready has brought it.", "job-complete"},
    OneJobVerb{"resume", "Lets a paused job go on.", "job-resume"},
    OneJobVerb{"forget", "Takes a job that has ended off the list.", "job-forget"},
};

}  // namespace

int job_command(Arguments arguments) {
  auto const wanted = arguments.empty() ? std::string_view{"--help"} : std::string_view{arguments[0]};
  if (wanted == "list") return machine_status(list(arguments.subspan(1)));
  if (wanted == "rate") return machine_status(rate(arguments.subspan(1)));
  for (auto const& verb : plain_verbs) {
    if (verb.name == wanted) return machine_status(one_job(verb, arguments.subspan(1)));
  }
  if (wanted == "--help" || wanted == "-h") {
    fmt::print(
        "usage: vireo job VERB VM [JOB]\nJobs on the disks of machines that run; 'vireo disk' starts "
        "them.\n\n");
    fmt::print("  {:<10} {}\n  {:<10} {}\n", "list", "Lists the jobs on a machine's disks.", "rate",
               "Changes how many bytes a second a job may copy.");
    for (auto const& verb : plain_verbs) fmt::print("  {:<10} {}\n", verb.name, verb.summary);
    return arguments.empty() ? exit_bad_configuration : 0;
  }
  return report(
      Error{Errc::invalid, fmt::format("job: unknown verb '{}'; 'vireo job --help' lists them", wanted)});
}

}  // namespace vireo::cli
