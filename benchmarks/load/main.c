/* load LINE PLAN PORT SERVER_PID native|socketio WARM_UP SECONDS [WINDOW]   or   load spin SECONDS */
#include "load.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define LONGEST_S 240 /* no run takes longer */

/* How fast this core is at this moment: rounds of plain arithmetic a microsecond. */
static void spin(double seconds)
{
    uint64_t begun = now_us(), rounds = 0, end = begun + seconds * 1e6;
    volatile uint64_t value = 1;
    while (now_us() < end)
        for (int step = 0; step < 10000; step++, rounds++)
            value = value * 6364136223846793005u + 1442695040888963407u;
    printf("{\"rounds_per_us\": %.3f}\n", (double)rounds / (now_us() - begun));
}

static const struct {
    const char *name;
    void (*run)(struct load *);
} lines[] = {
    {"sessions", line_sessions},
    {"crowd", line_crowd},
    {"rate", line_rate},
    {"connect", line_connect},
    {"hold", line_hold},
};

static void too_long(int signal)
{
    static const char message[] = "load: an answer never came, or it took too long\n";
    (void)signal;
    _exit(write(STDERR_FILENO, message, sizeof message - 1) < 0 ? 2 : 1);
}

int main(int count, char **words)
{
    struct load load = {0};
    if (count == 3 && !strcmp(words[1], "spin")) {
        spin(atof(words[2]));
        return 0;
    }
    if (count < 8)
        fail("usage: load LINE PLAN PORT SERVER_PID native|socketio WARM_UP SECONDS [WINDOW]");
    signal(SIGALRM, too_long);
    alarm(LONGEST_S);
    load.options = (struct options){
        .line = words[1],
        .plan = words[2],
        .port = atoi(words[3]),
        .server = atoi(words[4]),
        .transport = strcmp(words[5], "socketio") ? NATIVE : SOCKETIO,
        .warm_up = atof(words[6]),
        .seconds = atof(words[7]),
        .window = count > 8 ? atoi(words[8]) : 1,
    };
    load.epoll = epoll_create1(EPOLL_CLOEXEC);
    read_plan(&load);
    for (size_t at = 0; at < sizeof lines / sizeof *lines; at++)
        if (!strcmp(lines[at].name, load.options.line)) {
            lines[at].run(&load);
            return 0;
        }
    fail("no line is called %s", load.options.line);
}
