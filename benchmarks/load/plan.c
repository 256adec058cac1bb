/*
 * Who takes part. A plan has one person a line, a letter and a token: a ward (W) is followed by the guardians (G)
 * who guard it; guardians before the first ward guard nobody who is here; a bystander (B) is a ward
 * whose session runs all the while.
 */
#define _GNU_SOURCE
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *room_for(size_t count, size_t size)
{
    void *room = calloc(count ? count : 1, size);
    if (!room)
        fail("out of memory");
    return room;
}

static char *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "r");
    if (!file || fseek(file, 0, SEEK_END))
        fail("%s: %s", path, strerror(errno));
    *size = ftell(file);
    rewind(file);
    char *text = room_for(*size + 1, 1);
    if (fread(text, 1, *size, file) != *size)
        fail("%s cannot be read", path);
    fclose(file);
    return text;
}

static void add_person(struct load *load, char letter, const char *token)
{
    struct connection *connection = &load->connections[load->connection_count++];
    connection->token = token;
    connection->role = letter == 'W' ? WARD : letter == 'G' ? GUARDIAN : BYSTANDER;
    connection->family = -1;
    if (letter == 'W') {
        load->families[load->family_count++] = (struct family){.ward = connection, .guardians = connection + 1};
        connection->family = load->family_count - 1;
    } else if (letter == 'G' && load->family_count) {
        connection->family = load->family_count - 1;
        load->families[connection->family].guardian_count++;
    }
}

void read_plan(struct load *load)
{
    size_t size, people = 0;
    char *text = read_file(load->options.plan, &size), *rest;
    for (size_t at = 0; at < size; at++)
        people += text[at] == '\n';
    load->connections = room_for(people, sizeof *load->connections);
    load->families = room_for(people, sizeof *load->families);
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        if (strlen(line) < 3 || !strchr("WGB", line[0]) || line[1] != ' ')
            fail("%s: a line is a letter and a token", load->options.plan);
        add_person(load, line[0], line + 2);
    }
}

static void ignore(struct load *load, struct connection *connection, enum event event, const char *text, size_t size)
{
    (void)load, (void)connection, (void)event, (void)text, (void)size;
}

void open_all(struct load *load, enum role role)
{
    int begun = load->open_count, next = 0;
    load->on_event = ignore;
    for (;;) {
        while (next < load->connection_count && begun - load->open_count < AT_ONCE) {
            struct connection *connection = &load->connections[next++];
            if (connection->role == role) {
                begin(load, connection);
                begun++;
            }
        }
        if (next == load->connection_count && begun == load->open_count)
            return;
        turn(load, 1000);
    }
}

struct starting {
    int confirmed, notices;
};

static void on_start(struct load *load, struct connection *connection, enum event event, const char *text, size_t size)
{
    struct starting *starting = load->line;
    (void)connection, (void)text, (void)size;
    starting->confirmed += event == EV_SESSION_STARTED;
    starting->notices += event == EV_GUARDIAN_STARTED;
}

void start_sessions(struct load *load, enum role role)
{
    struct starting starting = {0};
    int begun = 0, next = 0, notices = 0;
    load->line = &starting;
    load->on_event = on_start;
    for (int at = 0; role == WARD && at < load->family_count; at++)
        notices += load->families[at].guardian_count;
    for (;;) {
        while (next < load->connection_count && begun - starting.confirmed < AT_ONCE) {
            struct connection *connection = &load->connections[next++];
            if (connection->role == role) {
                send_event(load, connection, "start-live-session", NULL);
                begun++;
            }
        }
        if (next == load->connection_count && begun == starting.confirmed && notices == starting.notices)
            break;
        turn(load, 1000);
    }
    load->on_event = ignore;
    load->line = NULL;
}
