// SPDX-License-Identifier: Apache-2.0
#pragma once

// A socket that accepts, at one configured address.

#include <functional>
#include <string>
#include <variant>

#include "cloudbus/net/address.h"
#include "cloudbus/net/loop.h"
#include "cloudbus/net/socket_file.h"

namespace cloudbus {

// A descriptor that came from elsewhere is one to accept from.
bool is_listening_stream(int fd);

// A socket that listens, and its file if it has one. The destructor removes the file.
class ListeningSocket {
 public:
  // Binds and listens, or says why that failed. A stale Unix socket file is replaced; a live one, or a file that is no
  // socket, is an error. `access` is of a socket file. An address may be bound that the host does not have yet.
  static std::variant<ListeningSocket, std::string> open(const Endpoint& endpoint, const SocketAccess& access);

  // A copy of a socket that another process opened and passed. Its file, if it has one, is that process's.
  static std::variant<ListeningSocket, std::string> adopt(int passed);

  ListeningSocket(ListeningSocket&& other) noexcept;
  ListeningSocket& operator=(ListeningSocket&&) = delete;
  ~ListeningSocket();

  // Of a socket file; another socket has none. Returns what is wrong, or nothing.
  std::string set_access(const SocketAccess& access) const;

  int fd() const { return fd_; }
  const Endpoint& endpoint() const { return endpoint_; }  // with the port that the kernel chose
  bool is_absent() const { return is_absent_; }           // the host did not have the address

 private:
  ListeningSocket(int fd, const Endpoint& endpoint) : fd_(fd), endpoint_(endpoint) {}
  void note_file();

  int fd_;
  Endpoint endpoint_;
  bool is_absent_ = false;
  dev_t device_ = 0;  // of the socket file, so that only our own is removed
  ino_t inode_ = 0;
};

class Listener {
 public:
  // `on_accept` takes over a non-blocking descriptor. `on_pause` gets the error that stopped accepting for a moment:
  // out of descriptors or memory.
  using OnAccept = std::function<void(int fd, const Address& peer)>;
  using OnPause = std::function<void(int error)>;
  // Asked before each accept. While it says no, those who connect wait: on_pause() gets 0.
  using MayAccept = std::function<bool()>;

  Listener(Loop& loop, ListeningSocket socket, OnAccept on_accept, OnPause on_pause, MayAccept may_accept);
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  const Endpoint& endpoint() const { return socket_.endpoint(); }
  std::string set_access(const SocketAccess& access) const { return socket_.set_access(access); }
  // Everybody who is connected already, before this is closed; those who are still waiting then would be reset.
  void accept_all();

 private:
  static void on_event(int fd, short what, void* listener) noexcept;
  static void on_resume(int fd, short what, void* listener) noexcept;
  void resume();
  bool accept_some();
  void pause(int error);

  Loop& loop_;
  ListeningSocket socket_;
  OnAccept on_accept_;
  OnPause on_pause_;
  MayAccept may_accept_;
  Watch readable_, resume_;
};

}  // namespace cloudbus
