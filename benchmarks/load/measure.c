/* Clocks, percentiles and what the server's process uses. */
#include "load.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static double clock_seconds(clockid_t clock)
{
    struct timespec at;
    if (clock_gettime(clock, &at))
        fail("the server's process is gone");
    return at.tv_sec + at.tv_nsec / 1e9;
}

uint64_t now_us(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000000 + at.tv_nsec / 1000;
}

void add_sample(struct samples *samples, uint64_t us)
{
    if (samples->count == samples->room) {
        samples->room = samples->room ? samples->room * 2 : 4096;
        samples->us = realloc(samples->us, samples->room * sizeof *samples->us);
        if (!samples->us)
            fail("out of memory");
    }
    samples->us[samples->count++] = us > UINT32_MAX ? UINT32_MAX : us;
}

static int by_size(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

double percentile_ms(struct samples *samples, double share)
{
    if (!samples->count)
        return 0;
    qsort(samples->us, samples->count, sizeof *samples->us, by_size);
    size_t at = samples->count * share;
    return samples->us[at < samples->count ? at : samples->count - 1] / 1e3;
}

/* /proc/stat counts ticks: user, nice, system, idle, iowait, irq, softirq, steal. */
static void read_machine(struct meter *meter)
{
    double ticks[8], per_second = sysconf(_SC_CLK_TCK);
    FILE *file = fopen("/proc/stat", "r");
    if (!file || fscanf(file, "cpu %lf %lf %lf %lf %lf %lf %lf %lf", ticks, ticks + 1, ticks + 2, ticks + 3, ticks + 4,
                        ticks + 5, ticks + 6, ticks + 7) != 8)
        fail("/proc/stat cannot be read");
    fclose(file);
    meter->machine_cpu = (ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6]) / per_second;
    meter->stolen_cpu = ticks[7] / per_second;
}

struct meter meter_now(struct load *load)
{
    clockid_t server;
    struct meter now = {0};
    read_machine(&now);
    if (clock_getcpuclockid(load->options.server, &server))
        fail("the server's process is gone");
    now.wall = clock_seconds(CLOCK_MONOTONIC);
    now.load_cpu = clock_seconds(CLOCK_PROCESS_CPUTIME_ID);
    now.server_cpu = clock_seconds(server);
    return now;
}

struct meter meter_since(struct load *load, struct meter start)
{
    struct meter end = meter_now(load);
    return (struct meter){
        .wall = end.wall - start.wall,
        .load_cpu = end.load_cpu - start.load_cpu,
        .server_cpu = end.server_cpu - start.server_cpu,
        .machine_cpu = end.machine_cpu - start.machine_cpu,
        .stolen_cpu = end.stolen_cpu - start.stolen_cpu,
    };
}

void print_meter(struct meter used)
{
    double others = used.machine_cpu - used.server_cpu - used.load_cpu;
    printf("\"seconds\": %.3f, \"server_cpu_s\": %.4f, \"server_share\": %.3f, \"load_share\": %.3f, "
           "\"others_share\": %.3f, \"stolen_share\": %.3f}\n",
           used.wall, used.server_cpu, used.server_cpu / used.wall, used.load_cpu / used.wall,
           others > 0 ? others / used.wall : 0, used.stolen_cpu / used.wall);
}

long server_rss_kib(struct load *load)
{
    char path[64];
    long size, resident;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)load->options.server);
    FILE *file = fopen(path, "r");
    if (!file || fscanf(file, "%ld %ld", &size, &resident) != 2)
        fail("the server's memory cannot be read");
    fclose(file);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    exit(1);
}
