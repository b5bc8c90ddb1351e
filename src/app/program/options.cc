// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/program/options.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "cloudbus/app/config/values.h"
#include "cloudbus/app/config/version.h"

#ifndef SYSCONFDIR
#define SYSCONFDIR "/etc"
#endif

namespace cloudbus {
namespace {

std::string default_file(Role role) { return SYSCONFDIR "/cloudbus/" + std::string(name_of(role)) + ".ini"; }

OptionsResult show_version(Role role) {
  std::printf("%s (cloudbus) %s\n", std::string(name_of(role)).c_str(), version());
  return {std::nullopt, EXIT_SUCCESS};
}

OptionsResult show_help(Role role) {
  std::string name(name_of(role));
  std::printf(
      "usage: %s [-f FILE] [-t] [-T] [-l LEVEL] [-p PIDFILE] [-v] [-V] [-h]\n"
      "\n"
      "  -f FILE     the configuration (%s)\n"
      "  -t          check the configuration and exit\n"
      "  -T          print the effective configuration and exit\n"
      "  -l LEVEL    what to log: trace, debug, info, warning, error or off\n"
      "  -p PIDFILE  write the process id to this file\n"
      "  -v          the same as -l debug\n"
      "  -V          print the version and exit\n"
      "  -h          print this help and exit\n"
      "\n"
      "The manual: %s(8), and cloudbus.ini(5) for the configuration.\n",
      name.c_str(), default_file(role).c_str(), name.c_str());
  return {std::nullopt, EXIT_SUCCESS};
}

OptionsResult refuse(Role role, const std::string& error) {
  std::string name(name_of(role));
  std::fprintf(stderr, "%s: %s; %s -h lists what is allowed\n", name.c_str(), error.c_str(), name.c_str());
  return {std::nullopt, EXIT_FAILURE};
}

std::string flag(int letter) { return quoted(std::string("-") + static_cast<char>(letter)); }

}  // namespace

OptionsResult parse_options(Role role, int argc, char** argv) {
  Options options;
  options.file = default_file(role);
  optind = 0;  // glibc: from the beginning, also in a second call
  for (int letter; (letter = getopt(argc, argv, "+:f:tTl:p:vVh")) != -1;) {
    switch (letter) {
      case 'f': options.file = optarg; break;
      case 't': options.check = true; break;
      case 'T': options.print = true; break;
      case 'l':
        options.log_level = parse_log_level(optarg);
        if (!options.log_level) return refuse(role, "there is no log level " + quoted(optarg));
        break;
      case 'p': options.pid_file = optarg; break;
      case 'v': options.log_level = LogLevel::Debug; break;
      case 'V': return show_version(role);
      case 'h': return show_help(role);
      case ':': return refuse(role, "the flag " + flag(optopt) + " needs a value");
      default: return refuse(role, "there is no flag " + flag(optopt));
    }
  }
  if (optind < argc) return refuse(role, quoted(argv[optind]) + " is not a flag");
  return {options, EXIT_SUCCESS};
}

}  // namespace cloudbus
