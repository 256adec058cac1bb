/*
 * One ward, a crowd of guardians: a location counts as delivered when every guardian has it and the ward its
 * acknowledgement. With a window of 1 the next is sent only then; with 16, sixteen are under way.
 */
#define _GNU_SOURCE
#include "load.h"

#include <stdio.h>
#include <string.h>

#define RING 64 /* more than any window */

struct crowd {
    uint64_t sent, completed; /* locations */
    uint64_t deliveries;
    uint64_t acknowledged;
    int arrived[RING];       /* guardians who have it, by location */
    char latitude[RING][16]; /* what they must have got */
    bool over;
};

static void send_due(struct load *load)
{
    struct crowd *crowd = load->line;
    char data[128];
    if (crowd->over || crowd->sent - crowd->completed >= (uint64_t)load->options.window)
        return;
    while (crowd->sent - crowd->completed < (uint64_t)load->options.window) {
        char *latitude = crowd->latitude[crowd->sent % RING];
        latitude_of(crowd->sent, latitude, sizeof crowd->latitude[0]);
        crowd->arrived[crowd->sent % RING] = 0;
        snprintf(data, sizeof data, "{\"latitude\":%s,\"longitude\":13.404954}", latitude);
        append_event(load, "update-location", data);
        crowd->sent++;
    }
    flush(load, load->families[0].ward);
}

static void on_event(struct load *load, struct connection *connection, enum event event, const char *text, size_t size)
{
    struct crowd *crowd = load->line;
    int everybody = load->families[0].guardian_count;
    if (connection->role == WARD && event == EV_LOCATION_ACKNOWLEDGED) {
        if (++crowd->acknowledged > crowd->sent)
            fail("a location was acknowledged twice");
    } else if (connection->role == GUARDIAN && event == EV_LOCATION_UPDATED) {
        uint64_t location = connection->seen++;
        const char *latitude = crowd->latitude[location % RING];
        if (location >= crowd->sent || !memmem(text, size, latitude, strlen(latitude)))
            fail("a location came twice, out of order or not at all");
        crowd->arrived[location % RING]++;
        crowd->deliveries++;
    } else {
        return;
    }
    while (crowd->completed < crowd->acknowledged && crowd->arrived[crowd->completed % RING] == everybody)
        crowd->completed++;
}

static void run_until(struct load *load, uint64_t end_us)
{
    while (now_us() < end_us) {
        send_due(load);
        turn(load, 10);
    }
}

void line_crowd(struct load *load)
{
    struct crowd crowd = {0};
    open_all(load, GUARDIAN);
    open_all(load, WARD);
    start_sessions(load, WARD);
    load->line = &crowd;
    load->on_event = on_event;
    run_until(load, now_us() + load->options.warm_up * 1e6);
    struct meter begun = meter_now(load);
    uint64_t before = crowd.deliveries;
    run_until(load, now_us() + load->options.seconds * 1e6);
    struct meter used = meter_since(load, begun);
    uint64_t count = crowd.deliveries - before;
    crowd.over = true;
    while (crowd.completed < crowd.sent)
        turn(load, 1000);
    printf("{\"deliveries_per_s\": %.1f, \"count\": %lu, ", count / used.wall, count);
    print_meter(used);
}
