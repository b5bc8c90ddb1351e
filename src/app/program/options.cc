// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/program/options.h"

#include <getopt.h>
#include <sysexits.h>

#include <cstdio>
#include <cstdlib>

#include "cloudbus/app/config/values.h"
#include "cloudbus/app/config/version.h"

#ifndef SYSCONFDIR
#define SYSCONFDIR "/etc"
#endif

namespace cloudbus {
namespace {

OptionsResult show_version(Role role) {
  std::printf("%s (cloudbus) %s\n", std::string(name_of(role)).c_str(), version());
  return {std::nullopt, EXIT_SUCCESS};
}

OptionsResult show_help(Role role) {
  std::string name(name_of(role));
  std::printf(
      "usage: %s [-f FILE] [-t] [-T] [-l LEVEL] [-p PIDFILE] [-v] [-V] [-h]\n"
      "\n"
      "  -f, --file FILE         the configuration (%s)\n"
      "  -t, --check             check the configuration and exit\n"
      "  -T, --print             print the effective configuration and exit\n"
      "  -l, --log-level LEVEL   what to log: trace, debug, info, warning, error or off\n"
      "  -p, --pid-file PIDFILE  write the process id to this file\n"
      "  -v, --verbose           the same as -l debug\n"
      "  -V, --version           print the version and exit\n"
      "  -h, --help              print this help and exit\n"
      "\n"
      "The manual: %s(8), and cloudbus.ini(5) for the configuration.\n",
      name.c_str(), default_file(role).c_str(), name.c_str());
  return {std::nullopt, EXIT_SUCCESS};
}

OptionsResult refuse(Role role, const std::string& error) {
  std::string name(name_of(role));
  std::fprintf(stderr, "%s: %s; %s --help lists what is allowed\n", name.c_str(), error.c_str(), name.c_str());
  return {std::nullopt, EX_CONFIG};
}

constexpr option kLongOptions[] = {{"file", required_argument, nullptr, 'f'},
                                   {"check", no_argument, nullptr, 't'},
                                   {"print", no_argument, nullptr, 'T'},
                                   {"log-level", required_argument, nullptr, 'l'},
                                   {"pid-file", required_argument, nullptr, 'p'},
                                   {"verbose", no_argument, nullptr, 'v'},
                                   {"version", no_argument, nullptr, 'V'},
                                   {"help", no_argument, nullptr, 'h'},
                                   {nullptr, 0, nullptr, 0}};

// What getopt_long() refused: a letter, perhaps among others behind one -, or the whole word.
std::string refused_flag(std::string_view word) {
  return quoted(word.starts_with("--") || optopt == 0 ? std::string(word)
                                                      : std::string("-") + static_cast<char>(optopt));
}

std::string flag_error(std::string_view word) {
  bool has_useless_value = word.starts_with("--") && optopt != 0;
  std::string flag = refused_flag(word);
  return has_useless_value ? "the flag " + flag + " takes no value" : "there is no flag " + flag;
}

std::string level_error(const char* text) {
  std::string_view meant = meant_log_level(text);
  return "there is no log level " + quoted(text) +
         (meant.empty() ? "" : ", perhaps " + std::string(meant) + " is meant");
}

}  // namespace

std::string default_file(Role role) { return SYSCONFDIR "/cloudbus/" + std::string(name_of(role)) + ".ini"; }

OptionsResult parse_options(Role role, int argc, char** argv) {
  Options options;
  options.file = default_file(role);
  optind = 0;  // glibc: from the beginning, also in a second call
  for (int at = 1, letter; (letter = getopt_long(argc, argv, "+:f:tTl:p:vVh", kLongOptions, nullptr)) != -1;
       at = optind) {
    switch (letter) {
      case 'f': options.file = optarg; break;
      case 't': options.check = true; break;
      case 'T': options.print = true; break;
      case 'l':
        options.log_level = parse_log_level(optarg);
        if (!options.log_level) return refuse(role, level_error(optarg));
        break;
      case 'p': options.pid_file = optarg; break;
      case 'v': options.log_level = LogLevel::Debug; break;
      case 'V': return show_version(role);
      case 'h': return show_help(role);
      case ':': return refuse(role, "the flag " + refused_flag(argv[at]) + " needs a value");
      default: return refuse(role, flag_error(argv[at]));
    }
  }
  if (optind < argc) return refuse(role, quoted(argv[optind]) + " is not a flag");
  return {options, EXIT_SUCCESS};
}

}  // namespace cloudbus
