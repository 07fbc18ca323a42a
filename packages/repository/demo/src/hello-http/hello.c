// A web server of one page, for the demo repository. It is freestanding: no C
// library, a few system calls, a static binary of a few kilobytes that runs in
// an image holding nothing else.
//
// It listens on the port that $PORT names (default 8080), answers GET and HEAD
// of / and /healthz, 404 elsewhere, and leaves on SIGTERM and SIGINT also when
// it is process 1.

typedef unsigned long ulong;
typedef long (*handler)(long);

#if defined(__x86_64__)
enum { READ = 0, WRITE = 1, CLOSE = 3, SOCKET = 41, ACCEPT = 43, BIND = 49,
       LISTEN = 50, SETSOCKOPT = 54, SIGACTION = 13, EXIT = 231 };
#define START "xor %ebp,%ebp\n mov %rsp,%rdi\n and $-16,%rsp\n call serve\n"
static long sys(long n, long a, long b, long c, long d, long e) {
  long r;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  __asm__ volatile("syscall" : "=a"(r)
                   : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                   : "rcx", "r11", "memory");
  return r;
}
#elif defined(__aarch64__)
enum { READ = 63, WRITE = 64, CLOSE = 57, SOCKET = 198, ACCEPT = 202, BIND = 200,
       LISTEN = 201, SETSOCKOPT = 208, SIGACTION = 134, EXIT = 94 };
#define START "mov x29,#0\n mov x0,sp\n bl serve\n"
static long sys(long n, long a, long b, long c, long d, long e) {
  register long x8 __asm__("x8") = n;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  __asm__ volatile("svc 0" : "+r"(x0)
                   : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
  return x0;
}
#endif

__asm__(".globl _start\n_start:\n" START);

static void leave(long code) { for (;;) sys(EXIT, code, 0, 0, 0, 0); }

// stop never returns, so the signal needs no restorer.
static void stop(int signal) { (void)signal; leave(0); }

static void on(int signal) {
  struct { void (*handler)(int); ulong flags; void *restorer; ulong mask; } act;
  act.handler = stop;
  act.flags = 0x04000000; // SA_RESTORER, required on x86-64, unknown elsewhere
  act.restorer = (void *)stop;
  act.mask = 0;
#if defined(__aarch64__)
  act.flags = 0; // the structure has no restorer here
  act.restorer = 0;
#endif
  sys(SIGACTION, signal, (long)&act, 0, 8, 0);
}

static ulong length(const char *s) { ulong n = 0; while (s[n]) n++; return n; }

static int starts(const char *s, const char *with) {
  while (*with) if (*s++ != *with++) return 0;
  return 1;
}

static void put(long fd, const char *s, ulong n) {
  while (n > 0) {
    long w = sys(WRITE, fd, (long)s, n, 0, 0);
    if (w <= 0) return;
    s += w; n -= w;
  }
}

static void say(long fd, const char *s) { put(fd, s, length(s)); }

#define HEAD_OK "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
#define HEAD_NO "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
#define HEAD_BAD "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET, HEAD\r\nConnection: close\r\n\r\n"
#define PAGE "Hello from an image built by cairn.\n"

static void answer(long fd) {
  char in[4096];
  long n = sys(READ, fd, (long)in, sizeof in - 1, 0, 0);
  if (n <= 0) return;
  in[n] = 0;
  int head = starts(in, "HEAD ");
  if (!head && !starts(in, "GET ")) { say(fd, HEAD_BAD); return; }
  const char *path = in + (head ? 5 : 4);
  const char *top = HEAD_NO, *body = "not found\n";
  if (starts(path, "/ ")) { top = HEAD_OK; body = PAGE; }
  if (starts(path, "/healthz ")) { top = HEAD_OK; body = "ok\n"; }
  say(fd, top);
  if (!head) say(fd, body);
}

static long port(long *stack) {
  char **env = (char **)(stack + *stack + 2);
  for (; *env; env++) {
    if (!starts(*env, "PORT=")) continue;
    long p = 0;
    for (const char *s = *env + 5; *s >= '0' && *s <= '9' && p < 65536; s++) p = p * 10 + (*s - '0');
    if (p > 0 && p < 65536) return p;
    say(2, "hello: PORT is not a port number\n");
    leave(2);
  }
  return 8080;
}

void serve(long *stack) {
  on(15); on(2);
  long p = port(stack);
  struct { unsigned short family, port; unsigned addr; char zero[8]; } at = {2, 0, 0, {0}};
  at.port = (unsigned short)(p >> 8 | p << 8);
  long listener = sys(SOCKET, 2, 1, 0, 0, 0);
  int one = 1;
  sys(SETSOCKOPT, listener, 1, 2, (long)&one, sizeof one);
  if (listener < 0 || sys(BIND, listener, (long)&at, sizeof at, 0, 0) < 0 ||
      sys(LISTEN, listener, 64, 0, 0, 0) < 0) {
    say(2, "hello: cannot listen on the port\n");
    leave(1);
  }
  say(2, "hello: listening\n");
  for (;;) {
    long fd = sys(ACCEPT, listener, 0, 0, 0, 0);
    if (fd < 0) continue;
    struct { long sec, usec; } patience = {5, 0};
    sys(SETSOCKOPT, fd, 1, 20, (long)&patience, sizeof patience); // SO_RCVTIMEO
    sys(SETSOCKOPT, fd, 1, 21, (long)&patience, sizeof patience); // SO_SNDTIMEO
    answer(fd);
    sys(CLOSE, fd, 0, 0, 0, 0);
  }
}
