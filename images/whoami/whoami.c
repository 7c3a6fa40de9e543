// A small server that says who answers: over HTTP and UDP on $PORT (default 80). One file, no threads, no dependencies.
//   GET /        Hostname, IP, RemoteAddr, Version ($VERSION), Requests
//   GET /health  200, or 503 after /fail until /ok        GET /exit  ends the program with status 1
//   whoami -get PORT PATH   asks 127.0.0.1:PORT; status 0 when the answer is 200 (a health check for images without a shell)
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_CLIENTS = 512, MAX_REQUEST = 4096, IDLE_SECONDS = 10 };

struct client {
  int length;
  time_t since;
  struct sockaddr_in from;
  char request[MAX_REQUEST];
};

static struct pollfd polled[MAX_CLIENTS + 2]; // 0 listens, 1 is UDP, then the clients
static struct client clients[MAX_CLIENTS + 2];
static int used = 2;
static int healthy = 1;
static unsigned long requests = 0;

static void stop(int signal) {
  (void)signal;
  _exit(0);
}

static int describe(char *out, size_t size, const struct sockaddr_in *from) {
  char host[256] = "", address[INET_ADDRSTRLEN];
  const char *version = getenv("VERSION");
  int n;
  gethostname(host, sizeof host - 1);
  n = snprintf(out, size, "Hostname: %s\n", host);
  struct ifaddrs *all, *one;
  if (getifaddrs(&all) == 0) {
    for (one = all; one; one = one->ifa_next) {
      if (!one->ifa_addr || one->ifa_addr->sa_family != AF_INET) continue;
      inet_ntop(AF_INET, &((struct sockaddr_in *)one->ifa_addr)->sin_addr, address, sizeof address);
      if (strcmp(address, "127.0.0.1") != 0 && n < (int)size - 64) n += snprintf(out + n, size - n, "IP: %s\n", address);
    }
    freeifaddrs(all);
  }
  inet_ntop(AF_INET, &from->sin_addr, address, sizeof address);
  n += snprintf(out + n, size - n, "RemoteAddr: %s:%d\nVersion: %s\nRequests: %lu\n", address, ntohs(from->sin_port), version ? version : "", ++requests);
  return n;
}

static void answer(int fd, const struct client *c) {
  char body[2048], head[256], path[128] = "";
  int status = 200, n, ends = 0;
  sscanf(c->request, "%*15s %127[^ ?\r\n]", path);
  if (strcmp(path, "/") == 0) n = describe(body, sizeof body, &c->from);
  else if (strcmp(path, "/health") == 0) status = healthy ? 200 : 503, n = sprintf(body, healthy ? "healthy\n" : "unhealthy\n");
  else if (strcmp(path, "/fail") == 0) healthy = 0, n = sprintf(body, "unhealthy from now on\n");
  else if (strcmp(path, "/ok") == 0) healthy = 1, n = sprintf(body, "healthy from now on\n");
  else if (strcmp(path, "/exit") == 0) ends = 1, n = sprintf(body, "bye\n");
  else status = 404, n = sprintf(body, "not found\n");
  int h = snprintf(head, sizeof head, "HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", status,
                   status == 200 ? "OK" : status == 404 ? "Not Found" : "Service Unavailable", n);
  send(fd, head, h, MSG_NOSIGNAL | MSG_MORE);
  send(fd, body, n, MSG_NOSIGNAL);
  if (ends) _exit(1);
}

static void drop(int i) {
  shutdown(polled[i].fd, SHUT_WR);
  close(polled[i].fd);
  used--;
  polled[i] = polled[used];
  clients[i] = clients[used];
}

static void serve_datagram(int fd) {
  char text[2048];
  struct sockaddr_in from;
  socklen_t length = sizeof from;
  if (recvfrom(fd, text, sizeof text, MSG_DONTWAIT, (struct sockaddr *)&from, &length) < 0) return;
  int n = describe(text, sizeof text, &from);
  sendto(fd, text, n, MSG_DONTWAIT, (struct sockaddr *)&from, length);
}

static int open_socket(int type, int port) {
  int on = 1, fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = INADDR_ANY};
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || (type == SOCK_STREAM && listen(fd, 128) < 0)) {
    perror("whoami: cannot listen");
    exit(1);
  }
  return fd;
}

static int get(int port, const char *path) {
  char text[4096];
  int fd = socket(AF_INET, SOCK_STREAM, 0), status = 0, n, total = 0;
  struct timeval limit = {.tv_sec = 3};
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0) return perror("whoami -get"), 1;
  n = snprintf(text, sizeof text, "GET %.1000s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", path);
  send(fd, text, n, MSG_NOSIGNAL);
  while ((n = recv(fd, text + total, sizeof text - 1 - total, 0)) > 0) total += n;
  text[total] = 0;
  sscanf(text, "HTTP/1.%*d %d", &status);
  char *body = strstr(text, "\r\n\r\n");
  if (body) fputs(body + 4, stdout);
  return status == 200 ? 0 : 1;
}

int main(int argc, char **argv) {
  if (argc == 4 && strcmp(argv[1], "-get") == 0) return get(atoi(argv[2]), argv[3]);
  signal(SIGTERM, stop); // as PID 1 the default action would not apply
  signal(SIGINT, stop);
  int port = getenv("PORT") ? atoi(getenv("PORT")) : 80;
  polled[0] = (struct pollfd){.fd = open_socket(SOCK_STREAM, port), .events = POLLIN};
  polled[1] = (struct pollfd){.fd = open_socket(SOCK_DGRAM, port), .events = POLLIN};
  printf("whoami %s listens on port %d\n", getenv("VERSION") ? getenv("VERSION") : "", port);
  fflush(stdout);
  for (;;) {
    if (poll(polled, used, 1000) < 0 && errno != EINTR) return 1;
    time_t now = time(NULL);
    for (int i = used - 1; i >= 2; i--) {
      struct client *c = &clients[i];
      if (polled[i].revents) {
        int n = recv(polled[i].fd, c->request + c->length, MAX_REQUEST - 1 - c->length, MSG_DONTWAIT);
        if (n > 0) c->request[c->length += n] = 0;
        if (strstr(c->request, "\r\n\r\n")) answer(polled[i].fd, c), drop(i);
        else if (n <= 0 || c->length >= MAX_REQUEST - 1) drop(i);
      } else if (now - c->since > IDLE_SECONDS) drop(i);
    }
    if (polled[1].revents) serve_datagram(polled[1].fd);
    if (polled[0].revents && used < MAX_CLIENTS + 2) {
      struct client *c = &clients[used];
      socklen_t length = sizeof c->from;
      int fd = accept4(polled[0].fd, (struct sockaddr *)&c->from, &length, SOCK_CLOEXEC);
      if (fd < 0) continue;
      c->length = 0, c->request[0] = 0, c->since = now;
      polled[used++] = (struct pollfd){.fd = fd, .events = POLLIN};
    }
  }
}
