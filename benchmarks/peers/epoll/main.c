/* epoll PORT PEOPLE: the loop, the frames and the events. What one turn has for a connection leaves in one write. */
#define _GNU_SOURCE
#include "epoll.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define INPUT_ROOM (1 << 17)
#define PING_INTERVAL 20 /* s, of a guardian */

static struct connection *dirty;
static struct connection *first_asked, **last_asked = &first_asked; /* who waited longest stands first */
static char frame[1 << 20]; /* the frame to be sent next, once for all who get it; room for its header before it */
static char *const text = frame + 10;
static size_t text_room = sizeof frame - 10;
static int epoll;
static uint64_t sessions;

static const char *timestamp(void)
{
    static char spelled[32];
    static long spelled_ms;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    long ms = now.tv_sec * 1000 + now.tv_nsec / 1000000;
    if (ms != spelled_ms) {
        struct tm parts;
        gmtime_r(&now.tv_sec, &parts);
        strftime(spelled, sizeof spelled, "%Y-%m-%dT%H:%M:%S", &parts);
        sprintf(spelled + 19, ".%03ldZ", ms % 1000);
        spelled_ms = ms;
    }
    return spelled;
}

static double monotonic(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

static void queue(struct connection *connection, const char *bytes, size_t size)
{
    if (connection->output_size + size > connection->output_room) {
        connection->output_room = (connection->output_size + size) * 2;
        connection->output = realloc(connection->output, connection->output_room);
    }
    memcpy(connection->output + connection->output_size, bytes, size);
    connection->output_size += size;
    if (!connection->dirty) {
        connection->dirty = true;
        connection->next_dirty = dirty;
        dirty = connection;
    }
}

static void flush_all(void)
{
    for (; dirty; dirty = dirty->next_dirty) {
        dirty->dirty = false;
        if (dirty->fd >= 0 && send(dirty->fd, dirty->output, dirty->output_size, MSG_NOSIGNAL) != (ssize_t)dirty->output_size)
            fprintf(stderr, "a client does not read\n");
        dirty->output_size = 0;
    }
}

/* Puts the header in front of the text; returns where the frame begins. */
static char *framed(size_t size, size_t *whole)
{
    size_t header = size < 126 ? 2 : size < 65536 ? 4 : 10;
    char *at = text - header;
    at[0] = (char)0x81;
    at[1] = size < 126 ? (char)size : header == 4 ? 126 : 127;
    for (size_t place = 2; place < header; place++)
        at[place] = (char)((uint64_t)size >> (header - 1 - place) * 8);
    *whole = header + size;
    return at;
}

static void tell(struct connection *connection, size_t size)
{
    size_t whole;
    char *at = framed(size, &whole);
    queue(connection, at, whole);
}

static void tell_room(struct session *session, size_t size)
{
    size_t whole;
    char *at = framed(size, &whole);
    for (int place = 0; place < session->count; place++)
        queue(session->room[place], at, whole);
}

/* The connection is asked for a sign of life after all others. */
static void ask_again_later(struct connection *connection, double now)
{
    connection->asked = now;
    connection->next_asked = NULL;
    *last_asked = connection;
    last_asked = &connection->next_asked;
}

/* Once a second, together, all whose turn it is. */
static void keep_alive(void)
{
    static long looked;
    double now = monotonic();
    if ((long)now == looked)
        return;
    looked = (long)now;
    for (struct connection *one; (one = first_asked) && one->asked <= now - PING_INTERVAL;) {
        if (!(first_asked = one->next_asked))
            last_asked = &first_asked;
        if (one->fd < 0)
            continue;
        queue(one, "\x89", 2);
        ask_again_later(one, now);
    }
}

static void start(struct connection *connection)
{
    struct user *ward = connection->user;
    struct session *session = calloc(1, sizeof *session);
    int people = 0, room = 0;
    snprintf(session->id, sizeof session->id, "%lu", ++sessions);
    strcpy(session->start_time, timestamp());
    session->begun = monotonic();
    for (int at = 0; at < ward->guardian_count; at++) {
        people += ward->guardians[at]->connections != NULL;
        for (struct connection *one = ward->guardians[at]->connections; one; one = one->next_of_user) {
            if (session->count == room)
                session->room = realloc(session->room, (room = room ? room * 2 : 8) * sizeof *session->room);
            session->room[session->count++] = one;
        }
    }
    ward->session = session;
    tell_room(session, snprintf(text, text_room,
                                "{\"event\":\"guardian:session-started\",\"data\":{\"wardId\":\"%s\",\"wardEmail\":\"%s\","
                                "\"sessionId\":\"%s\",\"startTime\":\"%s\",\"timestamp\":\"%s\",\"wardFirstName\":\"%s\","
                                "\"wardLastName\":\"%s\",\"metadata\":null,\"lastLocation\":null,\"state\":\"active\",\"seq\":%lu}}",
                                ward->id, ward->email, session->id, session->start_time, timestamp(), ward->first_name,
                                ward->last_name, sessions * 2 - 1));
    tell(connection, snprintf(text, text_room,
                              "{\"event\":\"session-started\",\"data\":{\"sessionId\":\"%s\",\"startTime\":\"%s\","
                              "\"roomName\":\"ward:%s\",\"guardians\":[%s],\"connectedGuardians\":%d,\"timestamp\":\"%s\"}}",
                              session->id, session->start_time, ward->id, ward->guardian_list, people, timestamp()));
}

static void stop(struct connection *connection)
{
    struct user *ward = connection->user;
    struct session *session = ward->session;
    size_t size = snprintf(text, text_room,
                           "{\"event\":\"session-ended\",\"data\":{\"sessionId\":\"%s\",\"wardId\":\"%s\",\"wardEmail\":\"%s\","
                           "\"startTime\":\"%s\",\"endTime\":\"%s\",\"duration\":%d,\"reason\":\"manual_stop\","
                           "\"timestamp\":\"%s\",\"seq\":%lu}}",
                           session->id, ward->id, ward->email, session->start_time, timestamp(),
                           (int)(monotonic() - session->begun + 0.5), timestamp(), sessions * 2);
    tell_room(session, size);
    tell(connection, size);
    ward->session = NULL;
    free(session->room);
    free(session);
}

static void locate(struct connection *connection, const char *data, size_t size)
{
    struct session *session = connection->user->session;
    const char *begin = memchr(data, '{', size), *end = begin ? memchr(begin, '}', size - (begin - data)) : NULL;
    if (!end)
        return;
    tell_room(session, snprintf(text, text_room,
                                "{\"event\":\"location-updated\",\"data\":{\"wardId\":\"%s\",\"wardEmail\":\"%s\","
                                "\"sessionId\":\"%s\",\"location\":%.*s,\"timestamp\":\"%s\"},\"timestamp\":\"%s\"}}",
                                connection->user->id, connection->user->email, session->id, (int)(end - begin), begin,
                                timestamp(), timestamp()));
    tell(connection, snprintf(text, text_room,
                              "{\"event\":\"location-acknowledged\",\"data\":{\"sessionId\":\"%s\",\"timestamp\":\"%s\","
                              "\"status\":\"broadcasted\",\"guardianCount\":%d}}",
                              session->id, timestamp(), session->count));
}

static void on_text(struct connection *connection, const char *payload, size_t size)
{
    static const char before[] = "{\"event\":\"";
    const char *name = payload + sizeof before - 1;
    if (size < sizeof before + 4)
        return;
    if (!strncmp(name, "ping", 4))
        tell(connection, snprintf(text, text_room, "{\"event\":\"pong\",\"data\":{\"timestamp\":\"%s\"}}", timestamp()));
    else if (name[0] == 'u' && connection->user->session)
        locate(connection, name, size - (name - payload));
    else if (!strncmp(name, "sta", 3) && !connection->user->session)
        start(connection);
    else if (!strncmp(name, "sto", 3) && connection->user->session)
        stop(connection);
}

static size_t on_frame(struct connection *connection, char *at, size_t size)
{
    size_t length = size < 2 ? 0 : at[1] & 127, header = length == 126 ? 8 : 6;
    if (size < header)
        return 0;
    if (length == 126)
        length = (unsigned char)at[2] << 8 | (unsigned char)at[3];
    if (size < header + length)
        return 0;
    char *payload = at + header, *key = payload - 4;
    for (size_t place = 0; place < length; place++)
        payload[place] ^= key[place & 3];
    if ((at[0] & 15) == 1)
        on_text(connection, payload, length);
    return header + length;
}

static void leave(struct connection *connection)
{
    close(connection->fd);
    connection->fd = -1; /* it stays in the rooms: this server's clients all go at once */
}

static void open_connection(struct connection *connection, const char *request)
{
    char answer[256];
    size_t size = answer_upgrade(connection, request, answer, sizeof answer);
    if (!size) {
        leave(connection);
        return;
    }
    connection->open = true;
    queue(connection, answer, size);
    ask_again_later(connection, monotonic());
    if (connection->is_ward)
        return;
    connection->next_of_user = connection->user->connections;
    connection->user->connections = connection;
}

static void on_readable(struct connection *connection)
{
    static char input[INPUT_ROOM + 1];
    size_t kept = connection->input_size, at = 0, taken;
    if (kept)
        memcpy(input, connection->input, kept);
    ssize_t got = recv(connection->fd, input + kept, INPUT_ROOM - kept, 0);
    if (got <= 0) {
        leave(connection);
        return;
    }
    size_t size = kept + got;
    input[size] = 0;
    char *end = connection->open ? NULL : strstr(input, "\r\n\r\n");
    if (end) {
        open_connection(connection, input);
        at = end + 4 - input;
    }
    while (connection->open && (taken = on_frame(connection, input + at, size - at)))
        at += taken;
    connection->input_size = size - at;
    if (size - at) {
        connection->input = realloc(connection->input, size - at);
        memcpy(connection->input, input + at, size - at);
    }
}

static void on_connection(int listener)
{
    int yes = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    struct connection *connection = calloc(1, sizeof *connection);
    connection->fd = fd;
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = EPOLLIN, .data.ptr = connection});
}

int main(int count, char **words)
{
    int yes = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (count != 3)
        return 2;
    read_people(words[2]);
    address.sin_port = htons(atoi(words[1]));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1024))
        return 1;
    epoll = epoll_create1(0);
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &(struct epoll_event){.events = EPOLLIN});
    for (;;) {
        struct epoll_event events[512];
        int ready = epoll_wait(epoll, events, 512, 1000);
        for (int at = 0; at < ready; at++)
            if (events[at].data.ptr)
                on_readable(events[at].data.ptr);
            else
                on_connection(listener);
        keep_alive();
        flush_all();
    }
}
