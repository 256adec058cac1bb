/* Sessions that only run: all bystanders start theirs, a line says so, and they stay until the load is ended. */
#include "load.h"

#include <stdio.h>

void line_hold(struct load *load)
{
    open_all(load, BYSTANDER);
    start_sessions(load, BYSTANDER);
    printf("{\"running\": %d}\n", load->connection_count);
    fflush(stdout);
    for (uint64_t end = now_us() + load->options.seconds * 1e6; now_us() < end;)
        turn(load, 1000);
}
