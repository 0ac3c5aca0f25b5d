/* Kills the process that loads it at one line of its journal: what the kernel
   does to a program that somebody kills, at a moment that is chosen exactly.
   DIE_AT is `before:TEXT` (the line is not written) or `after:TEXT` (it is on
   disk); TEXT is a part of the line. `said:TEXT` is for what comes before there
   is a journal: TEXT has just been written, wherever to. With DIE_BY=STOP the process is stopped
   there, once, until it is told to go on. Loaded with LD_PRELOAD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int is_line(const void *buffer, size_t count, const char *text) {
    return count > 7 && memcmp(buffer, "{\"seq\":", 7) == 0 && memmem(buffer, count, text, strlen(text));
}

static int says(const void *buffer, size_t count, const char *text) {
    return memmem(buffer, count, text, strlen(text)) != NULL;
}

static void end(void) {
    static int done;
    const char *by = getenv("DIE_BY");
    if (__sync_lock_test_and_set(&done, 1)) return;
    kill(getpid(), by && strcmp(by, "STOP") == 0 ? SIGSTOP : SIGKILL);
}

ssize_t write(int fd, const void *buffer, size_t count) {
    static ssize_t (*real)(int, const void *, size_t);
    if (!real) real = (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    const char *at = getenv("DIE_AT");
    if (at && strncmp(at, "before:", 7) == 0 && is_line(buffer, count, at + 7)) end();
    ssize_t done = real(fd, buffer, count);
    if (at && strncmp(at, "after:", 6) == 0 && is_line(buffer, count, at + 6)) {
        fsync(fd);
        end();
    }
    if (at && strncmp(at, "said:", 5) == 0 && says(buffer, count, at + 5)) end();
    return done;
}
