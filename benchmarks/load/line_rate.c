/*
 * Many wards at once: each sends its locations at fixed moments, whether or not the last ones have arrived. The
 * time of a delivery counts from the moment its location was due. Searched is the highest rate at which
 * 99 of 100 deliveries take at most 100 ms.
 */
#define _GNU_SOURCE
#include "load.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define LIMIT_MS 100
#define FIRST_RATE 250
#define LAST_STEP 1.04 /* the smallest that is tried is 4.4 % */

struct rate {
    struct samples times;
    uint64_t begun_us, sent, deliveries, expected, acknowledged;
    double per_second;
};

static uint64_t due_us(struct rate *rate, uint64_t location)
{
    return rate->begun_us + location / rate->per_second * 1e6;
}

static void send_location(struct load *load, struct rate *rate)
{
    struct family *family = &load->families[rate->sent % load->family_count];
    char latitude[32], data[128];
    latitude_of(family->sent++, latitude, sizeof latitude);
    snprintf(data, sizeof data, "{\"latitude\":%s,\"longitude\":13.404954}", latitude);
    send_event(load, family->ward, "update-location", data);
    rate->expected += family->guardian_count;
    rate->sent++;
}

static void on_event(struct load *load, struct connection *connection, enum event event, const char *text, size_t size)
{
    struct rate *rate = load->line;
    char latitude[32];
    if (connection->role == WARD && event == EV_LOCATION_ACKNOWLEDGED) {
        rate->acknowledged++;
    } else if (connection->role == GUARDIAN && event == EV_LOCATION_UPDATED) {
        struct family *family = &load->families[connection->family];
        latitude_of(connection->seen, latitude, sizeof latitude);
        if (connection->seen >= family->sent || !memmem(text, size, latitude, strlen(latitude)))
            fail("a location came twice, out of order or not at all");
        uint64_t turn_of = connection->seen++ - family->sent_before;
        uint64_t due = due_us(rate, turn_of * load->family_count + connection->family);
        add_sample(&rate->times, load->now_us > due ? load->now_us - due : 0);
        rate->deliveries++;
    }
}

/* One rate for a while; gives up early where the server falls a second behind. */
static double probe(struct load *load, struct rate *rate, double per_second, struct meter *used)
{
    struct samples times = rate->times;
    times.count = 0;
    *rate = (struct rate){.times = times, .per_second = per_second, .begun_us = now_us()};
    for (int at = 0; at < load->family_count; at++)
        load->families[at].sent_before = load->families[at].sent;
    struct meter begun = meter_now(load);
    uint64_t count = per_second * load->options.seconds, behind = per_second * 2;
    while (rate->sent < count && rate->expected - rate->deliveries < behind) {
        for (uint64_t now = now_us(); rate->sent < count && due_us(rate, rate->sent) <= now;)
            send_location(load, rate);
        turn(load, 1);
    }
    bool in_time = rate->sent == count;
    *used = meter_since(load, begun);
    for (uint64_t end = now_us() + 20000000; rate->deliveries < rate->expected || rate->acknowledged < rate->sent;) {
        if (now_us() > end)
            fail("%lu deliveries are missing", rate->expected - rate->deliveries);
        turn(load, 100);
    }
    double p99 = percentile_ms(&rate->times, 0.99);
    return in_time ? p99 : p99 > 1000 ? p99 : 1000;
}

/* A rate is too high when it fails twice: a machine that stalled once has not decided anything. */
static bool holds(struct load *load, struct rate *rate, double per_second, double *p99, struct meter *used)
{
    struct meter of_this;
    for (int attempt = 0; attempt < 2; attempt++) {
        double of_these = probe(load, rate, per_second, &of_this);
        if (of_these <= LIMIT_MS) {
            *p99 = of_these;
            *used = of_this;
            return true;
        }
    }
    return false;
}

void line_rate(struct load *load)
{
    struct rate rate = {0};
    struct meter used = meter_now(load);
    double good = FIRST_RATE, p99 = 0;
    open_all(load, GUARDIAN);
    open_all(load, WARD);
    start_sessions(load, WARD);
    load->line = &rate;
    load->on_event = on_event;
    if (!holds(load, &rate, good, &p99, &used))
        fail("not even %d locations a second", FIRST_RATE);
    /* A step that holds is taken again, so one that failed where it need not have is made good by the smaller ones. */
    for (double step = 2; step > LAST_STEP;) {
        if (holds(load, &rate, good * step, &p99, &used))
            good *= step;
        else
            step = sqrt(step);
    }
    printf("{\"locations_per_s\": %.0f, \"p99_ms\": %.2f, \"count\": %.0f, ", good, p99, good * used.wall);
    print_meter(used);
}
