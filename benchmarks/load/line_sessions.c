/*
 * Start and stop: each ward starts a session, waits until it and all its guardians were told, stops it, waits
 * again, and starts the next. As many sessions are under way as there are families.
 */
#include "load.h"

#include <stdio.h>

struct sessions {
    struct samples notices; /* from the ward's start to a guardian's notice */
    uint64_t completed;
    int under_way;
    bool measuring, over;
};

static void start(struct load *load, struct family *family)
{
    struct sessions *sessions = load->line;
    family->notices = 0;
    family->confirmed = false;
    family->sent++;
    family->begun_us = now_us();
    send_event(load, family->ward, "start-live-session", NULL);
    sessions->under_way++;
}

/* Each guardian hears of the start, then of the end of each session, and nothing twice. */
static void count_notice(struct load *load, struct connection *guardian, struct family *family, bool ended)
{
    struct sessions *sessions = load->line;
    if (guardian->seen++ != (family->sent - 1) * 2 + ended)
        fail("a guardian was told twice, or in the wrong order");
    family->notices++;
    if (!ended && sessions->measuring)
        add_sample(&sessions->notices, load->now_us - family->begun_us);
}

static void on_event(struct load *load, struct connection *connection, enum event event, const char *text, size_t size)
{
    struct sessions *sessions = load->line;
    struct family *family = &load->families[connection->family];
    (void)text, (void)size;
    if (connection->family < 0)
        return;
    if (connection->role == GUARDIAN && (event == EV_GUARDIAN_STARTED || event == EV_SESSION_ENDED))
        count_notice(load, connection, family, event == EV_SESSION_ENDED);
    else if (connection->role == WARD && (event == EV_SESSION_STARTED || event == EV_SESSION_ENDED))
        family->confirmed = true;
    else
        return;
    if (!family->confirmed || family->notices < family->guardian_count)
        return;
    family->notices = 0;
    family->confirmed = false;
    if (family->ward->seen++ % 2 == 0) {
        send_event(load, family->ward, "stop-live-session", NULL);
        return;
    }
    sessions->completed++;
    sessions->under_way--;
    if (!sessions->over)
        start(load, family);
}

static void run_until(struct load *load, uint64_t end_us)
{
    while (now_us() < end_us)
        turn(load, 10);
}

void line_sessions(struct load *load)
{
    struct sessions sessions = {0};
    open_all(load, BYSTANDER);
    start_sessions(load, BYSTANDER);
    open_all(load, GUARDIAN);
    open_all(load, WARD);
    load->line = &sessions;
    load->on_event = on_event;
    for (int at = 0; at < load->family_count; at++)
        start(load, &load->families[at]);
    run_until(load, now_us() + load->options.warm_up * 1e6);
    struct meter begun = meter_now(load);
    uint64_t before = sessions.completed;
    sessions.measuring = true;
    run_until(load, now_us() + load->options.seconds * 1e6);
    struct meter used = meter_since(load, begun);
    uint64_t count = sessions.completed - before;
    sessions.measuring = false;
    sessions.over = true;
    while (sessions.under_way)
        turn(load, 1000);
    printf("{\"sessions_per_s\": %.1f, \"notice_p50_ms\": %.3f, \"notice_p99_ms\": %.3f, \"count\": %lu, ",
           count / used.wall, percentile_ms(&sessions.notices, 0.5), percentile_ms(&sessions.notices, 0.99), count);
    print_meter(used);
}
