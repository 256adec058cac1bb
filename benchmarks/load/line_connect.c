/*
 * Many guardians connect, each with a token of its own; then each proves by a ping event that it is served; then
 * all stay idle, and what the server spends on their keep-alive is counted. Memory is read
 * before the first connection and at the end.
 */
#include "load.h"

#include <stdio.h>

struct answers {
    int pongs;
};

static void on_event(struct load *load, struct connection *connection, enum event event, const char *text, size_t size)
{
    struct answers *answers = load->line;
    (void)text, (void)size;
    if (event == EV_PONG && connection->seen++)
        fail("a ping was answered twice");
    answers->pongs += event == EV_PONG;
}

static void prove_all_served(struct load *load)
{
    struct answers answers = {0};
    load->line = &answers;
    load->on_event = on_event;
    for (int asked = 0; answers.pongs < load->connection_count;) {
        while (asked < load->connection_count && asked - answers.pongs < AT_ONCE)
            send_event(load, &load->connections[asked++], "ping", NULL);
        turn(load, 1000);
    }
}

static void stay(struct load *load, double seconds)
{
    for (uint64_t end = now_us() + seconds * 1e6; now_us() < end;)
        turn(load, 50);
}

void line_connect(struct load *load)
{
    long before = server_rss_kib(load);
    struct meter begun = meter_now(load);
    open_all(load, GUARDIAN);
    struct meter connecting = meter_since(load, begun);
    prove_all_served(load);
    stay(load, load->options.warm_up);
    uint64_t pings = load->pings;
    begun = meter_now(load);
    stay(load, load->options.seconds);
    struct meter idle = meter_since(load, begun);
    long after = server_rss_kib(load);
    int count = load->connection_count;
    printf("{\"connections_per_s\": %.1f, \"kib_per_connection\": %.2f, \"idle_cpu_percent\": %.3f, "
           "\"idle_pings_per_s\": %.1f, \"rss_before_kib\": %ld, \"rss_after_kib\": %ld, \"count\": %d, ",
           count / connecting.wall, (double)(after - before) / count, 100 * idle.server_cpu / idle.wall,
           (load->pings - pings) / idle.wall, before, after, count);
    print_meter(connecting);
}
